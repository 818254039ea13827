{{
    config(
        materialized="incremental",
        incremental_strategy="delete+insert",
        unique_key="price_date",
        on_schema_change="fail",
        post_hook="delete from {{ this }} where price_date < "
        ~ "(select max(days.first_kept_date) from {{ ref('int_price_days') }} as days)",
    )
}}

with prices as (

    select * from {{ ref("fct_gpu_prices") }}
    where price_usd_per_instance_hour is not null

),

observations as (

    select * from {{ ref("int_price_observations") }}
    where accepted_from_at is not null

),

snapshot_days as (

    select * from {{ ref("int_price_snapshot_days") }}

),

freshness as (

    select * from {{ ref("int_source_freshness") }}
    where kind = 'price'

),

days as (

    select * from {{ ref("int_price_days") }}
    {% if is_incremental() -%}
        -- A run may have been missed: days after the last one written are added even before the window.
        where
            not is_settled
            or price_date > (
                select coalesce(max(written.price_date), '1970-01-01') from {{ this }} as written
            )
    {%- endif %}

),

first_day as (

    select min(price_date) as first_date from days

),

-- Up to this day the written rows say when prices were last seen.
last_day as (

    select
        {% if is_incremental() -%}
            least(
                coalesce(max(case when is_settled then price_date end), '1970-01-01'),
                (select max(written.price_date) from {{ this }} as written)
            )
        {%- else -%}
            min(cast('1970-01-01' as date))
        {%- endif %} as price_date
    from {{ ref("int_price_days") }}

),

-- One row per series and day on which its price was seen; sightings before the first day fold into that
-- one.
sightings as (

    select
        observations.series_id,
        greatest(snapshot_days.sighted_date, first_day.first_date) as price_date,
        max(snapshot_days.last_sighted_at) as last_sighted_at
    from observations
    inner join snapshot_days on observations.period_id = snapshot_days.period_id
    cross join first_day
    where
        snapshot_days.last_sighted_at >= observations.accepted_from_at
        and snapshot_days.sighted_date > (select last_day.price_date from last_day)
    group by observations.series_id, greatest(snapshot_days.sighted_date, first_day.first_date)

),

-- One row per series and day, since the validity intervals of a series do not overlap.
prices_per_day as (

    select
        prices.*,
        days.price_date,
        days.measured_at
    from days
    inner join prices
        on
            days.price_date >= {{ day_of("prices.first_seen_at") }}
            and days.day_end_at > prices.valid_from_at
            and (days.day_end_at <= prices.valid_to_at or prices.valid_to_at is null)

),

sighted_prices_per_day as (

    select
        prices_per_day.*,
        coalesce(
            max(sightings.last_sighted_at) over (
                partition by prices_per_day.series_id
                order by prices_per_day.price_date
                rows between unbounded preceding and current row
            ),
            {% if is_incremental() -%}
                known_days.last_seen_at,
            {%- endif %}
            prices_per_day.first_seen_at
        ) as last_sighted_at
    from prices_per_day
    {% if is_incremental() -%}
        left join {{ this }} as known_days
            on
                prices_per_day.series_id = known_days.series_id
                and known_days.price_date = (select last_day.price_date from last_day)
    {%- endif %}
    left join sightings
        on
            prices_per_day.series_id = sightings.series_id
            and prices_per_day.price_date = sightings.price_date

),

aged_prices as (

    select
        *,
        {{ hours_between("last_sighted_at", "measured_at") }} as age_hours
    from sighted_prices_per_day

),

final as (

    select
        aged_prices.price_date,
        aged_prices.series_id,
        aged_prices.source,
        aged_prices.provider,
        aged_prices.price_key,
        aged_prices.instance_type,
        aged_prices.region,
        aged_prices.gpu_model,
        aged_prices.gpu_count,
        aged_prices.pricing_category,
        aged_prices.pricing_model,
        aged_prices.offer_tier,
        aged_prices.term_months,
        aged_prices.payment_option,
        aged_prices.price_usd_per_gpu_hour,
        aged_prices.price_usd_per_instance_hour,
        aged_prices.price_null_reason,
        aged_prices.age_hours,
        aged_prices.last_sighted_at as last_seen_at,
        aged_prices.valid_from_at,
        aged_prices.snapshot_id,
        {{ day_of("aged_prices.last_sighted_at") }} < aged_prices.price_date as is_carried_forward,
        coalesce(aged_prices.age_hours > freshness.stale_after_hours, false) as is_stale
    from aged_prices
    left join freshness on aged_prices.source = freshness.source

)

select * from final
