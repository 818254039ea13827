with final as (

    select
        reason,
        source_name,
        replica_key,
        cluster,
        namespace,
        pod_name,
        routed_deployment,
        claimed_deployment,
        first_usage_date,
        last_usage_date,
        total_tokens
    from {{ ref("int_replicas_unmapped") }}

)

select * from final
