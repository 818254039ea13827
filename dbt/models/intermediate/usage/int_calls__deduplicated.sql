{{ config(
    materialized="incremental",
    incremental_strategy="hold_window",
    on_schema_change="fail",
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
-- Calls of the run's window only, for the models that add them up: what is older stands there. Copies are
-- told apart within a UTC day, so that a day can be read without all the others: copies carry one start time.
{%- set call = "usage_date, request_id, call_id, sub_index" %}
with requests as (

    select * from {{ ref("stg_usage__requests") }}
    {%- if is_incremental() %}
        where started_at >= {{ window_start_at() }}
    {%- endif %}

),

-- The configuration gives each source one role.
roles as (

    select
        source_name,
        max(role) as role,
        max(role) || ' ' || min(deployment) || ' ' || max(deployment) as speaker
    from {{ ref("stg_ledger__usage_routes") }}
    group by source_name

),

told as (

    select
        requests.*,
        coalesce(roles.role, 'none') as role,
        -- A source that the ledger names no longer has no role, so nothing it says is a copy of another's.
        coalesce(roles.speaker, requests.source_name) as speaker,
        case
            when requests.token_source not in ('missing', 'failed')
                then coalesce(requests.prompt_tokens + requests.output_tokens, 0)
            else 0
        end as stated_tokens
    from requests
    left join roles on requests.source_name = roles.source_name

),

-- Shippers deliver at least once and LiteLLM itself writes double rows (BerriAI/litellm#15740): the first row
-- stays. An answer of several (n > 1) is no copy of its siblings.
in_source as (

    select
        *,
        row_number() over (
            partition by source_name, {{ call }}
            order by started_at, completed_at, file_id, prompt_tokens, output_tokens
        ) as source_position,
        count(*) over (partition by source_name, {{ call }}) - 1 as copy_count,
        {%- for tokens in ["prompt", "cached_input", "output"] %}
            sum(case when token_source = 'failed' then 0 else coalesce({{ tokens }}_tokens, 0) end) over (
                partition by source_name, {{ call }}
            ) as copied_{{ tokens }}_tokens,
        {%- endfor %}
        min(stated_tokens) over (partition by source_name, {{ call }}) as least_tokens,
        max(stated_tokens) over (partition by source_name, {{ call }}) as most_tokens
    from told

),

-- Two sources of one role add up, for each sees other calls: two gateways, the logs of two replicas. A call
-- that both have (a log and the table it is written to) has the same ids and began in the same second, and
-- both go to the same deployments.
in_role as (

    select
        *,
        row_number() over (
            partition by speaker, {{ call }}, date_trunc('second', started_at) order by source_name
        ) as role_position,
        min(least_tokens) over (partition by speaker, {{ call }}, date_trunc('second', started_at))
            as least_tokens_in_role,
        max(most_tokens) over (partition by speaker, {{ call }}, date_trunc('second', started_at))
            as most_tokens_in_role
    from in_source
    where source_position = 1

),

placed as (

    select
        *,
        role_position = 1 as is_counted,
        -- The id under which others know the call: of an engine's record the one that its reply bears, which
        -- all answers to the request share.
        case
            when role = 'engine_requests' then coalesce(trace_id, call_id, request_id) else request_id
        end as match_id,
        -- A gateway's or client's failed attempt is repeated by one that counts; a call that the engine gave
        -- up is work it did.
        token_source = 'failed' and role <> 'engine_requests' as is_without_work
    from in_role

),

final as (

    select
        -- call
        source_name,
        role,
        model_group,
        model,
        adapter,
        tenant,
        request_id,
        call_id,
        sub_index,
        match_id,
        started_at,
        usage_date,

        -- whether it counts
        is_counted,
        copy_count + case when is_counted then 0 else 1 end as dropped_duplicate_count,
        case when is_counted then least_tokens_in_role < most_tokens_in_role else false end as has_conflict,
        least_tokens_in_role as least_total_tokens,
        most_tokens_in_role as most_total_tokens,
        {%- for tokens in ["prompt", "cached_input", "output"] %}
            cast(
                copied_{{ tokens }}_tokens
                - case
                    when is_counted and token_source <> 'failed' then coalesce({{ tokens }}_tokens, 0) else 0
                end as bigint
            ) as dropped_{{ tokens }}_tokens,
        {%- endfor %}

        -- what it is
        token_source,
        -- The second and later attempts of a day at one request share its trace; the spans of a trace that an
        -- engine answers are no attempts.
        is_counted
        and trace_id is not null
        and role <> 'engine_requests'
        and row_number() over (
            partition by source_name, usage_date, trace_id, is_counted
            order by started_at, request_id, call_id
        ) > 1 as is_retry,
        -- The engine states the prompt with each of n answers, and computes it (or finds it) each time.
        role = 'engine_requests'
        and is_counted
        and (
            coalesce(sub_index, 0) > 0
            or (
                sub_index is null
                and call_id is not null
                and row_number() over (
                    partition by source_name, usage_date, call_id, is_counted order by started_at, request_id
                ) > 1
            )
        ) as is_further_answer,

        -- tokens
        {%- for tokens in ["prompt", "input", "cached_input", "output", "reasoning", "cache_write"] %}
            case when is_without_work and {{ tokens }}_tokens is not null then 0 else {{ tokens }}_tokens end
                as {{ tokens }}_tokens{% if not loop.last %},{% endif %}
        {%- endfor %}
    from placed

)

select * from final
