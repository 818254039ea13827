with commitments as (

    select * from {{ ref("stg_ledger__commitments") }}

),

deployments as (

    select * from {{ ref("stg_ledger__deployments") }}

),

instance_types as (

    select * from {{ ref("instance_types") }}

),

-- Of a savings plan of so much an hour there are several, one per hardware that it may cover.
offers as (

    select * from {{ ref("int_commitment_offers") }}

),

-- One row per commitment: for hardware the seed does not know, the fleet entries say how many GPUs an
-- instance has.
stated_gpus as (

    select
        commitment_id,
        cast(max(cast(gpus_per_replica as double) / instances_per_replica) as decimal(18, 6))
            as gpus_per_instance
    from deployments
    where commitment_id is not null
    group by commitment_id

),

sized as (

    select
        commitments.*,
        coalesce(instance_types.price_key, commitments.instance_type) as price_key,
        case
            when commitments.usd_per_hour is not null then 'any'
            else coalesce(instance_types.gpu_model, 'unknown')
        end as gpu_model,
        coalesce(instance_types.gpu_count, stated_gpus.gpus_per_instance) as gpus_per_instance
    from commitments
    left join instance_types
        on
            commitments.provider = instance_types.provider
            and commitments.instance_type = instance_types.instance_type
    left join stated_gpus on commitments.commitment_id = stated_gpus.commitment_id

),

contracted as (

    select
        *,
        cast(
            case
                -- A block of capacity is paid before it begins.
                when kind = 'capacity_block'
                    then {{ usd_rate(
                        "upfront_usd",
                        "instance_count * gpus_per_instance * " ~ hours_between("valid_from_at", "valid_to_at"),
                    ) }}
                when upfront_usd is null then rate_usd_per_gpu_hour
                else
                    rate_usd_per_gpu_hour + {{ usd_rate(
                        "upfront_usd", "instance_count * gpus_per_instance * " ~ term_hours("term_months")
                    ) }}
            end as decimal(18, 8)
        ) as contracted_rate_usd_per_gpu_hour
    from sized

),

final as (

    select
        contracted.commitment_id,
        contracted.kind,
        contracted.provider,
        contracted.region,
        contracted.instance_type,
        contracted.price_key,
        contracted.gpu_model,
        contracted.gpus_per_instance,
        contracted.instance_count,
        contracted.usd_per_hour,
        contracted.applies_to,
        coalesce(contracted.billed_as, contracted.commitment_id) as billed_as,
        contracted.term_months,
        contracted.payment_option,
        contracted.valid_from_at,
        contracted.valid_to_at,
        coalesce(contracted.contracted_rate_usd_per_gpu_hour, offers.rate_usd_per_gpu_hour)
            as rate_usd_per_gpu_hour,
        case
            when contracted.contracted_rate_usd_per_gpu_hour is not null then 'contracted'
            else coalesce(offers.rate_basis, 'none')
        end as rate_basis,
        coalesce(
            contracted.contracted_rate_usd_per_gpu_hour is null and offers.is_rate_earliest_known, false
        ) as is_rate_earliest_known,
        case when contracted.contracted_rate_usd_per_gpu_hour is null then offers.price_series_id end
            as price_series_id
    from contracted
    left join offers
        on
            contracted.commitment_id = offers.commitment_id
            and contracted.usd_per_hour is null

)

select * from final
