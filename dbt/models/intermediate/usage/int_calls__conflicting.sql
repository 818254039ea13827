{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "started_at", "window_of": "records"},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
with final as (

    select
        usage_date,
        source_name,
        request_id,
        call_id,
        sub_index,
        started_at,
        cast(least_total_tokens as bigint) as least_total_tokens,
        cast(most_total_tokens as bigint) as most_total_tokens,
        case when token_source not in ('missing', 'failed') then prompt_tokens + output_tokens end
            as kept_total_tokens
    from {{ ref("int_calls__repeated") }}
    where has_conflict
    {%- if is_incremental() %}
        and started_at >= {{ records_start_at() }}
    {%- endif %}

)

{{ with_archived() }}
