{{ config(tags=["after_capacity"]) }}

-- What is unknown of a plan says why.
select
    plan_date,
    provider,
    gpu_model,
    purchase_option
from {{ ref("fct_capacity_plan") }}
where
    (null_reason is null) <> (
        cost_usd is not null
        and savings_ratio is not null
        and actual_cost_usd is not null
        and backtest_regret_ratio is not null
    )
