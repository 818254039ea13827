with anomalies as (

    select * from {{ ref("int_usage_anomalies") }}

),

final as (

    select
        reason,
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
    from anomalies
    where scraped_at < {{ as_of_end_at() }}

)

select * from final
