"""The whole demo day through the command line: the first run (60 days to load) and the run after it.

    python -m benchmarks.daily_run

Prints seconds and peak memory of each, and as a yardstick a bare DuckDB scan of every file the first run reads, plus
pandas reading a part of the same payloads. Without network it includes the waits for names that do not resolve.
"""

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from examples.generate import generate
from orchestration.settings import PROJECT_ROOT

COMMAND = str(Path(sys.executable).with_name("inference-ledger"))


def run(root: Path) -> tuple[float, float]:
    """Runs the day in `root`; returns wall seconds and the peak memory in MB of the process and its children."""
    start = time.perf_counter()
    process = subprocess.Popen([COMMAND, "run"], cwd=root, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, "the run failed"
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def bare_scan(root: Path) -> float:
    """Seconds DuckDB needs to read every byte of the demo files and do nothing with them."""
    con = duckdb.connect()
    start = time.perf_counter()
    con.execute(f"select count(*) from read_ndjson_objects('{root}/data/demo/litellm/*.jsonl.gz')").fetchall()
    con.execute(f"select sum(size) from read_text('{root}/data/demo/vllm/*/*/*.prom')").fetchall()
    return time.perf_counter() - start


def pandas_part(root: Path, days: int) -> float:
    """Seconds pandas needs for the payloads of all days, measured on `days` of them."""
    import pandas as pd

    files = sorted((root / "data" / "demo" / "litellm").glob("*.gz"))
    start = time.perf_counter()
    for path in files[:days]:
        frame = pd.read_json(path, lines=True)
        pd.json_normalize(frame["metadata"].tolist())
    return (time.perf_counter() - start) * len(files) / days


def main() -> None:
    """Runs the comparison once."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        text = (PROJECT_ROOT / "ledger.yaml").read_text()
        (root / "ledger.yaml").write_text(text.replace("examples/prices", str(PROJECT_ROOT / "examples" / "prices")))
        start = time.perf_counter()
        generate(root / "data" / "demo", days=60, end=datetime.now(UTC).date() - timedelta(days=1))
        print(f"writing 60 days of the demo world  {time.perf_counter() - start:6.1f} s")
        bare = bare_scan(root)
        first, first_memory = run(root)
        second, second_memory = run(root)
        payloads = pandas_part(root, 6)
    print(f"first run, 60 days to load         {first:6.1f} s  {first_memory:5.0f} MB  (limit 60 s)")
    print(f"next run, nothing new              {second:6.1f} s  {second_memory:5.0f} MB")
    print(f"bare scan of the same files        {bare:6.1f} s  first run = {first / bare:.0f} x")
    print(f"pandas, the payloads alone         {payloads:6.1f} s  loading them here is part of the first run")


if __name__ == "__main__":
    main()
