-- Every rule in one place. What breaks one rule, or one set of price rules, in one load of a dataset and in one
-- scope (all of it, a region, a GPU model, a machine type) is one finding with its number of series, and it
-- stays one over the periods in which they stand.

with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

offer_findings as (

    select * from {{ ref("int_price_offer_findings") }}

),

observations as (

    select * from {{ ref("int_price_observations") }}

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

peers as (

    select * from {{ ref("int_price_peers") }}

),

price_rules as (

    select * from {{ ref("price_rules") }}

),

price_sources as (

    select * from {{ ref("price_sources") }}

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

within_snapshots as (

    select
        periods.period_id,
        offer_findings.series_id,
        offer_findings.rule_id,
        offer_findings.observed,
        offer_findings.expected,
        case
            when offer_findings.rule_id in ('price_below_reference', 'price_above_reference')
                then {{ plain_number("observations.baseline_price_usd_per_instance_hour") }}
            else offer_findings.evidence
        end as evidence,
        -- Against what the price was before, not against a mere yardstick, a slip is exact.
        case when price_rules.action = 'quarantined' then observations.baseline_ratio end as slip_ratio
    from offer_findings
    -- One row per period of the snapshot.
    inner join periods on offer_findings.snapshot_id = periods.snapshot_id
    inner join price_rules on offer_findings.rule_id = price_rules.rule_id
    left join observations
        on
            periods.period_id = observations.period_id
            and offer_findings.series_id = observations.series_id

),

unconfirmed_steps as (

    select
        period_id,
        series_id,
        quarantine_rule_id as rule_id,
        price_usd_per_instance_hour as observed,
        baseline_price_usd_per_instance_hour as expected,
        cast(null as varchar) as evidence,
        baseline_ratio as slip_ratio
    from observations
    where quarantine_rule_id in ('list_price_step_unconfirmed', 'spot_price_step_unconfirmed')

),

accepted_steps as (

    select
        period_id,
        series_id,
        pricing_model,
        price_usd_per_instance_hour as observed,
        lag(price_usd_per_instance_hour) over (partition by series_id order by period_number) as expected
    from observations
    where accepted_from_at is not null

),

-- The widest threshold that the move passes names it.
moves as (

    select
        accepted_steps.period_id,
        accepted_steps.series_id,
        price_rules.rule_id,
        accepted_steps.observed,
        accepted_steps.expected,
        row_number() over (
            partition by accepted_steps.period_id, accepted_steps.series_id
            order by price_rules.threshold desc
        ) as rule_rank
    from accepted_steps
    inner join price_rules
        on
            (
                price_rules.rule_id in ('list_price_changed', 'list_price_jumped')
                and accepted_steps.pricing_model <> 'spot'
                or price_rules.rule_id = 'spot_price_jumped' and accepted_steps.pricing_model = 'spot'
            )
            and abs({{ ratio("accepted_steps.observed", "accepted_steps.expected") }} - 1)
            > price_rules.threshold

),

occurrences as (

    select * from within_snapshots
    union all
    select * from unconfirmed_steps
    union all
    select
        period_id,
        series_id,
        rule_id,
        observed,
        expected,
        cast(null as varchar) as evidence,
        cast(null as decimal(28, 8)) as slip_ratio
    from moves
    where rule_rank = 1

),

-- What is held against other prices of the snapshot is one finding however those move.
keyed_occurrences as (

    select
        occurrences.*,
        price_rules.layer,
        price_rules.severity,
        periods.source,
        periods.dataset,
        periods.snapshot_id,
        periods.period_number,
        periods.seen_from_at,
        periods.seen_until_at,
        periods.next_seen_from_at is null as is_latest,
        case when price_rules.layer <> 'L2' then occurrences.observed end as observed_key,
        case when price_rules.layer <> 'L2' then occurrences.expected end as expected_key
    from occurrences
    inner join periods on occurrences.period_id = periods.period_id
    inner join price_rules on occurrences.rule_id = price_rules.rule_id

),

numbered_occurrences as (

    select
        *,
        period_number - row_number() over (
            partition by source, dataset, series_id, rule_id, observed_key, expected_key, evidence
            order by period_number
        ) as run_number
    from keyed_occurrences

),

ranked_occurrences as (

    select
        *,
        row_number() over (
            partition by
                source, dataset, series_id, rule_id, observed_key, expected_key, evidence, run_number
            order by period_number
        ) as run_rank,
        max(seen_until_at) over (
            partition by
                source, dataset, series_id, rule_id, observed_key, expected_key, evidence, run_number
        ) as last_seen_at,
        max(case when is_latest then 1 else 0 end) over (
            partition by
                source, dataset, series_id, rule_id, observed_key, expected_key, evidence, run_number
        ) = 1 as is_open
    from numbered_occurrences

),

-- A wrong price in a feed that slipped as a whole is part of that and no finding of its own.
series_findings as (

    select
        ranked_occurrences.source,
        ranked_occurrences.dataset,
        ranked_occurrences.series_id,
        ranked_occurrences.rule_id,
        ranked_occurrences.layer,
        ranked_occurrences.severity,
        ranked_occurrences.observed,
        ranked_occurrences.expected,
        ranked_occurrences.evidence,
        ranked_occurrences.slip_ratio,
        ranked_occurrences.period_id,
        ranked_occurrences.snapshot_id,
        ranked_occurrences.seen_from_at as first_seen_at,
        ranked_occurrences.last_seen_at,
        ranked_occurrences.is_open
    from ranked_occurrences
    left join offers
        on
            ranked_occurrences.snapshot_id = offers.snapshot_id
            and ranked_occurrences.series_id = offers.series_id
    left join slips as dataset_slips
        on ranked_occurrences.period_id = dataset_slips.period_id and dataset_slips.region is null
    left join slips as region_slips
        on ranked_occurrences.period_id = region_slips.period_id and offers.region = region_slips.region
    where
        ranked_occurrences.run_rank = 1
        and not (
            ranked_occurrences.layer in ('L1', 'L2', 'L3')
            and ranked_occurrences.severity = 'error'
            and coalesce(dataset_slips.rule_id, region_slips.rule_id) is not null
        )
    union all
    select
        peers.source,
        peers.dataset,
        peers.series_id,
        price_rules.rule_id,
        price_rules.layer,
        price_rules.severity,
        peers.price_usd_per_gpu_hour as observed,
        peers.peer_price_usd_per_gpu_hour as expected,
        cast(peers.peer_count as varchar) as evidence,
        cast(null as decimal(28, 8)) as slip_ratio,
        periods.period_id,
        peers.snapshot_id,
        peers.seen_from_at as first_seen_at,
        peers.last_seen_at,
        peers.is_in_force as is_open
    from peers
    inner join price_rules on price_rules.rule_id = 'price_unlike_peers'
    inner join periods
        on
            peers.snapshot_id = periods.snapshot_id
            and peers.seen_from_at between periods.seen_from_at and periods.seen_until_at
    where {{ log_distance("peers.peer_ratio") }} > ln(cast(price_rules.threshold as double))

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
-- bought in one way, and of at least five.
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

{% set scopes = {"dataset": [], "region": ["region"], "gpu_model": ["gpu_model"]} -%}
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
        and max({{ scope }}_totals.series_count) >= 5 as is_whole
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
-- factor is never exact: the closest unit within 1.5 is named.
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
                    then case when slip_factors.is_currency then 0 else ln(1.5) end
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

findings as (

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

),

described_findings as (

    select
        findings.*,
        price_rules.layer,
        price_rules.severity,
        price_rules.action,
        coalesce(findings.provider, price_sources.provider, findings.source) as provider_name
    from findings
    inner join price_rules on findings.rule_id = price_rules.rule_id
    left join price_sources on findings.source = price_sources.source

),

final as (

    select
        rule_id,
        layer,
        severity,
        action,
        source,
        dataset,
        provider_name as provider,
        series_id,
        price_key,
        instance_type,
        region,
        gpu_model,
        pricing_model,
        term_months,
        payment_option,
        first_seen_at,
        last_seen_at,
        is_open,
        snapshot_id,
        cast(series_count as bigint) as series_count,
        cast(observed as decimal(28, 8)) as observed,
        cast(expected as decimal(28, 8)) as expected,
        cast(ratio as decimal(28, 8)) as ratio,
        case
            when series_count > 1 and price_key_count > 0
                then
                    cast(series_count as varchar) || ' prices of '
                    || coalesce(price_key, cast(price_key_count as varchar) || ' machine types') || ' in '
                    || coalesce(region, cast(region_count as varchar) || ' regions') || ', such as ' || subject
            else subject
        end as subject,
        md5(
            concat_ws('|', rule_id, source, dataset, event_key, cast(first_seen_at as varchar))
        ) as finding_id,
        case
            when rule_id in ('price_below_reference', 'price_above_reference') then 'USD per GPU-hour'
            when layer = 'L3b' then 'ratio'
            when layer = 'coverage' then 'offers'
            when layer = 'staleness' then 'days'
            when rule_id in ('price_unlike_its_family', 'newer_gpu_too_cheap', 'price_unlike_peers')
                then 'USD per GPU-hour'
            when rule_id = 'gpu_count_conflict' then 'GPUs per instance'
            when layer = 'L0' then 'amount as stated'
            else 'USD per instance-hour'
        end as measure,
        case
            when rule_id = 'missing_component'
                then 'a part of the offer is missing from the feed'
            when rule_id in ('unknown_price_unit', 'unknown_pricing_words')
                then 'the source has a new word, or an old one changed its meaning'
            when rule_id in ('unknown_gpu_name', 'unknown_instance_type') then 'new hardware'
            when rule_id = 'currency_mismatch' then 'the feed of another country, or none was asked for'
            when slip_cause is not null then slip_cause
            when rule_id = 'spot_without_discount' then 'no spot discount published'
            when rule_id = 'commitment_without_discount' then 'no price of its own for the commitment'
            when rule_id = 'spot_above_on_demand' then 'spot and on demand swapped, or one in another unit'
            when rule_id = 'commitment_above_on_demand'
                then 'a part of on demand missing, or a term total read as an hourly price'
            when rule_id = 'longer_term_dearer' then 'terms swapped, or a part of one missing'
            when rule_id = 'price_far_from_region_median'
                then 'a part of the price missing, or the price of another machine'
            when rule_id = 'price_unlike_its_family'
                then 'a part of the price missing, or prices per GPU and per instance confused'
            when rule_id = 'newer_gpu_too_cheap' then 'the price of the GPU before it, or a part missing'
            when layer = 'coverage' then 'a page or a region of the feed failed'
            when rule_id = 'spot_prices_frozen' then 'a cache that answers with old prices'
            when rule_id in ('list_price_changed', 'list_price_jumped', 'spot_price_jumped')
                then 'the provider moved its price'
            when layer = 'L3b' then 'another currency, or tax added'
        end as likely_cause,
        case
            when rule_id in ('unknown_pricing_words', 'unknown_price_unit')
                then '"' || coalesce(evidence, '') || '" has no meaning here. No price is taken from it.'
            when rule_id = 'currency_mismatch'
                then 'The price is in ' || evidence || '. It is not converted, and not used.'
            when rule_id = 'missing_component'
                then 'A part of the price is missing: the whole is unknown. No smaller sum is used instead.'
            when rule_id = 'conflicting_prices'
                then 'The source states two prices for the same offer. Neither is used.'
            when rule_id = 'price_not_positive' then 'The price is zero or less. It is not a price.'
            when rule_id = 'price_out_of_range' then 'The amount cannot be a price.'
            when rule_id = 'price_not_in_force_yet'
                then
                    'A price of ' || {{ plain_number("observed") }} || ' is announced for ' || evidence || '.'
            when rule_id in ('unknown_gpu_name', 'unknown_instance_type')
                then '"' || evidence || '" is not known. Its price is kept, without a GPU model.'
            when rule_id = 'gpu_count_conflict'
                then
                    'The source counts ' || {{ plain_number("observed") }} || ' GPUs, instance_types '
                    || {{ plain_number("expected") }} || '. The latter is used.'
            when rule_id in ('price_below_reference', 'price_above_reference')
                then
                    {{ plain_number("observed") }} || ' USD per GPU-hour is out of bounds for a reference of '
                    || {{ plain_number("expected") }}
                    || coalesce('; the last accepted price was ' || evidence || ' USD per instance-hour', '')
                    || '.'
            when rule_id = 'price_far_from_region_median'
                then
                    {{ plain_number("observed") }} || ' USD per instance-hour, while the median over the regions is '
                    || {{ plain_number("expected") }} || '.'
            when rule_id = 'price_unlike_its_family'
                then
                    {{ plain_number("observed") }} || ' USD per GPU-hour, while the median of the sizes of '
                    || evidence || ' is ' || {{ plain_number("expected") }} || '.'
            when rule_id = 'newer_gpu_too_cheap'
                then
                    {{ plain_number("observed") }} || ' USD per GPU-hour does not fit ' || evidence
                    || ' in the same region, which allows ' || {{ plain_number("expected") }} || '.'
            when rule_id = 'price_unlike_peers'
                then
                    {{ plain_number("observed") }} || ' USD per GPU-hour, while the median of ' || evidence
                    || ' other providers is ' || {{ plain_number("expected") }} || '.'
            when rule_id = 'commitment_above_on_demand' and evidence is not null
                then
                    {{ plain_number("observed") }} || ' USD per instance-hour on demand, while a commitment costs '
                    || {{ plain_number("expected") }} || '.'
            when rule_id = 'longer_term_dearer' and evidence is not null
                then
                    {{ plain_number("observed") }} || ' USD per instance-hour, while a longer term costs '
                    || {{ plain_number("expected") }} || '.'
            when
                rule_id in (
                    'spot_above_on_demand',
                    'spot_without_discount',
                    'commitment_above_on_demand',
                    'commitment_without_discount'
                )
                then
                    {{ plain_number("observed") }} || ' USD per instance-hour, while on demand costs '
                    || {{ plain_number("expected") }} || '.'
            when rule_id = 'longer_term_dearer'
                then
                    'The longer term costs ' || {{ plain_number("observed") }}
                    || ' USD per instance-hour, the shorter ' || {{ plain_number("expected") }} || '.'
            when rule_id = 'regions_swapped'
                then
                    evidence || ' show each other''s earlier prices on ' || cast(series_count as varchar)
                    || ' offers.'
            when rule_id in ('region_missing', 'offers_missing')
                then
                    {{ plain_number("observed") }} || ' of ' || {{ plain_number("expected") }}
                    || ' machines in regions are gone' || coalesce(', all of ' || evidence, '') || '.'
            when rule_id = 'spot_prices_frozen'
                then
                    'No spot price moved for ' || {{ plain_number("observed") }} || ' days, since ' || evidence
                    || '; the longest pause before was ' || {{ plain_number("expected") }} || ' days.'
            when layer = 'L3b'
                then
                    cast(series_count as varchar) || ' of ' || evidence
                    || ' prices moved by the same factor of ' || {{ plain_number("observed") }} || '.'
            else
                'Moved from ' || {{ plain_number("expected") }} || ' to ' || {{ plain_number("observed") }}
                || ' USD per instance-hour (x' || {{ plain_number("ratio") }} || ').'
        end as explanation
    from described_findings

)

select * from final
