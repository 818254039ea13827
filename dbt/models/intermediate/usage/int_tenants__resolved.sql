-- Who a tenant of the logs is. A tenant that no pattern of the ledger fits keeps its own name; where a log
-- names no tenant, the public model name may tell.
with tenants as (

    select * from {{ ref("stg_ledger__tenants") }}

),

request_usage as (

    select * from {{ ref("int_request_usage__hourly") }}

),

names as (

    select distinct
        source_name,
        tenant as tenant_raw,
        model_group
    from request_usage

),

-- May multiply rows: the name itself fits before a pattern, a longer pattern before a shorter one, of equals
-- the first in the ledger.
fitting as (

    select
        names.source_name,
        names.tenant_raw,
        names.model_group,
        tenants.tenant,
        tenants.team,
        tenants.cost_center,
        tenants.match_on,
        row_number() over (
            partition by names.source_name, names.tenant_raw, names.model_group
            order by
                case when tenants.pattern in (names.tenant_raw, names.model_group) then 0 else 1 end asc,
                length(tenants.pattern) desc,
                tenants.tenant_position asc,
                tenants.pattern asc
        ) as pattern_rank
    from names
    inner join tenants
        on
            (tenants.match_on = 'tenant' and {{ fits_pattern("names.tenant_raw", "tenants.pattern") }})
            or (
                tenants.match_on = 'model_group'
                and names.tenant_raw = 'unknown'
                and {{ fits_pattern("names.model_group", "tenants.pattern") }}
            )

),

final as (

    select
        names.source_name,
        names.tenant_raw,
        names.model_group,
        coalesce(fitting.tenant, names.tenant_raw) as tenant,
        fitting.team,
        fitting.cost_center,
        coalesce(fitting.match_on, 'none') as tenant_basis
    from names
    left join fitting
        on
            names.source_name = fitting.source_name
            and names.tenant_raw = fitting.tenant_raw
            and names.model_group = fitting.model_group
            and fitting.pattern_rank = 1

)

select * from final
