{#-
Kinds of cost series and the column of int_cost_segments__daily that names a series of the kind. Another kind is one line.
-#}
{% macro cost_series() -%}
    {{ return({
        "total": "'total'",
        "model": "model",
        "deployment": "deployment",
        "gpu_model": "gpu_model",
        "provider": "provider",
    }) }}
{%- endmacro %}

{#- Rows of `series_kind`, one per kind of series. -#}
{% macro cost_series_kinds() -%}
    {%- for kind in cost_series() %}
    select '{{ kind }}' as series_kind
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
{%- endmacro %}

{#- Name of the series of `series_kind` that a segment belongs to. -#}
{% macro cost_series_of(segment) -%}
    case series_kind
    {%- for kind, name in cost_series().items() %}
        when '{{ kind }}' then {% if name.startswith("'") %}{{ name }}{% else %}{{ segment }}.{{ name }}{% endif %}
    {%- endfor %}
    end
{%- endmacro %}

{#-
How many days before the window drift looks back: half a year of scores (history_periods), and the weeks that a shift is
held (hold_periods). The detector asks for no more (Detector.look_back).
-#}
{% macro drift_look_back_days() -%}
    {{ return(26 * 7 + 5 * 7 + 28) }}
{%- endmacro %}

{#- The factors of a segment's cost per unit of volume. Their product is the segment's cost per unit of the series. -#}
{% macro drift_factors() -%}
    {{ return({
        "model_mix": "model_volume / series_volume",
        "gpu_mix": "place_volume / model_volume",
        "purchase_mix": "volume / place_volume",
        "request_size": "million_tokens / volume",
        "cache": "million_computed_tokens / million_tokens",
        "efficiency": "active_gpu_hours / million_computed_tokens",
        "utilization": "gpu_hours / active_gpu_hours",
        "price": "cost_usd / gpu_hours",
    }) }}
{%- endmacro %}

{#- The effects that are published: the factors, and segments that are there on one side only. -#}
{% macro drift_effects() -%}
    {{ return([
        "price", "purchase_mix", "gpu_mix", "utilization", "efficiency", "cache", "model_mix", "request_size",
        "new_stopped",
    ]) }}
{%- endmacro %}

{#-
Logarithmic mean of two positive amounts, the weight of LMDI-I (Ang 2005): (a - b) / ln(a / b), and a where they are the
same. Close together the quotient cancels out; the mean of the two is then as exact as a double is.
-#}
{% macro logarithmic_mean(a, b) -%}
    case
        when abs({{ a }} - {{ b }}) <= 0.000001 * {{ b }} then ({{ a }} + {{ b }}) / 2
        else ({{ a }} - {{ b }}) / ln({{ a }} / {{ b }})
    end
{%- endmacro %}

{#- Volume of a row of int_cost_drift__segments in the unit of its measure: million tokens, or requests. -#}
{% macro drift_volume() -%}
    case measure
        when 'cost_usd_per_request' then cast(request_count as decimal(28, 6))
        else cast(total_tokens * cast(0.000001 as decimal(7, 6)) as decimal(28, 6))
    end
{%- endmacro %}

{#- Days that a scored row speaks of: one, or those pooled since traffic was too low. -#}
{% macro drift_days(scores) -%}
    (1 + {{ days_between(scores ~ ".pooled_from_date", scores ~ ".usage_date") }})
{%- endmacro %}

{#- The effects of a row of fct_cost_drift_daily together. -#}
{% macro drift_effect_sum(drift) -%}
    {%- for effect in drift_effects() -%} {{ drift }}.{{ effect }}_effect_usd{{ " + " if not loop.last }} {%- endfor -%}
{%- endmacro %}

{#- The factors of a segment as columns; null where one is no number above zero. -#}
{% macro drift_factor_columns() -%}
    {%- for effect, factor in drift_factors().items() %}
        {%- set numerator, denominator = factor.split(" / ") -%}
        case
            when {{ numerator }} > 0 and {{ denominator }} > 0
                then cast({{ numerator }} as double) / cast({{ denominator }} as double)
        end as {{ effect }}{{ ", " if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#- Logs of how the factors moved from the reference to the day. -#}
{% macro drift_factor_logs() -%}
    {%- for effect in drift_factors() %}
        {%- set after = "max(case when is_actual then " ~ effect ~ " end)" -%}
        {%- set before = "max(case when not is_actual then " ~ effect ~ " end)" -%}
        ln({{ after }} / {{ before }}) as {{ effect }}{{ ", " if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#- The column of the factor that an effect is named after. -#}
{% macro drift_factor_of(row, effect) -%}
    case {{ effect }}
        {%- for name in drift_factors() %} when '{{ name }}' then {{ row }}.{{ name }} {%- endfor %}
    end
{%- endmacro %}

{#- Rows of `effect`, one per effect. -#}
{% macro drift_effect_names() -%}
    {%- for effect in drift_effects() %}
    select '{{ effect }}' as effect
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
{%- endmacro %}

{#- The effects as columns of fct_cost_drift_daily, from rows of `effect` and `effect_usd_per_day`. -#}
{% macro drift_effect_sums() -%}
    {%- for name in drift_effects() -%}
        cast(coalesce(sum(case when effect = '{{ name }}' then effect_usd_per_day end), 0) as decimal(38, 10))
        as {{ name }}_effect_usd{{ ", " if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{#- Names of these columns. -#}
{% macro drift_effect_columns() -%}
    {%- set names = [] -%}
    {%- for name in drift_effects() -%} {%- do names.append(name ~ "_effect_usd") -%} {%- endfor -%}
    {{ return(names) }}
{%- endmacro %}

{#- One factor of a change of cost as part of a sentence; nothing where it moved less than a cent a day. -#}
{% macro drift_factor(effect, name) -%}
    case
        when abs({{ effect }}) >= 0.01
            then ' {{ name }} ' || {{ signed_number("cast(" ~ effect ~ " as decimal(28, 2))") }} || ','
        else ''
    end
{%- endmacro %}
