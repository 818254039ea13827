with source as (

    select * from {{ source("raw", "inventory_snapshots") }}

),

inventory_sources as (

    select * from {{ ref("stg_ledger__inventory_sources") }}

),

-- A source that the ledger no longer names says nothing: its files may be those of another one by now.
final as (

    select
        source.file_id,
        source.source_name,
        source.kind,
        inventory_sources.cluster,
        source.scope,
        source.observed_at,
        source.record_count,
        source.rejected_count,
        source.skipped_count
    from source
    inner join inventory_sources
        on
            source.source_name = inventory_sources.source_name
            and source.kind = inventory_sources.kind
    where source.status = 'loaded'

)

select * from final
