-- The purchase mix and the hourly costs tell one story of each day and category.
with hourly as (

    select
        usage_date,
        pricing_category,
        coalesce(sum(cost_usd), 0) as cost_usd,
        coalesce(sum(gpu_hours), 0) as gpu_hours
    from {{ ref("fct_inference_costs_hourly") }}
    group by usage_date, pricing_category

),

mix as (

    select
        usage_date,
        pricing_category,
        coalesce(sum(effective_cost_usd), 0) as cost_usd,
        coalesce(sum(gpu_hours), 0) as gpu_hours
    from {{ ref("fct_purchase_mix_daily") }}
    group by usage_date, pricing_category

)

select
    mix.usage_date,
    mix.pricing_category
from mix
full join hourly
    on
        mix.usage_date = hourly.usage_date
        and mix.pricing_category = hourly.pricing_category
where
    coalesce(mix.cost_usd, 0) <> coalesce(hourly.cost_usd, 0)
    or coalesce(mix.gpu_hours, 0) <> coalesce(hourly.gpu_hours, 0)
