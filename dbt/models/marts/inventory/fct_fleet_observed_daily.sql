with final as (

    select
        usage_date,
        provider,
        region,
        instance_type,
        gpu_model,
        purchase_class,
        declared_gpu_hours,
        declared_reserved_gpu_hours,
        observed_gpu_hours,
        observed_reserved_gpu_hours,
        difference_gpu_hours,
        uncertain_gpu_hours,
        observed_nodes,
        status
    from {{ ref("int_fleet_observed__daily") }}

)

select * from final
