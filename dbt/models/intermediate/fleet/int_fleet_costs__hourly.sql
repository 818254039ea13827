with fleet_hours as (

    select * from {{ ref("int_fleet__hourly") }}

),

commitments as (

    select * from {{ ref("int_commitments__rated") }}

),

list_prices as (

    select * from {{ ref("int_list_prices__hourly") }}

),

-- One entry-hour becomes up to two rows: what its commitment covers, and the rest, which is bought on demand.
parts as (

    select
        *,
        'reserved' as bought_as,
        'Committed' as pricing_category,
        committed_gpu_hours as part_gpu_hours,
        committed_unit_seconds as part_unit_seconds
    from fleet_hours
    where committed_unit_seconds > 0

    union all

    select
        *,
        case when pricing_model = 'reserved' then 'on_demand' else pricing_model end as bought_as,
        case when pricing_model = 'spot' then 'Dynamic' else 'Standard' end as pricing_category,
        gpu_hours - committed_gpu_hours as part_gpu_hours,
        unit_seconds - committed_unit_seconds as part_unit_seconds
    from fleet_hours
    where unit_seconds > committed_unit_seconds

),

rated as (

    select
        parts.*,
        case
            when parts.bought_as = 'reserved' then commitments.rate_usd_per_gpu_hour
            when parts.pricing_model <> 'reserved' and parts.contracted_rate_usd_per_gpu_hour is not null
                then parts.contracted_rate_usd_per_gpu_hour
            else list_prices.rate_usd_per_gpu_hour
        end as rate_usd_per_gpu_hour,
        case
            when parts.bought_as = 'reserved' then commitments.rate_basis
            when parts.pricing_model <> 'reserved' and parts.contracted_rate_usd_per_gpu_hour is not null
                then 'contracted'
            when list_prices.rate_usd_per_gpu_hour is not null
                then {{ rate_basis_of("list_prices.source_rank") }}
            else 'none'
        end as rate_basis,
        coalesce(parts.bought_as = 'reserved' and commitments.is_rate_earliest_known, false)
            as is_rate_earliest_known,
        case
            when parts.bought_as = 'reserved' then commitments.price_series_id
            else list_prices.price_series_id
        end as list_price_series_id,
        list_prices.price_age_hours as list_price_age_hours,
        coalesce(list_prices.is_price_carried_forward, false) as is_list_price_carried_forward,
        on_demand_prices.rate_usd_per_gpu_hour as on_demand_rate_usd_per_gpu_hour
    from parts
    left join commitments on parts.commitment_id = commitments.commitment_id
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
        commitment_id,
        hour_start_at,
        part_unit_seconds as unit_seconds,
        cast(part_gpu_hours as decimal(18, 6)) as gpu_hours,
        rate_usd_per_gpu_hour,
        rate_basis,
        is_rate_earliest_known,
        case when rate_basis in ('list', 'override', 'broker') then list_price_series_id end
            as price_series_id,
        case
            when rate_basis in ('list', 'override', 'broker') and bought_as <> 'reserved'
                then list_price_age_hours
        end as price_age_hours,
        rate_basis in ('list', 'override', 'broker')
        and bought_as <> 'reserved'
        and is_list_price_carried_forward as is_price_carried_forward,
        {{ usd_amount("part_gpu_hours", "rate_usd_per_gpu_hour") }} as cost_usd,
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
    from rated

)

select * from final
