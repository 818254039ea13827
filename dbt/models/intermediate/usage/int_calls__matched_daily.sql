{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date"},
) }}

{%- set classes = ["prompt", "cached_input", "output"] %}
-- depends_on: {{ ref('stg_ledger__run') }}
-- What the engine's own records say of the calls that a gateway or client tells of. An engine returns the
-- name it gave a request (vLLM: chatcmpl- and the caller's X-Request-Id), and all answers to one request
-- share it. Holds deployments: other routes open the window, as for int_request_activity__hourly.
with routes as (

    select * from {{ ref("int_usage_routes__resolved") }}
    where deployment is not null

),

calls as (

    select
        counted.*,
        routes.deployment
    from {{ ref("int_calls__deduplicated") }} as counted
    inner join routes
        on
            counted.source_name = routes.source_name
            and counted.model_group = routes.model_group
            and counted.model = routes.model
    where counted.is_counted
    {%- if is_incremental() %}
        and counted.started_at >= {{ window_start_at() }}
    {%- endif %}

),

engine_requests as (

    select
        deployment,
        usage_date,
        match_id,
        sum(case when token_source = 'failed' then 0 else 1 end) as answer_count,
        {%- for tokens in classes %}
            sum(coalesce({{ tokens }}_tokens, 0)) as {{ tokens }}_tokens,
            sum(case when is_further_answer then coalesce({{ tokens }}_tokens, 0) else 0 end)
                as further_{{ tokens }}_tokens{% if not loop.last %},{% endif %}
        {%- endfor %}
    from calls
    where role = 'engine_requests'
    group by deployment, usage_date, match_id

),

-- An engine's request answers one row of a role: of several with its id (a retry under one id), the one that
-- states tokens, else the first.
told as (

    select
        *,
        case
            when token_source in ('missing', 'failed', 'gateway_cache') then token_source else 'stated'
        end as outcome,
        row_number() over (
            partition by deployment, role, usage_date, match_id
            order by
                case when token_source in ('missing', 'failed', 'gateway_cache') then 1 else 0 end,
                started_at,
                source_name,
                call_id
        ) as id_rank
    from calls
    where role in ('gateway', 'client')

),

final as (

    select
        told.deployment,
        told.usage_date,
        told.role,
        told.outcome,
        engine_requests.match_id is not null as is_matched,
        count(*) as call_count,
        cast(sum(engine_requests.answer_count) as bigint) as engine_request_count,
        {%- for tokens in classes %}
            cast(
                sum(case when told.outcome = 'stated' then coalesce(told.{{ tokens }}_tokens, 0) else 0 end)
                as bigint
            ) as {{ tokens }}_tokens,
            cast(sum(engine_requests.{{ tokens }}_tokens) as bigint) as engine_{{ tokens }}_tokens,
            cast(sum(engine_requests.further_{{ tokens }}_tokens) as bigint)
                as further_{{ tokens }}_tokens{% if not loop.last %},{% endif %}
        {%- endfor %}
    from told
    left join engine_requests
        on
            told.deployment = engine_requests.deployment
            and told.usage_date = engine_requests.usage_date
            and told.match_id = engine_requests.match_id
            and told.id_rank = 1
    group by
        told.deployment,
        told.usage_date,
        told.role,
        told.outcome,
        engine_requests.match_id is not null

)

select * from final
