-- Spot prices that stopped moving: a frozen cache answers in time, so that only the feed's own habit tells.

with spot_periods as (

    select * from {{ ref("int_price_spot_periods") }}

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
        counted_periods.source,
        counted_periods.dataset,
        counted_periods.snapshot_id,
        counted_periods.seen_from_at,
        counted_periods.seen_until_at,
        counted_periods.is_latest,
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
