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
            when 'no_exchange_rate' then price_currency
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
comparable_offers as (

    select
        offers.snapshot_id,
        offers.series_id,
        offers.price_key,
        offers.region,
        offers.market_tier,
        offers.offer_tier,
        offers.pricing_model,
        offers.term_months,
        offers.price_usd_per_instance_hour,
        coalesce(offers.operating_system, '') as operating_system,
        coalesce(offers.tenancy, '') as tenancy,
        coalesce(offers.payment_option, '') as payment_option
    from offers
    left join outside_bounds
        on
            offers.snapshot_id = outside_bounds.snapshot_id
            and offers.series_id = outside_bounds.series_id
    where offers.price_usd_per_instance_hour is not null and outside_bounds.series_id is null

),

on_demand_prices as (

    select
        snapshot_id,
        price_key,
        region,
        operating_system,
        tenancy,
        market_tier,
        max(price_usd_per_instance_hour) as on_demand_price_usd
    from comparable_offers
    where pricing_model = 'on_demand'
    group by snapshot_id, price_key, region, operating_system, tenancy, market_tier

),

against_on_demand as (

    select
        comparable_offers.snapshot_id,
        comparable_offers.series_id,
        comparable_offers.pricing_model,
        comparable_offers.price_usd_per_instance_hour as observed,
        on_demand_prices.on_demand_price_usd as expected,
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
    where comparable_offers.pricing_model <> 'on_demand'

),

dearer_than_on_demand as (

    select
        against_on_demand.snapshot_id,
        against_on_demand.series_id,
        price_rules.rule_id,
        against_on_demand.observed,
        against_on_demand.expected,
        cast(null as varchar) as evidence
    from against_on_demand
    inner join price_rules
        on
            (
                price_rules.rule_id = 'spot_above_on_demand'
                and against_on_demand.pricing_model = 'spot'
                and against_on_demand.on_demand_ratio > price_rules.threshold
            )
            or (
                price_rules.rule_id = 'spot_without_discount'
                and against_on_demand.pricing_model = 'spot'
                and against_on_demand.on_demand_ratio >= price_rules.threshold
                and against_on_demand.on_demand_ratio <= 1
            )
            or (
                price_rules.rule_id = 'commitment_without_discount'
                and against_on_demand.pricing_model in ('reserved', 'savings_plan')
                and against_on_demand.on_demand_ratio >= price_rules.threshold
            )

),

one_year_prices as (

    select
        snapshot_id,
        price_key,
        region,
        operating_system,
        tenancy,
        pricing_model,
        offer_tier,
        payment_option,
        max(price_usd_per_instance_hour) as one_year_price_usd
    from comparable_offers
    where term_months = 12
    group by
        snapshot_id, price_key, region, operating_system, tenancy, pricing_model, offer_tier, payment_option

),

longer_terms as (

    select
        comparable_offers.snapshot_id,
        comparable_offers.series_id,
        price_rules.rule_id,
        comparable_offers.price_usd_per_instance_hour as observed,
        one_year_prices.one_year_price_usd as expected,
        cast(null as varchar) as evidence
    from comparable_offers
    inner join one_year_prices
        on
            comparable_offers.snapshot_id = one_year_prices.snapshot_id
            and comparable_offers.price_key = one_year_prices.price_key
            and comparable_offers.region = one_year_prices.region
            and comparable_offers.operating_system = one_year_prices.operating_system
            and comparable_offers.tenancy = one_year_prices.tenancy
            and comparable_offers.pricing_model = one_year_prices.pricing_model
            and comparable_offers.offer_tier = one_year_prices.offer_tier
            and comparable_offers.payment_option = one_year_prices.payment_option
    inner join price_rules
        on
            price_rules.rule_id = 'longer_term_dearer'
            and {{ ratio(
                "comparable_offers.price_usd_per_instance_hour", "one_year_prices.one_year_price_usd"
            ) }} > price_rules.threshold
    where comparable_offers.term_months = 36

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
    select * from dearer_than_on_demand
    union all
    select * from longer_terms

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
