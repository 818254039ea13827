{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "records"},
) }}

{%- set classes = ["prompt", "cached_input", "output"] %}
{%- set in_window = "calls.usage_date >= " ~ records_start_date() if is_incremental() else "true" %}
{#- Read twice rather than kept for both: kept, it is a row per call. #}
{%- set routed_calls -%}
    {{ ref("int_calls__deduplicated") }} as calls
    inner join routes
        on
            calls.source_name = routes.source_name
            and calls.model_group = routes.model_group
            and calls.model = routes.model
{%- endset %}
-- depends_on: {{ ref('stg_ledger__run') }}
-- What the engine's own records say of the calls that a gateway or client tells of. An engine returns the
-- name it gave a request (vLLM: chatcmpl- and the caller's X-Request-Id), and all answers to one request
-- share it. Holds deployments: other routes open the window, as for int_request_activity__hourly.
with routes as (

    select * from {{ ref("int_usage_routes__resolved") }}
    where deployment is not null

),

engine_requests as (

    select
        routes.deployment,
        calls.usage_date,
        calls.match_id,
        sum(case when calls.token_source = 'failed' then 0 else 1 end) as answer_count,
        {%- for tokens in classes %}
            sum(coalesce(calls.{{ tokens }}_tokens, 0)) as {{ tokens }}_tokens,
            sum(case when calls.is_further_answer then coalesce(calls.{{ tokens }}_tokens, 0) else 0 end)
                as further_{{ tokens }}_tokens{% if not loop.last %},{% endif %}
        {%- endfor %}
    from {{ routed_calls }}
    where
        calls.is_counted
        and calls.role = 'engine_requests'
        and {{ in_window }}
    group by routes.deployment, calls.usage_date, calls.match_id

),

-- An engine's request answers one row of a role: of several with its id (a retry under one id), the one that
-- states tokens, else the first.
ranked as (

    select
        routes.deployment,
        calls.usage_date,
        calls.role,
        case
            when calls.token_source in ('missing', 'failed', 'gateway_cache') then calls.token_source
            else 'stated'
        end as outcome,
        row_number() over (
            partition by routes.deployment, calls.role, calls.usage_date, calls.match_id
            order by
                case when calls.token_source in ('missing', 'failed', 'gateway_cache') then 1 else 0 end,
                calls.started_at,
                calls.source_name,
                calls.call_id
        ) as call_rank,
        engine_requests.answer_count,
        {%- for tokens in classes %}
            calls.{{ tokens }}_tokens,
            engine_requests.{{ tokens }}_tokens as engine_{{ tokens }}_tokens,
            engine_requests.further_{{ tokens }}_tokens{% if not loop.last %},{% endif %}
        {%- endfor %}
    from {{ routed_calls }}
    inner join engine_requests
        on
            routes.deployment = engine_requests.deployment
            and calls.usage_date = engine_requests.usage_date
            and calls.match_id = engine_requests.match_id
    where
        calls.is_counted
        and calls.role in ('gateway', 'client')
        and {{ in_window }}

),

final as (

    select
        deployment,
        usage_date,
        role,
        outcome,
        count(*) as call_count,
        cast(sum(answer_count) as bigint) as engine_request_count,
        {%- for tokens in classes %}
            cast(
                sum(case when outcome = 'stated' then coalesce({{ tokens }}_tokens, 0) else 0 end) as bigint
            ) as {{ tokens }}_tokens,
            cast(sum(engine_{{ tokens }}_tokens) as bigint) as engine_{{ tokens }}_tokens,
            cast(sum(further_{{ tokens }}_tokens) as bigint)
                as further_{{ tokens }}_tokens{% if not loop.last %},{% endif %}
        {%- endfor %}
    from ranked
    where call_rank = 1
    group by deployment, usage_date, role, outcome

)

{{ with_archived() }}
