with source as (

    select * from {{ source("raw", "inventory_pods") }}

),

final as (

    select
        -- sighting
        source_name,
        scope,
        observed_at,
        pod_uid as object_id,
        coalesce(started_at, created_at) as began_at,

        -- state
        pod_uid,
        namespace,
        pod_name,
        node_name,
        owner_kind,
        owner_name,
        pod_ip_digest,
        labels,
        gpu_requests,
        has_resource_claims
    from source

)

select * from final
