with fleet_hours as (

    select * from {{ ref("int_fleet__hourly") }}

),

hours as (

    select * from {{ ref("int_hours__spanned") }}

),

nodes as (

    select * from {{ ref("int_nodes") }}
    where has_gpus

),

snapshots as (

    select * from {{ ref("stg_inventory__snapshots") }}
    where kind = 'kubernetes_nodes'

),

days as (

    select
        usage_date,
        min(hour_start_at) as day_start_at,
        max(hour_end_at) as day_end_at
    from hours
    group by usage_date

),

-- What a source says holds from its first snapshot to a day after its last one.
coverage as (

    select
        source_name,
        min(observed_at) as covered_from_at,
        {{ plus_hours("max(observed_at)", inventory_hold_hours()) }} as covered_to_at
    from snapshots
    group by source_name

),

-- A day is observed in a region when every source that ever showed a node of it covers the day: without one
-- of them its nodes would be missing.
places as (

    select distinct
        source_name,
        provider,
        region
    from nodes

),

observed_days as (

    select
        days.usage_date,
        places.provider,
        places.region,
        min(
            case
                when
                    coverage.covered_from_at <= days.day_start_at
                    and coverage.covered_to_at >= days.day_end_at
                    then 1
                else 0
            end
        ) = 1 as is_observed
    from days
    cross join places
    inner join coverage on places.source_name = coverage.source_name
    group by days.usage_date, places.provider, places.region

),

declared as (

    select
        {{ day_of("hour_start_at") }} as usage_date,
        provider,
        region,
        instance_type,
        case when pricing_model = 'spot' then 'spot' else 'on_demand_or_reserved' end as purchase_class,
        max(gpu_model) as gpu_model,
        cast(sum(gpu_hours) as decimal(28, 6)) as gpu_hours,
        cast(sum(case when pricing_model = 'reserved' then gpu_hours else 0 end) as decimal(28, 6))
            as reserved_gpu_hours,
        max(case when gpu_hours is null then 1 else 0 end) as is_unknown
    from fleet_hours
    group by
        {{ day_of("hour_start_at") }},
        provider,
        region,
        instance_type,
        case when pricing_model = 'spot' then 'spot' else 'on_demand_or_reserved' end

),

-- Multiplies rows on purpose: a node has one row per day that it was there.
node_days as (

    select
        days.usage_date,
        nodes.provider,
        nodes.region,
        nodes.instance_type,
        nodes.purchase_option,
        nodes.gpu_model,
        nodes.gpu_count,
        {{ overlap_seconds(
            "nodes.valid_from_at",
            "least(coalesce(nodes.valid_to_at, coverage.covered_to_at), coverage.covered_to_at)",
            "days.day_start_at",
            "days.day_end_at",
        ) }} as held_seconds,
        -- Between the last sighting and the snapshot that misses the node it went, nobody knows when.
        case
            when nodes.valid_to_at is null then 0
            else {{ overlap_seconds(
                "nodes.last_seen_at", "nodes.valid_to_at", "days.day_start_at", "days.day_end_at"
            ) }}
        end as uncertain_seconds
    from nodes
    inner join coverage on nodes.source_name = coverage.source_name
    inner join days
        on
            nodes.valid_from_at < days.day_end_at
            and least(coalesce(nodes.valid_to_at, coverage.covered_to_at), coverage.covered_to_at)
            > days.day_start_at

),

observed as (

    select
        usage_date,
        provider,
        region,
        instance_type,
        case purchase_option
            when 'spot' then 'spot'
            when 'unknown' then 'unknown'
            else 'on_demand_or_reserved'
        end as purchase_class,
        max(gpu_model) as gpu_model,
        cast(sum({{ gpu_hours("gpu_count * held_seconds") }}) as decimal(28, 6)) as gpu_hours,
        cast(
            sum(
                case
                    when purchase_option = 'reserved_capacity'
                        then {{ gpu_hours("gpu_count * held_seconds") }}
                    else 0
                end
            ) as decimal(28, 6)
        ) as reserved_gpu_hours,
        cast(sum({{ gpu_hours("gpu_count * uncertain_seconds") }}) as decimal(28, 6)) as uncertain_gpu_hours,
        cast(sum(held_seconds) / cast(86400 as double) as decimal(18, 6)) as node_days,
        max(case when gpu_count is null then 1 else 0 end) as is_unknown
    from node_days
    group by
        usage_date,
        provider,
        region,
        instance_type,
        case purchase_option
            when 'spot' then 'spot'
            when 'unknown' then 'unknown'
            else 'on_demand_or_reserved'
        end

),

keys as (

    select
        usage_date,
        provider,
        region,
        instance_type,
        purchase_class
    from declared

    union distinct

    select
        usage_date,
        provider,
        region,
        instance_type,
        purchase_class
    from observed

),

compared as (

    select
        keys.usage_date,
        keys.provider,
        keys.region,
        keys.instance_type,
        keys.purchase_class,
        coalesce(nullif(declared.gpu_model, 'unknown'), observed.gpu_model, 'unknown') as gpu_model,
        coalesce(observed_days.is_observed, false) as is_observed,
        case
            when declared.is_unknown = 1 then null
            else coalesce(declared.gpu_hours, 0)
        end as declared_gpu_hours,
        case
            when declared.is_unknown = 1 then null
            else coalesce(declared.reserved_gpu_hours, 0)
        end as declared_reserved_gpu_hours,
        case
            when not coalesce(observed_days.is_observed, false) or observed.is_unknown = 1 then null
            else coalesce(observed.gpu_hours, 0)
        end as observed_gpu_hours,
        case
            when not coalesce(observed_days.is_observed, false) or observed.is_unknown = 1 then null
            else coalesce(observed.reserved_gpu_hours, 0)
        end as observed_reserved_gpu_hours,
        case
            when not coalesce(observed_days.is_observed, false) or observed.is_unknown = 1 then null
            else coalesce(observed.uncertain_gpu_hours, 0)
        end as uncertain_gpu_hours,
        case when coalesce(observed_days.is_observed, false) then coalesce(observed.node_days, 0) end
            as observed_nodes
    from keys
    left join declared
        on
            keys.usage_date = declared.usage_date
            and keys.provider = declared.provider
            and keys.region = declared.region
            and keys.instance_type = declared.instance_type
            and keys.purchase_class = declared.purchase_class
    left join observed
        on
            keys.usage_date = observed.usage_date
            and keys.provider = observed.provider
            and keys.region = observed.region
            and keys.instance_type = observed.instance_type
            and keys.purchase_class = observed.purchase_class
    left join observed_days
        on
            keys.usage_date = observed_days.usage_date
            and keys.provider = observed_days.provider
            and keys.region = observed_days.region

),

-- Nodes that do not say how they are bought may be any of what the ledger declares of their type.
with_unknown as (

    select
        *,
        sum(case when purchase_class = 'unknown' then observed_gpu_hours else 0 end) over (
            partition by usage_date, provider, region, instance_type
        ) as unknown_gpu_hours,
        sum(observed_gpu_hours - declared_gpu_hours) over (
            partition by usage_date, provider, region, instance_type
        ) as type_difference_gpu_hours,
        sum(uncertain_gpu_hours) over (
            partition by usage_date, provider, region, instance_type
        ) as type_uncertain_gpu_hours,
        sum(declared_gpu_hours) over (
            partition by usage_date, provider, region, instance_type
        ) as type_declared_gpu_hours
    from compared

),

final as (

    select
        usage_date,
        provider,
        region,
        instance_type,
        gpu_model,
        purchase_class,
        declared_gpu_hours,
        declared_reserved_gpu_hours,
        observed_gpu_hours,
        observed_reserved_gpu_hours,
        cast(observed_gpu_hours - declared_gpu_hours as decimal(28, 6)) as difference_gpu_hours,
        uncertain_gpu_hours,
        observed_nodes,
        case
            when not is_observed then 'not_observed'
            when observed_gpu_hours is null or declared_gpu_hours is null then 'unknown_gpu_count'
            when
                abs(observed_gpu_hours - declared_gpu_hours)
                <= uncertain_gpu_hours + declared_gpu_hours * {{ fleet_tolerance() }} then 'agrees'
            when
                unknown_gpu_hours > 0
                and abs(type_difference_gpu_hours)
                <= type_uncertain_gpu_hours + type_declared_gpu_hours * {{ fleet_tolerance() }}
                then 'unknown_purchase_option'
            when declared_gpu_hours = 0 then 'not_in_ledger'
            when observed_gpu_hours = 0 then 'not_in_cluster'
            when observed_gpu_hours > declared_gpu_hours then 'more_in_cluster'
            else 'more_in_ledger'
        end as status
    from with_unknown

)

select * from final
