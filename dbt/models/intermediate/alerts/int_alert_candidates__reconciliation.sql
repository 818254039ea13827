with reconciled as (

    select * from {{ ref("fct_reconciliation_daily") }}
    where not is_within_tolerance

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

final as (

    select
        'sources_disagree' as kind,
        'sources_disagree|' || reconciled.measure as rule_id,
        reconciled.deployment as subject,
        reconciled.left_role || ' and ' || reconciled.right_role as segment,
        case when reconciled.unexplained_difference > 0 then 'up' else 'down' end as direction,
        '' as cause,
        'sources|' || reconciled.deployment as group_key,
        '' as feed,
        false as is_feed_fault,
        cast(null as decimal(38, 10)) as impact_usd_per_day,
        cast(null as decimal(38, 10)) as exposed_usd_per_day,
        cast(null as decimal(18, 4)) as blocked_hours,
        cast(1 as bigint) as finding_count,
        {{ start_of_day("reconciled.usage_date") }} as first_seen_at,
        run.as_of_end_at as last_seen_at,
        'Sources of '
        || {{ short_name("reconciled.deployment") }}
        || ' disagree about '
        || replace(reconciled.measure, '_', ' ') as headline,
        replace(reconciled.left_role, '_', ' ')
        || ' less '
        || replace(reconciled.right_role, '_', ' ')
        || ' is '
        || {{ signed_number("reconciled.difference") }}
        || ', of which '
        || {{ signed_number("reconciled.unexplained_difference") }}
        || ' are unexplained.' as explanation,
        'complete to '
        || cast(reconciled.usage_date as {{ dbt.type_string() }})
        || ' 23:59 UTC' as data_state,
        'from fct_reconciliation_daily where usage_date = '''
        || cast(reconciled.usage_date as {{ dbt.type_string() }}) || ''' and '
        || {{ sql_condition("deployment", "reconciled.deployment") }} as evidence_sql
    from reconciled
    inner join run on reconciled.usage_date = run.as_of_date

)

select * from final
