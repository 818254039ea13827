{{ config(tags=["after_sizing"]) }}

-- Physics of sizing/, priced at the price book of the run's last day. Of each purchase option the cheapest
-- offer that holds the engine.
with choices as (

    select * from {{ ref("int_sizing_choices") }}

),

prices as (

    select
        gpu_model as priced_gpu_model,
        pricing_model,
        term_months,
        payment_option,
        provider,
        region,
        instance_type,
        gpu_count,
        series_id,
        valid_from_at,
        valid_to_at,
        last_seen_at as price_confirmed_at,
        price_usd_per_gpu_hour as listed_usd_per_gpu_hour
    from {{ ref("fct_gpu_prices") }}
    where price_usd_per_gpu_hour > 0 and pricing_model is not null

),

unit_costs as (

    select * from {{ ref("fct_unit_costs_daily") }}
    where pricing_category = 'all'

),

engines as (

    select distinct
        priced_at,
        gpu_model,
        tensor_parallel
    from choices

),

run as (

    select max(as_of_date) as as_of_date from choices

),

-- Whole instances are paid: GPUs that no engine of this size uses are paid with those it does. Where bare
-- GPUs are sold (no instance type), as many as one wants.
instances as (

    select
        engines.priced_at,
        engines.gpu_model,
        engines.tensor_parallel,
        prices.*,
        case
            when prices.instance_type is null or prices.gpu_count is null then prices.gpu_count
            else floor(prices.gpu_count / nullif(engines.tensor_parallel, 0)) * engines.tensor_parallel
        end as working_gpu_count
    from engines
    inner join prices on engines.gpu_model = prices.priced_gpu_model
    where
        prices.valid_from_at < engines.priced_at
        and (prices.valid_to_at is null or prices.valid_to_at >= engines.priced_at)

),

offers as (

    select
        gpu_model,
        tensor_parallel,
        pricing_model,
        term_months,
        provider,
        region,
        instance_type,
        payment_option,
        series_id,
        price_confirmed_at,
        pricing_model
        || case when term_months is null then '' else '_' || cast(term_months as varchar) || 'm' end
            as purchase_option,
        cast(
            case
                when gpu_count is null then listed_usd_per_gpu_hour
                else listed_usd_per_gpu_hour * gpu_count / nullif(working_gpu_count, 0)
            end as decimal(18, 8)
        ) as price_usd_per_gpu_hour
    from instances

),

ranked_offers as (

    select
        *,
        row_number() over (
            partition by gpu_model, tensor_parallel, purchase_option
            order by price_usd_per_gpu_hour, provider, region, instance_type, series_id
        ) as offer_rank
    from offers
    where price_usd_per_gpu_hour is not null

),

-- How much of what is paid for was at work in the last four weeks, over all that the model ran on.
traffic as (

    select
        unit_costs.model,
        cast(
            cast(sum(unit_costs.active_cost_usd) as double)
            / nullif(cast(sum(unit_costs.cost_usd) as double), 0)
            as decimal(9, 8)
        ) as utilization_ratio
    from unit_costs
    cross join run
    where
        unit_costs.usage_date <= run.as_of_date
        and unit_costs.usage_date > {{ plus_days("run.as_of_date", -28) }}
    group by unit_costs.model

),

priced as (

    select
        choices.*,
        offers.pricing_model,
        offers.term_months,
        offers.payment_option,
        offers.provider,
        offers.region,
        offers.instance_type,
        offers.price_confirmed_at,
        offers.price_usd_per_gpu_hour,
        traffic.utilization_ratio,
        coalesce(offers.purchase_option, 'none') as purchase_option,
        cast(offers.price_usd_per_gpu_hour * choices.gpu_seconds_per_request / 3600 as decimal(38, 16))
            as cost_usd_per_request
    from choices
    left join ranked_offers as offers
        on
            choices.gpu_model = offers.gpu_model
            and choices.tensor_parallel = offers.tensor_parallel
            and offers.offer_rank = 1
            -- What cannot be has one row, not one for each way of buying it.
            and choices.gpu_seconds_per_request is not null
    left join traffic on choices.model = traffic.model

),

-- The time of the engine splits a request's cost: the parts sum to it.
costed as (

    select
        *,
        cast(
            cost_usd_per_request * prefill_share_ratio * 1000000 / nullif(input_tokens, 0) as decimal(28, 10)
        ) as cost_usd_per_million_input_tokens,
        cast(
            cost_usd_per_request * (1 - prefill_share_ratio) * 1000000 / nullif(output_tokens, 0)
            as decimal(28, 10)
        ) as cost_usd_per_million_output_tokens,
        cast(cost_usd_per_request * 1000000 / nullif(input_tokens + output_tokens, 0) as decimal(28, 10))
            as cost_usd_per_million_total_tokens
    from priced

),

baselines as (

    select
        model,
        gpu_model,
        tensor_parallel,
        engine,
        workload,
        purchase_option,
        cost_usd_per_million_total_tokens
    from costed
    where precision = 'bf16' and cost_usd_per_million_total_tokens is not null

),

final as (

    select
        costed.as_of_date,
        costed.model,
        costed.gpu_model,
        costed.tensor_parallel,
        costed.precision,
        costed.engine,
        costed.workload,
        costed.purchase_option,
        costed.pricing_model,
        costed.term_months,
        costed.payment_option,
        costed.provider,
        costed.region,
        costed.instance_type,
        costed.price_confirmed_at,
        costed.price_usd_per_gpu_hour,
        costed.input_tokens,
        costed.cached_input_tokens,
        costed.output_tokens,
        costed.ttft_target_ms,
        costed.tpot_target_ms,
        costed.fits,
        costed.weights_gib_per_gpu,
        costed.kv_pool_gib_per_gpu,
        costed.max_concurrency,
        costed.method,
        costed.concurrency,
        costed.tokens_per_second_per_gpu,
        costed.input_tokens_per_second_per_gpu,
        costed.ttft_ms,
        costed.tpot_ms,
        costed.roofline_tpot_ms,
        costed.tpot_median_error_ratio,
        costed.peak_tokens_per_second_per_gpu,
        costed.prefill_share_ratio,
        costed.cost_usd_per_request,
        costed.cost_usd_per_million_input_tokens,
        costed.cost_usd_per_million_output_tokens,
        costed.cost_usd_per_million_total_tokens,
        costed.utilization_ratio,
        {%- for class in ["input", "output", "total"] %}
            cast(
                costed.cost_usd_per_million_{{ class }}_tokens / nullif(costed.utilization_ratio, 0)
                as decimal(28, 10)
            ) as cost_usd_per_million_{{ class }}_tokens_at_utilization,
        {%- endfor %}
        case when baselines.model is not null then 'bf16' end as baseline_precision,
        baselines.cost_usd_per_million_total_tokens as baseline_cost_usd_per_million_total_tokens,
        cast(
            1 - cast(costed.cost_usd_per_million_total_tokens as double)
            / nullif(cast(baselines.cost_usd_per_million_total_tokens as double), 0)
            as decimal(18, 8)
        ) as savings_ratio,
        case
            when costed.cost_usd_per_million_total_tokens is not null
                then
                    cast(
                        rank() over (
                            partition by costed.model, costed.workload, costed.purchase_option
                            order by costed.cost_usd_per_million_total_tokens asc nulls last
                        ) as bigint
                    )
        end as rank,
        case
            when costed.reason is not null then costed.reason
            when costed.price_usd_per_gpu_hour is null then 'no_price_in_force'
        end as null_reason,
        costed.reason_text as null_reason_text,
        case when costed.utilization_ratio is null then 'no_priced_traffic_in_four_weeks' end
            as utilization_null_reason
    from costed
    left join baselines
        on
            costed.model = baselines.model
            and costed.gpu_model = baselines.gpu_model
            and costed.tensor_parallel = baselines.tensor_parallel
            and costed.engine = baselines.engine
            and costed.workload = baselines.workload
            and costed.purchase_option = baselines.purchase_option

)

select * from final
