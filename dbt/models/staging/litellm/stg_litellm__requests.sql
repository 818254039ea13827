with source as (

    select * from {{ source("raw", "litellm_requests") }}

),

-- Shippers deliver at least once and LiteLLM itself writes double rows (BerriAI/litellm#15740): the first row stays.
numbered as (

    select
        *,
        row_number() over (
            partition by source_name, request_id, coalesce(call_id, '')
            order by started_at, completed_at, file_id
        ) as row_position,
        count(*) over (partition by source_name, request_id, coalesce(call_id, '')) as row_count
    from source

),

calls as (

    select
        *,
        row_count - 1 as dropped_duplicate_count,
        case
            when status = 'failure' then 'failed'
            -- A success of 0/0 tokens is a stream whose usage was never asked for, not an empty answer.
            when coalesce(prompt_tokens, 0) = 0 and coalesce(completion_tokens, 0) = 0 then 'missing'
            else 'engine_reported'
        end as token_source
    from numbered
    where row_position = 1

),

final as (

    select
        -- ids
        source_name,
        request_id,
        coalesce(call_id, '') as call_id,
        trace_id,
        dropped_duplicate_count,

        -- what was asked of whom
        call_type,
        coalesce(model_group, '') as model_group,
        coalesce(model, '') as model,
        coalesce(model_id, '') as model_id,
        coalesce(tenant, 'unknown') as tenant,
        coalesce(status, 'unknown') as status,
        is_stream,
        -- The second and later attempts at one request share its trace.
        trace_id is not null and row_number() over (
            partition by source_name, trace_id order by started_at, request_id, call_id
        ) > 1 as is_retry,

        -- tokens
        token_source,
        case when token_source <> 'missing' then prompt_tokens end as prompt_tokens,
        case
            when token_source <> 'missing' then prompt_tokens - least(coalesce(cached_tokens, 0), prompt_tokens)
        end as input_tokens,
        case
            when token_source = 'missing' then null
            when cached_tokens > prompt_tokens then prompt_tokens
            else cached_tokens
        end as cached_input_tokens,
        case when token_source <> 'missing' then completion_tokens end as output_tokens,
        case when token_source <> 'missing' then reasoning_tokens end as reasoning_tokens,
        reported_cost_usd,

        -- when
        started_at,
        completed_at,
        first_token_at,
        usage_date
    from calls

)

select * from final
