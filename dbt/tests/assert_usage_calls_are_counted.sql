-- In the days the run rebuilds, every row of a gateway's log is a call, counted once, or a dropped copy of
-- one. Up to the last day of the run, every call is in an hour of its deployment or listed as unmapped.
with request_usage as (

    select * from {{ ref("int_request_usage__hourly") }}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}

),

requests as (

    select
        source_name,
        usage_date,
        request_id,
        call_id,
        count(*) as row_count
    from {{ ref("stg_usage__requests") }}
    where started_at >= {{ window_start_at() }}
    group by source_name, usage_date, request_id, call_id

),

logged as (

    select
        count(*) as call_count,
        coalesce(sum(row_count), 0) as row_count
    from requests

),

counted as (

    select
        coalesce(sum(call_count), 0) as call_count,
        coalesce(sum(call_count + dropped_duplicate_count), 0) as row_count
    from request_usage
    where usage_hour_at >= {{ window_start_at() }}

),

calls as (

    select
        routes.deployment,
        request_usage.usage_hour_at,
        sum(request_usage.call_count) as call_count,
        sum(request_usage.request_count) as request_count
    from request_usage
    inner join {{ ref("stg_ledger__run") }} as run on request_usage.usage_hour_at < run.as_of_end_at
    left join routes
        on
            request_usage.source_name = routes.source_name
            and request_usage.model_group = routes.model_group
            and request_usage.model = routes.model
    group by routes.deployment, request_usage.usage_hour_at

),

-- In an hour in which engine counters speak for the deployment, they count its requests.
mapped as (

    select coalesce(sum(calls.call_count), 0) as call_count
    from calls
    inner join {{ ref("int_usage__hourly") }} as usage_hours
        on
            calls.deployment = usage_hours.deployment
            and calls.usage_hour_at = usage_hours.usage_hour_at
    where usage_hours.usage_basis = 'engine_counters' or usage_hours.request_count = calls.request_count

),

all_calls as (

    select coalesce(sum(call_count), 0) as call_count from calls

),

gateways as (

    select distinct source_name from request_usage

),

unmapped as (

    select coalesce(sum(unmapped_usage.request_count), 0) as call_count
    from {{ ref("int_usage_unmapped") }} as unmapped_usage
    inner join gateways on unmapped_usage.source_name = gateways.source_name

)

select
    'in the log' as compared,
    logged.row_count as expected_count,
    counted.row_count as found_count
from logged
cross join counted
where logged.row_count <> counted.row_count or logged.call_count <> counted.call_count

union all

select
    'of a deployment or unmapped' as compared,
    all_calls.call_count as expected_count,
    mapped.call_count + unmapped.call_count as found_count
from all_calls
cross join mapped
cross join unmapped
where all_calls.call_count <> mapped.call_count + unmapped.call_count
