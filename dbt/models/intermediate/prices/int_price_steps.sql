-- Each readable price beside the ones before it in its series, whatever was thought of them.

with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

final as (

    select
        periods.period_id,
        offers.series_id,
        offers.region,
        offers.offer_key,
        offers.price_usd_per_instance_hour,
        lag(offers.price_usd_per_instance_hour) over (
            partition by offers.series_id order by periods.period_number
        ) as previous_price_usd_per_instance_hour,
        lag(offers.price_usd_per_instance_hour, 2) over (
            partition by offers.series_id order by periods.period_number
        ) as price_before_usd_per_instance_hour
    from periods
    inner join offers on periods.snapshot_id = offers.snapshot_id
    where offers.price_usd_per_instance_hour is not null

)

select * from final
