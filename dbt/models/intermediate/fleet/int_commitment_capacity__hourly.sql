{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_of": "costs"},
) }}

with commitments as (

    select * from {{ ref("int_commitments__rated") }}
    where usd_per_hour is null

),

hours as (

    select * from {{ ref("int_hours__spanned") }}
    {{ in_costs_window("hour_start_at") }}

),

-- Multiplies rows on purpose: a commitment has one row per hour of its term.
held as (

    select
        commitments.commitment_id,
        commitments.instance_count,
        commitments.gpus_per_instance,
        hours.hour_start_at,
        {{ overlap_seconds(
            "commitments.valid_from_at",
            "commitments.valid_to_at",
            "hours.hour_start_at",
            "hours.hour_end_at",
        ) }} as valid_seconds
    from commitments
    inner join hours
        on
            commitments.valid_from_at < hours.hour_end_at
            and commitments.valid_to_at > hours.hour_start_at

),

final as (

    select
        commitment_id,
        hour_start_at,
        valid_seconds,
        -- Capacity is counted in GPUs, so that two deployments may share an instance; in instances where the
        -- number of GPUs is unknown.
        instance_count * coalesce(gpus_per_instance, 1) * valid_seconds as capacity_unit_seconds,
        {{ gpu_hours("instance_count * gpus_per_instance * valid_seconds") }} as nominal_gpu_hours
    from held
    where valid_seconds > 0

)

select * from final
