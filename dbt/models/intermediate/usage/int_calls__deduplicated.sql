{{ config(materialized="view") }}

-- depends_on: {{ ref('stg_ledger__run') }}
-- Calls of the run's window only, for the models that add them up: what is older stands there. A view, for to
-- write out a row per call takes longer than to read the few that repeat again.
with requests as (

    select * from {{ ref("stg_usage__requests") }}
    {%- if not flags.FULL_REFRESH %}
        where usage_date >= {{ records_start_date() }}
    {%- endif %}

),

roles as (

    select * from {{ ref("int_usage_source_roles") }}

),

repeated as (

    select * from {{ ref("int_calls__repeated") }}

),

alone as (

    select
        requests.source_name,
        coalesce(roles.role, 'none') as role,
        requests.model_group,
        requests.model,
        requests.adapter,
        requests.tenant,
        requests.request_id,
        requests.call_id,
        requests.trace_id,
        requests.sub_index,
        requests.started_at,
        requests.usage_date,
        true as is_counted,
        0 as dropped_duplicate_count,
        false as has_conflict,
        0 as dropped_prompt_tokens,
        0 as dropped_cached_input_tokens,
        0 as dropped_output_tokens,
        requests.token_source,
        false as is_retry,
        coalesce(roles.role = 'engine_requests' and requests.sub_index > 0, false) as is_further_answer,
        requests.prompt_tokens,
        requests.input_tokens,
        requests.cached_input_tokens,
        requests.output_tokens,
        requests.reasoning_tokens,
        requests.cache_write_tokens
    from requests
    left join roles on requests.source_name = roles.source_name
    where
        not exists (
            select 1
            from repeated
            where
                requests.source_name = repeated.source_name
                and requests.usage_date = repeated.usage_date
                and requests.request_id = repeated.request_id
        )

),

calls as (

    select * from alone
    union all
    select
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
        is_counted,
        dropped_duplicate_count,
        has_conflict,
        dropped_prompt_tokens,
        dropped_cached_input_tokens,
        dropped_output_tokens,
        token_source,
        is_retry,
        is_further_answer,
        prompt_tokens,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        reasoning_tokens,
        cache_write_tokens
    from repeated

),

final as (

    select
        source_name,
        role,
        model_group,
        model,
        adapter,
        tenant,
        request_id,
        call_id,
        sub_index,
        -- The id under which others know the call: of an engine's record the one that its reply bears, which
        -- all answers to the request share.
        case
            when role = 'engine_requests' then coalesce(trace_id, call_id, request_id) else request_id
        end as match_id,
        started_at,
        usage_date,
        is_counted,
        dropped_duplicate_count,
        has_conflict,
        dropped_prompt_tokens,
        dropped_cached_input_tokens,
        dropped_output_tokens,
        token_source,
        is_retry,
        is_further_answer,
        {%- for tokens in ["prompt", "input", "cached_input", "output", "reasoning", "cache_write"] %}
            -- A gateway's or client's failed attempt is repeated by one that counts; a call that the engine
            -- gave up is work it did.
            case
                when
                    token_source = 'failed'
                    and role <> 'engine_requests'
                    and {{ tokens }}_tokens is not null
                    then 0
                else {{ tokens }}_tokens
            end as {{ tokens }}_tokens{% if not loop.last %},{% endif %}
        {%- endfor %}
    from calls

)

select * from final
