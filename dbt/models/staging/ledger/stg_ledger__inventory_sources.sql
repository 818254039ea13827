with source as (

    select * from {{ source("raw", "ledger_inventory_sources") }}

),

final as (

    select
        source_name,
        kind,
        cluster,
        provider,
        region
    from source

)

select * from final
