with segments as (

    select * from {{ ref("int_cost_segments__daily") }}

),

thresholds as (

    select
        max(case when threshold_id = 'minimum_coverage' then value end) as minimum_coverage,
        max(case when threshold_id = 'minimum_million_tokens' then value end) as minimum_million_tokens,
        max(case when threshold_id = 'minimum_requests' then value end) as minimum_requests
    from {{ ref("drift_thresholds") }}

),

series_kinds as (
    {{ cost_series_kinds() }}
),

members as (

    select
        segments.*,
        series_kinds.series_kind,
        {{ cost_series_of("segments") }} as series
    from segments
    cross join series_kinds

),

daily as (

    select
        usage_date,
        series_kind,
        series,
        bool_and(is_gpu_count_known) as is_gpu_count_known,
        sum(cost_usd) as cost_usd,
        sum(total_tokens) as total_tokens,
        sum(request_count) as request_count,
        {{ share_ratio("sum(covered_gpu_hours)", "sum(held_gpu_hours)") }} as coverage_ratio
    from members
    group by usage_date, series_kind, series

),

measures as (

    select 'cost_usd_per_million_tokens' as measure

    union all

    select 'cost_usd_per_request' as measure

),

measured as (

    select
        daily.usage_date,
        daily.series_kind,
        daily.series,
        measures.measure,
        cast(daily.cost_usd as decimal(38, 10)) as cost_usd,
        cast(
            case measures.measure
                when 'cost_usd_per_request' then cast(daily.request_count as decimal(28, 6))
                else cast(daily.total_tokens as decimal(28, 0)) * cast(0.000001 as decimal(7, 6))
            end as decimal(28, 6)
        ) as volume,
        cast(
            case measures.measure
                when 'cost_usd_per_request' then thresholds.minimum_requests
                else thresholds.minimum_million_tokens
            end as decimal(18, 6)
        ) as minimum_volume,
        coalesce(daily.coverage_ratio, 0) as coverage_ratio,
        case
            when not daily.is_gpu_count_known then 'unknown_gpu_count'
            when coalesce(daily.coverage_ratio, 0) < thresholds.minimum_coverage
                then 'hours_without_price_or_counters'
            when daily.cost_usd <= 0 then 'no_cost'
        end as incomplete_reason
    from daily
    cross join measures
    cross join thresholds

),

final as (

    select
        *,
        incomplete_reason is null as is_complete,
        {{ usd_unit_cost("cost_usd", "volume") }} as cost_usd_per_unit
    from measured

)

select * from final
