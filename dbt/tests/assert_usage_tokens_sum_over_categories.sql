-- The categories of a deployment-hour share its tokens and requests without loss; hours without fleet are
-- listed.
with costs as (

    select
        deployment,
        hour_start_at,
        sum(input_tokens) as input_tokens,
        sum(cached_input_tokens) as cached_input_tokens,
        sum(output_tokens) as output_tokens,
        sum(total_tokens) as total_tokens,
        sum(request_count) as request_count,
        sum(decode_seconds) as decode_seconds
    from {{ ref("fct_inference_costs_hourly") }}
    group by deployment, hour_start_at

),

usage_hours as (

    select * from {{ ref("int_usage__hourly") }}

),

outside as (

    select deployment from {{ ref("int_usage_unmapped") }}
    where reason = 'outside_fleet'

)

select
    usage_hours.deployment,
    usage_hours.usage_hour_at
from usage_hours
left join costs
    on
        usage_hours.deployment = costs.deployment
        and usage_hours.usage_hour_at = costs.hour_start_at
left join outside on usage_hours.deployment = outside.deployment
where
    (costs.deployment is null and outside.deployment is null)
    or (
        costs.deployment is not null
        and (
            coalesce(costs.input_tokens, -1) <> coalesce(usage_hours.input_tokens, -1)
            or coalesce(costs.cached_input_tokens, -1) <> coalesce(usage_hours.cached_input_tokens, -1)
            or coalesce(costs.output_tokens, -1) <> coalesce(usage_hours.output_tokens, -1)
            or coalesce(costs.total_tokens, -1) <> coalesce(usage_hours.total_tokens, -1)
            or coalesce(costs.request_count, -1) <> coalesce(usage_hours.request_count, -1)
            or coalesce(costs.decode_seconds, -1) <> coalesce(usage_hours.decode_seconds, -1)
        )
    )
