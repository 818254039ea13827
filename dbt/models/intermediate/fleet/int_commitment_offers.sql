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

hardware as (

    select distinct
        provider,
        region,
        instance_type
    from deployments

),

-- What a commitment may cover: its own instances, and of a savings plan of so much an hour whatever of the
-- fleet is of its region and its type, or family.
covering as (

    select
        commitment_id,
        region,
        instance_type
    from commitments
    where usd_per_hour is null

    union all

    select
        commitments.commitment_id,
        hardware.region,
        hardware.instance_type
    from commitments
    inner join hardware
        on
            commitments.provider = hardware.provider
            and (commitments.region is null or commitments.region = hardware.region)
            and (
                commitments.instance_type is null
                or commitments.instance_type = hardware.instance_type
                or commitments.instance_type = {{ dbt.split_part("hardware.instance_type", "'.'", 1) }}
            )
    where commitments.usd_per_hour is not null

),

-- For hardware the seed does not know, the fleet entries say how many GPUs an instance has.
stated_gpus as (

    select
        provider,
        region,
        instance_type,
        cast(max(cast(gpus_per_replica as double) / instances_per_replica) as decimal(18, 6))
            as gpus_per_instance
    from deployments
    group by provider, region, instance_type

),

sized as (

    select
        commitments.commitment_id,
        commitments.kind,
        commitments.provider,
        covering.region,
        covering.instance_type,
        commitments.term_months,
        commitments.payment_option,
        commitments.valid_from_at,
        coalesce(instance_types.price_key, covering.instance_type) as price_key,
        coalesce(instance_types.gpu_count, stated_gpus.gpus_per_instance) as gpus_per_instance
    from covering
    inner join commitments on covering.commitment_id = commitments.commitment_id
    left join instance_types
        on
            commitments.provider = instance_types.provider
            and covering.instance_type = instance_types.instance_type
    left join stated_gpus
        on
            commitments.provider = stated_gpus.provider
            and covering.region = stated_gpus.region
            and covering.instance_type = stated_gpus.instance_type

),

-- Multiplies rows: several offers and intervals fit. The one in force when the commitment began is taken, for
-- its price is fixed for the term; failing that the earliest ever seen. Convertible offers are another
-- product.
offers as (

    select
        sized.*,
        price_intervals.series_id as price_series_id,
        price_intervals.source_rank,
        price_intervals.valid_from_at > sized.valid_from_at as is_rate_earliest_known,
        coalesce(
            price_intervals.price_usd_per_gpu_hour,
            {{ usd_rate("price_intervals.price_usd_per_instance_hour", "sized.gpus_per_instance") }}
        ) as rate_usd_per_gpu_hour,
        row_number() over (
            partition by sized.commitment_id, sized.region, sized.instance_type
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

final as (

    select
        commitment_id,
        provider,
        region,
        instance_type,
        price_key,
        gpus_per_instance,
        rate_usd_per_gpu_hour,
        {{ rate_basis_of("source_rank") }} as rate_basis,
        is_rate_earliest_known,
        price_series_id
    from offers
    where offer_rank = 1 and rate_usd_per_gpu_hour is not null

)

select * from final
