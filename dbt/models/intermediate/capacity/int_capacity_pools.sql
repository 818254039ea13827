with fleet_hours as (

    select * from {{ ref("int_fleet__hourly") }}

),

demand as (

    select * from {{ ref("int_capacity_demand__hourly") }}

),

deployments as (

    select * from {{ ref("stg_ledger__deployments") }}

),

list_prices as (

    select * from {{ ref("int_list_prices__hourly") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

-- The hardware that holds most of a pool's GPUs stands for it: offers are made for a type of instance.
hardware as (

    select
        fleet_hours.provider,
        fleet_hours.region,
        fleet_hours.gpu_model,
        fleet_hours.price_key,
        max(fleet_hours.instance_type) as instance_type,
        max(fleet_hours.gpus_per_instance) as gpus_per_instance,
        row_number() over (
            partition by fleet_hours.provider, fleet_hours.region, fleet_hours.gpu_model
            order by sum(fleet_hours.gpu_hours) desc nulls last, fleet_hours.price_key asc
        ) as hardware_rank
    from fleet_hours
    cross join run
    where
        fleet_hours.hour_start_at >= {{ capacity_look_back("run.as_of_end_at") }}
    group by fleet_hours.provider, fleet_hours.region, fleet_hours.gpu_model, fleet_hours.price_key

),

pools as (

    select
        provider,
        region,
        gpu_model,
        min(hour_start_at) as first_hour_at,
        max(hour_start_at) as last_hour_at
    from demand
    group by provider, region, gpu_model

),

-- The price in the last hour that has one. On demand it is asked for in each hour, spot where the pool
-- runs on it.
latest_prices as (

    select
        list_prices.provider,
        list_prices.region,
        list_prices.price_key,
        list_prices.pricing_model,
        list_prices.source_rank,
        list_prices.rate_usd_per_gpu_hour,
        row_number() over (
            partition by
                list_prices.provider, list_prices.region, list_prices.price_key, list_prices.pricing_model
            order by list_prices.hour_start_at desc
        ) as recency
    from list_prices
    cross join run
    where list_prices.hour_start_at < run.as_of_end_at

),

-- A rate agreed for on demand goes before the list; of several the lowest.
contracted as (

    select
        deployments.provider,
        deployments.region,
        deployments.instance_type,
        min(deployments.rate_usd_per_gpu_hour) as rate_usd_per_gpu_hour
    from deployments
    cross join run
    where
        deployments.pricing_model = 'on_demand'
        and deployments.rate_usd_per_gpu_hour is not null
        and deployments.valid_from_at < run.as_of_end_at
        and (deployments.valid_to_at is null or deployments.valid_to_at >= run.as_of_end_at)
    group by deployments.provider, deployments.region, deployments.instance_type

),

final as (

    select
        pools.provider,
        pools.region,
        pools.gpu_model,
        pools.first_hour_at,
        pools.last_hour_at,
        hardware.price_key,
        hardware.instance_type,
        hardware.gpus_per_instance,
        cast(coalesce(contracted.rate_usd_per_gpu_hour, on_demand.rate_usd_per_gpu_hour) as decimal(18, 8))
            as on_demand_usd_per_gpu_hour,
        case
            when contracted.rate_usd_per_gpu_hour is not null then 'contracted'
            when on_demand.rate_usd_per_gpu_hour is not null then {{ rate_basis_of("on_demand.source_rank") }}
            else 'none'
        end as on_demand_rate_basis,
        cast(spot.rate_usd_per_gpu_hour as decimal(18, 8)) as spot_usd_per_gpu_hour
    from pools
    left join hardware
        on
            pools.provider = hardware.provider
            and pools.region = hardware.region
            and pools.gpu_model = hardware.gpu_model
            and hardware.hardware_rank = 1
    left join latest_prices as on_demand
        on
            pools.provider = on_demand.provider
            and pools.region = on_demand.region
            and hardware.price_key = on_demand.price_key
            and on_demand.pricing_model = 'on_demand'
            and on_demand.recency = 1
    left join latest_prices as spot
        on
            pools.provider = spot.provider
            and pools.region = spot.region
            and hardware.price_key = spot.price_key
            and spot.pricing_model = 'spot'
            and spot.recency = 1
    left join contracted
        on
            pools.provider = contracted.provider
            and pools.region = contracted.region
            and hardware.instance_type = contracted.instance_type

)

select * from final
