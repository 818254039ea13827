-- noqa: disable=CP02
{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "ChargePeriodStart", "window_of": "costs"},
) }}

-- Column names are those of FOCUS 1.2, in its spelling. The inference platform as a provider that charges
-- its tenants: a row per day, deployment, way of buying, commitment, tenant and class of tokens. What
-- served nobody is a row of its own (idle GPU time, unused commitments), so the rows sum to what the fleet
-- cost. Hours without a price are not here: no cost is known of them.
{%- set row_key = "usage_date, deployment, pricing_category, tenant, model, adapter, token_class" %}
{%- set part_key = "usage_date, deployment, pricing_category, commitment_id, pricing_model" %}

with fleet_costs as (

    select * from {{ ref("int_fleet_costs__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

tenant_costs as (

    select * from {{ ref("int_tenant_costs__daily") }}
    {{ in_costs_window("usage_date") }}

),

token_costs as (

    select * from {{ ref("int_token_costs__daily") }}
    where cost_usd is not null
    {{ in_costs_window("usage_date", keyword="and") }}

),

commitments as (

    select * from {{ ref("int_commitments__hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

-- How a deployment's day was paid for. The hours of a category without any price are left out, as in token
-- costs.
priced_hours as (

    select
        *,
        min(case when cost_usd is null then 0 else 1 end) over (
            partition by deployment, pricing_category, hour_start_at
        ) = 1 as is_hour_priced
    from fleet_costs

),

parts as (

    select
        {{ day_of("hour_start_at") }} as usage_date,
        deployment,
        pricing_category,
        coalesce(commitment_id, '') as commitment_id,
        pricing_model,
        max(provider) as provider,
        max(region) as region,
        max(instance_type) as instance_type,
        max(gpu_model) as gpu_model,
        sum(gpu_hours) as gpu_hours,
        sum(cost_usd) as cost_usd,
        case when count(*) = count(on_demand_equivalent_cost_usd) then sum(on_demand_equivalent_cost_usd) end
            as on_demand_equivalent_cost_usd
    from priced_hours
    where is_hour_priced
    group by
        {{ day_of("hour_start_at") }},
        deployment,
        pricing_category,
        coalesce(commitment_id, ''),
        pricing_model

),

served as (

    select
        usage_date,
        deployment,
        pricing_category,
        tenant,
        model,
        adapter,
        token_class,
        max(team) as team,
        max(cost_center) as cost_center,
        sum(tokens) as tokens,
        sum(coalesce(active_cost_usd, 0)) as cost_usd
    from tenant_costs
    where token_class <> 'none'
    group by usage_date, deployment, pricing_category, tenant, model, adapter, token_class

),

served_daily as (

    select
        usage_date,
        deployment,
        pricing_category,
        sum(cost_usd) as cost_usd
    from served
    group by usage_date, deployment, pricing_category

),

-- What served nobody: start-up as far as it is known, and the rest.
unserved as (

    select
        token_costs.usage_date,
        token_costs.deployment,
        token_costs.pricing_category,
        token_costs.model,
        coalesce(token_costs.start_up_cost_usd, 0) as start_up_cost_usd,
        token_costs.cost_usd - coalesce(served_daily.cost_usd, 0) - coalesce(token_costs.start_up_cost_usd, 0)
            as idle_cost_usd
    from token_costs
    left join served_daily
        on
            token_costs.usage_date = served_daily.usage_date
            and token_costs.deployment = served_daily.deployment
            and token_costs.pricing_category = served_daily.pricing_category

),

charges as (

    select
        usage_date,
        deployment,
        pricing_category,
        tenant,
        model,
        adapter,
        token_class,
        team,
        cost_center,
        tokens,
        cost_usd
    from served
    where cost_usd > 0 or tokens > 0

    {%- for class in ["start_up", "idle"] %}

        union all

        select
            usage_date,
            deployment,
            pricing_category,
            '' as tenant,
            model,
            '' as adapter,
            '{{ class }}' as token_class,
            cast(null as {{ dbt.type_string() }}) as team,
            cast(null as {{ dbt.type_string() }}) as cost_center,
            cast(null as bigint) as tokens,
            {{ class }}_cost_usd as cost_usd
        from unserved
        where {{ class }}_cost_usd <> 0
    {%- endfor %}

),

-- In proportion to what each cost; where nothing of the day cost anything, to its hours.
weighted_parts as (

    select
        *,
        case
            when sum(cost_usd) over (partition by usage_date, deployment, pricing_category) > 0 then cost_usd
            else cast(gpu_hours as decimal(38, 10))
        end as part_weight
    from parts

),

-- Multiplies rows: a charge is paid by each commitment that paid for the deployment's day, in proportion.
paid as (

    select
        charges.*,
        parts.commitment_id,
        parts.pricing_model,
        parts.provider,
        parts.region,
        parts.instance_type,
        parts.gpu_model,
        parts.gpu_hours as part_gpu_hours,
        parts.part_weight,
        {{ usd_rate("parts.cost_usd", "parts.gpu_hours") }} as effective_rate,
        coalesce(
            {{ usd_rate("parts.on_demand_equivalent_cost_usd", "parts.gpu_hours") }},
            {{ usd_rate("parts.cost_usd", "parts.gpu_hours") }}
        ) as on_demand_rate
    from charges
    inner join weighted_parts as parts
        on
            charges.usage_date = parts.usage_date
            and charges.deployment = parts.deployment
            and charges.pricing_category = parts.pricing_category

),

shared as (

    select
        *,
        cast(
            {{ share_of(
                "cost_usd", "part_weight", row_key, "commitment_id, pricing_model", scale=10, weight_scale=10
            ) }} as decimal(38, 10)
        ) as row_cost_usd,
        cast(
            {{ share_of("tokens", "part_weight", row_key, "commitment_id, pricing_model", weight_scale=10) }}
            as decimal(28, 2)
        ) as row_tokens
    from paid

),

-- Hours follow the money; of what cost nothing, the money beside it, and at last the tokens.
hours_weighted as (

    select
        *,
        case
            when sum(row_cost_usd) over (partition by {{ part_key }}) > 0 then row_cost_usd
            when sum(cost_usd) over (partition by {{ part_key }}) > 0 then cost_usd
            else cast(tokens as decimal(38, 10))
        end as hours_weight
    from shared

),

measured as (

    select
        *,
        cast(
            {{ share_of(
                "part_gpu_hours", "hours_weight", part_key, "token_class, tenant, model, adapter", 6, weight_scale=10
            ) }}
            as decimal(18, 6)
        ) as row_gpu_hours
    from hours_weighted

),

fleet_rows as (

    select
        usage_date,
        deployment,
        model,
        provider,
        region,
        instance_type,
        gpu_model,
        pricing_category,
        pricing_model,
        nullif(commitment_id, '') as commitment_id,
        case when commitment_id <> '' then 'Used' end as commitment_status,
        nullif(nullif(tenant, ''), 'unattributed') as tenant,
        team,
        cost_center,
        nullif(adapter, '') as adapter,
        token_class,
        row_gpu_hours as gpu_hours,
        case
            when token_class in ('start_up', 'idle') then cast(row_gpu_hours as decimal(28, 2))
            else row_tokens
        end as consumed_quantity,
        case when token_class in ('start_up', 'idle') then 'GPU-Hours' else 'Tokens' end as consumed_unit,
        row_cost_usd as cost_usd,
        -- A spot price is nobody's discount; what a commitment saves is measured against on demand.
        case when pricing_category = 'Dynamic' then effective_rate else on_demand_rate end as list_rate,
        case when pricing_category = 'Committed' then on_demand_rate else effective_rate end
            as contracted_rate
    from measured

),

unused_rows as (

    select
        {{ day_of("hour_start_at") }} as usage_date,
        cast(null as {{ dbt.type_string() }}) as deployment,
        cast(null as {{ dbt.type_string() }}) as model,
        max(provider) as provider,
        max(region) as region,
        max(instance_type) as instance_type,
        max(gpu_model) as gpu_model,
        'Committed' as pricing_category,
        -- A plan of so much an hour is of any hardware.
        case when max(gpu_model) = 'any' then 'savings_plan' else 'reserved' end as pricing_model,
        commitment_id,
        'Unused' as commitment_status,
        cast(null as {{ dbt.type_string() }}) as tenant,
        cast(null as {{ dbt.type_string() }}) as team,
        cast(null as {{ dbt.type_string() }}) as cost_center,
        cast(null as {{ dbt.type_string() }}) as adapter,
        'unused' as token_class,
        cast(coalesce(sum(unused_gpu_hours), 0) as decimal(18, 6)) as gpu_hours,
        cast(null as decimal(28, 2)) as consumed_quantity,
        cast(null as {{ dbt.type_string() }}) as consumed_unit,
        cast(sum(unused_cost_usd) as decimal(38, 10)) as cost_usd,
        coalesce({{ usd_rate("sum(unused_cost_usd)", "sum(unused_gpu_hours)") }}, 0) as list_rate,
        coalesce({{ usd_rate("sum(unused_cost_usd)", "sum(unused_gpu_hours)") }}, 0) as contracted_rate
    from commitments
    where unused_cost_usd <> 0
    group by {{ day_of("hour_start_at") }}, commitment_id

),

rows_together as (

    select * from fleet_rows

    union all

    select * from unused_rows

),

named as (

    select
        *,
        case token_class
            when 'input' then 'Input Tokens'
            when 'cached_input' then 'Cached Input Tokens'
            when 'output' then 'Output Tokens'
            when 'start_up' then 'Start-Up GPU Time'
            when 'idle' then 'Idle GPU Time'
            else 'Unused Commitment'
        end as meter,
        coalesce(model, instance_type, commitment_id) || '/' || token_class as sku
    from rows_together

),

final as (

    select
        cost_usd as BilledCost,
        'inference-platform' as BillingAccountId,
        'Inference platform' as BillingAccountName,
        'USD' as BillingCurrency,
        {{ start_of_day(first_day_of_month("usage_date")) }} as BillingPeriodStart,
        {{ start_of_day(next_month("usage_date")) }} as BillingPeriodEnd,
        'Usage' as ChargeCategory,
        cast(null as {{ dbt.type_string() }}) as ChargeClass,
        case token_class
            when 'start_up' then 'GPU time in which replicas of ' || deployment || ' started'
            when 'idle' then 'GPU time of ' || deployment || ' that served no token'
            when 'unused' then 'Unused part of commitment ' || commitment_id
            else meter || ' of ' || model || ' served by ' || deployment
        end as ChargeDescription,
        'Usage-Based' as ChargeFrequency,
        {{ start_of_day("usage_date") }} as ChargePeriodStart,
        {{ start_of_day(plus_days("usage_date", 1)) }} as ChargePeriodEnd,
        case
            when commitment_id is null then null
            when pricing_model = 'savings_plan' then 'Spend'
            else 'Usage'
        end as CommitmentDiscountCategory,
        commitment_id as CommitmentDiscountId,
        commitment_id as CommitmentDiscountName,
        case when commitment_id is not null then gpu_hours end as CommitmentDiscountQuantity,
        commitment_status as CommitmentDiscountStatus,
        case
            when commitment_id is null then null
            when pricing_model = 'savings_plan' then 'Savings Plan'
            else 'Reservation'
        end as CommitmentDiscountType,
        case when commitment_id is not null then 'GPU-Hours' end as CommitmentDiscountUnit,
        consumed_quantity as ConsumedQuantity,
        consumed_unit as ConsumedUnit,
        {{ usd_amount("gpu_hours", "contracted_rate") }} as ContractedCost,
        contracted_rate as ContractedUnitPrice,
        cost_usd as EffectiveCost,
        -- Each month is one statement of charges.
        'inference-platform/' || {{ year_and_month("usage_date") }} as InvoiceId,
        'Inference platform' as InvoiceIssuerName,
        {{ usd_amount("gpu_hours", "list_rate") }} as ListCost,
        list_rate as ListUnitPrice,
        pricing_category as PricingCategory,
        'USD' as PricingCurrency,
        contracted_rate as PricingCurrencyContractedUnitPrice,
        cost_usd as PricingCurrencyEffectiveCost,
        list_rate as PricingCurrencyListUnitPrice,
        gpu_hours as PricingQuantity,
        'GPU-Hours' as PricingUnit,
        'Inference platform' as ProviderName,
        'Inference platform' as PublisherName,
        region as RegionId,
        region as RegionName,
        deployment as ResourceId,
        cast(null as {{ dbt.type_string() }}) as ResourceName,
        case when deployment is not null then 'LLM deployment' end as ResourceType,
        'AI and Machine Learning' as ServiceCategory,
        'Self-hosted inference' as ServiceName,
        'Generative AI' as ServiceSubcategory,
        sku as SkuId,
        meter as SkuMeter,
        {{ json_object_of({"InstanceType": "instance_type", "x_GpuModel": "gpu_model"}) }} as SkuPriceDetails,
        sku || '/' || provider || '/' || coalesce(region, 'any') || '/' || coalesce(instance_type, 'any')
        || '/' || pricing_model as SkuPriceId,
        tenant as SubAccountId,
        tenant as SubAccountName,
        case when tenant is not null then 'Tenant' end as SubAccountType,
        case
            when team is not null or cost_center is not null
                then {{ json_object_of({"team": "team", "cost_center": "cost_center"}) }}
        end as Tags,
        provider as x_CloudProvider,
        gpu_model as x_GpuModel,
        model as x_Model,
        adapter as x_Adapter,
        token_class as x_TokenClass
    from named

)

select * from final
