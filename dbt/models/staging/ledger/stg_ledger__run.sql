with source as (

    select * from {{ source("raw", "ledger_run") }}

),

final as (

    select
        run_id,
        as_of_date,
        window_start_date,
        {{ start_of_day("window_start_date") }} as window_start_at,
        {{ plus_hours(start_of_day("as_of_date"), 24) }} as as_of_end_at,
        started_at,
        coalesce(close_after_days, 10) as close_after_days,
        -- In a full refresh nothing stands.
        {% if flags.FULL_REFRESH -%}
            {{ start_of_day("cast('1970-01-01' as date)") }} as prices_settled_until_at
        {%- else -%}
            coalesce(prices_settled_until_at, {{ start_of_day("cast('1970-01-01' as date)") }})
                as prices_settled_until_at
        {%- endif %}
    from source

)

select * from final
