-- Instances that are billed and run nothing that ledger.yaml knows: of each kind the last day of which all
-- hours are billed, where that is not long ago.
with reconciled as (

    select * from {{ ref("fct_bill_reconciliation_daily") }}
    where billing_status <> 'not_yet_billed'

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

dated as (

    select
        reconciled.*,
        max(reconciled.usage_date) over (
            partition by
                reconciled.provider, reconciled.region, reconciled.instance_type, reconciled.pricing_category
        ) as last_billed_date
    from reconciled
    inner join run
        on
            reconciled.usage_date <= run.as_of_date
            and reconciled.usage_date > {{ plus_days("run.as_of_date", -7) }}

),

-- A hundredth of a dollar is rounding.
unknown_instances as (

    select * from dated
    where usage_date = last_billed_date and bill_without_fleet_usd >= 0.01

),

final as (

    select
        'billed_not_in_fleet' as kind,
        'billed_not_in_fleet' as rule_id,
        unknown_instances.provider as subject,
        unknown_instances.instance_type || ' in ' || unknown_instances.region as segment,
        'up' as direction,
        unknown_instances.pricing_category as cause,
        'billed|' || unknown_instances.provider as group_key,
        '' as feed,
        false as is_feed_fault,
        cast(unknown_instances.bill_without_fleet_usd as decimal(38, 10)) as impact_usd_per_day,
        cast(null as decimal(38, 10)) as exposed_usd_per_day,
        cast(null as decimal(18, 4)) as blocked_hours,
        cast(1 as bigint) as finding_count,
        {{ start_of_day("unknown_instances.usage_date") }} as first_seen_at,
        run.as_of_end_at as last_seen_at,
        {{ short_name("unknown_instances.provider") }} || ' bills '
        || {{ short_name("unknown_instances.instance_type") }} || ' in '
        || {{ short_name("unknown_instances.region") }} || ' that the fleet does not have' as headline,
        cast(cast(unknown_instances.bill_without_fleet_usd as decimal(28, 2)) as {{ dbt.type_string() }})
        || ' USD on ' || cast(unknown_instances.usage_date as {{ dbt.type_string() }})
        || ' for hours that no fleet entry of ledger.yaml covers.' as explanation,
        'billed to ' || cast(unknown_instances.usage_date as {{ dbt.type_string() }}) as data_state,
        'from fct_bill_reconciliation_daily where usage_date = '''
        || cast(unknown_instances.usage_date as {{ dbt.type_string() }}) || ''' and '
        || {{ sql_condition("instance_type", "unknown_instances.instance_type") }} as evidence_sql
    from unknown_instances
    cross join run

)

select * from final
