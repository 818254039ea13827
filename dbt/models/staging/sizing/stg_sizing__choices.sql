{{ config(tags=["after_sizing"]) }}

with source as (

    select * from {{ source("raw", "gpu_sizing") }}

),

final as (

    select
        as_of_date,
        model,
        gpu_model,
        tensor_parallel,
        precision,
        engine,
        workload,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        cast(ttft_target_ms as decimal(18, 6)) as ttft_target_ms,
        cast(tpot_target_ms as decimal(18, 6)) as tpot_target_ms,
        fits,
        cast(weights_gib_per_gpu as decimal(18, 6)) as weights_gib_per_gpu,
        cast(kv_pool_gib_per_gpu as decimal(18, 6)) as kv_pool_gib_per_gpu,
        cast(max_concurrency as decimal(18, 6)) as max_concurrency,
        method,
        cast(concurrency as decimal(18, 6)) as concurrency,
        cast(tokens_per_second_per_gpu as decimal(18, 6)) as tokens_per_second_per_gpu,
        cast(input_tokens_per_second_per_gpu as decimal(18, 6)) as input_tokens_per_second_per_gpu,
        cast(ttft_ms as decimal(18, 6)) as ttft_ms,
        cast(tpot_ms as decimal(18, 6)) as tpot_ms,
        cast(roofline_tpot_ms as decimal(18, 6)) as roofline_tpot_ms,
        cast(prefill_share_ratio as decimal(9, 8)) as prefill_share_ratio,
        cast(tpot_median_error_ratio as decimal(9, 8)) as tpot_median_error_ratio,
        cast(peak_tokens_per_second_per_gpu as decimal(18, 6)) as peak_tokens_per_second_per_gpu,
        reason,
        reason_text
    from source

)

select * from final
