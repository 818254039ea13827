with intervals as (

    select * from {{ ref("int_gpu_price_intervals") }}

),

observations as (

    select * from {{ ref("int_price_observations") }}

),

offers as (

    select * from {{ ref("int_price_offers") }}

),

counted_sources as (

    select * from {{ ref("int_price_sources_counted") }}
    where is_counted

),

price_sources as (

    select * from {{ ref("price_sources") }}

),

accepted_series as (

    select distinct series_id from intervals

),

-- Series that never had a price that could be used: listed without one rather than left out.
unpriced_observations as (

    select
        observations.series_id,
        observations.snapshot_id,
        observations.quarantine_rule_id,
        observations.next_seen_from_at,
        min(observations.seen_from_at) over (partition by observations.series_id) as first_seen_at,
        max(observations.seen_until_at) over (partition by observations.series_id) as last_seen_at,
        row_number() over (
            partition by observations.series_id order by observations.period_number desc
        ) as recency
    from observations
    left join accepted_series on observations.series_id = accepted_series.series_id
    where accepted_series.series_id is null

),

priced as (

    select
        series_id,
        source,
        dataset,
        provider,
        sku_id,
        price_key,
        instance_type,
        region,
        gpu_model,
        gpu_variant,
        gpu_memory_gb,
        gpu_memory_gb_raw,
        gpu_count,
        pricing_category,
        pricing_model,
        offer_tier,
        term_months,
        payment_option,
        price_usd_per_gpu_hour,
        price_usd_per_instance_hour,
        upfront_usd_per_instance,
        recurring_usd_per_instance_hour,
        price_amount,
        price_currency,
        fx_rate_usd,
        fx_rate_date,
        price_unit_raw,
        price_basis,
        case
            when price_usd_per_gpu_hour is not null then null
            when gpu_count is null then 'unknown_gpu_count'
            else 'fractional_gpu'
        end as price_null_reason,
        valid_from_at,
        valid_to_at,
        first_seen_at,
        last_seen_at,
        fetched_at,
        snapshot_id,
        source_url
    from intervals

),

unpriced as (

    select
        offers.series_id,
        offers.source,
        offers.dataset,
        offers.provider,
        offers.sku_id,
        offers.price_key,
        offers.instance_type,
        offers.region,
        offers.gpu_model,
        offers.gpu_variant,
        offers.gpu_memory_gb,
        offers.gpu_memory_gb_raw,
        offers.gpu_count,
        offers.pricing_category,
        offers.pricing_model,
        offers.offer_tier,
        offers.term_months,
        offers.payment_option,
        cast(null as decimal(18, 8)) as price_usd_per_gpu_hour,
        cast(null as decimal(18, 8)) as price_usd_per_instance_hour,
        cast(null as decimal(18, 2)) as upfront_usd_per_instance,
        cast(null as decimal(18, 8)) as recurring_usd_per_instance_hour,
        offers.price_amount,
        offers.price_currency,
        offers.fx_rate_usd,
        offers.fx_rate_date,
        offers.price_unit_raw,
        offers.price_basis,
        unpriced_observations.quarantine_rule_id as price_null_reason,
        unpriced_observations.first_seen_at as valid_from_at,
        unpriced_observations.next_seen_from_at as valid_to_at,
        unpriced_observations.first_seen_at,
        unpriced_observations.last_seen_at,
        offers.fetched_at,
        offers.snapshot_id,
        offers.source_url
    from unpriced_observations
    inner join offers
        on
            unpriced_observations.snapshot_id = offers.snapshot_id
            and unpriced_observations.series_id = offers.series_id
    where unpriced_observations.recency = 1

),

unioned as (

    select * from priced
    union all
    select * from unpriced

),

final as (

    select
        unioned.*,
        coalesce(price_sources.is_broker, false) as is_broker,
        counted_sources.source is not null and unioned.price_usd_per_instance_hour is not null
            as is_market_price
    from unioned
    left join price_sources on unioned.source = price_sources.source
    left join counted_sources
        on
            unioned.provider = counted_sources.provider
            and coalesce(unioned.gpu_model, '') = counted_sources.gpu_model
            and unioned.pricing_model = counted_sources.pricing_model
            and unioned.source = counted_sources.source

)

select * from final
