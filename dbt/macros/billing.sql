{#-
A month is closed this long after its end: AWS finalises a bill in the first days of the next month, Azure and Google
within five.
-#}
{% macro bill_close_hours() -%}
    {{ return(120) }}
{%- endmacro %}

{#- An amount of a bill in USD, to 10 decimals; null without a rate of its currency for the day. -#}
{% macro billed_usd(amount) -%}
    cast(cast({{ amount }} as decimal(20, 10)) * cast(usd_per_unit as decimal(18, 10)) as decimal(38, 10))
{%- endmacro %}

{#- What a line says of itself, as one text: lines that say the same are read once. -#}
{% macro said_key(relation) -%}
    concat_ws('|', coalesce({{ relation }}.instance_type_raw, ''), coalesce({{ relation }}.usage_type_raw, ''), coalesce({{ relation }}.description_raw, ''))
{%- endmacro %}

{#-
Rows of said_key, provider, word, word_rank (which of `columns` it stands in, from 1) and word_position, in small letters:
the words of texts, cut at blanks, colons, commas and brackets.
-#}
{% macro words_of(relation, columns) -%}
    {{ return(adapter.dispatch("words_of")(relation, columns)) }}
{%- endmacro %}

{% macro duckdb__words_of(relation, columns) -%}
    {%- for column in columns %}
    select
        {{ said_key(relation) }} as said_key,
        provider,
        {{ loop.index }} as word_rank,
        unnest(regexp_split_to_array(lower({{ column }}), '[\s:,()]+')) as word,
        generate_subscripts(regexp_split_to_array(lower({{ column }}), '[\s:,()]+'), 1) as word_position
    from {{ relation }}
    {{ "union all" if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#- What a savings plan promises to spend in an hour; of one in which it begins or ends, its part. -#}
{% macro promised_usd(plans, hours) -%}
    {{ part_between(
        plans ~ ".usd_per_hour",
        "0",
        overlap_seconds(
            plans ~ ".valid_from_at", plans ~ ".valid_to_at", hours ~ ".hour_start_at", hours ~ ".hour_end_at"
        ),
        "3600",
    ) }}
{%- endmacro %}
