with final as (

    select
        gpu_model,
        vendor,
        architecture,
        generation_year,
        variant,
        gpu_memory_gb,
        reference_price_usd_per_gpu_hour,
        reference_note
    from {{ ref("gpu_models") }}

)

select * from final
