{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_of": "costs"},
) }}

with lines as (

    select * from {{ ref("int_billing_lines") }}
    {{ in_costs_window("charge_to_at") }}

),

commitments as (

    select * from {{ ref("stg_ledger__commitments") }}

),

-- What nothing used of a savings plan names no instance: it is of interest where the plan pays for GPUs, or
-- where ledger.yaml names it.
gpu_commitments as (

    select commitment_id from lines
    where instance_type is not null and commitment_id is not null

    union distinct

    select coalesce(billed_as, commitment_id) as commitment_id from commitments

),

-- Whatever has no usable cost or quantity is a finding (fct_bill_findings), and no part of the bill.
charged as (

    select
        lines.*,
        cast(
            {{ seconds_between("lines.charge_from_at", "lines.charge_to_at") }} as bigint
        ) as charge_seconds,
        {{ hour_of("lines.charge_from_at") }} as first_hour_at,
        {{ hour_of(plus_seconds("lines.charge_to_at", -1)) }} as last_hour_at
    from lines
    left join gpu_commitments on lines.commitment_id = gpu_commitments.commitment_id
    where
        lines.effective_usd is not null
        and (
            (lines.charge_type in ('usage', 'unused_capacity') and lines.gpu_hours is not null)
            or (lines.charge_type = 'unused_commitment' and lines.instance_type is not null)
            or (lines.charge_type = 'unused_commitment' and gpu_commitments.commitment_id is not null)
            or (
                lines.charge_type in ('credit', 'tax', 'refund', 'adjustment')
                and lines.instance_type is not null
            )
        )
        and (lines.instance_type is not null or lines.charge_type = 'unused_commitment')

),

-- Multiplies rows on purpose: a line has one row per hour that it charges for.
hours as (

    {{ hour_spine("charged", "first_hour_at", "last_hour_at", keep="charged.*") }}

),

marked as (

    select
        *,
        cast(
            greatest({{ seconds_between("charge_from_at", "hour_start_at") }}, 0) as bigint
        ) as from_mark,
        cast(
            least(
                {{ seconds_between("charge_from_at", plus_hours("hour_start_at", 1)) }}, charge_seconds
            ) as bigint
        ) as to_mark
    from hours
    {{ in_costs_window("hour_start_at") }}

),

-- Monthly and daily charges are spread over their hours, so that the hours sum to the charge exactly.
spread as (

    select
        provider,
        region,
        coalesce(instance_type, 'any') as instance_type,
        coalesce(gpu_model, 'any') as gpu_model,
        charge_type,
        pricing_category,
        commitment_id,
        deployment_tag,
        billing_period,
        hour_start_at,
        {{ part_between("coalesce(gpu_hours, 0)", "from_mark", "to_mark", "charge_seconds", 6) }}
            as gpu_hours,
        {{ part_between("effective_usd", "from_mark", "to_mark", "charge_seconds") }}
            as effective_cost_usd,
        {{ part_between("list_usd", "from_mark", "to_mark", "charge_seconds") }} as list_cost_usd,
        {{ part_between("contracted_usd", "from_mark", "to_mark", "charge_seconds") }}
            as contracted_cost_usd,
        {{ part_between("billed_usd", "from_mark", "to_mark", "charge_seconds") }} as billed_cost_usd
    from marked

),

final as (

    select
        provider,
        region,
        instance_type,
        max(gpu_model) as gpu_model,
        charge_type,
        pricing_category,
        commitment_id,
        deployment_tag,
        hour_start_at,
        cast(sum(gpu_hours) as decimal(18, 6)) as gpu_hours,
        cast(sum(effective_cost_usd) as decimal(38, 10)) as effective_cost_usd,
        cast(sum(list_cost_usd) as decimal(38, 10)) as list_cost_usd,
        cast(sum(contracted_cost_usd) as decimal(38, 10)) as contracted_cost_usd,
        cast(sum(billed_cost_usd) as decimal(38, 10)) as billed_cost_usd
    from spread
    group by
        provider,
        region,
        instance_type,
        charge_type,
        pricing_category,
        commitment_id,
        deployment_tag,
        hour_start_at

)

select * from final
