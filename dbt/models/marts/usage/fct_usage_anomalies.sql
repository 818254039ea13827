with anomalies as (

    select * from {{ ref("int_usage_anomalies") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

final as (

    select
        anomalies.reason,
        anomalies.source_name,
        anomalies.replica_key,
        anomalies.engine,
        anomalies.model_name,
        anomalies.metric_name,
        anomalies.label_value,
        anomalies.usage_metric,
        anomalies.window_start_at,
        anomalies.scraped_at,
        anomalies.usage_hour_at,
        anomalies.window_seconds,
        anomalies.previous_value,
        anomalies.counter_value,
        anomalies.observed_change,
        anomalies.largest_plausible_change
    from anomalies
    inner join run on anomalies.scraped_at < run.as_of_end_at

)

select * from final
