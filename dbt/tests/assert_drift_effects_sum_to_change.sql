-- What moved a unit cost sums to how far it moved, to the last digit; the drivers of a drift to its effects.
with drift as (

    select * from {{ ref("fct_cost_drift_daily") }}

),

drivers as (

    select
        series_kind,
        series,
        measure,
        usage_date,
        sum(effect_usd_per_day) as effect_usd_per_day
    from {{ ref("fct_cost_drivers_daily") }}
    group by series_kind, series, measure, usage_date

)

select
    drift.series_kind,
    drift.series,
    drift.measure,
    drift.usage_date
from drift
left join drivers
    on
        drift.series_kind = drivers.series_kind
        and drift.series = drivers.series
        and drift.measure = drivers.measure
        and drift.usage_date = drivers.usage_date
where
    coalesce({{ drift_effect_sum("drift") }}, 0) <> coalesce(drift.impact_usd_per_day, 0)
    or (drift.is_drift and coalesce(drivers.effect_usd_per_day, 0) <> drift.impact_usd_per_day)
