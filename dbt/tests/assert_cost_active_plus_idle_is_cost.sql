-- Active and idle cost are both known, and sum to the cost exactly, wherever cost and utilization are known.
select
    deployment,
    pricing_category,
    hour_start_at
from {{ ref("fct_inference_costs_hourly") }}
where
    (cost_usd is not null and utilization_ratio is not null and active_cost_usd is null)
    or active_cost_usd + idle_cost_usd <> cost_usd
