{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_of": "costs"},
) }}

-- An entry-hour by what pays for it: its own commitment, other reservations, savings plans, the open market.

with fleet_hours as (

    select * from {{ ref("int_fleet__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

reservation_use as (

    select * from {{ ref("int_reservation_use__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

plan_use as (

    select * from {{ ref("int_savings_plan_use__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

on_demand as (

    select * from {{ ref("int_on_demand__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

planned as (

    select
        allocation_id,
        hour_start_at,
        sum(gpu_hours) as gpu_hours
    from plan_use
    group by allocation_id, hour_start_at

),

-- Reservations are counted in GPU-seconds, savings plans in GPU-hours of six decimals, as they are paid for.
parts as (

    select
        allocation_id,
        hour_start_at,
        commitment_id,
        'reserved' as bought_as,
        committed_gpu_hours as gpu_hours,
        committed_unit_seconds as unit_seconds,
        cast(null as decimal(18, 8)) as plan_rate_usd_per_gpu_hour
    from fleet_hours
    where committed_unit_seconds > 0

    union all

    select
        reservation_use.allocation_id,
        reservation_use.hour_start_at,
        reservation_use.commitment_id,
        'reserved' as bought_as,
        reservation_use.gpu_hours,
        reservation_use.unit_seconds,
        cast(null as decimal(18, 8)) as plan_rate_usd_per_gpu_hour
    from reservation_use

    union all

    select
        allocation_id,
        hour_start_at,
        commitment_id,
        'savings_plan' as bought_as,
        gpu_hours,
        cast(gpu_hours * 3600 as decimal(28, 6)) as unit_seconds,
        rate_usd_per_gpu_hour as plan_rate_usd_per_gpu_hour
    from plan_use

    union all

    select
        on_demand.allocation_id,
        on_demand.hour_start_at,
        cast(null as varchar) as commitment_id,
        'on_demand' as bought_as,
        cast(on_demand.gpu_hours - coalesce(planned.gpu_hours, 0) as decimal(18, 6)) as gpu_hours,
        cast(
            case
                when on_demand.gpu_hours is null then on_demand.unit_seconds
                else (on_demand.gpu_hours - coalesce(planned.gpu_hours, 0)) * 3600
            end as decimal(28, 6)
        ) as unit_seconds,
        cast(null as decimal(18, 8)) as plan_rate_usd_per_gpu_hour
    from on_demand
    left join planned
        on
            on_demand.allocation_id = planned.allocation_id
            and on_demand.hour_start_at = planned.hour_start_at
    where on_demand.gpu_hours is null or on_demand.gpu_hours > coalesce(planned.gpu_hours, 0)

    union all

    select
        allocation_id,
        hour_start_at,
        cast(null as varchar) as commitment_id,
        'spot' as bought_as,
        gpu_hours,
        unit_seconds,
        cast(null as decimal(18, 8)) as plan_rate_usd_per_gpu_hour
    from fleet_hours
    where pricing_model = 'spot'

),

final as (

    select
        allocation_id,
        hour_start_at,
        commitment_id,
        bought_as,
        case bought_as when 'spot' then 'Dynamic' when 'on_demand' then 'Standard' else 'Committed' end
            as pricing_category,
        cast(gpu_hours as decimal(18, 6)) as gpu_hours,
        unit_seconds,
        plan_rate_usd_per_gpu_hour
    from parts

)

select * from final
