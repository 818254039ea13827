with versions as (

    select * from {{ ref("int_cost_versions") }}

),

final as (

    select
        usage_date,
        scope,
        name,
        pricing_category,
        version_number,
        stated_at,
        superseded_at,
        run_id,
        is_withdrawn,
        provider,
        gpu_hours,
        cost_usd,
        rate_basis,
        total_tokens
    from versions

)

select * from final
