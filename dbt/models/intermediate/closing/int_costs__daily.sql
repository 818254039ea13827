{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "costs"},
) }}

-- What this run says of each day: the cost of deployments by way of buying, and of what commitments left unused.
with costs as (

    select * from {{ ref("fct_inference_costs_hourly") }}
    {{ in_costs_window("usage_date") }}

),

commitments as (

    select * from {{ ref("int_commitments__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

deployments_daily as (

    select
        usage_date,
        'deployment' as scope,
        deployment as name,
        pricing_category,
        max(provider) as provider,
        sum(gpu_hours) as gpu_hours,
        case when count(*) = count(cost_usd) then sum(cost_usd) end as cost_usd,
        case when min(rate_basis) = max(rate_basis) then min(rate_basis) else 'mixed' end as rate_basis,
        sum(total_tokens) as total_tokens
    from costs
    group by usage_date, deployment, pricing_category

),

unused_daily as (

    select
        {{ day_of("hour_start_at") }} as usage_date,
        'unused_commitment' as scope,
        commitment_id as name,
        'Committed' as pricing_category,
        max(provider) as provider,
        sum(unused_gpu_hours) as gpu_hours,
        case when count(*) = count(unused_cost_usd) then sum(unused_cost_usd) end as cost_usd,
        case when min(rate_basis) = max(rate_basis) then min(rate_basis) else 'mixed' end as rate_basis,
        cast(null as bigint) as total_tokens
    from commitments
    group by {{ day_of("hour_start_at") }}, commitment_id

),

daily as (

    select * from deployments_daily

    union all

    select * from unused_daily

),

final as (

    select
        daily.usage_date,
        daily.scope,
        daily.name,
        daily.pricing_category,
        daily.provider,
        cast(daily.gpu_hours as decimal(18, 6)) as gpu_hours,
        cast(daily.cost_usd as decimal(38, 10)) as cost_usd,
        daily.rate_basis,
        cast(daily.total_tokens as bigint) as total_tokens
    from daily
    inner join run on daily.usage_date <= run.as_of_date

)

select * from final
