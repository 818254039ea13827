{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    tags=["after_drift"],
    meta={"window_column": "usage_date"},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
with scores as (

    select * from {{ ref("stg_drift__scores") }}
    {% if is_incremental() -%}
        where usage_date >= (select run.window_start_date from {{ ref("stg_ledger__run") }} as run)
    {%- endif %}

),

segments as (

    select * from {{ ref("int_cost_drift__segments") }}

),

reference_days as (

    select
        series_kind,
        series,
        measure,
        usage_date,
        count(*) as reference_day_count,
        min(reference_date) as reference_from_date,
        max(reference_date) as reference_to_date
    from {{ ref("stg_drift__references") }}
    group by series_kind, series, measure, usage_date

),

sums as (

    select
        series_kind,
        series,
        measure,
        usage_date,
        sum(case when is_actual then cost_usd end) as cost_usd,
        sum(case when is_actual then {{ drift_volume() }} end) as volume,
        sum(case when not is_actual then cost_usd end) as reference_cost_usd,
        sum(case when not is_actual then {{ drift_volume() }} end) as reference_volume
    from segments
    group by series_kind, series, measure, usage_date

),

final as (

    select
        scores.series_kind,
        scores.series,
        scores.measure,
        scores.usage_date,
        scores.cost_usd,
        scores.volume,
        scores.coverage_ratio,
        scores.incomplete_reason,
        scores.state,
        scores.method,
        scores.is_alarm,
        scores.since_date,
        scores.pooled_from_date,
        scores.z_score,
        scores.log_scale,
        scores.p_value,
        scores.q_value,
        scores.restated_from_cost_usd,
        scores.restated_from_volume,
        cast(sums.cost_usd as decimal(38, 10)) as judged_cost_usd,
        cast(sums.volume as decimal(28, 6)) as judged_volume,
        cast(sums.reference_cost_usd as decimal(38, 10)) as reference_cost_usd,
        cast(sums.reference_volume as decimal(28, 6)) as reference_volume,
        reference_days.reference_day_count,
        reference_days.reference_from_date,
        reference_days.reference_to_date,
        {{ usd_unit_cost("sums.cost_usd", "sums.volume") }} as actual_usd_per_unit,
        {{ usd_unit_cost("sums.reference_cost_usd", "sums.reference_volume") }} as expected_usd_per_unit,
        cast(
            cast(sums.cost_usd as double) / {{ drift_days("scores") }} as decimal(38, 10)
        ) as actual_cost_usd_per_day,
        -- What the volume would have cost as in the reference.
        cast(
            cast(sums.reference_cost_usd as double) * cast(sums.volume as double)
            / nullif(cast(sums.reference_volume as double), 0) / {{ drift_days("scores") }} as decimal(38, 10)
        ) as expected_cost_usd_per_day
    from scores
    left join sums
        on
            scores.series_kind = sums.series_kind
            and scores.series = sums.series
            and scores.measure = sums.measure
            and scores.usage_date = sums.usage_date
    left join reference_days
        on
            scores.series_kind = reference_days.series_kind
            and scores.series = reference_days.series
            and scores.measure = reference_days.measure
            and scores.usage_date = reference_days.usage_date

)

select * from final
