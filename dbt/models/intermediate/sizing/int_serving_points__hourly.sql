-- Latency and load as the engines measured them. Times are those of requests that finished in the hour,
-- tokens those generated in it: in an hour with few requests the two differ, so readers ask for many.
with usage as (

    select * from {{ ref("int_engine_usage__hourly") }}
    where
        prefill_seconds is not null
        and decode_seconds is not null
        and request_count > 0
        and active_seconds > 0

),

deployments as (

    select * from {{ ref("int_deployments__described") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

-- Older hours would say how another release of the engine did.
hours as (

    select
        usage.deployment,
        usage.usage_hour_at,
        sum(usage.request_count) as request_count,
        sum(usage.prompt_tokens) as prompt_tokens,
        sum(usage.cached_tokens) as cached_tokens,
        sum(usage.output_tokens) as output_tokens,
        sum(usage.prefill_seconds) as prefill_seconds,
        sum(usage.decode_seconds) as decode_seconds,
        sum(usage.active_seconds) as active_seconds
    from usage
    cross join run
    where
        usage.usage_hour_at >= {{ plus_hours("run.as_of_end_at", -35 * 24) }}
        and usage.usage_hour_at < run.as_of_end_at
    group by usage.deployment, usage.usage_hour_at

),

final as (

    select
        hours.deployment,
        hours.usage_hour_at,
        deployments.model,
        deployments.gpu_model,
        deployments.gpus_per_replica,
        cast(hours.request_count as bigint) as request_count,
        cast(hours.prompt_tokens / nullif(hours.request_count, 0) as decimal(18, 6))
            as input_tokens_per_request,
        cast(hours.cached_tokens / nullif(hours.request_count, 0) as decimal(18, 6))
            as cached_input_tokens_per_request,
        cast(hours.output_tokens / nullif(hours.request_count, 0) as decimal(18, 6))
            as output_tokens_per_request,
        -- Little's law: seconds that requests spent in an engine, over its seconds of work.
        cast(
            (hours.prefill_seconds + hours.decode_seconds) / nullif(hours.active_seconds, 0) as decimal(18, 6)
        ) as concurrency_per_replica,
        cast(hours.prefill_seconds * 1000 / nullif(hours.request_count, 0) as decimal(18, 6)) as prefill_ms,
        -- The first token of each request belongs to its prefill.
        cast(
            hours.decode_seconds * 1000 / nullif(hours.output_tokens - hours.request_count, 0)
            as decimal(18, 6)
        ) as tpot_ms
    from hours
    inner join deployments on hours.deployment = deployments.deployment
    where
        hours.output_tokens > hours.request_count
        and hours.prompt_tokens >= hours.request_count
        and hours.decode_seconds > 0

)

select * from final
