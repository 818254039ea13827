with source as (

    select * from {{ source("raw", "ledger_price_sources") }}

),

final as (

    select
        source,
        is_enabled,
        stale_after_hours
    from source

)

select * from final
