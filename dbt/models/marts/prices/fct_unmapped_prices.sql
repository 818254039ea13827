with words as (

    select * from {{ ref("int_unmapped_prices") }}

),

final as (

    select
        kind,
        source,
        raw_value,
        cast(sum(series_count) as bigint) as series_count,
        max(case when is_open then 1 else 0 end) = 1 as is_open,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at
    from words
    group by kind, source, raw_value

)

select * from final
