{{ config(tags=["after_sizing"]) }}

with choices as (

    select * from {{ ref("stg_sizing__choices") }}

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
        ttft_target_ms,
        tpot_target_ms,
        fits,
        weights_gib_per_gpu,
        kv_pool_gib_per_gpu,
        max_concurrency,
        method,
        concurrency,
        tokens_per_second_per_gpu,
        input_tokens_per_second_per_gpu,
        ttft_ms,
        tpot_ms,
        roofline_tpot_ms,
        prefill_share_ratio,
        tpot_median_error_ratio,
        peak_tokens_per_second_per_gpu,
        reason,
        reason_text,
        {{ plus_hours(start_of_day("as_of_date"), 24) }} as priced_at,
        -- What a request takes of GPUs where the engine is as full as the targets let it be.
        cast(output_tokens / nullif(tokens_per_second_per_gpu, 0) as decimal(28, 10))
            as gpu_seconds_per_request
    from choices

)

select * from final
