{{ config(tags=["after_capacity"]) }}

with plans as (

    select * from {{ ref("int_capacity_plans__priced") }}

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
    from plans

)

select * from final
