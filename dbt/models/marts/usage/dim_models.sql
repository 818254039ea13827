with deployments as (

    select * from {{ ref("int_deployments__described") }}

),

final as (

    select
        model,
        count(*) as deployment_count,
        count(distinct gpu_model) as gpu_model_count,
        min(first_valid_from_at) as first_valid_from_at,
        cast(sum(current_replicas) as bigint) as current_replicas,
        max(case when has_engine_counters then 1 else 0 end) = 1 as has_engine_counters,
        max(case when has_gateway_requests then 1 else 0 end) = 1 as has_gateway_requests
    from deployments
    group by model

)

select * from final
