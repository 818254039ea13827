-- The row 'all' holds the GPU-hours, cost, tokens and requests of the categories, no more and no less.
with daily as (

    select * from {{ ref("fct_unit_costs_daily") }}

)

select
    usage_date,
    model,
    gpu_model
from daily
group by usage_date, model, gpu_model
having
    {%- for column in ["gpu_hours", "cost_usd", "idle_cost_usd", "total_tokens", "output_tokens", "request_count"] %}
    coalesce(sum(case when pricing_category = 'all' then {{ column }} end), -1)
    <> coalesce(sum(case when pricing_category <> 'all' then {{ column }} end), -1)
    {{ "or" if not loop.last }}
    {%- endfor %}
