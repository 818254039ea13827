{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_of": "costs"},
) }}

with commitments as (

    select * from {{ ref("int_commitments__rated") }}

),

capacity as (

    select * from {{ ref("int_commitment_capacity__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

hours as (

    select * from {{ ref("int_hours__spanned") }}
    {{ in_costs_window("hour_start_at") }}

),

fleet_costs as (

    select * from {{ ref("int_fleet_costs__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

billed_costs as (

    select * from {{ ref("int_billed_costs__hourly") }}
    {{ in_costs_window("hour_start_at", of_month=true) }}

),

bill_periods as (

    select * from {{ ref("int_bill_periods") }}

),

drawn as (

    select
        commitment_id,
        hour_start_at,
        sum(gpu_hours) as used_gpu_hours,
        sum(modelled_cost_usd) as used_cost_usd
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
        cast(null as decimal(38, 10)) as promised_usd,
        cast(case when drawn.commitment_id is null then 0 else drawn.used_cost_usd end as decimal(38, 10))
            as used_cost_usd
    from capacity
    left join drawn
        on
            capacity.commitment_id = drawn.commitment_id
            and capacity.hour_start_at = drawn.hour_start_at

    union all

    -- A savings plan promises money, not GPU-hours.
    select
        commitments.commitment_id,
        hours.hour_start_at,
        cast(null as decimal(18, 6)) as committed_gpu_hours,
        cast(coalesce(drawn.used_gpu_hours, 0) as decimal(18, 6)) as used_gpu_hours,
        {{ promised_usd("commitments", "hours") }} as promised_usd,
        cast(coalesce(drawn.used_cost_usd, 0) as decimal(38, 10)) as used_cost_usd
    from commitments
    inner join hours
        on
            commitments.valid_from_at < hours.hour_end_at
            and commitments.valid_to_at > hours.hour_start_at
    left join drawn
        on
            commitments.commitment_id = drawn.commitment_id
            and hours.hour_start_at = drawn.hour_start_at
    where commitments.usd_per_hour is not null

),

billed_unused as (

    select
        commitment_id,
        hour_start_at,
        cast(sum(effective_cost_usd) as decimal(38, 10)) as unused_cost_usd
    from billed_costs
    where charge_type = 'unused_commitment'
    group by commitment_id, hour_start_at

),

-- A commitment of which a month's bill speaks has nothing unused in hours where the bill names none.
billed_commitments as (

    select distinct
        billed_costs.provider,
        billed_costs.commitment_id,
        bill_periods.period_start_at,
        bill_periods.billed_until_at
    from billed_costs
    inner join bill_periods
        on
            billed_costs.provider = bill_periods.provider
            and billed_costs.hour_start_at >= bill_periods.period_start_at
            and billed_costs.hour_start_at < bill_periods.period_end_at
    where billed_costs.commitment_id is not null

),

modelled as (

    select
        held.commitment_id,
        commitments.billed_as,
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
        case
            when commitments.usd_per_hour is not null
                then cast(held.promised_usd - held.used_cost_usd as decimal(38, 10))
            else {{ usd_amount(
                "held.committed_gpu_hours - held.used_gpu_hours", "commitments.rate_usd_per_gpu_hour"
            ) }}
        end as modelled_unused_cost_usd,
        case
            when commitments.usd_per_hour is not null then null
            when held.committed_gpu_hours is null then 'unknown_gpu_count'
            when commitments.rate_usd_per_gpu_hour is null then 'no_reserved_price'
        end as modelled_null_reason
    from held
    inner join commitments on held.commitment_id = commitments.commitment_id

),

final as (

    select
        modelled.commitment_id,
        modelled.provider,
        modelled.region,
        modelled.instance_type,
        modelled.gpu_model,
        modelled.hour_start_at,
        modelled.committed_gpu_hours,
        modelled.used_gpu_hours,
        modelled.unused_gpu_hours,
        modelled.rate_usd_per_gpu_hour,
        modelled.rate_basis,
        modelled.is_rate_earliest_known,
        modelled.used_cost_usd,
        modelled.modelled_unused_cost_usd,
        case
            when billed_commitments.commitment_id is null then modelled.modelled_unused_cost_usd
            else cast(coalesce(billed_unused.unused_cost_usd, 0) as decimal(38, 10))
        end as unused_cost_usd,
        billed_commitments.commitment_id is not null as is_unused_cost_billed,
        case when billed_commitments.commitment_id is null then modelled.modelled_null_reason end
            as null_reason
    from modelled
    left join billed_commitments
        on
            modelled.provider = billed_commitments.provider
            and modelled.billed_as = billed_commitments.commitment_id
            and modelled.hour_start_at >= billed_commitments.period_start_at
            and modelled.hour_start_at < billed_commitments.billed_until_at
    left join billed_unused
        on
            modelled.billed_as = billed_unused.commitment_id
            and modelled.hour_start_at = billed_unused.hour_start_at

)

select * from final
