{{ config(tags=["after_capacity"]) }}

select
    plan_date,
    provider,
    region,
    gpu_model,
    purchase_option,
    window_start_date,
    window_hours,
    window_gpu_hours,
    peak_gpus,
    peak_instance_gpus,
    instance_type,
    instance_gpus,
    held_gpus,
    on_demand_usd_per_gpu_hour,
    actual_cost_usd,
    backtest_weeks,
    backtest_regret_ratio,
    break_even_decline_ratio,
    null_reason
from {{ source("raw", "capacity_plans") }}
