"""A day of request-level logs: landed, de-duplicated and added up, against a bare DuckDB scan of the same files.

    python -m benchmarks.request_logs [--requests 5000000] [--kind litellm] [--memory-gb 4] [--packed | --bad-line]

Writes LiteLLM payloads of about 1.3 KB (or OTLP spans, or a generic log as JSON lines, CSV or Parquet) with DuckDB, a
hundredth of them twice as an at-least-once shipper does, in files of a million. Reads them as a run does, then has dbt
drop the copies and add up. Prints seconds, seconds of processor time, and peak memory, the best of `--rounds`, in each
of which the bare scan comes first; on a machine with other work compare the processor time. pandas reads a sample and
its time is scaled by requests; Spark runs where pyspark and Java are (extra `bench`), on all of it. `--bad-line` spoils
one line of the last file and loads again. `--requests 50000000 --memory-gb 8 --packed --rounds 1` is the day that does
not fit into memory, on a small disk.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path

import duckdb

from orchestration import expectations
from orchestration.serving_logs.fields import Fields, Leaf, leaf_type, literal_text
from orchestration.serving_logs.generic_requests import generic_requests
from orchestration.serving_logs.litellm import LITELLM_FIELDS
from orchestration.serving_logs.otlp_spans import OTLP_SPAN_FIELDS
from orchestration.settings import PROJECT_ROOT, Settings, UsageSource, dbt_environment, load_settings
from orchestration.warehouse import Warehouse, load_usage, write_ledger, write_run

OPTIONS = {
    "litellm": "",
    "otlp_spans": "",
    "requests": ", columns: {request_id: id, started_at: start, completed_at: end, model: model, tenant: team, "
    "prompt_tokens: prompt_tokens, completion_tokens: completion_tokens, cached_tokens: cached_tokens}",
}
# How files of the generic kind may be written, too.
LAYOUTS = ("jsonl", "csv", "parquet")
LEDGER = """
fleet:
  - {{deployment: chat, model: qwen3-32b, provider: aws, region: us-east-1, instance_type: p5.48xlarge, replicas: 1,
     pricing: {{model: on_demand}}, from: 2026-11-01}}
usage:
  - {{name: src, kind: {kind}, path: "logs/*.*", deployment: chat{options}}}
"""
ROWS_PER_FILE = 1_000_000
DAY = date(2026, 11, 22)
NOW = datetime(2026, 11, 30, tzinfo=UTC)

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


class Clock:
    """Seconds since it was made, and processor seconds of this process."""

    def __init__(self) -> None:
        self._start, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Seconds, processor seconds."""
        return time.perf_counter() - self._start, time.process_time() - self._cpu


def write_logs(folder: Path, kind: str, requests: int, *, layout: str, is_packed: bool) -> int:
    """Writes the day into `folder`; returns its rows, copies included."""
    written_as = {"jsonl": "json", "csv": "csv, header", "parquet": "parquet"}[layout]
    packing = {"parquet": "zstd"}.get(layout, "zstd" if is_packed else "none")
    suffix = ".zst" if is_packed else ""
    folder.mkdir()
    con = duckdb.connect(config={"temp_directory": str(folder.parent)})
    written = 0
    for number, first in enumerate(range(0, requests, ROWS_PER_FILE)):
        last = min(first + ROWS_PER_FILE, requests)
        calls = f"select {CALL.format(total=requests)} from range({first}, {last}) as calls(i)"
        copies = f"from calls where i % 100 = 0 and i < {last - 1}"
        shape = SHAPES[kind]
        target = literal_text(str(folder / f"{number:04}.{layout}{suffix}"))
        written += con.execute(
            f"copy (with calls as ({calls}) {shape} from calls union all by name {shape} {copies}) "
            f"to {target} (format {written_as}, compression {packing})"
        ).fetchall()[0][0]
    return written


# What the fields of the flat formats are, for the scan that ours is held against; the others are text.
TYPES = {
    **dict.fromkeys(("prompt_tokens", "completion_tokens", "cached_tokens"), "BIGINT"),
    **dict.fromkeys(("startTime", "endTime", "completionStartTime", "start", "end"), "DOUBLE"),
}


def bare_scan(folder: Path, layout: str, fields: Fields, types: Mapping[str, str]) -> tuple[float, float]:
    """Seconds DuckDB needs to read the same fields and only count them; those without a type are read as text."""
    columns = ", ".join(
        f"{literal_text(name)}: '{types.get(name) or leaf_type(leaf)}'" for name, leaf in fields.items()
    )
    counts = ", ".join(f'count("{name}")' for name in fields)
    source = {
        "jsonl": f"read_json(?, format = 'newline_delimited', columns = {{{columns}}})",
        "csv": f"read_csv(?, header = true, types = {{{columns}}})",
        "parquet": "read_parquet(?)",
    }[layout]
    con = duckdb.connect()
    clock = Clock()
    con.execute(f"select {counts} from {source}", [str(folder / "*.*")]).fetchall()
    return clock.read()


# The models that drop copies and add up, which the others of this comparison do too; the first has the sums.
SUMS = ("int_request_usage__hourly", "int_calls__repeated")
# The other models that read calls one by one: what is upstream of them is made too, and small.
FURTHER = ("int_request_activity__hourly", "int_calls__conflicting", "int_calls__matched_daily")


def build(root: Path, warehouse: Path) -> tuple[float, float]:
    """Seconds dbt needs for SUMS and for FURTHER, by its own account: one model at a time, or they share the clock."""
    subprocess.run(
        [
            *(Path(sys.executable).with_name("dbt"), "--quiet", "build", "--profiles-dir", ".", "--threads", "1"),
            *("--exclude-resource-type", "test", "unit_test"),
            *("--select", *(f"+{model}" for model in (*SUMS, *FURTHER))),
        ],
        cwd=PROJECT_ROOT / "dbt",
        env=dbt_environment(warehouse, root / "dbt"),
        check=True,
    )
    results = json.loads((root / "dbt" / "target" / "run_results.json").read_text())["results"]
    seconds = {result["unique_id"].rpartition(".")[2]: result["execution_time"] for result in results}
    return sum(seconds[model] for model in SUMS), sum(seconds[model] for model in FURTHER)


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds (and processor seconds) of landing, seconds of the models of `build`."""

    landed: tuple[float, float]
    summed: float
    further: float

    @property
    def ours(self) -> float:
        """What is compared."""
        return self.landed[0] + self.summed


def take_in(root: Path, settings: Settings, source: UsageSource, requests: int, written: int) -> Run:
    """Reads all files into a new warehouse and builds the models; fails where a call or a token is lost."""
    settings.warehouse_path.unlink(missing_ok=True)
    with Warehouse(settings.warehouse_path).connect() as con:
        write_ledger(con, settings)
        clock = Clock()
        result = load_usage(con, source, settings, now=NOW, work_dir=root / "tmp")
        landed = clock.read()
        write_run(con, run_id="benchmark", started_at=NOW, as_of_date=DAY)
    assert (result.record_count, result.rejected_count, result.problems) == (written, 0, []), result
    run = Run(landed, *build(root, settings.warehouse_path))
    with Warehouse(settings.warehouse_path).connect() as con:
        found = con.execute(f"select sum(call_count), sum(prompt_tokens) from intermediate.{SUMS[0]}").fetchone()
        expected = con.execute(
            f"select count(*), sum(50 + hash(i) % 4000) from range({requests}) as calls(i)"
        ).fetchone()
    assert found == expected, (found, expected)
    return run


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
    parser.add_argument("--layout", choices=LAYOUTS, default="jsonl", help="of the kind requests")
    parser.add_argument("--memory-gb", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pandas-requests", type=int, default=200_000)
    parser.add_argument("--packed", action="store_true", help="zstd files; without the peers")
    parser.add_argument("--bad-line", action="store_true", help="then spoil one line of one file, and load all again")
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    options = parser.parse_args()
    # DuckDB keeps to its limit for what it can put aside; half of the allowance is for what it cannot.
    os.environ["LEDGER_MEMORY_LIMIT"] = f"{options.memory_gb / 2:.1f}GB"
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        compare(Path(folder), options)


def compare(root: Path, options: argparse.Namespace) -> None:
    """Writes the logs into `root`, has everyone read them, and prints what it took."""
    logs = root / "logs"
    written = write_logs(logs, options.kind, options.requests, layout=options.layout, is_packed=options.packed)
    os.sync()  # or the kernel is still writing them out while they are read
    size = sum(path.stat().st_size for path in logs.iterdir())
    print(f"{written:,} rows of {options.requests:,} requests, {size / 1e6:,.0f} MB ({options.kind} {options.layout})")
    (root / "ledger.yaml").write_text(LEDGER.format(kind=options.kind, options=OPTIONS[options.kind]))
    settings = load_settings(root / "ledger.yaml", root / "data")
    source = settings.ledger.usage[0]
    fields = {
        "litellm": LITELLM_FIELDS,
        "otlp_spans": OTLP_SPAN_FIELDS,
        "requests": generic_requests(source).fields if options.kind == "requests" else {},
    }[options.kind]
    expectations._batch_definition()  # importing and starting Great Expectations is paid once a run, not per byte
    # Objects as structs, values as text; and as what they are.
    text = min(bare_scan(logs, options.layout, fields, {}) for _ in range(2))
    scans, runs = [], []
    for _ in range(options.rounds):
        scans.append(bare_scan(logs, options.layout, fields, TYPES))
        runs.append(take_in(root, settings, source, options.requests, written))
    typed, best = min(scans), min(runs, key=lambda run: run.ours)
    landed, summed, further, ours = best.landed, best.summed, best.further, best.ours
    kept = settings.warehouse_path.stat().st_size / written

    def tell(what: str, seconds: float, cpu: float | None, remark: str = "") -> None:
        print(f"{what:32} {seconds:9.2f} s {'' if cpu is None else f'{cpu:9.2f} s of processors':25} {remark}".rstrip())

    print(f"{os.cpu_count()} processors, {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB")
    tell("bare scan, all read as text", *text)
    tell("bare scan, typed", *typed)
    tell("landed in raw", *landed, f"{landed[0] / typed[0]:.2f} x typed, {landed[1] / typed[1]:.2f} x by processors")
    tell("copies dropped, summed (dbt)", summed, None)
    tell("both", ours, None, f"{ours / typed[0]:.2f} x typed (limit 3), {ours / text[0]:.2f} x text")
    ratios = sorted(run.ours / scan[0] for run, scan in zip(runs, scans, strict=True))
    print(f"{'each round, of its own scan':32} {' '.join(f'{ratio:.2f}' for ratio in ratios)} x typed")
    tell("other models of calls (dbt)", further, None, "busy time, engine against gateway")
    memory = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(f"peak memory {memory:,.0f} MB of {options.memory_gb * 1000:,.0f} (LEDGER_MEMORY_LIMIT half of it)")
    print(f"the warehouse takes {kept:.0f} bytes a call")
    if options.bad_line:
        again(settings, source, logs)
    if options.packed or options.layout != "jsonl":
        return  # what the others need to unpack it is not what is compared
    sample = min(options.pandas_requests, options.requests)
    scaled = pandas_seconds(min(logs.iterdir()), sample, options.kind) * written / sample
    tell(f"pandas, {sample:,} scaled", scaled, None, f"{scaled / ours:.1f} x ours")
    if find_spec("pyspark") and options.kind != "otlp_spans":
        seconds = spark_seconds(root, fields, options.kind)
        tell("Spark on this machine", seconds, None, f"{seconds / ours:.1f} x ours")


def again(settings: Settings, source: UsageSource, logs: Path) -> None:
    """Loads all files into a new warehouse, one line of the last one spoilt, and once more with nothing to read."""
    with max(logs.iterdir()).open("r+b") as stream:
        stream.seek(-200, os.SEEK_END)
        stream.write(b"{")  # in the last record
    Warehouse(settings.warehouse_path).path.unlink()
    with Warehouse(settings.warehouse_path).connect() as con:
        for what in ("with a bad line in one file", "again, nothing new"):
            clock = Clock()
            result = load_usage(con, source, settings, now=NOW, work_dir=logs.parent / "tmp")
            seconds, cpu = clock.read()
            counts = f"{result.file_count} files read, {result.record_count:,} rows, {result.rejected_count} rejected"
            print(f"{what:32} {seconds:9.2f} s {cpu:9.2f} s of processors  {counts}")


if __name__ == "__main__":
    main()
