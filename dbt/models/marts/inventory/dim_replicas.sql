with replicas as (

    select * from {{ ref("int_replica_inventory") }}

),

namespaces as (

    select * from {{ ref("int_namespaces__resolved") }}

),

final as (

    select
        replicas.cluster,
        replicas.namespace,
        replicas.pod_name,
        replicas.pod_uid,
        replicas.group_key,
        replicas.is_group_leader,
        replicas.owner_kind,
        replicas.owner_name,
        replicas.deployment,
        replicas.is_claim_ambiguous,
        namespaces.tenant,
        namespaces.team,
        namespaces.cost_center,
        replicas.node_name,
        replicas.node_uid,
        replicas.instance_id,
        replicas.provider,
        replicas.region,
        replicas.zone_name,
        replicas.instance_type,
        replicas.purchase_option,
        replicas.purchase_option_basis,
        replicas.gpu_model,
        replicas.mig_profile,
        replicas.is_shared,
        replicas.device_count,
        replicas.gpus,
        replicas.seen_gpu_count,
        replicas.valid_from_at,
        replicas.valid_to_at,
        replicas.first_seen_at,
        replicas.last_seen_at
    from replicas
    left join namespaces on replicas.namespace = namespaces.namespace

)

select * from final
