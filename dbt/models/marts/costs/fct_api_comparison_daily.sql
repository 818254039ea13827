{{ config(
    materialized="incremental",
    incremental_strategy="replace_window",
    on_schema_change="fail",
    meta={"window_column": "usage_date", "window_of": "costs"},
) }}

-- The tokens of a day at one's own cost, and what the same tokens would have cost at each public API that serves the
-- model.
with unit_costs as (

    select * from {{ ref("fct_unit_costs_daily") }}
    where pricing_category = 'all'
    {{ in_costs_window("usage_date", keyword="and") }}

),

api_prices as (

    select * from {{ ref("llm_api_prices") }}

),

-- A model may run on several GPU models: the question is what to do with all its tokens.
daily as (

    select
        usage_date,
        model,
        min(case when is_fully_priced then 1 else 0 end) = 1 as is_fully_priced,
        count(*) = count(total_tokens) as is_fully_counted,
        cast(sum(cost_usd) as decimal(38, 10)) as cost_usd,
        cast(sum(active_cost_usd) as decimal(38, 10)) as active_cost_usd,
        cast(sum(input_tokens) as bigint) as input_tokens,
        cast(sum(cached_input_tokens) as bigint) as cached_input_tokens,
        cast(sum(output_tokens) as bigint) as output_tokens,
        cast(sum(total_tokens) as bigint) as total_tokens
    from unit_costs
    group by usage_date, model

),

-- Half a cost or half a count beside a whole one would decide for the wrong side.
comparable as (

    select
        *,
        case
            when not is_fully_priced then 'not_fully_priced'
            when not is_fully_counted then 'no_usage_reported'
            when total_tokens = 0 then 'no_tokens'
        end as null_reason
    from daily

),

-- Drops models that no API in the seed serves; multiplies the others by the APIs that do.
priced as (

    select
        comparable.*,
        api_prices.api_provider,
        api_prices.api_model,
        api_prices.input_usd_per_million_tokens,
        -- Without a price of their own, cached tokens are billed as any prompt token.
        coalesce(api_prices.cached_input_usd_per_million_tokens, api_prices.input_usd_per_million_tokens)
            as cached_input_usd_per_million_tokens,
        api_prices.output_usd_per_million_tokens,
        api_prices.checked_date
    from comparable
    inner join api_prices on comparable.model = api_prices.model

),

costed as (

    select
        *,
        case when null_reason is null then cost_usd end as self_hosted_cost_usd,
        case when null_reason is null then active_cost_usd end as self_hosted_active_cost_usd,
        case
            when null_reason is null
                then cast(
                    {{ usd_of_tokens("input_tokens", "input_usd_per_million_tokens") }}
                    + coalesce(
                        {{ usd_of_tokens("cached_input_tokens", "cached_input_usd_per_million_tokens") }}, 0
                    )
                    + {{ usd_of_tokens("output_tokens", "output_usd_per_million_tokens") }}
                    as decimal(38, 10)
                )
        end as api_cost_usd
    from priced

),

final as (

    select
        usage_date,
        model,
        api_provider,
        api_model,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        total_tokens,
        self_hosted_cost_usd,
        self_hosted_active_cost_usd,
        api_cost_usd,
        cast(api_cost_usd - self_hosted_cost_usd as decimal(38, 10)) as savings_usd,
        {{ usd_per_million("self_hosted_cost_usd", "total_tokens") }}
            as self_hosted_cost_usd_per_million_total_tokens,
        {{ usd_per_million("self_hosted_active_cost_usd", "total_tokens") }}
            as self_hosted_active_cost_usd_per_million_total_tokens,
        {{ usd_per_million("api_cost_usd", "total_tokens") }} as api_cost_usd_per_million_total_tokens,
        -- At twice the tokens on the same GPUs the cost per token halves: how busy the fleet would have to be,
        -- as a multiple of today, for its tokens to cost what they cost at the API.
        {{ usd_unit_cost("self_hosted_cost_usd", "api_cost_usd") }} as break_even_volume_ratio,
        checked_date as api_price_checked_date,
        null_reason
    from costed

)

select * from final
