{{ config(
    materialized="incremental",
    incremental_strategy="replace_unsettled",
    on_schema_change="fail",
    meta={"begins_column": "seen_from_at", "key": ["period_id"]},
) }}

-- Ratios by which most prices of a dataset, or of one region of it, moved from one period to the next. Kept
-- for good: they are few, and a feed that is held is judged by all of them (int_price_slips).

-- depends_on: {{ ref('stg_ledger__run') }}
with periods as (

    select
        *,
        lag(seen_until_at) over (
            partition by source, dataset order by period_number
        ) as previous_seen_until_at
    from {{ ref("int_price_snapshots") }}

),

steps as (

    select
        period_id,
        region,
        cast(price_usd_per_instance_hour as double)
        / cast(previous_price_usd_per_instance_hour as double) as step_ratio
    from {{ ref("int_price_steps") }}
    where previous_price_usd_per_instance_hour is not null

),

swaps as (

    select * from {{ ref("int_price_swaps") }}

),

rules as (

    select
        cast(max(case when rule_id = 'common_factor' then threshold end) as double) as dataset_share,
        cast(max(case when rule_id = 'regional_factor' then threshold end) as double) as region_share
    from {{ ref("price_rules") }}

),

dataset_medians as (

    select
        period_id,
        cast(null as varchar) as region,
        {{ median_of("step_ratio") }} as step_ratio,
        count(*) as series_count,
        min(region) as first_region,
        max(region) as last_region
    from steps
    group by period_id
    having count(*) >= 5

),

region_medians as (

    select
        steps.period_id,
        steps.region,
        {{ median_of("steps.step_ratio") }} as step_ratio,
        count(*) as series_count
    from steps
    inner join dataset_medians on steps.period_id = dataset_medians.period_id
    where dataset_medians.first_region <> dataset_medians.last_region
    group by steps.period_id, steps.region
    having count(*) >= 5

),

-- If most series share one ratio, the median is that ratio.
scope_medians as (

    select
        period_id,
        region,
        step_ratio,
        series_count
    from dataset_medians
    where abs(step_ratio - 1) > 0.001
    union all
    select * from region_medians
    where abs(step_ratio - 1) > 0.001

),

factors as (

    select
        scope_medians.period_id,
        scope_medians.region,
        scope_medians.step_ratio,
        scope_medians.series_count,
        count(*) as moved_series_count
    from scope_medians
    inner join steps
        on
            scope_medians.period_id = steps.period_id
            and coalesce(scope_medians.region, steps.region) = steps.region
            and abs(steps.step_ratio / scope_medians.step_ratio - 1) <= 0.001
    cross join rules
    group by
        scope_medians.period_id, scope_medians.region, scope_medians.step_ratio, scope_medians.series_count
    having
        count(*) >= scope_medians.series_count
        * max(case when scope_medians.region is null then rules.dataset_share else rules.region_share end)

),

-- A region that moves with its dataset, or by a swap or its end, is no event of its own.
final as (

    select
        factors.period_id,
        periods.source,
        periods.dataset,
        periods.period_number,
        periods.seen_from_at,
        periods.previous_seen_until_at,
        factors.region,
        cast(factors.step_ratio as decimal(28, 8)) as step_ratio,
        factors.series_count,
        factors.moved_series_count,
        factors.region is not null
        and (
            swaps.period_id is not null
            or max(case when factors.region is null then 1 else 0 end)
                over (partition by factors.period_id)
            = 1
        ) as is_part_of_other
    from factors
    inner join periods on factors.period_id = periods.period_id
    left join swaps on factors.period_id = swaps.period_id and factors.region = swaps.region
    {%- if is_incremental() %}
        where periods.seen_from_at >= {{ prices_settled_until_at() }}
    {%- endif %}

)

select * from final
