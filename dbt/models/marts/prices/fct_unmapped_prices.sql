with final as (

    select
        kind,
        source,
        raw_value,
        series_count,
        is_open,
        first_seen_at,
        last_seen_at
    from {{ ref("int_unmapped_prices") }}

)

select * from final
