{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "costs"},
) }}

{%- set classes = ["input", "cached_input", "output"] %}
with token_costs as (

    select * from {{ ref("int_token_costs__daily") }}
    {{ in_costs_window("usage_date") }}

),

targets as (

    select * from {{ ref("int_latency_targets__daily") }}
    {{ in_costs_window("usage_date") }}

),

scopes as (

    select 'own' as scope

    union all

    select 'all' as scope

),

-- Doubles rows on purpose: each counts once under its own category and once under 'all'.
scoped as (

    select
        token_costs.*,
        case when scopes.scope = 'all' then 'all' else token_costs.pricing_category end as reported_category,
        -- Of the requests of a deployment's day, as many met their target as of those whose times are known.
        token_costs.priced_request_count * targets.met_ratio as priced_met_request_count
    from token_costs
    cross join scopes
    left join targets
        on
            token_costs.deployment = targets.deployment
            and token_costs.usage_date = targets.usage_date

),

daily as (

    select
        usage_date,
        model,
        gpu_model,
        reported_category as pricing_category,
        cast(sum(gpu_hours) as decimal(18, 6)) as gpu_hours,
        cast(sum(priced_gpu_hours) as decimal(18, 6)) as priced_gpu_hours,
        cast(sum(cost_usd) as decimal(38, 10)) as cost_usd,
        cast(sum(active_cost_usd) as decimal(38, 10)) as active_cost_usd,
        cast(sum(idle_cost_usd) as decimal(38, 10)) as idle_cost_usd,
        cast(sum(start_up_gpu_hours) as decimal(18, 6)) as start_up_gpu_hours,
        cast(sum(start_up_cost_usd) as decimal(38, 10)) as start_up_cost_usd,
        {%- for class in classes %}
            cast(sum({{ class }}_tokens) as bigint) as {{ class }}_tokens,
            cast(sum(priced_{{ class }}_tokens) as bigint) as priced_{{ class }}_tokens,
            cast(sum({{ class }}_cost_usd) as decimal(38, 10)) as {{ class }}_cost_usd,
            cast(sum({{ class }}_active_cost_usd) as decimal(38, 10)) as {{ class }}_active_cost_usd,
        {%- endfor %}
        cast(sum(total_tokens) as bigint) as total_tokens,
        cast(sum(priced_total_tokens) as bigint) as priced_total_tokens,
        cast(sum(request_count) as bigint) as request_count,
        cast(sum(priced_request_count) as bigint) as priced_request_count,
        {%- for priced in ["", "priced_"] %}
            case
                when count({{ priced }}request_count) = count({{ priced }}attempted_request_count)
                    then cast(sum({{ priced }}attempted_request_count) as bigint)
            end as {{ priced }}attempted_request_count,
        {%- endfor %}
        {%- for basis in ["", "active_"] %}
            cast(sum(case when split_basis is not null then {{ basis }}cost_usd end) as decimal(38, 10))
                as split_{{ basis }}cost_usd,
        {%- endfor %}
        case when count(*) = count(priced_met_request_count) then sum(priced_met_request_count) end
            as priced_met_request_count,
        min(split_basis) as first_split_basis,
        max(split_basis) as last_split_basis,
        min(case when is_fully_priced then 1 else 0 end) = 1 as is_fully_priced,
        min(cost_null_reason) as cost_null_reason,
        sum(active_gpu_hours) as active_gpu_hours,
        sum(observed_gpu_hours) as observed_gpu_hours,
        sum(covered_gpu_hours) as covered_gpu_hours,
        sum(start_known_gpu_hours) as start_known_gpu_hours
    from scoped
    group by usage_date, model, gpu_model, reported_category

),

-- A deployment that served nothing bears no token, and its cost is borne by those of the same model and GPU
-- that did.
split as (

    select
        *,
        {%- for basis in ["", "active_"] %}
            {%- for class in ["cached_input", "output"] %}
                case
                    when split_{{ basis }}cost_usd = {{ basis }}cost_usd
                        then {{ class }}_{{ basis }}cost_usd
                    else {{ part_of(
                        basis ~ "cost_usd", class ~ "_" ~ basis ~ "cost_usd", "split_" ~ basis ~ "cost_usd", 10, 10
                    ) }}
                end as borne_{{ class }}_{{ basis }}cost_usd{% if not loop.last %},{% endif %}
            {%- endfor %}{% if not loop.last %},{% endif %}
        {%- endfor %}
    from daily

),

borne as (

    select
        *,
        {%- for basis in ["", "active_"] %}
            cast(
                {{ basis }}cost_usd
                - borne_output_{{ basis }}cost_usd
                - coalesce(borne_cached_input_{{ basis }}cost_usd, 0)
                as decimal(38, 10)
            ) as borne_input_{{ basis }}cost_usd{% if not loop.last %},{% endif %}
        {%- endfor %}
    from split

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
        start_up_gpu_hours,
        start_up_cost_usd,
        cast(idle_cost_usd - start_up_cost_usd as decimal(38, 10)) as other_idle_cost_usd,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        total_tokens,
        request_count,
        attempted_request_count,
        borne_input_cost_usd as input_cost_usd,
        borne_cached_input_cost_usd as cached_input_cost_usd,
        borne_output_cost_usd as output_cost_usd,
        {%- for class in classes %}
            {{ usd_per_million("borne_" ~ class ~ "_cost_usd", "priced_" ~ class ~ "_tokens") }}
                as cost_usd_per_million_{{ class }}_tokens,
        {%- endfor %}
        {{ usd_per_million("cost_usd", "priced_total_tokens") }} as cost_usd_per_million_total_tokens,
        {{ usd_unit_cost("cost_usd", "priced_request_count") }} as cost_usd_per_request,
        {{ usd_unit_cost("cost_usd", "priced_attempted_request_count") }} as cost_usd_per_attempted_request,
        {{ usd_unit_cost("cost_usd", "priced_met_request_count") }} as cost_usd_per_request_in_target,
        {%- for class in classes %}
            {{ usd_per_million("borne_" ~ class ~ "_active_cost_usd", "priced_" ~ class ~ "_tokens") }}
                as active_cost_usd_per_million_{{ class }}_tokens,
        {%- endfor %}
        {{ usd_per_million("active_cost_usd", "priced_total_tokens") }}
            as active_cost_usd_per_million_total_tokens,
        {{ usd_unit_cost("active_cost_usd", "priced_request_count") }} as active_cost_usd_per_request,
        case when first_split_basis <> last_split_basis then 'mixed' else first_split_basis end
            as split_basis,
        {{ share_ratio("active_gpu_hours", "observed_gpu_hours") }} as utilization_ratio,
        {{ share_ratio("covered_gpu_hours", "gpu_hours") }} as usage_coverage_ratio,
        {{ share_ratio("start_known_gpu_hours", "gpu_hours") }} as start_up_coverage_ratio,
        is_fully_priced,
        {{ share_ratio("coalesce(priced_gpu_hours, 0)", "gpu_hours") }}
            as priced_gpu_hours_ratio,
        priced_total_tokens,
        case
            when cost_usd is null then cost_null_reason
            when total_tokens is null then 'no_usage_reported'
            when priced_total_tokens is null then 'no_usage_of_what_is_priced'
            when priced_total_tokens = 0 then 'no_tokens'
        end as null_reason,
        case
            when cost_usd is null then cost_null_reason
            when priced_request_count is null then 'no_requests_counted'
            when priced_attempted_request_count is null then 'failures_not_counted'
            when priced_attempted_request_count = 0 then 'no_requests'
        end as attempted_request_null_reason
    from borne

)

select * from final
