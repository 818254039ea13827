with utilization as (

    select * from {{ ref("int_gpu_utilization__hourly") }}

),

sources as (

    select * from {{ ref("stg_ledger__inventory_sources") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

final as (

    select
        utilization.hour_start_at,
        sources.cluster,
        utilization.scope,
        utilization.gpu_uuid,
        utilization.gpu_instance,
        utilization.gpu_name_raw,
        utilization.namespace,
        utilization.pod_name,
        utilization.reading_count,
        utilization.gpu_utilization_ratio,
        utilization.sm_active_ratio,
        utilization.tensor_active_ratio,
        utilization.power_watts,
        utilization.energy_kwh,
        utilization.energy_seconds
    from utilization
    inner join sources on utilization.source_name = sources.source_name
    inner join run on utilization.hour_start_at < run.as_of_end_at

)

select * from final
