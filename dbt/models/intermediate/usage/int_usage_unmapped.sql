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

fleet_hours as (

    select distinct
        deployment,
        hour_start_at
    from {{ ref("int_fleet__hourly") }}

),

unrouted_engine as (

    select
        'no_route' as reason,
        deltas.source_name,
        '' as model_group,
        deltas.model_name as model,
        '' as deployment,
        cast(sum(case when deltas.usage_metric = 'successful_requests' then deltas.delta end) as bigint)
            as request_count,
        cast(
            sum(
                case when deltas.usage_metric in ('prompt_tokens', 'output_tokens') then deltas.delta end
            ) as bigint
        ) as total_tokens,
        min({{ day_of("deltas.scraped_at") }}) as first_usage_date,
        max({{ day_of("deltas.scraped_at") }}) as last_usage_date
    from deltas
    left join routes
        on
            deltas.source_name = routes.source_name
            and deltas.model_name = routes.model
            and routes.model_group = ''
    where routes.deployment is null
    group by deltas.source_name, deltas.model_name

),

unrouted_requests as (

    select
        'no_route' as reason,
        requests.source_name,
        requests.model_group,
        requests.model,
        '' as deployment,
        count(*) as request_count,
        cast(sum(requests.prompt_tokens + requests.output_tokens) as bigint) as total_tokens,
        min(requests.usage_date) as first_usage_date,
        max(requests.usage_date) as last_usage_date
    from requests
    left join routes
        on
            requests.source_name = routes.source_name
            and requests.model_group = routes.model_group
            and requests.model = routes.model
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
        cast(sum(usage_hours.total_tokens) as bigint) as total_tokens,
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

final as (

    select * from unrouted_engine

    union all

    select * from unrouted_requests

    union all

    select * from outside_fleet

)

select * from final
