{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at"},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
-- By the names in the log, not by deployment: a corrected route then holds for all hours at once, and calls
-- without a route are counted too.
with calls as (

    select
        *,
        is_counted and token_source <> 'gateway_cache' as is_engine_call
    from {{ ref("int_calls__deduplicated") }}
    {%- if is_incremental() %}
        where usage_date >= {{ window_start_date() }}
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
        sum(case when is_counted then 1 else 0 end) as call_count,
        sum(case when is_engine_call and token_source <> 'failed' then 1 else 0 end) as request_count,
        sum(case when is_counted and token_source = 'failed' then 1 else 0 end) as failed_count,
        sum(case when is_retry then 1 else 0 end) as retry_count,
        sum(case when is_counted and token_source = 'missing' then 1 else 0 end) as missing_token_count,
        sum(case when is_counted and token_source = 'estimated' then 1 else 0 end) as estimated_token_count,
        sum(case when is_counted and token_source = 'gateway_cache' then 1 else 0 end) as gateway_cache_count,
        sum(case when is_further_answer then 1 else 0 end) as further_answer_count,
        sum(dropped_duplicate_count) as dropped_duplicate_count,
        sum(case when has_conflict then 1 else 0 end) as conflict_count,
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

select * from final
