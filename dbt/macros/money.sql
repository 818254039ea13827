{#-
Money and exact quantities. DuckDB gives DOUBLE for `/` and overflows DECIMAL(18,8) * DECIMAL(18,8), so products and
quotients of money go through these macros and nowhere else.
-#}

{#- quantity x rate in USD, exact to 10 decimals: decimal(38,6) x decimal(38,8) fits 38 digits in every engine. -#}
{% macro usd_amount(quantity, rate) -%}
    cast(cast({{ quantity }} as decimal(24, 6)) * cast({{ rate }} as decimal(14, 8)) as decimal(38, 10))
{%- endmacro %}

{#- numerator / denominator as a USD rate with 8 decimals; null when the denominator is zero or either side is unknown. -#}
{% macro usd_rate(numerator, denominator) -%}
    cast(cast({{ numerator }} as double) / nullif(cast({{ denominator }} as double), 0) as decimal(18, 8))
{%- endmacro %}

{#- USD per million tokens. -#}
{% macro usd_per_million(cost, tokens) -%}
    {{ usd_rate("cast(" ~ cost ~ " as double) * 1000000", tokens) }}
{%- endmacro %}
