with deltas as (

    select * from {{ ref("int_counter_deltas") }}

),

requests as (

    select * from {{ ref("stg_litellm__requests") }}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}

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

-- A baseline has no hour of its own, only a scrape.
unrouted_deltas as (

    select
        deltas.source_name,
        deltas.model_name,
        deltas.usage_metric,
        deltas.delta,
        coalesce(deltas.usage_hour_at, deltas.scraped_at) as used_at
    from deltas
    left join routes
        on
            deltas.source_name = routes.source_name
            and deltas.model_name = routes.model
            and routes.model_group = ''
    inner join run on coalesce(deltas.usage_hour_at, deltas.scraped_at) < run.as_of_end_at
    where routes.deployment is null

),

unrouted_counts as (

    select
        source_name,
        model_name,
        cast(sum(case when usage_metric = 'successful_requests' then delta end) as bigint) as request_count,
        cast(sum(case when usage_metric = 'prompt_tokens' then delta end) as bigint) as prompt_tokens,
        cast(
            coalesce(
                sum(case when usage_metric = 'cached_tokens' then delta end),
                sum(case when usage_metric = 'prefix_cache_hits' then delta end)
            ) as bigint
        ) as cached_tokens,
        cast(sum(case when usage_metric = 'output_tokens' then delta end) as bigint) as output_tokens,
        min({{ day_of("used_at") }}) as first_usage_date,
        max({{ day_of("used_at") }}) as last_usage_date
    from unrouted_deltas
    group by source_name, model_name

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
        requests.source_name,
        requests.model_group,
        requests.model,
        '' as deployment,
        count(*) as request_count,
        cast(sum(requests.input_tokens) as bigint) as input_tokens,
        cast(sum(requests.cached_input_tokens) as bigint) as cached_input_tokens,
        cast(sum(requests.output_tokens) as bigint) as output_tokens,
        min(requests.usage_date) as first_usage_date,
        max(requests.usage_date) as last_usage_date
    from requests
    left join routes
        on
            requests.source_name = routes.source_name
            and requests.model_group = routes.model_group
            and requests.model = routes.model
    inner join run on requests.usage_date <= run.as_of_date
    where routes.deployment is null
    group by requests.source_name, requests.model_group, requests.model

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
