{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "scraped_at"},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
-- A counter is known only through differences. What counts as the previous scrape must not depend on which
-- days a run rebuilds, so a scrape more than a week back is no predecessor, and a run reads a week more than
-- it writes.
{%- set look_back_hours = scrape_look_back_hours() %}
{%- set first_scrape_hours = 3 %}
{%- set series = "source_name, replica_key, engine, model_name, metric_name, label_value" %}

with samples as (

    select * from {{ ref("stg_usage__samples") }}
    {%- if is_incremental() %}
        where scraped_at >= {{ window_start_at(look_back_hours) }}
    {%- endif %}

),

-- One row per series and instant. Duplicates that disagree (two files with one scrape time) leave the larger
-- value: a counter only grows, so the smaller one is older.
ranked as (

    select
        *,
        count(*) over (partition by {{ series }}, scraped_at) - 1 as dropped_duplicate_count,
        min(counter_value) over (partition by {{ series }}, scraped_at)
        < max(counter_value) over (partition by {{ series }}, scraped_at) as has_disagreeing_duplicates,
        row_number() over (
            partition by {{ series }}, scraped_at
            order by counter_value desc, incarnation_started_at desc, file_id asc
        ) as value_rank
    from samples

),

series_instants as (

    select
        *,
        lag(scraped_at) over (partition by {{ series }} order by scraped_at) as any_previous_scraped_at,
        lag(counter_value) over (partition by {{ series }} order by scraped_at) as previous_value,
        lag(incarnation_started_at) over (
            partition by {{ series }} order by scraped_at
        ) as previous_incarnation_started_at
    from ranked
    where value_rank = 1

),

with_previous as (

    select
        *,
        case
            when any_previous_scraped_at >= {{ plus_hours("scraped_at", -look_back_hours) }}
                then any_previous_scraped_at
        end as previous_scraped_at
    from series_instants

),

classified as (

    select
        *,
        case
            when
                previous_scraped_at is null
                and {{ seconds_between("incarnation_started_at", "scraped_at") }}
                <= {{ first_scrape_hours * 3600 }}
                then 'first_scrape'
            when previous_scraped_at is null then 'baseline'
            when
                counter_value < previous_value
                -- The start of a process is read from a clock: a second either way is the same start.
                or abs({{ seconds_between("previous_incarnation_started_at", "incarnation_started_at") }}) > 1
                then 'reset'
            else 'increase'
        end as delta_basis
    from with_previous

),

windowed as (

    select
        *,
        case delta_basis
            when 'increase' then counter_value - previous_value
            when 'reset' then counter_value
            when 'first_scrape' then counter_value
        end as delta,
        case
            when delta_basis = 'increase' then previous_scraped_at
            when delta_basis = 'reset'
                then least(
                    greatest(previous_scraped_at, coalesce(incarnation_started_at, previous_scraped_at)),
                    scraped_at
                )
            when delta_basis = 'first_scrape' then least(incarnation_started_at, scraped_at)
        end as window_start_at
    from classified

),

final as (

    select
        -- series
        source_name,
        replica_key,
        engine,
        model_name,
        metric_name,
        label_value,
        usage_metric,

        -- window
        previous_scraped_at,
        window_start_at,
        scraped_at,
        {{ seconds_between("window_start_at", "scraped_at") }} as window_seconds,
        {{ hour_of(midpoint("window_start_at", "scraped_at")) }} as usage_hour_at,

        -- increase
        counter_value,
        incarnation_started_at,
        delta_basis,
        delta,
        delta_basis = 'reset' as is_reset,
        case
            when delta_basis = 'reset' and incarnation_started_at > previous_scraped_at
                then {{ seconds_between("previous_scraped_at", "window_start_at") }}
        end as unobserved_seconds,
        coalesce({{ seconds_between("window_start_at", "scraped_at") }} > 10800, false) as is_gap,
        dropped_duplicate_count,
        has_disagreeing_duplicates
    from windowed
    {%- if is_incremental() %}
        where scraped_at >= {{ window_start_at() }}
    {%- endif %}

)

select * from final
