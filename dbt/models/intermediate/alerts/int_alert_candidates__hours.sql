with spend as (

    select * from {{ ref("int_spend__last_day") }}

),

-- A provider may have several sources; one that is faulty explains why its prices are missing.
faults as (

    select
        provider,
        min(source) as source
    from {{ ref("int_feed_faults") }}
    where kind = 'price'
    group by provider

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

incomplete as (

    select
        *,
        case when priced_hour_count < hour_count then 'unpriced_gpu_hours' else 'usage_missing' end as kind
    from spend
    where priced_hour_count < hour_count or used_hour_count < hour_count

),

final as (

    select
        incomplete.kind,
        incomplete.kind as rule_id,
        incomplete.deployment as subject,
        incomplete.pricing_category as segment,
        '' as direction,
        coalesce(incomplete.null_reason, '') as cause,
        incomplete.kind || '|' || incomplete.provider || '|' || incomplete.instance_type as group_key,
        case incomplete.kind when 'unpriced_gpu_hours' then coalesce(faults.source, '') else '' end as feed,
        false as is_feed_fault,
        -- What the hours would cost on demand, where that is known; without token counts no money is wrong.
        cast(
            case incomplete.kind
                when 'unpriced_gpu_hours' then incomplete.on_demand_equivalent_cost_usd
                else 0
            end
            as decimal(38, 10)
        ) as impact_usd_per_day,
        cast(
            case when incomplete.kind = 'unpriced_gpu_hours' then incomplete.on_demand_equivalent_cost_usd end
            as decimal(38, 10)
        ) as exposed_usd_per_day,
        cast(null as decimal(18, 4)) as blocked_hours,
        cast(1 as bigint) as finding_count,
        {{ start_of_day("run.as_of_date") }} as first_seen_at,
        run.as_of_end_at as last_seen_at,
        case incomplete.kind
            when 'unpriced_gpu_hours'
                then
                    coalesce({{ plain_number("incomplete.gpu_hours") }}, 'An unknown number of')
                    || ' GPU-hours of ' || {{ short_name("incomplete.deployment") }} || ' without a price'
            else 'No token counts for GPU-hours of ' || {{ short_name("incomplete.deployment") }}
        end as headline,
        cast(
            case incomplete.kind
                when 'unpriced_gpu_hours' then incomplete.hour_count - incomplete.priced_hour_count
                else incomplete.hour_count - incomplete.used_hour_count
            end as varchar
        ) || ' of ' || cast(incomplete.hour_count as varchar) || ' hours of '
        || cast(run.as_of_date as varchar)
        || coalesce(': ' || replace(incomplete.null_reason, '_', ' '), '') || '.' as explanation,
        'complete to ' || cast(run.as_of_date as varchar) || ' 23:59 UTC' as data_state,
        'from fct_inference_costs_hourly where usage_date = ''' || cast(run.as_of_date as varchar)
        || ''' and ' || {{ sql_condition("deployment", "incomplete.deployment") }}
        || ' and null_reason is not null' as evidence_sql
    from incomplete
    cross join run
    left join faults on incomplete.provider = faults.provider

)

select * from final
