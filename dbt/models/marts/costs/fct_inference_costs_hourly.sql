{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "hour_start_at", "window_of": "costs"},
) }}

with fleet_hours as (

    select * from {{ ref("int_fleet__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

fleet_costs as (

    select * from {{ ref("int_fleet_costs__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

usage_hours as (

    select * from {{ ref("int_usage__hourly") }}
    {{ in_costs_window("usage_hour_at") }}

),

deployment_hours as (

    select
        deployment,
        hour_start_at,
        sum(replica_seconds) as allocated_replica_seconds
    from fleet_hours
    group by deployment, hour_start_at

),

-- One row per deployment-hour that has a usage source.
used_hours as (

    select
        deployment_hours.deployment,
        deployment_hours.hour_start_at,
        usage_hours.usage_basis,
        usage_hours.input_tokens,
        usage_hours.cached_input_tokens,
        usage_hours.output_tokens,
        usage_hours.request_count,
        usage_hours.unsuccessful_request_count,
        usage_hours.prefill_seconds,
        usage_hours.decode_seconds,
        {{ share_ratio("usage_hours.active_replica_seconds", "deployment_hours.allocated_replica_seconds") }}
            as utilization_ratio,
        case usage_hours.usage_basis
            when 'engine_counters'
                then {{ share_ratio(
                    "usage_hours.observed_replica_seconds", "deployment_hours.allocated_replica_seconds"
                ) }}
            else usage_hours.token_reported_ratio
        end as usage_coverage_ratio,
        {%- for seconds, ratio in {
            "start_up": "seen_start_up_ratio", "start_known": "start_up_coverage_ratio"
        }.items() %}
            cast(
                case
                    when
                        usage_hours.{{ seconds }}_replica_seconds > deployment_hours.allocated_replica_seconds
                        then 1
                    else {{ part_of(
                        "1",
                        "usage_hours." ~ seconds ~ "_replica_seconds",
                        "deployment_hours.allocated_replica_seconds",
                        8,
                        weight_scale=6,
                    ) }}
                end as decimal(9, 8)
            ) as {{ ratio }}{% if not loop.last %},{% endif %}
        {%- endfor %}
    from deployment_hours
    inner join usage_hours
        on
            deployment_hours.deployment = usage_hours.deployment
            and deployment_hours.hour_start_at = usage_hours.usage_hour_at

),

-- A missing component makes the sum unknown: an entry without a price is not free.
category_hours as (

    select
        deployment,
        pricing_category,
        hour_start_at,
        max(model) as model,
        max(provider) as provider,
        max(region) as region,
        max(instance_type) as instance_type,
        max(gpu_model) as gpu_model,
        -- Where reservations and savings plans pay together: reserved.
        min(pricing_model) as pricing_model,
        cast(sum(gpu_hours) as decimal(18, 6)) as gpu_hours,
        cast(sum(coalesce(gpu_hours, unit_seconds)) as decimal(28, 6)) as token_weight,
        case when count(*) = count(cost_usd) then cast(sum(cost_usd) as decimal(38, 10)) end as cost_usd,
        case
            when count(*) = count(on_demand_equivalent_cost_usd)
                then cast(sum(on_demand_equivalent_cost_usd) as decimal(38, 10))
        end as on_demand_equivalent_cost_usd,
        case when min(rate_basis) = max(rate_basis) then min(rate_basis) else 'mixed' end as rate_basis,
        max(case when is_price_carried_forward then 1 else 0 end) = 1 as is_price_carried_forward,
        max(case when is_rate_earliest_known then 1 else 0 end) = 1 as is_rate_earliest_known,
        max(price_age_hours) as price_age_hours,
        max(billing_status) as billing_status,
        min(null_reason) as cost_null_reason
    from fleet_costs
    group by deployment, pricing_category, hour_start_at

),

joined as (

    select
        category_hours.*,
        used_hours.usage_basis,
        used_hours.utilization_ratio,
        used_hours.usage_coverage_ratio,
        used_hours.start_up_coverage_ratio,
        -- Start-up is idle time, and no more than there is, also where more replicas start than the ledger
        -- has.
        case
            when used_hours.seen_start_up_ratio > 1 - used_hours.utilization_ratio
                then 1 - used_hours.utilization_ratio
            when used_hours.utilization_ratio is not null then used_hours.seen_start_up_ratio
        end as start_up_ratio,
        used_hours.input_tokens as deployment_input_tokens,
        used_hours.cached_input_tokens as deployment_cached_input_tokens,
        used_hours.output_tokens as deployment_output_tokens,
        used_hours.request_count as deployment_request_count,
        used_hours.unsuccessful_request_count as deployment_unsuccessful_request_count,
        used_hours.prefill_seconds as deployment_prefill_seconds,
        used_hours.decode_seconds as deployment_decode_seconds
    from category_hours
    left join used_hours
        on
            category_hours.deployment = used_hours.deployment
            and category_hours.hour_start_at = used_hours.hour_start_at

),

-- The engine does not know how its GPU is paid for: tokens follow GPU-hours, categories in the order of their
-- names.
allocated as (

    select
        *,
        {%- set spread = {
            "weight": "token_weight",
            "partition_by": "deployment, hour_start_at",
            "order_by": "pricing_category",
            "weight_scale": 6,
        } %}
        cast({{ share_of("deployment_input_tokens", **spread) }} as bigint) as input_tokens,
        cast({{ share_of("deployment_cached_input_tokens", **spread) }} as bigint) as cached_input_tokens,
        cast({{ share_of("deployment_output_tokens", **spread) }} as bigint) as output_tokens,
        cast({{ share_of("deployment_request_count", **spread) }} as bigint) as request_count,
        cast({{ share_of("deployment_unsuccessful_request_count", **spread) }} as bigint)
            as unsuccessful_request_count,
        cast({{ share_of("deployment_prefill_seconds", scale=6, **spread) }} as decimal(28, 6))
            as prefill_seconds,
        cast({{ share_of("deployment_decode_seconds", scale=6, **spread) }} as decimal(28, 6))
            as decode_seconds,
        cast(cast(cost_usd as decimal(28, 10)) * utilization_ratio as decimal(38, 10)) as active_cost_usd,
        cast(cast(cost_usd as decimal(28, 10)) * start_up_ratio as decimal(38, 10))
            as rounded_start_up_cost_usd
    from joined

),

with_idle as (

    select
        *,
        cast(cost_usd - active_cost_usd as decimal(38, 10)) as idle_cost_usd
    from allocated

),

-- Active and start-up cost, each rounded up, may be a last digit more than the cost.
with_start_up as (

    select
        *,
        case
            when rounded_start_up_cost_usd > idle_cost_usd then idle_cost_usd else rounded_start_up_cost_usd
        end as start_up_cost_usd
    from with_idle

),

final as (

    select
        deployment,
        pricing_category,
        hour_start_at,
        {{ day_of("hour_start_at") }} as usage_date,
        model,
        provider,
        region,
        instance_type,
        gpu_model,
        pricing_model,
        gpu_hours,
        cost_usd,
        active_cost_usd,
        idle_cost_usd,
        cast(gpu_hours * start_up_ratio as decimal(18, 6)) as start_up_gpu_hours,
        start_up_cost_usd,
        cast(idle_cost_usd - start_up_cost_usd as decimal(38, 10)) as other_idle_cost_usd,
        start_up_coverage_ratio,
        on_demand_equivalent_cost_usd,
        {{ usd_rate("cost_usd", "gpu_hours") }} as rate_usd_per_gpu_hour,
        utilization_ratio,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        cast(input_tokens + coalesce(cached_input_tokens, 0) + output_tokens as bigint) as total_tokens,
        request_count,
        cast(request_count + unsuccessful_request_count as bigint) as attempted_request_count,
        prefill_seconds,
        decode_seconds,
        usage_basis,
        usage_coverage_ratio,
        rate_basis,
        is_rate_earliest_known,
        is_price_carried_forward,
        price_age_hours,
        billing_status,
        coalesce(cost_null_reason, case when usage_basis is null then 'no_usage_reported' end) as null_reason
    from with_start_up

)

select * from final
