{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    tags=["after_drift"],
    meta={"window_column": "usage_date"},
) }}

-- depends_on: {{ ref('stg_ledger__run') }}

{%- set key = ["series_kind", "series", "measure", "usage_date"] %}
{%- set place = ["deployment", "model", "provider", "region", "gpu_model"] %}
{%- set segment = place + ["pricing_category"] %}
{%- set side = key | join(", ") ~ ", is_actual" %}
with segments as (

    select
        *,
        cast({{ drift_volume() }} as double) as volume,
        cast(total_tokens as double) / 1000000 as million_tokens,
        cast(total_tokens - cached_input_tokens as double) / 1000000 as million_computed_tokens
    from {{ ref("int_cost_drift__segments") }}

),

expected as (

    select * from {{ ref("int_cost_drift__expected") }}
    where expected_cost_usd_per_day is not null
    {% if is_incremental() -%}
        and usage_date >= (select run.window_start_date from {{ ref("stg_ledger__run") }} as run)
    {%- endif %}

),

shares as (

    select
        *,
        sum(volume) over (partition by {{ side }}) as series_volume,
        sum(volume) over (partition by {{ side }}, model) as model_volume,
        sum(volume) over (partition by {{ side }}, {{ place | join(", ") }}) as place_volume
    from segments

),

-- Null where a factor is no number above zero: a segment without tokens, active hours or computed tokens.
factored as (

    select
        {{ key | join(", ") }},
        {{ segment | join(", ") }},
        is_actual,
        cast(cost_usd as double) as segment_cost_usd,
        {{ drift_factor_columns() }}
    from shares

),

paired as (

    select
        {{ key | join(", ") }},
        {{ segment | join(", ") }},
        coalesce(max(case when is_actual then segment_cost_usd end), 0) as actual_usd,
        coalesce(max(case when not is_actual then segment_cost_usd end), 0) as reference_usd,
        {{ drift_factor_logs() }}
    from factored
    group by {{ key | join(", ") }}, {{ segment | join(", ") }}

),

-- The reference is brought to the day's volume: what is compared is money a day.
scaled as (

    select
        paired.*,
        paired.actual_usd / {{ drift_days("expected") }} as after_usd,
        paired.reference_usd * cast(expected.judged_volume as double)
        / cast(expected.reference_volume as double) / {{ drift_days("expected") }} as before_usd,
        expected.actual_cost_usd_per_day - expected.expected_cost_usd_per_day as change_usd
    from paired
    inner join expected on {{ same_columns("paired", "expected", key) }}

),

weighted as (

    select
        *,
        case
            when after_usd > 0 and before_usd > 0 then {{ logarithmic_mean("after_usd", "before_usd") }}
        end as weight_usd,
        {{ drift_factors().keys() | join(" + ") }} as all_factors
    from scaled

),

effect_names as (
    {{ drift_effect_names() }}
),

-- Where a factor is unknown on a side that has cost, nothing but price and idleness can be told apart.
effects as (

    select
        weighted.*,
        effect_names.effect,
        case
            when weighted.weight_usd is null and effect_names.effect = 'new_stopped'
                then weighted.after_usd - weighted.before_usd
            when weighted.weight_usd is null or effect_names.effect = 'new_stopped' then 0
            when weighted.all_factors is not null
                then weighted.weight_usd * {{ drift_factor_of("weighted", "effect_names.effect") }}
            when effect_names.effect = 'price' then coalesce(weighted.weight_usd * weighted.price, 0)
            when effect_names.effect = 'utilization'
                then
                    weighted.after_usd
                    - weighted.before_usd
                    - coalesce(weighted.weight_usd * weighted.price, 0)
            else 0
        end as effect_usd
    from weighted
    cross join effect_names

),

rounded as (

    select
        *,
        cast(effect_usd as decimal(38, 10)) as rounded_usd,
        row_number() over (
            partition by {{ key | join(", ") }}
            order by -abs(effect_usd), effect, {{ segment | join(", ") }}
        ) as size_rank
    from effects

),

-- What rounding leaves goes to the largest, so that the effects sum to the change to the last digit.
final as (

    select
        {{ key | join(", ") }},
        {{ segment | join(", ") }},
        effect,
        cast(
            rounded_usd
            + case
                when size_rank = 1
                    then change_usd - sum(rounded_usd) over (partition by {{ key | join(", ") }})
                else 0
            end as decimal(38, 10)
        ) as effect_usd_per_day,
        cast(before_usd as decimal(38, 10)) as expected_cost_usd_per_day,
        cast(after_usd as decimal(38, 10)) as actual_cost_usd_per_day
    from rounded

)

select * from final
where effect_usd_per_day <> 0
