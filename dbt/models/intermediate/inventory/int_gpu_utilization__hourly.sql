{%- set longest_interval_hours = 3 %}
{%- set look_back_hours = 2 %}
{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_look_back_hours": look_back_hours},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
with readings as (

    select
        *,
        coalesce(gpu_instance, '') as instance,
        coalesce(namespace, '') as pod_namespace,
        coalesce(pod_name, '') as pod
    from {{ ref("stg_inventory__gpus") }}
    {%- if is_incremental() %}
        where observed_at >= {{ window_start_at(look_back_hours + longest_interval_hours) }}
    {%- endif %}

),

-- The meter is the GPU's, whoever holds it: of pods that share one the first in name has the energy.
metered as (

    select
        *,
        lag(observed_at) over (
            partition by source_name, scope, gpu_uuid, instance order by observed_at, pod_namespace, pod
        ) as previous_observed_at,
        lag(energy_millijoules) over (
            partition by source_name, scope, gpu_uuid, instance order by observed_at, pod_namespace, pod
        ) as previous_energy_millijoules
    from readings
    where energy_millijoules is not null

),

consumed as (

    select
        source_name,
        scope,
        gpu_uuid,
        instance,
        pod_namespace,
        pod,
        gpu_name_raw,
        {{ hour_of(midpoint("previous_observed_at", "observed_at")) }} as hour_start_at,
        cast(null as double) as gpu_utilization_percent,
        cast(null as double) as sm_active_ratio,
        cast(null as double) as tensor_active_ratio,
        cast(null as double) as power_watts,
        0 as is_reading,
        -- It begins anew where the driver is loaded anew. 1 kWh = 3.6e9 mJ.
        cast(
            (
                energy_millijoules
                - case
                    when energy_millijoules >= previous_energy_millijoules then previous_energy_millijoules
                    else 0
                end
            ) / 3.6e9 as decimal(18, 9)
        ) as energy_kwh,
        {{ seconds_between("previous_observed_at", "observed_at") }} as energy_seconds
    from metered
    where
        observed_at <= {{ plus_hours("previous_observed_at", longest_interval_hours) }}
        and observed_at > previous_observed_at

),

observed as (

    select
        source_name,
        scope,
        gpu_uuid,
        instance,
        pod_namespace,
        pod,
        gpu_name_raw,
        {{ hour_of("observed_at") }} as hour_start_at,
        gpu_utilization_percent,
        sm_active_ratio,
        tensor_active_ratio,
        power_watts,
        1 as is_reading,
        cast(null as decimal(18, 9)) as energy_kwh,
        cast(null as decimal(18, 6)) as energy_seconds
    from readings

    union all

    select * from consumed

),

final as (

    select
        source_name,
        scope,
        gpu_uuid,
        instance as gpu_instance,
        pod_namespace as namespace,
        pod as pod_name,
        max(gpu_name_raw) as gpu_name_raw,
        hour_start_at,
        cast(sum(is_reading) as bigint) as reading_count,
        -- Decimals before the mean: the mean of doubles depends on the order of rows.
        cast(
            avg(cast(gpu_utilization_percent / 100 as decimal(9, 8))) as decimal(9, 8)
        ) as gpu_utilization_ratio,
        cast(avg(cast(sm_active_ratio as decimal(9, 8))) as decimal(9, 8)) as sm_active_ratio,
        cast(avg(cast(tensor_active_ratio as decimal(9, 8))) as decimal(9, 8)) as tensor_active_ratio,
        cast(avg(cast(power_watts as decimal(12, 3))) as decimal(12, 3)) as power_watts,
        cast(sum(energy_kwh) as decimal(18, 9)) as energy_kwh,
        cast(sum(energy_seconds) as decimal(18, 6)) as energy_seconds
    from observed
    {%- if is_incremental() %}
        where hour_start_at >= {{ window_start_at(look_back_hours) }}
    {%- endif %}
    group by source_name, scope, gpu_uuid, instance, pod_namespace, pod, hour_start_at

)

select * from final
