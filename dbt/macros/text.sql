{#- A decimal as people write it: 55.04000000 -> 55.04, 8.00000000 -> 8. -#}
{% macro plain_number(value) -%}
    {{ return(adapter.dispatch("plain_number")(value)) }}
{%- endmacro %}

{% macro default__plain_number(value) -%}
    rtrim(rtrim(cast({{ value }} as varchar), '0'), '.')
{%- endmacro %}

{#- A JSON object as text, of names and the columns that hold their values; a null value leaves its name out. -#}
{% macro json_object_of(pairs) -%}
    {{ return(adapter.dispatch("json_object_of")(pairs)) }}
{%- endmacro %}

{% macro duckdb__json_object_of(pairs) -%}
    cast(
        json_merge_patch(
            '{}',
            json_object({% for name, column in pairs.items() %}'{{ name }}', {{ column }}{% if not loop.last %}, {% endif %}{% endfor %})
        ) as varchar
    )
{%- endmacro %}
