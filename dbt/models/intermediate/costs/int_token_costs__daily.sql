{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "costs"},
) }}

{%- set classes = ["input", "cached_input", "output"] %}
-- What a deployment's day cost by way of buying, and how much of it each class of tokens bears. Only what
-- is priced: tokens whose cost is unknown would make the others cheaper.
with hours as (

    select
        *,
        cost_usd is not null as is_priced
    from {{ ref("fct_inference_costs_hourly") }}
    {{ in_costs_window("hour_start_at") }}

),

token_cost_weights as (

    select * from {{ ref("token_cost_weights") }}

),

weights as (

    select
        {%- for class in classes %}
            max(case when token_class = '{{ class }}' then cost_weight end)
                as {{ class }}_weight{% if not loop.last %},{% endif %}
        {%- endfor %}
    from token_cost_weights

),

daily as (

    select
        usage_date,
        deployment,
        pricing_category,
        max(model) as model,
        max(provider) as provider,
        max(region) as region,
        max(instance_type) as instance_type,
        max(gpu_model) as gpu_model,
        cast(sum(gpu_hours) as decimal(18, 6)) as gpu_hours,
        cast(sum(case when is_priced then gpu_hours end) as decimal(18, 6)) as priced_gpu_hours,
        cast(sum(cost_usd) as decimal(38, 10)) as cost_usd,
        cast(sum(active_cost_usd) as decimal(38, 10)) as active_cost_usd,
        cast(sum(idle_cost_usd) as decimal(38, 10)) as idle_cost_usd,
        cast(sum(start_up_gpu_hours) as decimal(18, 6)) as start_up_gpu_hours,
        cast(sum(start_up_cost_usd) as decimal(38, 10)) as start_up_cost_usd,
        min(case when is_priced then 1 else 0 end) = 1 as is_fully_priced,
        min(case when not is_priced then null_reason end) as cost_null_reason,
        {%- for class in classes + ["total"] %}
            cast(sum({{ class }}_tokens) as bigint) as {{ class }}_tokens,
            cast(sum(case when is_priced then {{ class }}_tokens end) as bigint) as priced_{{ class }}_tokens,
        {%- endfor %}
        cast(sum(request_count) as bigint) as request_count,
        cast(sum(case when is_priced then request_count end) as bigint) as priced_request_count,
        -- Attempts of some hours beside the requests of all would make few of many.
        case
            when count(request_count) = count(attempted_request_count)
                then cast(sum(attempted_request_count) as bigint)
        end as attempted_request_count,
        case
            when
                count(case when is_priced then request_count end)
                = count(case when is_priced then attempted_request_count end)
                then cast(sum(case when is_priced then attempted_request_count end) as bigint)
        end as priced_attempted_request_count,
        sum(case when is_priced then prefill_seconds end) as priced_prefill_seconds,
        sum(case when is_priced then decode_seconds end) as priced_decode_seconds,
        sum(gpu_hours * utilization_ratio) as active_gpu_hours,
        sum(case when utilization_ratio is not null then gpu_hours end) as observed_gpu_hours,
        sum(gpu_hours * coalesce(usage_coverage_ratio, 0)) as covered_gpu_hours,
        sum(gpu_hours * coalesce(start_up_coverage_ratio, 0)) as start_known_gpu_hours
    from hours
    group by usage_date, deployment, pricing_category

),

-- How much of the cost each token class bears, in any unit: only the proportions count.
burdened as (

    select
        daily.*,
        {%- for class in classes %}
            weights.{{ class }}_weight * daily.priced_{{ class }}_tokens as {{ class }}_burden,
        {%- endfor %}
        coalesce(daily.priced_prefill_seconds + daily.priced_decode_seconds > 0, false) as is_phase_measured,
        coalesce(daily.cost_usd is not null and daily.priced_total_tokens > 0, false) as is_divisible
    from daily
    cross join weights

),

-- Measured seconds tell what decoding cost beside prefilling; else the weights do.
output_weighted as (

    select
        *,
        case when is_phase_measured then priced_decode_seconds else output_burden end as output_part,
        case
            when is_phase_measured then priced_prefill_seconds + priced_decode_seconds
            else input_burden + coalesce(cached_input_burden, 0) + output_burden
        end as whole
    from burdened

),

output_split as (

    select
        *,
        case when is_divisible then {{ part_of("cost_usd", "output_part", "whole", 10, 6) }} end
            as output_cost_usd,
        case when is_divisible then {{ part_of("active_cost_usd", "output_part", "whole", 10, 6) }} end
            as output_active_cost_usd
    from output_weighted

),

-- Null where no source counts cached tokens: they are among the input tokens then, and so is their cost.
prompt_split as (

    select
        *,
        {%- for basis in ["", "active_"] %}
            case
                when is_divisible and cached_input_burden is not null
                    then coalesce(
                        {{ part_of(
                            basis ~ "cost_usd - output_" ~ basis ~ "cost_usd",
                            "cached_input_burden",
                            "input_burden + cached_input_burden",
                            10,
                            weight_scale=6,
                        ) }},
                        0
                    )
            end as cached_input_{{ basis }}cost_usd{% if not loop.last %},{% endif %}
        {%- endfor %}
    from output_split

),

final as (

    select
        usage_date,
        deployment,
        pricing_category,
        model,
        provider,
        region,
        instance_type,
        gpu_model,

        -- cost of what is priced
        gpu_hours,
        priced_gpu_hours,
        cost_usd,
        active_cost_usd,
        idle_cost_usd,
        start_up_gpu_hours,
        start_up_cost_usd,
        {%- for basis in ["", "active_"] %}
            cast(
                {{ basis }}cost_usd
                - output_{{ basis }}cost_usd
                - coalesce(cached_input_{{ basis }}cost_usd, 0)
                as decimal(38, 10)
            ) as input_{{ basis }}cost_usd,
            cast(cached_input_{{ basis }}cost_usd as decimal(38, 10))
                as cached_input_{{ basis }}cost_usd,
            cast(output_{{ basis }}cost_usd as decimal(38, 10))
                as output_{{ basis }}cost_usd,
        {%- endfor %}
        case
            when not is_divisible then null
            when is_phase_measured then 'measured_phase_seconds'
            else 'default_weights'
        end as split_basis,
        is_fully_priced,
        cost_null_reason,

        -- tokens, of all hours and of those priced
        {%- for class in classes + ["total"] %}
            {{ class }}_tokens,
            priced_{{ class }}_tokens,
        {%- endfor %}
        request_count,
        priced_request_count,
        attempted_request_count,
        priced_attempted_request_count,

        -- how busy, how well seen
        active_gpu_hours,
        observed_gpu_hours,
        covered_gpu_hours,
        start_known_gpu_hours
    from prompt_split

)

select * from final
