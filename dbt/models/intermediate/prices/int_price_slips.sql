-- What moves many prices at once: a whole dataset or a whole region by one ratio, or two regions that show
-- each other's prices. Such a feed is judged by its level, the product of its common factors: it is held
-- while the level is off the trusted one.

with recursive

periods as (

    select * from {{ ref("int_price_snapshots") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

rules as (

    select
        cast(max(case when rule_id = 'common_factor' then threshold end) as double) as dataset_share,
        cast(max(case when rule_id = 'regional_factor' then threshold end) as double) as region_share,
        cast(max(case when rule_id = 'regions_swapped' then threshold end) as double) as swapped_share
    from {{ ref("price_rules") }}

),

-- Units are confused in both directions; a currency only in one, for the way back is a return to a level that
-- was trusted.
causes as (

    select
        ln(cast(factor as double)) as log_factor,
        0.005 as tolerance,
        likely_cause
    from {{ ref("price_slip_factors") }}
    union all
    select
        -ln(cast(factor as double)) as log_factor,
        0.005 as tolerance,
        likely_cause
    from {{ ref("price_slip_factors") }}
    union all
    select
        ln(cast(units_per_usd as double)) as log_factor,
        cast(tolerance as double) as tolerance,
        'prices in ' || currency || ' read as USD' as likely_cause
    from {{ ref("price_currency_rates") }}

),

priced_offers as (

    select
        periods.period_id,
        periods.source,
        periods.dataset,
        periods.period_number,
        offers.series_id,
        offers.region,
        offers.offer_key,
        cast(offers.price_usd_per_instance_hour as double) as price_usd
    from periods
    inner join offers on periods.snapshot_id = offers.snapshot_id
    where offers.price_usd_per_instance_hour is not null

),

earlier_prices as (

    select
        *,
        lag(price_usd) over (partition by series_id order by period_number) as previous_price_usd,
        lag(price_usd, 2) over (partition by series_id order by period_number) as price_before_usd
    from priced_offers

),

steps as (

    select
        *,
        price_usd / previous_price_usd as step_ratio
    from earlier_prices
    where previous_price_usd is not null

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

dataset_factors as (

    select period_id from factors
    where region is null

),

-- Regions where something moved although the dataset did not as a whole.
moved_regions as (

    select
        steps.period_id,
        steps.region
    from steps
    left join dataset_factors on steps.period_id = dataset_factors.period_id
    where abs(steps.step_ratio - 1) > 0.001 and dataset_factors.period_id is null
    group by steps.period_id, steps.region
    having count(*) >= 3

),

moved_region_steps as (

    select steps.* from steps
    inner join moved_regions on steps.period_id = moved_regions.period_id and steps.region = moved_regions.region

),

swaps as (

    select
        one.period_id,
        one.region as one_region,
        other.region as other_region,
        count(*) as series_count,
        count(
            case
                when
                    abs(one.price_usd / other.previous_price_usd - 1) <= 0.001
                    and abs(other.price_usd / one.previous_price_usd - 1) <= 0.001
                    -- The way back is the end of a swap and not another one.
                    and coalesce(abs(one.price_usd / one.price_before_usd - 1) > 0.001, true)
                    then 1
            end
        ) as swapped_series_count
    from moved_region_steps as one
    -- Pairs of regions, each with the offers both have.
    inner join moved_region_steps as other
        on one.period_id = other.period_id and one.offer_key = other.offer_key and one.region < other.region
    group by one.period_id, one.region, other.region
    having count(*) >= 3

),

swapped_regions as (

    select
        swaps.period_id,
        swaps.one_region,
        swaps.other_region,
        swaps.one_region || ' and ' || swaps.other_region as evidence,
        swaps.series_count,
        swaps.swapped_series_count
    from swaps
    cross join rules
    where swaps.swapped_series_count >= rules.swapped_share * swaps.series_count

),

swapped_region_sides as (

    select
        period_id,
        one_region as region,
        evidence,
        series_count,
        swapped_series_count
    from swapped_regions
    union all
    select
        period_id,
        other_region as region,
        evidence,
        series_count,
        swapped_series_count
    from swapped_regions

),

-- A region that moves with its dataset, or by a swap, is no event of its own.
own_factors as (

    select factors.* from factors
    left join dataset_factors on factors.period_id = dataset_factors.period_id
    left join swapped_region_sides
        on factors.period_id = swapped_region_sides.period_id and factors.region = swapped_region_sides.region
    where factors.region is null or dataset_factors.period_id is null and swapped_region_sides.period_id is null

),

scopes as (

    select distinct
        periods.source,
        periods.dataset,
        own_factors.region
    from own_factors
    inner join periods on own_factors.period_id = periods.period_id

),

-- The level of a scope is the sum of its logarithms so far; a segment is a run of periods at one level.
scope_periods as (

    select
        periods.period_id,
        periods.source,
        periods.dataset,
        periods.seen_from_at,
        periods.seen_until_at,
        scopes.region,
        own_factors.moved_series_count,
        own_factors.series_count,
        coalesce(ln(own_factors.step_ratio), 0) as log_step,
        count(own_factors.period_id) over (
            partition by periods.source, periods.dataset, scopes.region
            order by periods.period_number
            rows between unbounded preceding and current row
        ) as segment_number,
        sum(coalesce(ln(own_factors.step_ratio), 0)) over (
            partition by periods.source, periods.dataset, scopes.region
            order by periods.period_number
            rows between unbounded preceding and current row
        ) as log_level
    from scopes
    inner join periods on scopes.source = periods.source and scopes.dataset = periods.dataset
    left join own_factors
        on
            periods.period_id = own_factors.period_id
            and coalesce(scopes.region, '') = coalesce(own_factors.region, '')

),

segments as (

    select
        source,
        dataset,
        region,
        segment_number,
        min(log_level) as log_level,
        min(seen_from_at) as begins_at,
        max(seen_until_at) as last_seen_at,
        max(moved_series_count) as moved_series_count,
        max(series_count) as series_count
    from scope_periods
    group by source, dataset, region, segment_number

),

-- Walks the few segments of a scope in order. The trusted level follows a move without a known cause once a
-- pull at least 6 hours later has seen it, a move with one only when it outlives the hold.
verdicts as (

    select
        segments.source,
        segments.dataset,
        segments.region,
        segments.segment_number,
        segments.begins_at,
        segments.moved_series_count,
        segments.series_count,
        'trusted' as verdict,
        cast(0 as double) as log_factor,
        segments.log_level as trusted_log_level
    from segments
    where segments.segment_number = 0
    union all
    select
        judged.source,
        judged.dataset,
        judged.region,
        judged.segment_number,
        judged.begins_at,
        judged.moved_series_count,
        judged.series_count,
        judged.verdict,
        judged.log_factor,
        case
            when judged.verdict = 'trusted' then judged.log_level
            when
                judged.verdict = 'named'
                and judged.last_seen_at
                >= {{ plus_hours("judged.begins_at", 24 * (price_slip_hold_days() | int)) }}
                then judged.log_level
            when
                judged.verdict = 'unnamed'
                and judged.last_seen_at >= {{ plus_hours("judged.begins_at", price_confirmation_hours()) }}
                then judged.log_level
            else judged.trusted_log_level
        end as trusted_log_level
    from (
        select
            segments.*,
            verdicts.trusted_log_level,
            segments.log_level - verdicts.trusted_log_level as log_factor,
            case
                when abs(segments.log_level - verdicts.trusted_log_level) < 0.01 then 'trusted'
                when
                    exists (
                        select causes.log_factor from causes
                        where
                            abs(segments.log_level - verdicts.trusted_log_level - causes.log_factor)
                            <= causes.tolerance
                    )
                    then 'named'
                else 'unnamed'
            end as verdict
        from verdicts
        inner join segments
            on
                verdicts.source = segments.source
                and verdicts.dataset = segments.dataset
                and coalesce(verdicts.region, '') = coalesce(segments.region, '')
                and verdicts.segment_number + 1 = segments.segment_number
    ) as judged

),

named_verdicts as (

    select
        verdicts.*,
        causes.likely_cause,
        row_number() over (
            partition by verdicts.source, verdicts.dataset, verdicts.region, verdicts.segment_number
            order by abs(verdicts.log_factor - causes.log_factor)
        ) as cause_rank
    from verdicts
    left join causes
        on
            verdicts.verdict = 'named'
            and abs(verdicts.log_factor - causes.log_factor) <= causes.tolerance
    where verdicts.verdict <> 'trusted'

),

final as (

    select
        scope_periods.period_id,
        scope_periods.region,
        case when scope_periods.region is null then 'common_factor' else 'regional_factor' end as rule_id,
        cast(exp(named_verdicts.log_factor) as decimal(28, 8)) as factor,
        named_verdicts.likely_cause,
        -- All regions that moved alike are one event.
        cast(cast(exp(named_verdicts.log_factor) as decimal(28, 2)) as varchar) as event_key,
        cast(null as varchar) as evidence,
        named_verdicts.moved_series_count,
        named_verdicts.series_count as compared_series_count,
        named_verdicts.verdict = 'unnamed' as is_confirmable
    from scope_periods
    inner join named_verdicts
        on
            scope_periods.source = named_verdicts.source
            and scope_periods.dataset = named_verdicts.dataset
            and coalesce(scope_periods.region, '') = coalesce(named_verdicts.region, '')
            and scope_periods.segment_number = named_verdicts.segment_number
            and named_verdicts.cause_rank = 1
    where
        scope_periods.seen_from_at
        < case
            when named_verdicts.verdict = 'named'
                then {{ plus_hours("named_verdicts.begins_at", 24 * (price_slip_hold_days() | int)) }}
            else {{ plus_hours("named_verdicts.begins_at", price_confirmation_hours()) }}
        end
    union all
    select
        period_id,
        region,
        'regions_swapped' as rule_id,
        cast(1 as decimal(28, 8)) as factor,
        'two regions swapped' as likely_cause,
        evidence as event_key,
        evidence,
        swapped_series_count as moved_series_count,
        series_count as compared_series_count,
        true as is_confirmable
    from swapped_region_sides

)

select * from final
