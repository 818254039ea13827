{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_of": "costs"},
) }}

with fleet_hours as (

    select * from {{ ref("int_fleet__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

fleet_parts as (

    select * from {{ ref("int_fleet_parts__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

commitments as (

    select * from {{ ref("int_commitments__rated") }}

),

list_prices as (

    select * from {{ ref("int_list_prices__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

offers as (

    select * from {{ ref("int_commitment_offers") }}

),

billed_rates as (

    select * from {{ ref("int_billed_rates__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

bill_periods as (

    select * from {{ ref("int_bill_periods") }}

),

parts as (

    select
        fleet_hours.*,
        fleet_parts.commitment_id as part_commitment_id,
        fleet_parts.bought_as,
        fleet_parts.pricing_category,
        fleet_parts.gpu_hours as part_gpu_hours,
        fleet_parts.unit_seconds as part_unit_seconds
    from fleet_parts
    inner join fleet_hours
        on
            fleet_parts.allocation_id = fleet_hours.allocation_id
            and fleet_parts.hour_start_at = fleet_hours.hour_start_at

),

-- What the ledger and the price lists say.
modelled as (

    select
        parts.*,
        commitments.billed_as,
        case
            when parts.bought_as = 'reserved' then commitments.rate_usd_per_gpu_hour
            when parts.bought_as = 'savings_plan' then offers.rate_usd_per_gpu_hour
            when parts.pricing_model <> 'reserved' and parts.contracted_rate_usd_per_gpu_hour is not null
                then parts.contracted_rate_usd_per_gpu_hour
            else list_prices.rate_usd_per_gpu_hour
        end as modelled_rate_usd_per_gpu_hour,
        case
            when parts.bought_as = 'reserved' then commitments.rate_basis
            when parts.bought_as = 'savings_plan' then offers.rate_basis
            when parts.pricing_model <> 'reserved' and parts.contracted_rate_usd_per_gpu_hour is not null
                then 'contracted'
            when list_prices.rate_usd_per_gpu_hour is not null
                then {{ rate_basis_of("list_prices.source_rank") }}
            else 'none'
        end as modelled_rate_basis,
        coalesce(
            case
                when parts.bought_as = 'reserved' then commitments.is_rate_earliest_known
                when parts.bought_as = 'savings_plan' then offers.is_rate_earliest_known
            end,
            false
        ) as is_modelled_rate_earliest_known,
        case
            when parts.bought_as = 'reserved' then commitments.price_series_id
            when parts.bought_as = 'savings_plan' then offers.price_series_id
            else list_prices.price_series_id
        end as list_price_series_id,
        list_prices.price_age_hours as list_price_age_hours,
        coalesce(list_prices.is_price_carried_forward, false) as is_list_price_carried_forward,
        on_demand_prices.rate_usd_per_gpu_hour as on_demand_rate_usd_per_gpu_hour
    from parts
    left join commitments on parts.part_commitment_id = commitments.commitment_id
    left join offers
        on
            parts.bought_as = 'savings_plan'
            and parts.part_commitment_id = offers.commitment_id
            and parts.region = offers.region
            and parts.instance_type = offers.instance_type
    left join list_prices
        on
            parts.provider = list_prices.provider
            and parts.region = list_prices.region
            and parts.price_key = list_prices.price_key
            and parts.hour_start_at = list_prices.hour_start_at
            and parts.bought_as = list_prices.pricing_model
    left join list_prices as on_demand_prices
        on
            parts.provider = on_demand_prices.provider
            and parts.region = on_demand_prices.region
            and parts.price_key = on_demand_prices.price_key
            and parts.hour_start_at = on_demand_prices.hour_start_at
            and on_demand_prices.pricing_model = 'on_demand'

),

-- The bill goes before all: what it says of the commitment, else of the category.
rated as (

    select
        modelled.*,
        coalesce(of_commitment.rate_usd_per_gpu_hour, of_category.rate_usd_per_gpu_hour)
            as billed_rate_usd_per_gpu_hour,
        case
            when modelled.hour_start_at < bill_periods.billed_until_at and bill_periods.is_final then 'final'
            when modelled.hour_start_at < bill_periods.billed_until_at then 'provisional'
            when bill_periods.provider is not null then 'not_yet_billed'
            else 'no_bill'
        end as billing_status
    from modelled
    left join billed_rates as of_commitment
        on
            modelled.provider = of_commitment.provider
            and modelled.region = of_commitment.region
            and modelled.instance_type = of_commitment.instance_type
            and modelled.pricing_category = of_commitment.pricing_category
            and modelled.billed_as = of_commitment.commitment_id
            and modelled.hour_start_at = of_commitment.hour_start_at
    left join billed_rates as of_category
        on
            modelled.provider = of_category.provider
            and modelled.region = of_category.region
            and modelled.instance_type = of_category.instance_type
            and modelled.pricing_category = of_category.pricing_category
            and of_category.commitment_id is null
            and modelled.hour_start_at = of_category.hour_start_at
    left join bill_periods
        on
            modelled.provider = bill_periods.provider
            and modelled.hour_start_at >= bill_periods.period_start_at
            and modelled.hour_start_at < bill_periods.period_end_at

),

decided as (

    select
        *,
        coalesce(billed_rate_usd_per_gpu_hour, modelled_rate_usd_per_gpu_hour) as rate_usd_per_gpu_hour,
        case when billed_rate_usd_per_gpu_hour is not null then 'billed' else modelled_rate_basis end
            as rate_basis
    from rated

),

final as (

    select
        allocation_id,
        deployment,
        model,
        provider,
        region,
        instance_type,
        gpu_model,
        pricing_category,
        bought_as as pricing_model,
        part_commitment_id as commitment_id,
        hour_start_at,
        part_unit_seconds as unit_seconds,
        cast(part_gpu_hours as decimal(18, 6)) as gpu_hours,
        rate_usd_per_gpu_hour,
        rate_basis,
        rate_basis <> 'billed' and is_modelled_rate_earliest_known as is_rate_earliest_known,
        case when rate_basis in ('list', 'override', 'broker') then list_price_series_id end
            as price_series_id,
        case
            when rate_basis in ('list', 'override', 'broker') and pricing_category <> 'Committed'
                then list_price_age_hours
        end as price_age_hours,
        rate_basis in ('list', 'override', 'broker')
        and pricing_category <> 'Committed'
        and is_list_price_carried_forward as is_price_carried_forward,
        billing_status,
        {{ usd_amount("part_gpu_hours", "rate_usd_per_gpu_hour") }} as cost_usd,
        modelled_rate_usd_per_gpu_hour,
        {{ usd_amount("part_gpu_hours", "modelled_rate_usd_per_gpu_hour") }} as modelled_cost_usd,
        on_demand_rate_usd_per_gpu_hour,
        {{ usd_amount("part_gpu_hours", "on_demand_rate_usd_per_gpu_hour") }}
            as on_demand_equivalent_cost_usd,
        case
            when part_gpu_hours is null then 'unknown_gpu_count'
            when rate_usd_per_gpu_hour is not null then null
            when bought_as = 'reserved' then 'no_reserved_price'
            when bought_as = 'spot' then 'no_spot_price'
            else 'no_on_demand_price'
        end as null_reason
    from decided

)

select * from final
