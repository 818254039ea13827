"""What the report shows, as queries on the published file: SQL makes the numbers, the page adds them up and draws them.

Ratios leave here as their parts (cost and tokens, never only cost per token), so that any filter divides sums by sums.
"""

import json
from datetime import date, timedelta
from typing import Any

import duckdb

LONGEST_DAYS = 400  # a year, and five weeks before it to compare with
# With 0.9 MB of library and 0.1 MB of page, it stays under 3 MB. A year of the demo world takes 1.1 MB.
MOST_BYTES = 1_800_000
NAMED_TENANTS = 25
EFFECTS = (
    "price",
    "purchase_mix",
    "gpu_mix",
    "model_mix",
    "utilization",
    "efficiency",
    "cache",
    "request_size",
    "new_stopped",
)

# Parameters: $first and $last, the days shown. Rows are in the order in which the page lists them.
QUERIES = {
    "units": """
        select
            usage_date::varchar as usage_date, model, gpu_model, round(gpu_hours, 4)::double as gpu_hours,
            round(cost_usd, 6)::double as cost_usd, round(active_cost_usd, 6)::double as active_cost_usd,
            round(idle_cost_usd, 6)::double as idle_cost_usd, total_tokens, priced_total_tokens,
            round(usage_coverage_ratio, 6)::double as usage_coverage_ratio,
            round(priced_gpu_hours_ratio, 6)::double as priced_gpu_hours_ratio, null_reason
        from fct_unit_costs_daily
        where usage_date between $first and $last and pricing_category = 'all'
        order by usage_date, model, gpu_model
    """,
    "drift": f"""
        select
            usage_date::varchar as usage_date, series_kind, series, state, since_date::varchar as since_date,
            round(cost_usd, 4)::double as cost_usd, round(actual_usd_per_unit, 6)::double as actual_usd_per_unit,
            round(expected_usd_per_unit, 6)::double as expected_usd_per_unit,
            round(lower_usd_per_unit, 6)::double as lower_usd_per_unit,
            round(upper_usd_per_unit, 6)::double as upper_usd_per_unit,
            round(impact_usd_per_day, 4)::double as impact_usd_per_day,
            {", ".join(f"round({name}_effect_usd, 4)::double as {name}_effect_usd" for name in EFFECTS)},
            reference_day_count, null_reason
        from fct_cost_drift_daily
        where usage_date between $first and $last and measure = 'cost_usd_per_million_tokens'
        order by
            usage_date, list_position(['total', 'model', 'gpu_model', 'provider', 'deployment'], series_kind), series
    """,
    "drivers": """
        select
            usage_date::varchar as usage_date, series_kind, series, effect, deployment, gpu_model, pricing_category,
            round(effect_usd_per_day, 4)::double as effect_usd_per_day
        from fct_cost_drivers_daily
        where usage_date between $first and $last and measure = 'cost_usd_per_million_tokens' and driver_rank <= 4
        order by usage_date, series_kind, series, driver_rank
    """,
    "mix": """
        select
            usage_date::varchar as usage_date, provider, gpu_model, pricing_category,
            round(gpu_hours, 4)::double as gpu_hours, round(effective_cost_usd, 6)::double as effective_cost_usd,
            round(unused_commitment_gpu_hours, 4)::double as unused_commitment_gpu_hours,
            round(unused_commitment_cost_usd, 6)::double as unused_commitment_cost_usd,
            round(savings_usd, 6)::double as savings_usd, is_fully_priced, null_reason
        from fct_purchase_mix_daily
        where usage_date between $first and $last
        order by usage_date, provider, gpu_model,
            list_position(['Committed', 'Standard', 'Dynamic'], pricing_category)
    """,
    # Beyond the first ones, tenants are one row a day: null, which no tenant is called.
    "tenants": f"""
        with ranked as (
            select tenant, row_number() over (order by sum(cost_usd) desc, tenant) as place
            from fct_tenant_costs_daily
            where usage_date between $first and $last
            group by tenant
        )
        select
            usage_date::varchar as usage_date, if(place <= {NAMED_TENANTS}, tenant, null) as tenant, model, gpu_model,
            round(sum(cost_usd), 6)::double as cost_usd, round(sum(active_cost_usd), 6)::double as active_cost_usd,
            round(sum(idle_cost_usd), 6)::double as idle_cost_usd, sum(total_tokens)::bigint as total_tokens,
            sum(request_count)::bigint as request_count
        from fct_tenant_costs_daily
        inner join ranked using (tenant)
        where usage_date between $first and $last
        group by all
        order by usage_date, tenant nulls last, model, gpu_model
    """,
    "teams": """
        select tenant, string_agg(distinct team, ', ' order by team) as team,
            string_agg(distinct cost_center, ', ' order by cost_center) as cost_center
        from fct_tenant_costs_daily
        where usage_date between $first and $last
        group by tenant
        having count(team) + count(cost_center) > 0
        order by sum(cost_usd) desc, tenant
        limit 1000
    """,
    # Our rate of the last day beside the offers in force at its end, bought the same way.
    "prices": """
        with market as (
            select
                gpu_model, pricing_category, min(price_usd_per_gpu_hour) as low,
                median(price_usd_per_gpu_hour) as middle,
                arg_min(provider, (price_usd_per_gpu_hour, provider, region)) as low_provider,
                arg_min(region, (price_usd_per_gpu_hour, provider, region)) as low_region,
                count(*) as offer_count, count(distinct provider) as provider_count,
                min(last_seen_at) as oldest_seen_at
            from fct_gpu_prices
            where is_market_price and price_usd_per_gpu_hour is not null
                and valid_from_at < $last + interval 1 day
                and (valid_to_at is null or valid_to_at >= $last + interval 1 day)
            group by all
        ),

        ours as (
            select
                gpu_model, pricing_category, sum(gpu_hours) as gpu_hours,
                if(bool_and(is_fully_priced and effective_cost_usd is not null), sum(effective_cost_usd), null)
                    / nullif(sum(gpu_hours), 0) as rate,
                any_value(null_reason) as null_reason
            from fct_purchase_mix_daily
            where usage_date = $last and gpu_hours > 0
            group by all
        )

        select
            gpu_model, pricing_category, round(gpu_hours, 4)::double as gpu_hours,
            round(rate, 6)::double as our_usd_per_gpu_hour, round(low, 6)::double as low_usd_per_gpu_hour,
            round(middle, 6)::double as median_usd_per_gpu_hour, low_provider, low_region, offer_count, provider_count,
            strftime(oldest_seen_at, '%Y-%m-%d') as oldest_seen_date, ours.null_reason
        from ours
        left join market using (gpu_model, pricing_category)
        order by gpu_model, list_position(['Committed', 'Standard', 'Dynamic'], pricing_category)
    """,
    "findings": """
        select
            severity, action, is_open, provider, details, likely_cause,
            strftime(first_seen_at, '%Y-%m-%d') as first_date,
            strftime(last_seen_at, '%Y-%m-%d') as last_date, series_count, count(*) over () as finding_count
        from fct_price_anomalies
        where last_seen_at >= $first
        order by list_position(['error', 'warning', 'notice', 'info'], severity), is_open desc, last_seen_at desc,
            finding_id
        limit 60
    """,
    # Estimate against estimate: the cheapest way on each GPU and purchase option, and the best on the GPUs in use.
    "sizing": """
        with best as (
            select
                sizing.*,
                exists (
                    from dim_deployments as run where run.model = sizing.model and run.gpu_model = sizing.gpu_model
                ) as is_run_now,
                coalesce(cost_usd_per_million_total_tokens_at_utilization, cost_usd_per_million_total_tokens) as cost
            from fct_gpu_sizing as sizing
            where rank is not null
            qualify row_number() over (
                partition by model, workload, gpu_model, purchase_option
                order by rank, precision, tensor_parallel, engine
            ) = 1
        )

        select
            model, workload, gpu_model, is_run_now, tensor_parallel, precision, engine, purchase_option, provider,
            region,
            round(price_usd_per_gpu_hour, 6)::double as price_usd_per_gpu_hour,
            round(ttft_ms, 1)::double as ttft_ms, round(tpot_ms, 1)::double as tpot_ms, method,
            round(tpot_median_error_ratio, 4)::double as tpot_median_error_ratio,
            round(cost_usd_per_million_total_tokens, 8)::double as full_cost_usd_per_million_tokens,
            round(cost_usd_per_million_total_tokens_at_utilization, 8)::double as cost_usd_per_million_tokens,
            round(min(cost) filter (where is_run_now) over (partition by model, workload), 8)::double
                as run_now_usd_per_million_tokens
        from best
        qualify row_number() over (partition by model, workload order by cost, gpu_model, purchase_option) <= 3
            or (is_run_now and row_number() over (
                partition by model, workload, is_run_now order by cost, gpu_model, purchase_option
            ) = 1)
        order by model, workload, cost, gpu_model, purchase_option
        limit 120
    """,
    "sizing_gaps": """
        select coalesce(null_reason, 'none') as null_reason, count(*) as row_count
        from fct_gpu_sizing
        where rank is null
        group by all
        order by 2 desc
    """,
    "plan": """
        select
            plan_date::varchar as plan_date, provider, region, gpu_model, held_gpus, reserved_gpus, new_reserved_gpus,
            window_hours, round(cost_usd, 4)::double as cost_usd, round(actual_cost_usd, 4)::double as actual_cost_usd,
            round(savings_vs_actual_ratio, 6)::double as savings_vs_actual_ratio,
            round(savings_ratio, 6)::double as savings_vs_autoscaled_ratio, backtest_weeks,
            round(backtest_regret_ratio, 6)::double as backtest_regret_ratio, null_reason
        from fct_capacity_plan
        where is_recommended and plan_date = (select max(plan_date) from fct_capacity_plan where plan_date <= $last)
        order by actual_cost_usd - cost_usd desc nulls last, provider, region, gpu_model
    """,
    "alerts": """
        select
            left(incident_id, 8) as incident, severity, state, regexp_replace(title, '^\\[\\w+\\] ', '') as title, text,
            round(impact_usd_per_day, 4)::double as impact_usd_per_day,
            round(exposed_usd_per_day, 4)::double as exposed_usd_per_day,
            strftime(first_seen_at, '%Y-%m-%d') as first_date, child_count, acknowledged_by,
            count(*) over () as alert_count
        from fct_alerts
        where state <> 'resolved'
            and coalesce(parent_incident_id, '')
                not in (select incident_id from fct_alerts where state <> 'resolved')
        order by list_position(['page', 'warning', 'info'], severity), impact_usd_per_day desc nulls last, incident_id
        limit 40
    """,
    "freshness": """
        select source, kind, status, round(age_hours, 2)::double as age_hours, stale_after_hours,
            strftime(last_success_at, '%Y-%m-%d %H:%M') as last_success, row_count, rejected_row_count, message
        from fct_source_freshness
        order by status = 'fresh', kind, source
    """,
    "reconciliation": """
        select
            deployment, left_role, right_role, measure, left_value, right_value, difference, unexplained_difference,
            explained_by, is_within_tolerance, null_reason,
            (
                select count(*) from fct_reconciliation_daily as earlier
                where earlier.deployment = today.deployment and earlier.left_role = today.left_role
                    and earlier.right_role = today.right_role and earlier.measure = today.measure
                    and earlier.usage_date between $last - 27 and $last and not earlier.is_within_tolerance
            ) as days_beyond_tolerance
        from fct_reconciliation_daily as today
        where usage_date = $last
        order by is_within_tolerance nulls first, deployment, left_role, right_role, measure
        limit 200
    """,
    "bills": """
        select
            strftime(date_trunc('month', usage_date), '%Y-%m') as month, provider,
            round(sum(modelled_cost_usd), 4)::double as modelled_cost_usd,
            round(sum(billed_cost_usd), 4)::double as billed_cost_usd,
            round(sum(not_yet_billed_usd), 4)::double as not_yet_billed_usd,
            round(sum(fleet_without_bill_usd), 4)::double as fleet_without_bill_usd,
            round(sum(bill_without_fleet_usd), 4)::double as bill_without_fleet_usd,
            round(sum(rate_difference_usd), 4)::double as rate_difference_usd,
            round(sum(unused_commitment_usd), 4)::double as unused_commitment_usd,
            round(sum(credits_and_taxes_usd) + sum(rounding_usd), 4)::double as credits_taxes_rounding_usd,
            bool_and(is_fully_modelled) as is_fully_modelled
        from fct_bill_reconciliation_daily
        where usage_date between date_trunc('month', $last) - interval 3 month and $last
        group by all
        order by month desc, provider
    """,
    "unmapped": """
        select
            coalesce(nullif(model, ''), nullif(model_group, ''), deployment) as name, reason, source_name, total_tokens,
            request_count, first_usage_date::varchar as first_date, last_usage_date::varchar as last_date
        from fct_unmapped_usage
        order by total_tokens desc nulls last, name
        limit 20
    """,
    "restated": """
        select usage_date::varchar as usage_date, name, cause, is_after_close,
            strftime(restated_at, '%Y-%m-%d') as restated_date, round(change_cost_usd, 4)::double as change_cost_usd,
            count(*) over () as change_count
        from fct_cost_restatements
        where usage_date between $first and $last
        order by restated_at desc, abs(change_cost_usd) desc nulls last, name
        limit 20
    """,
    "counts": """
        select
            (select count(*) from fct_unmapped_prices where is_open) as unmapped_price_words,
            (select count(*) from fct_unmapped_names) as unmapped_names,
            (select count(*) from fct_usage_anomalies where scraped_at >= $first) as disbelieved_counters,
            (select count(*) from fct_gpu_prices_daily where price_date = $last and is_stale) as stale_prices,
            (select count(*) from fct_gpu_prices_daily where price_date = $last) as prices,
            (
                select count(distinct tenant) from fct_tenant_costs_daily where usage_date between $first and $last
            ) as tenants
    """,
}


def report_data(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Everything the page shows, small enough to be inside it: fewer days where a day has very many rows.

    Args:
        con: a connection to the published file.

    Returns:
        `run` (as_of_date, published_at, run_id, first_date, is_cut), and for each query of `QUERIES` its columns:
        name -> list of values, a column of text as {"words": [...], "at": [place in words or null, ...]}.

    Raises:
        duckdb.Error: a table or column of the contract is missing.
        ValueError: the file does not say which run it holds.
    """
    con.execute("set timezone = 'UTC'")
    run = con.execute("select run_id, as_of_date, published_at from ledger_run").fetchone()
    if run is None:
        raise ValueError("the published file does not say which run it holds")
    run_id, last, published_at = run
    (earliest,) = con.execute(
        "select min(usage_date) from (select usage_date from fct_unit_costs_daily union all "
        "select usage_date from fct_purchase_mix_daily) where usage_date <= ?",
        [last],
    ).fetchone() or (None,)
    earliest = earliest or last
    days = min(LONGEST_DAYS, (last - earliest).days + 1)
    while True:
        first = last - timedelta(days=days - 1)
        data = {name: _columns(con, sql, first, last) for name, sql in QUERIES.items()}
        size = len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())
        if size <= MOST_BYTES or days == 1:
            break
        days = max(1, min(days - 1, int(days * MOST_BYTES / size)))
    return {
        "run": {
            "run_id": run_id,
            "as_of_date": str(last),
            "published_at": f"{published_at:%Y-%m-%d %H:%M}",
            "first_date": str(first),
            "is_cut": first > earliest,
        }
    } | data


def _columns(con: duckdb.DuckDBPyConnection, sql: str, first: date, last: date) -> dict[str, Any]:
    result = con.execute(sql, {key: day for key, day in {"first": first, "last": last}.items() if f"${key}" in sql})
    names = [str(column[0]) for column in result.description or []]
    rows = result.fetchall()
    return {name: _packed([row[place] for row in rows]) for place, name in enumerate(names)}


def _packed(values: list[Any]) -> Any:
    """Text repeats: a dictionary of it and places in that are a fifth of the bytes."""
    if not any(isinstance(value, str) for value in values):
        return values
    words = sorted({value for value in values if value is not None})
    place = {word: index for index, word in enumerate(words)}
    return {"words": words, "at": [None if value is None else place[value] for value in values]}
