{{ config(tags=["after_drift"]) }}

with source as (

    select * from {{ source("raw", "cost_drift_scores") }}

),

final as (

    select
        series_kind,
        series,
        measure,
        usage_date,
        cost_usd,
        volume,
        coverage_ratio,
        incomplete_reason,
        state,
        method,
        is_alarm,
        since_date,
        pooled_from_date,
        z_score,
        log_scale,
        p_value,
        q_value,
        restated_from_cost_usd,
        restated_from_volume
    from source

)

select * from final
