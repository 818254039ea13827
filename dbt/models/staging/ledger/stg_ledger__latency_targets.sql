with source as (

    select * from {{ source("raw", "ledger_latency_targets") }}

),

final as (

    select
        deployment,
        ttft_ms,
        tpot_ms
    from source

)

select * from final
