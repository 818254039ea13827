-- What breaks one rule, or one set of price rules, in one load of a dataset and in one scope (all of it, a region,
-- a GPU model, a machine type) is one incident with its number of series, over the periods in which it stands.

with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

series_findings as (

    select * from {{ ref("int_price_series_findings") }}

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

described_series as (

    select
        series_findings.*,
        offers.price_key,
        offers.instance_type,
        offers.region,
        offers.gpu_model,
        offers.pricing_model,
        offers.term_months,
        offers.payment_option,
        offers.provider,
        concat_ws(' ', coalesce(offers.pricing_model, offers.pricing_model_raw), offers.term_raw) as option_name,
        {{ ratio("series_findings.observed", "series_findings.expected") }} as ratio,
        -- What a reader calls the offer: p5.48xlarge us-east-1 reserved 36 months no_upfront.
        coalesce(
            concat_ws(
                ' ',
                offers.price_key,
                offers.region,
                coalesce(offers.pricing_model, offers.pricing_model_raw),
                nullif(offers.offer_tier, ''),
                cast(offers.term_months as varchar) || ' months',
                offers.payment_option
            ),
            series_findings.dataset
        ) as subject,
        case
            when series_findings.layer in ('L1', 'L2', 'L3') and series_findings.severity = 'error'
                then 'wrong price'
            when series_findings.layer = 'L0'
                then series_findings.rule_id || ' ' || coalesce(series_findings.evidence, '')
            else series_findings.rule_id
        end as rule_group
    from series_findings
    left join offers
        on
            series_findings.snapshot_id = offers.snapshot_id
            and series_findings.series_id = offers.series_id

),

-- How much of a load breaks rules together decides what the finding is about: at least 60 % of the offers
-- bought in one way, and of at least five (three of one GPU in one region).
option_totals as (

    select
        periods.period_id,
        offers.region,
        offers.gpu_model,
        concat_ws(' ', coalesce(offers.pricing_model, offers.pricing_model_raw), offers.term_raw) as option_name,
        count(*) as series_count
    from periods
    inner join offers on periods.snapshot_id = offers.snapshot_id
    where periods.period_id in (select described_series.period_id from described_series)
    group by
        periods.period_id,
        offers.region,
        offers.gpu_model,
        concat_ws(' ', coalesce(offers.pricing_model, offers.pricing_model_raw), offers.term_raw)

),

option_findings as (

    select
        period_id,
        rule_group,
        region,
        gpu_model,
        option_name,
        count(distinct series_id) as series_count
    from described_series
    group by period_id, rule_group, region, gpu_model, option_name

),

{% set scopes = {
    "dataset": [],
    "region": ["region"],
    "gpu_model": ["gpu_model"],
    "regional_gpu_model": ["gpu_model", "region"],
} -%}
{%- for scope, columns in scopes.items() %}
{{ scope }}_totals as (

    select
        period_id,
        {% for column in columns %}{{ column }},{% endfor %}
        option_name,
        sum(series_count) as series_count
    from option_totals
    group by period_id, {% for column in columns %}{{ column }}, {% endfor %}option_name

),

{{ scope }}_shares as (

    select
        option_findings.period_id,
        option_findings.rule_group,
        {% for column in columns %}option_findings.{{ column }},{% endfor %}
        option_findings.option_name,
        sum(option_findings.series_count) >= 0.6 * max({{ scope }}_totals.series_count)
        and max({{ scope }}_totals.series_count) >= {{ 3 if scope == "regional_gpu_model" else 5 }} as is_whole
    from option_findings
    inner join {{ scope }}_totals
        on
            option_findings.period_id = {{ scope }}_totals.period_id
            and option_findings.option_name = {{ scope }}_totals.option_name
            {%- for column in columns %}
            and option_findings.{{ column }} = {{ scope }}_totals.{{ column }}
            {%- endfor %}
    group by
        option_findings.period_id,
        option_findings.rule_group,
        {% for column in columns %}option_findings.{{ column }}, {% endfor %}
        option_findings.option_name

),

whole_{{ scope }}s as (

    select distinct
        period_id,
        rule_group
        {%- for column in columns %},
        {{ column }}
        {%- endfor %}
    from {{ scope }}_shares
    where is_whole

),
{% endfor %}
scoped_series as (

    select
        described_series.*,
        case
            when whole_datasets.period_id is not null then 'dataset'
            when whole_regions.period_id is not null then 'region ' || described_series.region
            when whole_gpu_models.period_id is not null then 'GPU ' || described_series.gpu_model
            -- All machines with a GPU, though only in some regions: those regions are one finding.
            when whole_regional_gpu_models.period_id is not null
                then 'regional GPU ' || described_series.gpu_model
            else 'machine ' || coalesce(described_series.price_key, '')
        end as scope
    from described_series
    left join whole_datasets
        on
            described_series.period_id = whole_datasets.period_id
            and described_series.rule_group = whole_datasets.rule_group
    left join whole_regions
        on
            described_series.period_id = whole_regions.period_id
            and described_series.rule_group = whole_regions.rule_group
            and described_series.region = whole_regions.region
    left join whole_gpu_models
        on
            described_series.period_id = whole_gpu_models.period_id
            and described_series.rule_group = whole_gpu_models.rule_group
            and described_series.gpu_model = whole_gpu_models.gpu_model
    left join whole_regional_gpu_models
        on
            described_series.period_id = whole_regional_gpu_models.period_id
            and described_series.rule_group = whole_regional_gpu_models.rule_group
            and described_series.gpu_model = whole_regional_gpu_models.gpu_model
            and described_series.region = whole_regional_gpu_models.region

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
                scoped_series.layer,
                scoped_series.rule_id,
                case when scoped_series.pricing_model = 'on_demand' then 0 else 1 end,
                scoped_series.subject,
                scoped_series.series_id
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

grouped_findings as (

    select
        ranked_series.period_id,
        ranked_series.rule_group,
        ranked_series.scope,
        max(case when ranked_series.example_rank = 1 then ranked_series.rule_id end) as rule_id,
        max(ranked_series.source) as source,
        max(ranked_series.dataset) as dataset,
        max(ranked_series.snapshot_id) as snapshot_id,
        min(ranked_series.first_seen_at) as first_seen_at,
        max(ranked_series.last_seen_at) as last_seen_at,
        max(case when ranked_series.is_open then 1 else 0 end) = 1 as is_open,
        count(distinct ranked_series.series_id) as series_count,
        count(distinct ranked_series.region) as region_count,
        count(distinct ranked_series.price_key) as price_key_count,
        {%- for column in ["series_id", "price_key", "instance_type", "region", "gpu_model", "pricing_model",
            "term_months", "payment_option", "provider"] %}
        case when count(distinct ranked_series.{{ column }}) = 1 then max(ranked_series.{{ column }}) end
            as {{ column }},
        {%- endfor %}
        {%- for column in ["observed", "expected", "ratio", "evidence", "subject"] %}
        max(case when ranked_series.example_rank = 1 then ranked_series.{{ column }} end) as {{ column }},
        {%- endfor %}
        -- One ratio for most of them, or none.
        case
            when
                count(
                    case
                        when
                            abs(ln(cast(ranked_series.slip_ratio as double) / group_ratios.slip_ratio)) <= 0.005
                            then 1
                    end
                )
                >= 0.6 * count(case when ranked_series.slip_ratio > 0 then 1 end)
                then max(group_ratios.slip_ratio)
        end as slip_ratio
    from ranked_series
    left join group_ratios
        on
            ranked_series.period_id = group_ratios.period_id
            and ranked_series.rule_group = group_ratios.rule_group
            and ranked_series.scope = group_ratios.scope
    group by ranked_series.period_id, ranked_series.rule_group, ranked_series.scope

),

-- The closest slip: units within 0.5 %, because 720, 730 and 744 hours lie less than 2 % apart, currencies
-- within the tolerance of their rate. Against a mere reference price, where no earlier price is known, the
-- factor is never exact: the closest unit within 1.5 is named, of those from 20 on, which no price list spans.
explained_findings as (

    select
        findings.*,
        slip_factors.likely_cause as slip_cause,
        row_number() over (
            partition by findings.period_id, findings.rule_group, findings.scope
            order by
                case when slip_factors.is_currency then 1 else 0 end,
                abs(
                    ln(coalesce(findings.slip_ratio, cast(findings.ratio as double))) - slip_factors.log_factor
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
                    findings.rule_id in ('price_below_reference', 'price_above_reference')
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
            coalesce(back.seen_from_at, least(gaps.held_until_at, gaps.last_pull_at))
        ) as last_seen_at,
        min(periods.snapshot_id) as snapshot_id,
        max(case when gaps.back_period_number is null and gaps.last_pull_at < gaps.held_until_at then 1 else 0 end)
        = 1 as is_open
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
        periods.source,
        periods.dataset,
        max(pauses.series_count) as series_count,
        max(pauses.paused_days) as observed,
        max(pauses.longest_pause_days) as expected,
        cast(cast(pauses.moved_at as date) as varchar) as evidence,
        min(periods.seen_from_at) as first_seen_at,
        max(periods.seen_until_at) as last_seen_at,
        min(periods.snapshot_id) as snapshot_id,
        max(case when periods.next_seen_from_at is null then 1 else 0 end) = 1 as is_open
    from pauses
    inner join periods on pauses.period_id = periods.period_id
    inner join price_rules
        on
            price_rules.rule_id = 'spot_prices_frozen'
            and pauses.paused_days > 2
            and pauses.paused_days > price_rules.threshold * pauses.longest_pause_days
    group by price_rules.rule_id, periods.source, periods.dataset, pauses.moved_at

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
        rule_group || '|' || scope || '|' || case when series_count = 1 then max_series_id else '' end
            as event_key,
        subject
    from (
        select
            explained_findings.*,
            coalesce(series_id, '') as max_series_id
        from explained_findings
        where slip_rank = 1
    ) as single_findings
    {%- for relation, columns in {
        "slip_findings": {
            "region_count": "region_count", "region": "region", "expected": "cast(1 as decimal(28, 8))",
            "ratio": "observed", "slip_cause": "slip_cause", "event_key": "event_key"
        },
        "gap_findings": {"region_count": "0", "region": "cast(null as varchar)", "expected": "expected"},
        "pause_findings": {"region_count": "0", "region": "cast(null as varchar)", "expected": "expected"},
    }.items() %}
    union all
    select
        rule_id,
        source,
        dataset,
        cast(null as varchar) as provider,
        cast(null as varchar) as series_id,
        series_count,
        {{ columns["region_count"] }} as region_count,
        0 as price_key_count,
        cast(null as varchar) as price_key,
        cast(null as varchar) as instance_type,
        {{ columns["region"] }} as region,
        cast(null as varchar) as gpu_model,
        cast(null as varchar) as pricing_model,
        cast(null as integer) as term_months,
        cast(null as varchar) as payment_option,
        cast(observed as decimal(28, 8)) as observed,
        cast({{ columns["expected"] }} as decimal(28, 8)) as expected,
        {{ columns.get("ratio", ratio("observed", "expected")) }} as ratio,
        evidence,
        {{ columns.get("slip_cause", "cast(null as varchar)") }} as slip_cause,
        first_seen_at,
        last_seen_at,
        is_open,
        snapshot_id,
        {{ columns.get("event_key", "''") }} as event_key,
        concat_ws(' ', dataset, {{ columns["region"] }}) as subject
    from {{ relation }}
    {%- endfor %}

)

select * from final
