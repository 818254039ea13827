"""A day of request-level logs: landed, de-duplicated and added up, against a bare DuckDB scan of the same files.

    python -m benchmarks.request_logs [--requests 5000000] [--kind litellm] [--memory-gb 4] [--zstd]

Writes LiteLLM payloads of about 1.2 KB (or OTLP spans, or a generic log) with DuckDB, a hundredth of them twice as an
at-least-once shipper does, in files of a million. Prints seconds, ratios and peak memory of one run on this machine.
pandas reads a sample and its time is scaled by requests; Spark runs where pyspark and Java are (extra `bench`), on all
of it.
`--requests 50000000 --memory-gb 8` is the day that does not fit into memory; with `--zstd` it fits on a small disk.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import duckdb

from orchestration import expectations
from orchestration.serving_logs.fields import Fields, Leaf, leaf_type, literal_text
from orchestration.serving_logs.generic_requests import generic_requests
from orchestration.serving_logs.litellm import LITELLM_FIELDS
from orchestration.serving_logs.otlp_spans import OTLP_SPAN_FIELDS
from orchestration.settings import PROJECT_ROOT, load_settings
from orchestration.warehouse import Warehouse, load_usage

OPTIONS = {
    "litellm": "",
    "otlp_spans": "",
    "requests": ", columns: {request_id: id, started_at: start, completed_at: end, model: model, tenant: team, "
    "prompt_tokens: prompt_tokens, completion_tokens: completion_tokens, cached_tokens: cached_tokens}",
}
LEDGER = """
fleet:
  - {{deployment: chat, model: qwen3-32b, provider: aws, region: us-east-1, instance_type: p5.48xlarge, replicas: 1,
     pricing: {{model: on_demand}}, from: 2026-11-01}}
usage:
  - {{name: src, kind: {kind}, path: "logs/*.jsonl*", deployment: chat{options}}}
"""
ROWS_PER_FILE = 1_000_000

# One call: its number is `i`. 86,400 seconds of one day, prompts of 50 to 4,049 tokens.
CALL = """
    i, 1795305600 + (i * 86400.0 / {total}) as start, 50 + hash(i) % 4000 as prompt_tokens,
    5 + hash(i + 1) % 900 as completion_tokens, 'chatcmpl-' || md5(i::varchar) as id,
    'team-' || hash(i + 2) % 40 as team
"""
SHAPES = {
    # The fields that are read, and about 900 bytes of those that are not, as LiteLLM 1.109.1 writes them.
    "litellm": """
        select id, md5(id) as litellm_call_id, md5(i::varchar || 't') as trace_id, 'acompletion' as call_type,
            'success' as status, i % 2 = 0 as stream, start as "startTime", start + 2.5 as "endTime",
            start + 0.4 as "completionStartTime", 'hosted_vllm/acme/qwen3-32b' as model, 'qwen3-32b' as model_group,
            'replica-' || i % 8 as model_id, prompt_tokens, completion_tokens,
            prompt_tokens + completion_tokens as total_tokens, 0.0008 as response_cost,
            {'user_api_key_hash': sha256(team), 'user_api_key_team_id': team, 'user_api_key_alias': null,
             'usage_object': {'prompt_tokens': prompt_tokens, 'completion_tokens': completion_tokens,
                              'prompt_tokens_details': {'cached_tokens': prompt_tokens // 2}}} as metadata,
            [{'role': 'user', 'content': repeat('lorem ipsum dolor ', 20)}] as messages,
            {'choices': [{'message': {'content': repeat('sit amet ', 15)}}]} as response
    """,
    "otlp_spans": """
        select [{'resource': {'attributes': [
                {'key': 'service.name', 'value': {'stringValue': 'qwen3-32b'}},
                {'key': 'k8s.pod.name', 'value': {'stringValue': 'vllm-' || i % 8}}]},
            'scopeSpans': [{'scope': {'name': 'vllm.tracing.otel'}, 'spans': [{
                'traceId': md5(id), 'spanId': left(md5(id || 's'), 16), 'name': 'llm_request', 'kind': 2,
                'startTimeUnixNano': cast(start * 1e9 as bigint)::varchar,
                'endTimeUnixNano': cast((start + 2.5) * 1e9 as bigint)::varchar,
                'attributes': [
                    {'key': 'gen_ai.latency.time_to_first_token', 'value': {'doubleValue': 0.4, 'intValue': null,
                        'stringValue': null}},
                    {'key': 'gen_ai.latency.e2e', 'value': {'doubleValue': 2.5, 'intValue': null, 'stringValue': null}},
                    {'key': 'gen_ai.latency.time_in_queue', 'value': {'doubleValue': 0.01, 'intValue': null,
                        'stringValue': null}},
                    {'key': 'gen_ai.usage.prompt_tokens', 'value': {'doubleValue': null,
                        'intValue': prompt_tokens::varchar, 'stringValue': null}},
                    {'key': 'gen_ai.usage.completion_tokens', 'value': {'doubleValue': null,
                        'intValue': completion_tokens::varchar, 'stringValue': null}},
                    {'key': 'gen_ai.request.id', 'value': {'doubleValue': null, 'intValue': null, 'stringValue': id}},
                    {'key': 'gen_ai.request.max_tokens', 'value': {'doubleValue': null, 'intValue': '900',
                        'stringValue': null}}],
                'status': {}::json}]}]}] as "resourceSpans"
    """,
    "requests": """
        select id, start, start + 2.5 as "end", 'qwen3-32b' as model, team, prompt_tokens, completion_tokens,
            prompt_tokens // 2 as cached_tokens, repeat('lorem ipsum dolor ', 50) as prompt
    """,
}


def write_logs(folder: Path, kind: str, requests: int, *, is_zstd: bool) -> int:
    """Writes the day into `folder`; returns its rows, copies included."""
    folder.mkdir()
    con = duckdb.connect(config={"temp_directory": str(folder.parent)})
    written = 0
    for number, first in enumerate(range(0, requests, ROWS_PER_FILE)):
        last = min(first + ROWS_PER_FILE, requests)
        calls = f"select {CALL.format(total=requests)} from range({first}, {last}) as calls(i)"
        copies = f"from calls where i % 100 = 0 and i < {last - 1}"
        shape = SHAPES[kind]
        target = literal_text(str(folder / f"{number:04}.jsonl{'.zst' if is_zstd else ''}"))
        written += con.execute(
            f"copy (with calls as ({calls}) {shape} from calls union all by name {shape} {copies}) "
            f"to {target} (format json, compression {'zstd' if is_zstd else 'none'})"
        ).fetchall()[0][0]
    return written


# What the fields of the flat formats are, for the scan that ours is held against; the others are text.
TYPES = {
    **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens"), "BIGINT"),
    **dict.fromkeys(("startTime", "endTime", "completionStartTime", "start", "end", "response_cost"), "DOUBLE"),
    "stream": "BOOLEAN",
}


def bare_scan(pattern: Path, fields: Fields, types: Mapping[str, str]) -> float:
    """Seconds DuckDB needs to read the same fields and only count them; those without a type are read as text."""
    columns = ", ".join(
        f"{literal_text(name)}: '{types.get(name) or leaf_type(leaf)}'" for name, leaf in fields.items()
    )
    counts = ", ".join(f'count("{name}")' for name in fields)
    con = duckdb.connect()
    start = time.perf_counter()
    con.execute(
        f"select {counts} from read_json(?, format = 'newline_delimited', columns = {{{columns}}})", [str(pattern)]
    ).fetchall()
    return time.perf_counter() - start


def build_staging(root: Path, warehouse: Path) -> None:
    """Makes the views and tables of usage with dbt, as a run does."""
    arguments = ["--profiles-dir", ".", "--select", "+stg_usage__requests", "--target-path", str(root / "target")]
    subprocess.run(
        [Path(sys.executable).with_name("dbt"), "--quiet", "run", *arguments, "--log-path", str(root / "logs_of_dbt")],
        cwd=PROJECT_ROOT / "dbt",
        env={**os.environ, "LEDGER_WAREHOUSE": str(warehouse)},
        check=True,
    )


# What int_request_usage__hourly does: copies are dropped within a day, calls added up by hour, model and tenant.
DAY = """
    create or replace temp table day as
    with numbered as (
        select *, row_number() over (
            partition by source_name, usage_date, request_id, call_id order by started_at, completed_at, file_id
        ) as row_position
        from staging.stg_usage__requests
    )
    select date_trunc('hour', started_at) as usage_hour_at, model_group, model, tenant, count(*) as call_count,
        sum(prompt_tokens) as prompt_tokens, sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens
    from numbered where row_position = 1 group by all
"""


def pandas_seconds(path: Path, rows: int, kind: str) -> float:
    """Seconds pandas needs to read `rows` lines, drop copies and add up."""
    import pandas as pd

    start = time.perf_counter()
    for chunk in pd.read_json(path, lines=True, chunksize=50_000, nrows=rows):
        if kind == "otlp_spans":
            spans = pd.json_normalize(chunk["resourceSpans"].explode().tolist(), ["scopeSpans", "spans"])
            spans.drop_duplicates("spanId")["attributes"].map(
                lambda found: {item["key"]: item["value"].get("intValue") for item in found}
            )
        else:
            chunk.drop_duplicates("id").groupby("model")[["prompt_tokens", "completion_tokens"]].sum()
    return time.perf_counter() - start


def spark_type(leaf: Leaf) -> str:
    """An allow-listed field as a Spark schema writes it."""
    if not isinstance(leaf, Mapping):
        return "string"
    return "struct<" + ", ".join(f"{name}: {spark_type(inner)}" for name, inner in leaf.items()) + ">"


def spark_seconds(root: Path, fields: Fields, kind: str) -> float:
    """Seconds local Spark needs for the same: the same fields kept as Parquet, copies dropped, calls added up."""
    from pyspark.sql import SparkSession, functions

    spark = SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    start = time.perf_counter()
    schema = ", ".join(f"`{name}` {spark_type(leaf)}" for name, leaf in fields.items())
    spark.read.schema(schema).json(str(root / "logs")).write.parquet(str(root / "spark"))
    begin, group = {"litellm": ("startTime", "model_group"), "requests": ("start", "model")}[kind]
    hour = functions.date_trunc("hour", functions.col(begin).cast("double").cast("timestamp"))
    calls = spark.read.parquet(str(root / "spark")).dropDuplicates(["id"]).withColumn("hour", hour)
    sums = [functions.sum(functions.col(name).cast("long")) for name in ("prompt_tokens", "completion_tokens")]
    calls.groupBy("hour", group).agg(*sums).collect()
    seconds = time.perf_counter() - start
    spark.stop()
    return seconds


def main() -> None:
    """Runs the comparison once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=5_000_000)
    parser.add_argument("--kind", choices=sorted(OPTIONS), default="litellm")
    parser.add_argument("--memory-gb", type=float, default=4)
    parser.add_argument("--pandas-requests", type=int, default=200_000)
    parser.add_argument("--zstd", action="store_true", help="packed files")
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder)
        written = write_logs(root / "logs", options.kind, options.requests, is_zstd=options.zstd)
        size = sum(path.stat().st_size for path in (root / "logs").iterdir())
        print(f"{written:,} lines of {options.requests:,} requests, {size / 1e6:,.0f} MB ({options.kind})")
        (root / "ledger.yaml").write_text(LEDGER.format(kind=options.kind, options=OPTIONS[options.kind]))
        settings = load_settings(root / "ledger.yaml", root / "data")
        source = settings.ledger.usage[0]
        fields = {
            "litellm": LITELLM_FIELDS,
            "otlp_spans": OTLP_SPAN_FIELDS,
            "requests": generic_requests(source).fields if options.kind == "requests" else {},
        }[options.kind]
        warehouse = Warehouse(settings.warehouse_path)
        with warehouse.connect():
            pass
        build_staging(root, settings.warehouse_path)
        expectations._batch_definition()  # importing and starting Great Expectations is paid once a run, not per byte
        pattern = root / "logs" / "*.jsonl*"
        # Objects as structs, values as text. Numbers read as numbers come cheaper.
        bare = min(bare_scan(pattern, fields, {}) for _ in range(2))
        typed = min(bare_scan(pattern, fields, TYPES) for _ in range(2))
        # DuckDB keeps to its limit for what it can put aside; half of the allowance is for what it cannot.
        limit = f"{options.memory_gb / 2:.1f}GB"
        with warehouse.connect() as con:
            con.execute(f"set memory_limit = '{limit}'")
            start = time.perf_counter()
            now = datetime(2026, 11, 30, tzinfo=UTC)
            result = load_usage(con, source, settings, now=now, work_dir=root / "tmp")
            landed = time.perf_counter() - start
            con.execute(DAY)
            ours = time.perf_counter() - start
            ((calls, prompt),) = con.execute("select sum(call_count), sum(prompt_tokens) from day").fetchall()
            ((expected,),) = con.execute(
                f"select sum(50 + hash(i) % 4000) from range({options.requests}) as calls(i)"
            ).fetchall()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        assert (result.record_count, result.rejected_count, result.problems) == (written, 0, []), result
        assert (calls, prompt) == (options.requests, expected), (calls, prompt, expected)
        print(f"bare DuckDB scan               {bare:9.2f} s   numbers as text, as ours has to read them")
        print(f"bare scan, numbers typed       {typed:9.2f} s")
        print(f"landed in raw                  {landed:9.2f} s   {landed / bare:6.2f} x")
        ratios = f"{ours / bare:6.2f} x the bare scan (limit 3), {ours / typed:.2f} x typed"
        print(f"landed, without copies, summed {ours:9.2f} s   {ratios}")
        print(f"peak memory                    {memory:9.0f} MB  of {options.memory_gb * 1000:.0f} (limit {limit})")
        if options.zstd:
            return  # what the others need to unpack it is not what is compared
        sample = min(options.pandas_requests, options.requests)
        scaled = pandas_seconds(next(iter(sorted((root / "logs").iterdir()))), sample, options.kind) * written / sample
        print(f"pandas, {sample:,} scaled    {scaled:9.2f} s   {scaled / ours:6.2f} x ours")
        if find_spec("pyspark") and options.kind != "otlp_spans":
            seconds = spark_seconds(root, fields, options.kind)
            print(f"Spark on this machine          {seconds:9.2f} s   {seconds / ours:6.2f} x ours")


if __name__ == "__main__":
    main()
