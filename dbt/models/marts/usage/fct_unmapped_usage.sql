with final as (

    select
        reason,
        source_name,
        model_group,
        model,
        deployment,
        first_usage_date,
        last_usage_date,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        total_tokens,
        request_count
    from {{ ref("int_usage_unmapped") }}

)

select * from final
