with source as (

    select
        requests.*,
        files.source_name,
        files.file_id
    from {{ source("raw", "requests") }} as requests
    inner join {{ source("raw", "usage_files") }} as files on requests.file_number = files.file_number

),

classified as (

    select
        *,
        case
            when status = 'failure' then 'failed'
            -- The gateway answered from its own cache: no engine made these tokens again.
            when token_basis = 'gateway_cache' then 'gateway_cache'
            -- A success of 0/0 tokens is a stream whose usage was never asked for, not an empty answer.
            when coalesce(prompt_tokens + completion_tokens, 0) = 0 then 'missing'
            when token_basis is not null then 'estimated'
            else 'engine_reported'
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
        sub_index,

        -- what was asked of whom
        coalesce(model_group, '') as model_group,
        coalesce(model, '') as model,
        coalesce(adapter, '') as adapter,
        coalesce(model_id, replica_hint, '') as replica_hint,
        coalesce(tenant, 'unknown') as tenant,
        coalesce(status, 'unknown') as status,

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
        -- Parts of the output and of the prompt: never more than what they are a part of.
        case
            when not has_tokens then null
            when reasoning_tokens > completion_tokens then completion_tokens
            else reasoning_tokens
        end as reasoning_tokens,
        case
            when not has_tokens then null
            when cache_write_tokens > prompt_tokens then prompt_tokens
            else cache_write_tokens
        end as cache_write_tokens,

        -- when
        started_at,
        completed_at,
        first_token_at,
        usage_date,
        file_id
    from classified

)

select * from final
