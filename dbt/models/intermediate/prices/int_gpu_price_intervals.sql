with observations as (

    select * from {{ ref("int_price_observations") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

gaps as (

    select * from {{ ref("int_price_gaps") }}

),

neighboured_observations as (

    select
        observations.*,
        gaps.held_until_at,
        gaps.last_pull_at,
        lag(observations.period_number) over (
            partition by observations.series_id order by observations.period_number
        ) as previous_period_number,
        lead(observations.period_number) over (
            partition by observations.series_id order by observations.period_number
        ) as next_period_number,
        lead(observations.seen_from_at) over (
            partition by observations.series_id order by observations.period_number
        ) as back_at,
        lag(gaps.held_until_at) over (
            partition by observations.series_id order by observations.period_number
        ) as held_until_before_at
    from observations
    left join gaps
        on
            observations.series_id = gaps.series_id
            and observations.period_number = gaps.last_period_number

),

-- A series missing from a later snapshot is withdrawn there; when it comes back, a new segment begins. One
-- that went with many others keeps its price for a while (int_price_gaps), and back in time
-- it was never gone.
segmented_observations as (

    select
        *,
        sum(
            case
                when
                    period_number > previous_period_number + 1 and seen_from_at <= held_until_before_at
                    then 0
                when period_number > previous_period_number + 1 then 1
                else 0
            end
        ) over (
            partition by series_id
            order by period_number
            rows between unbounded preceding and current row
        ) as segment_number,
        case
            when next_period_number = period_number + 1 or back_at <= held_until_at then null
            when held_until_at > last_pull_at then null
            else coalesce(held_until_at, next_seen_from_at)
        end as withdrawn_at
    from neighboured_observations

),

dated_segments as (

    select
        *,
        max(withdrawn_at) over (partition by series_id, segment_number) as segment_withdrawn_at
    from segmented_observations

),

accepted_observations as (

    select
        *,
        lag(price_usd_per_instance_hour) over (
            partition by series_id order by period_number
        ) as previous_price_usd,
        lag(segment_number) over (partition by series_id order by period_number) as previous_segment_number
    from dated_segments
    where accepted_from_at is not null

),

numbered_observations as (

    select
        *,
        sum(
            case
                when segment_number <> previous_segment_number then 1
                when price_usd_per_instance_hour = previous_price_usd then 0
                else 1
            end
        ) over (
            partition by series_id
            order by period_number
            rows between unbounded preceding and current row
        ) as interval_number
    from accepted_observations

),

intervals as (

    select
        series_id,
        interval_number,
        min(period_number) as first_period_number,
        min(segment_number) as segment_number,
        min(segment_withdrawn_at) as withdrawn_at,
        min(accepted_from_at) as accepted_from_at,
        min(seen_from_at) as first_seen_at,
        max(seen_until_at) as last_seen_at
    from numbered_observations
    group by series_id, interval_number

),

-- The snapshot that first showed the price is its proof; later ones repeat it.
proven_intervals as (

    select
        intervals.*,
        numbered_observations.snapshot_id
    from intervals
    inner join numbered_observations
        on
            intervals.series_id = numbered_observations.series_id
            and intervals.first_period_number = numbered_observations.period_number

),

described_intervals as (

    select
        offers.*,
        proven_intervals.segment_number,
        proven_intervals.withdrawn_at,
        proven_intervals.first_seen_at,
        proven_intervals.last_seen_at,
        -- Before the first pull the source's own date holds; later its dates must not reach behind a known
        -- price.
        case
            when proven_intervals.interval_number = 1
                then
                    least(
                        proven_intervals.accepted_from_at,
                        coalesce(offers.effective_at, proven_intervals.accepted_from_at)
                    )
            else proven_intervals.accepted_from_at
        end as valid_from_at
    from proven_intervals
    inner join offers
        on
            proven_intervals.snapshot_id = offers.snapshot_id
            and proven_intervals.series_id = offers.series_id

),

final as (

    select
        series_id,
        source,
        dataset,
        provider,
        sku_id,
        price_key,
        instance_type,
        region,
        gpu_model,
        gpu_count,
        pricing_category,
        pricing_model,
        offer_tier,
        term_months,
        payment_option,
        price_usd_per_gpu_hour,
        price_usd_per_instance_hour,
        upfront_usd_per_instance,
        recurring_usd_per_instance_hour,
        price_amount,
        price_currency,
        price_unit_raw,
        price_basis,
        valid_from_at,
        first_seen_at,
        last_seen_at,
        fetched_at,
        snapshot_id,
        source_url,
        case
            when lead(segment_number) over (partition by series_id order by valid_from_at) = segment_number
                then lead(valid_from_at) over (partition by series_id order by valid_from_at)
            else withdrawn_at
        end as valid_to_at
    from described_intervals

)

select * from final
