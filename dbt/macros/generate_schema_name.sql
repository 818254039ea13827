{#- A model's schema is its room, whatever the target: asset key = [schema, table]. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
