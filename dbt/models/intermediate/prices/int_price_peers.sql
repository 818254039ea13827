-- List prices per GPU-hour beside those of other providers, on the days on which a price came into force.

with intervals as (

    select * from {{ ref("int_gpu_price_intervals") }}

),

price_sources as (

    select * from {{ ref("price_sources") }}

),

counted_sources as (

    select * from {{ ref("int_price_sources_counted") }}
    where is_counted

),

-- Hosts of a pooled market undercut lists by nature; negotiated prices do, too; a broker repeats prices that
-- would count twice.
list_prices as (

    select
        intervals.series_id,
        intervals.source,
        intervals.dataset,
        intervals.provider,
        intervals.gpu_model,
        intervals.pricing_model,
        intervals.price_usd_per_gpu_hour,
        intervals.snapshot_id,
        intervals.valid_from_at,
        intervals.valid_to_at,
        intervals.last_seen_at,
        coalesce(intervals.term_months, 0) as term_months,
        -- The source's own date may be years back: what others charged is asked for when it was seen.
        greatest(intervals.first_seen_at, intervals.valid_from_at) as seen_from_at,
        {{ day_of("greatest(intervals.first_seen_at, intervals.valid_from_at)") }} as seen_from_date
    from intervals
    left join price_sources on intervals.source = price_sources.source
    inner join counted_sources
        on
            intervals.provider = counted_sources.provider
            and intervals.gpu_model = counted_sources.gpu_model
            and intervals.pricing_model = counted_sources.pricing_model
            and intervals.source = counted_sources.source
    where
        intervals.price_usd_per_gpu_hour > 0
        and intervals.gpu_model is not null
        and intervals.pricing_model <> 'spot'
        and not coalesce(price_sources.is_market, false)

),

days as (

    select distinct
        gpu_model,
        pricing_model,
        term_months,
        seen_from_date
    from list_prices

),

provider_medians as (

    select
        days.gpu_model,
        days.pricing_model,
        days.term_months,
        days.seen_from_date,
        list_prices.provider,
        {{ median_of("cast(list_prices.price_usd_per_gpu_hour as double)") }} as price_usd
    from days
    -- All prices that were in force on the day, known by its end.
    inner join list_prices
        on
            days.gpu_model = list_prices.gpu_model
            and days.pricing_model = list_prices.pricing_model
            and days.term_months = list_prices.term_months
            and days.seen_from_date >= list_prices.seen_from_date
            and (
                list_prices.valid_to_at is null
                or list_prices.valid_to_at > {{ start_of_day("days.seen_from_date") }}
            )
    group by
        days.gpu_model, days.pricing_model, days.term_months, days.seen_from_date, list_prices.provider

),

peer_medians as (

    select
        own.gpu_model,
        own.pricing_model,
        own.term_months,
        own.seen_from_date,
        own.provider,
        {{ median_of("other.price_usd") }} as peer_price_usd,
        count(*) as peer_count
    from provider_medians as own
    inner join provider_medians as other
        on
            own.gpu_model = other.gpu_model
            and own.pricing_model = other.pricing_model
            and own.term_months = other.term_months
            and own.seen_from_date = other.seen_from_date
            and own.provider <> other.provider
    group by own.gpu_model, own.pricing_model, own.term_months, own.seen_from_date, own.provider
    having count(*) >= 2

),

final as (

    select
        list_prices.series_id,
        list_prices.source,
        list_prices.dataset,
        list_prices.snapshot_id,
        list_prices.seen_from_at,
        list_prices.last_seen_at,
        list_prices.valid_to_at is null as is_in_force,
        list_prices.price_usd_per_gpu_hour,
        peer_medians.peer_count,
        cast(peer_medians.peer_price_usd as decimal(18, 8)) as peer_price_usd_per_gpu_hour,
        cast(
            cast(list_prices.price_usd_per_gpu_hour as double) / peer_medians.peer_price_usd as decimal(28, 8)
        ) as peer_ratio
    from list_prices
    inner join peer_medians
        on
            list_prices.gpu_model = peer_medians.gpu_model
            and list_prices.pricing_model = peer_medians.pricing_model
            and list_prices.term_months = peer_medians.term_months
            and list_prices.seen_from_date = peer_medians.seen_from_date
            and list_prices.provider = peer_medians.provider

)

select * from final
