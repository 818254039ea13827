-- The first day of costs that this run works out anew: where usage changed, or one of the inputs of costs says something
-- else than it did to any build since the marts were last published, and all days where there is no such build.

with inputs as (

    select * from {{ ref("int_cost_inputs") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

builds as (

    select count(distinct build_number) as build_count from inputs

),

-- Facts that some of the builds did not know, or knew otherwise.
changed as (

    select starts_at from inputs
    group by input, starts_at, said
    having count(distinct build_number) < (select builds.build_count from builds)

),

first_change as (

    select min(starts_at) as starts_at from changed

),

earliest as (

    select
        {{ day_of(
            "least(run.window_start_at, coalesce(first_change.starts_at, run.window_start_at))"
        ) }} as usage_or_input_date,
        -- Usage of up to so many days before its window may change with it: an increase stands half of what a scrape
        -- looks back earlier, and covers as much again.
        {{ day_of(plus_hours("run.window_start_at", -(scrape_look_back_hours() + 24))) }} as usage_date,
        builds.build_count
    from run
    cross join builds
    cross join first_change

),

dated as (

    select
        case
            when build_count <= 1 then cast('1970-01-01' as date)
            when usage_or_input_date < usage_date then usage_or_input_date
            else usage_date
        end as start_date
    from earliest

),

final as (

    select
        {{ start_of_day("start_date") }} as costs_window_start_at,
        {{ start_of_day(first_day_of_month("start_date")) }} as month_start_at
    from dated

)

select * from final
