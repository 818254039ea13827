-- Every gateway call is in an hour of a deployment or listed as unmapped.
with calls as (

    select count(*) as call_count from {{ ref("stg_litellm__requests") }}

),

mapped as (

    select coalesce(sum(call_count), 0) as call_count from {{ ref("int_gateway_usage__hourly") }}

),

gateways as (

    select distinct source_name from {{ ref("stg_litellm__requests") }}

),

unmapped as (

    select coalesce(sum(unmapped_usage.request_count), 0) as call_count
    from {{ ref("int_usage_unmapped") }} as unmapped_usage
    inner join gateways on unmapped_usage.source_name = gateways.source_name

)

select
    calls.call_count,
    mapped.call_count as mapped_call_count,
    unmapped.call_count as unmapped_call_count
from calls
cross join mapped
cross join unmapped
where calls.call_count <> mapped.call_count + unmapped.call_count
