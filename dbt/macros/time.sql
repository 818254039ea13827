{#-
Instants, hours and spines. Everything is UTC: the profile sets the session's time zone, and a timestamptz is an instant
whatever the session says. What an engine spells its own way is dispatched; models use these names only.
-#}

{#-
Rows of `hour_start_at`, one per hour from first_hour to last_hour inclusive, for each row of `relation`, with the columns
`keep` of it.
-#}
{% macro hour_spine(relation, first_hour, last_hour, keep=none) -%}
    {{ return(adapter.dispatch("hour_spine")(relation, first_hour, last_hour, keep)) }}
{%- endmacro %}

{% macro duckdb__hour_spine(relation, first_hour, last_hour, keep) -%}
    select
        {% if keep %}{{ keep }},
        {% endif -%}
        unnest(generate_series({{ first_hour }}, {{ last_hour }}, interval 1 hour)) as hour_start_at
    from {{ relation }}
{%- endmacro %}

{#- Rows of `spine_date`, one per day from first_date to last_date inclusive, for each row of `relation`. -#}
{% macro date_spine(relation, first_date, last_date) -%}
    {{ return(adapter.dispatch("date_spine")(relation, first_date, last_date)) }}
{%- endmacro %}

{% macro duckdb__date_spine(relation, first_date, last_date) -%}
    select cast(unnest(generate_series({{ first_date }}, {{ last_date }}, interval 1 day)) as date) as spine_date
    from {{ relation }}
{%- endmacro %}

{#- Seconds from the first instant to the second, decimal(18,6), exact to the microsecond; negative when reversed. -#}
{% macro seconds_between(from_instant, to_instant) -%}
    {{ return(adapter.dispatch("seconds_between")(from_instant, to_instant)) }}
{%- endmacro %}

{% macro duckdb__seconds_between(from_instant, to_instant) -%}
    cast(
        cast(epoch_us({{ to_instant }}) - epoch_us({{ from_instant }}) as decimal(24, 0))
        * cast(0.000001 as decimal(7, 6)) as decimal(18, 6)
    )
{%- endmacro %}

{#- The instant halfway between two instants. -#}
{% macro midpoint(from_instant, to_instant) -%}
    {{ return(adapter.dispatch("midpoint")(from_instant, to_instant)) }}
{%- endmacro %}

{% macro duckdb__midpoint(from_instant, to_instant) -%}
    make_timestamptz((epoch_us({{ from_instant }}) + epoch_us({{ to_instant }})) // 2)
{%- endmacro %}

{#- The instant a number of hours later; negative: earlier. -#}
{% macro plus_hours(instant, hours) -%}
    {{ return(adapter.dispatch("plus_hours")(instant, hours)) }}
{%- endmacro %}

{% macro duckdb__plus_hours(instant, hours) -%}
    {{ instant }} + to_hours({{ hours }})
{%- endmacro %}

{#- The instant a number of seconds later, to the microsecond; negative: earlier. -#}
{% macro plus_seconds(instant, seconds) -%}
    {{ return(adapter.dispatch("plus_seconds")(instant, seconds)) }}
{%- endmacro %}

{% macro duckdb__plus_seconds(instant, seconds) -%}
    make_timestamptz(epoch_us({{ instant }}) + cast(round(({{ seconds }}) * 1000000) as bigint))
{%- endmacro %}

{#- The first day of the month after the one that holds the day. -#}
{% macro next_month(day) -%}
    {{ return(adapter.dispatch("next_month")(day)) }}
{%- endmacro %}

{% macro duckdb__next_month(day) -%}
    cast(date_trunc('month', {{ day }}) + interval 1 month as date)
{%- endmacro %}

{#- The day a number of days later. -#}
{% macro plus_days(day, days) -%}
    {{ return(adapter.dispatch("plus_days")(day, days)) }}
{%- endmacro %}

{% macro duckdb__plus_days(day, days) -%}
    cast({{ day }} + {{ days }} as date)
{%- endmacro %}

{#- Start of the UTC hour that holds the instant. -#}
{% macro hour_of(instant) -%}
    {{ return(adapter.dispatch("hour_of")(instant)) }}
{%- endmacro %}

{#- date_trunc asks the calendar of the session's zone, at twenty times the cost per row. -#}
{% macro duckdb__hour_of(instant) -%}
    make_timestamptz(epoch_us({{ instant }}) // 3600000000 * 3600000000)
{%- endmacro %}

{#- Start of the second that holds the instant. -#}
{% macro second_of(instant) -%}
    {{ return(adapter.dispatch("second_of")(instant)) }}
{%- endmacro %}

{% macro duckdb__second_of(instant) -%}
    make_timestamptz(epoch_us({{ instant }}) // 1000000 * 1000000)
{%- endmacro %}

{#- The UTC day that holds the instant. -#}
{% macro day_of(instant) -%}
    cast({{ instant }} as date)
{%- endmacro %}

{#- Midnight UTC at which the day begins. -#}
{% macro start_of_day(day) -%}
    cast({{ day }} as timestamptz)
{%- endmacro %}

{#- Whole seconds that two half-open intervals share; an end that is null is open. Zero when they do not meet. -#}
{% macro overlap_seconds(from_a, to_a, from_b, to_b) -%}
    cast(
        floor(
            greatest(
                {{ seconds_between(
                    "greatest(" ~ from_a ~ ", " ~ from_b ~ ")",
                    "least(coalesce(" ~ to_a ~ ", " ~ to_b ~ "), " ~ to_b ~ ")",
                ) }},
                0
            )
        ) as integer
    )
{%- endmacro %}

{#- GPU-seconds as GPU-hours, decimal(18,6): 8 GPUs for 20 minutes are 9600 GPU-seconds, 2.666667 GPU-hours. -#}
{% macro gpu_hours(gpu_seconds) -%}
    cast(cast({{ gpu_seconds }} as double) / 3600 as decimal(18, 6))
{%- endmacro %}

{#- Days from the first day to the second; negative when reversed. -#}
{% macro days_between(from_day, to_day) -%}
    {{ return(adapter.dispatch("days_between")(from_day, to_day)) }}
{%- endmacro %}

{% macro duckdb__days_between(from_day, to_day) -%}
    ({{ to_day }} - {{ from_day }})
{%- endmacro %}

{#- First day of the month that holds the day. -#}
{% macro first_day_of_month(day) -%}
    cast(date_trunc('month', {{ day }}) as date)
{%- endmacro %}

{#- A day's year and month as text, 2026-10. -#}
{% macro year_and_month(day) -%}
    substr(cast({{ day }} as {{ dbt.type_string() }}), 1, 7)
{%- endmacro %}
