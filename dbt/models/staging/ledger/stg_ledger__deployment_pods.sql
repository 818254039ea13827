with source as (

    select * from {{ source("raw", "ledger_deployment_pods") }}

),

final as (

    select
        selector_id,
        deployment,
        cluster,
        namespace_match,
        name_match,
        label_key,
        label_value
    from source

)

select * from final
