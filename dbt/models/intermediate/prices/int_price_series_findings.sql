-- One rule broken by one series over consecutive periods: what single snapshots break (L0 to L2), what
-- history breaks (L3), which accepted prices moved and which are far from other providers'.

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

peers as (

    select * from {{ ref("int_price_peers") }}

),

intervals as (

    select * from {{ ref("int_gpu_price_intervals") }}

),

price_rules as (

    select * from {{ ref("price_rules") }}

),

within_snapshots as (

    select
        periods.period_id,
        offer_findings.series_id,
        offer_findings.rule_id,
        offer_findings.observed,
        offer_findings.expected,
        case
            when price_rules.layer = 'L1'
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

followed_prices as (

    select
        *,
        lag(price_usd_per_instance_hour) over (partition by series_id order by period_number)
            as previous_price_usd,
        lag(seen_until_at) over (partition by series_id order by period_number) as seen_before_at,
        lag(period_number) over (partition by series_id order by period_number) as previous_period_number
    from observations
    where accepted_from_at is not null

),

-- What comes back after a long time has not moved.
accepted_steps as (

    select
        period_id,
        series_id,
        pricing_model,
        price_usd_per_instance_hour as observed,
        previous_price_usd as expected
    from followed_prices
    where
        {{ is_still_a_yardstick(
            "seen_before_at", "previous_period_number", "seen_from_at", "period_number"
        ) }}

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

held_periods as (

    select distinct
        periods.source,
        periods.dataset,
        periods.period_number,
        slips.period_id,
        slips.region
    from slips
    inner join periods on slips.period_id = periods.period_id

),

followed_sightings as (

    select
        period_id,
        series_id,
        period_number,
        seen_from_at,
        lag(seen_until_at) over (partition by series_id order by period_number) as seen_before_at,
        lag(period_number) over (partition by series_id order by period_number) as previous_period_number
    from observations

),

-- A series counts its own sightings: one that is missing for a day and comes back as wrong as before is no
-- new finding. After a long time it is, for which a number is left out.
sightings as (

    select
        period_id,
        series_id,
        sum(
            case
                when
                    {{ is_still_a_yardstick(
                        "seen_before_at", "previous_period_number", "seen_from_at", "period_number"
                    ) }}
                    then 1
                else 2
            end
        ) over (
            partition by series_id order by period_number rows between unbounded preceding and current row
        ) as sighting_number
    from followed_sightings

),

-- A wrong price in a feed that slipped as a whole is part of that and no finding of its own.
own_occurrences as (

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
        offers.region,
        coalesce(sightings.sighting_number, periods.period_number) as sighting_number
    from occurrences
    inner join periods on occurrences.period_id = periods.period_id
    inner join price_rules on occurrences.rule_id = price_rules.rule_id
    left join offers
        on
            periods.snapshot_id = offers.snapshot_id
            and occurrences.series_id = offers.series_id
    left join sightings
        on
            occurrences.period_id = sightings.period_id
            and occurrences.series_id = sightings.series_id
    left join held_periods as dataset_holds
        on occurrences.period_id = dataset_holds.period_id and dataset_holds.region is null
    left join held_periods as region_holds
        on occurrences.period_id = region_holds.period_id and offers.region = region_holds.region
    where
        not (
            price_rules.layer in ('L1', 'L2', 'L3')
            and price_rules.severity = 'error'
            and coalesce(dataset_holds.period_id, region_holds.period_id) is not null
        )

),

-- Held periods are passed over in counting, so that what stood before a slip is still the same finding after.
hold_counts as (

    select
        own_occurrences.period_id,
        own_occurrences.region,
        count(distinct held_periods.period_number) as held_count
    from (
        select distinct
            source,
            dataset,
            period_id,
            period_number,
            region
        from own_occurrences
    ) as own_occurrences
    inner join held_periods
        on
            own_occurrences.source = held_periods.source
            and own_occurrences.dataset = held_periods.dataset
            and coalesce(held_periods.region, own_occurrences.region) = own_occurrences.region
            and own_occurrences.period_number > held_periods.period_number
    group by own_occurrences.period_id, own_occurrences.region

),

-- What is held against other prices of the snapshot is one finding however those move, and what is out of
-- bounds whatever the last good price was.
keyed_occurrences as (

    select
        own_occurrences.*,
        case
            when own_occurrences.layer in ('L1', 'L2', 'L3') and own_occurrences.severity = 'error'
                then own_occurrences.sighting_number - coalesce(hold_counts.held_count, 0)
            else own_occurrences.sighting_number
        end as counted_number,
        case when own_occurrences.layer <> 'L2' then own_occurrences.observed end as observed_key,
        case when own_occurrences.layer <> 'L2' then own_occurrences.expected end as expected_key,
        case when own_occurrences.layer <> 'L1' then own_occurrences.evidence end as evidence_key
    from own_occurrences
    left join hold_counts
        on
            own_occurrences.period_id = hold_counts.period_id
            and own_occurrences.region = hold_counts.region

),

numbered_occurrences as (

    select
        *,
        counted_number - row_number() over (
            partition by source, dataset, series_id, rule_id, observed_key, expected_key, evidence_key
            order by period_number
        ) as run_number
    from keyed_occurrences

),

ranked_occurrences as (

    select
        *,
        row_number() over (
            partition by
                source, dataset, series_id, rule_id, observed_key, expected_key, evidence_key, run_number
            order by period_number
        ) as run_rank,
        max(seen_until_at) over (
            partition by
                source, dataset, series_id, rule_id, observed_key, expected_key, evidence_key, run_number
        ) as last_seen_at,
        max(case when is_latest then 1 else 0 end) over (
            partition by
                source, dataset, series_id, rule_id, observed_key, expected_key, evidence_key, run_number
        ) = 1 as is_open
    from numbered_occurrences

),

final as (

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
    where ranked_occurrences.run_rank = 1
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
        peers.period_id,
        peers.snapshot_id,
        peers.accepted_from_at as first_seen_at,
        intervals.last_seen_at,
        intervals.valid_to_at is null as is_open
    from peers
    inner join price_rules on price_rules.rule_id = 'price_unlike_peers'
    inner join intervals
        on
            peers.series_id = intervals.series_id
            and peers.accepted_from_at = intervals.accepted_from_at

)

select * from final
