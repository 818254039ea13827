-- The driver's names as GPU feature discovery writes them: dashes for spaces, and in old releases no vendor.
with aliases as (

    select * from {{ ref("gpu_model_aliases") }}
    where source = '*' and match_on = 'gpu_name'

),

product_names as (

    select * from {{ ref("gpu_product_names") }}

),

named as (

    select
        'driver' as vocabulary,
        raw_value,
        gpu_model
    from aliases

    union all

    select
        vocabulary,
        raw_value,
        gpu_model
    from product_names

),

spelled as (

    select
        vocabulary,
        case
            when vocabulary = 'driver' then replace(replace(raw_value, ' ', '-'), 'NVIDIA-', '')
            else raw_value
        end as gpu_name,
        gpu_model
    from named

),

final as (

    select
        vocabulary,
        gpu_name,
        min(gpu_model) as gpu_model
    from spelled
    group by vocabulary, gpu_name

)

select * from final
