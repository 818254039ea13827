with costs as (

    select * from {{ ref("fct_inference_costs_hourly") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

final as (

    select
        costs.deployment,
        costs.pricing_category,
        costs.pricing_model,
        costs.provider,
        costs.region,
        costs.instance_type,
        costs.gpu_model,
        costs.rate_basis,
        min(costs.null_reason) as null_reason,
        count(*) as hour_count,
        count(costs.cost_usd) as priced_hour_count,
        count(costs.usage_basis) as used_hour_count,
        sum(costs.gpu_hours) as gpu_hours,
        sum(costs.cost_usd) as cost_usd,
        sum(costs.on_demand_equivalent_cost_usd) as on_demand_equivalent_cost_usd
    from costs
    inner join run on costs.usage_date = run.as_of_date
    group by
        costs.deployment,
        costs.pricing_category,
        costs.pricing_model,
        costs.provider,
        costs.region,
        costs.instance_type,
        costs.gpu_model,
        costs.rate_basis

)

select * from final
