with costs as (

    select * from {{ ref("fct_inference_costs_hourly") }}

),

token_cost_weights as (

    select * from {{ ref("token_cost_weights") }}

),

weights as (

    select
        max(case when token_class = 'input' then cost_weight end) as input_weight,
        max(case when token_class = 'cached_input' then cost_weight end) as cached_input_weight,
        max(case when token_class = 'output' then cost_weight end) as output_weight
    from token_cost_weights

),

scopes as (

    select 'own' as scope

    union all

    select 'all' as scope

),

-- Doubles rows on purpose: each counts once under its own category and once under 'all'.
scoped as (

    select
        costs.*,
        case when scopes.scope = 'all' then 'all' else costs.pricing_category end as reported_category,
        costs.cost_usd is not null as is_priced
    from costs
    cross join scopes

),

-- Unit costs divide what is priced by the tokens of what is priced: tokens whose cost is unknown would make
-- them cheaper.
daily as (

    select
        usage_date,
        model,
        gpu_model,
        reported_category as pricing_category,
        cast(sum(gpu_hours) as decimal(18, 6)) as gpu_hours,
        cast(sum(case when is_priced then gpu_hours end) as decimal(18, 6)) as priced_gpu_hours,
        cast(sum(cost_usd) as decimal(38, 10)) as cost_usd,
        cast(sum(active_cost_usd) as decimal(38, 10)) as active_cost_usd,
        cast(sum(idle_cost_usd) as decimal(38, 10)) as idle_cost_usd,
        count(*) = count(cost_usd) as is_fully_priced,
        min(case when cost_usd is null then null_reason end) as cost_null_reason,
        cast(sum(input_tokens) as bigint) as input_tokens,
        cast(sum(cached_input_tokens) as bigint) as cached_input_tokens,
        cast(sum(output_tokens) as bigint) as output_tokens,
        cast(sum(total_tokens) as bigint) as total_tokens,
        cast(sum(request_count) as bigint) as request_count,
        cast(sum(case when is_priced then input_tokens end) as bigint) as priced_input_tokens,
        cast(sum(case when is_priced then cached_input_tokens end) as bigint) as priced_cached_input_tokens,
        cast(sum(case when is_priced then output_tokens end) as bigint) as priced_output_tokens,
        cast(sum(case when is_priced then total_tokens end) as bigint) as priced_total_tokens,
        cast(sum(case when is_priced then request_count end) as bigint) as priced_request_count,
        sum(case when is_priced then prefill_seconds end) as priced_prefill_seconds,
        sum(case when is_priced then decode_seconds end) as priced_decode_seconds,
        sum(gpu_hours * utilization_ratio) as active_gpu_hours,
        sum(case when utilization_ratio is not null then gpu_hours end) as observed_gpu_hours,
        sum(gpu_hours * coalesce(usage_coverage_ratio, 0)) as covered_gpu_hours
    from scoped
    group by usage_date, model, gpu_model, reported_category

),

-- How much of the cost each token class bears, in any unit: only the proportions count.
burdened as (

    select
        daily.*,
        weights.input_weight * daily.priced_input_tokens as input_burden,
        weights.cached_input_weight * daily.priced_cached_input_tokens as cached_input_burden,
        weights.output_weight * daily.priced_output_tokens as output_burden,
        coalesce(daily.priced_prefill_seconds + daily.priced_decode_seconds > 0, false) as is_phase_measured,
        coalesce(daily.cost_usd is not null and daily.priced_total_tokens > 0, false) as is_divisible
    from daily
    cross join weights

),

output_split as (

    select
        *,
        case
            when is_divisible and is_phase_measured
                then {{ part_of(
                    "cost_usd", "priced_decode_seconds", "priced_prefill_seconds + priced_decode_seconds", 10
                ) }}
            when is_divisible
                then {{ part_of(
                    "cost_usd",
                    "output_burden",
                    "input_burden + coalesce(cached_input_burden, 0) + output_burden",
                    10,
                ) }}
        end as output_cost_usd
    from burdened

),

input_split as (

    select
        *,
        -- Null where no source counts cached tokens: they are among the input tokens then, and so is their
        -- cost.
        case
            when is_divisible and cached_input_burden is not null
                then coalesce(
                    {{ part_of(
                        "cost_usd - output_cost_usd",
                        "cached_input_burden",
                        "input_burden + cached_input_burden",
                        10,
                    ) }},
                    0
                )
        end as cached_input_cost_usd
    from output_split

),

final as (

    select
        usage_date,
        model,
        gpu_model,
        pricing_category,
        gpu_hours,
        cost_usd,
        active_cost_usd,
        idle_cost_usd,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        total_tokens,
        request_count,
        cast(cost_usd - output_cost_usd - coalesce(cached_input_cost_usd, 0) as decimal(38, 10))
            as input_cost_usd,
        cast(cached_input_cost_usd as decimal(38, 10)) as cached_input_cost_usd,
        cast(output_cost_usd as decimal(38, 10)) as output_cost_usd,
        {{ usd_per_million(
            "(cost_usd - output_cost_usd - coalesce(cached_input_cost_usd, 0))", "priced_input_tokens"
        ) }} as cost_usd_per_million_input_tokens,
        {{ usd_per_million("cached_input_cost_usd", "priced_cached_input_tokens") }}
            as cost_usd_per_million_cached_input_tokens,
        {{ usd_per_million("output_cost_usd", "priced_output_tokens") }}
            as cost_usd_per_million_output_tokens,
        {{ usd_per_million("cost_usd", "priced_total_tokens") }} as cost_usd_per_million_total_tokens,
        {{ usd_unit_cost("cost_usd", "priced_request_count") }} as cost_usd_per_request,
        case
            when not is_divisible then null
            when is_phase_measured then 'measured_phase_seconds'
            else 'default_weights'
        end as split_basis,
        {{ share_ratio("active_gpu_hours", "observed_gpu_hours") }} as utilization_ratio,
        {{ share_ratio("covered_gpu_hours", "gpu_hours") }} as usage_coverage_ratio,
        is_fully_priced,
        {{ share_ratio("coalesce(priced_gpu_hours, 0)", "gpu_hours") }}
            as priced_gpu_hours_ratio,
        priced_total_tokens,
        case
            when cost_usd is null then cost_null_reason
            when total_tokens is null then 'no_usage_reported'
            when priced_total_tokens is null then 'no_usage_of_what_is_priced'
            when priced_total_tokens = 0 then 'no_tokens'
        end as null_reason
    from input_split

)

select * from final
