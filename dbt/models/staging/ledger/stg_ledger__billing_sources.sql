with source as (

    select * from {{ source("raw", "ledger_billing_sources") }}

),

final as (

    select
        source_name,
        kind,
        provider
    from source

)

select * from final
