with freshness as (

    select * from {{ ref("fct_source_freshness") }}

),

price_sources as (

    select * from {{ ref("price_sources") }}

),

final as (

    select
        freshness.source,
        freshness.kind,
        price_sources.provider
    from freshness
    left join price_sources on freshness.source = price_sources.source and freshness.kind = 'price'
    where freshness.status <> 'fresh'

)

select * from final
