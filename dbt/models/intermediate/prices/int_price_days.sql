with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

bounds as (

    select
        {{ day_of("min(periods.seen_from_at)") }} as first_seen_date,
        -- Thirteen months and some days: a month stands beside the same one of the year before. What was in
        -- force earlier stands in fct_gpu_prices for good; a row a day of it would grow without end.
        {{ plus_days("run.as_of_date", -400) }} as first_kept_date,
        run.as_of_date as last_date,
        run.started_at,
        run.prices_settled_until_at
    from periods
    cross join run
    group by run.as_of_date, run.started_at, run.prices_settled_until_at

),

days as (

    {{ date_spine("bounds", "greatest(first_seen_date, first_kept_date)", "last_date") }}

),

final as (

    select
        days.spine_date as price_date,
        {{ plus_hours(start_of_day("days.spine_date"), 24) }} as day_end_at,
        -- The day that is not over yet is measured when the run began.
        least({{ plus_hours(start_of_day("days.spine_date"), 24) }}, bounds.started_at) as measured_at,
        {{ plus_hours(start_of_day("days.spine_date"), 24) }} <= bounds.prices_settled_until_at as is_settled,
        bounds.first_kept_date
    from days
    cross join bounds

)

select * from final
