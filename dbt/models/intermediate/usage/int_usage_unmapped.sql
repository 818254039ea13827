with increases as (

    select * from {{ ref("int_counter_increases__hourly") }}

),

request_usage as (

    select * from {{ ref("int_request_usage__hourly") }}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}

),

log_usage as (

    select * from {{ ref("int_engine_log_usage__hourly") }}

),

usage_hours as (

    select * from {{ ref("int_usage__hourly") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

fleet_hours as (

    select distinct
        deployment,
        hour_start_at
    from {{ ref("int_fleet__hourly") }}

),

unrouted_counts as (

    select
        increases.source_name,
        increases.model_name,
        cast(sum(increases.successful_requests) as bigint) as request_count,
        cast(sum(increases.prompt_tokens) as bigint) as prompt_tokens,
        cast(
            coalesce(sum(increases.cached_tokens), sum(increases.prefix_cache_hits)) as bigint
        ) as cached_tokens,
        cast(sum(increases.output_tokens) as bigint) as output_tokens,
        min({{ day_of("increases.usage_hour_at") }}) as first_usage_date,
        max({{ day_of("increases.usage_hour_at") }}) as last_usage_date
    from increases
    left join routes
        on
            increases.source_name = routes.source_name
            and increases.model_name = routes.model
            and routes.model_group = ''
    inner join run on increases.usage_hour_at < run.as_of_end_at
    where routes.deployment is null
    group by increases.source_name, increases.model_name

),

unrouted_engine as (

    select
        'no_route' as reason,
        source_name,
        '' as model_group,
        model_name as model,
        '' as deployment,
        request_count,
        prompt_tokens - least(coalesce(cached_tokens, 0), prompt_tokens) as input_tokens,
        case
            when prompt_tokens is null then null
            when cached_tokens > prompt_tokens then prompt_tokens
            else cached_tokens
        end as cached_input_tokens,
        output_tokens,
        first_usage_date,
        last_usage_date
    from unrouted_counts

),

unrouted_requests as (

    select
        'no_route' as reason,
        request_usage.source_name,
        request_usage.model_group,
        request_usage.model,
        '' as deployment,
        cast(sum(request_usage.call_count) as bigint) as request_count,
        cast(sum(request_usage.input_tokens) as bigint) as input_tokens,
        cast(sum(request_usage.cached_input_tokens) as bigint) as cached_input_tokens,
        cast(sum(request_usage.output_tokens) as bigint) as output_tokens,
        min({{ day_of("request_usage.usage_hour_at") }}) as first_usage_date,
        max({{ day_of("request_usage.usage_hour_at") }}) as last_usage_date
    from request_usage
    left join routes
        on
            request_usage.source_name = routes.source_name
            and request_usage.model_group = routes.model_group
            and request_usage.model = routes.model
    inner join run on request_usage.usage_hour_at < run.as_of_end_at
    where routes.deployment is null
    group by request_usage.source_name, request_usage.model_group, request_usage.model

),

unrouted_logs as (

    select
        'no_route' as reason,
        log_usage.source_name,
        '' as model_group,
        log_usage.model_name as model,
        '' as deployment,
        cast(null as bigint) as request_count,
        case
            when count(*) = count(log_usage.estimated_prompt_tokens)
                then cast(sum(log_usage.estimated_prompt_tokens) as bigint)
        end as input_tokens,
        cast(null as bigint) as cached_input_tokens,
        cast(sum(log_usage.estimated_output_tokens) as bigint) as output_tokens,
        min({{ day_of("log_usage.usage_hour_at") }}) as first_usage_date,
        max({{ day_of("log_usage.usage_hour_at") }}) as last_usage_date
    from log_usage
    left join routes
        on
            log_usage.source_name = routes.source_name
            and log_usage.model_name = routes.model
            and routes.model_group = ''
    inner join run on log_usage.usage_hour_at < run.as_of_end_at
    where routes.deployment is null
    group by log_usage.source_name, log_usage.model_name

),

-- Tokens of a deployment at an hour for which the ledger lists no GPU of it: they cannot have a cost.
outside_fleet as (

    select
        'outside_fleet' as reason,
        '' as source_name,
        '' as model_group,
        '' as model,
        usage_hours.deployment,
        cast(sum(usage_hours.request_count) as bigint) as request_count,
        cast(sum(usage_hours.input_tokens) as bigint) as input_tokens,
        cast(sum(usage_hours.cached_input_tokens) as bigint) as cached_input_tokens,
        cast(sum(usage_hours.output_tokens) as bigint) as output_tokens,
        min({{ day_of("usage_hours.usage_hour_at") }}) as first_usage_date,
        max({{ day_of("usage_hours.usage_hour_at") }}) as last_usage_date
    from usage_hours
    left join fleet_hours
        on
            usage_hours.deployment = fleet_hours.deployment
            and usage_hours.usage_hour_at = fleet_hours.hour_start_at
    where fleet_hours.deployment is null
    group by usage_hours.deployment

),

listed as (

    select * from unrouted_engine

    union all

    select * from unrouted_requests

    union all

    select * from unrouted_logs

    union all

    select * from outside_fleet

),

final as (

    select
        reason,
        source_name,
        model_group,
        model,
        deployment,
        request_count,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        cast(input_tokens + coalesce(cached_input_tokens, 0) + output_tokens as bigint) as total_tokens,
        first_usage_date,
        last_usage_date
    from listed

)

select * from final
