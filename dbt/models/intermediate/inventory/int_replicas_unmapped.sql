with usage_hours as (

    select * from {{ ref("int_replica_usage__hourly") }}

),

selectors as (

    select distinct deployment from {{ ref("stg_ledger__deployment_pods") }}

),

stated as (

    select count(*) as selector_count from selectors

),

snapshots as (

    select * from {{ ref("stg_inventory__snapshots") }}
    where kind = 'kubernetes_pods'

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

coverage as (

    select
        min(observed_at) as covered_from_at,
        {{ plus_hours("max(observed_at)", inventory_hold_hours()) }} as covered_to_at
    from snapshots

),

judged as (

    select
        usage_hours.*,
        case
            when usage_hours.is_ambiguous then 'ambiguous_pod'
            -- A deployment that names no pods may run outside of the clusters.
            when
                usage_hours.pod_uid is null
                and selectors.deployment is not null
                and usage_hours.usage_hour_at >= coverage.covered_from_at
                and usage_hours.usage_hour_at < coverage.covered_to_at
                then 'no_pod'
            when
                usage_hours.pod_uid is not null
                and usage_hours.claimed_deployment is null
                and stated.selector_count > 0
                then 'no_deployment'
            when usage_hours.claimed_deployment <> usage_hours.routed_deployment then 'other_deployment'
        end as reason
    from usage_hours
    inner join run on usage_hours.usage_hour_at < run.as_of_end_at
    cross join coverage
    cross join stated
    left join selectors on usage_hours.routed_deployment = selectors.deployment

),

final as (

    select
        reason,
        source_name,
        replica_key,
        coalesce(cluster, '') as cluster,
        coalesce(namespace, '') as namespace,
        coalesce(pod_name, '') as pod_name,
        coalesce(routed_deployment, '') as routed_deployment,
        coalesce(claimed_deployment, '') as claimed_deployment,
        min({{ day_of("usage_hour_at") }}) as first_usage_date,
        max({{ day_of("usage_hour_at") }}) as last_usage_date,
        cast(sum(prompt_tokens + output_tokens) as bigint) as total_tokens
    from judged
    where reason is not null
    group by
        reason,
        source_name,
        replica_key,
        coalesce(cluster, ''),
        coalesce(namespace, ''),
        coalesce(pod_name, ''),
        coalesce(routed_deployment, ''),
        coalesce(claimed_deployment, '')

)

select * from final
