{{ config(
    materialized="incremental",
    incremental_strategy="keep_window_snapshots",
    on_schema_change="fail",
) }}

-- Layers L0 to L2: what is wrong with a snapshot as it stands, without looking at history. Four of five
-- real GPU price errors studied were wrong from the first row ever seen, so these rules come before any
-- comparison in time.

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

gpu_models as (

    select * from {{ ref("gpu_models") }}

),

price_rules as (

    select * from {{ ref("price_rules") }}

),

yardsticks as (

    select * from {{ ref("int_price_yardsticks") }}

),

-- One row per offer: an offer that breaks several of these rules is no yardstick all the same.
inconsistencies as (

    select distinct
        snapshot_id,
        series_id
    from {{ ref("int_price_inconsistencies") }}

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
        offers.pricing_model,
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
                price_rules.rule_id
                = case
                    when referenced_prices.pricing_model = 'spot' then 'spot_below_reference'
                    else 'price_below_reference'
                end
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
        coalesce(offers.payment_option, '') as payment_option,
        coalesce(yardsticks.log_deviation, 0) as log_deviation
    from offers
    left join outside_bounds
        on
            offers.snapshot_id = outside_bounds.snapshot_id
            and offers.series_id = outside_bounds.series_id
    left join inconsistencies
        on
            offers.snapshot_id = inconsistencies.snapshot_id
            and offers.series_id = inconsistencies.series_id
    left join yardsticks
        on
            offers.snapshot_id = yardsticks.snapshot_id
            and offers.series_id = yardsticks.series_id
    where
        offers.price_usd_per_instance_hour is not null
        and outside_bounds.series_id is null
        and inconsistencies.series_id is null

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
            order by price_usd_per_instance_hour desc, series_id asc
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
        and comparable_offers.log_deviation - on_demand_prices.on_demand_deviation > ln(1.1)
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
        shorter.log_deviation < -ln(1.1)
        and longer.log_deviation - shorter.log_deviation > ln(1.1)
        and abs(shorter.log_deviation) > abs(longer.log_deviation) as is_shorter_wrong
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
    select
        snapshot_id,
        series_id,
        rule_id,
        observed,
        expected,
        evidence
    from {{ ref("int_price_inconsistencies") }}
    where snapshot_id in (select snapshots.snapshot_id from snapshots)
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
