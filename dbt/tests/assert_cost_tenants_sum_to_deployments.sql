-- Tenants bear exactly what the priced hours of a deployment's day cost, nobody's part included.
with tenants as (

    select
        usage_date,
        deployment,
        sum(cost_usd) as cost_usd,
        sum(standard_cost_usd + dynamic_cost_usd + committed_cost_usd) as bought_cost_usd
    from {{ ref("fct_tenant_costs_daily") }}
    group by usage_date, deployment

),

deployments as (

    select
        usage_date,
        deployment,
        sum(cost_usd) as cost_usd
    from {{ ref("fct_inference_costs_hourly") }}
    where cost_usd is not null
    group by usage_date, deployment

)

select
    coalesce(tenants.usage_date, deployments.usage_date) as usage_date,
    coalesce(tenants.deployment, deployments.deployment) as deployment,
    tenants.cost_usd as tenants_cost_usd,
    tenants.bought_cost_usd,
    deployments.cost_usd
from tenants
full outer join deployments
    on
        tenants.usage_date = deployments.usage_date
        and tenants.deployment = deployments.deployment
where
    tenants.cost_usd is distinct from deployments.cost_usd
    or tenants.bought_cost_usd is distinct from deployments.cost_usd
