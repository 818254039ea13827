{{ config(tags=["after_drift"]) }}

with drift as (

    select * from {{ ref("fct_cost_drift_daily") }}
    where is_drift

),

-- Where most of it comes from.
drivers as (

    select * from {{ ref("fct_cost_drivers_daily") }}
    where driver_rank = 1

),

spend as (

    select * from {{ ref("int_spend__last_day") }}

),

-- A faulty feed makes drift of its own: of the provider's series, and of the deployments and models that it
-- prices.
faults as (

    select
        spend.deployment,
        spend.provider,
        min(int_feed_faults.source) as source
    from {{ ref("int_feed_faults") }} as int_feed_faults
    inner join spend on int_feed_faults.provider = spend.provider
    group by spend.deployment, spend.provider

),

series_faults as (

    select
        series,
        min(source) as source
    from (
        select
            deployment as series,
            source
        from faults
        union all
        select
            provider as series,
            source
        from faults
    ) as named
    group by series

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

final as (

    select
        'cost_drift' as kind,
        'cost_drift|' || drift.measure as rule_id,
        drift.series as subject,
        drift.series_kind as segment,
        case when drift.change_ratio > 0 then 'up' else 'down' end as direction,
        coalesce(drift.top_cause, '') as cause,
        -- One cause moves the total, the model and the deployment: they are told by one of them.
        'drift|' || coalesce(drivers.deployment, drift.series) || '|' || coalesce(drift.top_cause, '')
            as group_key,
        coalesce(series_faults.source, '') as feed,
        false as is_feed_fault,
        cast(abs(drift.impact_usd_per_day) as decimal(38, 10)) as impact_usd_per_day,
        cast(null as decimal(38, 10)) as exposed_usd_per_day,
        cast(null as decimal(18, 4)) as blocked_hours,
        cast(1 as bigint) as finding_count,
        {{ start_of_day("drift.since_date") }} as first_seen_at,
        run.as_of_end_at as last_seen_at,
        'Cost per ' || case drift.measure when 'cost_usd_per_request' then 'request' else 'million tokens' end
        || ' of '
        || {{ short_name("drift.series") }}
        || case when drift.change_ratio > 0 then ' rose by ' else ' fell by ' end
        || cast(cast(abs(drift.change_ratio) * 100 as decimal(18, 1)) as {{ dbt.type_string() }})
        || ' % to '
        || {{ plain_number("cast(drift.actual_usd_per_unit as decimal(18, 4))") }}
        || ' USD (expected '
        || {{ plain_number("cast(drift.lower_usd_per_unit as decimal(18, 4))") }}
        || ' to '
        || {{ plain_number("cast(drift.upper_usd_per_unit as decimal(18, 4))") }}
        || ')' as headline,
        'USD per day by factor:'
        || {{ drift_factor("drift.price_effect_usd", "price") }}
        || {{ drift_factor("drift.purchase_mix_effect_usd", "purchase mix") }}
        || {{ drift_factor("drift.gpu_mix_effect_usd", "GPU mix") }}
        || {{ drift_factor("drift.utilization_effect_usd", "utilization") }}
        || {{ drift_factor("drift.efficiency_effect_usd", "efficiency") }}
        || {{ drift_factor("drift.cache_effect_usd", "cache") }}
        || {{ drift_factor("drift.model_mix_effect_usd", "model mix") }}
        || {{ drift_factor("drift.request_size_effect_usd", "request size") }}
        || {{ drift_factor("drift.new_stopped_effect_usd", "new and stopped") }}
        || ' together '
        || {{ signed_number("cast(drift.impact_usd_per_day as decimal(28, 2))") }}
        || coalesce('; most of it in ' || {{ short_name("drivers.deployment") }}, '')
        || '.' as explanation,
        'complete to ' || cast(drift.usage_date as {{ dbt.type_string() }}) || ' 23:59 UTC' as data_state,
        'from fct_cost_drivers_daily where usage_date = '''
        || cast(drift.usage_date as {{ dbt.type_string() }}) || ''' and '
        || {{ sql_condition("series", "drift.series") }} || ' and measure = ''' || drift.measure || ''''
            as evidence_sql
    from drift
    inner join run on drift.usage_date = run.as_of_date
    left join drivers
        on
            drift.usage_date = drivers.usage_date
            and drift.series_kind = drivers.series_kind
            and drift.series = drivers.series
            and drift.measure = drivers.measure
    left join series_faults on drift.series = series_faults.series

)

select * from final
