{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "scraped_at", "window_of": "records"},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
-- A counter is known only through differences. What counts as the previous scrape must not depend on which
-- days a run rebuilds, so a scrape more than a week back is no predecessor, and a run looks a week further
-- back than it writes: for the last scrape of each series, in what it wrote before.
{%- set look_back_hours = scrape_look_back_hours() %}
{%- set first_scrape_hours = 3 %}
{#- An increase is judged over so many seconds at least: after a late scrape two may follow at once. #}
{%- set least_judged_seconds = 15 %}
{#- Where the ledger does not say how many GPUs a replica has: as many as the common large machine. #}
{%- set assumed_gpus = 8 %}
{%- set series = [
    "source_name", "replica_key", "engine", "model_name", "metric_name", "label_value", "usage_metric",
] %}
{%- set reading = [
    "series_number", "preference", "scraped_at", "counter_value", "series_created_at", "process_started_at",
] %}

with samples as (

    select * from {{ ref("stg_usage__samples") }}
    {%- if is_incremental() %}
        where usage_date >= {{ records_start_date() }}
    {%- endif %}

),

bounds as (

    select * from {{ ref("usage_rate_bounds") }}

),

source_gpus as (

    select * from {{ ref("int_usage_source_gpus") }}

),

-- Sorted by a number: by the seven names of a series it takes five times as long.
all_series as (

    select
        {{ series | join(", ") }},
        row_number() over (order by {{ series | join(", ") }}) as series_number
    from samples
    group by {{ series | join(", ") }}

),

numbered as (

    select
        all_series.series_number,
        samples.preference,
        samples.scraped_at,
        samples.counter_value,
        samples.series_created_at,
        samples.process_started_at,
        samples.file_id
    from samples
    inner join all_series
        on
            {% for column in series -%}
                {{ "and " if not loop.first }}samples.{{ column }} = all_series.{{ column }}
            {% endfor %}
    where samples.usage_metric <> 'not_counted'

),

repeated_instants as (

    select
        series_number,
        scraped_at
    from numbered
    group by series_number, scraped_at
    having count(*) > 1

),

-- One row per series and instant. Duplicates that disagree (two files with one scrape time, the shards of one
-- engine) leave the larger value: a counter only grows, so the smaller one is older.
ranked as (

    select
        numbered.*,
        count(*) over (partition by numbered.series_number, numbered.scraped_at) - 1
            as dropped_duplicate_count,
        min(numbered.counter_value) over (partition by numbered.series_number, numbered.scraped_at)
        < max(numbered.counter_value) over (partition by numbered.series_number, numbered.scraped_at)
            as has_disagreeing_duplicates,
        row_number() over (
            partition by numbered.series_number, numbered.scraped_at
            order by
                numbered.counter_value desc,
                numbered.series_created_at desc,
                numbered.process_started_at desc,
                numbered.file_id asc
        ) as value_rank
    from numbered
    inner join repeated_instants
        on
            numbered.series_number = repeated_instants.series_number
            and numbered.scraped_at = repeated_instants.scraped_at

),

instants as (

    select
        {{ reading | join(", ") }},
        0 as dropped_duplicate_count,
        false as has_disagreeing_duplicates
    from numbered
    where
        not exists (
            select 1
            from repeated_instants
            where
                numbered.series_number = repeated_instants.series_number
                and numbered.scraped_at = repeated_instants.scraped_at
        )

    union all

    select
        {{ reading | join(", ") }},
        dropped_duplicate_count,
        has_disagreeing_duplicates
    from ranked
    where value_rank = 1
    {%- if is_incremental() %}

        union all

        -- What was written before the window stands: a run that changes it opens the window.
        select
            all_series.series_number,
            {%- for column in reading[1:] %}
                earlier.{{ column }},
            {%- endfor %}
            earlier.dropped_duplicate_count,
            earlier.has_disagreeing_duplicates
        from (
            select
                {{ series | join(", ") }},
                max(scraped_at) as scraped_at
            from {{ this }}
            where
                scraped_at >= {{ records_start_at(context_hours=look_back_hours) }}
                and scraped_at < {{ records_start_at() }}
            group by {{ series | join(", ") }}
        ) as last_one
        inner join {{ this }} as earlier
            on
                last_one.scraped_at = earlier.scraped_at
                {%- for column in series %}
                    and last_one.{{ column }} = earlier.{{ column }}
                {%- endfor %}
        inner join all_series
            on
                {% for column in series -%}
                    {{ "and " if not loop.first }}earlier.{{ column }} = all_series.{{ column }}
                {% endfor %}
    {%- endif %}

),

series_instants as (

    select
        *,
        coalesce(series_created_at, process_started_at) as incarnation_started_at,
        lag(scraped_at) over (partition by series_number order by scraped_at) as any_previous_scraped_at,
        lag(counter_value) over (partition by series_number order by scraped_at) as previous_value,
        lag(series_created_at) over (
            partition by series_number order by scraped_at
        ) as previous_series_created_at,
        lag(process_started_at) over (
            partition by series_number order by scraped_at
        ) as previous_process_started_at
    from instants

),

-- A start is compared with a start of its kind only: a page that lost the series' creation (cut, or
-- relabelled) still states that of the process, which is earlier. It is read from a clock: a second either
-- way is the same.
with_previous as (

    select
        *,
        case
            when any_previous_scraped_at >= {{ plus_hours("scraped_at", -look_back_hours) }}
                then any_previous_scraped_at
        end as previous_scraped_at,
        {%- for start in ["series_created_at", "process_started_at"] %}
            abs({{ seconds_between("previous_" ~ start, start) }}) > 1 as has_new_{{ start }},
        {%- endfor %}
        {{ seconds_between("coalesce(series_created_at, process_started_at)", "scraped_at") }} as age_seconds
    from series_instants

),

classified as (

    select
        *,
        case
            when previous_scraped_at is null and age_seconds <= {{ first_scrape_hours * 3600 }}
                then 'first_scrape'
            when previous_scraped_at is null then 'baseline'
            when has_new_series_created_at or has_new_process_started_at then 'reset'
            when counter_value >= previous_value then 'increase'
            -- Engines did count backwards (vLLM issues 6642, 36755); the process has to be known as the same.
            when not has_new_series_created_at or not has_new_process_started_at then 'decrease'
            else 'reset'
        end as delta_basis
    from with_previous

),

named as (

    select
        classified.*,
        {%- for column in series %}
            all_series.{{ column }}{% if not loop.last %},{% endif %}
        {%- endfor %}
    from classified
    inner join all_series on classified.series_number = all_series.series_number

),

measured as (

    select
        *,
        cast(
            case
                when delta_basis in ('increase', 'decrease') then counter_value - previous_value
                when delta_basis in ('reset', 'first_scrape') then counter_value
            end as decimal(28, 6)
        ) as observed_change,
        case
            when delta_basis in ('increase', 'decrease') then previous_scraped_at
            when delta_basis = 'reset'
                then least(
                    greatest(previous_scraped_at, coalesce(incarnation_started_at, previous_scraped_at)),
                    scraped_at
                )
            when delta_basis = 'first_scrape' then least(incarnation_started_at, scraped_at)
        end as window_start_at
    from named

),

judged as (

    select
        measured.*,
        case
            when measured.observed_change is not null
                then cast(
                    cast(bounds.max_tokens_per_second_per_gpu as double)
                    * cast(coalesce(source_gpus.gpus_per_replica, {{ assumed_gpus }}) as double)
                    * cast(
                        greatest(
                            {{ seconds_between(
                                "coalesce(measured.previous_scraped_at, measured.window_start_at)",
                                "measured.scraped_at",
                            ) }},
                            {{ least_judged_seconds }}
                        ) as double
                    ) as decimal(28, 6)
                )
        end as largest_plausible_change
    from measured
    left join bounds on measured.usage_metric = bounds.usage_metric
    left join source_gpus on measured.source_name = source_gpus.source_name

),

-- Old files of a killed process bring back all its counters at once, so nothing of such a scrape is believed.
implausible_scrapes as (

    select distinct
        source_name,
        replica_key,
        engine,
        scraped_at
    from judged
    where observed_change > largest_plausible_change

),

windowed as (

    select
        judged.*,
        case
            when judged.delta_basis = 'decrease' then 'decreased_without_restart'
            when judged.observed_change is null then null
            when judged.observed_change > judged.largest_plausible_change then 'implausible_increase'
            when implausible_scrapes.scraped_at is not null then 'beside_implausible_increase'
        end as quarantine_reason
    from judged
    left join implausible_scrapes
        on
            judged.source_name = implausible_scrapes.source_name
            and judged.replica_key = implausible_scrapes.replica_key
            and judged.engine = implausible_scrapes.engine
            and judged.scraped_at = implausible_scrapes.scraped_at
    {%- if is_incremental() %}
        where judged.scraped_at >= {{ records_start_at() }}
    {%- endif %}

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
        preference,

        -- window
        previous_scraped_at,
        window_start_at,
        scraped_at,
        {{ seconds_between("window_start_at", "scraped_at") }} as window_seconds,
        {{ hour_of(midpoint("window_start_at", "scraped_at")) }} as usage_hour_at,

        -- increase
        counter_value,
        case when previous_scraped_at is not null then previous_value end as previous_value,
        series_created_at,
        process_started_at,
        incarnation_started_at,
        delta_basis,
        observed_change,
        largest_plausible_change,
        quarantine_reason,
        case when quarantine_reason is null then observed_change end as delta,
        delta_basis = 'reset' as is_reset,
        case
            when delta_basis = 'reset' and incarnation_started_at > previous_scraped_at
                then {{ seconds_between("previous_scraped_at", "window_start_at") }}
        end as unobserved_seconds,
        coalesce({{ seconds_between("window_start_at", "scraped_at") }} > 10800, false) as is_gap,
        dropped_duplicate_count,
        has_disagreeing_duplicates
    from windowed

)

select * from final
