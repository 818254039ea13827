with source as (

    select * from {{ source("raw", "billing_restatements") }}

),

final as (

    select
        restated_at,
        source_name,
        billing_period,
        line_count_before,
        line_count_after,
        billed_amount_before,
        billed_amount_after,
        effective_amount_before,
        effective_amount_after,
        why
    from source

)

select * from final
