with pod_intervals as (

    select * from {{ ref("int_pod_intervals") }}

),

inventory_sources as (

    select * from {{ ref("stg_ledger__inventory_sources") }}

),

nodes as (

    select * from {{ ref("int_nodes") }}

),

claims as (

    select * from {{ ref("int_pod_claims") }}

),

gpu_intervals as (

    select * from {{ ref("int_gpu_intervals") }}

),

gpu_names as (

    select * from {{ ref("int_gpu_names") }}
    where vocabulary = 'driver'

),

-- Two sources that list one cluster show a pod twice: the first by name counts.
listed_pods as (

    select
        pod_intervals.*,
        inventory_sources.cluster,
        min(pod_intervals.source_name) over (
            partition by inventory_sources.cluster, pod_intervals.object_id
        ) as first_source_name
    from pod_intervals
    inner join inventory_sources on pod_intervals.source_name = inventory_sources.source_name

),

pods as (

    select * from listed_pods
    where source_name = first_source_name

),

-- What is known of a node holds for all its life: its first state from the beginning, its last to the end.
-- Lists of nodes and of pods are taken at different instants, and a pod never outlives its node.
node_states as (

    select
        *,
        min(valid_from_at) over (partition by cluster, node_uid) as lived_from_at,
        case
            when
                max(case when valid_to_at is null then 1 else 0 end) over (partition by cluster, node_uid) = 0
                then max(valid_to_at) over (partition by cluster, node_uid)
        end as lived_to_at,
        case
            when lag(valid_from_at) over (partition by cluster, node_uid order by valid_from_at) is not null
                then valid_from_at
        end as state_from_at,
        lead(valid_from_at) over (partition by cluster, node_uid order by valid_from_at) as state_to_at
    from nodes

),

-- Names of nodes are used again: of those that lived at the time, the last one made before the pod was seen.
hosts as (

    select
        pods.source_name,
        pods.object_id,
        pods.first_seen_at,
        node_states.node_uid,
        row_number() over (
            partition by pods.source_name, pods.object_id, pods.first_seen_at
            order by
                case when node_states.lived_from_at <= pods.first_seen_at then 0 else 1 end asc,
                case
                    when node_states.lived_from_at <= pods.first_seen_at then node_states.lived_from_at
                end desc,
                node_states.lived_from_at asc,
                node_states.node_uid asc
        ) as host_rank
    from pods
    inner join node_states
        on
            pods.cluster = node_states.cluster
            and pods.node_name = node_states.node_name
            and (pods.valid_to_at is null or pods.valid_to_at > node_states.lived_from_at)
            and (node_states.lived_to_at is null or pods.valid_from_at < node_states.lived_to_at)

),

-- Multiplies rows on purpose: a pod has one row per state of its node.
placed as (

    select
        pods.*,
        node_states.node_uid,
        node_states.instance_id,
        node_states.provider,
        node_states.region,
        node_states.zone_name,
        node_states.instance_type,
        node_states.gpu_model as node_gpu_model,
        node_states.mig_profile as node_mig_profile,
        node_states.is_shared,
        node_states.devices_per_gpu,
        node_states.purchase_option,
        node_states.purchase_option_basis,
        greatest(pods.valid_from_at, coalesce(node_states.state_from_at, pods.valid_from_at)) as part_from_at,
        case
            when pods.valid_to_at is null or node_states.state_to_at < pods.valid_to_at
                then node_states.state_to_at
            else pods.valid_to_at
        end as part_to_at
    from pods
    left join hosts
        on
            pods.source_name = hosts.source_name
            and pods.object_id = hosts.object_id
            and pods.first_seen_at = hosts.first_seen_at
            and hosts.host_rank = 1
    left join node_states
        on
            pods.cluster = node_states.cluster
            and hosts.node_uid = node_states.node_uid
            and (
                pods.valid_to_at is null
                or node_states.state_from_at is null
                or pods.valid_to_at > node_states.state_from_at
            )
            and (node_states.state_to_at is null or pods.valid_from_at < node_states.state_to_at)

),

-- The device that a pod has by name is its own only while the pod is seen.
held_gpus as (

    select
        placed.source_name,
        placed.object_id,
        placed.part_from_at,
        count(distinct gpu_intervals.gpu_uuid) as seen_gpu_count,
        max(gpu_names.gpu_model) as seen_gpu_model,
        max(gpu_intervals.mig_profile) as seen_mig_profile
    from placed
    inner join inventory_sources on placed.cluster = inventory_sources.cluster
    inner join gpu_intervals
        on
            inventory_sources.source_name = gpu_intervals.source_name
            and placed.namespace = gpu_intervals.namespace
            and placed.pod_name = gpu_intervals.pod_name
            and placed.part_from_at <= gpu_intervals.last_seen_at
            and (placed.part_to_at is null or placed.part_to_at > gpu_intervals.first_seen_at)
    left join gpu_names
        on replace(replace(gpu_intervals.gpu_name_raw, ' ', '-'), 'NVIDIA-', '') = gpu_names.gpu_name
    group by placed.source_name, placed.object_id, placed.part_from_at

),

described as (

    select
        placed.*,
        held_gpus.seen_gpu_count,
        held_gpus.seen_mig_profile,
        coalesce(nullif(placed.node_gpu_model, 'unknown'), held_gpus.seen_gpu_model, 'unknown') as gpu_model
    from placed
    left join held_gpus
        on
            placed.source_name = held_gpus.source_name
            and placed.object_id = held_gpus.object_id
            and placed.part_from_at = held_gpus.part_from_at

),

devices as (

    {{ json_pairs("described", "gpu_requests", ["source_name", "object_id", "part_from_at", "gpu_model",
        "node_mig_profile", "devices_per_gpu", "is_shared"]) }}

),

requested as (

    select
        source_name,
        object_id,
        part_from_at,
        sum(cast(pair_value as integer)) as device_count,
        max({{ mig_profile_of("pair_key", "node_mig_profile") }}) as mig_profile,
        max(case when pair_key like '%.shared' then 1 else 0 end) = 1 as is_share,
        count(*) = count(
            {{ gpu_fraction("pair_key", "node_mig_profile", "gpu_model", "is_shared", "devices_per_gpu") }}
        ) as is_sized,
        sum(
            cast(pair_value as integer)
            * {{ gpu_fraction("pair_key", "node_mig_profile", "gpu_model", "is_shared", "devices_per_gpu") }}
        ) as gpus
    from devices
    group by source_name, object_id, part_from_at

),

final as (

    select
        described.source_name,
        described.cluster,
        described.pod_uid,
        described.namespace,
        described.pod_name,
        described.owner_kind,
        described.owner_name,
        described.pod_ip_digest,

        -- Only the leader of a group exposes tokens; its workers cost money.
        coalesce(
            described.namespace || '/' || {{ json_text(
                "described.labels", "'$.\"leaderworkerset.sigs.k8s.io/name\"'"
            ) }} || '/' || coalesce({{ json_text(
                "described.labels", "'$.\"leaderworkerset.sigs.k8s.io/group-index\"'"
            ) }}, ''),
            described.namespace || '/' || {{ json_text("described.labels", "'$.\"ray.io/cluster\"'") }},
            described.namespace || '/' || described.pod_name
        ) as group_key,
        case
            when {{ json_text("described.labels", "'$.\"leaderworkerset.sigs.k8s.io/name\"'") }} is not null
                then coalesce({{ json_text(
                    "described.labels", "'$.\"leaderworkerset.sigs.k8s.io/worker-index\"'"
                ) }} = '0', false)
            when {{ json_text("described.labels", "'$.\"ray.io/cluster\"'") }} is not null
                then coalesce({{ json_text("described.labels", "'$.\"ray.io/node-type\"'") }} = 'head', false)
            else true
        end as is_group_leader,
        claims.deployment,
        coalesce(claims.is_ambiguous, false) as is_claim_ambiguous,

        -- where it runs
        described.node_name,
        described.node_uid,
        described.instance_id,
        coalesce(described.provider, 'unknown') as provider,
        coalesce(described.region, 'unknown') as region,
        described.zone_name,
        coalesce(described.instance_type, 'unknown') as instance_type,
        coalesce(described.purchase_option, 'unknown') as purchase_option,
        described.purchase_option_basis,

        -- on which GPUs
        described.gpu_model,
        coalesce(requested.mig_profile, described.seen_mig_profile) as mig_profile,
        coalesce(described.is_shared, false) or coalesce(requested.is_share, false) as is_shared,
        cast(
            case
                when requested.object_id is not null then requested.device_count
                when described.has_resource_claims then described.seen_gpu_count
                else 0
            end as bigint
        ) as device_count,
        cast(
            case
                when requested.object_id is not null and requested.is_sized then requested.gpus
                when requested.object_id is not null then null
                -- By resource claim: what the exporter saw, where it saw whole GPUs.
                when described.has_resource_claims and described.seen_mig_profile is null
                    then described.seen_gpu_count
                when described.has_resource_claims then null
                else 0
            end as decimal(18, 6)
        ) as gpus,
        described.seen_gpu_count,

        -- when
        described.part_from_at as valid_from_at,
        described.part_to_at as valid_to_at,
        described.first_seen_at,
        described.last_seen_at
    from described
    left join requested
        on
            described.source_name = requested.source_name
            and described.object_id = requested.object_id
            and described.part_from_at = requested.part_from_at
    left join claims
        on
            described.source_name = claims.source_name
            and described.object_id = claims.object_id
            and described.first_seen_at = claims.first_seen_at

)

select * from final
