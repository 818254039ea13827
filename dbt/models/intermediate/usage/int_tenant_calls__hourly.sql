{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at", "window_look_back_hours": usage_days_look_back_hours()},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
-- Which role tells of tenants is decided by day: the one that names any, a gateway before a client before the
-- engine. The roles tell of the same calls, so only one of them gives shares.
with request_usage as (

    select * from {{ ref("int_request_usage__hourly") }}
    {%- if is_incremental() %}
        where usage_hour_at >= {{ window_start_at(usage_days_look_back_hours()) }}
    {%- endif %}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}
    where deployment is not null

),

roles as (

    select * from {{ ref("usage_roles") }}

),

tenants as (

    select * from {{ ref("int_tenants__resolved") }}

),

models as (

    select * from {{ ref("int_usage_models__resolved") }}

),

named as (

    select
        routes.deployment,
        routes.role,
        roles.usage_basis,
        roles.tenant_rank,
        models.model,
        coalesce(models.adapter, request_usage.adapter) as adapter,
        -- The name of what is nobody's is no tenant's.
        case when tenants.tenant = 'unattributed' then 'unattributed (stated)' else tenants.tenant end
            as tenant,
        tenants.team,
        tenants.cost_center,
        request_usage.usage_hour_at,
        {{ day_of("request_usage.usage_hour_at") }} as usage_date,
        request_usage.request_count,
        request_usage.missing_token_count,
        request_usage.prompt_tokens,
        request_usage.input_tokens,
        request_usage.cached_input_tokens,
        request_usage.output_tokens,
        request_usage.reasoning_tokens,
        request_usage.cache_write_tokens
    from request_usage
    inner join routes
        on
            request_usage.source_name = routes.source_name
            and request_usage.model_group = routes.model_group
            and request_usage.model = routes.model
    inner join roles on routes.role = roles.role
    inner join tenants
        on
            request_usage.source_name = tenants.source_name
            and request_usage.tenant = tenants.tenant_raw
            and request_usage.model_group = tenants.model_group
    inner join models
        on
            request_usage.source_name = models.source_name
            and request_usage.model_group = models.model_group
            and request_usage.model = models.model_raw
    where request_usage.call_count > 0

),

ranked_roles as (

    select
        deployment,
        usage_date,
        role,
        row_number() over (
            partition by deployment, usage_date
            order by max(case when tenant <> 'unknown' then 1 else 0 end) desc, tenant_rank
        ) as role_rank
    from named
    group by deployment, usage_date, role, tenant_rank

),

final as (

    select
        named.deployment,
        named.usage_hour_at,
        named.usage_date,
        named.model,
        named.adapter,
        named.tenant,
        named.usage_basis,
        max(named.team) as team,
        max(named.cost_center) as cost_center,
        cast(sum(named.request_count) as bigint) as request_count,
        cast(sum(named.missing_token_count) as bigint) as missing_token_count,
        {%- for tokens in ["prompt", "input", "cached_input", "output", "reasoning", "cache_write"] %}
            cast(sum(named.{{ tokens }}_tokens) as bigint)
                as {{ tokens }}_tokens{% if not loop.last %},{% endif %}
        {%- endfor %}
    from named
    inner join ranked_roles
        on
            named.deployment = ranked_roles.deployment
            and named.usage_date = ranked_roles.usage_date
            and named.role = ranked_roles.role
            and ranked_roles.role_rank = 1
    group by
        named.deployment,
        named.usage_hour_at,
        named.usage_date,
        named.model,
        named.adapter,
        named.tenant,
        named.usage_basis

)

select * from final
