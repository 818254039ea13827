{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_hour_at"},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
-- By the names in the log, not by deployment: a corrected route then holds for all hours at once, and calls
-- without a route are counted too.
with requests as (

    select * from {{ ref("stg_usage__requests") }}
    {%- if is_incremental() %}
        where started_at >= {{ window_start_at() }}
    {%- endif %}

),

-- Copies and attempts are few. To sort all calls of a day for their sake takes three times as long, with all
-- columns in memory: only calls whose key or trace repeats go through the windows.
copied as (

    select
        source_name,
        usage_date,
        request_id,
        call_id,
        count(*) as row_count
    from requests
    group by source_name, usage_date, request_id, call_id
    having count(*) > 1

),

shared_traces as (

    select
        source_name,
        usage_date,
        trace_id
    from requests
    where trace_id is not null
    group by source_name, usage_date, trace_id
    having count(*) > 1

),

marked as (

    select
        requests.*,
        coalesce(copied.row_count, 1) as row_count,
        copied.row_count is null and shared_traces.trace_id is null as is_alone
    from requests
    left join copied
        on
            requests.source_name = copied.source_name
            and requests.usage_date = copied.usage_date
            and requests.request_id = copied.request_id
            and requests.call_id is not distinct from copied.call_id
    left join shared_traces
        on
            requests.source_name = shared_traces.source_name
            and requests.usage_date = shared_traces.usage_date
            and requests.trace_id = shared_traces.trace_id

),

-- Shippers deliver at least once and LiteLLM itself writes double rows (BerriAI/litellm#15740): the first row
-- stays. Within a UTC day, so that a day can be read without all the others: copies carry one start time.
numbered as (

    select
        *,
        row_number() over (
            partition by source_name, usage_date, request_id, call_id
            order by started_at, completed_at, file_id
        ) as row_position
    from marked
    where not is_alone

),

calls as (

    select
        *,
        -- The second and later attempts of a day at one request share its trace.
        trace_id is not null and row_number() over (
            partition by source_name, usage_date, trace_id order by started_at, request_id, call_id
        ) > 1 as is_retry
    from numbered
    where row_position = 1

    union all

    select
        *,
        1 as row_position,
        false as is_retry
    from marked
    where is_alone

),

-- A call belongs to the hour in which it started, as its usage date does.
final as (

    select
        source_name,
        model_group,
        model,
        tenant,
        {{ hour_of("started_at") }} as usage_hour_at,
        count(*) as call_count,
        sum(case when token_source <> 'failed' then 1 else 0 end) as request_count,
        sum(case when token_source = 'failed' then 1 else 0 end) as failed_count,
        sum(case when is_retry then 1 else 0 end) as retry_count,
        sum(case when token_source = 'missing' then 1 else 0 end) as missing_token_count,
        sum(row_count - 1) as dropped_duplicate_count,
        cast(sum(prompt_tokens) as bigint) as prompt_tokens,
        cast(sum(input_tokens) as bigint) as input_tokens,
        cast(sum(cached_input_tokens) as bigint) as cached_input_tokens,
        cast(sum(output_tokens) as bigint) as output_tokens,
        cast(sum(reasoning_tokens) as bigint) as reasoning_tokens
    from calls
    group by source_name, model_group, model, tenant, {{ hour_of("started_at") }}

)

select * from final
