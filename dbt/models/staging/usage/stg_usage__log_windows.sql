with source as (

    select * from {{ source("raw", "engine_log_windows") }}

),

final as (

    select
        -- whose line it is
        source_name,
        replica_key,
        coalesce(engine, '') as engine,
        coalesce(model_name, '') as model_name,
        coalesce(prompt_basis, 'unknown') as prompt_basis,

        -- Decimals, because sums of doubles depend on the order of rows: one digit of a rate is printed.
        cast(window_seconds as decimal(18, 6)) as window_seconds,
        cast(prompt_tokens_per_second as decimal(18, 3)) as prompt_tokens_per_second,
        cast(output_tokens_per_second as decimal(18, 3)) as output_tokens_per_second,
        running_requests,
        waiting_requests,
        cast(kv_cache_usage_ratio as decimal(9, 6)) as kv_cache_usage_ratio,
        cast(prefix_cache_hit_ratio as decimal(9, 6)) as prefix_cache_hit_ratio,

        -- when
        {{ plus_seconds("logged_at", "-window_seconds") }} as started_at,
        logged_at,
        usage_date,
        file_id,
        line_number
    from source

)

select * from final
