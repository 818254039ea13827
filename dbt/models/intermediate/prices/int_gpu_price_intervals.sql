{{ config(
    materialized="incremental",
    incremental_strategy="replace_unsettled",
    on_schema_change="fail",
    meta={"begins_column": "accepted_from_at", "key": ["series_id", "valid_from_at"]},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
with observations as (

    select * from {{ ref("int_price_observations") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

snapshot_days as (

    select * from {{ ref("int_price_snapshot_days") }}

),

exchange_rates as (

    select * from {{ ref("int_exchange_rates") }}

),

price_sources as (

    select * from {{ ref("price_sources") }}

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
        proven_intervals.first_period_number,
        proven_intervals.segment_number,
        proven_intervals.withdrawn_at,
        proven_intervals.accepted_from_at,
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

-- A price in another currency that stands is worth other dollars when the rate is another one. One row per
-- interval and rate of the days on which a pull showed the price; a day without a rate adds none, and the
-- last one stays.
rated_days as (

    select
        numbered_observations.series_id,
        intervals.first_period_number,
        exchange_rates.rate_date,
        exchange_rates.usd_per_unit,
        min(
            greatest(snapshot_days.first_sighted_at, numbered_observations.accepted_from_at)
        ) as rated_from_at,
        min(snapshot_days.first_sighted_at) as first_seen_at,
        max(snapshot_days.last_sighted_at) as last_seen_at
    from numbered_observations
    inner join intervals
        on
            numbered_observations.series_id = intervals.series_id
            and numbered_observations.interval_number = intervals.interval_number
    inner join offers
        on
            numbered_observations.snapshot_id = offers.snapshot_id
            and numbered_observations.series_id = offers.series_id
            and offers.price_currency <> 'USD'
    -- Multiplies rows on purpose: an observation lasts for days, and each day has one rate.
    inner join snapshot_days
        on
            numbered_observations.period_id = snapshot_days.period_id
            and numbered_observations.accepted_from_at <= snapshot_days.last_sighted_at
    inner join exchange_rates
        on
            offers.price_currency = exchange_rates.currency
            and snapshot_days.sighted_date >= exchange_rates.rate_date
            and snapshot_days.sighted_date < exchange_rates.valid_until_date
    group by
        numbered_observations.series_id,
        intervals.first_period_number,
        exchange_rates.rate_date,
        exchange_rates.usd_per_unit

),

numbered_rates as (

    select
        *,
        row_number() over (partition by series_id, first_period_number order by rated_from_at) as rate_number
    from rated_days

),

-- One row per interval in USD, and per interval and rate in another currency.
rated_intervals as (

    select
        described_intervals.*,
        numbered_rates.rate_date,
        numbered_rates.usd_per_unit,
        numbered_rates.first_seen_at as rate_first_seen_at,
        numbered_rates.last_seen_at as rate_last_seen_at,
        case
            when numbered_rates.rate_number > 1 then numbered_rates.rated_from_at
            else described_intervals.valid_from_at
        end as rated_valid_from_at,
        case
            when numbered_rates.rate_number > 1 then numbered_rates.rated_from_at
            else described_intervals.accepted_from_at
        end as rated_accepted_from_at,
        case
            when numbered_rates.usd_per_unit is null then described_intervals.price_usd_per_instance_hour
            else {{ usd_at_rate(
                "described_intervals.price_native_per_instance_hour", "numbered_rates.usd_per_unit"
            ) }}
        end as rated_price_usd_per_instance_hour
    from described_intervals
    left join numbered_rates
        on
            described_intervals.series_id = numbered_rates.series_id
            and described_intervals.first_period_number = numbered_rates.first_period_number

),

dated_intervals as (

    select
        *,
        case
            when
                lead(segment_number) over (
                    partition by series_id order by rated_valid_from_at
                ) = segment_number
                then lead(rated_valid_from_at) over (partition by series_id order by rated_valid_from_at)
            else withdrawn_at
        end as valid_to_at
    from rated_intervals

),

looked_at as (

    select
        dated_intervals.series_id,
        dated_intervals.source,
        dated_intervals.dataset,
        dated_intervals.provider,
        dated_intervals.sku_id,
        dated_intervals.price_key,
        dated_intervals.instance_type,
        dated_intervals.region,
        dated_intervals.zone_name,
        dated_intervals.gpu_model,
        dated_intervals.gpu_variant,
        dated_intervals.gpu_memory_gb,
        dated_intervals.gpu_memory_gb_raw,
        dated_intervals.gpu_count,
        dated_intervals.pricing_category,
        dated_intervals.pricing_model,
        dated_intervals.offer_tier,
        dated_intervals.term_months,
        dated_intervals.payment_option,
        case
            when dated_intervals.usd_per_unit is null then dated_intervals.price_usd_per_gpu_hour
            -- A fraction of a GPU has no price per GPU, as in int_price_offers.
            when dated_intervals.gpu_count >= 1
                then {{ usd_rate(
                    "dated_intervals.rated_price_usd_per_instance_hour", "dated_intervals.gpu_count"
                ) }}
        end as price_usd_per_gpu_hour,
        dated_intervals.rated_price_usd_per_instance_hour as price_usd_per_instance_hour,
        case
            when dated_intervals.usd_per_unit is null then dated_intervals.upfront_usd_per_instance
            else {{ usd_at_rate(
                "dated_intervals.upfront_native_per_instance", "dated_intervals.usd_per_unit", scale=2
            ) }}
        end as upfront_usd_per_instance,
        case
            when dated_intervals.usd_per_unit is null then dated_intervals.recurring_usd_per_instance_hour
            else {{ usd_at_rate(
                "dated_intervals.recurring_native_per_instance_hour", "dated_intervals.usd_per_unit"
            ) }}
        end as recurring_usd_per_instance_hour,
        dated_intervals.price_amount,
        dated_intervals.price_currency,
        coalesce(dated_intervals.usd_per_unit, dated_intervals.fx_rate_usd) as fx_rate_usd,
        coalesce(dated_intervals.rate_date, dated_intervals.fx_rate_date) as fx_rate_date,
        dated_intervals.price_unit_raw,
        dated_intervals.price_basis,
        dated_intervals.rated_accepted_from_at as accepted_from_at,
        dated_intervals.rated_valid_from_at as valid_from_at,
        dated_intervals.valid_to_at,
        coalesce(dated_intervals.rate_first_seen_at, dated_intervals.first_seen_at) as first_seen_at,
        coalesce(dated_intervals.rate_last_seen_at, dated_intervals.last_seen_at) as last_seen_at,
        dated_intervals.fetched_at,
        dated_intervals.snapshot_id,
        dated_intervals.source_url,
        -- Of several prices for one thing the lowest rank is taken: what was agreed with the provider and
        -- written down, what the provider itself lists, what a broker repeats.
        case
            when dated_intervals.source = 'override' then 0
            when price_sources.is_broker then 2
            else 1
        end as source_rank
    from dated_intervals
    left join price_sources on dated_intervals.source = price_sources.source

),

{% if is_incremental() -%}

-- What stood before, as far as it has not ended.
standing as (

    select * from {{ this }}
    where
        accepted_from_at < {{ prices_settled_until_at() }}
        and (valid_to_at is null or valid_to_at >= {{ prices_settled_until_at() }})

),

-- The snapshots looked at begin in the middle: what they show at the settled time is no new price, and nor is
-- the standing one that a feed shows again after a long time of wrong ones.
ranked_intervals as (

    select
        looked_at.*,
        looked_at.accepted_from_at < {{ prices_settled_until_at() }} as is_settled,
        row_number() over (
            partition by
                looked_at.series_id, looked_at.accepted_from_at < {{ prices_settled_until_at() }}
            order by looked_at.accepted_from_at desc
        ) as recency,
        row_number() over (partition by looked_at.series_id order by looked_at.accepted_from_at) as sequence
    from looked_at

),

continuations as (

    select
        standing.series_id,
        ranked_intervals.accepted_from_at,
        ranked_intervals.valid_to_at,
        ranked_intervals.last_seen_at
    from standing
    inner join ranked_intervals
        on
            standing.series_id = ranked_intervals.series_id
            and standing.price_usd_per_instance_hour = ranked_intervals.price_usd_per_instance_hour
            and (
                ranked_intervals.is_settled and ranked_intervals.recency = 1
                or not ranked_intervals.is_settled and ranked_intervals.sequence = 1
            )

),

new_intervals as (

    select ranked_intervals.* from ranked_intervals
    left join continuations
        on
            ranked_intervals.series_id = continuations.series_id
            and ranked_intervals.accepted_from_at = continuations.accepted_from_at
    where not ranked_intervals.is_settled and continuations.series_id is null

),

first_starts as (

    select
        series_id,
        min(accepted_from_at) as started_at
    from new_intervals
    group by series_id

),

-- A standing price whose later sightings were all held back ends with its segment all the same.
withdrawals as (

    select
        standing.series_id,
        min(dated_segments.withdrawn_at) as withdrawn_at
    from standing
    inner join dated_segments
        on
            standing.series_id = dated_segments.series_id
            and standing.accepted_from_at < dated_segments.withdrawn_at
    group by standing.series_id

),

continued as (

    select
        standing.series_id,
        standing.valid_from_at,
        case
            when continuations.series_id is not null then continuations.valid_to_at
            when withdrawals.withdrawn_at < first_starts.started_at then withdrawals.withdrawn_at
            else coalesce(first_starts.started_at, withdrawals.withdrawn_at)
        end as valid_to_at,
        greatest(standing.last_seen_at, coalesce(continuations.last_seen_at, standing.last_seen_at))
            as last_seen_at
    from standing
    left join continuations on standing.series_id = continuations.series_id
    left join first_starts on standing.series_id = first_starts.series_id
    left join withdrawals on standing.series_id = withdrawals.series_id

),

known_series as (

    select distinct known.series_id from {{ this }} as known
    inner join new_intervals on known.series_id = new_intervals.series_id
    where known.accepted_from_at < {{ prices_settled_until_at() }}

),

-- Only of a series that is new the source's own date holds.
begun as (

    select
        new_intervals.series_id,
        new_intervals.accepted_from_at,
        case
            when known_series.series_id is null then new_intervals.valid_from_at
            else new_intervals.accepted_from_at
        end as valid_from_at
    from new_intervals
    left join known_series on new_intervals.series_id = known_series.series_id

),

{% set columns = adapter.get_columns_in_relation(this) | map(attribute="name") | list -%}
{%- endif %}

final as (

    {% if is_incremental() -%}
        select
            {% for column in columns -%}
                {%- set table = "continued" if column in ("valid_to_at", "last_seen_at") else "standing" -%}
                {{ table }}.{{ column }}{{ "," if not loop.last }}
            {% endfor %}
        from standing
        inner join continued
            on
                standing.series_id = continued.series_id
                and standing.valid_from_at = continued.valid_from_at
        union all
        select
            {% for column in columns -%}
                {%- set table = "begun" if column == "valid_from_at" else "new_intervals" -%}
                {{ table }}.{{ column }}{{ "," if not loop.last }}
            {% endfor %}
        from new_intervals
        inner join begun
            on
                new_intervals.series_id = begun.series_id
                and new_intervals.accepted_from_at = begun.accepted_from_at
    {%- else -%}
        select * from looked_at
    {%- endif %}

)

select * from final
