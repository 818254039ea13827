-- Spot prices that stopped moving: a frozen cache answers in time, so that only the feed's own habit tells.

with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

spot_prices as (

    select
        periods.period_id,
        periods.source,
        periods.dataset,
        periods.period_number,
        -- At one exchange rate: a frozen feed in another currency would move every day.
        coalesce(offers.price_usd_per_instance_hour_at_first_rate, offers.price_usd_per_instance_hour)
            as price_usd,
        lag(
            coalesce(offers.price_usd_per_instance_hour_at_first_rate, offers.price_usd_per_instance_hour)
        ) over (
            partition by offers.series_id order by periods.period_number
        ) as previous_price_usd
    from periods
    inner join offers on periods.snapshot_id = offers.snapshot_id
    where offers.pricing_model = 'spot' and offers.price_usd_per_instance_hour is not null

),

-- One row per period with spot prices; it moved when any of them did.
spot_periods as (

    select
        spot_prices.period_id,
        spot_prices.source,
        spot_prices.dataset,
        spot_prices.period_number,
        periods.seen_from_at,
        periods.seen_until_at,
        count(*) as series_count,
        count(case when spot_prices.price_usd <> spot_prices.previous_price_usd then 1 end) > 0 as has_moved
    from spot_prices
    inner join periods on spot_prices.period_id = periods.period_id
    group by
        spot_prices.period_id,
        spot_prices.source,
        spot_prices.dataset,
        spot_prices.period_number,
        periods.seen_from_at,
        periods.seen_until_at

),

moves as (

    select
        source,
        dataset,
        period_number,
        seen_from_at as moved_at,
        {{ hours_between(
            "lag(seen_from_at) over (partition by source, dataset order by period_number)", "seen_from_at"
        ) }} / 24 as pause_days,
        row_number() over (partition by source, dataset order by period_number) as move_number
    from spot_periods
    where has_moved

),

habits as (

    select
        *,
        max(pause_days) over (
            partition by source, dataset order by period_number rows between 9 preceding and current row
        ) as longest_pause_days
    from moves

),

counted_periods as (

    select
        *,
        sum(case when has_moved then 1 else 0 end) over (
            partition by source, dataset
            order by period_number
            rows between unbounded preceding and current row
        ) as move_count
    from spot_periods

),

final as (

    select
        counted_periods.period_id,
        counted_periods.series_count,
        habits.moved_at,
        {{ ratio(hours_between("habits.moved_at", "counted_periods.seen_until_at"), "24") }} as paused_days,
        cast(habits.longest_pause_days as decimal(28, 8)) as longest_pause_days
    from counted_periods
    inner join habits
        on
            counted_periods.source = habits.source
            and counted_periods.dataset = habits.dataset
            and counted_periods.move_count = habits.move_number
    where counted_periods.move_count >= 4

)

select * from final
