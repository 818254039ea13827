with source as (

    select * from {{ source("raw", "published_costs") }}

),

final as (

    select
        usage_date,
        scope,
        name,
        pricing_category,
        version_number,
        stated_at,
        run_id,
        is_withdrawn,
        provider,
        gpu_hours,
        cost_usd,
        rate_basis,
        total_tokens
    from source

)

select * from final
