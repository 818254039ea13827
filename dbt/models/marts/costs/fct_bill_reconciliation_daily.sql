{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "costs"},
) }}

-- What the ledger's own rates make of a day, against the provider's bill. Every dollar between the two has a
-- name, hour by hour, and the names sum to the difference exactly.

with fleet_costs as (

    select * from {{ ref("int_fleet_costs__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

commitments as (

    select * from {{ ref("int_commitments__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

billed_costs as (

    select * from {{ ref("int_billed_costs__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

bill_periods as (

    select * from {{ ref("int_bill_periods") }}

),

hours as (

    select * from {{ ref("int_hours__spanned") }}
    {{ in_costs_window("hour_start_at") }}

),

-- What is unused of a savings plan belongs to no region or type; the two sides name different ones.
entries as (

    select
        provider,
        region,
        instance_type,
        pricing_category,
        hour_start_at,
        gpu_hours as fleet_gpu_hours,
        modelled_cost_usd as modelled_usage_usd,
        cast(0 as decimal(38, 10)) as modelled_unused_usd,
        cost_usd as stated_usd,
        case when modelled_cost_usd is null then 1 else 0 end as unpriced,
        cast(0 as decimal(18, 6)) as billed_gpu_hours,
        cast(0 as decimal(38, 10)) as billed_usage_usd,
        cast(0 as decimal(38, 10)) as billed_unused_usd,
        cast(0 as decimal(38, 10)) as billed_other_usd
    from fleet_costs

    union all

    select
        provider,
        case when gpu_model = 'any' then 'any' else region end as region,
        case when gpu_model = 'any' then 'any' else instance_type end as instance_type,
        'Committed' as pricing_category,
        hour_start_at,
        0 as fleet_gpu_hours,
        0 as modelled_usage_usd,
        modelled_unused_cost_usd as modelled_unused_usd,
        unused_cost_usd as stated_usd,
        case when modelled_unused_cost_usd is null then 1 else 0 end as unpriced,
        0 as billed_gpu_hours,
        0 as billed_usage_usd,
        0 as billed_unused_usd,
        0 as billed_other_usd
    from commitments

    union all

    select
        billed_costs.provider,
        case when billed_costs.instance_type = 'any' then 'any' else billed_costs.region end as region,
        billed_costs.instance_type,
        billed_costs.pricing_category,
        billed_costs.hour_start_at,
        0 as fleet_gpu_hours,
        0 as modelled_usage_usd,
        0 as modelled_unused_usd,
        0 as stated_usd,
        0 as unpriced,
        case when billed_costs.charge_type = 'usage' then billed_costs.gpu_hours else 0 end
            as billed_gpu_hours,
        case when billed_costs.charge_type = 'usage' then billed_costs.effective_cost_usd else 0 end
            as billed_usage_usd,
        case
            when billed_costs.charge_type in ('unused_commitment', 'unused_capacity')
                then billed_costs.effective_cost_usd
            else 0
        end as billed_unused_usd,
        case
            when billed_costs.charge_type not in ('usage', 'unused_commitment', 'unused_capacity')
                then billed_costs.effective_cost_usd
            else 0
        end as billed_other_usd
    from billed_costs
    inner join hours on billed_costs.hour_start_at = hours.hour_start_at

),

summed as (

    select
        entries.provider,
        entries.region,
        entries.instance_type,
        entries.pricing_category,
        entries.hour_start_at,
        cast(coalesce(sum(entries.fleet_gpu_hours), 0) as decimal(18, 6)) as fleet_gpu_hours,
        cast(coalesce(sum(entries.modelled_usage_usd), 0) as decimal(38, 10)) as modelled_usage_usd,
        cast(coalesce(sum(entries.modelled_unused_usd), 0) as decimal(38, 10)) as modelled_unused_usd,
        cast(coalesce(sum(entries.stated_usd), 0) as decimal(38, 10)) as stated_usd,
        max(entries.unpriced) as unpriced,
        cast(sum(entries.billed_gpu_hours) as decimal(18, 6)) as billed_gpu_hours,
        cast(sum(entries.billed_usage_usd) as decimal(38, 10)) as billed_usage_usd,
        cast(sum(entries.billed_unused_usd) as decimal(38, 10)) as billed_unused_usd,
        cast(sum(entries.billed_other_usd) as decimal(38, 10)) as billed_other_usd
    from entries
    group by
        entries.provider,
        entries.region,
        entries.instance_type,
        entries.pricing_category,
        entries.hour_start_at

),

compared as (

    select
        summed.*,
        {{ usd_rate("summed.modelled_usage_usd", "summed.fleet_gpu_hours") }} as modelled_rate,
        {{ usd_rate("summed.billed_usage_usd", "summed.billed_gpu_hours") }} as billed_rate,
        least(summed.fleet_gpu_hours, summed.billed_gpu_hours) as common_gpu_hours,
        coalesce(summed.hour_start_at < bill_periods.billed_until_at, false)
        or summed.billed_gpu_hours <> 0
        or summed.billed_usage_usd <> 0
        or summed.billed_unused_usd <> 0
        or summed.billed_other_usd <> 0 as is_billed,
        coalesce(bill_periods.is_final, false) as is_final
    from summed
    left join bill_periods
        on
            summed.provider = bill_periods.provider
            and summed.hour_start_at >= bill_periods.period_start_at
            and summed.hour_start_at < bill_periods.period_end_at

),

named as (

    select
        *,
        modelled_usage_usd + modelled_unused_usd as modelled_usd,
        billed_usage_usd + billed_unused_usd + billed_other_usd as billed_usd,
        case when is_billed then 0 else -(modelled_usage_usd + modelled_unused_usd) end as not_yet_billed_usd,
        case
            when not is_billed or fleet_gpu_hours <= billed_gpu_hours then 0
            when billed_gpu_hours = 0 then -modelled_usage_usd
            else -{{ usd_amount("fleet_gpu_hours - billed_gpu_hours", "modelled_rate") }}
        end as fleet_without_bill_usd,
        case
            when billed_gpu_hours = 0 then billed_usage_usd
            when billed_gpu_hours <= fleet_gpu_hours then 0
            else {{ usd_amount("billed_gpu_hours - fleet_gpu_hours", "billed_rate") }}
        end as bill_without_fleet_usd,
        case
            when is_billed and common_gpu_hours > 0
                then
                    {{ usd_amount("common_gpu_hours", "billed_rate") }}
                    - {{ usd_amount("common_gpu_hours", "modelled_rate") }}
            else 0
        end as rate_difference_usd,
        case when is_billed then billed_unused_usd - modelled_unused_usd else 0 end as unused_commitment_usd,
        billed_other_usd as credits_and_taxes_usd
    from compared

),

final as (

    select
        {{ day_of("hour_start_at") }} as usage_date,
        provider,
        region,
        instance_type,
        pricing_category,
        cast(sum(fleet_gpu_hours) as decimal(18, 6)) as fleet_gpu_hours,
        cast(sum(billed_gpu_hours) as decimal(18, 6)) as billed_gpu_hours,
        cast(sum(modelled_usd) as decimal(38, 10)) as modelled_cost_usd,
        cast(sum(stated_usd) as decimal(38, 10)) as stated_cost_usd,
        cast(sum(billed_usd) as decimal(38, 10)) as billed_cost_usd,
        cast(sum(not_yet_billed_usd) as decimal(38, 10)) as not_yet_billed_usd,
        cast(sum(fleet_without_bill_usd) as decimal(38, 10)) as fleet_without_bill_usd,
        cast(sum(bill_without_fleet_usd) as decimal(38, 10)) as bill_without_fleet_usd,
        cast(sum(rate_difference_usd) as decimal(38, 10)) as rate_difference_usd,
        cast(sum(unused_commitment_usd) as decimal(38, 10)) as unused_commitment_usd,
        cast(sum(credits_and_taxes_usd) as decimal(38, 10)) as credits_and_taxes_usd,
        cast(
            sum(
                billed_usd - modelled_usd - not_yet_billed_usd - fleet_without_bill_usd
                - bill_without_fleet_usd - rate_difference_usd - unused_commitment_usd - credits_and_taxes_usd
            ) as decimal(38, 10)
        ) as rounding_usd,
        max(unpriced) = 0 as is_fully_modelled,
        case
            when min(case when is_billed then 1 else 0 end) = 0 then 'not_yet_billed'
            when min(case when is_final then 1 else 0 end) = 0 then 'provisional'
            else 'final'
        end as billing_status
    from named
    group by {{ day_of("hour_start_at") }}, provider, region, instance_type, pricing_category

)

select * from final
