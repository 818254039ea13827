with deltas as (

    select * from {{ ref("int_counter_deltas") }}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}
    where deployment is not null

),

-- One row per series and scrape that has an increase, also an increase of zero.
increases as (

    select
        routes.deployment,
        deltas.source_name,
        deltas.replica_key,
        deltas.usage_hour_at,
        deltas.scraped_at,
        deltas.usage_metric,
        deltas.delta,
        deltas.window_seconds,
        deltas.is_reset,
        deltas.is_gap,
        deltas.unobserved_seconds,
        deltas.usage_metric in ('prompt_tokens', 'output_tokens') as is_token_metric
    from deltas
    inner join routes
        on
            deltas.source_name = routes.source_name
            and deltas.model_name = routes.model
            and routes.model_group = ''
    where deltas.delta is not null

),

-- One row per replica, hour and scrape: the engines (data-parallel ranks) of a page are one replica.
scrape_windows as (

    select
        deployment,
        source_name,
        replica_key,
        usage_hour_at,
        scraped_at,
        max(window_seconds) as window_seconds,
        max(case when delta > 0 then 1 else 0 end) as is_active,
        max(case when is_reset then 1 else 0 end) as is_reset,
        max(case when is_gap then 1 else 0 end) as is_gap,
        max(unobserved_seconds) as unobserved_seconds
    from increases
    where is_token_metric
    group by deployment, source_name, replica_key, usage_hour_at, scraped_at

),

replica_hours as (

    select
        deployment,
        source_name,
        replica_key,
        usage_hour_at,
        count(*) as window_count,
        cast(least(sum(window_seconds), 3600) as decimal(18, 6)) as observed_seconds,
        cast(least(sum(is_active * window_seconds), 3600) as decimal(18, 6)) as active_seconds,
        sum(is_reset) as reset_count,
        max(is_gap) = 1 as has_gap,
        cast(sum(unobserved_seconds) as decimal(18, 6)) as unobserved_seconds
    from scrape_windows
    group by deployment, source_name, replica_key, usage_hour_at

),

replica_metrics as (

    select
        deployment,
        source_name,
        replica_key,
        usage_hour_at,
        sum(case when usage_metric = 'prompt_tokens' then delta end) as prompt_tokens,
        sum(case when usage_metric = 'output_tokens' then delta end) as output_tokens,
        coalesce(
            sum(case when usage_metric = 'cached_tokens' then delta end),
            sum(case when usage_metric = 'prefix_cache_hits' then delta end)
        ) as cached_tokens,
        sum(case when usage_metric = 'successful_requests' then delta end) as request_count,
        sum(case when usage_metric = 'prefill_seconds' then delta end) as prefill_seconds,
        sum(case when usage_metric = 'decode_seconds' then delta end) as decode_seconds
    from increases
    group by deployment, source_name, replica_key, usage_hour_at

),

final as (

    select
        replica_hours.deployment,
        replica_hours.source_name,
        replica_hours.replica_key,
        replica_hours.usage_hour_at,
        cast(replica_metrics.prompt_tokens as bigint) as prompt_tokens,
        cast(replica_metrics.cached_tokens as bigint) as cached_tokens,
        cast(replica_metrics.output_tokens as bigint) as output_tokens,
        cast(replica_metrics.request_count as bigint) as request_count,
        cast(replica_metrics.prefill_seconds as decimal(28, 6)) as prefill_seconds,
        cast(replica_metrics.decode_seconds as decimal(28, 6)) as decode_seconds,
        replica_hours.window_count,
        replica_hours.active_seconds,
        replica_hours.observed_seconds,
        replica_hours.reset_count,
        replica_hours.has_gap,
        replica_hours.unobserved_seconds
    from replica_hours
    inner join replica_metrics
        on
            replica_hours.deployment = replica_metrics.deployment
            and replica_hours.source_name = replica_metrics.source_name
            and replica_hours.replica_key = replica_metrics.replica_key
            and replica_hours.usage_hour_at = replica_metrics.usage_hour_at

)

select * from final
