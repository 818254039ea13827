-- Each readable price beside the ones before it in its series, whatever was thought of them.

with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

-- At one exchange rate: a feed in another currency that follows the rate as a whole has not slipped.
sightings as (

    select
        periods.period_id,
        periods.period_number,
        offers.series_id,
        offers.region,
        offers.offer_key,
        coalesce(offers.price_usd_per_instance_hour_at_first_rate, offers.price_usd_per_instance_hour)
            as price_usd_per_instance_hour
    from periods
    inner join offers on periods.snapshot_id = offers.snapshot_id
    where offers.price_usd_per_instance_hour is not null

),

final as (

    select
        period_id,
        series_id,
        region,
        offer_key,
        price_usd_per_instance_hour,
        lag(price_usd_per_instance_hour) over (
            partition by series_id order by period_number
        ) as previous_price_usd_per_instance_hour,
        lag(price_usd_per_instance_hour, 2) over (
            partition by series_id order by period_number
        ) as price_before_usd_per_instance_hour
    from sightings

)

select * from final
