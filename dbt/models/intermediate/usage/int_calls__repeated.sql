-- depends_on: {{ ref('stg_ledger__run') }}
-- Copies, attempts and answers of several are few, and to sort all calls for their sake takes ten times as
-- long: only calls that share an id come here, and int_calls__deduplicated has the others beside them. All
-- rows of a source with one request_id on one day come together, or none. Copies are told apart within a UTC
-- day, so that a day can be read without all the others: copies carry one start time.
{%- set call = "usage_date, request_id, call_id, sub_index" %}
{%- set in_window = "true" if flags.FULL_REFRESH else "requests.usage_date >= " ~ records_start_date() %}
with roles as (

    select
        *,
        -- Numbers are gathered in three quarters of the time of names.
        row_number() over (order by source_name) as source_number,
        dense_rank() over (order by speaker) as speaker_number
    from {{ ref("int_usage_source_roles") }}

),

-- Ids that come again, by themselves: each of the three reads a column or two of all calls. What the few rows
-- that have one share is then looked at in full, so that sources without a role may be taken for one here.
request_ids as (

    select requests.request_id
    from {{ ref("stg_usage__requests") }} as requests
    left join roles on requests.source_name = roles.source_name
    where {{ in_window }}
    group by roles.speaker_number, requests.request_id
    having count(*) > 1

),

-- Only an attempt that failed is tried again, and those are few.
trace_ids as (

    select distinct requests.trace_id
    from {{ ref("stg_usage__requests") }} as requests
    where
        {{ in_window }}
        and requests.trace_id is not null
        and requests.token_source = 'failed'

),

call_ids as (

    select requests.call_id
    from {{ ref("stg_usage__requests") }} as requests
    inner join roles on requests.source_name = roles.source_name
    where {{ in_window }} and requests.call_id is not null and roles.role = 'engine_requests'
    group by roles.source_number, requests.call_id
    having count(*) > 1

),

requests as (

    select
        requests.*,
        coalesce(roles.role, 'none') as role,
        -- A source that the ledger names no longer has no role, so nothing it says is a copy of another's.
        coalesce(roles.speaker, requests.source_name) as speaker
    from {{ ref("stg_usage__requests") }} as requests
    left join roles on requests.source_name = roles.source_name
    where
        {{ in_window }}
        and (
            requests.request_id in (select request_ids.request_id from request_ids)
            or requests.trace_id in (select trace_ids.trace_id from trace_ids)
            or requests.call_id in (select call_ids.call_id from call_ids)
        )

),

shared_requests as (

    select
        speaker,
        usage_date,
        request_id
    from requests
    group by speaker, usage_date, request_id
    having count(*) > 1

),

-- The spans of a trace that an engine answers are no attempts.
shared_traces as (

    select
        source_name,
        usage_date,
        trace_id
    from requests
    where trace_id is not null and role <> 'engine_requests'
    group by source_name, usage_date, trace_id
    having count(*) > 1

),

-- Answers that the engine does not number.
shared_calls as (

    select
        source_name,
        usage_date,
        call_id
    from requests
    where call_id is not null and role = 'engine_requests'
    group by source_name, usage_date, call_id
    having count(*) > 1 and max(case when sub_index is null then 1 else 0 end) = 1

),

repeated as (

    select
        requests.*,
        case
            when requests.token_source not in ('missing', 'failed')
                then coalesce(requests.prompt_tokens + requests.output_tokens, 0)
            else 0
        end as stated_tokens
    from requests
    left join shared_requests
        on
            requests.speaker = shared_requests.speaker
            and requests.usage_date = shared_requests.usage_date
            and requests.request_id = shared_requests.request_id
    left join shared_traces
        on
            requests.source_name = shared_traces.source_name
            and requests.usage_date = shared_traces.usage_date
            and requests.trace_id = shared_traces.trace_id
    left join shared_calls
        on
            requests.source_name = shared_calls.source_name
            and requests.usage_date = shared_calls.usage_date
            and requests.call_id = shared_calls.call_id
    where
        shared_requests.request_id is not null
        or shared_traces.trace_id is not null
        or shared_calls.call_id is not null

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
    from repeated

),

-- Two sources of one role add up, for each sees other calls: two gateways, the logs of two replicas. A call
-- that both have (a log and the table it is written to) has the same ids and began in the same second, and
-- both go to the same deployments.
in_role as (

    select
        *,
        row_number() over (
            partition by speaker, {{ call }}, {{ second_of("started_at") }} order by source_name
        ) = 1 as is_counted,
        min(least_tokens) over (partition by speaker, {{ call }}, {{ second_of("started_at") }})
            as least_total_tokens,
        max(most_tokens) over (partition by speaker, {{ call }}, {{ second_of("started_at") }})
            as most_total_tokens
    from in_source
    where source_position = 1

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
        trace_id,
        sub_index,
        started_at,
        usage_date,

        -- whether it counts
        is_counted,
        copy_count + case when is_counted then 0 else 1 end as dropped_duplicate_count,
        case when is_counted then least_total_tokens < most_total_tokens else false end as has_conflict,
        least_total_tokens,
        most_total_tokens,
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
        -- Attempts at one request share its trace, but so do the calls of a client that names its session
        -- (LiteLLM then has that for the trace): a retry comes right after an attempt that failed. The spans
        -- of a trace that an engine answers are no attempts.
        is_counted
        and trace_id is not null
        and role <> 'engine_requests'
        and coalesce(
            lag(token_source) over (
                partition by source_name, usage_date, trace_id, is_counted
                order by started_at, request_id, call_id
            ) = 'failed',
            false
        ) as is_retry,
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
        prompt_tokens,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        reasoning_tokens,
        cache_write_tokens
    from in_role

)

select * from final
