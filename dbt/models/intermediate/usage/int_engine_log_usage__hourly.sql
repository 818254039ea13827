{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at", "window_of": "records"},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
with windows as (

    select * from {{ ref("stg_usage__log_windows") }}
    {%- if is_incremental() %}
        where started_at >= {{ records_start_at() }}
    {%- endif %}

),

-- Shippers deliver at least once, and copytruncate leaves a copy behind: a line that says the same of the
-- same instant is the same line.
lines as (

    select distinct
        source_name,
        replica_key,
        engine,
        model_name,
        prompt_basis,
        window_seconds,
        prompt_tokens_per_second,
        output_tokens_per_second,
        running_requests,
        waiting_requests,
        kv_cache_usage_ratio,
        prefix_cache_hit_ratio,
        started_at,
        logged_at
    from windows

),

estimated as (

    select
        *,
        cast(prompt_tokens_per_second * window_seconds as decimal(38, 9)) as prompt_tokens,
        cast(output_tokens_per_second * window_seconds as decimal(38, 9)) as output_tokens,
        row_number() over (
            partition by
                source_name, replica_key, engine, model_name, prompt_basis, {{ hour_of("started_at") }}
            order by logged_at desc, prefix_cache_hit_ratio desc
        ) as latest_rank
    from lines

),

-- A window belongs to the hour in which it began, as a call does.
final as (

    select
        source_name,
        replica_key,
        engine,
        model_name,
        prompt_basis,
        {{ hour_of("started_at") }} as usage_hour_at,
        count(*) as window_count,
        cast(sum(window_seconds) as decimal(18, 6)) as observed_seconds,
        cast(
            sum(
                case
                    when running_requests > 0 or prompt_tokens > 0 or output_tokens > 0 then window_seconds
                    else 0
                end
            ) as decimal(18, 6)
        ) as active_seconds,
        -- Known only where each line states it: half a sum would be taken for the whole.
        case
            when count(prompt_tokens) = count(*) then cast(round(sum(prompt_tokens)) as bigint)
        end as estimated_prompt_tokens,
        cast(round(sum(output_tokens)) as bigint) as estimated_output_tokens,
        max(running_requests) as max_running_requests,
        max(waiting_requests) as max_waiting_requests,
        cast(
            sum(cast(kv_cache_usage_ratio as double) * cast(window_seconds as double))
            / nullif(
                sum(case when kv_cache_usage_ratio is not null then cast(window_seconds as double) end), 0
            ) as decimal(9, 6)
        ) as mean_kv_cache_usage_ratio,
        -- Over the engine's own last 1,000 requests, so the last word of the hour.
        max(case when latest_rank = 1 then prefix_cache_hit_ratio end) as last_prefix_cache_hit_ratio
    from estimated
    group by source_name, replica_key, engine, model_name, prompt_basis, {{ hour_of("started_at") }}

)

{{ with_archived() }}
