{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "scraped_at", "window_of": "records"},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}
-- Kept by window: counter deltas are many, and these few are wanted for all of history.
with deltas as (

    select * from {{ ref("int_counter_deltas") }}
    {%- if is_incremental() %}
        where scraped_at >= {{ records_start_at() }}
    {%- endif %}

),

final as (

    select
        quarantine_reason as reason,
        source_name,
        replica_key,
        engine,
        model_name,
        metric_name,
        label_value,
        usage_metric,
        window_start_at,
        scraped_at,
        usage_hour_at,
        window_seconds,
        previous_value,
        counter_value,
        observed_change,
        largest_plausible_change
    from deltas
    where quarantine_reason is not null

)

{{ with_archived() }}
