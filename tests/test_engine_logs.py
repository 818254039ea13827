"""Logs of serving engines in text: vLLM's statistics lines, TGI's calls, llama.cpp's timings.

Lines are written by hand in the shape of the recording (vLLM 0.32.0) and of public logs; expected values are worked
out by hand. Over all of it one rule: what was read is accepted, rejected or passed over.
"""

import gzip
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.settings import Settings
from orchestration.warehouse import UsageResult
from tests.request_logs import load, rows, settings_for

RECORDING = Path(__file__).parents[2] / "shared/samples/usage/vllm/recorded_vllm_0.32.0_cpu"
needs_recording = pytest.mark.skipif(not RECORDING.is_dir(), reason="needs the recorded logs of vLLM 0.32.0")

MEGABYTE = 1024 * 1024
WRITTEN = datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC)  # when the files under test were last written

V1_FIELDS = "Running: 1 reqs, Waiting: 2 reqs, GPU KV cache usage: 8.9%, Prefix cache hit rate: 61.7%"
V0_FIELDS = "Running: 18 reqs, Swapped: 0 reqs, Pending: 3 reqs, GPU KV cache usage: 8.9%, CPU KV cache usage: 0.0%"


def message(prompt: object = 71.1, output: object = 11.7, *, who: str = "Engine 000: ", fields: str = V1_FIELDS) -> str:
    return f"{who}Avg prompt throughput: {prompt} tokens/s, Avg generation throughput: {output} tokens/s, {fields}"


def stats(at: str, *rates: object, **parts: str) -> str:
    """A line of 0.10 and later; `at`: 11-23 17:54:36."""
    return f"(APIServer pid=3243) INFO {at} [loggers.py:335] {message(*rates, **parts)}"


def seconds(second: int, *rates: object, **parts: str) -> str:
    """The same, so many seconds after 2026-11-23 17:00:00."""
    return stats(f"11-23 17:{second // 60:02}:{second % 60:02}", *rates, **parts)


def tgi(number: int, total: str = "2.5s") -> str:
    return (
        f'2026-11-23T17:00:{number:02}.478010Z  INFO chat_completions{{total_time="{total}" validation_time="95µs" '
        'queue_time="73.176µs" inference_time="2.1s" time_per_token="36.708605ms" seed="Some(7)"}: '
        "text_generation_router::server: router/src/server.rs:622: Success"
    )


def timings(prompt: object = 11, output: object = 25, total: object = "9619.68") -> list[str]:
    return [
        f"prompt eval time =     992.40 ms /    {prompt} tokens (   90.22 ms per token,    11.08 tokens per second)",
        f"       eval time =    8627.28 ms /    {output} tokens (  345.09 ms per token,     2.90 tokens per second)",
        f"      total time =    {total} ms /    36 tokens",
    ]


def cri(lines: list[str], second: int = 0) -> list[str]:
    return [f"2026-11-23T17:00:{second:02}.{index:09}Z stdout F {line}" for index, line in enumerate(lines)]


def text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def read(
    root: Path, kind: str, content: bytes, options: str = "", name: str = "a.log", written: datetime = WRITTEN
) -> tuple[Settings, UsageResult]:
    settings = settings_for(root, kind, options)
    log = root / "logs" / name
    log.write_bytes(content)
    os.utime(log, (written.timestamp(), written.timestamp()))
    return settings, load(settings)


def windows(settings: Settings, columns: str) -> list[tuple[Any, ...]]:
    return rows(settings, f"select {columns} from raw.engine_log_windows order by file_id, line_number")


def rejects(settings: Settings) -> list[tuple[Any, ...]]:
    """(reason, field, line of the first, how many)."""
    return rows(
        settings,
        "select reason, field, cast(regexp_extract(first_location, ', line (\\d+)$', 1) as bigint), occurrences "
        "from raw.rejected_records order by all",
    )


def of_file(settings: Settings) -> tuple[Any, ...]:
    """(accepted, rejected, passed over) of the one file."""
    ((*found,),) = rows(settings, "select record_count, rejected_count, passed_over_count from raw.usage_files")
    return tuple(found)


@dataclass(frozen=True)
class Outcome:
    """What became of one of many files that were loaded together. `counts`: accepted, rejected, passed over."""

    counts: tuple[Any, ...]
    rejects: list[tuple[Any, ...]]
    rows: list[tuple[Any, ...]]


def outcomes(root: Path, kind: str, contents: Mapping[str, bytes], sql: str, options: str = "") -> dict[str, Outcome]:
    """Loads a file per case at once. `sql` names the file it asks for as `$file`."""
    settings = settings_for(root, kind, options)
    for number, content in enumerate(contents.values()):
        log = root / "logs" / f"case{number}.log"
        log.write_bytes(content)
        os.utime(log, (WRITTEN.timestamp(), WRITTEN.timestamp()))
    load(settings)
    found = {}
    with duckdb.connect(str(settings.warehouse_path)) as con:
        con.execute("set timezone = 'UTC'")
        for number, name in enumerate(contents):
            file = f"(select file_id from raw.usage_files where file_path like '%/case{number}.log')"
            ((*counts,),) = con.execute(
                f"select record_count, rejected_count, passed_over_count from raw.usage_files where file_id = {file}"
            ).fetchall()
            rejected = con.execute(
                "select reason, field, cast(regexp_extract(first_location, ', line (\\d+)$', 1) as bigint), "
                f"occurrences from raw.rejected_records where batch_id = {file} order by all"
            ).fetchall()
            found[name] = Outcome(tuple(counts), rejected, con.execute(sql.replace("$file", file)).fetchall())
    return found


# --- the recording ---


@needs_recording
def test_the_recorded_text_log_gives_the_tokens_of_phase_p1(tmp_path: Path) -> None:
    """6,754 output and 12,711 computed prompt tokens: the sum of the printed rates times ten seconds. The counters of
    the same minutes are 6,770 and 12,802; a line rounds to 0.05 tokens a second, so eight lines to 4 tokens."""
    settings, result = read(tmp_path, "vllm_log", (RECORDING / "run1_text.log").read_bytes())
    assert (result.record_count, result.rejected_count) == (10, 0)
    assert sum(of_file(settings)) == 2063
    assert rows(
        settings,
        "select count(*), round(sum(output_tokens_per_second * window_seconds), 3), "
        "round(sum(prompt_tokens_per_second * window_seconds), 3), any_value(prompt_basis), any_value(model_name), "
        "any_value(engine_version), any_value(tensor_parallel_size), any_value(engine) "
        "from raw.engine_log_windows where logged_at < '2026-11-23 17:56:00+00'",
    ) == [(9, 6754.0, 12711.0, "computed", "tiny-llama", "0.32.0", 1, "0")]
    # The pause of 20 seconds before the last line is no window: the engine counts anew every ten seconds, idle or not.
    assert windows(settings, "window_seconds")[-1] == (10.0,)


@needs_recording
def test_the_recorded_json_log_is_read_between_its_other_lines(tmp_path: Path) -> None:
    """By hand: 43.1 + 105.1 + 121.6 (for 10.002 s) + 0.7 + 0 tokens a second."""
    settings, result = read(tmp_path, "vllm_log", (RECORDING / "run2_json.log").read_bytes())
    assert (result.record_count, result.rejected_count) == (5, 0)
    assert sum(of_file(settings)) == 587  # line feeds; bare carriage returns end no line
    assert rows(
        settings,
        "select round(sum(output_tokens_per_second * window_seconds), 3), min(logged_at), any_value(model_name) "
        "from raw.engine_log_windows",
    ) == [(2705.243, datetime(2026, 11, 23, 17, 59, 54, 948000, tzinfo=UTC), "tiny-llama")]


# --- vLLM: how a line looks ---

AT = datetime(2026, 11, 23, 17, 54, 36, tzinfo=UTC)
INNER = "INFO 11-23 17:54:36 [loggers.py:335] " + message()
LAYOUTS = {
    "0.2 to 0.6": "INFO 11-23 17:54:36 llm_engine.py:624] " + message(who="", fields=V0_FIELDS),
    "0.6, engine process of its own": "INFO 11-23 17:54:36 engine.py:267] " + message(who="", fields=V0_FIELDS),
    "V0 with a full stop": "INFO 11-23 17:54:36 metrics.py:486] " + message(who="", fields=V0_FIELDS + "."),
    "0.7 to 0.9": INNER,
    "0.10 on": "(APIServer pid=3243) " + INNER,
    "JSON": json.dumps({"asctime": "2026-11-23 17:54:36,000", "process": 5516, "message": message()}),
    "in colours": f"\x1b[0;36m(APIServer pid=1)\x1b[0;0m \x1b[32mINFO\x1b[0m{INNER[4:]}",
    "in colours, as CloudWatch keeps them": f"#033[0;36m(APIServer pid=1)#033[0;0m {INNER}",
    "Kubernetes": f"2026-11-23T17:54:36.000000000Z stdout F (APIServer pid=1) {INNER}",
    "Kubernetes, another zone": f"2026-11-23T19:54:36+02:00 stderr F {INNER.replace('17:54', '03:04')}",
    "docker json-file": json.dumps({"log": INNER + "\n", "stream": "stdout", "time": "2026-11-23T17:54:36.0000Z"}),
    "docker logs -t": f"2026-11-23T17:54:36.000000000Z {INNER}",
    "journalctl -o short-iso": f"2026-11-23T17:54:36+0000 gpu-7 vllm[811]: {INNER}",
    "outer stamp in local time": f"2026-11-23 19:54:36.684 | (APIServer pid=1) {INNER}",
    "all ranks in one line": INNER.replace("Engine 000: ", "4 Engines Aggregated: "),
    "more fields": INNER.replace(", GPU", ", Deferred: 3 reqs, Preemptions: 2, GPU") + ", MM cache hit rate: 1.5%",
    "behind a progress bar": f"Loading:  50%|#####  | 1/2\rLoading: 100%|##########| 2/2\r{INNER}",
    "CRLF": INNER + "\r",
    "a byte order mark": "\ufeff" + INNER,
}


LINE = """
    select logged_at, engine, prompt_tokens_per_second, output_tokens_per_second, running_requests, waiting_requests,
        kv_cache_usage_ratio, prefix_cache_hit_ratio, window_seconds
    from raw.engine_log_windows where file_id = $file
"""


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    contents = {name: text(line, "other") for name, line in LAYOUTS.items()}
    return outcomes(tmp_path_factory.mktemp("layouts"), "vllm_log", contents, LINE)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_line_of_every_release_and_collector_is_read(name: str, layouts: dict[str, Outcome]) -> None:
    is_v0 = "Pending" in LAYOUTS[name]
    engine = None if is_v0 else "all" if "all ranks" in name else "0"
    running, waiting, hits = (18, 3, None) if is_v0 else (1, 2, 0.617)
    assert layouts[name].rows == [(AT, engine, 71.1, 11.7, running, waiting, 0.089, hits, 10.0)]
    assert layouts[name].counts == (1, 0, 1)


def test_a_log_in_utf_16_is_read(tmp_path: Path) -> None:
    """As PowerShell redirects."""
    settings, _ = read(
        tmp_path, "vllm_log", "\ufeff".encode("utf-16-le") + text(INNER, "x").decode().encode("utf-16-le")
    )
    assert windows(settings, "logged_at, output_tokens_per_second") == [(AT, 11.7)]


STARTS = {
    "0.2": ("llm_engine.py:72] Initializing an LLM engine with config: model='meta/llama-2', tokenizer='t', "
            "tensor_parallel_size=2, seed=0)", ("meta/llama-2", None, 2, None)),
    "0.8": ("[core.py:58] Initializing a V1 LLM engine (v0.8.5.post1) with config: model='/m', tensor_parallel_size=8, "
            "served_model_name=qwen3-32b, x=1", ("qwen3-32b", "0.8.5.post1", 8, "all")),
    "0.15": ("[core.py:58] Initializing a V1 LLM engine (v0.15.1) with config: model='m', x=1",
             ("m", "0.15.1", None, "all")),
    "0.16": ("[core.py:58] Initializing a V1 LLM engine (v0.16.0rc2) with config: model='m', x=1",
             ("m", "0.16.0rc2", None, "computed")),
    "only the server's word": ("[api_server.py:9] vLLM API server version 0.19.2rc1",
                               (None, "0.19.2rc1", None, "computed")),
    "in a prompt": ("[x.py:1] Received request a: prompt: 'LLM engine (v9.9) with config: model='m', '",
                    (None, None, None, None)),
}  # fmt: skip


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    contents = {name: text(f"INFO 11-23 17:00:00 {line}", seconds(30)) for name, (line, _) in STARTS.items()}
    columns = "model_name, engine_version, tensor_parallel_size, prompt_basis"
    sql = f"select {columns} from raw.engine_log_windows where file_id = $file"
    return outcomes(tmp_path_factory.mktemp("starts"), "vllm_log", contents, sql)


@pytest.mark.parametrize("name", STARTS)
def test_start_up_lines_say_model_version_and_what_the_prompt_rate_counts(
    name: str, starts: dict[str, Outcome]
) -> None:
    assert starts[name].rows == [STARTS[name][1]]


# --- vLLM: what a line is an average of ---


def lengths(root: Path, *lines: str, options: str = "") -> list[float]:
    settings, _ = read(root, "vllm_log", text(*lines), options)
    return [row[0] for row in windows(settings, "window_seconds")]


def test_a_window_is_the_distance_to_the_line_before_and_a_pause_is_none(tmp_path: Path) -> None:
    lines = [seconds(second) for second in (0, 10, 20, 31, 91, 101)]
    assert lengths(tmp_path, *lines) == [10, 10, 10, 11, 10, 10]


def test_the_interval_is_learned_from_the_log(tmp_path: Path) -> None:
    """VLLM_LOG_STATS_INTERVAL=30, idle twice: with ten seconds assumed a third of the tokens would be counted."""
    assert lengths(tmp_path, *(seconds(second) for second in (0, 30, 60, 240, 270, 600))) == [30] * 6


def test_the_ledger_may_say_the_interval(tmp_path: Path) -> None:
    lines = [seconds(second) for second in (0, 7, 100)]
    assert lengths(tmp_path, *lines, options="log_interval_seconds: 60") == [60] * 3


def test_v0_logs_each_five_seconds_under_load_and_each_ten_when_idle(tmp_path: Path) -> None:
    lines = [seconds(second, who="", fields=V0_FIELDS) for second in (0, 5, 10, 15, 25, 30)]
    assert lengths(tmp_path, *lines) == [5, 5, 5, 5, 10, 5]


def test_ranks_and_processes_have_windows_of_their_own(tmp_path: Path) -> None:
    """Two processes write into one log, one of them with two ranks; then one is started anew."""
    lines = [
        line
        for second in (0, 10, 20)
        for line in (
            seconds(second),
            seconds(second, who="Engine 001: "),
            seconds(second + 3).replace("pid=3243", "pid=9"),
        )
    ]
    again = "INFO 11-23 17:00:22 [api_server.py:1] vLLM API server version 0.30.0"
    assert lengths(tmp_path, *lines, again, seconds(27)) == [10] * 10


# --- vLLM: year and zone ---


def instants(root: Path, *stamps: str, **how: Any) -> list[str]:
    settings, _ = read(root, "vllm_log", text(*(stats(stamp) for stamp in stamps)), **how)
    return [f"{row[0]:%Y-%m-%d %H:%M:%S}" for row in windows(settings, "logged_at")]


def test_the_year_is_that_of_the_file_s_last_writing_and_turns_with_the_log(tmp_path: Path) -> None:
    found = instants(tmp_path, "12-31 23:59:50", "01-01 00:00:00", written=datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC))
    assert found == ["2025-12-31 23:59:50", "2026-01-01 00:00:00"]


def test_a_file_copied_in_the_new_year_keeps_the_old_one(tmp_path: Path) -> None:
    assert instants(tmp_path, "11-23 10:00:00", written=datetime(2026, 3, 1, tzinfo=UTC)) == ["2025-11-23 10:00:00"]


def test_a_date_in_the_file_s_name_says_the_year(tmp_path: Path) -> None:
    """As Kubernetes names rotated logs."""
    found = instants(tmp_path, "12-31 23:59:50", "01-01 00:00:00", name="0.log.20250101-000002")
    assert found == ["2024-12-31 23:59:50", "2025-01-01 00:00:00"]


def test_the_ledger_may_say_the_year(tmp_path: Path) -> None:
    assert instants(tmp_path, "11-23 10:00:00", options="year: 2023") == ["2023-11-23 10:00:00"]


def test_a_line_that_comes_late_belongs_to_the_old_year(tmp_path: Path) -> None:
    found = instants(
        tmp_path, "12-31 23:59:50", "01-01 00:00:00", "12-31 23:59:59", "01-01 00:00:10",
        written=datetime(2026, 1, 1, 0, 0, 15, tzinfo=UTC),
    )  # fmt: skip
    assert [stamp[:4] for stamp in found] == ["2025", "2026", "2025", "2026"]


def test_29_february_is_of_a_leap_year(tmp_path: Path) -> None:
    assert instants(tmp_path, "02-29 10:00:00") == ["2024-02-29 10:00:00"]


def test_a_day_that_does_not_exist_is_rejected(tmp_path: Path) -> None:
    settings, _ = read(tmp_path, "vllm_log", text(seconds(0), stats("11-31 10:00:00"), seconds(10)))
    assert rejects(settings) == [("not_an_instant", "logged_at", 2, 1)]
    assert of_file(settings) == (2, 1, 0)


def test_an_hour_that_clocks_show_twice_is_told_by_the_order_of_lines(tmp_path: Path) -> None:
    """Berlin, 2026-10-25: 02:59:50 is followed by 02:00:00, an hour of standard time."""
    found = instants(
        tmp_path, "10-25 01:59:50", "10-25 02:00:00", "10-25 02:59:50", "10-25 02:00:00", "10-25 02:00:10",
        "10-25 03:00:00", options="time_zone: Europe/Berlin",
    )  # fmt: skip
    assert [stamp[11:] for stamp in found] == ["23:59:50", "00:00:00", "00:59:50", "01:00:00", "01:00:10", "02:00:00"]


def test_json_stamps_are_in_the_zone_of_the_ledger(tmp_path: Path) -> None:
    line = json.dumps({"asctime": "2026-07-01 12:00:00,250", "message": message()})
    settings, _ = read(tmp_path, "vllm_log", text(line), "time_zone: America/New_York")
    assert windows(settings, "logged_at") == [(datetime(2026, 7, 1, 16, 0, 0, 250000, tzinfo=UTC),)]


# --- lines that Kubernetes cuts ---


def parts(*pieces: tuple[str, str, str]) -> bytes:
    return text(*(f"2026-11-23T17:54:36.{index:09}Z {stream} {tag} {body}" for index, (stream, tag, body) in
                  enumerate(pieces)))  # fmt: skip


def test_a_line_cut_in_parts_is_read_whole_beside_another_stream(tmp_path: Path) -> None:
    content = parts(("stdout", "P", INNER[:60]), ("stderr", "F", INNER.replace("11.7", "5.5")),
                    ("stdout", "P", INNER[60:90]), ("stdout", "F", INNER[90:]), ("stdout", "F", "x"))  # fmt: skip
    settings, _ = read(tmp_path, "vllm_log", content)
    assert windows(settings, "line_number, output_tokens_per_second") == [(1, 11.7), (2, 5.5)]
    assert of_file(settings) == (2, 0, 3)


def test_the_rest_of_a_cut_prompt_is_no_line(tmp_path: Path) -> None:
    """The prompt begins its second part with words that look like a statistics line."""
    settings, result = read(
        tmp_path, "vllm_log", parts(("stdout", "P", "Received request: 'x"), ("stdout", "F", INNER))
    )
    assert (result.record_count, result.rejected_count) == (0, 0)


def test_a_part_whose_end_never_came_is_rejected(tmp_path: Path) -> None:
    settings, _ = read(tmp_path, "vllm_log", parts(("stdout", "F", INNER), ("stdout", "P", INNER)))
    assert rejects(settings) == [("line_cut_short", None, 2, 1)]


def test_parts_are_joined_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration.serving_logs import text_lines

    monkeypatch.setattr(text_lines, "BLOCK_BYTES", 100)
    lines = [
        ("stdout", "F", INNER),
        ("stdout", "P", INNER[:50]),
        ("stderr", "F", "y" * 150),
        ("stdout", "F", INNER[50:]),
    ]
    settings, _ = read(tmp_path, "vllm_log", parts(*lines * 5))
    assert [row[0] for row in windows(settings, "line_number")] == [n for k in range(5) for n in (4 * k + 1, 4 * k + 2)]
    assert of_file(settings) == (10, 0, 10)


# --- what is between ---

GOOD = (seconds(0), seconds(10), seconds(20))
BROKEN = {
    "negative prompt rate": (seconds(5, "-1.1"), "negative_rate", "Avg prompt throughput"),
    "negative output rate": (seconds(5, 1.0, "-0.1"), "negative_rate", "Avg generation throughput"),
    "infinite": (seconds(5, "inf"), "not_a_number", "Avg prompt throughput"),
    "no number": (seconds(5, "nan"), "not_a_number", "Avg prompt throughput"),
    "other digits": (seconds(5, "١٢.٣"), "not_a_number", "Avg prompt throughput"),
    "a number beyond all": (seconds(5, 1.0, "9" * 30), "rate_out_of_range", "Avg generation throughput"),
    "overflowing": (seconds(5, 1.0, "1e999"), "rate_out_of_range", "Avg generation throughput"),
    "ten million and one": (seconds(5, 1.0, "10000001"), "rate_out_of_range", "Avg generation throughput"),
    "a word": (seconds(5, "many"), "not_a_number", "Avg prompt throughput"),
    "cut in the middle": (seconds(5)[:100], "malformed_line", None),
    "SIGKILL, then the next process": (seconds(5)[:120] + seconds(6), "malformed_line", None),
    "a NUL byte in it": (seconds(5).replace("Running", "Run\0ning"), "malformed_line", None),
    "running reqs of 20 digits": (seconds(5).replace("Running: 1", "Running: " + "1" * 20), "malformed_line", None),
    "13th month": (stats("13-01 00:00:00"), "not_an_instant", "logged_at"),
    "61 seconds": (stats("11-23 17:00:61"), "not_an_instant", "logged_at"),
    "JSON without a time": (json.dumps({"message": message()}), "not_an_instant", "logged_at"),
    "JSON with another time": (json.dumps({"asctime": "soon", "message": message()}), "not_an_instant", "logged_at"),
    "JSON of the year 1970": (
        json.dumps({"asctime": "1970-01-01 00:00:00,000", "message": message()}), "instant_out_of_range", "logged_at"),
    "JSON of the year 2100": (
        json.dumps({"asctime": "2100-01-01 00:00:00,000", "message": message()}), "instant_out_of_range", "logged_at"),
    "half a JSON line": ('{"asctime": "2026-11-23 17:00:05,000", "message": "' + message(), "malformed_json", None),
}  # fmt: skip


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    contents = {name: text(GOOD[0], "x", line, *GOOD[1:]) for name, (line, _, _) in BROKEN.items()}
    return outcomes(tmp_path_factory.mktemp("broken"), "vllm_log", contents, LINE)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_line_is_rejected_with_its_place_and_the_others_stay(name: str, broken: dict[str, Outcome]) -> None:
    _, reason, field = BROKEN[name]
    assert broken[name].rejects == [(reason, field, 3, 1)]
    assert broken[name].counts == (3, 1, 1)


OTHERS = {
    "blank lines": "\n \n\t\n",
    "a traceback": 'Traceback (most recent call last):\n  File "x"\nValueError: throughput: 1\n',
    "speculative decoding": "INFO 11-23 17:00:05 [metrics.py:101] SpecDecoding metrics: Mean acceptance length: 2.63, "
    "Accepted throughput: 76.80 tokens/s, Drafted throughput: 235.49 tokens/s, Accepted: 768 tokens\n",
    "V0 hit rates": "INFO 11-23 17:00:05 [metrics.py:502] Prefix cache hit rate: GPU: 0.00%, CPU: 90.00%\n",
    "an access line": 'INFO:     127.0.0.1:48868 - "POST /v1/chat/completions HTTP/1.1" 200 OK\n',
    "the words in a prompt": f"INFO 11-23 17:00:05 [logger.py:39] Received request a: prompt: '{message()}'\n",
    "the words without a stamp": message() + "\n",
    "the words in JSON of another": json.dumps({"asctime": "2026-11-23 17:00:05,000", "message": f"p {message()}"})
    + "\n",
    "nested 10,000 deep": '{"throughput: ":' + "[" * 10_000 + "\n",
    "a line of 40 MB": "Received request " + "throughput: x" * (40 * MEGABYTE // 13) + "\n",
    "progress bars": "".join(f"Loading: {percent}%|###\r" for percent in range(100)) + "\n",
    "NUL bytes": "\0" * 1000 + "\n",
}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    contents = {name: text(GOOD[0]) + between.encode() + text(*GOOD[1:]) for name, between in OTHERS.items()}
    sql = "select line_number from raw.engine_log_windows where file_id = $file order by line_number"
    return outcomes(tmp_path_factory.mktemp("others"), "vllm_log", contents, sql)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_ours_is_passed_over_and_counted(name: str, others: dict[str, Outcome]) -> None:
    between = OTHERS[name].count("\n")
    assert others[name].counts == (3, 0, between)
    assert others[name].rows == [(1,), (between + 2,), (between + 3,)]


@pytest.mark.parametrize("packing", ["plain", "gzip", "zstd"])
def test_seven_in_a_hundred_lines_of_garbage_lose_nothing(packing: str, tmp_path: Path) -> None:
    if packing == "zstd" and shutil.which("zstd") is None:
        pytest.skip("needs the zstd command to write an archive")
    garbage = ["\u2588\u2588 100%", "  warn(", "", "[W1123 utils.cpp:68] Warning: NUMA", "throughput: ", "\x07bell"]
    lines = []
    for number in range(1400):
        lines.append(stats(f"11-23 {number // 360:02}:{number // 6 % 60:02}:{number % 6 * 10:02}"))
        if number % 14 == 0:
            lines.append(garbage[number // 14 % len(garbage)])
    content = text(*lines)
    if packing == "gzip":
        content = gzip.compress(content[:5000]) + gzip.compress(content[5000:])  # two members
    elif packing == "zstd":
        content = subprocess.run(["zstd", "-qc"], input=content, capture_output=True, check=True).stdout
    settings, _ = read(tmp_path, "vllm_log", content)
    assert of_file(settings) == (1400, 0, 100)
    assert windows(settings, "sum(window_seconds) over ()")[0] == (14000.0,)


def test_bytes_that_are_no_utf_8_spoil_their_own_line_only(tmp_path: Path) -> None:
    content = (
        text(GOOD[0]) + b"\xff\xfe\xc3( garbage\n" + text(GOOD[1]).replace(b"Waiting", b"W\xffiting") + text(GOOD[2])
    )
    settings, _ = read(tmp_path, "vllm_log", content)
    assert of_file(settings) == (2, 1, 1)


def test_an_archive_cut_short_is_read_to_the_cut(tmp_path: Path) -> None:
    lines = [stats(f"11-23 {n // 360:02}:{n // 6 % 60:02}:{n % 6 * 10:02}", n / 10, n % 7) for n in range(5000)]
    packed = gzip.compress(text(*lines))
    settings, _ = read(tmp_path, "vllm_log", packed[: len(packed) // 2])
    ((status, why, count),) = rows(settings, "select status, message, record_count from raw.usage_files")
    assert (status, why) == ("partial", "archive_cut_short")
    assert 1000 < count < 4000


def test_a_line_that_grows_is_counted_once_it_is_whole(tmp_path: Path) -> None:
    content = text(*GOOD)
    settings, _ = read(tmp_path, "vllm_log", content[:-30])
    assert of_file(settings) == (2, 1, 0)
    assert rejects(settings) == [("line_cut_short", None, 3, 1)]
    read(tmp_path, "vllm_log", content)
    assert of_file(settings) == (3, 0, 0)
    assert rejects(settings) == []


def test_a_rotated_log_counts_once_and_its_replica_stays(tmp_path: Path) -> None:
    """vllm.log is renamed and packed, and a new one begins."""
    settings, _ = read(tmp_path, "vllm_log", text(*GOOD), name="vllm.log")
    old = tmp_path / "logs" / "vllm.log"
    (tmp_path / "logs" / "vllm.log.1.gz").write_bytes(gzip.compress(old.read_bytes()))
    old.write_bytes(text(*(seconds(second) for second in (60, 70))))
    load(settings)
    assert rows(settings, "select count(*), count(distinct logged_at), count(distinct replica_key) "
                "from raw.engine_log_windows") == [(5, 5, 1)]  # fmt: skip


def test_the_replica_of_a_pod_s_log_is_the_pod(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "serving_vllm-0_0b5b2f3e-8c7d-4a51-9a3e-0f1d2c3b4a59" / "vllm"
    folder.mkdir(parents=True)
    (folder / "0.log").write_bytes(text(f"2026-11-23T17:54:36Z stdout F {INNER}"))
    settings = settings_for(tmp_path, "vllm_log", path="logs/**/*.log")
    load(settings)
    assert windows(settings, "replica_key") == [("serving/vllm-0",)]


def test_a_log_of_broken_lines_is_refused(tmp_path: Path) -> None:
    _, result = read(tmp_path, "vllm_log", text(*(seconds(n, -1.0) for n in range(50)), seconds(55)))
    assert result.refused_file_count == 1


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("vllm_log", "year: 1999", "year"),
        ("vllm_log", "log_interval_seconds: 0", "log_interval_seconds"),
        ("vllm_log", "clock: file_time", "clock: kind vllm_log does not know it; kinds that do: llama_cpp_log"),
        ("llama_cpp_log", "clock: guess", "clock"),
        ("vllm_log", "role: gateway", "kind vllm_log speaks as engine_log"),
    ],
)
def test_options_are_checked(kind: str, options: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="usage") as error:
        settings_for(tmp_path, kind, options)
    assert told in str(error.value)


# --- TGI ---

CALLS = "select status, started_at, completed_at, prompt_tokens, completion_tokens from raw.requests"
OF_FILE = "where file_number = (select file_number from raw.usage_files where file_id = $file)"
ENDED = datetime(2026, 11, 23, 17, 0, 5, 478010, tzinfo=UTC)


def tgi_json(**parts: object) -> str:
    span = {"name": "chat_completions", "total_time": "2.5s", "time_per_token": "36ms", "parameters": "{ stop: [] }"}
    return json.dumps({"timestamp": "2026-11-23T17:00:05.478010Z", "level": "INFO", "message": "Success",
                       "target": "text_generation_router::server", "span": span, "spans": [span]} | parts)  # fmt: skip


TGI_LINES = {
    "text": tgi(5),
    "JSON": tgi_json(),
    "in colours": "\x1b[2m" + tgi(5).replace("Z  INFO", "Z\x1b[0m \x1b[32m INFO\x1b[0m"),
    "in colours, as CloudWatch keeps them": "#033[2m" + tgi(5).replace("Z  INFO", "Z#033[0m #033[32m INFO#033[0m"),
    "Kubernetes": "2026-11-23T17:00:06.1Z stdout F " + tgi(5),
    "with the request's span": tgi(5).replace("INFO ", 'INFO HTTP request{http.method=POST http.flavor="1.1"}:'),
}


@pytest.fixture(scope="module")
def tgi_lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    contents = {name: text("Warming up model", line) for name, line in TGI_LINES.items()}
    contents |= {total: text(tgi(5, total)) for total in DURATIONS}
    return outcomes(tmp_path_factory.mktemp("tgi"), "tgi_log", contents, f"{CALLS} {OF_FILE}")


@pytest.mark.parametrize("name", TGI_LINES)
def test_a_call_of_tgi_has_times_and_no_tokens(name: str, tgi_lines: dict[str, Outcome]) -> None:
    started = datetime(2026, 11, 23, 17, 0, 2, 978010, tzinfo=UTC)
    assert tgi_lines[name].rows == [("success", started, ENDED, None, None)]
    assert tgi_lines[name].counts == (1, 0, 1)


DURATIONS = {"1.5s": 1_500_000, "735.200735ms": 735_201, "955.594µs": 956, "955.594us": 956, "1500ns": 2}


@pytest.mark.parametrize("total", DURATIONS)
def test_durations_of_tgi(total: str, tgi_lines: dict[str, Outcome]) -> None:
    ((_, started, ended, _, _),) = tgi_lines[total].rows
    assert (ended - started) / timedelta(microseconds=1) == DURATIONS[total]


def test_failed_calls_of_tgi_and_streams(tmp_path: Path) -> None:
    failed = (
        '2026-11-23T17:00:05.478010Z ERROR chat_completions:generate{parameters=GenerateParameters { stop: ["x"] }}: '
        "text_generation_router::infer: router/src/infer.rs:105: `inputs` must have less than 4096 tokens"
    )
    shard = "2026-11-23T17:00:05.478010Z ERROR shard-manager: text_generation_launcher: Shard failed"
    stream = tgi(6).replace("chat_completions{", "generate_stream{parameters=GenerateParameters { seed: None } ")
    settings, _ = read(tmp_path, "tgi_log", text(failed, shard, stream, tgi_json(level="ERROR", message="boom")))
    assert [row[0] for row in rows(settings, f"{CALLS} order by completed_at")] == ["failure", "failure", "success"]
    assert of_file(settings) == (3, 0, 1)


TGI_BROKEN = {
    "no total time": (tgi(5, ""), "not_an_instant"),
    "negative": (tgi(5, "-1s"), "not_an_instant"),
    "infinite": (tgi(5, "infs"), "not_an_instant"),
    "no unit": (tgi(5, "12"), "not_an_instant"),
    "of two days": (tgi(5, "172800s"), "not_an_instant"),
    "13th month": (tgi(5).replace("2026-11", "2026-13"), "missing_field"),
    "year 1970": (tgi(5).replace("2026-11", "1970-11"), "instant_out_of_range"),
    "half a JSON line": (tgi_json()[:-20], "malformed_json"),
}


@pytest.fixture(scope="module")
def tgi_broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    contents = {name: text(tgi(1), "x", line, tgi(2)) for name, (line, _) in TGI_BROKEN.items()}
    return outcomes(tmp_path_factory.mktemp("tgi_broken"), "tgi_log", contents, f"{CALLS} {OF_FILE}")


@pytest.mark.parametrize("name", TGI_BROKEN)
def test_a_broken_call_of_tgi_is_rejected(name: str, tgi_broken: dict[str, Outcome]) -> None:
    assert [(row[0], row[2], row[3]) for row in tgi_broken[name].rejects] == [(TGI_BROKEN[name][1], 3, 1)]
    assert tgi_broken[name].counts == (2, 1, 1)


# --- llama.cpp ---

REQUESTS = (
    "select prompt_tokens, completion_tokens, token_basis, status, completed_at from raw.requests order by started_at"
)


def slot(lines: list[str], task: int = 0) -> list[str]:
    return [f"slot print_timing: id  0 | task {task} | {line}" for line in lines]


def stamped(at: str, lines: list[str]) -> list[str]:
    return [f"{at} I {line}" for line in lines]


def old_build(epoch: int) -> list[str]:
    timed = (
        "prompt eval time     =     992.40 ms /    11 tokens (   90.22 ms per token)",
        "generation eval time =    8627.28 ms /    25 runs   (  345.09 ms per token)",
        "          total time =    9619.68 ms",
    )
    return [f'INFO [           print_timings] {line} | tid="1" timestamp={epoch} id_slot=0' for line in timed]


SEVENTEEN = datetime(2026, 11, 23, 17, 0, 0, tzinfo=UTC)
LLAMA = {
    "Kubernetes": (cri(["slot print_timing: id  0 | task 0 | ", *timings()]), ""),
    "Kubernetes, each line for itself": (cri(slot(timings())), ""),
    "journal": ([f"2026-11-23T17:00:00+0000 host llama-server[7]: {line}" for line in timings()], ""),
    "a build that states the second": (old_build(1795453200), ""),
    "uptime and the name of the file": (stamped("0.30.000.000", slot(timings())), "clock: file_name"),
    "uptime of the line before": (
        [*stamped("0.30.000.000", ["slot print_timing: id  0 | task 0 | "]), *timings()], "clock: file_name"),
    "uptime and when it was written": (
        [*stamped("10.00.000.000", slot(timings())), "429.59.000.000 I srv  update_slots: all slots are idle"],
        "clock: file_time"),
}  # fmt: skip


@pytest.mark.parametrize("name", LLAMA)
def test_a_request_of_llama_cpp_is_its_timings(name: str, tmp_path: Path) -> None:
    lines, options = LLAMA[name]
    settings, _ = read(
        tmp_path, "llama_cpp_log", text("main: server is listening", *lines), options, name="l-20261123T165930Z.log"
    )
    ((*tokens, completed_at),) = rows(settings, REQUESTS)
    assert tokens == [11, 25, "uncached_prompt", "success"]
    assert abs((completed_at - SEVENTEEN).total_seconds()) < 1e-3
    assert rows(settings, "select epoch_us(completed_at) - epoch_us(started_at) from raw.requests") == [(9_619_680,)]
    assert rows(settings, "select rejected_count from raw.usage_files") == [(0,)]


@pytest.mark.parametrize("options", ["", "clock: file_name", "clock: file_time"])
def test_requests_without_any_time_are_refused_not_guessed(options: str, tmp_path: Path) -> None:
    settings, result = read(tmp_path, "llama_cpp_log", text(*timings(), *timings()), options, "l-20261123T165930Z.log")
    assert result.record_count == 0
    assert rejects(settings) == [("missing_field", "started_at", 1, 2)]


def test_a_server_started_again_in_the_same_file_is_dated_by_neither_rule_s_other_end(tmp_path: Path) -> None:
    """By the file's name the first run is known, by its last writing the last one; the other is refused."""
    runs = [*stamped("1.00.000.000", slot(timings(1))), *stamped("0.10.000.000", slot(timings(2)))]
    for clock, known in (("file_name", 1), ("file_time", 2)):
        (tmp_path / clock).mkdir()
        settings, _ = read(
            tmp_path / clock, "llama_cpp_log", text(*runs), f"clock: {clock}", name="l-20261123T165930Z.log"
        )
        assert [row[0] for row in rows(settings, REQUESTS)] == [known]
        assert rejects(settings)[0][:2] == ("missing_field", "started_at")


def test_totals_of_a_process_are_no_request(tmp_path: Path) -> None:
    lines = [f"llama_perf_context_print: {line}" for line in timings(999)] + [f"llama_print_timings: {line}" for line in
                                                                             timings(999)]  # fmt: skip
    settings, result = read(tmp_path, "llama_cpp_log", text(*cri(timings()), *cri(lines, 1)))
    assert (result.record_count, result.rejected_count) == (1, 0)
    assert of_file(settings) == (1, 0, 6)


LLAMA_BROKEN = {
    "killed before the end": (timings()[:2], "incomplete_record", 1),
    "without its beginning": (timings()[1:], "malformed_line", 2),
    "negative": (timings("-5"), "malformed_line", 3),
    "2 to the 63": (timings(2**63), "malformed_line", 3),
    "a hundred million and one": (timings(100_000_001), "not_a_token_count", 1),
    "no number": (timings("nan"), "malformed_line", 3),
    "of two days": (timings(total="172800000.0"), "not_an_instant", 1),
}


@pytest.fixture(scope="module")
def llama_broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    contents = {
        name: text(*cri(timings(), 1), "x", *cri(lines, 20), *cri(timings(), 40), *cri(timings(), 50))
        for name, (lines, _, _) in LLAMA_BROKEN.items()
    }
    sql = f"select prompt_tokens from raw.requests {OF_FILE}"
    return outcomes(tmp_path_factory.mktemp("llama_broken"), "llama_cpp_log", contents, sql)


@pytest.mark.parametrize("name", LLAMA_BROKEN)
def test_a_broken_request_of_llama_cpp_is_rejected(name: str, llama_broken: dict[str, Outcome]) -> None:
    _, reason, count = LLAMA_BROKEN[name]
    assert [(row[0], row[2], row[3]) for row in llama_broken[name].rejects] == [(reason, 5, count)]
    assert llama_broken[name].rows == [(11,)] * 3


def test_logs_of_one_build_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    """Yesterday's log was renamed, today's begins with the same line: both stay, whatever their order."""
    build = "build: 6123 (abc) with cc"
    settings, _ = read(tmp_path, "llama_cpp_log", text(build, *cri(timings(1), 10)))
    log = tmp_path / "logs" / "a.log"
    log.write_bytes(text(build, *cri(timings(2), 30)))  # truncated and begun anew
    load(settings)
    assert [row[0] for row in rows(settings, REQUESTS)] == [1, 2]


# --- privacy ---

CANARIES = ("CANARYPROMPT tell me", "sk-CANARYKEY0123456789", "canary.mail@example.com", "203.0.113.77")


def private(kind: str, canary: str) -> list[str]:
    """Lines with a canary at every place that is not allow-listed, whole and broken."""
    lines = [
        f"INFO 11-23 17:00:05 [logger.py:39] Received request cmpl-1: prompt: '{canary} throughput: ', params: x",
        f"INFO 11-23 17:00:05 [logger.py:39] Generated response chatcmpl-1: output: '{canary}', finish_reason: stop",
        f"INFO 11-23 17:00:05 [x.py:1] non-default args: {{'api_key': '{canary}', 'x': 'LLM engine '}}",
        f"throughput: {canary} total_time ERROR print_timing: time ",
        f'2026-11-23T17:00:05Z stdout F throughput: total_time="{canary}" ERROR time = {canary}',
    ]
    if kind == "vllm_log":
        lines += [
            f"({canary}) {seconds(5)[21:]}",
            seconds(5, canary.split()[0]),
            seconds(5).replace("000", canary),
            seconds(5) + f", {canary}",
            seconds(5) + f", Note: {canary}",
            f"INFO 11-23 17:00:05 [{canary.split()[0]}:1] {message()}",
            f"INFO 11-23 17:00:05 [core.py:1] Initializing a V1 LLM engine (v0.9) with config: model='m', k='{canary}'",
            json.dumps({"asctime": canary, "process": canary, "message": message(), "x": canary}),
            json.dumps({"asctime": "2026-11-23 17:00:06,000", "process": canary, "message": message(), "x": canary}),
            json.dumps({"asctime": "2026-11-23 17:00:06,000", "message": canary + " throughput: "})[:-4],
            json.dumps({"log": seconds(7) + "\n", "stream": canary, "time": canary}),
        ]
    elif kind == "tgi_log":
        lines += [
            tgi(5).replace("Some(7)", canary),
            tgi(5, canary),
            tgi(5).replace("{total", f'{{parameters=GenerateParameters {{ stop: ["{canary}"] }} total'),
            f"2026-11-23T17:00:05Z ERROR generate{{x}}: router/src/x.rs:1: {canary}",
            tgi_json(spans=[canary], target=canary),
            tgi_json(timestamp=canary),
            tgi_json(level="ERROR", message=canary),
            tgi_json(span={"name": canary, "total_time": canary}),
            tgi_json(span={"name": "generate", "total_time": canary}),
        ]
    else:
        lines += [
            *cri(timings(canary)),
            *cri([line + canary for line in timings()], 7),
            *cri([f"slot print_timing: id  0 | task {canary} | {line}" for line in timings()], 8),
            *cri([canary + line for line in timings()], 9),
        ]
    return lines


@pytest.mark.parametrize("way", ["as it is", "in a cut archive", "in parts"])
@pytest.mark.parametrize("kind", ["vllm_log", "tgi_log", "llama_cpp_log"])
def test_nothing_private_reaches_disk_or_log(
    kind: str, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    good = {
        "vllm_log": [seconds(n) for n in range(0, 600, 10)],
        "tgi_log": [tgi(n) for n in range(60)],
        "llama_cpp_log": [line for n in range(60) for line in cri(timings(), n)],
    }[kind]
    lines = [*good[:30], *(line for canary in CANARIES for line in private(kind, canary)), *good[30:]]
    if way == "in parts":
        lines += [
            f"2026-11-23T17:00:59Z stdout P {lines[-1]} {CANARIES[0]}",
            f"2026-11-23T17:00:59Z stdout F {CANARIES[1]}",
        ]
    content = text(*lines) + CANARIES[0].encode() + b" throughput: ERROR time = "
    settings, result = read(tmp_path, kind, gzip.compress(content)[:-9] if way == "in a cut archive" else content)
    assert result.record_count >= 50, result
    seen = {"log": caplog.text, "output": "".join(capfd.readouterr()), "result": repr(result)}
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            seen[str(path)] = path.read_bytes().decode("latin-1")
    for table in ("requests", "engine_log_windows", "rejected_records", "usage_files"):
        seen[table] = repr(rows(settings, f"select * from raw.{table}"))
    for place, found in seen.items():
        for canary in CANARIES:
            assert canary.split()[0] not in found, (place, canary)
