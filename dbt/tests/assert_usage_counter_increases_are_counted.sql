-- In the hours the run rebuilds, every prompt or output token that a counter increased by is in its hour. Up
-- to the last day of the run, it is in the costs of its deployment's hour; where the ledger lists no GPU, in
-- the hourly usage; without a route, in the unmapped usage. Only hours in which no replica exposes one of the
-- two classes are left out: their total is unknown.
{%- set look_back_hours = scrape_look_back_hours() // 2 %}
with hourly_increases as (

    select
        increases.*,
        routes.deployment,
        coalesce(increases.prompt_tokens, 0) + coalesce(increases.output_tokens, 0) as tokens
    from {{ ref("int_counter_increases__hourly") }} as increases
    left join {{ ref("int_usage_routes__resolved") }} as routes
        on
            increases.source_name = routes.source_name
            and increases.model_name = routes.model
            and routes.model_group = ''

),

scraped as (

    select
        source_name,
        model_name,
        replica_key,
        usage_hour_at,
        sum(delta) as tokens
    from {{ ref("int_counter_deltas") }}
    where
        scraped_at >= {{ records_start_at(look_back_hours) }}
        and usage_hour_at >= {{ records_start_at(look_back_hours) }}
        and usage_metric in ('prompt_tokens', 'output_tokens')
    group by source_name, model_name, replica_key, usage_hour_at

),

scraped_hours as (

    select
        scraped.source_name,
        scraped.tokens,
        hourly_increases.tokens as counted_tokens
    from scraped
    left join hourly_increases
        on
            scraped.source_name = hourly_increases.source_name
            and scraped.model_name = hourly_increases.model_name
            and scraped.replica_key = hourly_increases.replica_key
            and scraped.usage_hour_at = hourly_increases.usage_hour_at

),

increases as (

    select hourly_increases.*
    from hourly_increases
    inner join {{ ref("stg_ledger__run") }} as run on hourly_increases.usage_hour_at < run.as_of_end_at

),

replica_classes as (

    select
        deployment,
        source_name,
        replica_key,
        max(case when has_prompt_tokens then 1 else 0 end) as has_prompt_tokens,
        max(case when has_output_tokens then 1 else 0 end) as has_output_tokens
    from hourly_increases
    group by deployment, source_name, replica_key

),

increased_hours as (

    select
        increases.deployment,
        increases.usage_hour_at,
        sum(increases.tokens) as tokens
    from increases
    inner join replica_classes
        on
            increases.deployment = replica_classes.deployment
            and increases.source_name = replica_classes.source_name
            and increases.replica_key = replica_classes.replica_key
    where increases.window_count > 0
    group by increases.deployment, increases.usage_hour_at
    having max(replica_classes.has_prompt_tokens) = 1 and max(replica_classes.has_output_tokens) = 1

),

cost_hours as (

    select
        deployment,
        hour_start_at,
        sum(total_tokens) as tokens
    from {{ ref("fct_inference_costs_hourly") }}
    group by deployment, hour_start_at

),

fleet_hours as (

    select distinct
        deployment,
        hour_start_at
    from {{ ref("int_fleet__hourly") }}

),

counted_hours as (

    select
        increased_hours.deployment,
        increased_hours.tokens,
        case when fleet_hours.deployment is null then usage_hours.total_tokens else cost_hours.tokens end
            as counted_tokens
    from increased_hours
    left join {{ ref("int_usage__hourly") }} as usage_hours
        on
            increased_hours.deployment = usage_hours.deployment
            and increased_hours.usage_hour_at = usage_hours.usage_hour_at
    left join fleet_hours
        on
            increased_hours.deployment = fleet_hours.deployment
            and increased_hours.usage_hour_at = fleet_hours.hour_start_at
    left join cost_hours
        on
            increased_hours.deployment = cost_hours.deployment
            and increased_hours.usage_hour_at = cost_hours.hour_start_at

),

unrouted as (

    select
        increases.source_name,
        increases.model_name,
        sum(increases.tokens) as tokens
    from increases
    where increases.deployment is null
    group by increases.source_name, increases.model_name

),

counted_unrouted as (

    select
        unrouted.source_name,
        unrouted.tokens,
        coalesce(unmapped_usage.input_tokens, 0)
        + coalesce(unmapped_usage.cached_input_tokens, 0)
        + coalesce(unmapped_usage.output_tokens, 0) as counted_tokens
    from unrouted
    left join {{ ref("fct_unmapped_usage") }} as unmapped_usage
        on
            unrouted.source_name = unmapped_usage.source_name
            and unrouted.model_name = unmapped_usage.model
            and unmapped_usage.reason = 'no_route'
            and unmapped_usage.model_group = ''

)

select * from scraped_hours
where tokens <> coalesce(counted_tokens, -1)

union all

select * from counted_hours
where tokens <> coalesce(counted_tokens, -1)

union all

select * from counted_unrouted
where tokens <> counted_tokens
