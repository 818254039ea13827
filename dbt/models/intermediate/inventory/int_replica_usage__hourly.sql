-- Which pod a replica of the metrics was. Its key is a folder or an address: a pod's uid, namespace and name,
-- its name, or what stands for its address, at the time.
with increases as (

    select * from {{ ref("int_counter_increases__hourly") }}

),

replicas as (

    select * from {{ ref("int_replica_inventory") }}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}
    where model_group = ''

),

replica_keys as (

    select distinct
        source_name,
        replica_key,
        {{ last_segment("replica_key") }} as folder,
        {{ parent_segment("replica_key") }} as parent_folder,
        {{ dbt.split_part(last_segment("replica_key"), "':'", 1) }} as host
    from increases

),

spelled as (

    select
        source_name,
        replica_key,
        folder as pod_key
    from replica_keys

    union distinct

    select
        source_name,
        replica_key,
        parent_folder || '/' || folder as pod_key
    from replica_keys

    union distinct

    -- The address of a pod of a headless service begins with the pod's name.
    select
        source_name,
        replica_key,
        {{ dbt.split_part("host", "'.'", 1) }} as pod_key
    from replica_keys

    union distinct

    select
        source_name,
        replica_key,
        cast({{ text_digest("host") }} as {{ dbt.type_string() }}) as pod_key
    from replica_keys

),

-- Multiplies rows on purpose: a pod has one row per way of naming it, the surest first. A log folder of
-- Kubernetes is named <namespace>_<pod>_<uid>.
pod_keys as (

    select
        replicas.*,
        1 as key_rank,
        replicas.pod_uid as pod_key
    from replicas

    union all

    select
        replicas.*,
        1 as key_rank,
        replicas.namespace || '_' || replicas.pod_name || '_' || replicas.pod_uid as pod_key
    from replicas

    union all

    select
        replicas.*,
        2 as key_rank,
        replicas.namespace || '/' || replicas.pod_name as pod_key
    from replicas

    union all

    select
        replicas.*,
        3 as key_rank,
        replicas.pod_name as pod_key
    from replicas

    union all

    select
        replicas.*,
        4 as key_rank,
        cast(replicas.pod_ip_digest as {{ dbt.type_string() }}) as pod_key
    from replicas
    where replicas.pod_ip_digest is not null

),

candidates as (

    select
        spelled.source_name,
        spelled.replica_key,
        pod_keys.key_rank,
        pod_keys.cluster,
        pod_keys.namespace,
        pod_keys.pod_name,
        pod_keys.pod_uid,
        pod_keys.deployment,
        pod_keys.valid_from_at,
        pod_keys.valid_to_at
    from spelled
    inner join pod_keys on spelled.pod_key = pod_keys.pod_key

),

ranked as (

    select
        increases.source_name,
        increases.replica_key,
        increases.model_name,
        increases.usage_hour_at,
        candidates.cluster,
        candidates.namespace,
        candidates.pod_name,
        candidates.pod_uid,
        candidates.deployment,
        candidates.key_rank,
        -- Of two pods of one name in an hour, as after a restart, the later one.
        row_number() over (
            partition by
                increases.source_name,
                increases.replica_key,
                increases.model_name,
                increases.usage_hour_at
            order by candidates.key_rank asc, candidates.valid_from_at desc, candidates.pod_uid asc
        ) as candidate_rank,
        min(candidates.key_rank) over (
            partition by
                increases.source_name,
                increases.replica_key,
                increases.model_name,
                increases.usage_hour_at
        ) as best_key_rank
    from increases
    inner join candidates
        on
            increases.source_name = candidates.source_name
            and increases.replica_key = candidates.replica_key
            and candidates.valid_from_at < {{ plus_hours("increases.usage_hour_at", 1) }}
            and (candidates.valid_to_at is null or increases.usage_hour_at < candidates.valid_to_at)

),

best as (

    select
        *,
        case when key_rank = best_key_rank then cluster || '/' || namespace || '/' || pod_name end as best_pod
    from ranked

),

-- Pods of one name in two namespaces cannot be told apart by it: better none than the wrong one.
judged as (

    select
        *,
        min(best_pod) over (partition by source_name, replica_key, model_name, usage_hour_at)
        <> max(best_pod) over (partition by source_name, replica_key, model_name, usage_hour_at)
            as is_ambiguous
    from best

),

final as (

    select
        increases.source_name,
        increases.replica_key,
        increases.model_name,
        increases.usage_hour_at,
        increases.prompt_tokens,
        increases.output_tokens,
        routes.deployment as routed_deployment,
        coalesce(judged.is_ambiguous, false) as is_ambiguous,
        case when not judged.is_ambiguous then judged.cluster end as cluster,
        case when not judged.is_ambiguous then judged.namespace end as namespace,
        case when not judged.is_ambiguous then judged.pod_name end as pod_name,
        case when not judged.is_ambiguous then judged.pod_uid end as pod_uid,
        case when not judged.is_ambiguous then judged.deployment end as claimed_deployment
    from increases
    left join judged
        on
            increases.source_name = judged.source_name
            and increases.replica_key = judged.replica_key
            and increases.model_name = judged.model_name
            and increases.usage_hour_at = judged.usage_hour_at
            and judged.candidate_rank = 1
    left join routes
        on
            increases.source_name = routes.source_name
            and increases.model_name = routes.model

)

select * from final
