{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at", "window_of": "records"},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
-- Two requests that overlap on one replica keep it busy once, and so does a row written twice: intervals are
-- merged before they are cut into hours. Merged by deployment, since one replica answers to several names
-- (aliases), and by role, since an engine and a gateway tell of the same calls: other routes need all hours
-- anew, so write_ledger (orchestration/warehouse.py) opens the window.
with requests as (

    select * from {{ ref("stg_usage__requests") }}
    -- A call that failed, or that the gateway answered by itself, moved no token; one without an end, or with
    -- an end before its start, has no length.
    where token_source not in ('failed', 'gateway_cache') and completed_at > started_at
    {%- if is_incremental() %}
        -- A call lasts at most a day (MAX_CALL_DAYS in serving_logs/requests.py): one that began earlier
        -- has ended before the window.
        and usage_date >= {{ records_start_date(1) }}
    {%- endif %}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}
    where deployment is not null

),

replica_requests as (

    select
        routes.deployment,
        routes.role,
        -- Two logs of one role that know the replica by one name speak of one replica.
        coalesce(nullif(requests.replica_hint, ''), ' ' || requests.source_name) as replica_name,
        -- An instant of the call: the last whole second in it, or its start.
        greatest({{ second_of("requests.completed_at") }}, requests.started_at) as inside_at,
        requests.started_at,
        requests.completed_at
    from requests
    inner join routes
        on
            requests.source_name = routes.source_name
            and requests.model_group = routes.model_group
            and requests.model = routes.model

),

-- Calls that have an instant in common are one stretch from the first start to the last end, exactly. What is
-- left to sort is at most a row per second of a replica, and one per start of calls that live between two.
overlapping as (

    select
        deployment,
        role,
        replica_name,
        min(started_at) as started_at,
        max(completed_at) as completed_at
    from replica_requests
    group by deployment, role, replica_name, inside_at

),

preceded as (

    select
        *,
        max(completed_at) over (
            partition by deployment, role, replica_name
            order by started_at, completed_at
            rows between unbounded preceding and 1 preceding
        ) as busy_until_at
    from overlapping

),

-- A call that begins after all before it have ended begins a busy stretch, and they ended the one before.
-- Only these few are sorted again.
starts as (

    select
        deployment,
        role,
        replica_name,
        started_at,
        busy_until_at
    from preceded
    where busy_until_at is null or started_at > busy_until_at

),

last_ends as (

    select
        deployment,
        role,
        replica_name,
        max(completed_at) as last_completed_at
    from overlapping
    group by deployment, role, replica_name

),

busy_stretches as (

    select
        starts.deployment,
        starts.role,
        starts.replica_name,
        starts.started_at as busy_from_at,
        lead(starts.busy_until_at, 1, last_ends.last_completed_at) over (
            partition by starts.deployment, starts.role, starts.replica_name order by starts.started_at
        ) as busy_to_at
    from starts
    inner join last_ends
        on
            starts.deployment = last_ends.deployment
            and starts.role = last_ends.role
            and starts.replica_name = last_ends.replica_name

),

bounds as (

    select
        min({{ hour_of("busy_from_at") }}) as first_hour_at,
        max({{ hour_of("busy_to_at") }}) as last_hour_at
    from busy_stretches

),

spine as (

    {{ hour_spine("bounds", "first_hour_at", "last_hour_at") }}

),

hours as (

    select
        hour_start_at,
        {{ plus_hours("hour_start_at", 1) }} as hour_end_at
    from spine
    {%- if is_incremental() %}
        where hour_start_at >= {{ records_start_at() }}
    {%- endif %}

),

-- Multiplies rows on purpose: a stretch has one row per hour that it touches.
final as (

    select
        busy_stretches.deployment,
        busy_stretches.role,
        hours.hour_start_at as usage_hour_at,
        count(distinct busy_stretches.replica_name) as replica_count,
        cast(
            sum(
                {{ seconds_between(
                    "greatest(busy_stretches.busy_from_at, hours.hour_start_at)",
                    "least(busy_stretches.busy_to_at, hours.hour_end_at)",
                ) }}
            ) as decimal(18, 6)
        ) as active_seconds
    from busy_stretches
    inner join hours
        on
            busy_stretches.busy_from_at < hours.hour_end_at
            and busy_stretches.busy_to_at > hours.hour_start_at
    group by busy_stretches.deployment, busy_stretches.role, hours.hour_start_at

)

{{ with_archived() }}
