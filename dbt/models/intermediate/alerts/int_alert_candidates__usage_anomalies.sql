with anomalies as (

    select * from {{ ref("fct_usage_anomalies") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

-- What ended is history; the mart keeps it.
recent as (

    select
        anomalies.source_name,
        anomalies.reason,
        count(*) as anomaly_count,
        count(distinct anomalies.replica_key) as replica_count,
        min(anomalies.scraped_at) as first_scraped_at
    from anomalies
    inner join run on {{ day_of("anomalies.scraped_at") }} >= {{ plus_days("run.as_of_date", -2) }}
    group by anomalies.source_name, anomalies.reason

),

final as (

    select
        'usage_quarantined' as kind,
        'usage_quarantined' as rule_id,
        recent.source_name as subject,
        '' as segment,
        '' as direction,
        recent.reason as cause,
        'quarantine|' || recent.source_name as group_key,
        '' as feed,
        false as is_feed_fault,
        cast(null as decimal(38, 10)) as impact_usd_per_day,
        cast(null as decimal(38, 10)) as exposed_usd_per_day,
        cast(null as decimal(18, 4)) as blocked_hours,
        recent.anomaly_count as finding_count,
        recent.first_scraped_at as first_seen_at,
        run.as_of_end_at as last_seen_at,
        'Counters of ' || {{ short_name("recent.source_name") }} || ' are not believed' as headline,
        cast(recent.anomaly_count as {{ dbt.type_string() }}) || ' changes of counters on '
        || cast(recent.replica_count as {{ dbt.type_string() }}) || ' replicas are not counted: '
        || replace(recent.reason, '_', ' ') || '.' as explanation,
        'complete to ' || cast(run.as_of_date as {{ dbt.type_string() }}) || ' 23:59 UTC' as data_state,
        'from fct_usage_anomalies where ' || {{ sql_condition("source_name", "recent.source_name") }}
        || ' and reason = ''' || recent.reason || '''' as evidence_sql
    from recent
    cross join run

)

select * from final
