{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_of": "costs"},
) }}

with deployments as (

    select * from {{ ref("stg_ledger__deployments") }}

),

instance_types as (

    select * from {{ ref("instance_types") }}

),

hours as (

    select * from {{ ref("int_hours__spanned") }}
    {{ in_costs_window("hour_start_at") }}

),

capacity as (

    select * from {{ ref("int_commitment_capacity__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

-- Multiplies rows on purpose: an entry has one row per hour in which it holds its instances.
held as (

    select
        deployments.allocation_id,
        deployments.deployment,
        deployments.model,
        deployments.provider,
        deployments.region,
        deployments.instance_type,
        coalesce(instance_types.price_key, deployments.instance_type) as price_key,
        coalesce(instance_types.gpu_model, 'unknown') as gpu_model,
        instance_types.gpu_count as gpus_per_instance,
        deployments.allocation_position,
        deployments.replicas,
        deployments.instances_per_replica,
        -- Of a replica that spans several instances (parallel over nodes) all are paid for.
        deployments.replicas * coalesce(
            deployments.gpus_per_replica, deployments.instances_per_replica * instance_types.gpu_count
        ) as gpus,
        deployments.pricing_model,
        deployments.commitment_id,
        deployments.rate_usd_per_gpu_hour as contracted_rate_usd_per_gpu_hour,
        hours.hour_start_at,
        {{ overlap_seconds(
            "deployments.valid_from_at", "deployments.valid_to_at", "hours.hour_start_at", "hours.hour_end_at"
        ) }} as active_seconds
    from deployments
    inner join hours
        on
            deployments.valid_from_at < hours.hour_end_at
            and (deployments.valid_to_at is null or deployments.valid_to_at > hours.hour_start_at)
    left join instance_types
        on
            deployments.provider = instance_types.provider
            and deployments.instance_type = instance_types.instance_type

),

measured as (

    select
        *,
        replicas * active_seconds as replica_seconds,
        {{ gpu_hours("gpus * active_seconds") }} as gpu_hours,
        -- What a commitment is drawn by: GPU-seconds, or instance-seconds where the number of GPUs is
        -- unknown.
        cast(coalesce(gpus, replicas * instances_per_replica) * active_seconds as decimal(28, 6))
            as unit_seconds
    from held
    where active_seconds > 0

),

-- Entries draw on their commitment in the order of the ledger. Within an hour a commitment is a sum of
-- GPU-seconds, as reserved instances are billed; which minutes they fell on does not matter.
queued as (

    select
        measured.*,
        case
            when measured.pricing_model = 'reserved' then coalesce(capacity.capacity_unit_seconds, 0) else 0
        end as capacity_unit_seconds,
        sum(measured.unit_seconds) over (
            partition by measured.commitment_id, measured.hour_start_at
            order by measured.allocation_position
            rows between unbounded preceding and current row
        ) - measured.unit_seconds as unit_seconds_before
    from measured
    left join capacity
        on
            measured.commitment_id = capacity.commitment_id
            and measured.hour_start_at = capacity.hour_start_at

),

drawn as (

    select
        *,
        cast(
            greatest(least(unit_seconds, capacity_unit_seconds - unit_seconds_before), 0) as decimal(28, 6)
        ) as committed_unit_seconds
    from queued

),

final as (

    select
        allocation_id,
        allocation_position,
        deployment,
        model,
        provider,
        region,
        instance_type,
        price_key,
        gpu_model,
        gpus_per_instance,
        pricing_model,
        commitment_id,
        contracted_rate_usd_per_gpu_hour,
        hour_start_at,
        active_seconds,
        replicas,
        replica_seconds,
        gpus,
        gpu_hours,
        case when gpus is not null then {{ gpu_hours("committed_unit_seconds") }} end as committed_gpu_hours,
        unit_seconds,
        committed_unit_seconds
    from drawn

)

select * from final
