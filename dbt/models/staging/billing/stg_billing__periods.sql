with source as (

    select * from {{ source("raw", "billing_periods") }}

),

final as (

    select
        source_name,
        billing_period,
        format_version,
        line_count,
        billed_amount,
        effective_amount,
        delivery_digest,
        delivered_at,
        loaded_at
    from source

)

select * from final
