-- The hours the ledger speaks of. It begins with the first commitment or fleet entry, but not before usage
-- was first seen (without any usage: 400 days back), and ends with the last hour of the run's day.

with run as (

    select * from {{ ref("stg_ledger__run") }}

),

deployments as (

    select * from {{ ref("stg_ledger__deployments") }}

),

commitments as (

    select * from {{ ref("stg_ledger__commitments") }}

),

increases as (

    select * from {{ ref("int_counter_increases__hourly") }}

),

request_usage as (

    select * from {{ ref("int_request_usage__hourly") }}

),

paid_starts as (

    select min(valid_from_at) as start_at from deployments

    union all

    select min(valid_from_at) as start_at from commitments

),

usage_starts as (

    -- The hour of an increase: that of a day's first scrape may be in the day before.
    select min(usage_hour_at) as start_at from increases

    union all

    select min(usage_hour_at) as start_at from request_usage

),

first_paid as (

    select min(start_at) as start_at from paid_starts

),

first_used as (

    select min(start_at) as start_at from usage_starts

),

bounds as (

    select
        greatest(
            {{ hour_of("first_paid.start_at") }},
            coalesce(
                {{ start_of_day(day_of("first_used.start_at")) }},
                {{ plus_hours("run.as_of_end_at", -400 * 24) }}
            )
        ) as first_hour_at,
        {{ plus_hours("run.as_of_end_at", -1) }} as last_hour_at
    from run
    cross join first_paid
    cross join first_used
    where first_paid.start_at is not null

),

spine as (

    {{ hour_spine("bounds", "first_hour_at", "last_hour_at") }}

),

final as (

    select
        hour_start_at,
        {{ plus_hours("hour_start_at", 1) }} as hour_end_at,
        {{ day_of("hour_start_at") }} as usage_date
    from spine

)

select * from final
