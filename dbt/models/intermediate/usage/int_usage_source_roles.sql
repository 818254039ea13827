-- The configuration gives each source one role. Two sources speak of the same calls where they have one role
-- and go to the same deployments.
with routes as (

    select * from {{ ref("stg_ledger__usage_routes") }}

),

final as (

    select
        source_name,
        max(role) as role,
        max(role) || ' ' || min(deployment) || ' ' || max(deployment) as speaker
    from routes
    group by source_name

)

select * from final
