with source as (

    select * from {{ source("raw", "inventory_nodes") }}

),

final as (

    select
        -- sighting
        source_name,
        scope,
        observed_at,
        node_uid as object_id,
        created_at as began_at,

        -- state
        node_uid,
        node_name,
        provider_id,
        labels,
        gpu_capacity
    from source

)

select * from final
