with findings as (

    select * from {{ ref("fct_price_anomalies") }}
    -- Words without a meaning are a source of their own (int_alert_candidates__price_words).
    where
        rule_id not in (
            'unknown_gpu_name', 'unknown_instance_type', 'unknown_pricing_words', 'unknown_price_unit'
        )
        and severity <> 'info'

),

spend as (

    select * from {{ ref("int_spend__last_day") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

-- A price that is held back is a finding as long as the feed shows it; a move is one for three days.
current_findings as (

    select
        findings.*,
        run.as_of_end_at
    from findings
    cross join run
    where
        findings.first_seen_at < {{ plus_hours("run.as_of_end_at", 24) }}
        and (
            (findings.is_open and (findings.action = 'quarantined' or findings.severity = 'warning'))
            or findings.first_seen_at >= {{ plus_hours("run.as_of_end_at", -72) }}
        )

),

-- Of the fleet, what pays a price of the finding.
exposed as (

    select
        findings.finding_id,
        sum(spend.cost_usd) as cost_usd,
        sum(spend.gpu_hours) as gpu_hours
    from current_findings as findings
    inner join spend
        on
            findings.provider = spend.provider
            and (findings.instance_type is null or findings.instance_type = spend.instance_type)
            and (findings.region is null or findings.region = spend.region)
            and (findings.gpu_model is null or findings.gpu_model = spend.gpu_model)
            and (findings.pricing_model is null or findings.pricing_model = spend.pricing_model)
    where spend.pricing_model <> 'reserved' and spend.rate_basis in ('list', 'override', 'broker')
    group by findings.finding_id

),

final as (

    select
        case
            when findings.action = 'quarantined' then 'price_held_back'
            when findings.layer in ('L3', 'L3b') then 'price_moved'
            else 'price_unlikely'
        end as kind,
        findings.rule_id,
        findings.provider as subject,
        coalesce(findings.pricing_model, '') as segment,
        case when findings.ratio > 1 then 'up' when findings.ratio < 1 then 'down' else '' end as direction,
        coalesce(findings.likely_cause, '') as cause,
        'price|' || findings.source || '|' || coalesce(findings.likely_cause, findings.rule_id) as group_key,
        -- What a source that is silent makes itself: nothing moves, offers are missing. A price that breaks
        -- a bound or an invariant is wrong whenever it was read.
        case when findings.layer in ('coverage', 'staleness') then findings.source else '' end as feed,
        false as is_feed_fault,
        cast(
            case
                -- Held back: what is in force is the last good price, so no money is wrong.
                when findings.action = 'quarantined' then 0
                when exposed.finding_id is null then 0
                when findings.ratio > 0
                    then abs(exposed.cost_usd - {{ usd_unit_cost("exposed.cost_usd", "findings.ratio") }})
            end as decimal(38, 10)
        ) as impact_usd_per_day,
        cast(coalesce(exposed.cost_usd, 0) as decimal(38, 10)) as exposed_usd_per_day,
        cast(null as decimal(18, 4)) as blocked_hours,
        findings.series_count as finding_count,
        findings.first_seen_at,
        findings.last_seen_at,
        {{ short_name("findings.provider") }} || ' '
        || case
            when findings.series_count > 1 then cast(findings.series_count as varchar) || ' prices'
            else
                coalesce({{ short_name("findings.instance_type") }} || ' ', '')
                || coalesce({{ short_name("findings.region") }} || ' ', '')
                || coalesce(findings.pricing_model || ' ', '') || 'price'
        end
        || case when findings.action = 'quarantined' then ' held back' else '' end
        || case
            when findings.observed is not null and findings.expected is not null
                then
                    ': ' || {{ plain_number("findings.observed") }} || ' for '
                    || {{ plain_number("findings.expected") }} || ' ' || findings.measure
            else ': ' || replace(findings.rule_id, '_', ' ')
        end as headline,
        findings.details || coalesce(' Likely cause: ' || findings.likely_cause || '.', '') as explanation,
        'feed read ' || cast({{ day_of("findings.last_seen_at") }} as varchar) as data_state,
        'from fct_price_anomalies where finding_id = ''' || findings.finding_id || '''' as evidence_sql
    from current_findings as findings
    left join exposed on findings.finding_id = exposed.finding_id

)

select * from final
