-- The model and adapter of each name pair in the logs and metrics. The served name says it before the public
-- one; where the ledger knows neither, the model is that of the deployment that the usage goes to.
with routes as (

    select * from {{ ref("int_usage_routes__resolved") }}

),

model_names as (

    select * from {{ ref("int_model_names__resolved") }}

),

deployments as (

    select * from {{ ref("stg_ledger__deployments") }}

),

-- The configuration guarantees one model per deployment.
deployed as (

    select
        deployment,
        max(model) as model
    from deployments
    group by deployment

),

final as (

    select
        routes.source_name,
        routes.model_group,
        routes.model as model_raw,
        routes.deployment,
        coalesce(
            served.model,
            called.model,
            deployed.model,
            nullif(routes.model, ''),
            nullif(routes.model_group, ''),
            'unknown'
        ) as model,
        coalesce(served.adapter, called.adapter) as adapter,
        case
            when served.model is not null then 'served_name'
            when called.model is not null then 'public_name'
            when deployed.model is not null then 'deployment'
            else 'none'
        end as model_basis
    from routes
    left join model_names as served on routes.model = served.raw_name
    left join model_names as called on routes.model_group = called.raw_name
    left join deployed on routes.deployment = deployed.deployment

)

select * from final
