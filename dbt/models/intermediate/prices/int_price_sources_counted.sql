-- A broker repeats the offers of providers. A statistic over the market that took its rows beside those of
-- the provider's own source, or those of two brokers, would count one offer twice.

with intervals as (

    select * from {{ ref("int_gpu_price_intervals") }}

),

-- One row per provider, GPU, purchase option and source.
stating_sources as (

    select distinct
        provider,
        coalesce(gpu_model, '') as gpu_model,
        pricing_model,
        source,
        source_rank
    from intervals
    where source_rank > 0

),

ranked_sources as (

    select
        *,
        min(source_rank) over (partition by provider, gpu_model, pricing_model) as best_rank,
        min(case when source_rank = 2 then source end) over (
            partition by provider, gpu_model, pricing_model
        ) as first_broker
    from stating_sources

),

final as (

    select
        provider,
        gpu_model,
        pricing_model,
        source,
        source_rank = best_rank and (source_rank = 1 or source = first_broker) as is_counted
    from ranked_sources

)

select * from final
