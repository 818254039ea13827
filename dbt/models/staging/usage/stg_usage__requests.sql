with source as (

    select * from {{ source("raw", "requests") }}

),

classified as (

    select
        *,
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
    from source

),

final as (

    select
        -- ids
        source_name,
        request_id,
        call_id,
        trace_id,

        -- what was asked of whom
        call_type,
        coalesce(model_group, '') as model_group,
        coalesce(model, '') as model,
        coalesce(model_id, '') as model_id,
        coalesce(tenant, 'unknown') as tenant,
        coalesce(status, 'unknown') as status,
        is_stream,

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
        usage_date,
        file_id
    from classified

)

select * from final
