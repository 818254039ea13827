with source as (

    select * from {{ source("raw", "price_loads") }}

),

final as (

    select
        source,
        dataset,
        snapshot_id,
        load_number,
        fetched_at,
        loaded_at
    from source

)

select * from final
