-- Every statement that was published about a day's cost, and those that this run adds: where it says
-- something else than the latest one, and where the ledger no longer has what that one spoke of. A month is
-- closed some days after its end; one of which nothing had been published by then (a ledger begun later),
-- with the first run that speaks of it.
{%- set key = ["usage_date", "scope", "name", "pricing_category"] %}
{%- set said = ["provider", "gpu_hours", "cost_usd", "rate_basis", "total_tokens"] %}

with published as (

    select * from {{ ref("stg_ledger__published_costs") }}

),

today as (

    select * from {{ ref("int_costs__daily") }}

),

run as (

    select * from {{ ref("stg_ledger__run") }}

),

numbered as (

    select
        *,
        max(version_number) over (partition by {{ key | join(", ") }}) as last_version_number
    from published

),

latest as (

    select * from numbered
    where version_number = last_version_number

),

-- A run about an earlier day (--date) says nothing of the days after it.
spoken_of as (

    select latest.*
    from latest
    inner join run on latest.usage_date <= run.as_of_date

),

compared as (

    select
        {%- for column in key %}
            coalesce(today.{{ column }}, spoken_of.{{ column }}) as {{ column }},
        {%- endfor %}
        coalesce(spoken_of.last_version_number, 0) + 1 as version_number,
        today.usage_date is null as is_withdrawn,
        today.provider,
        today.gpu_hours,
        today.cost_usd,
        today.rate_basis,
        today.total_tokens
    from today
    full outer join spoken_of
        on
            today.usage_date = spoken_of.usage_date
            and today.scope = spoken_of.scope
            and today.name = spoken_of.name
            and today.pricing_category = spoken_of.pricing_category
    where
        (today.usage_date is null and not spoken_of.is_withdrawn)
        or (today.usage_date is not null and coalesce(spoken_of.is_withdrawn, true))
        {%- for column in said %}
            or (today.usage_date is not null and today.{{ column }} is distinct from spoken_of.{{ column }})
        {%- endfor %}

),

versions as (

    select
        {{ key | join(", ") }},
        version_number,
        stated_at,
        run_id,
        is_withdrawn,
        {{ said | join(", ") }}
    from published

    union all

    select
        {%- for column in key %}
            compared.{{ column }},
        {%- endfor %}
        compared.version_number,
        run.started_at as stated_at,
        run.run_id,
        compared.is_withdrawn,
        {%- for column in said %}
            compared.{{ column }}{% if not loop.last %},{% endif %}
        {%- endfor %}
    from compared
    cross join run

),

dated as (

    select
        *,
        {{ first_day_of_month("usage_date") }} as month_start_date,
        {{ next_month("usage_date") }} as month_end_date
    from versions

),

final as (

    select
        dated.usage_date,
        dated.scope,
        dated.name,
        dated.pricing_category,
        dated.version_number,
        dated.stated_at,
        lead(dated.stated_at) over (
            partition by dated.usage_date, dated.scope, dated.name, dated.pricing_category
            order by dated.version_number
        ) as superseded_at,
        dated.run_id,
        dated.is_withdrawn,
        {%- for column in said %}
            dated.{{ column }},
        {%- endfor %}
        dated.month_start_date,
        dated.month_end_date,
        greatest(
            {{ plus_hours(start_of_day("dated.month_end_date"), "24 * run.close_after_days") }},
            min(dated.stated_at) over (partition by dated.month_start_date)
        ) as closes_at,
        run.started_at as run_started_at,
        run.as_of_end_at
    from dated
    cross join run

)

select * from final
