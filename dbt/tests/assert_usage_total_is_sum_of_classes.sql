-- Total tokens are input, cached input and output, at every grain that states them.
{%- set models = [
    "int_usage__hourly", "fct_inference_costs_hourly", "fct_unit_costs_daily", "fct_unmapped_usage",
    "fct_usage_hourly",
] %}
{% for model in models %}
    select
        '{{ model }}' as model_name,
        total_tokens
    from {{ ref(model) }}
    where
        input_tokens + coalesce(cached_input_tokens, 0) + output_tokens <> total_tokens
        or (total_tokens is null and input_tokens is not null and output_tokens is not null)
    {% if not loop.last %}union all{% endif %}
{% endfor %}
