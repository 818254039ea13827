{{ config(tags=["after_capacity"]) }}

-- The parts of a plan serve the demand and nothing else, to a millionth of a GPU-hour per part.
with served as (

    select
        plan_date,
        provider,
        region,
        gpu_model,
        purchase_option,
        sum(used_gpu_hours) as used_gpu_hours,
        count(*) as tier_count
    from {{ ref("fct_capacity_plan_tiers") }}
    group by plan_date, provider, region, gpu_model, purchase_option

)

select
    plans.plan_date,
    plans.provider,
    plans.gpu_model,
    plans.purchase_option
from {{ ref("fct_capacity_plan") }} as plans
left join served
    on
        plans.plan_date = served.plan_date
        and plans.provider = served.provider
        and plans.region = served.region
        and plans.gpu_model = served.gpu_model
        and plans.purchase_option = served.purchase_option
where
    plans.reserved_gpu_hours is not null
    and abs(coalesce(served.used_gpu_hours, 0) - plans.demand_gpu_hours)
    > 0.000002 * (coalesce(served.tier_count, 0) + 1)
