with source as (

    select * from {{ source("raw", "ledger_deployments") }}

),

final as (

    select
        -- ids
        allocation_id,
        deployment,
        -- A deployment's name holds no '#': the configuration allows letters, digits and . _ : / - only.
        cast({{ dbt.split_part("allocation_id", "'#'", 2) }} as integer) as allocation_position,

        -- what runs where
        model,
        provider,
        region,
        instance_type,
        replicas,
        coalesce(instances_per_replica, 1) as instances_per_replica,
        gpus_per_replica,

        -- how it is bought
        pricing_model,
        commitment_id,
        rate_usd_per_gpu_hour,

        -- when
        valid_from_at,
        valid_to_at
    from source

)

select * from final
