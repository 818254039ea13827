with final as (

    select
        source,
        kind,
        last_success_at,
        age_hours,
        status,
        last_outcome,
        row_count,
        rejected_row_count,
        stale_after_hours,
        message
    from {{ ref("int_source_freshness") }}

)

select * from final
