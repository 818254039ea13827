-- Names changed over vLLM's releases (0.6 to 0.33): each exposed name gets the ledger's own here and only
-- here.

with source as (

    select * from {{ source("raw", "metric_samples") }}

),

final as (

    select
        -- series
        source_name,
        replica_key,
        coalesce(engine, '') as engine,
        model_name,
        metric_name,
        coalesce(label_value, '') as label_value,
        case
            when metric_name = 'vllm:prompt_tokens_total' then 'prompt_tokens'
            when metric_name = 'vllm:generation_tokens_total' then 'output_tokens'
            when metric_name = 'vllm:prompt_tokens_cached_total' then 'cached_tokens'
            when metric_name = 'vllm:prefix_cache_hits_total' then 'prefix_cache_hits'
            when
                metric_name = 'vllm:request_success_total'
                and coalesce(label_value, '') not in ('abort', 'error') then 'successful_requests'
            when metric_name = 'vllm:request_prefill_time_seconds_sum' then 'prefill_seconds'
            when metric_name = 'vllm:request_decode_time_seconds_sum' then 'decode_seconds'
            else 'other'
        end as usage_metric,

        -- A decimal, because sums of doubles depend on the order of rows; counters are whole, times keep
        -- microseconds.
        cast(value as decimal(28, 6)) as counter_value,

        scraped_at,
        coalesce(series_created_at, process_started_at) as incarnation_started_at,
        usage_date,
        file_id
    from source

)

select * from final
