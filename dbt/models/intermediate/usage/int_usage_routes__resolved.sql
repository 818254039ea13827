with routes as (

    select * from {{ ref("stg_ledger__usage_routes") }}

),

increases as (

    select * from {{ ref("int_counter_increases__hourly") }}

),

request_usage as (

    select * from {{ ref("int_request_usage__hourly") }}

),

log_usage as (

    select * from {{ ref("int_engine_log_usage__hourly") }}

),

-- One row per name a usage source was seen to use.
names as (

    select
        source_name,
        '' as model_group,
        model_name as model
    from increases
    group by source_name, model_name

    union distinct

    select
        source_name,
        model_group,
        model
    from request_usage
    group by source_name, model_group, model

    union distinct

    select
        source_name,
        '' as model_group,
        model_name as model
    from log_usage
    group by source_name, model_name

),

model_names as (

    select * from {{ ref("int_model_names__resolved") }}

),

-- A route for a model is one for its aliases and adapters (section models of the ledger).
route_models as (

    select
        raw_name,
        model
    from {{ ref("stg_ledger__model_names") }}
    where adapter is null

),

-- May multiply rows: several routes can fit one name. The public name wins over the served one, the served
-- one over its tail after the provider's prefix (hosted_vllm/acme/qwen3-32b is qwen3-32b), that over another
-- name of the same model, anything over '*'.
fitting as (

    select
        names.source_name,
        names.model_group,
        names.model,
        routes.deployment,
        routes.role,
        row_number() over (
            partition by names.source_name, names.model_group, names.model
            order by
                case
                    when routes.model_match = names.model_group then 1
                    when routes.model_match = names.model then 2
                    when routes.model_match = '*' then 6
                    when right(names.model, length(routes.model_match) + 1) = '/' || routes.model_match then 3
                    when route_models.model = served.model then 4
                    else 5
                end,
                length(routes.model_match) desc,
                routes.model_match
        ) as route_rank
    from names
    left join model_names as served on names.model = served.raw_name
    left join model_names as called on names.model_group = called.raw_name
    left join (routes left join route_models on routes.model_match = route_models.raw_name)
        on
            names.source_name = routes.source_name
            and (
                routes.model_match in (names.model_group, names.model, '*')
                or right(names.model, length(routes.model_match) + 1) = '/' || routes.model_match
                or route_models.model in (served.model, called.model)
            )

),

final as (

    select
        source_name,
        model_group,
        model,
        deployment,
        role
    from fitting
    where route_rank = 1

)

select * from final
