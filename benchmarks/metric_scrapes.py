"""A day of engine counters: 100 replicas scraped every 15 seconds, loaded and turned into hourly increases.

    python -m benchmarks.metric_scrapes

Makes the answers of a Prometheus server (100 replicas, 5,760 scrapes each: the series of vLLM that the ledger keeps,
with their `_created` and the start of the process), loads them and runs dbt up to `int_counter_increases__hourly`.
Beside it, in the same run, a bare DuckDB scan of the same files, and pandas, which reads two of the 24 hours and counts
their increases with one `diff` (its time is taken twelvefold). Then a part of such a day as page files of 55 KB. Prints
seconds, scrapes per second and ratios; processor seconds too, because a busy machine stretches the others.
"""

import argparse
import gzip
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd

from orchestration.settings import DBT_DIR, Settings, dbt_environment, load_settings
from orchestration.warehouse import Warehouse, load_usage, write_ledger, write_run
from scrapers.snapshot import stamp

DAY = datetime(2026, 11, 29, tzinfo=UTC)
NOW = DAY + timedelta(days=1, hours=2)
LEDGER = """
fleet:
  - {{deployment: chat, model: a, provider: aws, region: us-east-1, instance_type: p5.48xlarge, replicas: 100,
     pricing: {{model: on_demand}}, from: 2026-11-01}}
usage:
  - {{name: cluster, kind: {kind}, {place}, deployment: chat}}
"""
REASONS = ("abort", "error", "length", "repetition", "stop")
SERIES = [
    *(
        (f"vllm:{name}", {}, step)
        for name, step in (
            ("prompt_tokens_total", 9000),
            ("generation_tokens_total", 1500),
            ("prompt_tokens_cached_total", 4000),
            ("prefix_cache_hits_total", 4100),
            ("num_preemptions_total", 0),
            ("request_prefill_time_seconds_sum", 2.25),
            ("request_decode_time_seconds_sum", 40.5),
        )
    ),
    *(("vllm:request_success_total", {"finished_reason": reason}, 3 if reason == "stop" else 0) for reason in REASONS),
]


def lines_of(start: datetime, scrapes: int, interval: int, before: int, replicas: int) -> Iterator[str]:
    """The series of a window, one line each. `before`: scrapes since the processes started, when the window begins."""
    instants = [f"{(start + timedelta(seconds=n * interval)).timestamp():.3f}" for n in range(scrapes)]
    constant = "[" + ",".join(f'[{at},"1795456101.95"]' for at in instants) + "]"
    values = {
        step: "[" + ",".join(f'[{at},"{(before + n) * step}"]' for n, at in enumerate(instants)) + "]"
        for step in {step for _, _, step in SERIES}
    }
    for replica in range(replicas):
        target = {"namespace": "llm", "pod": f"vllm-{replica}", "instance": f"10.0.0.{replica}:8000", "job": "engines"}
        for name, labels, step in SERIES:
            own = {**target, **labels, "engine": "0", "model_name": "a"}
            base = name.removesuffix("_total").removesuffix("_sum")
            yield f'{{"metric":{json.dumps({"__name__": name, **own})},"values":{values[step]}}}\n'
            yield f'{{"metric":{json.dumps({"__name__": base + "_created", **own})},"values":{constant}}}\n'
        yield f'{{"metric":{json.dumps({"__name__": "process_start_time_seconds", **target})},"values":{constant}}}\n'


def write_answers(folder: Path, replicas: int, interval: int) -> tuple[list[Path], int]:
    """Lands the 24 windows of the day; the paths, and how many samples they hold."""
    folder.mkdir(parents=True)
    scrapes, paths, total = 3600 // interval, [], 0
    for hour in range(24):
        start = DAY + timedelta(hours=hour)
        samples = scrapes * replicas * (2 * len(SERIES) + 1)
        end = start + timedelta(hours=1)
        path = folder / f"{stamp(start)}_{stamp(end)}__{stamp(NOW)}__{samples}.jsonl.gz"
        with gzip.open(path, "wt", compresslevel=1) as file:
            file.write('{"asked": {}}\n')
            file.writelines(lines_of(start, scrapes, interval, hour * scrapes, replicas))
            file.write('{"answered": {}}\n')
        paths.append(path)
        total += samples
    return paths, total


def ledger(root: Path, kind: str, place: str) -> Settings:
    """The settings of a world of its own in `root`."""
    root.mkdir(exist_ok=True)
    (root / "ledger.yaml").write_text(LEDGER.format(kind=kind, place=place), encoding="utf-8")
    return load_settings(root / "ledger.yaml", root / "data")


def loaded(settings: Settings) -> float:
    """Loads the usage source and writes the run; seconds."""
    began = time.perf_counter()
    with Warehouse(settings.warehouse_path).connect() as con:
        write_ledger(con, settings)
        result = load_usage(con, settings.ledger.usage[0], settings, now=NOW, work_dir=settings.data_dir / "tmp")
        assert (result.rejected_count, result.failures) == (0, []), result
        write_run(con, run_id="benchmark", started_at=NOW, as_of_date=DAY.date())
    return time.perf_counter() - began


def bytes_a_counter(settings: Settings) -> float:
    """Size of the warehouse over the samples in it."""
    with duckdb.connect(str(settings.warehouse_path), read_only=True) as con:
        [(count,)] = con.execute("select count(*) from raw.metric_samples").fetchall()
    return settings.warehouse_path.stat().st_size / count


def increased(settings: Settings) -> tuple[float, float]:
    """Runs dbt up to the hourly increases; seconds, dbt's start included, and bytes an increase the file grew by."""
    before = settings.warehouse_path.stat().st_size
    began = time.perf_counter()
    subprocess.run(
        ["dbt", "--quiet", "build", "--select", "+int_counter_increases__hourly", "--profiles-dir", "."]
        + ["--exclude-resource-type", "test", "unit_test"],
        cwd=DBT_DIR,
        env=dbt_environment(settings.warehouse_path, settings.data_dir),
        check=True,
    )
    seconds = time.perf_counter() - began
    with duckdb.connect(str(settings.warehouse_path), read_only=True) as con:
        [(count,)] = con.execute("select count(*) from intermediate.int_counter_deltas").fetchall()
    return seconds, (settings.warehouse_path.stat().st_size - before) / count


def processor_seconds() -> float:
    """Of this process and those it waited for."""
    return sum(os.times()[:4])


def bare_scan(paths: list[Path]) -> float:
    """DuckDB reads the same text and nothing more; seconds."""
    began = time.perf_counter()
    with duckdb.connect() as con:
        con.execute(
            "select count(metric), sum(len(\"values\")) from read_json($paths, format = 'newline_delimited', "
            "compression = 'gzip', maximum_object_size = 67108864, "
            "columns = {'metric': 'MAP(VARCHAR, VARCHAR)', 'values': 'VARCHAR[][]'})",
            {"paths": [str(path) for path in paths]},
        )
    return time.perf_counter() - began


def in_pandas(paths: list[Path]) -> float:
    """The hourly increases of the counters by pandas, without restarts, copies or rejects; seconds."""
    began = time.perf_counter()
    frames = []
    for path in paths:
        with gzip.open(path, "rt") as file:
            for line in file:
                series = json.loads(line)
                if "metric" in series and not series["metric"]["__name__"].endswith(("_created", "_seconds")):
                    frame = pd.DataFrame(series["values"], columns=["scraped_at", "value"])
                    labels = series["metric"]
                    frame["series"] = f"{labels['pod']}/{labels['__name__']}/{labels.get('finished_reason')}"
                    frames.append(frame)
    rows = pd.concat(frames)
    rows["value"] = rows["value"].astype(float)
    rows = rows.sort_values(["series", "scraped_at"])
    rows["increase"] = rows.groupby("series")["value"].diff()
    rows["hour"] = rows["scraped_at"] // 3600
    rows.groupby(["series", "hour"])["increase"].sum()
    return time.perf_counter() - began


def write_pages(folder: Path, replicas: int, scrapes: int, interval: int) -> list[Path]:
    """Page files of some 55 KB, most of it families the ledger does not keep, as vLLM's pages are."""
    labels = 'engine="0",model_name="a"'
    filler = "".join(
        f'vllm:family_{n // 20}_seconds_bucket{{engine="0",le="{n % 20}",model_name="a"}} {n}.0\n' for n in range(730)
    )
    paths = []
    for n in range(scrapes):
        counters = []
        for name, more, step in SERIES:
            own = "".join(f'{key}="{value}",' for key, value in more.items()) + labels
            base = name.removesuffix("_total").removesuffix("_sum")
            counters.append(
                f"# HELP {name} Text.\n{name}{{{own}}} {n * step}\n{base}_created{{{own}}} 1.79545610195e+09\n"
            )
        text = "process_start_time_seconds 1.79545610195e+09\n" + "".join(counters) + filler
        for replica in range(replicas):
            path = folder / f"vllm-{replica}" / f"{stamp(DAY + timedelta(seconds=n * interval))}.prom"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + f"# of replica {replica}\n", encoding="utf-8")
            paths.append(path)
    return paths


def bare_scan_of_pages(paths: list[Path]) -> float:
    """DuckDB reads the same pages and counts their bytes; seconds."""
    began = time.perf_counter()
    with duckdb.connect() as con:
        con.execute("select sum(length(content)) from read_text($paths)", {"paths": [str(path) for path in paths]})
    return time.perf_counter() - began


def pages_in_pandas(paths: list[Path]) -> float:
    """Counters of the same pages, read line by line into pandas; seconds."""
    began = time.perf_counter()
    rows = []
    wanted = tuple({name for name, _, _ in SERIES})
    for path in paths:
        for line in path.read_text().splitlines():
            if line.startswith(wanted):
                series, _, value = line.rpartition(" ")
                rows.append((path.parent.name, series, path.stem, float(value)))
    frame = pd.DataFrame(rows, columns=["replica", "series", "scraped_at", "value"])
    frame = frame.sort_values(["replica", "series", "scraped_at"])
    frame.groupby(["replica", "series"])["value"].diff().groupby(frame["replica"]).sum()
    return time.perf_counter() - began


def main() -> None:
    """Runs both comparisons once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, default=100)
    parser.add_argument("--interval", type=int, default=15, help="seconds between two scrapes")
    parser.add_argument("--page-scrapes", type=int, default=40, help="of each replica, as page files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = ledger(Path(folder, "answers"), "prometheus", "url: http://localhost")
        answers, samples = write_answers(
            settings.landing_dir / "prometheus" / "cluster" / DAY.date().isoformat(), options.replicas, options.interval
        )
        scan = bare_scan(answers)
        before = processor_seconds()
        load = loaded(settings)
        kept = bytes_a_counter(settings)
        increase, kept_increase = increased(settings)
        spent = processor_seconds() - before
        with duckdb.connect(str(settings.warehouse_path), read_only=True) as con:
            found = con.execute(
                "select sum(prompt_tokens), sum(output_tokens) from intermediate.int_counter_increases__hourly"
            ).fetchone()
        last = 86400 // options.interval - 1
        assert found == (9000 * last * options.replicas, 1500 * last * options.replicas), found
        slow = in_pandas(answers[:2]) * 12
        scrapes = options.replicas * 86400 // options.interval
        total = load + increase
        print(f"{scrapes:,} scrapes by Prometheus answers, {samples:,} samples")
        print(f"  the warehouse takes {kept:.0f} bytes a counter that is kept, {kept_increase:.0f} an increase")
        print(f"  load {load:.1f} s, hourly increases {increase:.1f} s: {scrapes / total:,.0f} scrapes/s")
        print(f"  {total / scan:.1f} x a bare scan ({scan:.1f} s), {spent:.0f} processor seconds")
        print(f"  pandas takes {slow / total:.1f} x as long ({slow:.0f} s)")

        root = Path(folder, "pages")
        paths = write_pages(root / "pages", options.replicas, options.page_scrapes, options.interval)
        settings = ledger(root, "metrics", "path: 'pages/*/*.prom'")
        scan = bare_scan_of_pages(paths)
        load = loaded(settings)
        kept = bytes_a_counter(settings)
        increase, _ = increased(settings)
        slow = pages_in_pandas(paths)
        size = paths[0].stat().st_size
        print(f"{len(paths):,} scrapes as page files of {size:,} bytes")
        print(f"  the warehouse takes {kept:.0f} bytes a counter that is kept")
        print(f"  load {load:.1f} s, hourly increases {increase:.1f} s: {len(paths) / load:,.0f} pages/s loaded")
        print(f"  load is {load / scan:.1f} x a bare scan ({scan:.1f} s)")
        print(f"  pandas takes {slow / load:.1f} x as long ({slow:.1f} s)")


if __name__ == "__main__":
    main()
