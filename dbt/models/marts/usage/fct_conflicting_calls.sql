with final as (

    select
        usage_date,
        source_name,
        cast(request_id as {{ dbt.type_string() }}) as request_id,
        cast(call_id as {{ dbt.type_string() }}) as call_id,
        sub_index,
        started_at,
        kept_total_tokens,
        least_total_tokens,
        most_total_tokens
    from {{ ref("int_calls__conflicting") }}

)

select * from final
