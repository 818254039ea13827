"""What a year of costs costs: 200 deployments, 500 tenants, 50 commitments and their bills, by the hour.

    python -m benchmarks.cost_history

Writes the hours of usage, prices and bills by SQL into the tables that the cost models read, and runs the models of
costs and the usage marts: all of them anew, and one more day after 10 days and after a year. Prints the seconds of the
models, those that dbt itself takes beside, peak memory, and what a bare group-by over the same rows takes in DuckDB and
in pandas. Publishes the year, and asks ten questions of finance of the published file with eight readers at once.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from orchestration.publication import open_published, publish
from orchestration.settings import PROJECT_ROOT, Settings, load_settings
from orchestration.warehouse import Warehouse, note_published, write_ledger, write_run

END = date(2026, 11, 30)
TYPES = ("p5.48xlarge", "p5en.48xlarge", "p4d.24xlarge", "g6e.12xlarge", "g5.12xlarge")
MODELS = 40
READERS = 8
MEASURED = (
    "int_usage_routes__resolved", "int_usage_classes", "int_usage_window", "int_engine_usage__hourly",
    "int_usage__hourly", "int_tenant_usage__hourly",
    "fct_usage_hourly", "fct_usage_daily", "path:models/intermediate/fleet", "path:models/intermediate/billing",
    "path:models/intermediate/costs", "path:models/intermediate/closing", "path:models/marts/costs",
    "path:models/marts/focus", "path:models/marts/closing",
)  # fmt: skip
DAYS = "(select unnest(generate_series($first, $last, interval 1 day))::date as day)"
# An hour of usage of each deployment by its counters, and by tenant: each of the tenants uses two of them.
USAGE = f"""
insert into intermediate.int_counter_increases__hourly by name
select
    'engines' as source_name, 'm' || d as model_name, 'r' || d as replica_key,
    day::timestamptz + to_hours(hour::integer) as usage_hour_at, tokens as prompt_tokens, tokens / 4 as output_tokens,
    tokens / 3 as cached_tokens, tokens / 1000 as successful_requests, hour % 3 as failed_requests,
    900.5 as prefill_seconds, 2400.25 as decode_seconds, true as has_prompt_tokens,
    true as has_output_tokens, true as has_successful_requests,
    60 as window_count, usage_hour_at as covered_from_at, usage_hour_at + interval 1 hour as covered_to_at,
    3000 as active_seconds, 3600 as observed_seconds, 0 as reset_count, false as has_gap, 0 as unobserved_seconds,
    0 as quarantined_count
from {DAYS}, range(24) as hours (hour), range($deployments) as deployments (d),
    lateral (select (1000000 + (d * 7919 + hour * 104729) % 900000)::bigint as tokens);
insert into intermediate.int_start_ups__hourly by name
select
    'engines' as source_name, 'm' || d as model_name, 'r' || d as replica_key,
    day::timestamptz + to_hours(hour::integer) as usage_hour_at,
    case when hour = d % 24 then 90.25 else 0 end as start_up_seconds, 3600 as start_known_seconds
from {DAYS}, range(24) as hours (hour), range($deployments) as deployments (d);
insert into intermediate.int_tenant_calls__hourly by name
select
    'd' || d as deployment, day::timestamptz + to_hours(hour::integer) as usage_hour_at, day as usage_date,
    'm' || d % {MODELS} as model, '' as adapter, 't' || t as tenant, 'gateway_requests' as usage_basis,
    'team' || t % 50 as team, 'cc' || t % 20 as cost_center, 20 as request_count, 0 as missing_token_count,
    20000 + t * 10 as prompt_tokens, 15000 + t * 10 as input_tokens, 5000 as cached_input_tokens,
    5000 + hour as output_tokens
from {DAYS}, range(24) as hours (hour), range($tenants) as tenants (t),
    lateral (select unnest([t % $deployments, (t * 7 + 3) % $deployments]) as d)
"""
PRICES = """
insert into intermediate.int_gpu_price_intervals by name
select
    concat_ws('/', kind, region, offer.model) as series_id, 'aws' as source, 'aws' as provider, kind as price_key,
    kind as instance_type, region, 8 as gpu_count, offer.model as pricing_model, '' as offer_tier,
    offer.term as term_months, offer.payment as payment_option,
    offer.factor * (40 + week(week_start) % 7) as price_usd_per_instance_hour, week_start::timestamptz as valid_from_at,
    lead(week_start::timestamptz) over (partition by series_id order by week_start) as valid_to_at,
    coalesce(valid_to_at, $last::timestamptz + interval 1 day) as last_seen_at, 1 as source_rank
from (select unnest($types) as kind), (select unnest(['us-east-1', 'us-west-2']) as region),
    (select unnest([
        {'model': 'on_demand', 'factor': 1.0, 'term': null, 'payment': null},
        {'model': 'spot', 'factor': 0.4, 'term': null, 'payment': null},
        {'model': 'reserved', 'factor': 0.6, 'term': 12, 'payment': 'no_upfront'}
    ]) as offer),
    (select unnest(generate_series($first::date - 30, $last, interval 7 day))::date as week_start)
"""
# Hourly lines of each deployment, in the format of FOCUS, of the months that are over.
BILLS = f"""
insert into raw.billing_lines by name
select
    'bill' as source_name, 'focus' as kind, date_trunc('month', day)::date as billing_period,
    'Usage' as charge_type_raw, false as has_invoice, 'aws' as provider_raw,
    case when d % 2 = 0 then 'us-east-1' else 'us-west-2' end as region_raw,
    'i-' || d as resource_id, day::timestamptz + to_hours(hour::integer) as charge_from_at,
    charge_from_at + interval 1 hour as charge_to_at, $types[d % len($types) + 1] as instance_type_raw,
    'BoxUsage:' || instance_type_raw as usage_type_raw, 'Standard' as pricing_category_raw, 1 as quantity,
    'hours' as quantity_unit_raw, 'USD' as currency, 39.5 as billed_amount, 39.5 as effective_amount, 41 as list_amount,
    39.5 as contracted_amount
from {DAYS}, range(24) as hours (hour), range($deployments) as deployments (d)
where day < date_trunc('month', $last);
insert into raw.billing_periods by name
select
    'bill' as source_name, billing_period, 'FOCUS 1.2' as format_version, count(*) as line_count,
    sum(billed_amount) as billed_amount, sum(effective_amount) as effective_amount, 'digest' as delivery_digest,
    billing_period::timestamptz + interval 40 day as delivered_at, now() as loaded_at
from raw.billing_lines group by billing_period
"""
# What finance asks: the questions of the documentation, by month, by day and over the whole year.
QUESTIONS = (
    "from fct_unit_costs_daily where usage_date = (select as_of_date from ledger_run)",
    "select provider, sum(cost_usd) from fct_cost_versions where usage_date between '2026-10-01' and '2026-10-31' "
    "and not is_withdrawn and stated_at <= timestamptz '2027-11-02 09:00:00+00' "
    "and (superseded_at is null or superseded_at > timestamptz '2027-11-02 09:00:00+00') group by provider",
    "select month_start_date, name, cost_usd_at_close, cost_usd, restated_cost_usd from fct_month_close "
    "where state = 'closed' and restated_cost_usd <> 0 order by month_start_date, abs(restated_cost_usd) desc",
    "select cost_center, sum(cost_usd) from fct_tenant_costs_daily "
    "where usage_date between '2026-10-01' and '2026-10-31' group by cost_center order by 2 desc",
    "select usage_date, sum(cost_usd) from fct_tenant_costs_daily where tenant = 't42' "
    "and usage_date >= date '2026-09-01' group by usage_date order by usage_date",
    "select hour_start_at, cost_usd, active_cost_usd, total_tokens from fct_inference_costs_hourly "
    "where deployment = 'd7' and hour_start_at >= timestamptz '2026-11-29 00:00:00+00' order by hour_start_at",
    "select date_trunc('month', usage_date), sum(effective_cost_usd), sum(unused_commitment_cost_usd), "
    "sum(savings_usd) from fct_purchase_mix_daily group by 1 order by 1",
    "select model, sum(cost_usd) * 1000000 / sum(total_tokens) from fct_unit_costs_daily "
    "where pricing_category = 'all' and usage_date >= date '2026-11-01' group by model order by 2 desc",
    "select usage_date, sum(billed_cost_usd), sum(modelled_cost_usd), sum(rate_difference_usd) "
    "from fct_bill_reconciliation_daily where usage_date >= date '2026-10-01' group by 1 order by 1",
    "select SubAccountId, sum(EffectiveCost) from focus_cost_and_usage "
    "where BillingPeriodStart = timestamptz '2026-10-01 00:00:00+00' group by 1 order by 2 desc limit 20",
)


def ledger(deployments: int, commitments: int, start: date) -> str:
    """A fleet of one entry per deployment, a fifth of it reserved, and commitments that begin with it."""
    lines = ["fleet:"]
    for d in range(deployments):
        kind, region = TYPES[d % len(TYPES)], ("us-east-1", "us-west-2")[d % 2]
        lines.append(
            f"  - {{deployment: d{d}, model: m{d % MODELS}, provider: aws, region: {region}, instance_type: {kind}, "
            f"replicas: 1, pricing: {{model: {'spot' if d % 10 == 9 else 'on_demand'}}}, from: {start}}}"
        )
    lines.append("commitments:")
    for c in range(commitments):
        of = f"region: {('us-east-1', 'us-west-2')[c % 2]}, instance_type: {TYPES[c % len(TYPES)]}, count: 1"
        lines.append(
            f"  - {{id: c{c}, provider: aws, {of}, term_months: 12, payment_option: no_upfront, from: {start}}}"
        )
    routes = ", ".join(f"m{d}: d{d}" for d in range(deployments))
    lines += ["usage:", f"  - {{name: engines, kind: metrics, path: 'none/*/*.prom', deployments: {{{routes}}}}}"]
    lines += ["billing:", "  - {name: bill, kind: focus, path: 'none/*.parquet'}"]
    return "\n".join(lines) + "\n"


class Year:
    """A warehouse with the inputs of costs for some days."""

    def __init__(self, root: Path, days: int, options: argparse.Namespace) -> None:
        root.mkdir()
        self.root, self.days, self.options = root, days, options
        self.start = END - timedelta(days=days)
        (root / "ledger.yaml").write_text(ledger(options.deployments, options.commitments, self.start))
        self.settings: Settings = load_settings(root / "ledger.yaml", root / "data")
        self._write_run(END - timedelta(days=1), "first")
        self._dbt("seed")
        self._dbt("run")
        self._fill(self.start, END - timedelta(days=1), bills=True)

    def _write_run(self, as_of: date, run_id: str) -> None:
        with Warehouse(self.settings.warehouse_path).connect() as con:
            write_ledger(con, self.settings)
            con.execute("delete from raw.pending_usage_days")
            write_run(con, run_id=run_id, started_at=datetime.now(UTC), as_of_date=as_of)

    def _fill(self, first: date, last: date, *, bills: bool) -> None:
        with Warehouse(self.settings.warehouse_path).connect() as con:
            period = {"first": first, "last": last, "deployments": self.options.deployments}
            for statement in USAGE.split(";"):
                wanted = {**period, "tenants": self.options.tenants}
                con.execute(statement, {name: value for name, value in wanted.items() if f"${name}" in statement})
            if bills:
                con.execute(PRICES, {"first": first, "last": last, "types": list(TYPES)})
                for statement in BILLS.split(";"):
                    wanted = {**period, "types": list(TYPES)}
                    con.execute(statement, {name: value for name, value in wanted.items() if f"${name}" in statement})

    def _dbt(self, *arguments: str) -> tuple[float, float, float, float]:
        """Runs dbt; seconds of its models, of the command in all, of processors used, and peak memory in GB."""
        started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [Path(sys.executable).with_name("dbt"), "--quiet", *arguments, "--profiles-dir", "."],
            cwd=PROJECT_ROOT / "dbt",
            env={
                **os.environ,
                "LEDGER_WAREHOUSE": str(self.settings.warehouse_path),
                "DBT_TARGET_PATH": str(self.root.parent / "target"),
                "DBT_LOG_PATH": str(self.root / "logs"),
            },
            check=False,
        )
        seconds = time.monotonic() - started
        if done.returncode:
            raise SystemExit(f"dbt {' '.join(arguments)} failed")
        found = json.loads((self.root.parent / "target" / "run_results.json").read_text())
        if self.options.verbose:
            slowest = sorted(found["results"], key=lambda result: -result["execution_time"])[:12]
            print(*(f"    {r['execution_time']:6.1f} s {r['unique_id'].split('.')[-1]}" for r in slowest), sep="\n")
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        processors = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        return found["elapsed_time"], seconds, processors, used.ru_maxrss / 1024**2

    def rebuild(self) -> tuple[float, float, float, float]:
        """All of costs and usage marts anew, as after a correction of a seed; published."""
        taken = self._dbt("run", "--full-refresh", "--select", *MEASURED)
        self._note_published()
        return taken

    def add_day(self) -> tuple[float, float, float, float]:
        """One more day."""
        self._fill(END, END, bills=False)
        self._write_run(END, "next")
        taken = self._dbt("run", "--select", *MEASURED)
        self._note_published()
        return taken

    def _note_published(self) -> None:
        with Warehouse(self.settings.warehouse_path).connect() as con:
            note_published(con, "benchmark")

    def group_by(self) -> tuple[int, float, float]:
        """Rows of hourly costs, and in how many seconds DuckDB and pandas sum them by day, deployment and category."""
        key = ["usage_date", "deployment", "pricing_category"]
        with duckdb.connect(str(self.settings.warehouse_path), read_only=True) as con:
            started = time.monotonic()
            con.execute(
                f"select {', '.join(key)}, sum(cost_usd), sum(total_tokens) from marts.fct_inference_costs_hourly "
                "group by all"
            ).fetchall()
            bare = time.monotonic() - started
            frame = con.execute(
                f"select {', '.join(key)}, cost_usd::double as cost_usd, total_tokens "
                "from marts.fct_inference_costs_hourly"
            ).df()
            started = time.monotonic()
            frame.groupby(key)[["cost_usd", "total_tokens"]].sum()
            return len(frame), bare, time.monotonic() - started


def ask(settings: Settings, rounds: int) -> list[tuple[int, float]]:
    """One reader: each question so many times; which one, and its seconds."""
    taken = []
    with open_published(settings) as con:
        for _ in range(rounds):
            for number, question in enumerate(QUESTIONS):
                started = time.monotonic()
                con.execute(question).fetchall()
                taken.append((number, time.monotonic() - started))
    return taken


def percentile(seconds: list[float], share: float) -> float:
    """Milliseconds that so much of the answers did not take longer than."""
    return 1000 * sorted(seconds)[min(int(len(seconds) * share), len(seconds) - 1)]


def main() -> None:
    """Runs the comparison once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, nargs="+", default=[10, 365])
    parser.add_argument("--deployments", type=int, default=200)
    parser.add_argument("--tenants", type=int, default=500)
    parser.add_argument("--commitments", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=10, help="of the ten questions, by each reader")
    parser.add_argument("--verbose", action="store_true", help="the slowest models of each dbt run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for days in options.days:
            year = Year(Path(folder, str(days)), days, options)
            for what, (models, all_of_it, processors, memory) in (
                ("all anew", year.rebuild()),
                ("one more day", year.add_day()),
            ):
                print(
                    f"{days:4} days, {what:12} {models:7.1f} s the models, {all_of_it - models:5.1f} s dbt's start, "
                    f"{processors:6.1f} s of processors in both, at most {memory:4.1f} GB so far",
                    flush=True,
                )
        rows, bare, in_pandas = year.group_by()
        print(f"a bare group-by of its {rows:,} hours: DuckDB {bare:.2f} s, pandas {in_pandas:.2f} s")
        started = time.monotonic()
        publish(year.settings, run_id="benchmark", published_at=datetime.now(UTC))
        size = year.settings.published_database.stat().st_size / 1024**2
        print(f"published in {time.monotonic() - started:.0f} s, {size:.0f} MB")
        with ProcessPoolExecutor(READERS) as readers:
            asked = [readers.submit(ask, year.settings, options.rounds) for _ in range(READERS)]
            taken = [each for future in asked for each in future.result()]
        for number, question in enumerate(QUESTIONS):
            own = [seconds for which, seconds in taken if which == number]
            print(f"p50 {percentile(own, 0.5):6.1f} ms, p95 {percentile(own, 0.95):6.1f} ms  {question[:80]}")
        own = [seconds for _, seconds in taken]
        print(f"p50 {percentile(own, 0.5):6.1f} ms, p95 {percentile(own, 0.95):6.1f} ms  all, {READERS} readers")


if __name__ == "__main__":
    main()
