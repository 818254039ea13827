with source as (

    select * from {{ source("raw", "ledger_usage_routes") }}

),

final as (

    select
        source_name,
        kind,
        role,
        model_match,
        deployment
    from source

)

select * from final
