{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at", "window_of": "usage"},
) }}

-- One source of volume per deployment and hour: that of the first role (seed usage_roles) that covers it.
-- Roles tell of the same calls, so they never add up; sources of one role do, and what two of them both
-- tell was dropped where calls are told apart. The rates of an engine's log are an estimate and speak last.

with engine_usage as (

    select * from {{ ref("int_engine_usage__hourly") }}
    -- An increase covers hours after its own: up to half of what a scrape looks back.
    {{ in_usage_window("usage_hour_at", look_back_hours=scrape_look_back_hours() // 2) }}

),

request_usage as (

    select * from {{ ref("int_request_usage__hourly") }}
    {{ in_usage_window("usage_hour_at") }}

),

request_activity as (

    select * from {{ ref("int_request_activity__hourly") }}
    {{ in_usage_window("usage_hour_at") }}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}
    where deployment is not null

),

roles as (

    select * from {{ ref("usage_roles") }}

),

log_usage as (

    select * from {{ ref("int_engine_log_usage__hourly") }}
    {{ in_usage_window("usage_hour_at") }}

),

start_ups as (

    select * from {{ ref("int_start_ups__hourly") }}
    {{ in_usage_window("usage_hour_at") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

engine_hours as (

    select
        deployment,
        usage_hour_at,
        -- All or nothing: half a count would make the classes sum to something else than the total. A class
        -- is null only where no replica of the hour exposes it.
        sum(prompt_tokens) + sum(output_tokens) is not null as has_tokens,
        cast(sum(prompt_tokens) as bigint) as prompt_tokens,
        cast(sum(cached_tokens) as bigint) as cached_tokens,
        cast(sum(output_tokens) as bigint) as output_tokens,
        cast(sum(request_count) as bigint) as request_count,
        cast(sum(unsuccessful_request_count) as bigint) as unsuccessful_request_count,
        sum(prefill_seconds) as prefill_seconds,
        sum(decode_seconds) as decode_seconds,
        count(*) as replica_count,
        sum(active_seconds) as active_seconds,
        sum(observed_seconds) as observed_seconds,
        cast(sum(reset_count) as bigint) as reset_count,
        max(case when has_gap then 1 else 0 end) = 1 as has_gap,
        sum(unobserved_seconds) as unobserved_seconds
    from engine_usage
    group by deployment, usage_hour_at

),

-- With scrapes hours apart an increase stands in one hour and covers others too.
long_windows as (

    select
        deployment,
        covered_from_at,
        covered_to_at
    from engine_usage
    where
        covered_from_at <= {{ plus_hours("usage_hour_at", -1) }}
        or covered_to_at >= {{ plus_hours("usage_hour_at", 2) }}

),

request_hours as (

    select
        routes.deployment,
        routes.role,
        request_usage.usage_hour_at,
        cast(sum(request_usage.call_count) as bigint) as call_count,
        cast(sum(request_usage.input_tokens) as bigint) as input_tokens,
        cast(sum(request_usage.cached_input_tokens) as bigint) as cached_input_tokens,
        cast(sum(request_usage.output_tokens) as bigint) as output_tokens,
        cast(sum(request_usage.request_count) as bigint) as request_count,
        cast(sum(request_usage.failed_count) as bigint) as unsuccessful_request_count,
        cast(sum(request_usage.missing_token_count) as bigint) as missing_token_count
    from request_usage
    inner join routes
        on
            request_usage.source_name = routes.source_name
            and request_usage.model_group = routes.model_group
            and request_usage.model = routes.model
    group by routes.deployment, routes.role, request_usage.usage_hour_at

),

-- A request that started in an earlier hour keeps the replica busy in an hour in which none started: zero
-- tokens, known. A role in whose log calls began speaks before one that only has calls in flight.
ranked_keys as (

    select
        keys.deployment,
        keys.role,
        keys.usage_hour_at,
        roles.usage_basis,
        row_number() over (
            partition by keys.deployment, keys.usage_hour_at
            order by max(keys.call_count) > 0 desc, roles.volume_rank
        ) as key_rank
    from (
        select
            deployment,
            role,
            usage_hour_at,
            call_count
        from request_hours
        -- Where all were copies of calls that count elsewhere nothing is known, which is not zero.
        where call_count > 0

        union all

        select
            deployment,
            role,
            usage_hour_at,
            0 as call_count
        from request_activity
    ) as keys
    inner join roles on keys.role = roles.role
    group by keys.deployment, keys.role, keys.usage_hour_at, roles.usage_basis, roles.volume_rank

),

request_keys as (

    select
        ranked_keys.deployment,
        ranked_keys.role,
        ranked_keys.usage_hour_at,
        ranked_keys.usage_basis
    from ranked_keys
    left join engine_hours
        on
            ranked_keys.deployment = engine_hours.deployment
            and ranked_keys.usage_hour_at = engine_hours.usage_hour_at
    where
        ranked_keys.key_rank = 1
        and engine_hours.deployment is null
        and not exists (
            select 1
            from long_windows
            where
                ranked_keys.deployment = long_windows.deployment
                and long_windows.covered_from_at <= ranked_keys.usage_hour_at
                and long_windows.covered_to_at >= {{ plus_hours("ranked_keys.usage_hour_at", 1) }}
        )

),

engine_rows as (

    select
        deployment,
        usage_hour_at,
        'engine_counters' as usage_basis,
        -- Never below zero: hits are counted when a request is scheduled, its prompt when it is done, so
        -- inside one hour hits may run ahead. The prompt counter is the volume.
        case
            when has_tokens then prompt_tokens - least(coalesce(cached_tokens, 0), prompt_tokens)
        end as input_tokens,
        case
            when not has_tokens then null
            when cached_tokens > prompt_tokens then prompt_tokens
            else cached_tokens
        end as cached_input_tokens,
        case when has_tokens then output_tokens end as output_tokens,
        request_count,
        unsuccessful_request_count,
        cast(null as bigint) as missing_token_count,
        prefill_seconds,
        decode_seconds,
        replica_count,
        active_seconds,
        observed_seconds,
        reset_count,
        has_gap,
        unobserved_seconds
    from engine_hours

),

request_rows as (

    select
        request_keys.deployment,
        request_keys.usage_hour_at,
        request_keys.usage_basis,
        case when request_hours.deployment is null then 0 else request_hours.input_tokens end as input_tokens,
        case
            when request_hours.deployment is null then 0 else request_hours.cached_input_tokens
        end as cached_input_tokens,
        case
            when request_hours.deployment is null then 0 else request_hours.output_tokens
        end as output_tokens,
        coalesce(request_hours.request_count, 0) as request_count,
        coalesce(request_hours.unsuccessful_request_count, 0) as unsuccessful_request_count,
        coalesce(request_hours.missing_token_count, 0) as missing_token_count,
        cast(null as decimal(38, 6)) as prefill_seconds,
        cast(null as decimal(38, 6)) as decode_seconds,
        coalesce(request_activity.replica_count, 0) as replica_count,
        coalesce(request_activity.active_seconds, 0) as active_seconds,
        cast(null as decimal(38, 6)) as observed_seconds,
        cast(null as bigint) as reset_count,
        cast(null as boolean) as has_gap,
        cast(null as decimal(38, 6)) as unobserved_seconds
    from request_keys
    left join request_hours
        on
            request_keys.deployment = request_hours.deployment
            and request_keys.role = request_hours.role
            and request_keys.usage_hour_at = request_hours.usage_hour_at
    left join request_activity
        on
            request_keys.deployment = request_activity.deployment
            and request_keys.role = request_activity.role
            and request_keys.usage_hour_at = request_activity.usage_hour_at

),

-- One row per replica: data-parallel ranks of one replica are busy at the same time.
log_replica_hours as (

    select
        routes.deployment,
        log_usage.source_name,
        log_usage.replica_key,
        log_usage.usage_hour_at,
        case
            when count(*) = count(log_usage.estimated_prompt_tokens)
                then sum(log_usage.estimated_prompt_tokens)
        end as prompt_tokens,
        sum(log_usage.estimated_output_tokens) as output_tokens,
        max(log_usage.active_seconds) as active_seconds,
        max(log_usage.observed_seconds) as observed_seconds
    from log_usage
    inner join routes
        on
            log_usage.source_name = routes.source_name
            and log_usage.model_name = routes.model
            and routes.model_group = ''
    group by routes.deployment, log_usage.source_name, log_usage.replica_key, log_usage.usage_hour_at

),

log_hours as (

    select
        deployment,
        usage_hour_at,
        count(*) = count(prompt_tokens) as has_tokens,
        sum(prompt_tokens) as prompt_tokens,
        sum(output_tokens) as output_tokens,
        count(*) as replica_count,
        sum(active_seconds) as active_seconds,
        sum(observed_seconds) as observed_seconds
    from log_replica_hours
    group by deployment, usage_hour_at

),

log_rows as (

    select
        log_hours.deployment,
        log_hours.usage_hour_at,
        'engine_log' as usage_basis,
        -- As the log counts them (prompt_basis): since vLLM 0.16 without cached tokens, before with them. How
        -- many were cached no log says.
        case when log_hours.has_tokens then log_hours.prompt_tokens end as input_tokens,
        cast(null as bigint) as cached_input_tokens,
        case when log_hours.has_tokens then log_hours.output_tokens end as output_tokens,
        cast(null as bigint) as request_count,
        cast(null as bigint) as unsuccessful_request_count,
        cast(null as bigint) as missing_token_count,
        cast(null as decimal(38, 6)) as prefill_seconds,
        cast(null as decimal(38, 6)) as decode_seconds,
        log_hours.replica_count,
        log_hours.active_seconds,
        log_hours.observed_seconds,
        cast(null as bigint) as reset_count,
        cast(null as boolean) as has_gap,
        cast(null as decimal(38, 6)) as unobserved_seconds
    from log_hours
    left join engine_hours
        on
            log_hours.deployment = engine_hours.deployment
            and log_hours.usage_hour_at = engine_hours.usage_hour_at
    left join request_keys
        on
            log_hours.deployment = request_keys.deployment
            and log_hours.usage_hour_at = request_keys.usage_hour_at
    where
        engine_hours.deployment is null
        and request_keys.deployment is null
        and not exists (
            select 1
            from long_windows
            where
                log_hours.deployment = long_windows.deployment
                and long_windows.covered_from_at <= log_hours.usage_hour_at
                and long_windows.covered_to_at >= {{ plus_hours("log_hours.usage_hour_at", 1) }}
        )

),

-- Known of a replica whoever speaks for the volume of the hour.
start_up_replica_hours as (

    select
        routes.deployment,
        start_ups.source_name,
        start_ups.replica_key,
        start_ups.usage_hour_at,
        least(sum(start_ups.start_up_seconds), 3600) as start_up_seconds,
        least(sum(start_ups.start_known_seconds), 3600) as start_known_seconds
    from start_ups
    inner join routes
        on
            start_ups.source_name = routes.source_name
            and start_ups.model_name = routes.model
            and routes.model_group = ''
    group by routes.deployment, start_ups.source_name, start_ups.replica_key, start_ups.usage_hour_at

),

start_up_hours as (

    select
        deployment,
        usage_hour_at,
        sum(start_up_seconds) as start_up_seconds,
        sum(start_known_seconds) as start_known_seconds
    from start_up_replica_hours
    group by deployment, usage_hour_at

),

basis_rows as (

    select * from engine_rows

    union all

    select * from request_rows

    union all

    select * from log_rows

),

final as (

    select
        basis_rows.deployment,
        basis_rows.usage_hour_at,
        basis_rows.usage_basis,
        cast(basis_rows.input_tokens as bigint) as input_tokens,
        cast(basis_rows.cached_input_tokens as bigint) as cached_input_tokens,
        cast(basis_rows.output_tokens as bigint) as output_tokens,
        cast(
            basis_rows.input_tokens + coalesce(basis_rows.cached_input_tokens, 0) + basis_rows.output_tokens
            as bigint
        ) as total_tokens,
        basis_rows.request_count,
        basis_rows.unsuccessful_request_count,
        -- Of the successful requests in a log of calls, the share that says how many tokens it used.
        {{ share_ratio(
            "basis_rows.request_count - basis_rows.missing_token_count", "basis_rows.request_count"
        ) }} as token_reported_ratio,
        cast(basis_rows.prefill_seconds as decimal(28, 6)) as prefill_seconds,
        cast(basis_rows.decode_seconds as decimal(28, 6)) as decode_seconds,
        basis_rows.replica_count,
        cast(basis_rows.active_seconds as decimal(28, 6)) as active_replica_seconds,
        cast(basis_rows.observed_seconds as decimal(28, 6)) as observed_replica_seconds,
        cast(start_up_hours.start_up_seconds as decimal(28, 6)) as start_up_replica_seconds,
        cast(start_up_hours.start_known_seconds as decimal(28, 6)) as start_known_replica_seconds,
        basis_rows.reset_count,
        basis_rows.has_gap,
        cast(basis_rows.unobserved_seconds as decimal(28, 6)) as unobserved_replica_seconds
    from basis_rows
    inner join run on basis_rows.usage_hour_at < run.as_of_end_at
    left join start_up_hours
        on
            basis_rows.deployment = start_up_hours.deployment
            and basis_rows.usage_hour_at = start_up_hours.usage_hour_at
    {{ in_usage_window("basis_rows.usage_hour_at") }}

)

select * from final
