with source as (

    select * from {{ source("raw", "ledger_run") }}

),

archive as (

    select coalesce(max(archived_until), cast('1970-01-01' as date)) as archived_until
    from {{ source("raw", "usage_archive") }}

),

final as (

    select
        source.run_id,
        source.as_of_date,
        source.window_start_date,
        {{ start_of_day("source.window_start_date") }} as window_start_at,
        {{ plus_hours(start_of_day("source.as_of_date"), 24) }} as as_of_end_at,
        archive.archived_until as usage_archived_until_date,
        {{ start_of_day("archive.archived_until") }} as usage_archived_until_at,
        source.started_at,
        coalesce(source.close_after_days, 10) as close_after_days,
        -- In a full refresh nothing stands.
        {% if flags.FULL_REFRESH -%}
            {{ start_of_day("cast('1970-01-01' as date)") }} as prices_settled_until_at
        {%- else -%}
            coalesce(source.prices_settled_until_at, {{ start_of_day("cast('1970-01-01' as date)") }})
                as prices_settled_until_at
        {%- endif %}
    from source
    cross join archive

)

select * from final
