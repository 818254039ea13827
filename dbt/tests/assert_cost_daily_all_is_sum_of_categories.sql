-- The row 'all' holds the GPU-hours, cost, tokens and requests of the categories, no more and no less.
with daily as (

    select * from {{ ref("fct_unit_costs_daily") }}

),

whole as (

    select * from daily
    where pricing_category = 'all'

),

parts as (

    select
        usage_date,
        model,
        gpu_model,
        sum(gpu_hours) as gpu_hours,
        sum(cost_usd) as cost_usd,
        sum(idle_cost_usd) as idle_cost_usd,
        sum(start_up_cost_usd) as start_up_cost_usd,
        sum(total_tokens) as total_tokens,
        sum(output_tokens) as output_tokens,
        sum(request_count) as request_count
    from daily
    where pricing_category <> 'all'
    group by usage_date, model, gpu_model

)

select
    whole.usage_date,
    whole.model,
    whole.gpu_model
from whole
full join parts
    on
        whole.usage_date = parts.usage_date
        and whole.model = parts.model
        and whole.gpu_model = parts.gpu_model
where
    whole.usage_date is null
    or parts.usage_date is null
    or coalesce(whole.gpu_hours, -1) <> coalesce(parts.gpu_hours, -1)
    or coalesce(whole.cost_usd, -1) <> coalesce(parts.cost_usd, -1)
    or coalesce(whole.idle_cost_usd, -1) <> coalesce(parts.idle_cost_usd, -1)
    or coalesce(whole.start_up_cost_usd, -1) <> coalesce(parts.start_up_cost_usd, -1)
    or whole.start_up_cost_usd + whole.other_idle_cost_usd <> whole.idle_cost_usd
    or coalesce(whole.total_tokens, -1) <> coalesce(parts.total_tokens, -1)
    or coalesce(whole.output_tokens, -1) <> coalesce(parts.output_tokens, -1)
    or coalesce(whole.request_count, -1) <> coalesce(parts.request_count, -1)
