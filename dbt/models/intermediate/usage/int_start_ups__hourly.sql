{#- The longest a start-up lasts: a process without a token for longer is idle, as nobody asked it. -#}
{%- set longest_hours = 3 %}
{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at", "window_of": "records", "window_look_back_hours": longest_hours},
) }}

{%- set series = "source_name, model_name, replica_key" %}

-- depends_on: {{ ref('stg_ledger__run') }}
-- A process starts up until one of its token counters first moves: counters begin at zero, so a page on
-- which all are zero tells of a process that has served nothing yet, whatever came before. A page speaks for
-- the time since the page before it or since its process began, and of three hours at most: what it says of
-- the past then does not depend on which days a run reads.
with deltas as (

    select * from {{ ref("int_counter_deltas") }}
    -- A frontend starts without the engines behind it.
    where usage_metric in ('prompt_tokens', 'output_tokens') and preference < {{ frontend_preference() }}
    {%- if is_incremental() %}
            and scraped_at >= {{ records_start_at(longest_hours, context_hours=longest_hours) }}
    {%- endif %}

),

pages as (

    select
        source_name,
        model_name,
        replica_key,
        scraped_at,
        max(max(counter_value)) over (partition by source_name, replica_key, scraped_at) as counted_tokens,
        coalesce(max(process_started_at), min(series_created_at)) as stated_start_at,
        -- Before its counters are there a process can have served nothing, also where the page says how much
        -- it has served since.
        coalesce(min(series_created_at), max(process_started_at)) as counting_from_at
    from deltas
    group by source_name, model_name, replica_key, scraped_at

),

with_previous as (

    select
        *,
        -- By the clock of the process, which may be ahead of the scraper's.
        least(stated_start_at, scraped_at) as started_at,
        {{ plus_hours("scraped_at", -longest_hours) }} as speaks_from_at,
        lag(scraped_at) over (partition by {{ series }} order by scraped_at) as any_previous_scraped_at,
        lag(stated_start_at) over (partition by {{ series }} order by scraped_at) as previous_stated_start_at
    from pages

),

-- A start is read from a clock: a second either way is the same process, as in int_counter_deltas.
bounded as (

    select
        *,
        greatest(
            speaks_from_at,
            case
                when
                    any_previous_scraped_at >= speaks_from_at
                    and (
                        any_previous_scraped_at >= started_at
                        or abs({{ seconds_between("previous_stated_start_at", "stated_start_at") }}) <= 1
                    )
                    then any_previous_scraped_at
                else started_at
            end
        ) as known_from_at,
        least(
            case when counted_tokens = 0 then scraped_at else least(counting_from_at, scraped_at) end,
            {{ plus_hours("started_at", longest_hours) }}
        ) as start_up_to_at
    from with_previous
    where stated_start_at is not null

),

spanned as (

    select
        *,
        {{ hour_of("known_from_at") }} as first_hour_at,
        {{ hour_of("scraped_at") }} as last_hour_at
    from bounded
    where known_from_at < scraped_at

),

-- Multiplies rows on purpose: a page has one row per hour it speaks for.
page_hours as (

    {{ hour_spine(
        "spanned", "first_hour_at", "last_hour_at", keep=series ~ ", known_from_at, start_up_to_at, scraped_at"
    ) }}

),

cut as (

    select
        source_name,
        model_name,
        replica_key,
        hour_start_at,
        greatest(known_from_at, hour_start_at) as known_from_at,
        least(scraped_at, {{ plus_hours("hour_start_at", 1) }}) as known_to_at,
        start_up_to_at
    from page_hours
    {%- if is_incremental() %}
        where hour_start_at >= {{ records_start_at(longest_hours) }}
    {%- endif %}

),

final as (

    select
        source_name,
        model_name,
        replica_key,
        hour_start_at as usage_hour_at,
        cast(
            sum(greatest({{ seconds_between("known_from_at", "least(known_to_at, start_up_to_at)") }}, 0))
            as decimal(18, 6)
        ) as start_up_seconds,
        cast(sum({{ seconds_between("known_from_at", "known_to_at") }}) as decimal(18, 6))
            as start_known_seconds
    from cut
    where known_from_at < known_to_at
    group by source_name, model_name, replica_key, hour_start_at

)

{{ with_archived() }}
