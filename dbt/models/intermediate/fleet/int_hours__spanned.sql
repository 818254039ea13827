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

samples as (

    select * from {{ ref("stg_vllm__samples") }}

),

requests as (

    select * from {{ ref("stg_litellm__requests") }}

),

deltas as (

    select * from {{ ref("int_counter_deltas") }}

),

paid_starts as (

    select min(valid_from_at) as start_at from deployments

    union all

    select min(valid_from_at) as start_at from commitments

),

usage_starts as (

    select min(usage_date) as start_date from samples

    union all

    select min(usage_date) as start_date from requests

    union all

    -- The window of a day's first scrape reaches into the day before.
    select min({{ day_of("usage_hour_at") }}) as start_date from deltas

),

first_paid as (

    select min(start_at) as start_at from paid_starts

),

first_used as (

    select min(start_date) as start_date from usage_starts

),

bounds as (

    select
        greatest(
            {{ hour_of("first_paid.start_at") }},
            coalesce(
                {{ start_of_day("first_used.start_date") }}, {{ plus_hours("run.as_of_end_at", -400 * 24) }}
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
