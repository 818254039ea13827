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

{#- A name as a sentence may hold it; those of logs and price lists may be of any length. -#}
{% macro short_name(value) -%}
    case when length({{ value }}) > 80 then left({{ value }}, 79) || '…' else {{ value }} end
{%- endmacro %}

{#-
The condition that a text column has this row's value, as SQL text to be pasted into a shell. A value with anything but
plain signs is compared by its digest: it is shown to people, and must not be able to end the quotes around it.
-#}
{% macro sql_condition(column, value) -%}
    case
        when {{ is_plain_word(value) }} then '{{ column }} = ''' || {{ value }} || ''''
        else 'md5({{ column }}) = ''' || md5({{ value }}) || ''''
    end
{%- endmacro %}

{#- Whether a text has letters, digits, blanks and . _ : / # + - only, at most 128. -#}
{% macro is_plain_word(value) -%}
    {{ return(adapter.dispatch("is_plain_word")(value)) }}
{%- endmacro %}

{% macro duckdb__is_plain_word(value) -%}
    regexp_full_match({{ value }}, '[A-Za-z0-9 ._:/#+-]{1,128}')
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

{#- A number as text with its sign, zero as +0. -#}
{% macro signed_number(value) -%}
    case when {{ value }} < 0 then '' else '+' end || cast({{ value }} as {{ dbt.type_string() }})
{%- endmacro %}

{#- Columns of a list, each with the alias of its table: a.x, a.y. -#}
{% macro qualified(alias, columns) -%}
    {%- for column in columns -%} {{ alias }}.{{ column }}{{ ", " if not loop.last }} {%- endfor -%}
{%- endmacro %}

{#- Sums of columns of a list under their own names. -#}
{% macro sums_of(alias, columns) -%}
    {%- for column in columns -%}
        sum({{ alias }}.{{ column }}) as {{ column }}{{ ", " if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{#- Condition that columns of a list are the same in two tables. -#}
{% macro same_columns(alias, other, columns) -%}
    {%- for column in columns -%}
        {{ alias }}.{{ column }} = {{ other }}.{{ column }}{{ " and " if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
