with source as (

    select * from {{ source("raw", "ledger_commitments") }}

),

final as (

    select
        commitment_id,
        coalesce(kind, 'reservation') as kind,
        provider,
        region,
        instance_type,
        instance_count,
        term_months,
        payment_option,
        rate_usd_per_gpu_hour,
        upfront_usd,
        usd_per_hour,
        coalesce(applies_to, 'matching') as applies_to,
        billed_as,
        valid_from_at,
        valid_to_at
    from source

)

select * from final
