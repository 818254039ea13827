"""What one more day of usage costs after 10 days of history and after 400: dbt's time must not grow with it.

    python -m benchmarks.usage_history

Fills two warehouses with calls and scrapes made in SQL, builds them, adds a day to each and builds again, three times
in turns. Prints the seconds of the fastest of these builds by dbt's own account, for the models and tests of usage and
for all of dbt, and their ratios. Before usage was read by window, the ratio for usage was 67.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from orchestration.settings import PROJECT_ROOT, load_settings
from orchestration.warehouse import Warehouse, write_ledger, write_run

END = date(2026, 11, 30)
USAGE_PATHS = ("models/staging/usage", "models/intermediate/usage", "tests/assert_usage_")
LEDGER = """
fleet:
  - {{deployment: chat, model: a, provider: aws, region: us-east-1, instance_type: p5.48xlarge, replicas: 4,
     pricing: {{model: on_demand}}, from: {start}}}
  - {{deployment: rag, model: b, provider: aws, region: us-east-1, instance_type: p5.48xlarge, replicas: 4,
     pricing: {{model: on_demand}}, from: {start}}}
usage:
  - {{name: engines, kind: metrics, path: 'none/*/*.prom', deployment: chat}}
  - {{name: gateway, kind: litellm, path: 'none/*.jsonl', deployments: {{rag: rag}}}}
"""
FILE = """
insert or ignore into raw.usage_files by name
select
    'log' as file_id, 1 as file_number, 'gateway' as source_name, 'litellm' as kind, 'log' as file_path,
    0 as size_bytes, now() as modified_at, 0 as record_count, 0 as rejected_count, 'loaded' as status,
    now() as loaded_at
"""
# A tenth of the calls have no route; two names share the replicas.
CALLS = """
insert into raw.requests by name
select
    1 as file_number, md5_number(day || ' ' || n)::uuid as request_id, request_id as call_id,
    'success' as status, 'hosted_vllm/b' as model, case when n % 10 = 0 then 'stray' else 'rag' end as model_group,
    'r' || n % 4 as model_id, 'team-' || n % 20 as tenant,
    day::timestamptz + to_microseconds((n * 86400000000) // $calls) as started_at,
    started_at + to_seconds(n % 30 + 1) as completed_at, day as usage_date,
    500 + n % 700 as prompt_tokens, 50 + n % 300 as completion_tokens, n % 400 as cached_tokens
from (select unnest(generate_series($first, $last, interval 1 day))::date as day), range($calls) as calls (n)
"""
SAMPLES = """
insert into raw.metric_samples by name
select
    'engines' as source_name, 'f' as file_id, 'r' || replica as replica_key,
    day::timestamptz + to_seconds(n * 86400 // $scrapes) as scraped_at, day as usage_date, '0' as engine,
    'a' as model_name, metric_name, case when metric_name = 'vllm:request_success_total' then 'stop' end as label_value,
    ((day - $epoch) * $scrapes + n) * 100.0 as value, $epoch::timestamptz as process_started_at
from
    (select unnest(generate_series($first, $last, interval 1 day))::date as day),
    range($scrapes) as scrapes (n), range(4) as replicas (replica),
    (select unnest([
        'vllm:prompt_tokens_total', 'vllm:generation_tokens_total', 'vllm:prompt_tokens_cached_total',
        'vllm:prefix_cache_hits_total', 'vllm:request_success_total', 'vllm:request_prefill_time_seconds_sum',
        'vllm:request_decode_time_seconds_sum'
    ]) as metric_name)
order by scraped_at
"""


def build(root: Path, warehouse: Path) -> tuple[float, float]:
    """Builds and tests all models; returns dbt's seconds for usage and for everything."""
    subprocess.run(
        [Path(sys.executable).with_name("dbt"), "--quiet", "build", "--profiles-dir", "."]
        + ["--exclude-resource-type", "unit_test"],
        cwd=PROJECT_ROOT / "dbt",
        env={
            **os.environ,
            "LEDGER_WAREHOUSE": str(warehouse),
            "DBT_TARGET_PATH": str(root / "target"),
            "DBT_LOG_PATH": str(root / "logs"),
        },
        check=True,
    )
    nodes = json.loads((root / "target" / "manifest.json").read_text())["nodes"]
    results = json.loads((root / "target" / "run_results.json").read_text())["results"]
    seconds = {result["unique_id"]: result["execution_time"] for result in results}
    paths = {name: nodes[name]["original_file_path"] for name in seconds if name in nodes}  # exposures take no time
    usage = sum(seconds[name] for name, path in paths.items() if path.startswith(USAGE_PATHS))
    return usage, sum(seconds.values())


def fill(root: Path, days: int, calls: int, scrapes: int) -> Path:
    """A warehouse in which `days` of usage are built, and one more day waits; its path."""
    start = END - timedelta(days=days)
    (root / "ledger.yaml").write_text(LEDGER.format(start=start))
    settings = load_settings(root / "ledger.yaml", root / "data")
    for first, last in ((start, END - timedelta(days=1)), (END, END)):
        with Warehouse(settings.warehouse_path).connect() as con:
            con.execute("delete from raw.pending_usage_days")
            write_ledger(con, settings)
            period = {"first": first, "last": last}
            con.execute(FILE)
            con.execute(CALLS, {**period, "calls": calls})
            con.execute(SAMPLES, {**period, "scrapes": scrapes, "epoch": start})
            con.execute("insert into raw.pending_usage_days values (?)", [first])
            write_run(con, run_id="benchmark", started_at=datetime.now(UTC), as_of_date=last)
        if first == start:
            build(root, settings.warehouse_path)
    return settings.warehouse_path


def main() -> None:
    """Runs the comparison once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--calls", type=int, default=20_000, help="a day")
    parser.add_argument("--scrapes", type=int, default=288, help="a day and replica, of which there are 4")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        roots = [Path(folder, "short"), Path(folder, "long")]
        warehouses = []
        for root, days in zip(roots, (10, options.days), strict=True):
            root.mkdir()
            warehouses.append(fill(root, days, options.calls, options.scrapes))
        turns = [[build(*pair) for pair in zip(roots, warehouses, strict=True)] for _ in range(3)]
    found = [[min(seconds) for seconds in zip(*builds, strict=True)] for builds in zip(*turns, strict=True)]
    print(f"one more day after                 10 days  {options.days:4} days")
    for name, before, after in zip(("usage, models and tests", "all of dbt"), *found, strict=True):
        print(f"{name:30} {before:8.1f} s {after:8.1f} s  {after / before:5.2f} x")


if __name__ == "__main__":
    main()
