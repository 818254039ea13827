with names as (

    select * from {{ ref("fct_unmapped_names") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

final as (

    select
        'names_unmapped' as kind,
        'names_unmapped' as rule_id,
        names.source_name as subject,
        names.kind as segment,
        '' as direction,
        '' as cause,
        '' as group_key,
        names.source_name as feed,
        false as is_feed_fault,
        cast(0 as decimal(38, 10)) as impact_usd_per_day,
        cast(null as decimal(38, 10)) as exposed_usd_per_day,
        cast(null as decimal(18, 4)) as blocked_hours,
        count(*) as finding_count,
        {{ start_of_day("min(names.first_usage_date)") }} as first_seen_at,
        min(run.as_of_end_at) as last_seen_at,
        cast(count(*) as varchar) || ' names of ' || names.kind || 's in '
        || {{ short_name("names.source_name") }} || ' that ledger.yaml does not know' as headline,
        'Such as ' || {{ short_name("min(names.name)") }} || '.' as explanation,
        '' as data_state,
        'from fct_unmapped_names where kind = ''' || names.kind || ''' and '
        || {{ sql_condition("source_name", "names.source_name") }} as evidence_sql
    from names
    cross join run
    where names.last_usage_date >= {{ plus_days("run.as_of_date", -2) }}
    group by names.source_name, names.kind

)

select * from final
