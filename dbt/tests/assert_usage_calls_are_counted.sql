-- Up to the last day of the run, every gateway call is in an hour of a deployment or listed as unmapped.
with calls as (

    select count(*) as call_count
    from {{ ref("stg_litellm__requests") }} as requests
    inner join {{ ref("stg_ledger__run") }} as run on requests.usage_date <= run.as_of_date

),

mapped as (

    select coalesce(sum(gateway_usage.call_count), 0) as call_count
    from {{ ref("int_gateway_usage__hourly") }} as gateway_usage
    inner join {{ ref("stg_ledger__run") }} as run on gateway_usage.usage_hour_at < run.as_of_end_at

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
