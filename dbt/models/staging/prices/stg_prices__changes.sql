with source as (

    select * from {{ source("raw", "pending_price_changes") }}

),

final as (

    select
        changed_at,
        snapshot_id
    from source

)

select * from final
