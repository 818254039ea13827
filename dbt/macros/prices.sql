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

{#- GB of a GPU as stated; no GPU has 2,000 GB, so such a number is MiB, as drivers and Vast.ai state it. -#}
{% macro stated_memory_gb(stated) -%}
    case when {{ stated }} >= 2000 then {{ stated }} / 1024 else {{ stated }} end
{%- endmacro %}

{#- Where a rate of the price book comes from, see int_gpu_price_intervals.source_rank. -#}
{% macro rate_basis_of(source_rank) -%}
    case {{ source_rank }} when 0 then 'override' when 2 then 'broker' else 'list' end
{%- endmacro %}
