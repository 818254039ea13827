with source as (

    select * from {{ source("raw", "price_restatements") }}

),

final as (

    select
        source,
        dataset,
        snapshot_id,
        added_count,
        removed_count,
        why,
        fetched_at,
        restated_at
    from source

)

select * from final
