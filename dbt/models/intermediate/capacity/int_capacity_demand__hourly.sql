with costs as (

    select * from {{ ref("fct_inference_costs_hourly") }}

),

commitments as (

    select * from {{ ref("int_commitments__hourly") }}

),

window_start as (

    select {{ capacity_look_back("as_of_end_at") }} as from_at
    from {{ ref("stg_ledger__run") }}

),

held as (

    select
        costs.provider,
        costs.region,
        costs.gpu_model,
        costs.hour_start_at,
        count(*) = count(costs.gpu_hours) as is_gpu_count_known,
        sum(costs.gpu_hours) as gpu_hours,
        sum(case when costs.utilization_ratio is not null then costs.gpu_hours * costs.utilization_ratio end)
            as active_gpu_hours,
        sum(case when costs.utilization_ratio is null then costs.gpu_hours else 0 end)
            as unmeasured_gpu_hours,
        sum(case when costs.pricing_category = 'Dynamic' then costs.gpu_hours else 0 end) as spot_gpu_hours,
        case when count(*) = count(costs.cost_usd) then sum(costs.cost_usd) end as cost_usd
    from costs
    cross join window_start
    where costs.hour_start_at >= window_start.from_at
    group by costs.provider, costs.region, costs.gpu_model, costs.hour_start_at

),

-- What stands idle of a commitment was paid as well. A savings plan covers any GPU and belongs to no pool.
unused as (

    select
        commitments.provider,
        commitments.region,
        commitments.gpu_model,
        commitments.hour_start_at,
        case
            when count(*) = count(commitments.unused_cost_usd) then sum(commitments.unused_cost_usd)
        end as unused_cost_usd
    from commitments
    cross join window_start
    where commitments.hour_start_at >= window_start.from_at and commitments.gpu_model <> 'any'
    group by commitments.provider, commitments.region, commitments.gpu_model, commitments.hour_start_at

),

final as (

    select
        held.provider,
        held.region,
        held.gpu_model,
        held.hour_start_at,
        case when held.is_gpu_count_known then cast(held.gpu_hours as decimal(18, 6)) end as gpu_hours,
        cast(held.active_gpu_hours as decimal(18, 6)) as active_gpu_hours,
        cast(held.unmeasured_gpu_hours as decimal(18, 6)) as unmeasured_gpu_hours,
        cast(held.spot_gpu_hours as decimal(18, 6)) as spot_gpu_hours,
        cast(
            held.cost_usd + case when unused.hour_start_at is null then 0 else unused.unused_cost_usd end
            as decimal(38, 10)
        ) as cost_usd
    from held
    left join unused
        on
            held.provider = unused.provider
            and held.region = unused.region
            and held.gpu_model = unused.gpu_model
            and held.hour_start_at = unused.hour_start_at

)

select * from final
