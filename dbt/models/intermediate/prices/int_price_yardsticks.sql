{{ config(
    materialized="incremental",
    incremental_strategy="keep_window_snapshots",
    on_schema_change="fail",
) }}

-- What an offer can be held against inside one snapshot: the same offer in other regions, and the other sizes
-- of its family in its own region. Prices out of absolute bounds are no yardstick and are not measured.

-- depends_on: {{ ref('stg_prices__changes') }}
-- depends_on: {{ ref('stg_prices__fetches') }}
-- depends_on: {{ ref('stg_ledger__run') }}
with offers as (

    select * from {{ ref("int_price_offers") }}

),

periods as (

    select * from {{ ref("int_price_snapshots") }}

),

gpu_models as (

    select * from {{ ref("gpu_models") }}

),

price_families as (

    select * from {{ ref("price_families") }}

),

bounds as (

    select
        max(case when rule_id = 'price_below_reference' then threshold end) as lowest,
        max(case when rule_id = 'spot_below_reference' then threshold end) as spot_lowest,
        max(case when rule_id = 'price_above_reference' then threshold end) as highest
    from {{ ref("price_rules") }}

),

priced_offers as (

    select
        offers.snapshot_id,
        offers.series_id,
        offers.provider,
        offers.instance_type,
        offers.region,
        offers.gpu_model,
        offers.gpu_count,
        offers.offer_key,
        offers.pricing_model,
        offers.term_months,
        coalesce(offers.payment_option, '') as payment_option,
        coalesce(offers.operating_system, '') as operating_system,
        coalesce(offers.tenancy, '') as tenancy,
        offers.offer_tier,
        cast(offers.price_usd_per_instance_hour as double) as price_usd,
        cast(offers.price_usd_per_instance_hour as double)
        / nullif(cast(offers.gpu_count as double), 0) as gpu_price_usd,
        cast(gpu_models.reference_price_usd_per_gpu_hour as double) as reference_price_usd
    from offers
    left join gpu_models on offers.gpu_model = gpu_models.gpu_model
    where offers.price_usd_per_instance_hour is not null

),

snapshots as (

    {{ snapshots_to_judge() }}

),

one_region_snapshots as (

    select snapshot_id
    from priced_offers
    group by snapshot_id
    having min(region) = max(region)

),

-- A dataset of one region (AWS, Azure) is held against the other regions as they were known within the hour
-- in which one run pulls them all; never against what came later. One row per other dataset: its periods do
-- not overlap.
region_pool as (

    select
        snapshots.snapshot_id,
        snapshots.snapshot_id as member_snapshot_id
    from snapshots
    union all
    select
        snapshots.snapshot_id,
        periods.snapshot_id as member_snapshot_id
    from snapshots
    inner join one_region_snapshots on snapshots.snapshot_id = one_region_snapshots.snapshot_id
    inner join periods
        on
            snapshots.source = periods.source
            and snapshots.dataset <> periods.dataset
            and periods.seen_from_at <= {{ plus_hours("snapshots.first_seen_at", 1) }}
            and coalesce(periods.next_seen_from_at > {{ plus_hours("snapshots.first_seen_at", 1) }}, true)
    inner join one_region_snapshots as one_region_members
        on periods.snapshot_id = one_region_members.snapshot_id

),

-- All the regions that one run pulled are held against one another: one pool, under the name of the least of
-- them, and one median per pool. Per snapshot, a day of 80 regions was read 80 times.
pool_members as (

    select
        snapshot_id,
        count(*) as member_count,
        {{ dbt.listagg("member_snapshot_id", "','", "order by member_snapshot_id") }} as members
    from region_pool
    group by snapshot_id

),

pools as (

    select
        snapshot_id,
        member_count,
        min(snapshot_id) over (partition by members) as pool_id
    from pool_members

),

pooled as (

    select
        region_pool.member_snapshot_id,
        pools.pool_id,
        pools.member_count
    from pools
    inner join region_pool on pools.snapshot_id = region_pool.snapshot_id
    where pools.snapshot_id = pools.pool_id

),

comparable_offers as (

    select priced_offers.*
    from priced_offers
    cross join bounds
    where
        coalesce(priced_offers.gpu_price_usd / priced_offers.reference_price_usd, 1)
        between case when priced_offers.pricing_model = 'spot' then bounds.spot_lowest else bounds.lowest end
        and bounds.highest
        and priced_offers.snapshot_id in (select region_pool.member_snapshot_id from region_pool)

),

region_medians as (

    select
        pooled.pool_id,
        comparable_offers.offer_key,
        {{ median_of("comparable_offers.price_usd") }} as region_median_usd,
        count(distinct comparable_offers.region) as region_count
    from pooled
    -- Many offers per member: that is what the median is taken over.
    inner join comparable_offers
        on
            pooled.member_snapshot_id = comparable_offers.snapshot_id
            -- Commitments of one-region datasets are many and have on demand beside them as a yardstick.
            and (pooled.member_count = 1 or comparable_offers.pricing_model in ('on_demand', 'spot'))
    group by pooled.pool_id, comparable_offers.offer_key
    having count(distinct comparable_offers.region) >= 4

),

family_members as (

    select
        comparable_offers.*,
        price_families.family
    from comparable_offers
    inner join price_families
        on
            comparable_offers.provider = price_families.provider
            and comparable_offers.instance_type = price_families.instance_type
    where comparable_offers.gpu_price_usd is not null

),

family_medians as (

    select
        snapshot_id,
        family,
        region,
        operating_system,
        tenancy,
        offer_tier,
        pricing_model,
        term_months,
        payment_option,
        {{ median_of("gpu_price_usd") }} as family_median_usd
    from family_members
    group by
        snapshot_id,
        family,
        region,
        operating_system,
        tenancy,
        offer_tier,
        pricing_model,
        term_months,
        payment_option
    having count(*) >= 2

),

family_ratios as (

    select
        family_members.snapshot_id,
        family_members.series_id,
        family_members.family,
        family_medians.family_median_usd
    from family_members
    inner join family_medians
        on
            family_members.snapshot_id = family_medians.snapshot_id
            and family_members.family = family_medians.family
            and family_members.region = family_medians.region
            and family_members.operating_system = family_medians.operating_system
            and family_members.tenancy = family_medians.tenancy
            and family_members.offer_tier = family_medians.offer_tier
            and family_members.pricing_model = family_medians.pricing_model
            and coalesce(family_members.term_months, 0) = coalesce(family_medians.term_months, 0)
            and family_members.payment_option = family_medians.payment_option

),

final as (

    select
        comparable_offers.snapshot_id,
        comparable_offers.series_id,
        region_medians.region_count,
        family_ratios.family,
        cast(comparable_offers.gpu_price_usd as decimal(18, 8)) as gpu_price_usd,
        cast(region_medians.region_median_usd as decimal(18, 8)) as region_median_usd,
        {{ ratio("comparable_offers.price_usd", "region_medians.region_median_usd") }} as region_ratio,
        cast(family_ratios.family_median_usd as decimal(18, 8)) as family_median_usd,
        {{ ratio("comparable_offers.gpu_price_usd", "family_ratios.family_median_usd") }} as family_ratio,
        -- How unusual the price is by itself, to tell which of two that contradict each other is wrong:
        -- against the other regions, else against the mere reference of the GPU.
        cast(
            coalesce(
                ln(comparable_offers.price_usd / region_medians.region_median_usd),
                ln(comparable_offers.gpu_price_usd / comparable_offers.reference_price_usd)
            ) as decimal(28, 8)
        ) as log_deviation
    from comparable_offers
    inner join pools on comparable_offers.snapshot_id = pools.snapshot_id
    left join region_medians
        on
            pools.pool_id = region_medians.pool_id
            and comparable_offers.offer_key = region_medians.offer_key
    left join family_ratios
        on
            comparable_offers.snapshot_id = family_ratios.snapshot_id
            and comparable_offers.series_id = family_ratios.series_id

)

select * from final
