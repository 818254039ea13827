{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_of": "costs"},
) }}

-- What is left of an entry-hour once reservations are applied, and what it costs on demand: savings plans may
-- cover it.

with fleet_hours as (

    select * from {{ ref("int_fleet__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

reservation_use as (

    select * from {{ ref("int_reservation_use__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

list_prices as (

    select * from {{ ref("int_list_prices__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

drawn as (

    select
        allocation_id,
        hour_start_at,
        sum(unit_seconds) as unit_seconds,
        sum(gpu_hours) as gpu_hours
    from reservation_use
    group by allocation_id, hour_start_at

),

rest as (

    select
        fleet_hours.*,
        cast(
            fleet_hours.unit_seconds - fleet_hours.committed_unit_seconds - coalesce(drawn.unit_seconds, 0)
            as decimal(28, 6)
        ) as rest_unit_seconds,
        cast(
            fleet_hours.gpu_hours - fleet_hours.committed_gpu_hours - coalesce(drawn.gpu_hours, 0)
            as decimal(18, 6)
        ) as rest_gpu_hours
    from fleet_hours
    left join drawn
        on
            fleet_hours.allocation_id = drawn.allocation_id
            and fleet_hours.hour_start_at = drawn.hour_start_at
    where fleet_hours.pricing_model <> 'spot'

),

final as (

    select
        rest.allocation_id,
        rest.allocation_position,
        rest.provider,
        rest.region,
        rest.instance_type,
        rest.hour_start_at,
        rest.rest_unit_seconds as unit_seconds,
        rest.rest_gpu_hours as gpu_hours,
        case
            when rest.pricing_model <> 'reserved' and rest.contracted_rate_usd_per_gpu_hour is not null
                then rest.contracted_rate_usd_per_gpu_hour
            else list_prices.rate_usd_per_gpu_hour
        end as on_demand_rate_usd_per_gpu_hour
    from rest
    left join list_prices
        on
            rest.provider = list_prices.provider
            and rest.region = list_prices.region
            and rest.price_key = list_prices.price_key
            and rest.hour_start_at = list_prices.hour_start_at
            and list_prices.pricing_model = 'on_demand'
    where rest.rest_unit_seconds > 0

)

select * from final
