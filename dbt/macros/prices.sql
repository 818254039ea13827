{#- A price move is confirmed by a pull at least this many hours older that agrees (price_rules, layer L3). -#}
{% macro price_confirmation_hours() -%}
    6
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
