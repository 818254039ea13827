{{ config(tags=["after_drift"]) }}

with expected as (

    select * from {{ ref("int_cost_drift__expected") }}

),

point_threshold as (

    select value as point_z
    from {{ ref("drift_thresholds") }}
    where threshold_id = 'point_z'

),

effects as (

    select
        series_kind,
        series,
        measure,
        usage_date,
        effect,
        sum(effect_usd_per_day) as effect_usd_per_day
    from {{ ref("int_cost_drift__effects") }}
    group by series_kind, series, measure, usage_date, effect

),

by_effect as (

    select
        series_kind,
        series,
        measure,
        usage_date,
        {{ drift_effect_sums() }}
    from effects
    group by series_kind, series, measure, usage_date

),

-- The largest effect in the direction of the change.
causes as (

    select
        *,
        row_number() over (
            partition by series_kind, series, measure, usage_date order by -directed_usd, effect
        ) as cause_rank
    from (
        select
            effects.series_kind,
            effects.series,
            effects.measure,
            effects.usage_date,
            effects.effect,
            effects.effect_usd_per_day
            * case
                when expected.actual_cost_usd_per_day < expected.expected_cost_usd_per_day then -1
                else 1
            end as directed_usd
        from effects
        inner join expected
            on
                effects.series_kind = expected.series_kind
                and effects.series = expected.series
                and effects.measure = expected.measure
                and effects.usage_date = expected.usage_date
    ) as directed

),

final as (

    select
        expected.usage_date,
        expected.series_kind,
        expected.series,
        expected.measure,
        expected.state,
        expected.state = 'drift' as is_drift,
        expected.is_alarm,
        expected.method,
        expected.since_date,
        cast(expected.cost_usd as decimal(38, 10)) as cost_usd,
        cast(expected.volume as decimal(28, 6)) as volume,
        expected.pooled_from_date,
        expected.actual_usd_per_unit,
        expected.expected_usd_per_unit,
        cast(
            cast(expected.expected_usd_per_unit as double)
            * exp(-point_threshold.point_z * expected.log_scale) as decimal(28, 8)
        ) as lower_usd_per_unit,
        cast(
            cast(expected.expected_usd_per_unit as double)
            * exp(point_threshold.point_z * expected.log_scale) as decimal(28, 8)
        ) as upper_usd_per_unit,
        cast(
            cast(expected.actual_cost_usd_per_day as double)
            / nullif(cast(expected.expected_cost_usd_per_day as double), 0) - 1 as decimal(18, 8)
        ) as change_ratio,
        cast(expected.actual_cost_usd_per_day - expected.expected_cost_usd_per_day as decimal(38, 10))
            as impact_usd_per_day,
        {{ qualified("by_effect", drift_effect_columns()) }},
        causes.effect as top_cause,
        expected.reference_from_date,
        expected.reference_to_date,
        cast(coalesce(expected.reference_day_count, 0) as integer) as reference_day_count,
        cast(expected.z_score as double) as z_score,
        expected.p_value,
        expected.q_value,
        cast(expected.coverage_ratio as decimal(9, 8)) as coverage_ratio,
        expected.restated_from_cost_usd is not null as is_restated,
        {{ usd_unit_cost("expected.restated_from_cost_usd", "expected.restated_from_volume") }}
            as restated_from_usd_per_unit,
        case
            when expected.state = 'incomplete' then expected.incomplete_reason
            when expected.state in ('no_tokens', 'low_traffic') then expected.state
            when expected.expected_usd_per_unit is null then 'no_reference'
        end as null_reason
    from expected
    cross join point_threshold
    left join by_effect
        on
            expected.series_kind = by_effect.series_kind
            and expected.series = by_effect.series
            and expected.measure = by_effect.measure
            and expected.usage_date = by_effect.usage_date
    left join causes
        on
            expected.series_kind = causes.series_kind
            and expected.series = causes.series
            and expected.measure = causes.measure
            and expected.usage_date = causes.usage_date
            and causes.cause_rank = 1
            and causes.directed_usd > 0

)

select * from final
