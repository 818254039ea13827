with intervals as (

    select * from {{ ref("int_gpu_price_intervals") }}

),

unaccepted as (

    select * from {{ ref("int_price_unaccepted") }}

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

-- Series that never had a price that could be used: listed without one rather than left out.
unpriced as (

    select
        unaccepted.series_id,
        unaccepted.source,
        unaccepted.dataset,
        unaccepted.provider,
        unaccepted.sku_id,
        unaccepted.price_key,
        unaccepted.instance_type,
        unaccepted.region,
        unaccepted.gpu_model,
        unaccepted.gpu_variant,
        unaccepted.gpu_memory_gb,
        unaccepted.gpu_memory_gb_raw,
        unaccepted.gpu_count,
        unaccepted.pricing_category,
        unaccepted.pricing_model,
        unaccepted.offer_tier,
        unaccepted.term_months,
        unaccepted.payment_option,
        cast(null as decimal(18, 8)) as price_usd_per_gpu_hour,
        cast(null as decimal(18, 8)) as price_usd_per_instance_hour,
        cast(null as decimal(18, 2)) as upfront_usd_per_instance,
        cast(null as decimal(18, 8)) as recurring_usd_per_instance_hour,
        unaccepted.price_amount,
        unaccepted.price_currency,
        unaccepted.fx_rate_usd,
        unaccepted.fx_rate_date,
        unaccepted.price_unit_raw,
        unaccepted.price_basis,
        unaccepted.price_null_reason,
        unaccepted.first_seen_at as valid_from_at,
        unaccepted.valid_to_at,
        unaccepted.first_seen_at,
        unaccepted.last_seen_at,
        unaccepted.fetched_at,
        unaccepted.snapshot_id,
        unaccepted.source_url
    from unaccepted
    left join accepted_series on unaccepted.series_id = accepted_series.series_id
    where accepted_series.series_id is null

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
