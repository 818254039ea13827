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
        purchase_option = 'best_mix' as is_recommended,
        case
            when plan_cost_usd is not null
                then cast(
                    row_number() over (
                        partition by plan_date, provider, region, gpu_model, plan_cost_usd is null
                        order by plan_cost_usd asc, purchase_option asc
                    ) as integer
                )
        end as cost_rank,
        instance_type,
        instance_gpus,
        window_start_date,
        window_hours,
        window_gpu_hours as demand_gpu_hours,
        peak_gpus,
        held_gpus,
        case when plan_reserved_gpu_hours is not null then cast(coalesce(reserved_gpus, 0) as integer) end
            as reserved_gpus,
        case when plan_reserved_gpu_hours is not null then cast(coalesce(new_reserved_gpus, 0) as integer) end
            as new_reserved_gpus,
        cast(plan_reserved_gpu_hours as decimal(18, 6)) as reserved_gpu_hours,
        cast(plan_on_demand_gpu_hours as decimal(18, 6)) as on_demand_gpu_hours,
        cast(plan_spot_gpu_hours as decimal(18, 6)) as spot_gpu_hours,
        on_demand_usd_per_gpu_hour,
        cast(plan_cost_usd as decimal(38, 10)) as cost_usd,
        'autoscaled_on_demand' as baseline_name,
        cast(autoscaled_cost_usd as decimal(38, 10)) as baseline_cost_usd,
        {{ ratio("autoscaled_cost_usd - plan_cost_usd", "autoscaled_cost_usd") }} as savings_ratio,
        cast(peak_cost_usd as decimal(38, 10)) as peak_on_demand_cost_usd,
        {{ ratio("peak_cost_usd - plan_cost_usd", "peak_cost_usd") }} as savings_vs_peak_on_demand_ratio,
        cast(actual_cost_usd as decimal(38, 10)) as actual_cost_usd,
        {{ ratio("actual_cost_usd - plan_cost_usd", "actual_cost_usd") }} as savings_vs_actual_ratio,
        backtest_weeks,
        cast(backtest_regret_ratio as decimal(18, 8)) as backtest_regret_ratio,
        cast(break_even_decline_ratio as decimal(9, 8)) as break_even_decline_ratio,
        coalesce(
            null_reason,
            case
                when plan_cost_usd is null then 'no_rate_of_held_commitment'
                when actual_cost_usd is null then 'actual_cost_incomplete'
            end
        ) as null_reason
    from costed

)

select * from final
