-- Switched on, and named in int_alert_candidates, once fct_cost_drift_daily is there.
{{ config(enabled=false) }}

with drift as (

    select * from {{ ref("fct_cost_drift_daily") }}
    where is_drift

),

spend as (

    select * from {{ ref("int_spend__last_day") }}

),

-- A faulty feed makes drift of its own: of the provider's series, and of the deployments and models that it prices.
faults as (

    select
        spend.deployment,
        spend.provider,
        min(int_feed_faults.source) as source
    from {{ ref("int_feed_faults") }} as int_feed_faults
    inner join spend on int_feed_faults.provider = spend.provider
    group by spend.deployment, spend.provider

),

series_faults as (

    select
        series,
        min(source) as source
    from (
        select
            deployment as series,
            source
        from faults
        union all
        select
            provider as series,
            source
        from faults
    ) as named
    group by series

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

final as (

    select
        'cost_drift' as kind,
        'cost_drift|' || drift.measure as rule_id,
        drift.series as subject,
        drift.series_kind as segment,
        case when drift.actual > drift.expected then 'up' else 'down' end as direction,
        coalesce(drift.top_cause, '') as cause,
        -- One cause moves the total, the model and the team: they are told by one of them.
        'drift|' || coalesce(drift.top_cause, drift.series) || '|' || cast(drift.since_date as varchar) as group_key,
        coalesce(series_faults.source, '') as feed,
        false as is_feed_fault,
        cast(abs(drift.impact_usd_per_day) as decimal(38, 10)) as impact_usd_per_day,
        cast(null as decimal(38, 10)) as exposed_usd_per_day,
        cast(null as decimal(18, 4)) as blocked_hours,
        cast(1 as bigint) as finding_count,
        {{ start_of_day("drift.since_date") }} as first_seen_at,
        run.as_of_end_at as last_seen_at,
        replace(drift.measure, '_', ' ') || ' of ' || {{ short_name("drift.series") }}
        || case when drift.actual > drift.expected then ' rose to ' else ' fell to ' end
        || cast(cast(drift.actual as decimal(18, 4)) as varchar) || ' (expected '
        || cast(cast(drift.lower as decimal(18, 4)) as varchar) || ' to '
        || cast(cast(drift.upper as decimal(18, 4)) as varchar) || ')' as headline,
        'Most of it: ' || coalesce(replace(drift.top_cause, '_', ' '), 'unknown') || '.' as explanation,
        'complete to ' || cast(drift.usage_date as varchar) || ' 23:59 UTC' as data_state,
        'from fct_cost_drift_daily where usage_date = ''' || cast(drift.usage_date as varchar) || ''' and '
        || {{ sql_condition("series", "drift.series") }} || ' and measure = ''' || drift.measure || ''''
            as evidence_sql
    from drift
    inner join run on drift.usage_date = run.as_of_date
    left join series_faults on drift.series = series_faults.series

)

select * from final
