-- Input, cached input and output bear the whole cost, and no part of it is below zero.
select
    usage_date,
    model,
    gpu_model,
    pricing_category
from {{ ref("fct_unit_costs_daily") }}
where
    input_cost_usd + coalesce(cached_input_cost_usd, 0) + output_cost_usd <> cost_usd
    or least(input_cost_usd, cached_input_cost_usd, output_cost_usd) < 0
