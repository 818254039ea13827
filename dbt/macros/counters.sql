{#- In the seed engine_metrics: counters of this preference are a frontend's, which tells of the engines behind it. -#}
{% macro frontend_preference() -%}
    9
{%- endmacro %}
