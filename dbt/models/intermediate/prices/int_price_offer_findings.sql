-- Layers L0 to L2: what is wrong with a snapshot as it stands, without looking at history. Four of five
-- real GPU price errors studied were wrong from the first row ever seen, so these rules come before any
-- comparison in time.

with offers as (

    select * from {{ ref("int_price_offers") }}

),

gpu_models as (

    select * from {{ ref("gpu_models") }}

),

price_rules as (

    select * from {{ ref("price_rules") }}

),

gpu_generation_pairs as (

    select * from {{ ref("gpu_generation_pairs") }}

),

yardsticks as (

    select * from {{ ref("int_price_yardsticks") }}

),

limits as (

    select
        max(case when rule_id = 'price_far_from_region_median' then cast(threshold as double) end) as region_times,
        max(case when rule_id = 'price_unlike_its_family' then cast(threshold as double) end) as family_difference
    from price_rules

),

unreadable as (

    select
        snapshot_id,
        series_id,
        price_null_reason as rule_id,
        price_amount as observed,
        cast(null as decimal(18, 8)) as expected,
        case price_null_reason
            when 'unknown_pricing_words' then concat_ws(' ', pricing_model_raw, term_raw)
            when 'unknown_price_unit' then price_unit_raw
            when 'currency_mismatch' then price_currency
            when 'missing_component' then payment_option
            when 'price_not_in_force_yet' then cast(announced_at as varchar)
        end as evidence
    from offers
    where price_null_reason is not null

),

announced as (

    select
        snapshot_id,
        series_id,
        'price_not_in_force_yet' as rule_id,
        announced_price_amount as observed,
        cast(null as decimal(18, 8)) as expected,
        cast(announced_at as varchar) as evidence
    from offers
    where announced_at is not null and coalesce(price_null_reason, '') <> 'price_not_in_force_yet'

),

unknown_hardware as (

    select
        snapshot_id,
        series_id,
        case when instance_type is null then 'unknown_gpu_name' else 'unknown_instance_type' end as rule_id,
        cast(null as decimal(18, 8)) as observed,
        cast(null as decimal(18, 8)) as expected,
        coalesce(instance_type, gpu_name_raw, sku_id) as evidence
    from offers
    where gpu_model is null

),

gpu_count_conflicts as (

    select
        snapshot_id,
        series_id,
        'gpu_count_conflict' as rule_id,
        gpu_count_raw as observed,
        known_gpu_count as expected,
        cast(null as varchar) as evidence
    from offers
    -- Sources round sixths and thirds of a GPU in their own way.
    where abs(gpu_count_raw - known_gpu_count) > 0.01

),

-- Fractions of a GPU have no price per GPU to publish, but a slip of units shows in the implied one.
gpu_prices as (

    select
        offers.snapshot_id,
        offers.series_id,
        gpu_models.reference_price_usd_per_gpu_hour as reference_price_usd,
        {{ ratio("offers.price_usd_per_instance_hour", "offers.gpu_count") }} as price_usd
    from offers
    -- One row per offer: gpu_model is unique in the seed.
    inner join gpu_models on offers.gpu_model = gpu_models.gpu_model
    where offers.price_usd_per_instance_hour is not null

),

-- Thresholds are held against ratios: a product of two decimals would overflow for the prices looked for.
referenced_prices as (

    select
        *,
        {{ ratio("price_usd", "reference_price_usd") }} as reference_ratio
    from gpu_prices

),

outside_bounds as (

    select
        referenced_prices.snapshot_id,
        referenced_prices.series_id,
        price_rules.rule_id,
        referenced_prices.price_usd as observed,
        referenced_prices.reference_price_usd as expected,
        cast(null as varchar) as evidence
    from referenced_prices
    inner join price_rules
        on
            (
                price_rules.rule_id = 'price_below_reference'
                and referenced_prices.reference_ratio < price_rules.threshold
            )
            or (
                price_rules.rule_id = 'price_above_reference'
                and referenced_prices.reference_ratio > price_rules.threshold
            )

),

-- A price already known to be wrong is no yardstick for others.
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
    left join outside_bounds
        on
            offers.snapshot_id = outside_bounds.snapshot_id
            and offers.series_id = outside_bounds.series_id
    left join yardsticks
        on
            offers.snapshot_id = yardsticks.snapshot_id
            and offers.series_id = yardsticks.series_id
    where offers.price_usd_per_instance_hour is not null and outside_bounds.series_id is null

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
-- the regions, and more than the newer one, is it the one; the accident known is the newer at the old price.
generation_breaches as (

    select
        newer.snapshot_id,
        newer.series_id,
        newer.gpu_price_usd as observed,
        older.gpu_price_usd * gpu_generation_pairs.min_ratio as expected,
        gpu_generation_pairs.older_gpu_model as evidence,
        older.log_deviation > ln(1.1) and older.log_deviation > abs(newer.log_deviation) as is_older_wrong,
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

comparable_offers as (

    select consistent_offers.*
    from consistent_offers
    left join wrong_generations
        on
            consistent_offers.snapshot_id = wrong_generations.snapshot_id
            and consistent_offers.series_id = wrong_generations.series_id
    where wrong_generations.series_id is null

),

-- The dearest on-demand offer of a machine is the one that discounts are measured from.
on_demand_prices as (

    select
        snapshot_id,
        series_id,
        price_key,
        region,
        operating_system,
        tenancy,
        market_tier,
        price_usd_per_instance_hour as on_demand_price_usd,
        log_deviation as on_demand_deviation,
        row_number() over (
            partition by snapshot_id, price_key, region, operating_system, tenancy, market_tier
            order by price_usd_per_instance_hour desc, series_id
        ) as price_rank
    from comparable_offers
    where pricing_model = 'on_demand'

),

against_on_demand as (

    select
        comparable_offers.snapshot_id,
        comparable_offers.series_id,
        comparable_offers.pricing_model,
        comparable_offers.price_usd_per_instance_hour as observed,
        on_demand_prices.on_demand_price_usd as expected,
        on_demand_prices.series_id as on_demand_series_id,
        on_demand_prices.on_demand_deviation < -ln(1.1)
        and abs(on_demand_prices.on_demand_deviation) > abs(comparable_offers.log_deviation)
            as is_on_demand_wrong,
        {{ ratio("comparable_offers.price_usd_per_instance_hour", "on_demand_prices.on_demand_price_usd") }}
            as on_demand_ratio
    from comparable_offers
    inner join on_demand_prices
        on
            comparable_offers.snapshot_id = on_demand_prices.snapshot_id
            and comparable_offers.price_key = on_demand_prices.price_key
            and comparable_offers.region = on_demand_prices.region
            and comparable_offers.operating_system = on_demand_prices.operating_system
            and comparable_offers.tenancy = on_demand_prices.tenancy
            and comparable_offers.market_tier = on_demand_prices.market_tier
            and on_demand_prices.price_rank = 1
    where comparable_offers.pricing_model <> 'on_demand'

),

on_demand_limits as (

    select
        max(case when rule_id = 'spot_above_on_demand' then threshold end) as spot_above,
        max(case when rule_id = 'spot_without_discount' then threshold end) as spot_without,
        max(case when rule_id = 'commitment_above_on_demand' then threshold end) as commitment_above,
        max(case when rule_id = 'commitment_without_discount' then threshold end) as commitment_without
    from price_rules

),

named_against_on_demand as (

    select
        against_on_demand.*,
        case
            when
                against_on_demand.pricing_model = 'spot'
                and against_on_demand.on_demand_ratio > on_demand_limits.spot_above
                then 'spot_above_on_demand'
            when
                against_on_demand.pricing_model = 'spot'
                and against_on_demand.on_demand_ratio >= on_demand_limits.spot_without
                then 'spot_without_discount'
            when against_on_demand.pricing_model = 'spot' then null
            when against_on_demand.on_demand_ratio > on_demand_limits.commitment_above
                then 'commitment_above_on_demand'
            when against_on_demand.on_demand_ratio >= on_demand_limits.commitment_without
                then 'commitment_without_discount'
        end as rule_id
    from against_on_demand
    cross join on_demand_limits

),

dearer_than_on_demand as (

    select
        snapshot_id,
        series_id,
        rule_id,
        observed,
        expected,
        cast(null as varchar) as evidence
    from named_against_on_demand
    where rule_id is not null and not (rule_id = 'commitment_above_on_demand' and is_on_demand_wrong)
    union all
    select
        snapshot_id,
        on_demand_series_id as series_id,
        rule_id,
        max(expected) as observed,
        max(observed) as expected,
        'on demand' as evidence
    from named_against_on_demand
    where rule_id = 'commitment_above_on_demand' and is_on_demand_wrong
    group by snapshot_id, on_demand_series_id, rule_id

),

longer_terms as (

    select
        longer.snapshot_id,
        longer.series_id as longer_series_id,
        shorter.series_id as shorter_series_id,
        longer.price_usd_per_instance_hour as longer_price_usd,
        shorter.price_usd_per_instance_hour as shorter_price_usd,
        shorter.log_deviation < -ln(1.1) and abs(shorter.log_deviation) > abs(longer.log_deviation)
            as is_shorter_wrong
    from comparable_offers as longer
    inner join comparable_offers as shorter
        on
            longer.snapshot_id = shorter.snapshot_id
            and longer.price_key = shorter.price_key
            and longer.region = shorter.region
            and longer.operating_system = shorter.operating_system
            and longer.tenancy = shorter.tenancy
            and longer.pricing_model = shorter.pricing_model
            and longer.offer_tier = shorter.offer_tier
            and longer.payment_option = shorter.payment_option
            and longer.term_months > shorter.term_months
    inner join price_rules
        on
            price_rules.rule_id = 'longer_term_dearer'
            and {{ ratio("longer.price_usd_per_instance_hour", "shorter.price_usd_per_instance_hour") }}
            > price_rules.threshold

),

dearer_than_shorter as (

    select
        snapshot_id,
        case when is_shorter_wrong then shorter_series_id else longer_series_id end as series_id,
        'longer_term_dearer' as rule_id,
        max(case when is_shorter_wrong then shorter_price_usd else longer_price_usd end) as observed,
        max(case when is_shorter_wrong then longer_price_usd else shorter_price_usd end) as expected,
        max(case when is_shorter_wrong then 'shorter term' end) as evidence
    from longer_terms
    group by snapshot_id, case when is_shorter_wrong then shorter_series_id else longer_series_id end

),

unioned as (

    select * from unreadable
    union all
    select * from announced
    union all
    select * from unknown_hardware
    union all
    select * from gpu_count_conflicts
    union all
    select * from outside_bounds
    union all
    select * from unlike_others
    union all
    select
        snapshot_id,
        series_id,
        'newer_gpu_too_cheap' as rule_id,
        max(observed) as observed,
        max(expected) as expected,
        min(evidence) as evidence
    from wrong_generations
    group by snapshot_id, series_id
    union all
    select * from dearer_than_on_demand
    union all
    select * from dearer_than_shorter

),

final as (

    select
        snapshot_id,
        series_id,
        rule_id,
        evidence,
        cast(observed as decimal(28, 8)) as observed,
        cast(expected as decimal(28, 8)) as expected
    from unioned

)

select * from final
