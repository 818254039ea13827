with source as (

    select * from {{ source("raw", "ledger_tenants") }}

),

final as (

    select
        position as tenant_position,
        match_on,
        pattern,
        tenant,
        team,
        cost_center
    from source

)

select * from final
