with replicas as (

    select * from {{ ref("fct_unmapped_replicas") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

final as (

    select
        'replicas_unmapped' as kind,
        'replicas_unmapped' as rule_id,
        replicas.source_name as subject,
        replicas.routed_deployment as segment,
        '' as direction,
        replicas.reason as cause,
        'replicas|' || replicas.source_name as group_key,
        replicas.source_name as feed,
        false as is_feed_fault,
        cast(null as decimal(38, 10)) as impact_usd_per_day,
        cast(null as decimal(38, 10)) as exposed_usd_per_day,
        cast(null as decimal(18, 4)) as blocked_hours,
        count(*) as finding_count,
        {{ start_of_day("min(replicas.first_usage_date)") }} as first_seen_at,
        min(run.as_of_end_at) as last_seen_at,
        cast(count(*) as varchar) || ' replicas in ' || {{ short_name("replicas.source_name") }}
        || ' that the inventory does not confirm: ' || replace(replicas.reason, '_', ' ') as headline,
        'Such as ' || {{ short_name("min(replicas.replica_key)") }} || '.' as explanation,
        '' as data_state,
        'from fct_unmapped_replicas where reason = ''' || replicas.reason || ''' and '
        || {{ sql_condition("source_name", "replicas.source_name") }} as evidence_sql
    from replicas
    cross join run
    where replicas.last_usage_date >= {{ plus_days("run.as_of_date", -2) }}
    group by replicas.source_name, replicas.routed_deployment, replicas.reason

)

select * from final
