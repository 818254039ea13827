with deployments as (

    select * from {{ ref("stg_ledger__deployments") }}

),

routes as (

    select * from {{ ref("stg_ledger__usage_routes") }}

),

instance_types as (

    select * from {{ ref("instance_types") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

-- The configuration guarantees one model and one kind of hardware per deployment.
entries as (

    select
        deployments.deployment,
        max(deployments.model) as model,
        max(deployments.provider) as provider,
        max(deployments.region) as region,
        max(deployments.instance_type) as instance_type,
        max(deployments.gpus_per_replica) as stated_gpus_per_replica,
        max(deployments.instances_per_replica) as instances_per_replica,
        count(*) as allocation_count,
        min(deployments.valid_from_at) as first_valid_from_at,
        max(deployments.valid_to_at) as last_stated_valid_to_at,
        max(case when deployments.valid_to_at is null then 1 else 0 end) = 1 as is_open_ended,
        sum(
            case
                when
                    deployments.valid_from_at < run.as_of_end_at
                    and (deployments.valid_to_at is null or deployments.valid_to_at >= run.as_of_end_at)
                    then deployments.replicas
                else 0
            end
        ) as current_replicas
    from deployments
    cross join run
    group by deployments.deployment

),

routed as (

    select
        deployment,
        max(case when role = 'engine_counters' then 1 else 0 end) = 1 as has_engine_counters,
        max(case when role = 'gateway' then 1 else 0 end) = 1 as has_gateway_requests
    from routes
    group by deployment

),

final as (

    select
        entries.deployment,
        entries.model,
        entries.provider,
        entries.region,
        entries.instance_type,
        coalesce(instance_types.gpu_model, 'unknown') as gpu_model,
        cast(
            coalesce(
                entries.stated_gpus_per_replica, entries.instances_per_replica * instance_types.gpu_count
            )
            as decimal(18, 6)
        ) as gpus_per_replica,
        entries.allocation_count,
        cast(entries.current_replicas as bigint) as current_replicas,
        entries.first_valid_from_at,
        case when not entries.is_open_ended then entries.last_stated_valid_to_at end as last_valid_to_at,
        coalesce(routed.has_engine_counters, false) as has_engine_counters,
        coalesce(routed.has_gateway_requests, false) as has_gateway_requests
    from entries
    left join instance_types
        on
            entries.provider = instance_types.provider
            and entries.instance_type = instance_types.instance_type
    left join routed on entries.deployment = routed.deployment

)

select * from final
