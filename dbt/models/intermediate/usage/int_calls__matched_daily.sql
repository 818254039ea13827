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

-- Columns by name: rows that wait to be ranked are kept, and calls are wide.
told as (

    select
        calls.deployment,
        calls.usage_date,
        calls.role,
        calls.match_id,
        calls.started_at,
        calls.source_name,
        calls.call_id,
        case
            when calls.token_source in ('missing', 'failed', 'gateway_cache') then calls.token_source
            else 'stated'
        end as outcome,
        engine_requests.answer_count,
        {%- for tokens in classes %}
            calls.{{ tokens }}_tokens,
            engine_requests.{{ tokens }}_tokens as engine_{{ tokens }}_tokens,
            engine_requests.further_{{ tokens }}_tokens{% if not loop.last %},{% endif %}
        {%- endfor %}
    from calls
    left join engine_requests
        on
            calls.deployment = engine_requests.deployment
            and calls.usage_date = engine_requests.usage_date
            and calls.match_id = engine_requests.match_id
    where calls.role in ('gateway', 'client')

),

-- An engine's request answers one row of a role: of several with its id (a retry under one id), the one that
-- states tokens, else the first. Most logs have no engine's request beside them, and nothing to sort.
ranked as (

    select
        *,
        row_number() over (
            partition by deployment, role, usage_date, match_id
            order by case when outcome = 'stated' then 0 else 1 end, started_at, source_name, call_id
        ) = 1 as is_matched
    from told
    where answer_count is not null

    union all

    select
        *,
        false as is_matched
    from told
    where answer_count is null

),

final as (

    select
        deployment,
        usage_date,
        role,
        outcome,
        is_matched,
        count(*) as call_count,
        cast(sum(case when is_matched then answer_count end) as bigint) as engine_request_count,
        {%- for tokens in classes %}
            cast(
                sum(case when outcome = 'stated' then coalesce({{ tokens }}_tokens, 0) else 0 end) as bigint
            ) as {{ tokens }}_tokens,
            cast(sum(case when is_matched then engine_{{ tokens }}_tokens end) as bigint)
                as engine_{{ tokens }}_tokens,
            cast(sum(case when is_matched then further_{{ tokens }}_tokens end) as bigint)
                as further_{{ tokens }}_tokens{% if not loop.last %},{% endif %}
        {%- endfor %}
    from ranked
    group by deployment, usage_date, role, outcome, is_matched

)

select * from final
