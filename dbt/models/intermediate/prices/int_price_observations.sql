-- Decides for each sighting of a series whether its price may come into force. Recomputed whole with window
-- functions and equality joins only; the look at three earlier sightings is taken for suspects alone, which
-- are few.

with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

offer_findings as (

    select * from {{ ref("int_price_offer_findings") }}

),

price_rules as (

    select * from {{ ref("price_rules") }}

),

limits as (

    select
        max(case when rule_id = 'list_price_step_unconfirmed' then threshold end) as list_step,
        max(case when rule_id = 'spot_price_step_unconfirmed' then threshold end) as spot_factor,
        max(case when rule_id = 'common_factor' then threshold end) as common_share
    from price_rules

),

quarantining_findings as (

    select
        offer_findings.snapshot_id,
        offer_findings.series_id,
        min(offer_findings.rule_id) as rule_id
    from offer_findings
    inner join price_rules on offer_findings.rule_id = price_rules.rule_id
    where price_rules.action = 'quarantined'
    group by offer_findings.snapshot_id, offer_findings.series_id

),

-- One row per series and period; a snapshot that comes back after another one has several periods.
observations as (

    select
        periods.period_id,
        periods.period_number,
        periods.snapshot_id,
        offers.series_id,
        offers.pricing_model,
        -- What moved with the exchange rate alone has not moved: a price in another currency is compared with
        -- its earlier self, and reported, at the rate of the first snapshot of the series.
        coalesce(offers.price_usd_per_instance_hour_at_first_rate, offers.price_usd_per_instance_hour)
            as price_usd,
        periods.seen_from_at,
        periods.seen_until_at,
        periods.confirmed_at,
        periods.next_seen_from_at,
        coalesce(offers.price_null_reason, quarantining_findings.rule_id) as blocking_rule_id
    from periods
    inner join offers on periods.snapshot_id = offers.snapshot_id
    left join quarantining_findings
        on
            offers.snapshot_id = quarantining_findings.snapshot_id
            and offers.series_id = quarantining_findings.series_id

),

plausible_observations as (

    select
        period_id,
        series_id,
        pricing_model,
        price_usd,
        row_number() over (partition by series_id order by seen_from_at) as observation_number,
        count(*) over (
            partition by series_id
            order by seen_from_at
            range between unbounded preceding and interval '{{ price_confirmation_hours() }}' hour preceding
        ) as older_observation_count
    from observations
    where blocking_rule_id is null

),

-- The yardstick is the latest sighting that is old enough; a series younger than that is held against its
-- first one.
compared_observations as (

    select
        later.period_id,
        later.series_id,
        later.pricing_model,
        later.price_usd,
        greatest(later.older_observation_count, 1) as baseline_number,
        earlier.price_usd as baseline_price_usd,
        {{ ratio("later.price_usd", "earlier.price_usd") }} as baseline_ratio
    from plausible_observations as later
    inner join plausible_observations as earlier
        on
            later.series_id = earlier.series_id
            and greatest(later.older_observation_count, 1) = earlier.observation_number
    where later.observation_number > 1

),

ranked_ratios as (

    select
        period_id,
        baseline_ratio,
        row_number() over (partition by period_id order by baseline_ratio) as ratio_rank,
        count(*) over (partition by period_id) as series_count
    from compared_observations

),

-- If most series share one ratio, the median is that ratio.
median_ratios as (

    select
        period_id,
        series_count,
        baseline_ratio as median_ratio
    from ranked_ratios
    where ratio_rank * 2 in (series_count, series_count + 1) and series_count >= 5

),

factor_periods as (

    select
        median_ratios.period_id,
        median_ratios.median_ratio,
        median_ratios.series_count,
        count(*) as moved_series_count
    from median_ratios
    inner join compared_observations
        on
            median_ratios.period_id = compared_observations.period_id
            and abs(compared_observations.baseline_ratio - median_ratios.median_ratio)
            <= 0.001 * median_ratios.median_ratio
    cross join limits
    where abs(median_ratios.median_ratio - 1) > 0.001
    group by median_ratios.period_id, median_ratios.median_ratio, median_ratios.series_count
    having count(*) >= max(limits.common_share) * median_ratios.series_count

),

suspects as (

    select
        compared_observations.*,
        factor_periods.period_id is not null as is_factor_suspect,
        case
            when compared_observations.pricing_model = 'spot'
                then
                    compared_observations.baseline_ratio > limits.spot_factor
                    or compared_observations.baseline_ratio < 1 / limits.spot_factor
            else abs(compared_observations.baseline_ratio - 1) > limits.list_step
        end as is_step_suspect
    from compared_observations
    cross join limits
    left join factor_periods on compared_observations.period_id = factor_periods.period_id

),

-- Up to three rows per suspect: the yardstick and the two sightings before it.
suspect_pairs as (

    select
        suspects.period_id,
        suspects.series_id,
        suspects.is_factor_suspect,
        suspects.is_step_suspect,
        suspects.baseline_number - earlier.observation_number as steps_back,
        case
            when suspects.pricing_model = 'spot'
                then
                    {{ ratio("suspects.price_usd", "earlier.price_usd") }} between 1 / limits.spot_factor
                    and limits.spot_factor
            else abs({{ ratio("suspects.price_usd", "earlier.price_usd") }} - 1) <= limits.list_step
        end as is_within_band,
        abs({{ ratio("suspects.price_usd", "earlier.price_usd") }} - 1) <= 0.001 as is_same_price
    from suspects
    cross join limits
    inner join plausible_observations as earlier
        on
            suspects.series_id = earlier.series_id
            and earlier.observation_number between suspects.baseline_number - 2 and suspects.baseline_number
    where suspects.is_factor_suspect or suspects.is_step_suspect

),

unconfirmed_steps as (

    select
        period_id,
        series_id
    from suspect_pairs
    where is_step_suspect
    group by period_id, series_id
    having count(case when is_within_band then 1 end) = 0

),

-- A feed that returns to the prices of an earlier day is the end of a slip and not another one.
agreeing_days as (

    select
        suspect_pairs.period_id,
        suspect_pairs.steps_back
    from suspect_pairs
    cross join limits
    where suspect_pairs.is_factor_suspect
    group by suspect_pairs.period_id, suspect_pairs.steps_back
    having
        count(*) >= 5
        and count(case when suspect_pairs.is_same_price then 1 end) >= max(limits.common_share) * count(*)

),

unconfirmed_factors as (

    select * from factor_periods
    where period_id not in (select agreeing_days.period_id from agreeing_days)

),

judged_observations as (

    select
        observations.*,
        compared_observations.baseline_price_usd,
        compared_observations.baseline_ratio,
        unconfirmed_factors.median_ratio as common_factor,
        unconfirmed_factors.moved_series_count,
        unconfirmed_factors.series_count as compared_series_count,
        case
            when observations.blocking_rule_id is not null then observations.blocking_rule_id
            -- The whole feed is held: a series that is new in it would be wrong from its first row.
            when unconfirmed_factors.period_id is not null then 'common_factor'
            when unconfirmed_steps.series_id is not null and observations.pricing_model = 'spot'
                then 'spot_price_step_unconfirmed'
            when unconfirmed_steps.series_id is not null then 'list_price_step_unconfirmed'
        end as quarantine_rule_id
    from observations
    left join compared_observations
        on
            observations.period_id = compared_observations.period_id
            and observations.series_id = compared_observations.series_id
    left join unconfirmed_factors on observations.period_id = unconfirmed_factors.period_id
    left join unconfirmed_steps
        on
            observations.period_id = unconfirmed_steps.period_id
            and observations.series_id = unconfirmed_steps.series_id

),

final as (

    select
        period_id,
        period_number,
        snapshot_id,
        series_id,
        pricing_model,
        price_usd as price_usd_per_instance_hour,
        baseline_price_usd as baseline_price_usd_per_instance_hour,
        baseline_ratio,
        common_factor,
        moved_series_count,
        compared_series_count,
        quarantine_rule_id,
        seen_from_at,
        seen_until_at,
        next_seen_from_at,
        -- A step that a later pull of the same snapshot confirms comes into force then, never before:
        -- published days are not rewritten by what was learned afterwards.
        case
            when quarantine_rule_id is null then seen_from_at
            when
                quarantine_rule_id in (
                    'common_factor', 'list_price_step_unconfirmed', 'spot_price_step_unconfirmed'
                )
                then confirmed_at
        end as accepted_from_at
    from judged_observations

)

select * from final
