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
    from {{ ref("int_price_restatements") }}

)

select * from final
