{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "costs"},
) }}

-- The day of fct_bill_reconciliation_daily once more, by deployment: a line of a bill belongs to the
-- deployment that its tag names. What names none has a row of its own, so that both sides sum to the same.
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

-- A deployment is known from its first fleet entry on.
deployments as (

    select
        deployment,
        first_valid_from_at as first_held_at
    from {{ ref("int_deployments__described") }}

),

entries as (

    select
        provider,
        'deployment' as scope,
        deployment,
        hour_start_at,
        modelled_cost_usd as modelled_usd,
        cast(0 as decimal(38, 10)) as billed_usd
    from fleet_costs

    union all

    select
        provider,
        'unused_commitment' as scope,
        '' as deployment,
        hour_start_at,
        modelled_unused_cost_usd as modelled_usd,
        0 as billed_usd
    from commitments

    union all

    -- The values of tags that name no deployment are kept to the warehouse: people put anything into tags.
    select
        billed_costs.provider,
        case
            when deployments.deployment is not null then 'deployment'
            when billed_costs.deployment_tag is not null then 'unknown_tag'
            when billed_costs.charge_type in ('unused_commitment', 'unused_capacity') then 'unused_commitment'
            when billed_costs.charge_type <> 'usage' then 'credits_and_taxes'
            else 'untagged'
        end as scope,
        coalesce(deployments.deployment, '') as deployment,
        billed_costs.hour_start_at,
        0 as modelled_usd,
        billed_costs.effective_cost_usd as billed_usd
    from billed_costs
    inner join hours on billed_costs.hour_start_at = hours.hour_start_at
    left join deployments
        on
            billed_costs.deployment_tag = deployments.deployment
            and hours.hour_end_at > deployments.first_held_at

),

dated as (

    select
        {{ day_of("entries.hour_start_at") }} as usage_date,
        entries.provider,
        entries.scope,
        entries.deployment,
        entries.modelled_usd,
        entries.billed_usd,
        case
            when bill_periods.billed_until_at > entries.hour_start_at then 0 else entries.modelled_usd
        end as modelled_beyond_bill_usd
    from entries
    left join bill_periods
        on
            entries.provider = bill_periods.provider
            and entries.hour_start_at >= bill_periods.period_start_at
            and entries.hour_start_at < bill_periods.period_end_at

),

final as (

    select
        usage_date,
        provider,
        scope,
        deployment,
        cast(coalesce(sum(modelled_usd), 0) as decimal(38, 10)) as modelled_cost_usd,
        cast(sum(billed_usd) as decimal(38, 10)) as billed_cost_usd,
        cast(-coalesce(sum(modelled_beyond_bill_usd), 0) as decimal(38, 10)) as not_yet_billed_usd,
        cast(
            sum(billed_usd) - coalesce(sum(modelled_usd), 0) + coalesce(sum(modelled_beyond_bill_usd), 0)
            as decimal(38, 10)
        ) as difference_usd,
        count(*) = count(modelled_usd) as is_fully_modelled
    from dated
    group by usage_date, provider, scope, deployment

)

select * from final
