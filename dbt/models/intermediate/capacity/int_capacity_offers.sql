with pools as (

    select * from {{ ref("int_capacity_pools") }}

),

price_intervals as (

    select * from {{ ref("int_gpu_price_intervals") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

-- Multiplies rows on purpose: a row per way of committing to a pool that is on offer at the end of the day.
-- Convertible reservations are another product.
fitting as (

    select
        pools.provider,
        pools.region,
        pools.gpu_model,
        pools.price_key,
        price_intervals.pricing_model,
        price_intervals.term_months,
        price_intervals.payment_option,
        case
            when price_intervals.offer_tier in ('', 'standard') then ''
            else price_intervals.offer_tier
        end
            as offer_tier,
        price_intervals.series_id,
        price_intervals.source_rank,
        price_intervals.valid_from_at,
        case when price_intervals.region = pools.region then 0 else 1 end as region_rank,
        coalesce(
            price_intervals.price_usd_per_gpu_hour,
            {{ usd_rate("price_intervals.price_usd_per_instance_hour", "pools.gpus_per_instance") }}
        ) as rate_usd_per_gpu_hour,
        {{ usd_rate("price_intervals.upfront_usd_per_instance", "pools.gpus_per_instance") }}
            as upfront_usd_per_gpu
    from pools
    inner join price_intervals
        on
            pools.provider = price_intervals.provider
            and pools.price_key = price_intervals.price_key
            and price_intervals.region in (pools.region, 'global')
    cross join run
    where
        price_intervals.pricing_model in ('reserved', 'committed_use', 'savings_plan')
        and price_intervals.term_months > 0
        and price_intervals.offer_tier <> 'convertible'
        and price_intervals.valid_from_at < run.as_of_end_at
        and (price_intervals.valid_to_at is null or price_intervals.valid_to_at >= run.as_of_end_at)

),

ranked as (

    select
        *,
        row_number() over (
            partition by
                provider,
                region,
                gpu_model,
                pricing_model,
                term_months,
                coalesce(payment_option, ''),
                offer_tier
            order by
                source_rank asc,
                region_rank asc,
                valid_from_at desc,
                rate_usd_per_gpu_hour asc,
                series_id asc
        ) as offer_rank
    from fitting
    where rate_usd_per_gpu_hour is not null

),

final as (

    select
        provider,
        region,
        gpu_model,
        pricing_model || '_' || cast(term_months as {{ dbt.type_string() }}) || 'm'
        || case when payment_option is null then '' else '_' || payment_option end
        || case when offer_tier = '' then '' else '_' || replace(replace(offer_tier, ', ', '_'), ' ', '_') end
            as offer,
        pricing_model,
        term_months,
        payment_option,
        cast(rate_usd_per_gpu_hour as decimal(18, 8)) as rate_usd_per_gpu_hour,
        upfront_usd_per_gpu,
        {{ rate_basis_of("source_rank") }} as rate_basis,
        series_id as price_series_id
    from ranked
    where offer_rank = 1

)

select * from final
