{{ config(tags=["after_capacity"]) }}

select
    plan_date,
    provider,
    region,
    gpu_model,
    purchase_option,
    tier_position,
    tier_kind,
    tier,
    gpus,
    new_gpus,
    paid_gpu_hours,
    used_gpu_hours,
    usd_per_gpu_hour
from {{ source("raw", "capacity_plan_tiers") }}
