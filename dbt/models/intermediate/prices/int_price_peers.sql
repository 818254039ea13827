{{ config(
    materialized="incremental",
    incremental_strategy="replace_unsettled",
    on_schema_change="fail",
    meta={"begins_column": "accepted_from_at", "key": ["series_id", "accepted_from_at"]},
) }}

-- List prices per GPU-hour far from those of other providers, on the days on which they came into force.

-- depends_on: {{ ref('stg_ledger__run') }}
with intervals as (

    select * from {{ ref("int_gpu_price_intervals") }}

),

price_sources as (

    select * from {{ ref("price_sources") }}

),

periods as (

    select * from {{ ref("int_price_snapshots") }}

),

price_rules as (

    select * from {{ ref("price_rules") }}

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
        intervals.valid_to_at,
        coalesce(intervals.term_months, 0) as term_months,
        -- The source's own date may be years back: what others charged is asked for when it was accepted.
        intervals.accepted_from_at,
        {{ day_of("intervals.accepted_from_at") }} as accepted_date
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
        accepted_date
    from list_prices
    {% if is_incremental() -%}
        where accepted_from_at >= {{ prices_settled_until_at() }}
    {%- endif %}

),

provider_medians as (

    select
        days.gpu_model,
        days.pricing_model,
        days.term_months,
        days.accepted_date,
        list_prices.provider,
        {{ median_of("cast(list_prices.price_usd_per_gpu_hour as double)") }} as price_usd
    from days
    -- All prices that were in force on the day, known by its end.
    inner join list_prices
        on
            days.gpu_model = list_prices.gpu_model
            and days.pricing_model = list_prices.pricing_model
            and days.term_months = list_prices.term_months
            and days.accepted_date >= list_prices.accepted_date
            and (
                list_prices.valid_to_at is null
                or list_prices.valid_to_at > {{ start_of_day("days.accepted_date") }}
            )
    group by
        days.gpu_model, days.pricing_model, days.term_months, days.accepted_date, list_prices.provider

),

peer_medians as (

    select
        own.gpu_model,
        own.pricing_model,
        own.term_months,
        own.accepted_date,
        own.provider,
        {{ median_of("other.price_usd") }} as peer_price_usd,
        count(*) as peer_count
    from provider_medians as own
    inner join provider_medians as other
        on
            own.gpu_model = other.gpu_model
            and own.pricing_model = other.pricing_model
            and own.term_months = other.term_months
            and own.accepted_date = other.accepted_date
            and own.provider <> other.provider
    group by own.gpu_model, own.pricing_model, own.term_months, own.accepted_date, own.provider
    having count(*) >= 2

),

compared_prices as (

    select
        list_prices.series_id,
        list_prices.source,
        list_prices.dataset,
        list_prices.snapshot_id,
        list_prices.accepted_from_at,
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
            and list_prices.accepted_date = peer_medians.accepted_date
            and list_prices.provider = peer_medians.provider
    {% if is_incremental() -%}
        where list_prices.accepted_from_at >= {{ prices_settled_until_at() }}
    {%- endif %}

),

final as (

    select
        compared_prices.*,
        periods.period_id
    from compared_prices
    inner join price_rules
        on
            price_rules.rule_id = 'price_unlike_peers'
            and {{ log_distance("compared_prices.peer_ratio") }} > ln(cast(price_rules.threshold as double))
    inner join periods
        on
            compared_prices.source = periods.source
            and compared_prices.dataset = periods.dataset
            and compared_prices.accepted_from_at between periods.seen_from_at and periods.seen_until_at

)

select * from final
