with final as (

    select
        source,
        dataset,
        snapshot_id,
        added_count,
        removed_count,
        why,
        fetched_at,
        restated_at
    from {{ ref("stg_prices__restatements") }}

)

select * from final
