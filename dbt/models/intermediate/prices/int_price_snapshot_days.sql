with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

fetches as (

    select * from {{ ref("stg_prices__fetches") }}
    where is_success

),

final as (

    select
        periods.period_id,
        {{ day_of("fetches.fetched_at") }} as sighted_date,
        min(fetches.fetched_at) as first_sighted_at,
        max(fetches.fetched_at) as last_sighted_at
    from periods
    inner join fetches
        on
            periods.source = fetches.source
            and periods.dataset = fetches.dataset
            and periods.snapshot_id = fetches.snapshot_id
            and fetches.fetched_at between periods.seen_from_at and periods.seen_until_at
    group by periods.period_id, {{ day_of("fetches.fetched_at") }}

)

select * from final
