-- Splitting an entry between its commitment and the open market, and summing by category, loses no GPU-hour.
with fleet as (

    select
        deployment,
        hour_start_at,
        sum(gpu_hours) as gpu_hours
    from {{ ref("int_fleet__hourly") }}
    group by deployment, hour_start_at

),

costs as (

    select
        deployment,
        hour_start_at,
        sum(gpu_hours) as gpu_hours
    from {{ ref("fct_inference_costs_hourly") }}
    group by deployment, hour_start_at

)

select
    fleet.deployment,
    fleet.hour_start_at
from fleet
full join costs
    on
        fleet.deployment = costs.deployment
        and fleet.hour_start_at = costs.hour_start_at
where
    fleet.deployment is null
    or costs.deployment is null
    or coalesce(fleet.gpu_hours, -1) <> coalesce(costs.gpu_hours, -1)
