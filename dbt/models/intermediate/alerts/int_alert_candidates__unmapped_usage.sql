with usage as (

    select * from {{ ref("fct_unmapped_usage") }}

),

faults as (

    select * from {{ ref("int_feed_faults") }}
    where kind = 'usage'

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

described as (

    select
        *,
        coalesce(nullif(deployment, ''), nullif(model_group, ''), model) as subject
    from usage

),

final as (

    select
        'tokens_without_cost' as kind,
        'tokens_without_cost' as rule_id,
        usage.subject,
        usage.source_name as segment,
        '' as direction,
        usage.reason as cause,
        'tokens|' || usage.reason || '|' || usage.source_name as group_key,
        coalesce(faults.source, '') as feed,
        false as is_feed_fault,
        cast(null as decimal(38, 10)) as impact_usd_per_day,
        cast(null as decimal(38, 10)) as exposed_usd_per_day,
        cast(null as decimal(18, 4)) as blocked_hours,
        cast(1 as bigint) as finding_count,
        {{ start_of_day("usage.first_usage_date") }} as first_seen_at,
        run.as_of_end_at as last_seen_at,
        'Tokens of ' || {{ short_name("usage.subject") }} || ' without a cost' as headline,
        coalesce(cast(usage.total_tokens as varchar), 'An unknown number of') || ' tokens since '
        || cast(usage.first_usage_date as varchar)
        || case usage.reason
            when 'no_route' then ': ledger.yaml names no deployment for the model.'
            else ': ledger.yaml lists no GPU of the deployment at the hours at which it served.'
        end as explanation,
        '' as data_state,
        'from fct_unmapped_usage where reason = ''' || usage.reason || ''' and '
        || {{ sql_condition("model", "usage.model") }} || ' and '
        || {{ sql_condition("deployment", "usage.deployment") }} as evidence_sql
    from described as usage
    cross join run
    left join faults on usage.source_name = faults.source
    -- What ended is history; the marts keep it.
    where usage.last_usage_date >= {{ plus_days("run.as_of_date", -2) }}

)

select * from final
