with commitments as (

    select * from {{ ref("int_commitments__rated") }}

),

capacity as (

    select * from {{ ref("int_commitment_capacity__hourly") }}

),

fleet_costs as (

    select * from {{ ref("int_fleet_costs__hourly") }}

),

drawn as (

    select
        commitment_id,
        hour_start_at,
        sum(gpu_hours) as used_gpu_hours,
        sum(cost_usd) as used_cost_usd
    from fleet_costs
    where pricing_category = 'Committed'
    group by commitment_id, hour_start_at

),

held as (

    select
        capacity.commitment_id,
        capacity.hour_start_at,
        -- Three entries of a third of an hour each may round to a millionth more than the whole.
        cast(
            case
                when drawn.used_gpu_hours > capacity.nominal_gpu_hours then drawn.used_gpu_hours
                else capacity.nominal_gpu_hours
            end as decimal(18, 6)
        ) as committed_gpu_hours,
        cast(
            case when drawn.commitment_id is null then 0 else drawn.used_gpu_hours end as decimal(18, 6)
        ) as used_gpu_hours,
        cast(case when drawn.commitment_id is null then 0 else drawn.used_cost_usd end as decimal(38, 10))
            as used_cost_usd
    from capacity
    left join drawn
        on
            capacity.commitment_id = drawn.commitment_id
            and capacity.hour_start_at = drawn.hour_start_at

),

final as (

    select
        held.commitment_id,
        commitments.provider,
        commitments.region,
        commitments.instance_type,
        commitments.gpu_model,
        held.hour_start_at,
        held.committed_gpu_hours,
        held.used_gpu_hours,
        held.committed_gpu_hours - held.used_gpu_hours as unused_gpu_hours,
        commitments.rate_usd_per_gpu_hour,
        commitments.rate_basis,
        commitments.is_rate_earliest_known,
        held.used_cost_usd,
        {{ usd_amount(
            "held.committed_gpu_hours - held.used_gpu_hours", "commitments.rate_usd_per_gpu_hour"
        ) }} as unused_cost_usd,
        case
            when held.committed_gpu_hours is null then 'unknown_gpu_count'
            when commitments.rate_usd_per_gpu_hour is null then 'no_reserved_price'
        end as null_reason
    from held
    inner join commitments on held.commitment_id = commitments.commitment_id

)

select * from final
