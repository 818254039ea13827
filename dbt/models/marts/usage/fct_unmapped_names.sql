with final as (

    select
        kind,
        source_name,
        name,
        first_usage_date,
        last_usage_date,
        request_count,
        total_tokens
    from {{ ref("int_names_unmapped") }}

)

select * from final
