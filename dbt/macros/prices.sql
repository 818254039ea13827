{#- A price move is confirmed by a pull at least this many hours older that agrees (price_rules, layer L3). -#}
{% macro price_confirmation_hours() -%}
    6
{%- endmacro %}

{#-
Whether an earlier sighting of a series still says what its price was: it was seen less than 34 days ago, or is one of the
last few pulls that brought something new. What comes back after a longer time is a new price. A run looks further back
than that, see price_look_back_days and int_price_snapshots.
-#}
{% macro is_still_a_yardstick(earlier_seen_until_at, earlier_period_number, seen_from_at, period_number) -%}
    (
        {{ seen_from_at }} <= {{ plus_hours(earlier_seen_until_at, 24 * 34) }}
        or {{ period_number }} <= {{ earlier_period_number }} + 4
    )
{%- endmacro %}

{#- Hours of a commitment: years x 8760, as providers and their price pages count (365 x 24 = 12 x 730). -#}
{% macro term_hours(term_months) -%}
    ({{ term_months }} * 730)
{%- endmacro %}

{#- numerator / denominator without a unit, wide enough for a price that is wrong by any factor; null for a zero. -#}
{% macro ratio(numerator, denominator) -%}
    cast(cast({{ numerator }} as double) / nullif(cast({{ denominator }} as double), 0) as decimal(28, 8))
{%- endmacro %}

{#- Hours from one instant to another, decimal(18,4). -#}
{% macro hours_between(from_instant, to_instant) -%}
    cast({{ seconds_between(from_instant, to_instant) }} / cast(3600 as double) as decimal(18, 4))
{%- endmacro %}

{#- GB of a GPU as stated; no GPU has 2,000 GB, so such a number is MiB, as drivers and Vast.ai state it. -#}
{% macro stated_memory_gb(stated) -%}
    case when {{ stated }} >= 2000 then {{ stated }} / 1024 else {{ stated }} end
{%- endmacro %}

{#- Where a rate of the price book comes from, see int_gpu_price_intervals.source_rank. -#}
{% macro rate_basis_of(source_rank) -%}
    case {{ source_rank }} when 0 then 'override' when 2 then 'broker' else 'list' end
{%- endmacro %}

{#- Offers that vanish with many others keep their last good price for so long: Azure once dropped series for two weeks. -#}
{% macro price_missing_hold_days() -%}
    14
{%- endmacro %}

{#-
A feed that moved by a known unit factor or exchange rate is held for so long; then it is believed, for prices a month old
help nobody. E3 of the Google history, the slip that was found soonest by its own maintainer, lasted 21 days.
-#}
{% macro price_slip_hold_days() -%}
    30
{%- endmacro %}

{#- The middle value; of an even number of values the mean of the two in the middle. -#}
{% macro median_of(value) -%}
    {{ return(adapter.dispatch("median_of")(value)) }}
{%- endmacro %}

{% macro default__median_of(value) -%}
    percentile_cont(0.5) within group (order by {{ value }})
{%- endmacro %}

{% macro duckdb__median_of(value) -%}
    median({{ value }})
{%- endmacro %}

{#- How far apart two positive quantities are, whichever is larger: 0 when equal, ln 2 for twice or half. -#}
{% macro log_distance(ratio) -%}
    abs(ln(cast({{ ratio }} as double)))
{%- endmacro %}

{#- Whether two values are the same, or both unknown. -#}
{% macro same(one, other) -%}
    coalesce({{ one }} = {{ other }}, {{ one }} is null and {{ other }} is null)
{%- endmacro %}
