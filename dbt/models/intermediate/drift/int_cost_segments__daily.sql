{%- set is_measured = "costs.cost_usd is not null and costs.total_tokens is not null" -%}

with costs as (

    select * from {{ ref("fct_inference_costs_hourly") }}
    {% if not flags.FULL_REFRESH -%}
        where hour_start_at >= {{ window_start_at(24 * drift_look_back_days()) }}
    {%- endif %}

),

-- A deployment without any usage source has no unit cost, and would make every day of the total incomplete.
counted_deployments as (

    select distinct deployment
    from costs
    where usage_basis is not null

),

final as (

    select
        costs.usage_date,
        costs.deployment,
        costs.model,
        costs.provider,
        costs.region,
        costs.gpu_model,
        costs.pricing_category,
        count(*) = count(costs.gpu_hours) as is_gpu_count_known,
        cast(coalesce(sum(costs.gpu_hours), 0) as decimal(18, 6)) as held_gpu_hours,
        cast(
            coalesce(
                sum(
                    case when costs.cost_usd is not null then costs.gpu_hours * costs.usage_coverage_ratio end
                ), 0
            ) as decimal(38, 14)
        ) as covered_gpu_hours,
        -- Of the hours with both price and tokens: else cost and volume would not be of one thing.
        cast(coalesce(sum(case when {{ is_measured }} then costs.gpu_hours end), 0) as decimal(18, 6))
            as gpu_hours,
        cast(
            coalesce(
                sum(case when {{ is_measured }} then costs.gpu_hours * costs.utilization_ratio end), 0
            ) as decimal(38, 14)
        ) as active_gpu_hours,
        cast(coalesce(sum(case when {{ is_measured }} then costs.cost_usd end), 0) as decimal(38, 10))
            as cost_usd,
        cast(coalesce(sum(case when {{ is_measured }} then costs.total_tokens end), 0) as bigint)
            as total_tokens,
        cast(coalesce(sum(case when {{ is_measured }} then costs.cached_input_tokens end), 0) as bigint)
            as cached_input_tokens,
        cast(coalesce(sum(case when {{ is_measured }} then costs.request_count end), 0) as bigint)
            as request_count
    from costs
    inner join counted_deployments on costs.deployment = counted_deployments.deployment
    group by
        costs.usage_date, costs.deployment, costs.model, costs.provider, costs.region, costs.gpu_model,
        costs.pricing_category

)

select * from final
