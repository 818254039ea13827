with tenants as (

    select * from {{ ref("stg_ledger__tenants") }}
    where match_on = 'namespace'

),

replicas as (

    select * from {{ ref("int_replica_inventory") }}

),

names as (

    select distinct namespace from replicas

),

-- May multiply rows: the name itself counts before a pattern, the longest before others, of equals the first
-- in the ledger.
fitting as (

    select
        names.namespace,
        tenants.tenant,
        tenants.team,
        tenants.cost_center,
        row_number() over (
            partition by names.namespace
            order by
                case when tenants.pattern = names.namespace then 0 else 1 end asc,
                length(tenants.pattern) desc,
                tenants.tenant_position asc,
                tenants.pattern asc
        ) as pattern_rank
    from names
    inner join tenants on {{ fits_pattern("names.namespace", "tenants.pattern") }}

),

final as (

    select
        namespace,
        tenant,
        team,
        cost_center
    from fitting
    where pattern_rank = 1

)

select * from final
