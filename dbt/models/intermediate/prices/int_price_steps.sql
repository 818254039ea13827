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
        periods.seen_from_at,
        periods.seen_until_at,
        coalesce(offers.price_usd_per_instance_hour_at_first_rate, offers.price_usd_per_instance_hour)
            as price_usd_per_instance_hour
    from periods
    inner join offers on periods.snapshot_id = offers.snapshot_id
    where offers.price_usd_per_instance_hour is not null

),

followed_sightings as (

    select
        *,
        lag(price_usd_per_instance_hour) over (partition by series_id order by period_number)
            as previous_price_usd,
        lag(seen_until_at) over (partition by series_id order by period_number) as seen_before_at,
        lag(period_number) over (partition by series_id order by period_number) as previous_period_number
    from sightings

),

linked_sightings as (

    select
        *,
        case
            when
                {{ is_still_a_yardstick(
                    "seen_before_at", "previous_period_number", "seen_from_at", "period_number"
                ) }}
                then previous_price_usd
        end as previous_price_usd_per_instance_hour
    from followed_sightings

),

final as (

    select
        period_id,
        series_id,
        region,
        offer_key,
        price_usd_per_instance_hour,
        previous_price_usd_per_instance_hour,
        case
            when previous_price_usd_per_instance_hour is not null
                then
                    lag(previous_price_usd_per_instance_hour) over (
                        partition by series_id order by period_number
                    )
        end as price_before_usd_per_instance_hour
    from linked_sightings

)

select * from final
