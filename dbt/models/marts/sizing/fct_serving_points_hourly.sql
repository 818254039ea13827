with final as (

    select
        deployment,
        usage_hour_at,
        model,
        gpu_model,
        gpus_per_replica,
        request_count,
        input_tokens_per_request,
        cached_input_tokens_per_request,
        output_tokens_per_request,
        concurrency_per_replica,
        prefill_ms,
        tpot_ms
    from {{ ref("int_serving_points__hourly") }}

)

select * from final
