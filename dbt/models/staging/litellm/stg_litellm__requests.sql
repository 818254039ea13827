with source as (

    select * from {{ source("raw", "litellm_requests") }}

),

-- Shippers deliver at least once and LiteLLM itself writes double rows (BerriAI/litellm#15740): the first row
-- stays. Within a UTC day, so that a day can be read without all the others: copies carry one start time.
numbered as (

    select
        *,
        row_number() over (
            partition by source_name, usage_date, request_id, call_id
            order by started_at, completed_at, file_id
        ) as row_position,
        count(*) over (partition by source_name, usage_date, request_id, call_id) as row_count
    from source

),

calls as (

    select
        *,
        row_count - 1 as dropped_duplicate_count,
        case
            when status = 'failure' then 'failed'
            -- A success of 0/0 tokens is a stream whose usage was never asked for, not an empty answer.
            when prompt_tokens + completion_tokens > 0 then 'engine_reported'
            else 'missing'
        end as token_source,
        -- All or nothing: half a count would make the classes sum to something else than the total.
        case
            when status = 'failure' or prompt_tokens + completion_tokens > 0
                then prompt_tokens + completion_tokens is not null
            else false
        end as has_tokens
    from numbered
    where row_position = 1

),

final as (

    select
        -- ids
        source_name,
        request_id,
        call_id,
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
        -- The second and later attempts of a day at one request share its trace.
        trace_id is not null and row_number() over (
            partition by source_name, usage_date, trace_id order by started_at, request_id, call_id
        ) > 1 as is_retry,

        -- tokens
        token_source,
        case when has_tokens then prompt_tokens end as prompt_tokens,
        case
            when has_tokens then prompt_tokens - least(coalesce(cached_tokens, 0), prompt_tokens)
        end as input_tokens,
        case
            when not has_tokens then null
            when cached_tokens > prompt_tokens then prompt_tokens
            else cached_tokens
        end as cached_input_tokens,
        case when has_tokens then completion_tokens end as output_tokens,
        case when has_tokens then reasoning_tokens end as reasoning_tokens,
        reported_cost_usd,

        -- when
        started_at,
        completed_at,
        first_token_at,
        usage_date
    from calls

)

select * from final
