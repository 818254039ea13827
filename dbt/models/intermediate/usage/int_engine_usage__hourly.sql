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

-- One row per replica. Which classes it exposes: a page that was cut, or a value that is no number, moves an
-- increase into another hour, and the hour it left has counted 0 of it. Prompt, output and requests are in
-- all pages of an engine or in none; the others came with a release, so they are known from their first hour
-- to their last.
replica_classes as (

    select
        routes.deployment,
        deltas.source_name,
        deltas.replica_key,
        {%- for metric in ["prompt_tokens", "output_tokens", "successful_requests"] %}
            max(case when deltas.usage_metric = '{{ metric }}' then 1 else 0 end) = 1 as has_{{ metric }},
        {%- endfor %}
        {%- for metric in ["cached_tokens", "prefix_cache_hits", "prefill_seconds", "decode_seconds"] %}
            min(case when deltas.usage_metric = '{{ metric }}' then deltas.usage_hour_at end)
                as first_{{ metric }}_at,
            max(case when deltas.usage_metric = '{{ metric }}' then deltas.usage_hour_at end)
                as last_{{ metric }}_at{% if not loop.last %},{% endif %}
        {%- endfor %}
    from deltas
    inner join routes
        on
            deltas.source_name = routes.source_name
            and deltas.model_name = routes.model
            and routes.model_group = ''
    group by routes.deployment, deltas.source_name, deltas.replica_key

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
        sum(case when usage_metric = 'cached_tokens' then delta end) as cached_tokens,
        sum(case when usage_metric = 'prefix_cache_hits' then delta end) as prefix_cache_hits,
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
        cast(
            case when replica_classes.has_prompt_tokens then coalesce(replica_metrics.prompt_tokens, 0) end
            as bigint
        ) as prompt_tokens,
        cast(
            case
                when
                    replica_hours.usage_hour_at
                    between replica_classes.first_cached_tokens_at and replica_classes.last_cached_tokens_at
                    then coalesce(replica_metrics.cached_tokens, 0)
                when
                    replica_hours.usage_hour_at
                    between replica_classes.first_prefix_cache_hits_at
                    and replica_classes.last_prefix_cache_hits_at
                    then coalesce(replica_metrics.prefix_cache_hits, 0)
            end as bigint
        ) as cached_tokens,
        cast(
            case when replica_classes.has_output_tokens then coalesce(replica_metrics.output_tokens, 0) end
            as bigint
        ) as output_tokens,
        cast(
            case
                when replica_classes.has_successful_requests then coalesce(replica_metrics.request_count, 0)
            end as bigint
        ) as request_count,
        cast(
            case
                when
                    replica_hours.usage_hour_at
                    between replica_classes.first_prefill_seconds_at
                    and replica_classes.last_prefill_seconds_at
                    then coalesce(replica_metrics.prefill_seconds, 0)
            end as decimal(28, 6)
        ) as prefill_seconds,
        cast(
            case
                when
                    replica_hours.usage_hour_at
                    between replica_classes.first_decode_seconds_at
                    and replica_classes.last_decode_seconds_at
                    then coalesce(replica_metrics.decode_seconds, 0)
            end as decimal(28, 6)
        ) as decode_seconds,
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
    inner join replica_classes
        on
            replica_hours.deployment = replica_classes.deployment
            and replica_hours.source_name = replica_classes.source_name
            and replica_hours.replica_key = replica_classes.replica_key

)

select * from final
