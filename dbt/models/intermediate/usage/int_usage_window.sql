-- The first day whose hours of deployments this run works out anew: where usage changed, or since when one of
-- the builds since the marts were last published says otherwise of a class of usage (int_usage_classes), and
-- all days where no earlier build is kept. A ledger without counters has no classes, and no build.
{%- set bounds = [] %}
{%- for class in page_classes() + released_classes() %}
    {%- do bounds.extend(["first_" ~ class ~ "_at", "last_" ~ class ~ "_at"]) %}
{%- endfor %}

with classes as (

    select * from {{ ref("int_usage_classes") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

builds as (

    select count(distinct build_number) as build_count from classes

),

-- One row per replica: the earlier one of two bounds that differ, or the one that not all builds know.
changes as (

    select
        {%- for bound in bounds %}
            case
                when
                    min(classes.{{ bound }}) < max(classes.{{ bound }})
                    or count(classes.{{ bound }}) < max(builds.build_count)
                    then min(classes.{{ bound }})
            end as {{ bound }}{% if not loop.last %},{% endif %}
        {%- endfor %}
    from classes
    cross join builds
    group by classes.deployment, classes.source_name, classes.replica_key

),

first_changes as (

    select
        {%- for bound in bounds %}
            min({{ bound }}) as {{ bound }}{% if not loop.last %},{% endif %}
        {%- endfor %}
    from changes

),

earliest as (

    select
        least(
            -- An increase stands up to half of what a scrape looks back before the window of usage, and
            -- covers as much again.
            {{ plus_hours("run.window_start_at", -(scrape_look_back_hours() + 24)) }},
            {%- for bound in bounds %}
                coalesce(first_changes.{{ bound }}, run.window_start_at)
                {%- if not loop.last %},{% endif %}
            {%- endfor %}
        ) as starts_at,
        builds.build_count
    from run
    cross join builds
    cross join first_changes

),

final as (

    select
        {{ start_of_day(
            "case when build_count = 1 then cast('1970-01-01' as date) else " ~ day_of("starts_at") ~ " end"
        ) }} as usage_window_start_at
    from earliest

)

select * from final
