with rejects as (

    select * from {{ source("raw", "rejected_records") }}

),

fetches as (

    select * from {{ source("raw", "source_fetches") }}

),

-- raw.rejected_records also holds the rejects of usage files, whose batches are files and not snapshots.
price_batches as (

    select distinct
        source,
        dataset,
        snapshot_id
    from fetches

),

final as (

    select
        rejects.source,
        price_batches.dataset,
        rejects.batch_id as snapshot_id,
        rejects.reason,
        rejects.field,
        rejects.first_location,
        rejects.detail,
        rejects.occurrences as rejected_count,
        rejects.rejected_at
    from rejects
    inner join price_batches
        on
            rejects.source = price_batches.source
            and rejects.batch_id = price_batches.snapshot_id

)

select * from final
