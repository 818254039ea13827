{{ config(
    materialized="incremental",
    incremental_strategy="replace_unsettled",
    on_schema_change="fail",
    meta={"begins_column": "seen_from_at", "key": ["period_id"]},
) }}

-- Whether the spot prices of a dataset moved, of all periods that ever were: its habit is known only after
-- months.

-- depends_on: {{ ref('stg_ledger__run') }}
with periods as (

    select * from {{ ref("int_price_snapshots") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

spot_prices as (

    select
        periods.period_id,
        periods.source,
        periods.dataset,
        periods.period_number,
        -- At one exchange rate: a frozen feed in another currency would move every day.
        coalesce(offers.price_usd_per_instance_hour_at_first_rate, offers.price_usd_per_instance_hour)
            as price_usd,
        lag(
            coalesce(offers.price_usd_per_instance_hour_at_first_rate, offers.price_usd_per_instance_hour)
        ) over (
            partition by offers.series_id order by periods.period_number
        ) as previous_price_usd
    from periods
    inner join offers on periods.snapshot_id = offers.snapshot_id
    where offers.pricing_model = 'spot' and offers.price_usd_per_instance_hour is not null

),

-- One row per period with spot prices; it moved when any of them did.
final as (

    select
        spot_prices.period_id,
        spot_prices.source,
        spot_prices.dataset,
        spot_prices.period_number,
        periods.snapshot_id,
        periods.seen_from_at,
        periods.seen_until_at,
        periods.next_seen_from_at is null as is_latest,
        count(*) as series_count,
        count(case when spot_prices.price_usd <> spot_prices.previous_price_usd then 1 end) > 0 as has_moved
    from spot_prices
    inner join periods on spot_prices.period_id = periods.period_id
    {% if is_incremental() -%}
        -- One more than has changed, for the last one has a next one now.
        where coalesce(periods.next_seen_from_at >= {{ prices_settled_until_at() }}, true)
    {%- endif %}
    group by
        spot_prices.period_id,
        spot_prices.source,
        spot_prices.dataset,
        spot_prices.period_number,
        periods.snapshot_id,
        periods.seen_from_at,
        periods.seen_until_at,
        periods.next_seen_from_at

)

select * from final
