with words as (

    select * from {{ ref("fct_unmapped_prices") }}
    where is_open

),

final as (

    select
        'price_words_unmapped' as kind,
        'price_words_unmapped' as rule_id,
        source as subject,
        kind as segment,
        '' as direction,
        '' as cause,
        '' as group_key,
        source as feed,
        false as is_feed_fault,
        -- Hours of the fleet that have no price for it are told as such.
        cast(0 as decimal(38, 10)) as impact_usd_per_day,
        cast(0 as decimal(38, 10)) as exposed_usd_per_day,
        cast(null as decimal(18, 4)) as blocked_hours,
        count(*) as finding_count,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at,
        cast(count(*) as varchar) || ' words of ' || {{ short_name("source") }} || ' without a meaning: '
        || replace(kind, '_', ' ') as headline,
        'Such as ' || {{ short_name("min(raw_value)") }} || '.' as explanation,
        '' as data_state,
        'from fct_unmapped_prices where ' || {{ sql_condition("source", "source") }}
        || ' and kind = ''' || kind || '''' as evidence_sql
    from words
    group by source, kind

)

select * from final
