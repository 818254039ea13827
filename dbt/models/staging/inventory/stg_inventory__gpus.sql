with source as (

    select * from {{ source("raw", "inventory_gpus") }}

),

final as (

    select
        -- sighting: of a GPU, or a part of one, in the hands of a pod
        source_name,
        scope,
        observed_at,
        gpu_uuid || '/' || coalesce(gpu_instance, '') || '/' || coalesce(namespace, '') || '/'
        || coalesce(pod_name, '') as object_id,
        cast(null as timestamptz) as began_at,

        -- state
        gpu_uuid,
        gpu_instance,
        mig_profile,
        gpu_name_raw,
        namespace,
        pod_name,

        -- readings
        gpu_utilization_percent,
        sm_active_ratio,
        tensor_active_ratio,
        power_watts,
        energy_millijoules
    from source

)

select * from final
