-- Offers that are gone from a dataset: a few at a time are retired, many at once are a hole in the feed. What
-- is missing is a machine in a region, however many ways of buying it has.

with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

price_sources as (

    select * from {{ ref("price_sources") }}

),

rules as (

    select cast(max(case when rule_id = 'offers_missing' then threshold end) as double) as missing_share
    from {{ ref("price_rules") }}

),

-- In a pooled market offers come and go with the machines that are free.
sightings as (

    select distinct
        periods.source,
        periods.dataset,
        periods.period_number,
        offers.price_key,
        offers.region
    from periods
    inner join offers on periods.snapshot_id = offers.snapshot_id
    left join price_sources on periods.source = price_sources.source
    where not coalesce(price_sources.is_market, false)

),

dated_sightings as (

    select
        *,
        lead(period_number) over (
            partition by source, dataset, price_key, region
            order by period_number
        ) as back_period_number
    from sightings

),

-- The period before a gap is last_period_number; the last period of all has nothing after it.
gaps as (

    select
        dated_sightings.source,
        dated_sightings.dataset,
        dated_sightings.price_key,
        dated_sightings.region,
        dated_sightings.period_number as last_period_number,
        dated_sightings.back_period_number,
        periods.next_seen_from_at as gone_from_at
    from dated_sightings
    inner join periods
        on
            dated_sightings.source = periods.source
            and dated_sightings.dataset = periods.dataset
            and dated_sightings.period_number = periods.period_number
    where
        periods.next_seen_from_at is not null
        and coalesce(dated_sightings.back_period_number > dated_sightings.period_number + 1, true)

),

region_sizes as (

    select
        source,
        dataset,
        period_number,
        region,
        count(*) as region_pair_count
    from sightings
    group by source, dataset, period_number, region

),

sizes as (

    select
        source,
        dataset,
        period_number,
        sum(region_pair_count) as pair_count,
        count(*) as region_count
    from region_sizes
    group by source, dataset, period_number

),

region_losses as (

    select
        gaps.source,
        gaps.dataset,
        gaps.last_period_number,
        gaps.region,
        count(*) as missing_count,
        count(*) = max(region_sizes.region_pair_count) and max(sizes.region_count) > 1 as is_whole_region,
        max(sizes.pair_count) as pair_count
    from gaps
    inner join region_sizes
        on
            gaps.source = region_sizes.source
            and gaps.dataset = region_sizes.dataset
            and gaps.last_period_number = region_sizes.period_number
            and gaps.region = region_sizes.region
    inner join sizes
        on
            gaps.source = sizes.source
            and gaps.dataset = sizes.dataset
            and gaps.last_period_number = sizes.period_number
    group by gaps.source, gaps.dataset, gaps.last_period_number, gaps.region

),

losses as (

    select
        region_losses.source,
        region_losses.dataset,
        region_losses.last_period_number,
        sum(region_losses.missing_count) as missing_count,
        max(region_losses.pair_count) as pair_count,
        {{ dbt.listagg(
            "case when region_losses.is_whole_region then region_losses.region end",
            "', '",
            "order by region_losses.region",
        ) }} as missing_regions
    from region_losses
    group by region_losses.source, region_losses.dataset, region_losses.last_period_number

),

holes as (

    select
        losses.*,
        case
            when losses.missing_regions is not null then 'region_missing'
            else 'offers_missing'
        end as rule_id
    from losses
    cross join rules
    where
        losses.missing_regions is not null
        or losses.missing_count >= 3 and losses.missing_count > rules.missing_share * losses.pair_count

),

dataset_ends as (

    select
        source,
        dataset,
        max(seen_until_at) as last_pull_at
    from periods
    group by source, dataset

),

-- One row per series of the missing offers.
final as (

    select
        offers.series_id,
        gaps.source,
        gaps.dataset,
        gaps.price_key,
        gaps.region,
        gaps.last_period_number,
        gaps.back_period_number,
        gaps.gone_from_at,
        {{ plus_hours("gaps.gone_from_at", 24 * (price_missing_hold_days() | int)) }} as held_until_at,
        dataset_ends.last_pull_at,
        holes.rule_id,
        holes.missing_count,
        holes.pair_count,
        holes.missing_regions
    from gaps
    inner join holes
        on
            gaps.source = holes.source
            and gaps.dataset = holes.dataset
            and gaps.last_period_number = holes.last_period_number
    inner join dataset_ends on gaps.source = dataset_ends.source and gaps.dataset = dataset_ends.dataset
    inner join periods
        on
            gaps.source = periods.source
            and gaps.dataset = periods.dataset
            and gaps.last_period_number = periods.period_number
    inner join offers
        on
            periods.snapshot_id = offers.snapshot_id
            and gaps.price_key = offers.price_key
            and gaps.region = offers.region

)

select * from final
