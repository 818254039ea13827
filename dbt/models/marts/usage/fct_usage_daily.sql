{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "usage"},
) }}

{%- set sums = [
    "input_tokens", "cached_input_tokens", "output_tokens", "total_tokens", "reasoning_tokens",
    "cache_write_tokens", "request_count",
] %}
{%- set stated = "stated_input_tokens + coalesce(stated_cached_input_tokens, 0) + stated_output_tokens" %}
with tenant_usage as (

    select
        *,
        {{ day_of("usage_hour_at") }} as usage_date
    from {{ ref("int_tenant_usage__hourly") }}
    {{ in_usage_window("usage_hour_at") }}

),

final as (

    select
        usage_date,
        deployment,
        model,
        adapter,
        tenant,
        max(team) as team,
        max(cost_center) as cost_center,
        {%- for what in sums %}
            cast(sum({{ what }}) as bigint) as {{ what }},
        {%- endfor %}
        cast(sum({{ stated }}) as bigint) as stated_total_tokens,
        cast({{ ratio("sum(total_tokens)", "sum(" ~ stated ~ ")") }} as decimal(28, 8)) as scaling_ratio,
        max(case when is_scaled then 1 else 0 end) = 1 as is_scaled,
        max(coverage_ratio) as coverage_ratio
    from tenant_usage
    group by usage_date, deployment, model, adapter, tenant

)

select * from final
