-- In the days the run rebuilds, every row of a log is a call, counted once, or a dropped copy of one. Up to
-- the last day of the run, the calls of a deployment's hour are its volume, or a role that ranks before
-- speaks for the hour; calls without a deployment are listed as unmapped.
with request_usage as (

    select * from {{ ref("int_request_usage__hourly") }}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}

),

logged as (

    select count(*) as row_count
    from {{ ref("stg_usage__requests") }}
    where started_at >= {{ records_start_at() }}

),

counted as (

    select coalesce(sum(call_count + dropped_duplicate_count), 0) as row_count
    from request_usage
    where usage_hour_at >= {{ records_start_at() }}

),

calls as (

    select
        routes.deployment,
        roles.usage_basis,
        roles.volume_rank,
        request_usage.source_name,
        request_usage.usage_hour_at,
        request_usage.call_count,
        request_usage.request_count
    from request_usage
    inner join {{ ref("stg_ledger__run") }} as run on request_usage.usage_hour_at < run.as_of_end_at
    left join routes
        on
            request_usage.source_name = routes.source_name
            and request_usage.model_group = routes.model_group
            and request_usage.model = routes.model
    left join {{ ref("usage_roles") }} as roles on routes.role = roles.role

),

role_hours as (

    select
        deployment,
        usage_basis,
        volume_rank,
        usage_hour_at,
        sum(request_count) as request_count
    from calls
    where deployment is not null
    group by deployment, usage_basis, volume_rank, usage_hour_at
    having sum(call_count) > 0

),

-- Hours without a row of their own, inside a scrape window that is counted in another hour.
covered_hours as (

    select
        role_hours.deployment,
        role_hours.usage_hour_at
    from role_hours
    inner join {{ ref("int_engine_usage__hourly") }} as engine_usage
        on
            role_hours.deployment = engine_usage.deployment
            and role_hours.usage_hour_at >= engine_usage.covered_from_at
            and {{ plus_hours("role_hours.usage_hour_at", 1) }} <= engine_usage.covered_to_at
    group by role_hours.deployment, role_hours.usage_hour_at

),

unmapped as (

    select
        source_name,
        sum(call_count) as call_count
    from calls
    where deployment is null
    group by source_name

),

listed as (

    select
        source_name,
        sum(request_count) as call_count
    from {{ ref("int_usage_unmapped") }}
    where reason = 'no_route'
    group by source_name

)

select
    'rows in the logs' as compared,
    '' as place,
    logged.row_count as expected_count,
    counted.row_count as found_count
from logged
cross join counted
where logged.row_count <> counted.row_count

union all

select
    'calls of a deployment' as compared,
    role_hours.deployment || ' ' || role_hours.usage_basis as place,
    role_hours.request_count as expected_count,
    usage_hours.request_count as found_count
from role_hours
left join {{ ref("int_usage__hourly") }} as usage_hours
    on
        role_hours.deployment = usage_hours.deployment
        and role_hours.usage_hour_at = usage_hours.usage_hour_at
left join {{ ref("usage_roles") }} as speaking on usage_hours.usage_basis = speaking.usage_basis
left join covered_hours
    on
        role_hours.deployment = covered_hours.deployment
        and role_hours.usage_hour_at = covered_hours.usage_hour_at
where
    (usage_hours.deployment is null and covered_hours.deployment is null)
    or speaking.volume_rank > role_hours.volume_rank
    or (
        speaking.volume_rank = role_hours.volume_rank
        and usage_hours.request_count <> role_hours.request_count
    )

union all

select
    'unmapped calls' as compared,
    unmapped.source_name as place,
    unmapped.call_count as expected_count,
    listed.call_count as found_count
from unmapped
left join listed on unmapped.source_name = listed.source_name
where unmapped.call_count <> coalesce(listed.call_count, 0)
