{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at", "window_of": "usage"},
) }}

with final as (

    select
        deployment,
        usage_hour_at,
        {{ day_of("usage_hour_at") }} as usage_date,
        model,
        adapter,
        tenant,
        team,
        cost_center,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        total_tokens,
        reasoning_tokens,
        cache_write_tokens,
        request_count,
        stated_input_tokens,
        stated_cached_input_tokens,
        stated_output_tokens,
        stated_request_count,
        usage_basis,
        share_basis,
        is_scaled,
        coverage_ratio
    from {{ ref("int_tenant_usage__hourly") }}
    {{ in_usage_window("usage_hour_at") }}

)

select * from final
