-- What breaks one rule, or one set of price rules, in one load of a dataset and in one scope (all of it, a
-- region, a GPU model, a machine type) is one incident with its number of series, over the periods in which
-- it stands.

with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

-- Incidents that this run did not touch stand in int_price_findings as they are.
touched_groups as (

    select distinct
        scoped_findings.period_id,
        scoped_findings.rule_group,
        scoped_findings.scope
    from {{ ref("int_price_scoped_findings") }} as scoped_findings
    inner join {{ ref("stg_ledger__run") }} as run on scoped_findings.written_by_run_id = run.run_id

),

scoped_series as (

    select scoped_findings.*
    from {{ ref("int_price_scoped_findings") }} as scoped_findings
    inner join touched_groups
        on
            scoped_findings.period_id = touched_groups.period_id
            and scoped_findings.rule_group = touched_groups.rule_group
            and scoped_findings.scope = touched_groups.scope

),

slips as (

    select * from {{ ref("int_price_slips") }}

),

gaps as (

    select * from {{ ref("int_price_gaps") }}

),

pauses as (

    select * from {{ ref("int_price_pauses") }}

),

price_rules as (

    select * from {{ ref("price_rules") }}

),

slip_factors as (

    select
        ln(cast(factor as double)) as log_factor,
        0.005 as tolerance,
        likely_cause,
        false as is_currency
    from {{ ref("price_slip_factors") }}
    union all
    select
        -ln(cast(factor as double)) as log_factor,
        0.005 as tolerance,
        likely_cause,
        false as is_currency
    from {{ ref("price_slip_factors") }}
    union all
    select
        ln(cast(units_per_usd as double)) as log_factor,
        cast(tolerance as double) as tolerance,
        'prices in ' || currency || ' read as USD' as likely_cause,
        true as is_currency
    from {{ ref("price_currency_rates") }}

),

-- The rule that most of the series break names the finding; one of them is shown.
rule_counts as (

    select
        period_id,
        rule_group,
        scope,
        rule_id,
        count(*) as rule_count
    from scoped_series
    group by period_id, rule_group, scope, rule_id

),

ranked_series as (

    select
        scoped_series.*,
        row_number() over (
            partition by scoped_series.period_id, scoped_series.rule_group, scoped_series.scope
            order by
                rule_counts.rule_count desc,
                scoped_series.layer asc,
                scoped_series.rule_id asc,
                case when scoped_series.pricing_model = 'on_demand' then 0 else 1 end asc,
                scoped_series.subject asc,
                scoped_series.series_id asc
        ) as example_rank
    from scoped_series
    inner join rule_counts
        on
            scoped_series.period_id = rule_counts.period_id
            and scoped_series.rule_group = rule_counts.rule_group
            and scoped_series.scope = rule_counts.scope
            and scoped_series.rule_id = rule_counts.rule_id

),

group_ratios as (

    select
        period_id,
        rule_group,
        scope,
        {{ median_of("cast(slip_ratio as double)") }} as slip_ratio
    from ranked_series
    where slip_ratio > 0
    group by period_id, rule_group, scope

),

near_ratios as (

    select
        ranked_series.*,
        group_ratios.slip_ratio as group_ratio,
        abs(ln(cast(ranked_series.slip_ratio as double) / group_ratios.slip_ratio)) <= 0.005
            as is_near_group_ratio
    from ranked_series
    left join group_ratios
        on
            ranked_series.period_id = group_ratios.period_id
            and ranked_series.rule_group = group_ratios.rule_group
            and ranked_series.scope = group_ratios.scope

),

series_groups as (

    select
        period_id,
        rule_group,
        scope,
        max(source) as source,
        max(dataset) as dataset,
        max(snapshot_id) as snapshot_id,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at,
        max(case when is_open then 1 else 0 end) = 1 as is_open,
        count(distinct series_id) as series_count,
        count(distinct region) as region_count,
        count(distinct price_key) as price_key_count,
        case when count(distinct series_id) = 1 then max(series_id) end as series_id,
        case when count(distinct price_key) = 1 then max(price_key) end as price_key,
        case when count(distinct instance_type) = 1 then max(instance_type) end as instance_type,
        case when count(distinct region) = 1 then max(region) end as region,
        case when count(distinct gpu_model) = 1 then max(gpu_model) end as gpu_model,
        case when count(distinct pricing_model) = 1 then max(pricing_model) end as pricing_model,
        case when count(distinct term_months) = 1 then max(term_months) end as term_months,
        case when count(distinct payment_option) = 1 then max(payment_option) end as payment_option,
        case when count(distinct provider) = 1 then max(provider) end as provider,
        -- One ratio for most of them, or none.
        case
            when
                count(case when is_near_group_ratio then 1 end)
                >= 0.6 * count(case when slip_ratio > 0 then 1 end)
                then max(group_ratio)
        end as slip_ratio
    from near_ratios
    group by period_id, rule_group, scope

),

grouped_findings as (

    select
        series_groups.*,
        examples.rule_id,
        examples.observed,
        examples.expected,
        examples.ratio,
        examples.evidence,
        examples.subject
    from series_groups
    inner join ranked_series as examples
        on
            series_groups.period_id = examples.period_id
            and series_groups.rule_group = examples.rule_group
            and series_groups.scope = examples.scope
            and examples.example_rank = 1

),

-- The closest slip: units within 0.5 %, because 720, 730 and 744 hours lie less than 2 % apart, currencies
-- within the tolerance of their rate. Against a mere reference price, where no earlier price is known, the
-- factor is never exact: the closest unit within 1.5 is named, of those from 20 on, which no
-- price list spans.
explained_findings as (

    select
        findings.*,
        slip_factors.likely_cause as slip_cause,
        row_number() over (
            partition by findings.period_id, findings.rule_group, findings.scope
            order by
                case when slip_factors.is_currency then 1 else 0 end,
                abs(
                    ln(coalesce(findings.slip_ratio, cast(findings.ratio as double)))
                    - slip_factors.log_factor
                )
        ) as slip_rank
    from grouped_findings as findings
    inner join price_rules on findings.rule_id = price_rules.rule_id
    left join slip_factors
        on
            coalesce(
                findings.slip_ratio,
                case when price_rules.layer in ('L1', 'L3') then cast(findings.ratio as double) end
            ) > 0
            and (not slip_factors.is_currency or price_rules.severity = 'error')
            and abs(
                ln(coalesce(findings.slip_ratio, cast(findings.ratio as double))) - slip_factors.log_factor
            )
            <= case
                when
                    price_rules.layer = 'L1'
                    and findings.slip_ratio is null
                    then
                        case
                            when slip_factors.is_currency or abs(slip_factors.log_factor) < ln(20) then 0
                            else ln(1.5)
                        end
                else slip_factors.tolerance
            end

),

-- One row for the feed, not one for each of its series: it is one event.
numbered_slips as (

    select
        slips.*,
        periods.source,
        periods.dataset,
        periods.snapshot_id,
        periods.seen_from_at,
        periods.seen_until_at,
        periods.next_seen_from_at is null as is_latest,
        periods.period_number - dense_rank() over (
            partition by periods.source, periods.dataset, slips.rule_id, slips.event_key
            order by periods.period_number
        ) as run_number
    from slips
    inner join periods on slips.period_id = periods.period_id

),

slip_findings as (

    select
        rule_id,
        source,
        dataset,
        case when count(distinct region) = 1 then max(region) end as region,
        count(distinct region) as region_count,
        case
            when max(evidence) is null
                then max(moved_series_count) * greatest(count(distinct region), 1)
            else max(moved_series_count) * 2
        end as series_count,
        max(factor) as observed,
        coalesce(
            max(evidence),
            cast(max(compared_series_count) * greatest(count(distinct region), 1) as varchar)
        ) as evidence,
        max(likely_cause) as slip_cause,
        max(event_key) as event_key,
        min(seen_from_at) as first_seen_at,
        max(seen_until_at) as last_seen_at,
        min(snapshot_id) as snapshot_id,
        max(case when is_latest then 1 else 0 end) = 1 as is_open
    from numbered_slips
    group by source, dataset, rule_id, event_key, run_number

),

gap_findings as (

    select
        gaps.rule_id,
        gaps.source,
        gaps.dataset,
        max(gaps.missing_count) as series_count,
        max(gaps.missing_count) as observed,
        max(gaps.pair_count) as expected,
        max(gaps.missing_regions) as evidence,
        min(gaps.gone_from_at) as first_seen_at,
        max(
            least(gaps.held_until_at, coalesce(back.seen_from_at, gaps.last_pull_at))
        ) as last_seen_at,
        min(periods.snapshot_id) as snapshot_id,
        max(
            case
                when gaps.back_period_number is null and gaps.last_pull_at < gaps.held_until_at then 1
                else 0
            end
        ) = 1 as is_open
    from gaps
    inner join periods
        on
            gaps.source = periods.source
            and gaps.dataset = periods.dataset
            and gaps.last_period_number + 1 = periods.period_number
    left join periods as back
        on
            gaps.source = back.source
            and gaps.dataset = back.dataset
            and gaps.back_period_number = back.period_number
    group by gaps.rule_id, gaps.source, gaps.dataset, gaps.last_period_number

),

pause_findings as (

    select
        price_rules.rule_id,
        pauses.source,
        pauses.dataset,
        max(pauses.series_count) as series_count,
        max(pauses.paused_days) as observed,
        max(pauses.longest_pause_days) as expected,
        cast(cast(pauses.moved_at as date) as varchar) as evidence,
        -- When it outlasted the habit; the pull that shows the last move may be months old by then.
        {{ plus_hours(
            "pauses.moved_at",
            "cast(ceil(24 * greatest(2, max(price_rules.threshold * pauses.longest_pause_days))) as bigint)",
        ) }} as first_seen_at,
        max(pauses.seen_until_at) as last_seen_at,
        min(pauses.snapshot_id) as snapshot_id,
        max(case when pauses.is_latest then 1 else 0 end) = 1 as is_open
    from pauses
    inner join price_rules
        on
            price_rules.rule_id = 'spot_prices_frozen'
            and pauses.paused_days > 2
            and pauses.paused_days > price_rules.threshold * pauses.longest_pause_days
    group by price_rules.rule_id, pauses.source, pauses.dataset, pauses.moved_at

),

final as (

    select
        rule_id,
        source,
        dataset,
        provider,
        series_id,
        series_count,
        region_count,
        price_key_count,
        price_key,
        instance_type,
        region,
        gpu_model,
        pricing_model,
        term_months,
        payment_option,
        observed,
        expected,
        ratio,
        evidence,
        slip_cause,
        first_seen_at,
        last_seen_at,
        is_open,
        snapshot_id,
        concat_ws('|', rule_group, scope, series_id) as event_key,
        subject
    from explained_findings
    where slip_rank = 1
    union all
    select
        rule_id,
        source,
        dataset,
        cast(null as varchar) as provider,
        cast(null as varchar) as series_id,
        series_count,
        region_count,
        0 as price_key_count,
        cast(null as varchar) as price_key,
        cast(null as varchar) as instance_type,
        region,
        cast(null as varchar) as gpu_model,
        cast(null as varchar) as pricing_model,
        cast(null as integer) as term_months,
        cast(null as varchar) as payment_option,
        cast(observed as decimal(28, 8)) as observed,
        cast(1 as decimal(28, 8)) as expected,
        cast(observed as decimal(28, 8)) as ratio,
        evidence,
        slip_cause,
        first_seen_at,
        last_seen_at,
        is_open,
        snapshot_id,
        event_key,
        concat_ws(' ', dataset, region) as subject
    from slip_findings
    union all
    select
        rule_id,
        source,
        dataset,
        cast(null as varchar) as provider,
        cast(null as varchar) as series_id,
        series_count,
        0 as region_count,
        0 as price_key_count,
        cast(null as varchar) as price_key,
        cast(null as varchar) as instance_type,
        cast(null as varchar) as region,
        cast(null as varchar) as gpu_model,
        cast(null as varchar) as pricing_model,
        cast(null as integer) as term_months,
        cast(null as varchar) as payment_option,
        cast(observed as decimal(28, 8)) as observed,
        cast(expected as decimal(28, 8)) as expected,
        {{ ratio("observed", "expected") }} as ratio,
        evidence,
        cast(null as varchar) as slip_cause,
        first_seen_at,
        last_seen_at,
        is_open,
        snapshot_id,
        '' as event_key,
        dataset as subject
    from gap_findings
    union all
    select
        rule_id,
        source,
        dataset,
        cast(null as varchar) as provider,
        cast(null as varchar) as series_id,
        series_count,
        0 as region_count,
        0 as price_key_count,
        cast(null as varchar) as price_key,
        cast(null as varchar) as instance_type,
        cast(null as varchar) as region,
        cast(null as varchar) as gpu_model,
        cast(null as varchar) as pricing_model,
        cast(null as integer) as term_months,
        cast(null as varchar) as payment_option,
        cast(observed as decimal(28, 8)) as observed,
        cast(expected as decimal(28, 8)) as expected,
        {{ ratio("observed", "expected") }} as ratio,
        evidence,
        cast(null as varchar) as slip_cause,
        first_seen_at,
        last_seen_at,
        is_open,
        snapshot_id,
        '' as event_key,
        dataset as subject
    from pause_findings

)

select * from final
