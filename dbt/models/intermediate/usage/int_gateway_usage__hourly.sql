with requests as (

    select * from {{ ref("stg_litellm__requests") }}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}
    where deployment is not null

),

-- A call belongs to the hour in which it started, as its usage date does.
final as (

    select
        routes.deployment,
        requests.tenant,
        {{ hour_of("requests.started_at") }} as usage_hour_at,
        count(*) as call_count,
        sum(case when requests.token_source <> 'failed' then 1 else 0 end) as request_count,
        sum(case when requests.token_source = 'failed' then 1 else 0 end) as failed_count,
        sum(case when requests.is_retry then 1 else 0 end) as retry_count,
        sum(case when requests.token_source = 'missing' then 1 else 0 end) as missing_token_count,
        sum(requests.dropped_duplicate_count) as dropped_duplicate_count,
        cast(sum(requests.prompt_tokens) as bigint) as prompt_tokens,
        cast(sum(requests.input_tokens) as bigint) as input_tokens,
        cast(sum(requests.cached_input_tokens) as bigint) as cached_input_tokens,
        cast(sum(requests.output_tokens) as bigint) as output_tokens,
        cast(sum(requests.reasoning_tokens) as bigint) as reasoning_tokens
    from requests
    inner join routes
        on
            requests.source_name = routes.source_name
            and requests.model_group = routes.model_group
            and requests.model = routes.model
    group by routes.deployment, requests.tenant, {{ hour_of("requests.started_at") }}

)

select * from final
