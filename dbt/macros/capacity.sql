{#- What capacity plans look back from an instant: 91 days, 13 whole weeks, which sizing/demand.py weighs. -#}
{% macro capacity_look_back(instant) -%}
    {{ plus_hours(instant, -24 * 91) }}
{%- endmacro %}
