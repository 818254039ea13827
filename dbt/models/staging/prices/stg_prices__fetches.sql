with source as (

    select * from {{ source("raw", "source_fetches") }}

),

final as (

    select
        fetch_id,
        source,
        dataset,
        snapshot_id,
        outcome,
        origin,
        record_count,
        rejected_count,
        skipped_count,
        source_url,
        message,
        fetched_at,
        outcome in ('loaded', 'unchanged') as is_success
    from source

)

select * from final
