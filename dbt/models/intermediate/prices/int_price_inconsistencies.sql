{{ config(
    materialized="incremental",
    incremental_strategy="keep_window_snapshots",
    on_schema_change="fail",
) }}

-- Offers that contradict others of their snapshot: the same machine elsewhere, the other sizes of its family,
-- or the GPU before it. Where two rows contradict each other, the one that is more unusual
-- by itself is listed.

-- depends_on: {{ ref('stg_prices__changes') }}
-- depends_on: {{ ref('stg_prices__fetches') }}
-- depends_on: {{ ref('stg_ledger__run') }}
with snapshots as (

    {{ snapshots_to_judge() }}

),

offers as (

    select offers.* from {{ ref("int_price_offers") }} as offers
    inner join snapshots on offers.snapshot_id = snapshots.snapshot_id

),

yardsticks as (

    select * from {{ ref("int_price_yardsticks") }}

),

gpu_generation_pairs as (

    select * from {{ ref("gpu_generation_pairs") }}

),

limits as (

    select
        cast(max(case when rule_id = 'price_far_from_region_median' then threshold end) as double)
            as region_times,
        cast(max(case when rule_id = 'price_unlike_its_family' then threshold end) as double)
            as family_difference
    from {{ ref("price_rules") }}

),

-- Prices out of absolute bounds have no yardsticks and are not here.
bounded_offers as (

    select
        offers.snapshot_id,
        offers.series_id,
        offers.provider,
        offers.price_key,
        offers.region,
        offers.gpu_model,
        offers.market_tier,
        offers.offer_tier,
        offers.pricing_model,
        offers.term_months,
        offers.price_usd_per_instance_hour,
        yardsticks.gpu_price_usd,
        yardsticks.region_median_usd,
        yardsticks.region_ratio,
        yardsticks.family,
        yardsticks.family_median_usd,
        yardsticks.family_ratio,
        coalesce(yardsticks.log_deviation, 0) as log_deviation,
        coalesce(offers.operating_system, '') as operating_system,
        coalesce(offers.tenancy, '') as tenancy,
        coalesce(offers.payment_option, '') as payment_option
    from offers
    inner join yardsticks
        on
            offers.snapshot_id = yardsticks.snapshot_id
            and offers.series_id = yardsticks.series_id

),

measured_offers as (

    select
        bounded_offers.*,
        coalesce({{ log_distance("bounded_offers.region_ratio") }} > ln(limits.region_times), false)
            as is_far_from_region,
        coalesce(abs(bounded_offers.family_ratio - 1) > limits.family_difference, false) as is_unlike_family
    from bounded_offers
    cross join limits

),

-- Where several sizes of a family depart from their median, the median itself may be the wrong side: the
-- regions tell. A size is cleared when it departs much less from its own median over the regions than the
-- worst.
voted_offers as (

    select
        *,
        max(case when is_unlike_family then abs(log_deviation) end) over (
            partition by
                snapshot_id,
                family,
                region,
                operating_system,
                tenancy,
                offer_tier,
                pricing_model,
                term_months,
                payment_option
        ) as worst_deviation
    from measured_offers

),

suspects as (

    select
        *,
        is_far_from_region
        and (pricing_model = 'on_demand' or pricing_model <> 'spot' and region_ratio < 1) as breaks_region,
        is_unlike_family
        and pricing_model <> 'spot'
        and (abs(log_deviation) >= 0.5 * worst_deviation or worst_deviation < ln(1.1)) as breaks_family
    from voted_offers

),

wrong_on_demand as (

    select distinct
        snapshot_id,
        price_key,
        region,
        operating_system,
        tenancy,
        market_tier
    from suspects
    where pricing_model = 'on_demand' and (breaks_region or breaks_family)

),

-- Spot prices vary by nature: one is wrong only with the on-demand price of the same machine.
far_offers as (

    select
        suspects.*,
        wrong_on_demand.snapshot_id is not null as has_wrong_on_demand
    from suspects
    left join wrong_on_demand
        on
            suspects.pricing_model = 'spot'
            and suspects.snapshot_id = wrong_on_demand.snapshot_id
            and suspects.price_key = wrong_on_demand.price_key
            and suspects.region = wrong_on_demand.region
            and suspects.operating_system = wrong_on_demand.operating_system
            and suspects.tenancy = wrong_on_demand.tenancy
            and suspects.market_tier = wrong_on_demand.market_tier

),

unlike_others as (

    select
        snapshot_id,
        series_id,
        'price_far_from_region_median' as rule_id,
        price_usd_per_instance_hour as observed,
        region_median_usd as expected,
        cast(null as varchar) as evidence
    from far_offers
    where breaks_region or has_wrong_on_demand and is_far_from_region
    union all
    select
        snapshot_id,
        series_id,
        'price_unlike_its_family' as rule_id,
        gpu_price_usd as observed,
        family_median_usd as expected,
        family as evidence
    from far_offers
    where breaks_family or has_wrong_on_demand and is_unlike_family

),

consistent_offers as (

    select bounded_offers.*
    from bounded_offers
    left join unlike_others
        on
            bounded_offers.snapshot_id = unlike_others.snapshot_id
            and bounded_offers.series_id = unlike_others.series_id
    where unlike_others.series_id is null

),

-- What a GPU of each model costs in a region: the middle of the machines that hold it.
model_prices as (

    select
        snapshot_id,
        provider,
        gpu_model,
        region,
        operating_system,
        tenancy,
        offer_tier,
        pricing_model,
        term_months,
        payment_option,
        {{ median_of("gpu_price_usd") }} as gpu_price_usd,
        {{ median_of("log_deviation") }} as log_deviation
    from consistent_offers
    where gpu_model is not null and gpu_price_usd is not null
    group by
        snapshot_id,
        provider,
        gpu_model,
        region,
        operating_system,
        tenancy,
        offer_tier,
        pricing_model,
        term_months,
        payment_option

),

-- Either the newer GPU is too cheap or its predecessor too dear. Only when the predecessor stands out among
-- the regions, and the newer one does not stand out with it, is it the one: a dear region is dear for both.
-- The accident known is the newer one at the old price.
generation_breaches as (

    select
        newer.snapshot_id,
        newer.series_id,
        newer.gpu_price_usd as observed,
        older.gpu_price_usd * gpu_generation_pairs.min_ratio as expected,
        gpu_generation_pairs.older_gpu_model as evidence,
        older.log_deviation > ln(1.1)
        and older.log_deviation - newer.log_deviation > ln(1.1)
        and older.log_deviation > abs(newer.log_deviation) as is_older_wrong,
        newer.region,
        newer.operating_system,
        newer.tenancy,
        newer.offer_tier,
        newer.pricing_model,
        newer.term_months,
        newer.payment_option
    from consistent_offers as newer
    inner join gpu_generation_pairs
        on
            newer.provider = gpu_generation_pairs.provider
            and newer.gpu_model = gpu_generation_pairs.newer_gpu_model
            and newer.pricing_model = gpu_generation_pairs.pricing_model
    inner join model_prices as older
        on
            newer.snapshot_id = older.snapshot_id
            and newer.provider = older.provider
            and gpu_generation_pairs.older_gpu_model = older.gpu_model
            and newer.region = older.region
            and newer.operating_system = older.operating_system
            and newer.tenancy = older.tenancy
            and newer.offer_tier = older.offer_tier
            and newer.pricing_model = older.pricing_model
            and coalesce(newer.term_months, 0) = coalesce(older.term_months, 0)
            and newer.payment_option = older.payment_option
    where newer.gpu_price_usd < older.gpu_price_usd * gpu_generation_pairs.min_ratio

),

wrong_generations as (

    select
        snapshot_id,
        series_id,
        max(observed) as observed,
        max(expected) as expected,
        min(evidence) as evidence
    from generation_breaches
    where not is_older_wrong
    group by snapshot_id, series_id
    union all
    select
        older.snapshot_id,
        older.series_id,
        max(older.gpu_price_usd) as observed,
        max(generation_breaches.observed) as expected,
        min(older.gpu_model) as evidence
    from generation_breaches
    -- Each machine of the older model that stands out itself.
    inner join consistent_offers as older
        on
            generation_breaches.snapshot_id = older.snapshot_id
            and generation_breaches.evidence = older.gpu_model
            and generation_breaches.region = older.region
            and generation_breaches.operating_system = older.operating_system
            and generation_breaches.tenancy = older.tenancy
            and generation_breaches.offer_tier = older.offer_tier
            and generation_breaches.pricing_model = older.pricing_model
            and coalesce(generation_breaches.term_months, 0) = coalesce(older.term_months, 0)
            and generation_breaches.payment_option = older.payment_option
            and older.log_deviation > ln(1.1)
    where generation_breaches.is_older_wrong
    group by older.snapshot_id, older.series_id

),

final as (

    select
        snapshot_id,
        series_id,
        rule_id,
        evidence,
        cast(observed as decimal(28, 8)) as observed,
        cast(expected as decimal(28, 8)) as expected
    from unlike_others
    union all
    select
        snapshot_id,
        series_id,
        'newer_gpu_too_cheap' as rule_id,
        min(evidence) as evidence,
        cast(max(observed) as decimal(28, 8)) as observed,
        cast(max(expected) as decimal(28, 8)) as expected
    from wrong_generations
    group by snapshot_id, series_id

)

select * from final
