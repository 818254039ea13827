{{ config(tags=["after_sizing"]) }}

-- What a request's prompt and answer cost is what the request costs, to the rounding of the unit costs.
select
    model,
    gpu_model,
    tensor_parallel,
    precision,
    engine,
    workload,
    purchase_option
from {{ ref("fct_gpu_sizing") }}
where
    abs(
        cost_usd_per_million_input_tokens * input_tokens + cost_usd_per_million_output_tokens * output_tokens
        - cost_usd_per_request * 1000000
    )
    > 0.0000000001 * (input_tokens + output_tokens)
    or (cost_usd_per_request is null) <> (null_reason is not null)
    or (cost_usd_per_request is null) <> (rank is null)
