"""A gigabyte of vLLM's text log: its statistics lines landed, against bare scans of the same lines.

    python -m benchmarks.engine_logs [--mb 1000]

Writes a log in the proportions measured on vLLM 0.32 under load: for each statistics line 100 requests, with an access
line (71 bytes), a `Received request` line (586) and an `Added request` line (101). Prints seconds of one run on this
machine: ours from file to `raw.engine_log_windows`, DuckDB counting the statistics lines among those that `read_csv`
gives it, DuckDB holding the file as one text, and pandas with the same regular expression.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from orchestration import expectations
from orchestration.serving_logs.files import text_lines
from orchestration.settings import load_settings
from orchestration.warehouse import Warehouse, load_usage

LEDGER = """
fleet:
  - {deployment: chat, model: qwen3-32b, provider: aws, region: us-east-1, instance_type: p5.48xlarge, replicas: 1,
     pricing: {model: on_demand}, from: 2026-11-01}
usage:
  - {name: src, kind: vllm_log, path: "logs/*.log", deployment: chat}
"""
PREFIX = "(APIServer pid=3243) INFO {:%m-%d %H:%M:%S} [loggers.py:335] "
REQUESTS = (
    '(APIServer pid=3243) INFO:     127.0.0.1:48868 - "POST /v1/chat" 200 OK\n'
    + "(APIServer pid=3243) INFO 11-23 17:54:36 [logger.py:39] Received request cmpl-1: prompt: '"
    + "lorem ipsum dolor " * 26
    + "', params: SamplingParams(n=1)\n"
    + "(APIServer pid=3243) INFO 11-23 17:54:36 [async_llm.py:278] Added request cmpl-p2-0022-0-98e06f30e1a2.\n"
) * 100
STATS = (
    "Engine 000: Avg prompt throughput: 71.1 tokens/s, Avg generation throughput: 11.7 tokens/s, Running: 1 reqs, "
    "Waiting: 0 reqs, GPU KV cache usage: 0.0%, Prefix cache hit rate: 61.7%\n"
)
FIND = r"Avg prompt throughput: (\S+) tokens/s, Avg generation throughput: (\S+) tokens/s"


def write_log(path: Path, size: int) -> int:
    """Writes about `size` bytes; returns how many statistics lines there are."""
    at = datetime(2026, 11, 1, tzinfo=UTC)
    count = 0
    with path.open("w", encoding="utf-8") as out:
        while out.tell() < size:
            at += timedelta(seconds=10)
            out.write(REQUESTS + PREFIX.format(at) + STATS)
            count += 1
    return count


def seconds(work: Callable[[], object]) -> float:
    """Of the better of two runs."""
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    """Runs the comparison once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "logs").mkdir()
        log = root / "logs" / "vllm.log"
        count = write_log(log, options.mb * 1_000_000)
        size = log.stat().st_size
        print(f"{size / 1e6:,.0f} MB, {count:,} statistics lines")
        (root / "ledger.yaml").write_text(LEDGER)
        settings = load_settings(root / "ledger.yaml", root / "data")
        expectations._batch_definition()  # importing and starting Great Expectations is paid once a run, not per byte
        with Warehouse(settings.warehouse_path).connect():
            pass
        empty = settings.warehouse_path.stat().st_size
        with Warehouse(settings.warehouse_path).connect() as con:
            now = datetime(2026, 11, 30, tzinfo=UTC)
            start = time.perf_counter()
            result = load_usage(con, settings.ledger.usage[0], settings, now=now, work_dir=root / "tmp")
            ours = time.perf_counter() - start
        kept = (settings.warehouse_path.stat().st_size - empty) / count
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        assert (result.record_count, result.rejected_count, result.problems) == (count, 0, []), result
        bare = duckdb.connect()
        arguments = {"paths": [str(log)], "compression": "none"}
        found = f"select count(*) from {text_lines()} where regexp_matches(line, '{FIND}')"
        lines = seconds(lambda: bare.execute(found, arguments).fetchall())
        text = seconds(lambda: bare.execute("select length(content) from read_text(?)", [str(log)]).fetchall())

        def with_pandas() -> None:
            import pandas as pd

            for chunk in pd.read_csv(log, sep="\x01", header=None, names=["line"], chunksize=500_000, quoting=3):
                chunk["line"].str.extract(FIND).dropna().astype(float).sum()

        peer = seconds(with_pandas)
        print(f"the warehouse takes {kept:.0f} bytes a line")
        print(f"landed in raw                 {ours:8.2f} s   {size / 1e6 / ours:6,.0f} MB/s, peak {memory:,.0f} MB")
        print(f"DuckDB, read_csv by lines     {lines:8.2f} s   ours is {ours / lines:.2f} x")
        print(f"DuckDB, read_text, only held  {text:8.2f} s   ours is {ours / text:.2f} x")
        print(f"pandas                        {peer:8.2f} s   ours is {ours / peer:.2f} x")


if __name__ == "__main__":
    main()
