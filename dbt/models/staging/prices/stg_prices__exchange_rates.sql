with source as (

    select * from {{ source("raw", "exchange_rates") }}

),

final as (

    select
        snapshot_id,
        rate_date,
        currency,
        units_per_eur,
        fetched_at
    from source

)

select * from final
