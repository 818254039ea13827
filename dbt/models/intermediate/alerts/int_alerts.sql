{{ config(materialized="view") }}

with final as (

    select
        *,
        case severity when 'page' then 1 when 'warning' then 2 else 3 end as severity_order
    from {{ ref("stg_alerts__incidents") }}

)

select * from final
