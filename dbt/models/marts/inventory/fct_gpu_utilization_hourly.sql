with final as (

    select
        hour_start_at,
        cluster,
        scope,
        gpu_uuid,
        gpu_instance,
        gpu_name_raw,
        namespace,
        pod_name,
        reading_count,
        gpu_utilization_ratio,
        sm_active_ratio,
        tensor_active_ratio,
        power_watts,
        energy_kwh,
        energy_seconds
    from {{ ref("int_gpu_utilization__placed") }}

)

select * from final
