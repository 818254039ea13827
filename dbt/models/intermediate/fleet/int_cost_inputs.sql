{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
) }}

-- What costs are made of besides usage, a row per fact with the instant from which on it counts: entries of
-- the ledger, rates, prices of what the fleet is, bills. Kept of each build since the marts were last
-- published (note_published in orchestration/warehouse.py drops the older ones): what one of them did not say
-- opens the window of costs at its instant. That something ends is a fact of its own, so an entry that ends
-- today costs no year.
{%- set entry = ["allocation_id", "deployment", "model", "provider", "region", "instance_type", "replicas",
    "instances_per_replica", "gpus_per_replica", "pricing_model", "commitment_id", "rate_usd_per_gpu_hour",
    "valid_from_at"] %}
{%- set rated = ["commitment_id", "kind", "provider", "region", "instance_type", "price_key", "gpu_model",
    "gpus_per_instance", "instance_count", "usd_per_hour", "applies_to", "billed_as", "valid_from_at",
    "rate_usd_per_gpu_hour", "rate_basis", "is_rate_earliest_known", "price_series_id"] %}
{%- set offered = ["offers.commitment_id", "offers.provider", "offers.region", "offers.instance_type",
    "offers.rate_usd_per_gpu_hour", "offers.rate_basis", "offers.is_rate_earliest_known", "offers.price_series_id"] %}
{%- set priced = ["prices.series_id", "prices.source", "prices.provider", "prices.price_key", "prices.region",
    "prices.zone_name", "prices.pricing_model", "prices.offer_tier", "prices.gpu_count", "prices.source_rank",
    "prices.price_usd_per_gpu_hour", "prices.price_usd_per_instance_hour", "prices.valid_from_at"] %}

with deployments as (

    select * from {{ ref("stg_ledger__deployments") }}

),

commitments as (

    select * from {{ ref("int_commitments__rated") }}

),

offers as (

    select * from {{ ref("int_commitment_offers") }}

),

price_intervals as (

    select * from {{ ref("int_gpu_price_intervals") }}

),

price_sources as (

    select * from {{ ref("stg_prices__sources") }}

),

instance_types as (

    select * from {{ ref("instance_types") }}

),

bills as (

    select * from {{ ref("stg_billing__periods") }}

),

bill_lines as (

    select * from {{ ref("stg_billing__lines") }}

),

billing_sources as (

    select * from {{ ref("stg_ledger__billing_sources") }}

),

exchange_rates as (

    select * from {{ ref("int_exchange_rates") }}

),

hours as (

    select * from {{ ref("int_hours__spanned") }}

),

-- A price matters since the fleet has had what it is of.
held_keys as (

    select
        deployments.provider,
        coalesce(instance_types.price_key, deployments.instance_type) as price_key,
        min(deployments.valid_from_at) as held_from_at
    from deployments
    left join instance_types
        on
            deployments.provider = instance_types.provider
            and deployments.instance_type = instance_types.instance_type
    group by deployments.provider, coalesce(instance_types.price_key, deployments.instance_type)

),

prices as (

    select
        price_intervals.*,
        held_keys.held_from_at
    from price_intervals
    inner join held_keys
        on
            price_intervals.provider = held_keys.provider
            and price_intervals.price_key = held_keys.price_key
    where price_intervals.pricing_model in ('on_demand', 'spot')

),

line_months as (

    select
        source_name,
        billing_period,
        min(charge_from_at) as first_charge_at
    from bill_lines
    group by source_name, billing_period

),

-- What nothing used of a plan is of interest from its first line on, once it pays for hardware of ours.
covering_lines as (

    select
        commitment_id,
        instance_type_raw,
        usage_type_raw,
        description_raw
    from bill_lines
    where commitment_id is not null
    group by commitment_id, instance_type_raw, usage_type_raw, description_raw

),

commitment_lines as (

    select
        commitment_id,
        min(charge_from_at) as first_charge_at
    from bill_lines
    where commitment_id is not null
    group by commitment_id

),

bill_currencies as (

    select distinct currency from bill_lines
    where currency <> 'USD'

),

facts as (

    select
        'first_hour' as input,
        min(hour_start_at) as starts_at,
        '' as said
    from hours

    union all

    select
        'entry' as input,
        valid_from_at as starts_at,
        {{ said_of(entry) }} as said
    from deployments

    union all

    select
        'end_of_entry' as input,
        valid_to_at as starts_at,
        allocation_id as said
    from deployments

    union all

    select
        'commitment' as input,
        valid_from_at as starts_at,
        {{ said_of(rated) }} as said
    from commitments

    union all

    select
        'end_of_commitment' as input,
        valid_to_at as starts_at,
        commitment_id as said
    from commitments

    union all

    select
        'commitment_offer' as input,
        commitments.valid_from_at as starts_at,
        {{ said_of(offered) }} as said
    from offers
    inner join commitments on offers.commitment_id = commitments.commitment_id

    union all

    select
        'price' as input,
        greatest(prices.valid_from_at, prices.held_from_at) as starts_at,
        {{ said_of(priced) }} as said
    from prices

    union all

    select
        'price_seen' as input,
        greatest(prices.last_seen_at, prices.held_from_at) as starts_at,
        {{ said_of(["prices.series_id", "prices.valid_from_at", "prices.last_seen_at"]) }} as said
    from prices

    union all

    select
        'end_of_price' as input,
        greatest(prices.valid_to_at, prices.held_from_at) as starts_at,
        {{ said_of(["prices.series_id", "prices.valid_from_at", "prices.valid_to_at"]) }} as said
    from prices
    where prices.valid_to_at is not null

    union all

    select
        'price_source' as input,
        {{ start_of_day("cast('1970-01-01' as date)") }} as starts_at,
        {{ said_of(["source", "stale_after_hours"]) }} as said
    from price_sources

    union all

    -- Until when a month is billed, and whether it is final, is said of the month as a whole.
    select
        'bill' as input,
        least(line_months.first_charge_at, {{ start_of_day("bills.billing_period") }}) as starts_at,
        {{ said_of([
            "bills.source_name", "bills.billing_period", "bills.delivery_digest", "bills.delivered_at",
            "billing_sources.kind", "billing_sources.provider",
        ]) }} as said
    from bills
    inner join billing_sources on bills.source_name = billing_sources.source_name
    left join line_months
        on
            bills.source_name = line_months.source_name
            and bills.billing_period = line_months.billing_period

    union all

    select
        'bill_commitment' as input,
        commitment_lines.first_charge_at as starts_at,
        {{ said_of([
            "covering_lines.commitment_id", "covering_lines.instance_type_raw", "covering_lines.usage_type_raw",
            "covering_lines.description_raw",
        ]) }} as said
    from covering_lines
    inner join commitment_lines on covering_lines.commitment_id = commitment_lines.commitment_id

    union all

    select
        'bill_named_commitment' as input,
        commitment_lines.first_charge_at as starts_at,
        commitments.billed_as as said
    from commitments
    inner join commitment_lines on commitments.billed_as = commitment_lines.commitment_id

    union all

    select
        'bill_exchange_rate' as input,
        {{ start_of_day("exchange_rates.rate_date") }} as starts_at,
        {{ said_of(["exchange_rates.currency", "exchange_rates.usd_per_unit"]) }} as said
    from exchange_rates
    inner join bill_currencies on exchange_rates.currency = bill_currencies.currency

),

final as (

    select
        {{ this_build_number() }} as build_number,
        input,
        starts_at,
        said
    from facts
    where starts_at is not null

)

select * from final
