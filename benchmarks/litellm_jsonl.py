"""LiteLLM payloads: raw load and staging, against a bare DuckDB scan of the same file and against pandas.

    python -m benchmarks.litellm_jsonl [--megabytes 1000] [--pandas-megabytes 200]

Prints seconds and ratios of one run on this machine. pandas reads a part of the file (it needs minutes and several GB
for the whole); its time is scaled by bytes.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from orchestration import expectations
from orchestration.serving_logs.fields import leaf_type
from orchestration.serving_logs.litellm import LITELLM_FIELDS
from orchestration.settings import PROJECT_ROOT, load_settings
from orchestration.warehouse import Warehouse, load_usage

LEDGER = """
fleet:
  - {deployment: chat, model: qwen3-32b, provider: aws, region: us-east-1, instance_type: p5.48xlarge, replicas: 1,
     pricing: {model: on_demand}, from: 2026-11-01}
usage:
  - {name: gateway, kind: litellm, path: "payloads.jsonl", deployment: chat}
"""


def write_payloads(path: Path, megabytes: int, seed: int = 1) -> int:
    """Writes payloads of the real shape and weight (about 11 KB, 7 KB of it the model map); returns the row count."""
    rng = random.Random(seed)
    prices = [
        f"{kind}_{unit}_above_{size}k_tokens_{tier}"
        for kind in ("input_cost", "output_cost", "cache_read_cost")
        for unit in ("per_token", "per_image", "per_audio_token")
        for size in (128, 200, 272)
        for tier in ("flex", "priority", "balanced", "ultrafast")
    ]
    model_map = {"model_map_key": "hosted_vllm/acme/qwen3-32b", "model_map_value": dict.fromkeys(prices)}
    filler = {f"user_api_key_{name}": None for name in ("alias", "spend", "org_id", "user_id", "end_user_id", "email")}
    rows, size, limit = 0, 0, megabytes * 1_000_000
    with path.open("w", encoding="utf-8") as out:
        while size < limit:
            prompt, output = rng.randint(50, 4000), rng.randint(5, 900)
            start = 1795305600 + rows * 0.3
            line = json.dumps(
                {
                    "id": f"chatcmpl-{uuid.UUID(int=rng.getrandbits(128)).hex}",
                    "litellm_call_id": str(uuid.UUID(int=rng.getrandbits(128))),
                    "trace_id": str(uuid.UUID(int=rng.getrandbits(128))),
                    "call_type": "acompletion",
                    "stream": rng.random() < 0.5,
                    "status": "success",
                    "custom_llm_provider": "hosted_vllm",
                    "startTime": start,
                    "endTime": start + 2.5,
                    "completionStartTime": start + 0.4,
                    "model": "hosted_vllm/acme/qwen3-32b",
                    "metadata": {
                        **filler,
                        "user_api_key_hash": f"{rng.getrandbits(256):064x}",
                        "user_api_key_team_id": f"team-{rng.randint(1, 40)}",
                        "usage_object": {
                            "completion_tokens": output,
                            "prompt_tokens": prompt,
                            "prompt_tokens_details": {"cached_tokens": prompt // 2},
                        },
                    },
                    "response_cost": 0.0008,
                    "total_tokens": prompt + output,
                    "prompt_tokens": prompt,
                    "completion_tokens": output,
                    "model_group": "qwen3-32b",
                    "model_id": f"replica-{rng.randint(1, 8)}",
                    "messages": [{"role": "user", "content": "lorem ipsum dolor sit amet " * 50}],
                    "response": {"choices": [{"message": {"content": "consectetur adipiscing elit " * 20}}]},
                    "model_parameters": {"stream": True, "max_tokens": 900, "temperature": 0.7},
                    "hidden_params": {"additional_headers": {f"x-header-{i}": "value" * 4 for i in range(8)}},
                    "model_map_information": model_map,
                    "error_information": {"error_code": "", "error_class": "", "traceback": "", "error_message": ""},
                }
            )
            out.write(line + "\n")
            size += len(line) + 1
            rows += 1
    return rows


def bare_scan(path: Path, *, into_table: bool = False) -> float:
    """Seconds DuckDB needs to read the same fields, typed, and do nothing with them but count or keep them."""
    columns = ", ".join(f"'{name}': '{leaf_type(leaf)}'" for name, leaf in LITELLM_FIELDS.items())
    con = duckdb.connect()
    start = time.perf_counter()
    what = ", ".join(f'count("{name}")' for name in LITELLM_FIELDS)
    scan = f"from read_json(?, format = 'newline_delimited', columns = {{{columns}}})"
    con.execute(f"create table kept as {scan}" if into_table else f"select {what} {scan}", [str(path)]).fetchall()
    return time.perf_counter() - start


def pandas_seconds(path: Path, rows: int) -> float:
    """Seconds pandas needs to read `rows` lines and take the token columns out of them."""
    import pandas as pd

    start = time.perf_counter()
    for chunk in pd.read_json(path, lines=True, chunksize=50_000, nrows=rows):
        chunk.groupby("model_group")[["prompt_tokens", "completion_tokens"]].sum()
        pd.json_normalize(chunk["metadata"].tolist())
    return time.perf_counter() - start


def main() -> None:
    """Runs the comparison once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--pandas-megabytes", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = root / "payloads.jsonl"
        rows = write_payloads(path, options.megabytes)
        size = path.stat().st_size
        print(f"{rows:,} payloads, {size / 1e6:,.0f} MB")
        (root / "ledger.yaml").write_text(LEDGER)
        settings = load_settings(root / "ledger.yaml", root / "data")
        warehouse = Warehouse(settings.warehouse_path)
        with warehouse.connect():
            pass
        subprocess.run(
            [
                Path(sys.executable).with_name("dbt"),
                "--quiet",
                "run",
                "--profiles-dir",
                ".",
                "--select",
                "+stg_usage__requests",
                "--target-path",
                str(root / "target"),
                "--log-path",
                str(root / "logs"),
            ],
            cwd=PROJECT_ROOT / "dbt",
            env={**os.environ, "LEDGER_WAREHOUSE": str(settings.warehouse_path)},
            check=True,
        )
        expectations._batch_definition()  # importing and starting Great Expectations is paid once a run, not per byte
        bare_scan(path)  # warms the file cache for both
        bare = min(bare_scan(path) for _ in range(3))
        kept = min(bare_scan(path, into_table=True) for _ in range(3))
        now = datetime(2026, 11, 30, tzinfo=UTC)
        with warehouse.connect() as con:
            start = time.perf_counter()
            result = load_usage(con, settings.ledger.usage[0], settings, now=now, work_dir=root / "tmp")
            loaded = time.perf_counter() - start
            columns = [row[0] for row in con.execute("describe staging.stg_usage__requests").fetchall()]
            counts = ", ".join(f'count("{name}")' for name in columns)
            con.execute(f"select {counts} from staging.stg_usage__requests").fetchall()
            both = time.perf_counter() - start
        assert result.record_count == rows, result
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        part = min(rows, rows * options.pandas_megabytes // options.megabytes)
        scaled = pandas_seconds(path, part) * rows / part
    print(f"bare DuckDB typed scan      {bare:8.2f} s")
    print(f"the same, kept in memory    {kept:8.2f} s   {both / kept:5.2f} x for ours, which ends on disk, checked")
    print(f"load into raw               {loaded:8.2f} s")
    print(f"load and staging            {both:8.2f} s   {both / bare:5.2f} x the bare scan (limit 2)")
    print(f"pandas, scaled              {scaled:8.2f} s   {scaled / both:5.1f} x ours (limit 15)")
    print(f"peak memory of this process {memory:8.0f} MB (pandas not yet run)")


if __name__ == "__main__":
    main()
