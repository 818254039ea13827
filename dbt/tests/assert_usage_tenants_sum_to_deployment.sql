-- The tenants of an hour hold its volume, class by class, and not a token more; the days hold the hours. Over
-- all of history, so that a window rebuilt too narrowly shows.
with tenant_hours as (

    select
        deployment,
        usage_hour_at,
        sum(input_tokens) as input_tokens,
        sum(cached_input_tokens) as cached_input_tokens,
        sum(output_tokens) as output_tokens,
        sum(total_tokens) as total_tokens,
        sum(request_count) as request_count
    from {{ ref("fct_usage_hourly") }}
    group by deployment, usage_hour_at

),

tenant_days as (

    select
        deployment,
        usage_date,
        sum(total_tokens) as total_tokens
    from {{ ref("fct_usage_daily") }}
    group by deployment, usage_date

),

hour_days as (

    select
        deployment,
        usage_date,
        sum(total_tokens) as total_tokens
    from {{ ref("fct_usage_hourly") }}
    group by deployment, usage_date

)

select
    usage_hours.deployment,
    usage_hours.usage_hour_at
from {{ ref("int_usage__hourly") }} as usage_hours
full outer join tenant_hours
    on
        usage_hours.deployment = tenant_hours.deployment
        and usage_hours.usage_hour_at = tenant_hours.usage_hour_at
where
    usage_hours.deployment is null
    or tenant_hours.deployment is null
    {%- for what in [
        "input_tokens", "cached_input_tokens", "output_tokens", "total_tokens", "request_count",
    ] %}
        or usage_hours.{{ what }} is distinct from tenant_hours.{{ what }}
    {%- endfor %}

union all

select
    hour_days.deployment,
    {{ start_of_day("hour_days.usage_date") }} as usage_hour_at
from hour_days
full outer join tenant_days
    on
        hour_days.deployment = tenant_days.deployment
        and hour_days.usage_date = tenant_days.usage_date
where hour_days.total_tokens is distinct from tenant_days.total_tokens
