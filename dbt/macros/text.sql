{#- A decimal as people write it: 55.04000000 -> 55.04, 8.00000000 -> 8. -#}
{% macro plain_number(value) -%}
    {{ return(adapter.dispatch("plain_number")(value)) }}
{%- endmacro %}

{% macro default__plain_number(value) -%}
    rtrim(rtrim(cast({{ value }} as varchar), '0'), '.')
{%- endmacro %}

{#-
A rank as text without its shard: tensor, pipeline and expert ranks of an engine each expose the counters of the
whole, only data-parallel ones count apart. `dp_rank=1,tp_rank=0` -> `dp_rank=1`.
-#}
{% macro without_shard_ranks(value) -%}
    {{ return(adapter.dispatch("without_shard_ranks")(value)) }}
{%- endmacro %}

{% macro default__without_shard_ranks(value) -%}
    case
        when {{ value }} like '%\_rank=%' escape '\' then regexp_replace(
            {{ value }}, ',?(tp|pp|moe_ep)_rank=[^,]*', '', 'g'
        )
        else {{ value }}
    end
{%- endmacro %}
