-- Active and idle cost are both known, and sum to the cost exactly, wherever cost and utilization are known;
-- so do start-up and other idle cost to the idle cost, wherever a start is known and nowhere else.
select
    deployment,
    pricing_category,
    hour_start_at
from {{ ref("fct_inference_costs_hourly") }}
where
    (cost_usd is not null and utilization_ratio is not null and active_cost_usd is null)
    or active_cost_usd + idle_cost_usd <> cost_usd
    or (start_up_cost_usd is not null) <> (idle_cost_usd is not null and start_up_coverage_ratio is not null)
    or start_up_cost_usd + other_idle_cost_usd <> idle_cost_usd
    or (start_up_cost_usd is null) <> (other_idle_cost_usd is null)
