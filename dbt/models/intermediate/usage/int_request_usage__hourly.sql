{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at", "window_of": "records"},
) }}

{%- set counts = {
    "call": "is_counted",
    "request": "is_engine_call and token_source <> 'failed'",
    "failed": "is_counted and token_source = 'failed'",
    "retry": "is_retry",
    "missing_token": "is_counted and token_source = 'missing'",
    "estimated_token": "is_counted and token_source = 'estimated'",
    "gateway_cache": "is_counted and token_source = 'gateway_cache'",
    "further_answer": "is_further_answer",
    "conflict": "has_conflict",
} %}

-- depends_on: {{ ref('stg_ledger__run') }}
-- By the names in the log, not by deployment: a corrected route then holds for all hours at once, and calls
-- without a route are counted too.
with calls as (

    select
        *,
        is_counted and token_source <> 'gateway_cache' as is_engine_call
    from {{ ref("int_calls__deduplicated") }}
    {%- if is_incremental() %}
        where usage_date >= {{ records_start_date() }}
    {%- endif %}

),

-- A call belongs to the hour in which it started, as its usage date does.
final as (

    select
        source_name,
        model_group,
        model,
        adapter,
        tenant,
        {{ hour_of("started_at") }} as usage_hour_at,
        {%- for name, condition in counts.items() %}
            cast(sum(case when {{ condition }} then 1 else 0 end) as bigint) as {{ name }}_count,
        {%- endfor %}
        cast(sum(dropped_duplicate_count) as bigint) as dropped_duplicate_count,
        {%- for tokens in ["prompt", "input", "cached_input", "output", "reasoning", "cache_write"] %}
            cast(sum(case when is_engine_call then {{ tokens }}_tokens end) as bigint) as {{ tokens }}_tokens,
        {%- endfor %}
        {%- for tokens in ["prompt", "cached_input", "output"] %}
            cast(
                sum(
                    case
                        when is_counted and token_source = 'gateway_cache'
                            then coalesce({{ tokens }}_tokens, 0)
                        else 0
                    end
                ) as bigint
            ) as gateway_cache_{{ tokens }}_tokens,
            cast(sum(dropped_{{ tokens }}_tokens) as bigint)
                as dropped_{{ tokens }}_tokens{% if not loop.last %},{% endif %}
        {%- endfor %}
    from calls
    group by source_name, model_group, model, adapter, tenant, {{ hour_of("started_at") }}

)

{{ with_archived() }}
