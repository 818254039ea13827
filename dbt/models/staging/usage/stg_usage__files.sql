with source as (

    select * from {{ source("raw", "usage_files") }}

),

final as (

    select
        file_id,
        source_name,
        kind,
        file_path,
        status,
        record_count,
        rejected_count,
        first_usage_date,
        last_usage_date,
        message,
        modified_at,
        loaded_at
    from source

)

select * from final
