-- A rate holds from its day until the next one is published, over weekends and holidays, and for seven days
-- at most (price_rules): an older one is no rate. A run in the morning knows the rate of the day before; the
-- next run settles the day by its own. Both legs come from the same day, so that no move of the euro between
-- two days slips in.

with rates as (

    select * from {{ ref("stg_prices__exchange_rates") }}

),

limits as (

    select cast(threshold as integer) as longest_days from {{ ref("price_rules") }}
    where rule_id = 'no_exchange_rate'

),

-- The daily file and the history state the same days; what was fetched last corrects what was before.
ranked_rates as (

    select
        *,
        row_number() over (
            partition by rate_date, currency order by fetched_at desc, snapshot_id desc
        ) as recency
    from rates

),

latest_rates as (

    select
        rate_date,
        currency,
        units_per_eur
    from ranked_rates
    where recency = 1

),

dollars as (

    select
        rate_date,
        units_per_eur as usd_per_eur
    from latest_rates
    where currency = 'USD'

),

-- The euro has no rate of its own: it is worth its dollars.
rates_in_usd as (

    select
        'EUR' as currency,
        rate_date,
        cast(usd_per_eur as decimal(18, 10)) as usd_per_unit
    from dollars

    union all

    select
        latest_rates.currency,
        latest_rates.rate_date,
        {{ exchange_rate("dollars.usd_per_eur", "latest_rates.units_per_eur") }} as usd_per_unit
    from latest_rates
    inner join dollars on latest_rates.rate_date = dollars.rate_date
    where latest_rates.currency <> 'USD'

),

dated_rates as (

    select
        rates_in_usd.*,
        lead(rates_in_usd.rate_date) over (
            partition by rates_in_usd.currency order by rates_in_usd.rate_date
        ) as next_rate_date,
        {{ plus_days("rates_in_usd.rate_date", "limits.longest_days + 1") }} as expiry_date
    from rates_in_usd
    cross join limits

),

final as (

    select
        currency,
        rate_date,
        usd_per_unit,
        case when next_rate_date < expiry_date then next_rate_date else expiry_date end as valid_until_date
    from dated_rates

)

select * from final
