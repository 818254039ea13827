-- Every rule in one place: what single snapshots break (L0 to L2), what history breaks (L3) and which
-- accepted prices moved. A finding that stands over several periods is one row with its first and last
-- sighting.

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

price_rules as (

    select * from {{ ref("price_rules") }}

),

price_sources as (

    select * from {{ ref("price_sources") }}

),

slip_factors as (

    select
        factor,
        likely_cause
    from {{ ref("price_slip_factors") }}
    union all
    select
        cast(1 as double) / factor as factor,
        likely_cause
    from {{ ref("price_slip_factors") }}

),

-- What a price that is out of bounds was before: against it, not against a mere reference, a slip is exact.
previous_prices as (

    select
        suspects.period_id,
        suspects.series_id,
        earlier.price_usd_per_instance_hour as previous_price,
        {{ ratio(
            "suspects.price_usd_per_instance_hour", "earlier.price_usd_per_instance_hour"
        ) }} as slip_ratio,
        row_number() over (
            partition by suspects.period_id, suspects.series_id
            order by earlier.period_number desc
        ) as price_rank
    from observations as suspects
    -- Many earlier prices for each of the few suspects; the rank keeps the last.
    inner join observations as earlier
        on
            suspects.series_id = earlier.series_id
            and suspects.period_number > earlier.period_number
            and earlier.accepted_from_at is not null
    where suspects.quarantine_rule_id in ('price_below_reference', 'price_above_reference')

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
                then {{ plain_number("previous_prices.previous_price") }}
            else offer_findings.evidence
        end as evidence,
        cast(1 as bigint) as series_count,
        previous_prices.slip_ratio
    from offer_findings
    -- One row per period of the snapshot.
    inner join periods on offer_findings.snapshot_id = periods.snapshot_id
    left join previous_prices
        on
            periods.period_id = previous_prices.period_id
            and offer_findings.series_id = previous_prices.series_id
            and previous_prices.price_rank = 1

),

unconfirmed_steps as (

    select
        period_id,
        series_id,
        quarantine_rule_id as rule_id,
        price_usd_per_instance_hour as observed,
        baseline_price_usd_per_instance_hour as expected,
        cast(null as varchar) as evidence,
        cast(1 as bigint) as series_count,
        cast(null as decimal(28, 8)) as slip_ratio
    from observations
    where quarantine_rule_id in ('list_price_step_unconfirmed', 'spot_price_step_unconfirmed')

),

-- One row for the feed, not one for each of its series: it is one event.
common_factors as (

    select
        period_id,
        cast(null as varchar) as series_id,
        'common_factor' as rule_id,
        max(common_factor) as observed,
        cast(1 as decimal(28, 8)) as expected,
        cast(max(compared_series_count) as varchar) as evidence,
        max(moved_series_count) as series_count,
        cast(null as decimal(28, 8)) as slip_ratio
    from observations
    where common_factor is not null
    group by period_id

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
        cast(null as varchar) as evidence,
        cast(1 as bigint) as series_count,
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
    select * from common_factors
    union all
    select
        period_id,
        series_id,
        rule_id,
        observed,
        expected,
        evidence,
        series_count,
        cast(null as decimal(28, 8)) as slip_ratio
    from moves
    where rule_rank = 1

),

numbered_occurrences as (

    select
        occurrences.*,
        periods.source,
        periods.dataset,
        periods.snapshot_id,
        periods.period_number,
        periods.seen_from_at,
        periods.seen_until_at,
        periods.next_seen_from_at is null as is_latest,
        periods.period_number - row_number() over (
            partition by
                periods.source,
                periods.dataset,
                occurrences.series_id,
                occurrences.rule_id,
                occurrences.observed,
                occurrences.expected,
                occurrences.evidence
            order by periods.period_number
        ) as run_number
    from occurrences
    inner join periods on occurrences.period_id = periods.period_id

),

findings as (

    select
        source,
        dataset,
        series_id,
        rule_id,
        observed,
        expected,
        evidence,
        max(series_count) as series_count,
        max(slip_ratio) as slip_ratio,
        min(seen_from_at) as first_seen_at,
        max(seen_until_at) as last_seen_at,
        min(snapshot_id) as snapshot_id,
        count(case when is_latest then 1 end) > 0 as is_open,
        {{ ratio("observed", "expected") }} as ratio
    from numbered_occurrences
    group by source, dataset, series_id, rule_id, observed, expected, evidence, run_number

),

-- The closest slip within 0.5 %, because 720, 730 and 744 hours lie less than 2 % apart; against a mere
-- reference price, where no earlier price is known, the factor is never exact: the closest within 1.5 is
-- named.
explained_findings as (

    select
        findings.*,
        slip_factors.likely_cause as slip_cause,
        row_number() over (
            partition by
                findings.source,
                findings.dataset,
                findings.series_id,
                findings.rule_id,
                findings.observed,
                findings.expected,
                findings.evidence,
                findings.first_seen_at
            order by abs(ln(coalesce(findings.slip_ratio, findings.ratio) / slip_factors.factor))
        ) as slip_rank
    from findings
    left join slip_factors
        on
            findings.ratio > 0
            and abs(ln(coalesce(findings.slip_ratio, findings.ratio) / slip_factors.factor))
            <= case
                when
                    findings.rule_id in ('price_below_reference', 'price_above_reference')
                    and findings.slip_ratio is null
                    then ln(1.5)
                else 0.005
            end

),

described_findings as (

    select
        findings.rule_id,
        price_rules.layer,
        price_rules.severity,
        price_rules.action,
        findings.source,
        findings.dataset,
        findings.series_id,
        findings.series_count,
        offers.price_key,
        offers.instance_type,
        offers.region,
        offers.gpu_model,
        offers.pricing_model,
        offers.term_months,
        offers.payment_option,
        findings.observed,
        findings.expected,
        findings.ratio,
        findings.evidence,
        findings.slip_cause,
        findings.first_seen_at,
        findings.last_seen_at,
        findings.is_open,
        findings.snapshot_id,
        coalesce(offers.provider, price_sources.provider, findings.source) as provider,
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
            findings.dataset
        ) as subject
    from explained_findings as findings
    inner join price_rules on findings.rule_id = price_rules.rule_id
    left join price_sources on findings.source = price_sources.source
    left join offers
        on
            findings.snapshot_id = offers.snapshot_id
            and findings.series_id = offers.series_id
    where findings.slip_rank = 1

),

final as (

    select
        rule_id,
        layer,
        severity,
        action,
        source,
        dataset,
        provider,
        series_id,
        series_count,
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
        subject,
        first_seen_at,
        last_seen_at,
        is_open,
        snapshot_id,
        md5(
            concat_ws(
                '|',
                rule_id,
                source,
                dataset,
                coalesce(series_id, ''),
                coalesce(cast(observed as varchar), ''),
                coalesce(cast(expected as varchar), ''),
                coalesce(evidence, ''),
                cast(first_seen_at as varchar)
            )
        ) as finding_id,
        case
            when rule_id in ('price_below_reference', 'price_above_reference') then 'USD per GPU-hour'
            when rule_id = 'common_factor' then 'ratio'
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
            when rule_id = 'no_exchange_rate'
                then 'the rates were not pulled, or the ECB does not list the currency'
            when rule_id = 'currency_mismatch' then 'the feed of another country, or none was asked for'
            when rule_id = 'spot_without_discount' then 'no spot discount published'
            when rule_id = 'commitment_without_discount' then 'no price of its own for the commitment'
            when rule_id = 'spot_above_on_demand' then 'spot and on demand swapped, or one in another unit'
            when rule_id = 'longer_term_dearer' then 'terms swapped, or a part of one missing'
            when slip_cause is not null then slip_cause
            when rule_id in ('list_price_changed', 'list_price_jumped', 'spot_price_jumped')
                then 'the provider moved its price'
            when rule_id = 'common_factor' then 'another currency, or tax added'
        end as likely_cause,
        case
            when rule_id in ('unknown_pricing_words', 'unknown_price_unit')
                then '"' || coalesce(evidence, '') || '" has no meaning here. No price is taken from it.'
            when rule_id = 'currency_mismatch'
                then 'The price is in ' || evidence || '. It is not converted, and not used.'
            when rule_id = 'no_exchange_rate'
                then 'The price is in ' || evidence || ', for which no rate of the last seven days is known.'
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
            when rule_id in ('spot_above_on_demand', 'spot_without_discount', 'commitment_without_discount')
                then
                    {{ plain_number("observed") }} || ' USD per instance-hour, while on demand costs '
                    || {{ plain_number("expected") }} || '.'
            when rule_id = 'longer_term_dearer'
                then
                    'Three years cost ' || {{ plain_number("observed") }}
                    || ' USD per instance-hour, one year ' || {{ plain_number("expected") }} || '.'
            when rule_id = 'common_factor'
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
