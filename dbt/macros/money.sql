{#-
Money and exact quantities. DuckDB gives DOUBLE for `/` and overflows DECIMAL(18,8) * DECIMAL(18,8), so products and
quotients of money go through these macros and nowhere else.
-#}

{#-
quantity x rate in USD, to 10 decimals. 20 and 18 digits multiply to 38, the most an engine has: any price the ledger can
hold, decimal(18,8), times up to 10^14 GPU-hours; 100,000 replicas of 16 GPUs hold 38,400,000 a day.
-#}
{% macro usd_amount(quantity, rate) -%}
    cast(cast({{ quantity }} as decimal(20, 6)) * cast({{ rate }} as decimal(18, 8)) as decimal(38, 10))
{%- endmacro %}

{#- A price: numerator / denominator in USD with 8 decimals; null when the denominator is zero or either side is unknown. -#}
{% macro usd_rate(numerator, denominator) -%}
    cast(cast({{ numerator }} as double) / nullif(cast({{ denominator }} as double), 0) as decimal(18, 8))
{%- endmacro %}

{#-
A unit cost: like usd_rate, but wide. A price is bounded by the market; what one token costs is not, for a fleet that
served two of them in a day bears its whole bill on them.
-#}
{% macro usd_unit_cost(numerator, denominator) -%}
    cast(cast({{ numerator }} as double) / nullif(cast({{ denominator }} as double), 0) as decimal(28, 8))
{%- endmacro %}

{#- USD per million tokens. -#}
{% macro usd_per_million(cost, tokens) -%}
    {{ usd_unit_cost("cast(" ~ cost ~ " as double) * 1000000", tokens) }}
{%- endmacro %}

{#-
Tokens at a price per million in USD, to 10 decimals, exactly: a price of 8 decimals per million has 14 per token; 20 and
18 digits multiply to 38.
-#}
{% macro usd_of_tokens(tokens, usd_per_million) -%}
    cast(
        cast({{ tokens }} as decimal(20, 0))
        * cast(cast({{ usd_per_million }} as decimal(18, 8)) * cast(0.000001 as decimal(7, 6)) as decimal(18, 14))
        as decimal(38, 10)
    )
{%- endmacro %}

{#- USD for one unit of a currency, to 10 decimals, from what a euro costs in both. -#}
{% macro exchange_rate(usd_per_eur, units_per_eur) -%}
    cast(cast({{ usd_per_eur }} as double) / nullif(cast({{ units_per_eur }} as double), 0) as decimal(18, 10))
{%- endmacro %}

{#-
An amount in another currency as USD to `scale` decimals, exactly: 20 and 18 digits multiply to 38. Of 18 and 18 DuckDB
makes 18 again while the scales allow it, which a commitment of a million dollars upfront overflows.
-#}
{% macro usd_at_rate(amount, usd_per_unit, scale=8) -%}
    cast(
        cast({{ amount }} as decimal(20, {{ scale }})) * cast({{ usd_per_unit }} as decimal(18, 10))
        as decimal(18, {{ scale }})
    )
{%- endmacro %}

{#-
A double as decimal(28,6), the whole part to the last digit: engines count on in the billions, and 9 billion times 10^6 is
more than a double holds exactly, so a plain cast would make fractions of tokens.
-#}
{% macro decimal_of_double(value) -%}
    cast(
        cast(floor({{ value }}) as decimal(22, 0)) + cast({{ value }} - floor({{ value }}) as decimal(8, 6))
        as decimal(28, 6)
    )
{%- endmacro %}

{#-
The part of an amount that falls between two marks of a whole (seconds of a charge), so that the parts of all marks sum to
the amount exactly: each is the difference of two running parts in whole units of the last decimal. Marks and whole are
integers; amounts up to 10^17.
-#}
{% macro part_between(amount, from_mark, to_mark, whole, scale=10) -%}
    {{ return(adapter.dispatch("part_between")(amount, from_mark, to_mark, whole, scale)) }}
{%- endmacro %}

{% macro duckdb__part_between(amount, from_mark, to_mark, whole, scale) -%}
    {%- set units = whole_units(amount, scale) -%}
    {{ amount_of_units(
        "(" ~ units ~ " * (" ~ to_mark ~ ") // (" ~ whole ~ ") - " ~ units ~ " * (" ~ from_mark ~ ") // (" ~ whole ~ "))", scale
    ) }}
{%- endmacro %}

{#- GPU-hours to 6 decimals that an amount buys at a rate per GPU-hour, rounded down: what they cost is never more. -#}
{% macro affordable_hours(amount, rate) -%}
    {{ return(adapter.dispatch("affordable_hours")(amount, rate)) }}
{%- endmacro %}

{% macro duckdb__affordable_hours(amount, rate) -%}
    {{ amount_of_units(
        "(" ~ whole_units(amount, 10) ~ " * 10000 // nullif(" ~ whole_units(rate, 8) ~ ", 0))", 6
    ) }}
{%- endmacro %}

{#- A decimal as a whole number of its last decimal; and back. Integers divide exactly, decimals become doubles. -#}
{% macro whole_units(amount, scale) -%}
    cast(cast({{ amount }} as decimal(27, {{ scale }})) * cast(1{{ "0" * scale }} as decimal(11, 0)) as hugeint)
{%- endmacro %}

{#- The same as BIGINT, exact below 2^49 units. -#}
{% macro few_units(amount, scale) -%}
    cast(cast({{ amount }} as double) * 1e{{ scale }} as bigint)
{%- endmacro %}

{% macro amount_of_units(units, scale) -%}
    {%- if scale == 0 -%}
        cast({{ units }} as decimal(28, 0))
    {%- else -%}
        cast(
            cast({{ units }} as decimal(28, 0)) * cast(0.{{ "0" * (scale - 1) }}1 as decimal({{ scale }}, {{ scale }}))
            as decimal({{ 38 if scale == 10 else 18 }}, {{ scale }})
        )
    {%- endif -%}
{%- endmacro %}
