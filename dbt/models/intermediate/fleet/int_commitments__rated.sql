with commitments as (

    select * from {{ ref("stg_ledger__commitments") }}

),

deployments as (

    select * from {{ ref("stg_ledger__deployments") }}

),

instance_types as (

    select * from {{ ref("instance_types") }}

),

price_intervals as (

    select * from {{ ref("int_gpu_price_intervals") }}

),

-- One row per commitment: for hardware the seed does not know, the fleet entries say how many GPUs an
-- instance has.
stated_gpus as (

    select
        commitment_id,
        max(gpus_per_replica) as gpus_per_instance
    from deployments
    where commitment_id is not null
    group by commitment_id

),

sized as (

    select
        commitments.*,
        coalesce(instance_types.price_key, commitments.instance_type) as price_key,
        coalesce(instance_types.gpu_model, 'unknown') as gpu_model,
        coalesce(instance_types.gpu_count, stated_gpus.gpus_per_instance) as gpus_per_instance
    from commitments
    left join instance_types
        on
            commitments.provider = instance_types.provider
            and commitments.instance_type = instance_types.instance_type
    left join stated_gpus on commitments.commitment_id = stated_gpus.commitment_id

),

-- Multiplies rows: several offers and intervals fit. The one in force when the commitment began is taken, for
-- its price is fixed for the term; failing that the earliest ever seen. Convertible offers are another
-- product.
offers as (

    select
        sized.commitment_id,
        price_intervals.series_id,
        price_intervals.source_rank,
        price_intervals.valid_from_at > sized.valid_from_at as is_rate_earliest_known,
        coalesce(
            price_intervals.price_usd_per_gpu_hour,
            {{ usd_rate("price_intervals.price_usd_per_instance_hour", "sized.gpus_per_instance") }}
        ) as list_rate_usd_per_gpu_hour,
        row_number() over (
            partition by sized.commitment_id
            order by
                price_intervals.source_rank asc,
                case when price_intervals.valid_from_at <= sized.valid_from_at then 0 else 1 end asc,
                case when price_intervals.region = sized.region then 0 else 1 end asc,
                case
                    when price_intervals.valid_from_at <= sized.valid_from_at
                        then price_intervals.valid_from_at
                end desc,
                price_intervals.valid_from_at asc,
                price_intervals.price_usd_per_instance_hour asc,
                price_intervals.series_id asc
        ) as offer_rank
    from sized
    inner join price_intervals
        on
            sized.provider = price_intervals.provider
            and sized.price_key = price_intervals.price_key
            and price_intervals.region in (sized.region, 'global')
            and sized.term_months = price_intervals.term_months
            -- A source that names no payment option (Azure) asks the same price for each.
            and sized.payment_option = coalesce(price_intervals.payment_option, sized.payment_option)
            -- Instances of one type held for a term: most providers call it reserved, Google Cloud committed
            -- use (per resource; the price book states the whole machine). None sells both. A savings plan is
            -- another promise, to spend, and rated as such where the ledger says so. AWS has two, and states
            -- plan and payment in the tier ("computesavingsplans, no upfront"); others have none.
            and case
                when sized.kind = 'reservation'
                    then price_intervals.pricing_model in ('reserved', 'committed_use')
                else
                    price_intervals.pricing_model = 'savings_plan'
                    and price_intervals.offer_tier in (
                        '', replace(sized.kind, '_', '') || 's, ' || replace(sized.payment_option, '_', ' ')
                    )
            end
            and price_intervals.offer_tier <> 'convertible'

),

contracted as (

    select
        *,
        cast(
            rate_usd_per_gpu_hour + case
                when upfront_usd is null then 0
                else {{ usd_rate(
                    "upfront_usd", "instance_count * gpus_per_instance * " ~ term_hours("term_months")
                ) }}
            end as decimal(18, 8)
        ) as contracted_rate_usd_per_gpu_hour
    from sized

),

final as (

    select
        contracted.commitment_id,
        contracted.provider,
        contracted.region,
        contracted.instance_type,
        contracted.price_key,
        contracted.gpu_model,
        contracted.gpus_per_instance,
        contracted.instance_count,
        contracted.term_months,
        contracted.payment_option,
        contracted.valid_from_at,
        contracted.valid_to_at,
        case
            when contracted.rate_usd_per_gpu_hour is not null then contracted.contracted_rate_usd_per_gpu_hour
            else offers.list_rate_usd_per_gpu_hour
        end as rate_usd_per_gpu_hour,
        case
            when contracted.contracted_rate_usd_per_gpu_hour is not null then 'contracted'
            when contracted.rate_usd_per_gpu_hour is null and offers.list_rate_usd_per_gpu_hour is not null
                then {{ rate_basis_of("offers.source_rank") }}
            else 'none'
        end as rate_basis,
        coalesce(
            contracted.rate_usd_per_gpu_hour is null and offers.is_rate_earliest_known, false
        ) as is_rate_earliest_known,
        case when contracted.rate_usd_per_gpu_hour is null then offers.series_id end as price_series_id
    from contracted
    left join offers
        on
            contracted.commitment_id = offers.commitment_id
            and offers.offer_rank = 1

)

select * from final
