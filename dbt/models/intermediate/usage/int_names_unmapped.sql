-- Names that the ledger's sections models and tenants do not know; only where it has the section.
with model_names as (

    select * from {{ ref("stg_ledger__model_names") }}

),

ledger_tenants as (

    select * from {{ ref("stg_ledger__tenants") }}

),

models as (

    select * from {{ ref("int_usage_models__resolved") }}
    where model_basis in ('deployment', 'none')

),

tenants as (

    select * from {{ ref("int_tenants__resolved") }}
    where tenant_basis = 'none'

),

increases as (

    select * from {{ ref("int_counter_increases__hourly") }}

),

request_usage as (

    select * from {{ ref("int_request_usage__hourly") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

named as (

    select
        'model' as kind,
        increases.source_name,
        increases.model_name as name,
        increases.usage_hour_at,
        increases.successful_requests as request_count,
        increases.prompt_tokens + increases.output_tokens as total_tokens
    from increases
    inner join models
        on
            increases.source_name = models.source_name
            and increases.model_name = models.model_raw
            and models.model_group = ''
    where (select count(*) from model_names) > 0

    union all

    select
        'model' as kind,
        request_usage.source_name,
        coalesce(nullif(request_usage.model, ''), request_usage.model_group) as name,
        request_usage.usage_hour_at,
        request_usage.call_count as request_count,
        request_usage.input_tokens
        + coalesce(request_usage.cached_input_tokens, 0)
        + request_usage.output_tokens as total_tokens
    from request_usage
    inner join models
        on
            request_usage.source_name = models.source_name
            and request_usage.model_group = models.model_group
            and request_usage.model = models.model_raw
    where (select count(*) from model_names) > 0

    union all

    select
        'tenant' as kind,
        request_usage.source_name,
        request_usage.tenant as name,
        request_usage.usage_hour_at,
        request_usage.call_count as request_count,
        request_usage.input_tokens
        + coalesce(request_usage.cached_input_tokens, 0)
        + request_usage.output_tokens as total_tokens
    from request_usage
    inner join tenants
        on
            request_usage.source_name = tenants.source_name
            and request_usage.tenant = tenants.tenant_raw
            and request_usage.model_group = tenants.model_group
    where (select count(*) from ledger_tenants) > 0

),

final as (

    select
        named.kind,
        named.source_name,
        named.name,
        min({{ day_of("named.usage_hour_at") }}) as first_usage_date,
        max({{ day_of("named.usage_hour_at") }}) as last_usage_date,
        cast(sum(named.request_count) as bigint) as request_count,
        cast(sum(named.total_tokens) as bigint) as total_tokens
    from named
    inner join run on named.usage_hour_at < run.as_of_end_at
    group by named.kind, named.source_name, named.name

)

select * from final
