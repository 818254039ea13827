-- What pays for an entry-hour, part by part, is all of its GPU-hours; and no savings plan pays more than it
-- promised.
with parts as (

    select
        allocation_id,
        hour_start_at,
        sum(gpu_hours) as gpu_hours
    from {{ ref("int_fleet_parts__hourly") }}
    group by allocation_id, hour_start_at

)

select fleet.allocation_id
from {{ ref("int_fleet__hourly") }} as fleet
left join parts
    on
        fleet.allocation_id = parts.allocation_id
        and fleet.hour_start_at = parts.hour_start_at
where coalesce(fleet.gpu_hours, -1) <> coalesce(parts.gpu_hours, -1)

union all

select commitment_id as allocation_id
from {{ ref("int_commitments__hourly") }}
where committed_gpu_hours is null and modelled_unused_cost_usd < 0
