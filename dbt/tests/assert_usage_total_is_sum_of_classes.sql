-- Total tokens are input, cached input and output, at every grain that states them.
select
    'int_usage__hourly' as model_name,
    total_tokens
from {{ ref("int_usage__hourly") }}
where
    input_tokens + coalesce(cached_input_tokens, 0) + output_tokens <> total_tokens
    or (total_tokens is null and input_tokens is not null and output_tokens is not null)

union all

select
    'fct_inference_costs_hourly' as model_name,
    total_tokens
from {{ ref("fct_inference_costs_hourly") }}
where
    input_tokens + coalesce(cached_input_tokens, 0) + output_tokens <> total_tokens
    or (total_tokens is null and input_tokens is not null and output_tokens is not null)

union all

select
    'fct_unit_costs_daily' as model_name,
    total_tokens
from {{ ref("fct_unit_costs_daily") }}
where
    input_tokens + coalesce(cached_input_tokens, 0) + output_tokens <> total_tokens
    or (total_tokens is null and input_tokens is not null and output_tokens is not null)

union all

select
    'fct_unmapped_usage' as model_name,
    total_tokens
from {{ ref("fct_unmapped_usage") }}
where
    input_tokens + coalesce(cached_input_tokens, 0) + output_tokens <> total_tokens
    or (total_tokens is null and input_tokens is not null and output_tokens is not null)
