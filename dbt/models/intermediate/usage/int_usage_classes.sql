{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
) }}

-- From which hour to which a replica tells of a class of usage. A page that was cut, or a value that is no
-- number, moves an increase into another hour, and the hour it left has counted 0 of it. So what a new scrape
-- says of classes may change hours of long ago (int_usage_window): kept of each build since the marts were
-- last published (note_published in orchestration/warehouse.py drops the older ones).
with increases as (

    select * from {{ ref("int_counter_increases__hourly") }}

),

routes as (

    select * from {{ ref("int_usage_routes__resolved") }}
    where deployment is not null

),

final as (

    select
        {{ this_build_number() }} as build_number,
        routes.deployment,
        increases.source_name,
        increases.replica_key,
        {%- for class in page_classes() %}
            {%- for which, bound in {"first": "min", "last": "max"}.items() %}
                case
                    when max(case when increases.has_{{ class }} then 1 else 0 end) = 1
                        then {{ bound }}(increases.usage_hour_at)
                end as {{ which }}_{{ class }}_at,
            {%- endfor %}
        {%- endfor %}
        {%- for class in released_classes() %}
            min(case when increases.{{ class }} is not null then increases.usage_hour_at end)
                as first_{{ class }}_at,
            max(case when increases.{{ class }} is not null then increases.usage_hour_at end)
                as last_{{ class }}_at{% if not loop.last %},{% endif %}
        {%- endfor %}
    from increases
    inner join routes
        on
            increases.source_name = routes.source_name
            and increases.model_name = routes.model
            and routes.model_group = ''
    group by routes.deployment, increases.source_name, increases.replica_key

)

select * from final
