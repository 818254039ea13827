{{ config(tags=["after_capacity"]) }}

with tiers as (

    select * from {{ ref("stg_capacity__tiers") }}

),

final as (

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
        usd_per_gpu_hour,
        {{ usd_amount("paid_gpu_hours", "usd_per_gpu_hour") }} as cost_usd
    from tiers

)

select * from final
