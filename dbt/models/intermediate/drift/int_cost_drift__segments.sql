{{ config(tags=["after_drift"]) }}

{%- set key = ["series_kind", "series", "measure", "usage_date"] %}
{%- set place = ["deployment", "model", "provider", "region", "gpu_model"] %}
{%- set segment = place + ["pricing_category"] %}
{%- set measures = [
    "cost_usd", "gpu_hours", "active_gpu_hours", "total_tokens", "cached_input_tokens", "request_count"
] %}

with scores as (

    select * from {{ ref("stg_drift__scores") }}
    where
        pooled_from_date is not null
        {% if not flags.FULL_REFRESH -%}
            and usage_date >= (select run.window_start_date from {{ ref("stg_ledger__run") }} as run)
        {%- endif %}

),

reference_days as (

    select * from {{ ref("stg_drift__references") }}

),

days as (

    select * from {{ ref("int_cost_series__daily") }}

),

segments as (

    select * from {{ ref("int_cost_segments__daily") }}

),

series_kinds as (
    {{ cost_series_kinds() }}
),

members as (

    select
        segments.*,
        series_kinds.series_kind,
        {{ cost_series_of("segments") }} as series
    from segments
    cross join series_kinds

),

actual as (

    select
        {{ qualified("scores", key) }},
        {{ qualified("members", segment) }},
        true as is_actual,
        {{ sums_of("members", measures) }}
    from scores
    inner join members
        on
            scores.series_kind = members.series_kind
            and scores.series = members.series
            and members.usage_date between scores.pooled_from_date and scores.usage_date
    -- Only what the series counts of days that waited to be pooled.
    inner join days
        on
            scores.series_kind = days.series_kind
            and scores.series = days.series
            and scores.measure = days.measure
            and members.usage_date = days.usage_date
            and days.is_complete
            and days.volume > 0
    group by {{ qualified("scores", key) }}, {{ qualified("members", segment) }}

),

reference as (

    select
        {{ qualified("scores", key) }},
        {{ qualified("members", segment) }},
        false as is_actual,
        {{ sums_of("members", measures) }}
    from scores
    inner join reference_days on {{ same_columns("scores", "reference_days", key) }}
    inner join members
        on
            reference_days.series_kind = members.series_kind
            and reference_days.series = members.series
            and reference_days.reference_date = members.usage_date
    group by {{ qualified("scores", key) }}, {{ qualified("members", segment) }}

),

sides as (

    select * from actual

    union all

    select * from reference

),

final as (

    select
        {{ key | join(", ") }},
        {{ segment | join(", ") }},
        is_actual,
        cast(cost_usd as decimal(38, 10)) as cost_usd,
        cast(gpu_hours as decimal(28, 6)) as gpu_hours,
        cast(active_gpu_hours as decimal(38, 14)) as active_gpu_hours,
        cast(total_tokens as decimal(28, 0)) as total_tokens,
        cast(cached_input_tokens as decimal(28, 0)) as cached_input_tokens,
        cast(request_count as decimal(28, 0)) as request_count
    from sides

)

select * from final
