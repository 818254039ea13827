{%- set look_back_hours = scrape_look_back_hours() // 2 %}
{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at", "window_of": "records", "window_look_back_hours": look_back_hours},
) }}

{#- Whether a column says 'nothing exposed it', beside its sum. #}
{%- set page_metrics = ["prompt_tokens", "output_tokens", "successful_requests"] %}
{%- set metrics = [
    "prompt_tokens", "output_tokens", "cached_tokens", "prefix_cache_hits", "computed_prompt_tokens",
    "successful_requests", "failed_requests", "aborted_requests", "preemptions",
    "prefill_seconds", "decode_seconds", "inference_seconds", "busy_seconds", "idle_seconds",
] %}

-- depends_on: {{ ref('stg_ledger__run') }}
-- By the model name on the page, not by deployment: a corrected route then holds for all hours at once, and
-- counters without a route are here too.
with deltas as (

    select
        *,
        -- A baseline has no hour of its own, only a scrape.
        coalesce(usage_hour_at, {{ hour_of("scraped_at") }}) as counted_hour_at
    from {{ ref("int_counter_deltas") }}
    {%- if is_incremental() %}
        -- No scrape comes before the hour of its increase.
        where scraped_at >= {{ records_start_at(look_back_hours) }}
    {%- endif %}

),

-- The engines (data-parallel ranks) of a page are one replica, and all its series bear one model name (vLLM
-- labels them with the first served name, LoRA adapters included).
sums as (

    select
        source_name,
        model_name,
        replica_key,
        counted_hour_at,
        usage_metric,
        preference,
        sum(delta) as delta,
        count(quarantine_reason) as quarantined_count
    from deltas
    group by source_name, model_name, replica_key, counted_hour_at, usage_metric, preference

),

-- Which counter of a quantity speaks for the hour: the preferred one among those that say something.
preferred as (

    select
        *,
        row_number() over (
            partition by source_name, model_name, replica_key, counted_hour_at, usage_metric
            order by case when delta is null then 1 else 0 end, preference
        ) as preference_rank
    from sums

),

replica_hours as (

    select
        source_name,
        model_name,
        replica_key,
        counted_hour_at,
        {%- for metric in metrics %}
            sum(
                case when usage_metric = '{{ metric }}' and preference_rank = 1 then delta end
            ) as {{ metric }},
        {%- endfor %}
        {%- for metric in page_metrics %}
            max(case when usage_metric = '{{ metric }}' then 1 else 0 end) as has_{{ metric }},
        {%- endfor %}
        sum(quarantined_count) as quarantined_count,
        min(preference) as best_preference
    from preferred
    group by source_name, model_name, replica_key, counted_hour_at

),

-- A frontend speaks for all engines behind it: where one of those is scraped too, tokens would count twice.
counted_hours as (

    select
        *,
        min(best_preference) over (partition by source_name, model_name, counted_hour_at) as hour_preference
    from replica_hours
    {%- if is_incremental() %}
        where counted_hour_at >= {{ records_start_at(look_back_hours) }}
    {%- endif %}

),

-- One row per replica, hour and scrape.
scrapes as (

    select
        source_name,
        model_name,
        replica_key,
        counted_hour_at,
        scraped_at,
        max(window_seconds) as window_seconds,
        min(window_start_at) as window_start_at,
        max(case when delta > 0 then 1 else 0 end) as is_active,
        max(case when is_reset then 1 else 0 end) as is_reset,
        max(case when is_gap then 1 else 0 end) as is_gap,
        max(unobserved_seconds) as unobserved_seconds
    from deltas
    where delta is not null and usage_metric in ('prompt_tokens', 'output_tokens')
    group by source_name, model_name, replica_key, counted_hour_at, scraped_at

),

activity as (

    select
        source_name,
        model_name,
        replica_key,
        counted_hour_at,
        count(window_seconds) as window_count,
        min(window_start_at) as covered_from_at,
        max(case when window_seconds is not null then scraped_at end) as covered_to_at,
        sum(is_active * window_seconds) as active_seconds,
        sum(window_seconds) as observed_seconds,
        sum(is_reset) as reset_count,
        max(is_gap) as has_gap,
        sum(unobserved_seconds) as unobserved_seconds
    from scrapes
    group by source_name, model_name, replica_key, counted_hour_at

),

final as (

    select
        hours.source_name,
        hours.model_name,
        hours.replica_key,
        hours.counted_hour_at as usage_hour_at,
        {%- for metric in metrics %}
            cast(hours.{{ metric }} as decimal(28, 6)) as {{ metric }},
        {%- endfor %}
        {%- for metric in page_metrics %}
            hours.has_{{ metric }} = 1 as has_{{ metric }},
        {%- endfor %}
        coalesce(activity.window_count, 0) as window_count,
        activity.covered_from_at,
        activity.covered_to_at,
        cast(activity.active_seconds as decimal(28, 6)) as active_seconds,
        cast(activity.observed_seconds as decimal(28, 6)) as observed_seconds,
        cast(coalesce(activity.reset_count, 0) as bigint) as reset_count,
        coalesce(activity.has_gap, 0) = 1 as has_gap,
        cast(activity.unobserved_seconds as decimal(28, 6)) as unobserved_seconds,
        cast(hours.quarantined_count as bigint) as quarantined_count
    from counted_hours as hours
    left join activity
        on
            hours.source_name = activity.source_name
            and hours.model_name = activity.model_name
            and hours.replica_key = activity.replica_key
            and hours.counted_hour_at = activity.counted_hour_at
    where hours.best_preference < {{ frontend_preference() }} or hours.hour_preference = hours.best_preference

)

{{ with_archived() }}
