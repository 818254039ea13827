{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_of": "costs"},
) }}

with costs as (

    select * from {{ ref("int_billed_costs__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

-- Of each commitment by itself, and of a category as a whole: there commitment_id is null.
scoped as (

    select
        provider,
        region,
        instance_type,
        pricing_category,
        commitment_id,
        hour_start_at,
        gpu_hours,
        effective_cost_usd
    from costs
    where charge_type = 'usage' and commitment_id is not null

    union all

    select
        provider,
        region,
        instance_type,
        pricing_category,
        cast(null as varchar) as commitment_id,
        hour_start_at,
        gpu_hours,
        effective_cost_usd
    from costs
    where charge_type = 'usage'

),

summed as (

    select
        provider,
        region,
        instance_type,
        pricing_category,
        commitment_id,
        hour_start_at,
        cast(sum(gpu_hours) as decimal(18, 6)) as gpu_hours,
        cast(sum(effective_cost_usd) as decimal(38, 10)) as effective_cost_usd
    from scoped
    group by provider, region, instance_type, pricing_category, commitment_id, hour_start_at

),

-- Corrections may leave less than nothing, of which no rate can be made.
final as (

    select
        provider,
        region,
        instance_type,
        pricing_category,
        commitment_id,
        hour_start_at,
        gpu_hours,
        effective_cost_usd,
        {{ usd_rate("effective_cost_usd", "gpu_hours") }} as rate_usd_per_gpu_hour
    from summed
    where gpu_hours > 0 and effective_cost_usd >= 0

)

select * from final
