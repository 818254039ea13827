{{ config(tags=["after_capacity"]) }}

with plans as (

    select * from {{ ref("stg_capacity__plans") }}

),

tiers as (

    select
        plan_date,
        provider,
        region,
        gpu_model,
        purchase_option,
        sum(case when tier_kind in ('held', 'committed') then gpus else 0 end) as reserved_gpus,
        sum(new_gpus) as new_reserved_gpus,
        {%- for kind in ["reserved", "on_demand", "spot"] %}
            cast(
                sum(
                    case
                        when tier_kind in (
                            {%- if kind == "reserved" %}'held', 'committed'{% else %}'{{ kind }}'{% endif -%}
                        ) then paid_gpu_hours
                        else 0
                    end
                ) as decimal(18, 6)
            ) as {{ kind }}_gpu_hours,
        {%- endfor %}
        case when count(*) = count(cost_usd) then sum(cost_usd) end as cost_usd
    from {{ ref("int_capacity_tiers__priced") }}
    group by plan_date, provider, region, gpu_model, purchase_option

),

-- A plan without parts needs nothing and costs nothing; a pool that cannot be planned has neither hours nor
-- cost.
joined as (

    select
        plans.*,
        plans.null_reason in ('unknown_gpu_count', 'no_on_demand_price', 'too_few_days') as is_unplanned,
        tiers.plan_date is null as has_no_tier,
        tiers.reserved_gpus,
        tiers.new_reserved_gpus,
        tiers.reserved_gpu_hours,
        tiers.on_demand_gpu_hours,
        tiers.spot_gpu_hours,
        tiers.cost_usd,
        {{ usd_amount("plans.window_gpu_hours", "plans.on_demand_usd_per_gpu_hour") }}
            as autoscaled_cost_usd,
        {{ usd_amount(
            "plans.peak_instance_gpus * plans.window_hours", "plans.on_demand_usd_per_gpu_hour"
        ) }} as peak_cost_usd
    from plans
    left join tiers
        on
            plans.plan_date = tiers.plan_date
            and plans.provider = tiers.provider
            and plans.region = tiers.region
            and plans.gpu_model = tiers.gpu_model
            and plans.purchase_option = tiers.purchase_option

),

costed as (

    select
        *,
        {%- for hours in ["reserved_gpu_hours", "on_demand_gpu_hours", "spot_gpu_hours"] %}
            case when not coalesce(is_unplanned, false) then coalesce({{ hours }}, 0) end
                as plan_{{ hours }},
        {%- endfor %}
        case
            when coalesce(is_unplanned, false) then null
            when has_no_tier then 0
            else cost_usd
        end as plan_cost_usd
    from joined

),

final as (

    select
        plan_date,
        provider,
        region,
        gpu_model,
        purchase_option,
        instance_type,
        instance_gpus,
        window_start_date,
        window_hours,
        window_gpu_hours,
        peak_gpus,
        held_gpus,
        reserved_gpus,
        new_reserved_gpus,
        plan_reserved_gpu_hours,
        plan_on_demand_gpu_hours,
        plan_spot_gpu_hours,
        on_demand_usd_per_gpu_hour,
        plan_cost_usd,
        autoscaled_cost_usd,
        peak_cost_usd,
        actual_cost_usd,
        backtest_weeks,
        backtest_regret_ratio,
        break_even_decline_ratio,
        null_reason
    from costed

)

select * from final
