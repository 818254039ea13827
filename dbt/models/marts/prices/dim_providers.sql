with final as (

    select
        provider,
        min(title) as title,
        min(declared_currency) as declared_currency,
        max(case when is_market then 1 else 0 end) = 1 as is_market,
        min(docs_url) as docs_url,
        count(*) as price_source_count
    from {{ ref("price_sources") }}
    -- Brokers and the override file state prices of others.
    where not is_broker and declared_currency <> 'any'
    group by provider

)

select * from final
