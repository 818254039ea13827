-- The first day of costs that this run works out anew: where usage changed, or one of the inputs of costs
-- says something else than it did to any build since the marts were last published, and all days where
-- there is no such build.

with inputs as (

    select * from {{ ref("int_cost_inputs") }}

),

usage_window as (

    select * from {{ ref("int_usage_window") }}

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

dated as (

    select
        case
            when builds.build_count <= 1 then cast('1970-01-01' as date)
            else
                {{ day_of(
                    "least(usage_window.usage_window_start_at, "
                    "coalesce(first_change.starts_at, usage_window.usage_window_start_at))"
                ) }}
        end as start_date
    from usage_window
    cross join builds
    cross join first_change

),

final as (

    select
        {{ start_of_day("start_date") }} as costs_window_start_at,
        {{ start_of_day(first_day_of_month("start_date")) }} as month_start_at
    from dated

)

select * from final
