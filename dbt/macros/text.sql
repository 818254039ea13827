{#- A decimal as people write it: 55.04000000 -> 55.04, 8.00000000 -> 8. -#}
{% macro plain_number(value) -%}
    {{ return(adapter.dispatch("plain_number")(value)) }}
{%- endmacro %}

{% macro default__plain_number(value) -%}
    rtrim(rtrim(cast({{ value }} as varchar), '0'), '.')
{%- endmacro %}
