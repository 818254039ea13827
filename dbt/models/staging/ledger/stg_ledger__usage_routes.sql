with source as (

    select * from {{ source("raw", "ledger_usage_routes") }}

),

final as (

    select
        source_name,
        kind,
        model_match,
        deployment
    from source

)

select * from final
