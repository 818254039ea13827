{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "costs"},
) }}

{%- set classes = ["input", "cached_input", "output"] %}
{%- set row_key = "usage_date, deployment, pricing_category, token_class" %}
-- Who bears a deployment's day, by way of buying and class of tokens: the class's cost in proportion to the
-- tenant's tokens of it. What no tenant's tokens explain (a day without tokens, hours without a usage
-- source) has the token class 'none' and is the owner's of the deployment, if the ledger names one, else
-- nobody's: tenant 'unattributed'.
with token_costs as (

    select * from {{ ref("int_token_costs__daily") }}
    where cost_usd is not null
    {{ in_costs_window("usage_date", keyword="and") }}

),

tenant_usage as (

    select
        deployment,
        {{ day_of("usage_hour_at") }} as usage_date,
        tenant,
        model,
        adapter,
        max(team) as team,
        max(cost_center) as cost_center,
        {%- for class in classes %}
            sum({{ class }}_tokens) as {{ class }}_tokens,
        {%- endfor %}
        sum(request_count) as request_count
    from {{ ref("int_tenant_usage__hourly") }}
    {{ in_costs_window("usage_hour_at") }}
    group by deployment, {{ day_of("usage_hour_at") }}, tenant, model, adapter

),

owners as (

    select * from {{ ref("stg_ledger__tenants") }}
    where match_on = 'deployment'

),

class_costs as (

    {%- for class in classes %}

        select
            usage_date,
            deployment,
            pricing_category,
            '{{ class }}' as token_class,
            {{ class }}_cost_usd as cost_usd,
            {{ class }}_active_cost_usd as active_cost_usd,
            priced_{{ class }}_tokens as tokens
        from token_costs
        where {{ class }}_cost_usd is not null

        union all
    {%- endfor %}

    select
        usage_date,
        deployment,
        pricing_category,
        'none' as token_class,
        cost_usd,
        active_cost_usd,
        cast(null as bigint) as tokens
    from token_costs
    where split_basis is null

),

class_usage as (

    {%- for class in classes %}

        select
            deployment,
            usage_date,
            '{{ class }}' as token_class,
            tenant,
            model,
            adapter,
            team,
            cost_center,
            {{ class }}_tokens as tokens
        from tenant_usage
        where {{ class }}_tokens > 0
        {%- if not loop.last %}

            union all
        {%- endif %}
    {%- endfor %}

),

-- Multiplies rows on purpose: a class's cost has one row per tenant with tokens of it, or one of the owner's.
borne as (

    select
        class_costs.usage_date,
        class_costs.deployment,
        class_costs.pricing_category,
        class_costs.token_class,
        coalesce(class_usage.tenant, owners.tenant, 'unattributed') as tenant,
        coalesce(class_usage.model, token_costs.model) as model,
        coalesce(class_usage.adapter, '') as adapter,
        case when class_usage.tenant is null then owners.team else class_usage.team end as team,
        case when class_usage.tenant is null then owners.cost_center else class_usage.cost_center end
            as cost_center,
        coalesce(class_usage.tokens, 1) as weight,
        class_costs.tokens as class_tokens,
        class_costs.cost_usd as class_cost_usd,
        class_costs.active_cost_usd as class_active_cost_usd
    from class_costs
    inner join token_costs
        on
            class_costs.usage_date = token_costs.usage_date
            and class_costs.deployment = token_costs.deployment
            and class_costs.pricing_category = token_costs.pricing_category
    left join class_usage
        on
            class_costs.usage_date = class_usage.usage_date
            and class_costs.deployment = class_usage.deployment
            and class_costs.token_class = class_usage.token_class
    left join owners on class_costs.deployment = owners.pattern

),

final as (

    select
        usage_date,
        deployment,
        pricing_category,
        token_class,
        tenant,
        model,
        adapter,
        team,
        cost_center,
        {%- set spread = {
            "weight": "weight",
            "partition_by": row_key,
            "order_by": "tenant, model, adapter",
        } %}
        cast({{ share_of("class_tokens", **spread) }} as bigint)
            as tokens,
        cast({{ share_of("class_cost_usd", scale=10, **spread) }} as decimal(38, 10))
            as cost_usd,
        cast({{ share_of("class_active_cost_usd", scale=10, **spread) }} as decimal(38, 10))
            as active_cost_usd
    from borne

)

select * from final
