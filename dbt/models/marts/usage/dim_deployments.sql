with final as (

    select
        deployment,
        model,
        provider,
        region,
        instance_type,
        gpu_model,
        gpus_per_replica,
        allocation_count,
        current_replicas,
        first_valid_from_at,
        last_valid_to_at,
        has_engine_counters,
        has_gateway_requests
    from {{ ref("int_deployments__described") }}

)

select * from final
