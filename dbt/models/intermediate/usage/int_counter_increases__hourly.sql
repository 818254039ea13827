{%- set look_back_hours = scrape_look_back_hours() // 2 %}
{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at", "window_look_back_hours": look_back_hours},
) }}

{%- set metrics = [
    "prompt_tokens", "output_tokens", "cached_tokens", "prefix_cache_hits", "successful_requests",
    "prefill_seconds", "decode_seconds",
] %}
{%- set page_metrics = ["prompt_tokens", "output_tokens", "successful_requests"] %}

-- depends_on: {{ ref('stg_ledger__run') }}
-- By the model name on the page, not by deployment: a corrected route then holds for all hours at once, and
-- counters without a route are here too.
with deltas as (

    select
        *,
        -- A baseline has no hour of its own, only a scrape.
        coalesce(usage_hour_at, {{ hour_of("scraped_at") }}) as counted_hour_at,
        delta is not null and usage_metric in ('prompt_tokens', 'output_tokens') as is_token_window
    from {{ ref("int_counter_deltas") }}
    {%- if is_incremental() %}
        -- No scrape comes before the hour of its increase.
        where scraped_at >= {{ window_start_at(look_back_hours) }}
    {%- endif %}

),

-- One row per replica, hour and scrape: the engines (data-parallel ranks) of a page are one replica, and all
-- its series bear one model name (vLLM labels them with the first served name, LoRA adapters included).
scrapes as (

    select
        source_name,
        model_name,
        replica_key,
        counted_hour_at,
        scraped_at,
        {%- for metric in metrics %}
            sum(case when usage_metric = '{{ metric }}' then delta end) as {{ metric }},
        {%- endfor %}
        {%- for metric in page_metrics %}
            max(case when usage_metric = '{{ metric }}' then 1 else 0 end) as has_{{ metric }},
        {%- endfor %}
        max(case when is_token_window then window_seconds end) as window_seconds,
        min(case when is_token_window then window_start_at end) as window_start_at,
        max(case when is_token_window and delta > 0 then 1 else 0 end) as is_active,
        max(case when is_token_window and is_reset then 1 else 0 end) as is_reset,
        max(case when is_token_window and is_gap then 1 else 0 end) as is_gap,
        max(case when is_token_window then unobserved_seconds end) as unobserved_seconds
    from deltas
    group by source_name, model_name, replica_key, counted_hour_at, scraped_at

),

final as (

    select
        source_name,
        model_name,
        replica_key,
        counted_hour_at as usage_hour_at,
        {%- for metric in metrics %}
            cast(sum({{ metric }}) as decimal(28, 6)) as {{ metric }},
        {%- endfor %}
        {%- for metric in page_metrics %}
            max(has_{{ metric }}) = 1 as has_{{ metric }},
        {%- endfor %}
        count(window_seconds) as window_count,
        min(window_start_at) as covered_from_at,
        max(case when window_seconds is not null then scraped_at end) as covered_to_at,
        cast(sum(is_active * window_seconds) as decimal(28, 6)) as active_seconds,
        cast(sum(window_seconds) as decimal(28, 6)) as observed_seconds,
        cast(sum(is_reset) as bigint) as reset_count,
        max(is_gap) = 1 as has_gap,
        cast(sum(unobserved_seconds) as decimal(28, 6)) as unobserved_seconds
    from scrapes
    {%- if is_incremental() %}
        where counted_hour_at >= {{ window_start_at(look_back_hours) }}
    {%- endif %}
    group by source_name, model_name, replica_key, counted_hour_at

)

select * from final
