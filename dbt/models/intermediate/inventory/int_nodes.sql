with intervals as (

    select * from {{ ref("int_node_intervals") }}

),

inventory_sources as (

    select * from {{ ref("stg_ledger__inventory_sources") }}

),

prefixes as (

    select * from {{ ref("node_provider_prefixes") }}

),

purchase_options as (

    select * from {{ ref("node_purchase_options") }}

),

instance_types as (

    select * from {{ ref("instance_types") }}

),

gpu_names as (

    select * from {{ ref("int_gpu_names") }}

),

-- Two sources that list one cluster show a node twice: the first by name counts.
observed as (

    select
        intervals.*,
        inventory_sources.cluster,
        inventory_sources.provider as stated_provider,
        inventory_sources.region as stated_region,
        min(intervals.source_name) over (
            partition by inventory_sources.cluster, intervals.object_id
        ) as first_source_name
    from intervals
    inner join inventory_sources on intervals.source_name = inventory_sources.source_name

),

labelled as (

    select
        observed.*,
        coalesce(prefixes.provider, observed.stated_provider, 'unknown') as provider,
        coalesce(
            {{ label_text("topology.kubernetes.io/region") }},
            {{ label_text("failure-domain.beta.kubernetes.io/region") }},
            observed.stated_region,
            'unknown'
        ) as region,
        coalesce(
            {{ label_text("topology.kubernetes.io/zone") }},
            {{ label_text("failure-domain.beta.kubernetes.io/zone") }}
        ) as zone_name,
        coalesce(
            {{ label_text("node.kubernetes.io/instance-type") }},
            {{ label_text("beta.kubernetes.io/instance-type") }},
            'unknown'
        ) as machine_type,
        {{ label_text("nvidia.com/gpu.product") }} as gpu_product,
        {{ dbt.safe_cast(label_text("nvidia.com/gpu.replicas"), "integer") }} as devices_per_gpu,
        {{ label_text("cloud.google.com/gke-accelerator") }} as gke_accelerator,
        {{ dbt.safe_cast(label_text("cloud.google.com/gke-accelerator-count"), "integer") }} as gke_gpu_count,
        {{ label_text("karpenter.k8s.aws/instance-gpu-name") }} as karpenter_gpu_name,
        {{ dbt.safe_cast(label_text("karpenter.k8s.aws/instance-gpu-count"), "integer") }}
            as karpenter_gpu_count
    from observed
    left join prefixes
        on left(observed.provider_id, length(prefixes.provider_id_prefix)) = prefixes.provider_id_prefix
    where observed.source_name = observed.first_source_name

),

-- The price list of Google Cloud names a machine type with its GPUs where they are added to it.
typed as (

    select
        labelled.*,
        case
            when
                labelled.provider = 'gcp'
                and labelled.machine_type like 'n1-%'
                and labelled.gke_accelerator is not null
                and labelled.gke_gpu_count is not null
                then
                    labelled.machine_type || ' + ' || cast(labelled.gke_gpu_count as varchar) || ' x '
                    || labelled.gke_accelerator
            else labelled.machine_type
        end as instance_type,
        -- NVIDIA-A100-SXM4-40GB-MIG-1g.5gb-SHARED: the driver's name, MIG alike on all GPUs, and shares.
        replace(
            {{ dbt.split_part("replace(labelled.gpu_product, '-SHARED', '')", "'-MIG-'", 1) }}, 'NVIDIA-', ''
        ) as product_name,
        nullif(
            {{ dbt.split_part("replace(labelled.gpu_product, '-SHARED', '')", "'-MIG-'", 2) }}, ''
        ) as mig_profile,
        coalesce(labelled.gpu_product like '%-SHARED', false) or coalesce(labelled.devices_per_gpu > 1, false)
            as is_shared
    from labelled

),

-- What a node has is told by its label, which the driver wrote; else by its type; else by the cloud's word.
described as (

    select
        typed.*,
        coalesce(
            by_product.gpu_model, instance_types.gpu_model, by_accelerator.gpu_model, by_karpenter.gpu_model
        ) as gpu_model,
        instance_types.gpu_count as type_gpu_count
    from typed
    left join gpu_names as by_product
        on
            typed.product_name = by_product.gpu_name
            and by_product.vocabulary = 'driver'
    left join instance_types
        on
            typed.provider = instance_types.provider
            and typed.instance_type = instance_types.instance_type
    left join gpu_names as by_accelerator
        on
            typed.gke_accelerator = by_accelerator.gpu_name
            and by_accelerator.vocabulary = 'gke'
    left join gpu_names as by_karpenter
        on
            typed.karpenter_gpu_name = by_karpenter.gpu_name
            and by_karpenter.vocabulary = 'karpenter'

),

devices as (

    {{ json_pairs("described", "gpu_capacity", ["source_name", "object_id", "first_seen_at", "gpu_model",
        "mig_profile", "devices_per_gpu", "is_shared"]) }}

),

capacities as (

    select
        source_name,
        object_id,
        first_seen_at,
        sum(cast(pair_value as integer)) as device_count,
        sum(
            cast(pair_value as integer)
            * {{ gpu_fraction("pair_key", "mig_profile", "gpu_model", "is_shared", "devices_per_gpu") }}
        ) as whole_gpus,
        -- One device that nobody can size leaves the sum unknown.
        count(*) = count(
            {{ gpu_fraction("pair_key", "mig_profile", "gpu_model", "is_shared", "devices_per_gpu") }}
        ) as is_sized
    from devices
    group by source_name, object_id, first_seen_at

),

options as (

    select
        labelled.source_name,
        labelled.object_id,
        labelled.first_seen_at,
        purchase_options.purchase_option,
        purchase_options.label_key,
        row_number() over (
            partition by labelled.source_name, labelled.object_id, labelled.first_seen_at
            order by purchase_options.rank, purchase_options.label_key
        ) as option_rank
    from labelled
    inner join purchase_options
        on
            {{ label_of("labelled.labels", "purchase_options.label_key") }}
            = purchase_options.label_value
            or (
                purchase_options.label_value = '*'
                and {{ label_of("labelled.labels", "purchase_options.label_key") }} is not null
            )

),

final as (

    select
        described.source_name,
        described.cluster,
        described.node_uid,
        described.node_name,
        described.provider_id,
        {{ last_segment("described.provider_id") }} as instance_id,

        -- what it is
        described.provider,
        described.region,
        described.zone_name,
        described.instance_type,
        coalesce(described.gpu_model, 'unknown') as gpu_model,
        cast(
            coalesce(
                described.type_gpu_count,
                described.gke_gpu_count,
                described.karpenter_gpu_count,
                -- Slices need not fill a GPU: two of 3g are six sevenths of one.
                case when capacities.is_sized then ceil(capacities.whole_gpus) end
            ) as decimal(18, 6)
        ) as gpu_count,
        coalesce(capacities.device_count, 0) > 0
        or described.gpu_product is not null
        or described.gke_accelerator is not null
        or described.karpenter_gpu_name is not null
        or described.type_gpu_count is not null as has_gpus,
        described.mig_profile,
        described.is_shared,
        described.devices_per_gpu,

        -- how it is bought
        coalesce(options.purchase_option, 'unknown') as purchase_option,
        options.label_key as purchase_option_basis,

        -- when
        described.valid_from_at,
        described.valid_to_at,
        described.first_seen_at,
        described.last_seen_at
    from described
    left join capacities
        on
            described.source_name = capacities.source_name
            and described.object_id = capacities.object_id
            and described.first_seen_at = capacities.first_seen_at
    left join options
        on
            described.source_name = options.source_name
            and described.object_id = options.object_id
            and described.first_seen_at = options.first_seen_at
            and options.option_rank = 1

)

select * from final
