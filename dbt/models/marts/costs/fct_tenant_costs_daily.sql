{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "costs"},
) }}

{%- set classes = ["input", "cached_input", "output"] %}
{%- set categories = ["Standard", "Dynamic", "Committed"] %}
with tenant_costs as (

    select * from {{ ref("int_tenant_costs__daily") }}
    {{ in_costs_window("usage_date") }}

),

deployments as (

    select * from {{ ref("int_deployments__described") }}

),

requests as (

    select
        deployment,
        {{ day_of("usage_hour_at") }} as usage_date,
        tenant,
        model,
        adapter,
        sum(request_count) as request_count
    from {{ ref("int_tenant_usage__hourly") }}
    {{ in_costs_window("usage_hour_at") }}
    group by deployment, {{ day_of("usage_hour_at") }}, tenant, model, adapter

),

daily as (

    select
        usage_date,
        deployment,
        tenant,
        model,
        adapter,
        max(team) as team,
        max(cost_center) as cost_center,
        {%- for class in classes %}
            cast(sum(case when token_class = '{{ class }}' then tokens end) as bigint) as {{ class }}_tokens,
            cast(sum(case when token_class = '{{ class }}' then cost_usd end) as decimal(38, 10))
                as {{ class }}_cost_usd,
        {%- endfor %}
        cast(sum(tokens) as bigint) as total_tokens,
        cast(sum(cost_usd) as decimal(38, 10)) as cost_usd,
        cast(sum(active_cost_usd) as decimal(38, 10)) as active_cost_usd,
        {%- for category in categories %}
            cast(
                sum(case when pricing_category = '{{ category }}' then cost_usd else 0 end) as decimal(38, 10)
            ) as {{ category | lower }}_cost_usd{% if not loop.last %},{% endif %}
        {%- endfor %}
    from tenant_costs
    group by usage_date, deployment, tenant, model, adapter

),

final as (

    select
        daily.usage_date,
        daily.tenant,
        daily.team,
        daily.cost_center,
        daily.deployment,
        daily.model,
        daily.adapter,
        deployments.provider,
        deployments.region,
        deployments.gpu_model,
        daily.input_tokens,
        daily.cached_input_tokens,
        daily.output_tokens,
        daily.total_tokens,
        cast(requests.request_count as bigint) as request_count,
        daily.cost_usd,
        daily.active_cost_usd,
        cast(daily.cost_usd - daily.active_cost_usd as decimal(38, 10)) as idle_cost_usd,
        {%- for class in classes %}
            daily.{{ class }}_cost_usd,
        {%- endfor %}
        {%- for category in categories %}
            daily.{{ category | lower }}_cost_usd,
        {%- endfor %}
        {{ usd_per_million("daily.cost_usd", "daily.total_tokens") }} as cost_usd_per_million_total_tokens,
        {{ usd_unit_cost("daily.cost_usd", "requests.request_count") }} as cost_usd_per_request
    from daily
    inner join deployments on daily.deployment = deployments.deployment
    left join requests
        on
            daily.deployment = requests.deployment
            and daily.usage_date = requests.usage_date
            and daily.tenant = requests.tenant
            and daily.model = requests.model
            and daily.adapter = requests.adapter

)

select * from final
