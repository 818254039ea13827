-- What a scraped replica can have computed with at most: the largest of the deployments its source goes to.
-- By source and not by route, because counters are judged before their names are resolved.
with routes as (

    select * from {{ ref("stg_ledger__usage_routes") }}

),

deployments as (

    select * from {{ ref("stg_ledger__deployments") }}

),

instance_types as (

    select * from {{ ref("instance_types") }}

),

final as (

    select
        routes.source_name,
        cast(
            max(coalesce(deployments.gpus_per_replica, instance_types.gpu_count)) as decimal(18, 6)
        ) as gpus_per_replica
    from routes
    left join deployments on routes.deployment = deployments.deployment
    left join instance_types
        on
            deployments.provider = instance_types.provider
            and deployments.instance_type = instance_types.instance_type
    group by routes.source_name

)

select * from final
