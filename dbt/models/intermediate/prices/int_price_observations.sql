-- Decides for each sighting of a series whether its price may come into force. Recomputed whole with window
-- functions and equality joins only; the look at three earlier sightings is taken for suspects alone, which
-- are few. What moves many prices at once comes from int_price_slips.

with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

offer_findings as (

    select * from {{ ref("int_price_offer_findings") }}

),

slips as (

    select * from {{ ref("int_price_slips") }}

),

price_rules as (

    select * from {{ ref("price_rules") }}

),

limits as (

    select
        max(case when rule_id = 'list_price_step_unconfirmed' then threshold end) as list_step,
        max(case when rule_id = 'spot_price_step_unconfirmed' then threshold end) as spot_factor
    from price_rules

),

quarantining_findings as (

    select
        offer_findings.snapshot_id,
        offer_findings.series_id,
        min(price_rules.layer || offer_findings.rule_id) as layer_and_rule
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
        offers.region,
        offers.pricing_model,
        -- What moved with the exchange rate alone has not moved: a price in another currency is compared with
        -- its earlier self, and reported, at the rate of the first snapshot of the series.
        coalesce(offers.price_usd_per_instance_hour_at_first_rate, offers.price_usd_per_instance_hour)
            as price_usd,
        periods.seen_from_at,
        periods.seen_until_at,
        periods.confirmed_at,
        periods.next_seen_from_at,
        -- The lowest layer names it; every layer before L3 is two characters long.
        coalesce(offers.price_null_reason, substr(quarantining_findings.layer_and_rule, 3))
            as blocking_rule_id
    from periods
    inner join offers on periods.snapshot_id = offers.snapshot_id
    left join quarantining_findings
        on
            offers.snapshot_id = quarantining_findings.snapshot_id
            and offers.series_id = quarantining_findings.series_id

),

-- At most one of the dataset and one of the region hold at a time.
slipped_observations as (

    select
        observations.*,
        coalesce(dataset_slips.rule_id, region_slips.rule_id) as slip_rule_id,
        coalesce(dataset_slips.is_confirmable, region_slips.is_confirmable) as is_slip_confirmable,
        -- A feed that is off by a known factor is no yardstick for the pulls after it.
        observations.blocking_rule_id is null
        and coalesce(dataset_slips.is_confirmable, region_slips.is_confirmable, true) as is_plausible
    from observations
    left join slips as dataset_slips
        on observations.period_id = dataset_slips.period_id and dataset_slips.region is null
    left join slips as region_slips
        on observations.period_id = region_slips.period_id and observations.region = region_slips.region

),

-- How many plausible sightings of the series there were up to this one, and how many old enough.
priced_observations as (

    select
        *,
        sum(case when is_plausible then 1 else 0 end) over (
            partition by series_id
            order by seen_from_at
            rows between unbounded preceding and current row
        ) as plausible_number,
        coalesce(
            sum(case when is_plausible then 1 else 0 end) over (
                partition by series_id
                order by seen_from_at
                range between unbounded preceding
                and interval '{{ price_confirmation_hours() }}' hour preceding
            ),
            0
        ) as older_observation_count
    from slipped_observations
    where price_usd is not null

),

plausible_observations as (

    select
        series_id,
        plausible_number as observation_number,
        price_usd,
        seen_until_at,
        period_number
    from priced_observations
    where is_plausible

),

-- The yardstick is the latest plausible sighting that is old enough; a series younger than that, or new
-- again, is held against its first one. Prices held back already are compared too, for the ratio tells what
-- slipped.
numbered_baselines as (

    select
        later.period_id,
        later.series_id,
        later.pricing_model,
        later.price_usd,
        later.is_plausible,
        later.plausible_number,
        later.seen_from_at,
        later.period_number,
        case
            when earlier.series_id is null then later.older_observation_count + 1
            else later.older_observation_count
        end as baseline_number
    from priced_observations as later
    left join plausible_observations as earlier
        on
            later.series_id = earlier.series_id
            and later.older_observation_count = earlier.observation_number
            and {{ is_still_a_yardstick(
                "earlier.seen_until_at", "earlier.period_number", "later.seen_from_at", "later.period_number"
            ) }}

),

compared_observations as (

    select
        later.period_id,
        later.series_id,
        later.pricing_model,
        later.price_usd,
        later.is_plausible,
        later.seen_from_at,
        later.period_number,
        later.baseline_number,
        earlier.price_usd as baseline_price_usd,
        {{ ratio("later.price_usd", "earlier.price_usd") }} as baseline_ratio
    from numbered_baselines as later
    inner join plausible_observations as earlier
        on
            later.series_id = earlier.series_id
            and later.baseline_number = earlier.observation_number
    where later.plausible_number - case when later.is_plausible then 1 else 0 end >= later.baseline_number

),

suspects as (

    select compared_observations.*
    from compared_observations
    cross join limits
    where
        compared_observations.is_plausible
        and case
            when compared_observations.pricing_model = 'spot'
                then
                    compared_observations.baseline_ratio > limits.spot_factor
                    or compared_observations.baseline_ratio < 1 / limits.spot_factor
            else abs(round(compared_observations.baseline_ratio, 4) - 1) >= limits.list_step
        end

),

-- Up to three rows per suspect: the yardstick and the two sightings before it.
suspect_pairs as (

    select
        suspects.period_id,
        suspects.series_id,
        case
            when suspects.pricing_model = 'spot'
                then
                    {{ ratio("suspects.price_usd", "earlier.price_usd") }} between 1 / limits.spot_factor
                    and limits.spot_factor
            else abs(round({{ ratio("suspects.price_usd", "earlier.price_usd") }}, 4) - 1) < limits.list_step
        end as is_within_band
    from suspects
    cross join limits
    inner join plausible_observations as earlier
        on
            suspects.series_id = earlier.series_id
            and earlier.observation_number between suspects.baseline_number - 2 and suspects.baseline_number
            and {{ is_still_a_yardstick(
                "earlier.seen_until_at", "earlier.period_number", "suspects.seen_from_at", "suspects.period_number"
            ) }}

),

unconfirmed_steps as (

    select
        period_id,
        series_id
    from suspect_pairs
    group by period_id, series_id
    having count(case when is_within_band then 1 end) = 0

),

judged_observations as (

    select
        slipped_observations.*,
        compared_observations.baseline_price_usd,
        compared_observations.baseline_ratio,
        case
            when slipped_observations.blocking_rule_id is not null then slipped_observations.blocking_rule_id
            -- The whole feed is held: a series that is new in it would be wrong from its first row.
            when slipped_observations.slip_rule_id is not null then slipped_observations.slip_rule_id
            when unconfirmed_steps.series_id is not null and slipped_observations.pricing_model = 'spot'
                then 'spot_price_step_unconfirmed'
            when unconfirmed_steps.series_id is not null then 'list_price_step_unconfirmed'
        end as quarantine_rule_id
    from slipped_observations
    left join compared_observations
        on
            slipped_observations.period_id = compared_observations.period_id
            and slipped_observations.series_id = compared_observations.series_id
    left join unconfirmed_steps
        on
            slipped_observations.period_id = unconfirmed_steps.period_id
            and slipped_observations.series_id = unconfirmed_steps.series_id

),

final as (

    select
        period_id,
        period_number,
        snapshot_id,
        series_id,
        region,
        pricing_model,
        price_usd as price_usd_per_instance_hour,
        baseline_price_usd as baseline_price_usd_per_instance_hour,
        baseline_ratio,
        slip_rule_id,
        quarantine_rule_id,
        seen_from_at,
        seen_until_at,
        next_seen_from_at,
        -- A step that a later pull of the same snapshot confirms comes into force then, never before:
        -- published days are not rewritten by what was learned afterwards.
        case
            when quarantine_rule_id is null then seen_from_at
            when
                quarantine_rule_id in ('list_price_step_unconfirmed', 'spot_price_step_unconfirmed')
                or blocking_rule_id is null and is_slip_confirmable
                then confirmed_at
        end as accepted_from_at
    from judged_observations

)

select * from final
