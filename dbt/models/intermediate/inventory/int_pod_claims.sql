with pods as (

    select * from {{ ref("int_pod_intervals") }}

),

inventory_sources as (

    select * from {{ ref("stg_ledger__inventory_sources") }}

),

selectors as (

    select
        *,
        count(label_key) over (partition by selector_id) as label_count,
        count(*) over (partition by selector_id) as term_count
    from {{ ref("stg_ledger__deployment_pods") }}

),

-- May multiply rows: a pod meets each term of each selector. All terms of a selector have to fit.
fitting as (

    select
        pods.source_name,
        pods.object_id,
        pods.first_seen_at,
        selectors.selector_id,
        selectors.deployment,
        selectors.label_count,
        length(selectors.namespace_match) + length(selectors.name_match) as name_length
    from pods
    inner join inventory_sources on pods.source_name = inventory_sources.source_name
    inner join selectors
        on
            coalesce(selectors.cluster, inventory_sources.cluster) = inventory_sources.cluster
            and {{ fits_pattern("pods.namespace", "selectors.namespace_match") }}
            and {{ fits_pattern("pods.pod_name", "selectors.name_match") }}
            and (
                selectors.label_key is null
                or {{ label_of("pods.labels", "selectors.label_key") }} = selectors.label_value
            )
    group by
        pods.source_name,
        pods.object_id,
        pods.first_seen_at,
        selectors.selector_id,
        selectors.deployment,
        selectors.label_count,
        selectors.term_count,
        length(selectors.namespace_match) + length(selectors.name_match)
    having count(*) = selectors.term_count

),

-- Who says most of a pod claims it: by more labels, then by longer names.
ranked as (

    select
        *,
        min(deployment) over (partition by source_name, object_id, first_seen_at)
        <> max(deployment) over (partition by source_name, object_id, first_seen_at) as is_ambiguous,
        row_number() over (
            partition by source_name, object_id, first_seen_at
            order by label_count desc, name_length desc, deployment asc, selector_id asc
        ) as claim_rank
    from fitting

),

final as (

    select
        source_name,
        object_id,
        first_seen_at,
        deployment,
        is_ambiguous
    from ranked
    where claim_rank = 1

)

select * from final
