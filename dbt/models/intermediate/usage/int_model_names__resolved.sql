-- Every model name that a usage source was seen to use, and what the ledger (section models) says it
-- means: the model, and the LoRA adapter where the name is that of one. Engines count adapters under their
-- model; only the name in a gateway's log tells them apart.
with model_names as (

    select * from {{ ref("stg_ledger__model_names") }}

),

increases as (

    select * from {{ ref("int_counter_increases__hourly") }}

),

request_usage as (

    select * from {{ ref("int_request_usage__hourly") }}

),

names as (

    select model_name as raw_name from increases

    union distinct

    select model as raw_name from request_usage

    union distinct

    select model_group as raw_name from request_usage

),

-- May multiply rows: the name itself fits before its tail after the provider's prefix, a longer tail before a
-- shorter one.
fitting as (

    select
        names.raw_name,
        model_names.model,
        model_names.adapter,
        case when model_names.raw_name = names.raw_name then 'name' else 'tail' end as match_basis,
        row_number() over (
            partition by names.raw_name order by length(model_names.raw_name) desc
        ) as name_rank
    from names
    inner join model_names
        on
            names.raw_name = model_names.raw_name
            or right(names.raw_name, length(model_names.raw_name) + 1) = '/' || model_names.raw_name

),

final as (

    select
        raw_name,
        model,
        adapter,
        match_basis
    from fitting
    where name_rank = 1

)

select * from final
