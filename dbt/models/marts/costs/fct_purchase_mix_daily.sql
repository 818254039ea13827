{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "costs"},
) }}

with costs as (

    select * from {{ ref("fct_inference_costs_hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

commitments as (

    select * from {{ ref("int_commitments__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

fleet_daily as (

    select
        usage_date,
        provider,
        gpu_model,
        pricing_category,
        sum(gpu_hours) as gpu_hours,
        count(*) = count(cost_usd) as is_fully_priced,
        count(*) = count(on_demand_equivalent_cost_usd) as is_comparable,
        sum(cost_usd) as effective_cost_usd,
        sum(on_demand_equivalent_cost_usd) as on_demand_equivalent_cost_usd,
        min(case when cost_usd is null then null_reason end) as null_reason
    from costs
    group by usage_date, provider, gpu_model, pricing_category

),

commitments_daily as (

    select
        {{ day_of("hour_start_at") }} as usage_date,
        provider,
        gpu_model,
        'Committed' as pricing_category,
        sum(committed_gpu_hours) as committed_gpu_hours,
        sum(used_gpu_hours) as used_gpu_hours,
        sum(unused_gpu_hours) as unused_gpu_hours,
        sum(used_cost_usd) as used_cost_usd,
        sum(used_cost_usd + modelled_unused_cost_usd) as committed_cost_usd,
        case when count(*) = count(unused_cost_usd) then sum(unused_cost_usd) end as unused_cost_usd,
        min(null_reason) as null_reason
    from commitments
    group by {{ day_of("hour_start_at") }}, provider, gpu_model

),

keys as (

    select
        usage_date,
        provider,
        gpu_model,
        pricing_category
    from fleet_daily

    union distinct

    select
        usage_date,
        provider,
        gpu_model,
        pricing_category
    from commitments_daily

),

-- A category without GPU-hours used, or without a commitment, has none: zero is known there.
joined as (

    select
        keys.usage_date,
        keys.provider,
        keys.gpu_model,
        keys.pricing_category,
        case when fleet_daily.usage_date is null then 0 else fleet_daily.gpu_hours end as gpu_hours,
        case when fleet_daily.usage_date is null then 0 else fleet_daily.effective_cost_usd end
            as effective_cost_usd,
        case when fleet_daily.usage_date is null then 0 else fleet_daily.on_demand_equivalent_cost_usd end
            as on_demand_equivalent_cost_usd,
        coalesce(fleet_daily.is_fully_priced, true) as is_fleet_priced,
        coalesce(fleet_daily.is_fully_priced, true)
        and (commitments_daily.usage_date is null or commitments_daily.unused_cost_usd is not null)
            as is_fully_priced,
        coalesce(fleet_daily.is_comparable, true) as is_comparable,
        case when commitments_daily.usage_date is null then 0 else commitments_daily.unused_cost_usd end
            as unused_commitment_cost_usd,
        case when commitments_daily.usage_date is null then 0 else commitments_daily.unused_gpu_hours end
            as unused_commitment_gpu_hours,
        commitments_daily.committed_gpu_hours,
        commitments_daily.used_gpu_hours,
        commitments_daily.used_cost_usd,
        commitments_daily.committed_cost_usd,
        coalesce(fleet_daily.null_reason, commitments_daily.null_reason) as price_null_reason
    from keys
    left join fleet_daily
        on
            keys.usage_date = fleet_daily.usage_date
            and keys.provider = fleet_daily.provider
            and keys.gpu_model = fleet_daily.gpu_model
            and keys.pricing_category = fleet_daily.pricing_category
    left join commitments_daily
        on
            keys.usage_date = commitments_daily.usage_date
            and keys.provider = commitments_daily.provider
            and keys.gpu_model = commitments_daily.gpu_model
            and keys.pricing_category = commitments_daily.pricing_category

),

compared as (

    select
        *,
        sum(gpu_hours) over (partition by usage_date, provider, gpu_model) as all_gpu_hours,
        sum(committed_gpu_hours) over (partition by usage_date, provider, gpu_model)
            as all_committed_gpu_hours,
        sum(used_gpu_hours) over (partition by usage_date, provider, gpu_model) as all_used_gpu_hours,
        sum(case when pricing_category = 'Committed' then gpu_hours else 0 end) over (
            partition by usage_date, provider, gpu_model
        ) as all_covered_gpu_hours,
        {{ share_of("1", "gpu_hours", "usage_date, provider, gpu_model", "pricing_category", 8) }}
            as share_ratio
    from joined

),

final as (

    select
        usage_date,
        provider,
        gpu_model,
        pricing_category,
        cast(gpu_hours as decimal(18, 6)) as gpu_hours,
        cast(share_ratio as decimal(9, 8)) as share_ratio,
        cast(effective_cost_usd as decimal(38, 10)) as effective_cost_usd,
        case when is_fleet_priced then {{ usd_rate("effective_cost_usd", "gpu_hours") }} end
            as effective_rate_usd_per_gpu_hour,
        cast(on_demand_equivalent_cost_usd as decimal(38, 10)) as on_demand_equivalent_cost_usd,
        cast(unused_commitment_gpu_hours as decimal(18, 6)) as unused_commitment_gpu_hours,
        cast(unused_commitment_cost_usd as decimal(38, 10)) as unused_commitment_cost_usd,
        cast(
            case
                when is_fully_priced and is_comparable
                    then on_demand_equivalent_cost_usd - effective_cost_usd - unused_commitment_cost_usd
            end as decimal(38, 10)
        ) as savings_usd,
        {{ share_ratio("coalesce(all_covered_gpu_hours, 0)", "all_gpu_hours") }} as coverage_ratio,
        case
            when gpu_model = 'any' then {{ share_ratio("used_cost_usd", "committed_cost_usd") }}
            else {{ share_ratio("all_used_gpu_hours", "all_committed_gpu_hours") }}
        end as commitment_utilization_ratio,
        is_fully_priced,
        case
            when not is_fully_priced then price_null_reason
            when not is_comparable then 'no_on_demand_price'
        end as null_reason
    from compared

)

select * from final
