{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_of": "costs"},
) }}

-- What entries that name no commitment, and the rest of those whose own is used up, draw on reservations of
-- their provider, region and instance type: as clouds bill. Both are laid on one line, reservations in the
-- order in which they began, entries in the order of the ledger; where they lie side by side, one covers the
-- other.

with fleet_hours as (

    select * from {{ ref("int_fleet__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

capacity as (

    select * from {{ ref("int_commitment_capacity__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

commitments as (

    select * from {{ ref("int_commitments__rated") }}

),

named as (

    select
        commitment_id,
        hour_start_at,
        sum(committed_unit_seconds) as unit_seconds
    from fleet_hours
    where committed_unit_seconds > 0
    group by commitment_id, hour_start_at

),

left_over as (

    select
        commitments.commitment_id,
        commitments.provider,
        commitments.region,
        commitments.instance_type,
        commitments.valid_from_at,
        capacity.hour_start_at,
        cast(capacity.capacity_unit_seconds - coalesce(named.unit_seconds, 0) as decimal(28, 6))
            as unit_seconds
    from capacity
    inner join commitments on capacity.commitment_id = commitments.commitment_id
    left join named
        on
            capacity.commitment_id = named.commitment_id
            and capacity.hour_start_at = named.hour_start_at
    where
        commitments.applies_to = 'matching'
        and commitments.gpus_per_instance is not null

),

supply as (

    select
        *,
        sum(unit_seconds) over (
            partition by provider, region, instance_type, hour_start_at
            order by valid_from_at, commitment_id
            rows between unbounded preceding and current row
        ) as ends_at_unit
    from left_over
    where unit_seconds > 0

),

demand as (

    select
        allocation_id,
        provider,
        region,
        instance_type,
        hour_start_at,
        committed_unit_seconds,
        cast(unit_seconds - committed_unit_seconds as decimal(28, 6)) as unit_seconds,
        sum(unit_seconds - committed_unit_seconds) over (
            partition by provider, region, instance_type, hour_start_at
            order by allocation_position
            rows between unbounded preceding and current row
        ) as ends_at_unit
    from fleet_hours
    where
        pricing_model <> 'spot'
        and gpus is not null
        and unit_seconds > committed_unit_seconds

),

-- Multiplies rows on purpose: an entry may draw on several reservations, and a reservation cover several.
-- Where the piece lies on the entry's own line, of which its own commitment has the beginning.
pieces as (

    select
        demand.allocation_id,
        supply.commitment_id,
        demand.hour_start_at,
        greatest(demand.ends_at_unit - demand.unit_seconds, supply.ends_at_unit - supply.unit_seconds)
        - (demand.ends_at_unit - demand.unit_seconds) + demand.committed_unit_seconds as from_unit,
        least(demand.ends_at_unit, supply.ends_at_unit)
        - (demand.ends_at_unit - demand.unit_seconds) + demand.committed_unit_seconds as to_unit
    from demand
    inner join supply
        on
            demand.provider = supply.provider
            and demand.region = supply.region
            and demand.instance_type = supply.instance_type
            and demand.hour_start_at = supply.hour_start_at
            and demand.ends_at_unit > supply.ends_at_unit - supply.unit_seconds
            and supply.ends_at_unit > demand.ends_at_unit - demand.unit_seconds

),

-- Differences of rounded marks, so that the pieces of an entry sum to its GPU-hours exactly.
final as (

    select
        allocation_id,
        commitment_id,
        hour_start_at,
        cast(to_unit - from_unit as decimal(28, 6)) as unit_seconds,
        cast({{ gpu_hours("to_unit") }} - {{ gpu_hours("from_unit") }} as decimal(18, 6)) as gpu_hours
    from pieces

)

select * from final
