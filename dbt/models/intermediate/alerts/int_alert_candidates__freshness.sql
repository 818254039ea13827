with freshness as (

    select * from {{ ref("fct_source_freshness") }}

),

spend as (

    select * from {{ ref("int_spend__last_day") }}

),

routes as (

    select distinct
        source_name,
        deployment
    from {{ ref("stg_ledger__usage_routes") }}

),

price_sources as (

    select * from {{ ref("price_sources") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

-- What of a day's cost follows a feed: prices that are listed and not fixed for a term, and what a usage
-- source counts.
exposed as (

    select
        freshness.source,
        freshness.kind,
        sum(spend.cost_usd) as cost_usd
    from freshness
    left join price_sources on freshness.source = price_sources.source
    left join routes on freshness.source = routes.source_name
    inner join spend
        on
            (
                freshness.kind = 'price'
                and price_sources.provider = spend.provider
                and spend.pricing_model <> 'reserved'
                and spend.rate_basis in ('list', 'override', 'broker')
            )
            or (freshness.kind = 'usage' and routes.deployment = spend.deployment)
    group by freshness.source, freshness.kind

),

final as (

    select
        'source_stale' as kind,
        'source_stale' as rule_id,
        freshness.source as subject,
        freshness.kind as segment,
        '' as direction,
        -- Not the outcome, which changes from day to day while the source is the same.
        freshness.status as cause,
        -- Sources that fall silent together have one cause, and it is mostly on this side.
        'sources|' || freshness.kind || '|' || coalesce(freshness.last_outcome, freshness.status)
            as group_key,
        freshness.source as feed,
        true as is_feed_fault,
        cast(null as decimal(38, 10)) as impact_usd_per_day,
        cast(coalesce(exposed.cost_usd, 0) as decimal(38, 10)) as exposed_usd_per_day,
        case
            when freshness.last_success_at is not null
                then {{ hours_between("freshness.last_success_at", "run.as_of_end_at") }}
        end as blocked_hours,
        cast(1 as bigint) as finding_count,
        coalesce(
            {{ plus_hours("freshness.last_success_at", "freshness.stale_after_hours") }}, run.as_of_end_at
        ) as first_seen_at,
        run.as_of_end_at as last_seen_at,
        case freshness.kind when 'price' then 'Price' else 'Usage' end || ' source '
        || {{ short_name("freshness.source") }}
        || case
            when freshness.last_success_at is null then ' has never given anything'
            else
                ' has given nothing good since '
                || cast({{ day_of("freshness.last_success_at") }} as varchar)
        end as headline,
        coalesce(freshness.message, 'No reason is known.') as explanation,
        'last good values stay in force' as data_state,
        'from fct_source_freshness where ' || {{ sql_condition("source", "freshness.source") }}
            as evidence_sql
    from freshness
    cross join run
    left join exposed on freshness.source = exposed.source and freshness.kind = exposed.kind
    where freshness.status <> 'fresh'

)

select * from final
