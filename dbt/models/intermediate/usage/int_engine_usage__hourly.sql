{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at", "window_of": "usage"},
) }}

with increases as (

    select * from {{ ref("int_counter_increases__hourly") }}
    {{ in_usage_window("usage_hour_at") }}

),

classes as (

    select * from {{ ref("int_usage_classes") }}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}
    where deployment is not null

),

-- One row per replica and hour; more model names than one only where the replica was served under another.
replica_hours as (

    select
        routes.deployment,
        increases.source_name,
        increases.replica_key,
        increases.usage_hour_at,
        sum(increases.prompt_tokens) as prompt_tokens,
        sum(increases.output_tokens) as output_tokens,
        sum(increases.cached_tokens) as cached_tokens,
        sum(increases.prefix_cache_hits) as prefix_cache_hits,
        sum(increases.successful_requests) as successful_requests,
        sum(increases.failed_requests) as failed_requests,
        sum(increases.aborted_requests) as aborted_requests,
        sum(increases.prefill_seconds) as prefill_seconds,
        sum(increases.decode_seconds) as decode_seconds,
        sum(increases.window_count) as window_count,
        min(increases.covered_from_at) as covered_from_at,
        max(increases.covered_to_at) as covered_to_at,
        sum(increases.active_seconds) as active_seconds,
        sum(increases.observed_seconds) as observed_seconds,
        sum(increases.reset_count) as reset_count,
        max(case when increases.has_gap then 1 else 0 end) as has_gap,
        sum(increases.unobserved_seconds) as unobserved_seconds
    from increases
    inner join routes
        on
            increases.source_name = routes.source_name
            and increases.model_name = routes.model
            and routes.model_group = ''
    group by routes.deployment, increases.source_name, increases.replica_key, increases.usage_hour_at

),

replica_classes as (

    select * from classes
    where build_number = (select max(latest.build_number) from classes as latest)

),

final as (

    select
        replica_hours.deployment,
        replica_hours.source_name,
        replica_hours.replica_key,
        replica_hours.usage_hour_at,
        cast(
            case
                when
                    replica_hours.usage_hour_at
                    between replica_classes.first_prompt_tokens_at and replica_classes.last_prompt_tokens_at
                    then coalesce(replica_hours.prompt_tokens, 0)
            end as bigint
        ) as prompt_tokens,
        cast(
            case
                when
                    replica_hours.usage_hour_at
                    between replica_classes.first_cached_tokens_at and replica_classes.last_cached_tokens_at
                    then coalesce(replica_hours.cached_tokens, 0)
                when
                    replica_hours.usage_hour_at
                    between replica_classes.first_prefix_cache_hits_at
                    and replica_classes.last_prefix_cache_hits_at
                    then coalesce(replica_hours.prefix_cache_hits, 0)
            end as bigint
        ) as cached_tokens,
        cast(
            case
                when
                    replica_hours.usage_hour_at
                    between replica_classes.first_output_tokens_at and replica_classes.last_output_tokens_at
                    then coalesce(replica_hours.output_tokens, 0)
            end as bigint
        ) as output_tokens,
        cast(
            case
                when
                    replica_hours.usage_hour_at
                    between replica_classes.first_successful_requests_at
                    and replica_classes.last_successful_requests_at
                    then coalesce(replica_hours.successful_requests, 0)
            end as bigint
        ) as request_count,
        -- Some engines count errors, some what the caller gave up, some both.
        cast(
            case
                when
                    replica_hours.usage_hour_at
                    between replica_classes.first_failed_requests_at
                    and replica_classes.last_failed_requests_at
                    or replica_hours.usage_hour_at
                    between replica_classes.first_aborted_requests_at
                    and replica_classes.last_aborted_requests_at
                    then
                        coalesce(replica_hours.failed_requests, 0)
                        + coalesce(replica_hours.aborted_requests, 0)
            end as bigint
        ) as unsuccessful_request_count,
        cast(
            case
                when
                    replica_hours.usage_hour_at
                    between replica_classes.first_prefill_seconds_at
                    and replica_classes.last_prefill_seconds_at
                    then coalesce(replica_hours.prefill_seconds, 0)
            end as decimal(28, 6)
        ) as prefill_seconds,
        cast(
            case
                when
                    replica_hours.usage_hour_at
                    between replica_classes.first_decode_seconds_at
                    and replica_classes.last_decode_seconds_at
                    then coalesce(replica_hours.decode_seconds, 0)
            end as decimal(28, 6)
        ) as decode_seconds,
        replica_hours.window_count,
        replica_hours.covered_from_at,
        replica_hours.covered_to_at,
        cast(least(replica_hours.active_seconds, 3600) as decimal(18, 6)) as active_seconds,
        cast(least(replica_hours.observed_seconds, 3600) as decimal(18, 6)) as observed_seconds,
        replica_hours.reset_count,
        replica_hours.has_gap = 1 as has_gap,
        cast(replica_hours.unobserved_seconds as decimal(18, 6)) as unobserved_seconds
    from replica_hours
    inner join replica_classes
        on
            replica_hours.deployment = replica_classes.deployment
            and replica_hours.source_name = replica_classes.source_name
            and replica_hours.replica_key = replica_classes.replica_key
    -- An hour in which only baselines, requests or times were read says nothing of tokens.
    where replica_hours.window_count > 0

)

select * from final
