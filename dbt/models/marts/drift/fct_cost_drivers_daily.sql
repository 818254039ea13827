{{ config(tags=["after_drift"]) }}

with effects as (

    select * from {{ ref("int_cost_drift__effects") }}

),

drifts as (

    select * from {{ ref("int_cost_drift__expected") }}
    where state = 'drift'

),

final as (

    select
        effects.usage_date,
        effects.series_kind,
        effects.series,
        effects.measure,
        cast(
            row_number() over (
                partition by effects.usage_date, effects.series_kind, effects.series, effects.measure
                order by
                    -abs(effects.effect_usd_per_day), effects.effect, effects.deployment, effects.provider,
                    effects.region, effects.gpu_model, effects.pricing_category
            ) as integer
        ) as driver_rank,
        effects.effect,
        effects.deployment,
        effects.model,
        effects.provider,
        effects.region,
        effects.gpu_model,
        effects.pricing_category,
        effects.effect_usd_per_day,
        effects.expected_cost_usd_per_day,
        effects.actual_cost_usd_per_day,
        {{ ratio(
            "effects.effect_usd_per_day",
            "(drifts.actual_cost_usd_per_day - drifts.expected_cost_usd_per_day)",
        ) }} as change_share_ratio
    from effects
    inner join drifts
        on
            effects.series_kind = drifts.series_kind
            and effects.series = drifts.series
            and effects.measure = drifts.measure
            and effects.usage_date = drifts.usage_date

)

select * from final
