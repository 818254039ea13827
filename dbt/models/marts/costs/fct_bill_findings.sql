with findings as (

    select * from {{ ref("int_bill_findings") }}

),

final as (

    select
        source_name,
        billing_period,
        finding,
        occurrences,
        amount_usd
    from findings

)

select * from final
