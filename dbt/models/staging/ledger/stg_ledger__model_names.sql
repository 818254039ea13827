with source as (

    select * from {{ source("raw", "ledger_model_names") }}

),

final as (

    select
        raw_name,
        model,
        adapter
    from source

)

select * from final
