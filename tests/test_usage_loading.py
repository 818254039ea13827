"""Serving logs and scrapes into the raw room: recorded files, damaged files, repeated and rotated files."""

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.serving_logs.files import LogFile, scrape_time
from orchestration.serving_logs.litellm import litellm_payloads
from orchestration.serving_logs.registry import READERS
from orchestration.serving_logs.requests import RequestReader
from orchestration.settings import Settings, load_settings
from orchestration.warehouse import UsageResult, Warehouse, load_usage, note_published, write_ledger, write_run

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
CANARY = "CANARY-7f3a"

Load = Callable[[], UsageResult]


def ledger_text(kind: str, path: str) -> str:
    return (
        "fleet:\n  - {deployment: d, model: m, provider: aws, region: r, instance_type: t, replicas: 1,\n"
        "     pricing: {model: on_demand}, from: 2026-01-01}\n"
        f"usage:\n  - {{name: src, kind: {kind}, path: '{path}', deployment: d}}\n"
    )


def settings_for(root: Path, kind: str, path: str) -> Settings:
    (root / "ledger.yaml").write_text(ledger_text(kind, path), encoding="utf-8")
    return load_settings(root / "ledger.yaml", root / "data")


def load(settings: Settings) -> UsageResult:
    with Warehouse(settings.warehouse_path).connect() as con:
        return load_usage(con, settings.ledger.usage[0], settings, now=NOW, work_dir=settings.data_dir / "tmp")


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.warehouse_path)) as con:
        con.execute("set timezone = 'UTC'")
        return con.execute(sql).fetchall()


def payload(number: int, **changes: object) -> dict[str, object]:
    """A LiteLLM payload with a canary in every field that must not be read."""
    return {
        "id": f"chatcmpl-{number}",
        "litellm_call_id": f"call-{number}",
        "trace_id": f"trace-{number}",
        "status": "success",
        "stream": False,
        "startTime": 1795305600.25 + number,
        "endTime": 1795305602.5 + number,
        "completionStartTime": 1795305601.0 + number,
        "model": "hosted_vllm/acme/qwen3-32b",
        "model_group": "qwen3-32b",
        "model_id": "replica-1",
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "total_tokens": 110,
        "response_cost": 0.001,
        "metadata": {
            "user_api_key_team_id": "team-search",
            "user_api_key_hash": CANARY,
            "user_api_key_user_email": f"{CANARY}@example.com",
            "requester_ip_address": CANARY,
            "usage_object": {"prompt_tokens_details": {"cached_tokens": 64}},
        },
        "messages": [{"role": "user", "content": CANARY}],
        "response": {"choices": [{"message": {"content": CANARY}}]},
        "api_base": CANARY,
        "end_user": CANARY,
        "error_str": CANARY,
        **changes,
    }


def lines(*payloads: dict[str, object]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in payloads)


def test_recorded_payloads_are_read_field_by_field(samples: Path, tmp_path: Path) -> None:
    """LiteLLM 1.109.1, recorded 2026-11-23: 2 plain, 3 streams, 2 failures of one retried request."""
    source = samples / "usage" / "litellm" / "standard_logging_payload_generated_v1.109.1.jsonl"
    shutil.copy(source, tmp_path / "recorded.jsonl")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    result = load(settings)
    assert (result.record_count, result.rejected_count) == (7, 0)
    found = rows(
        settings,
        "select status, prompt_tokens, completion_tokens, cached_tokens, tenant from raw.requests order by started_at",
    )
    assert found[0] == ("success", 1201, 40, 1024, "team-search")
    assert [row[1:3] for row in found] == [(1201, 40), (1202, 40), (1203, 40), (0, 0), (11, 5), (0, 0), (0, 0)]
    assert rows(settings, "select count(distinct trace_id) from raw.requests where status = 'failure'") == [(1,)]


def test_recorded_scrapes_keep_counters_and_incarnations(samples: Path, tmp_path: Path) -> None:
    """vLLM 0.32.0 CPU build, 33 scrapes around a SIGKILL; the counters' own words (usage.md, section 0)."""
    shutil.copytree(samples / "usage" / "vllm" / "recorded_vllm_0.32.0_cpu" / "scrapes", tmp_path / "replica-0")
    settings = settings_for(tmp_path, "metrics", "*/*.prom")
    result = load(settings)
    assert (result.file_count, result.rejected_count) == (33, 0)
    found = rows(
        settings,
        """
        select process_started_at, count(*), max(value) filter (metric_name = 'vllm:prompt_tokens_total'),
            max(value) filter (metric_name = 'vllm:generation_tokens_total'),
            max(value) filter (metric_name = 'vllm:prompt_tokens_cached_total')
        from raw.metric_samples group by 1 order by 1
        """,
    )
    assert [row[2:] for row in found] == [(51842.0, 7629.0, 37248.0), (16926.0, 2780.0, 11776.0)]
    assert found[0][0] == datetime(2026, 11, 23, 17, 53, 2, 620000, UTC)
    assert rows(settings, "select distinct replica_key, engine, model_name from raw.metric_samples") == [
        ("replica-0", "0", "tiny-llama")
    ]


def test_nothing_but_allow_listed_fields_reaches_disk(tmp_path: Path) -> None:
    """Prompts, replies, keys and addresses: one canary in each, then every byte written is searched."""
    whole = gzip.compress(lines(*(payload(n) for n in range(2000))).encode())
    (tmp_path / "a.jsonl").write_text(lines(payload(1), payload(2)) + '{"id": "' + CANARY, encoding="utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(whole[: len(whole) // 2])  # goes the slow way, through a file of our own
    settings = settings_for(tmp_path, "litellm", "*.jsonl*")
    result = load(settings)
    assert result.record_count > 2
    assert result.partial_file_count == 1
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path


def test_email_as_tenant_is_replaced_by_a_stable_digest(tmp_path: Path) -> None:
    named = payload(1, metadata={"user_api_key_team_id": "jane.doe@example.com"})
    (tmp_path / "a.jsonl").write_text(lines(named), encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    load(settings)
    ((tenant,),) = rows(settings, "select tenant from raw.requests")
    # sha256 of the address, worked out with sha256sum
    assert tenant == "sha256:86e0b9e56c17cc4d"


@pytest.mark.parametrize(
    ("line", "reason", "field", "location"),
    [
        ('{"id": "half', "malformed_json", None, "a.jsonl, line 2"),
        ("[1, 2]", "malformed_json", None, "a.jsonl, line 2"),
        (json.dumps(payload(9, id=None, litellm_call_id=None)), "missing_field", "id", "a.jsonl, line 2"),
        (json.dumps(payload(9, startTime=None)), "missing_field", "startTime", "a.jsonl, line 2"),
        (json.dumps(payload(9, startTime="soon")), "not_an_instant", "startTime", "a.jsonl, line 2"),
        (json.dumps(payload(9, startTime=1_000_000_000)), "instant_out_of_range", "startTime", "a.jsonl, line 2"),
        (json.dumps(payload(9, startTime=4_000_000_000)), "instant_out_of_range", "startTime", "a.jsonl, line 2"),
        (json.dumps(payload(9, prompt_tokens=-1)), "not_a_token_count", "prompt_tokens", "a.jsonl, line 2"),
        (json.dumps(payload(9, prompt_tokens="many")), "not_a_token_count", "prompt_tokens", "a.jsonl, line 2"),
        (json.dumps(payload(9, completion_tokens=4.5)), "not_a_token_count", "completion_tokens", "a.jsonl, line 2"),
        (json.dumps(payload(9, completion_tokens=2**63)), "not_a_token_count", "completion_tokens", "a.jsonl, line 2"),
    ],
)
def test_a_bad_line_is_counted_with_its_reason_and_the_good_ones_stay(
    tmp_path: Path, line: str, reason: str, field: str | None, location: str
) -> None:
    text = lines(payload(1)) + line + "\n" + lines(payload(2))
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    result = load(settings)
    assert (result.record_count, result.rejected_count) == (2, 1)
    ((found, found_field, where, detail, count),) = rows(
        settings, "select reason, field, first_location, detail, occurrences from raw.rejected_records"
    )
    assert (found, found_field, detail, count) == (reason, field, None, 1)
    assert where.endswith(location)


def test_last_line_cut_short_is_told_from_a_broken_one(tmp_path: Path) -> None:
    """A growing file ends in half a line; the next run reads it whole."""
    whole = lines(payload(1), payload(2))
    (tmp_path / "a.jsonl").write_text(whole[:-30], encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    assert load(settings).record_count == 1
    assert rows(settings, "select reason, occurrences from raw.rejected_records") == [("line_cut_short", 1)]
    (tmp_path / "a.jsonl").write_text(whole, encoding="utf-8")
    assert load(settings).record_count == 2
    assert rows(settings, "select count(*) from raw.requests") == [(2,)]
    assert rows(settings, "select count(*) from raw.rejected_records") == [(0,)]


def test_archive_cut_short_keeps_the_lines_before_the_cut(tmp_path: Path) -> None:
    whole = gzip.compress(lines(*(payload(n) for n in range(5000))).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.jsonl").write_text(lines(payload(9001)), encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl*")
    load(settings)
    found = dict(rows(settings, "select parse_filename(file_path), record_count from raw.usage_files"))
    assert found["b.jsonl"] == 1
    assert 1000 < found["a.jsonl.gz"] < 5000
    assert rows(settings, "select status, message from raw.usage_files where file_path like '%gz'") == [
        ("partial", "archive_cut_short")
    ]


def test_file_of_another_format_is_refused_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("<html>502 Bad Gateway</html>\n" * 20, encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(lines(payload(1)), encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    result = load(settings)
    assert result.record_count == 1
    assert result.refused_file_count == 1
    assert "20 unusable lines beside 0 good ones (malformed_json)" in result.failures[0]
    assert result.failures[1].endswith("a.jsonl")


def test_a_bad_line_in_one_file_changes_no_row_of_the_others(tmp_path: Path) -> None:
    """Files of which every line is usable go another, shorter way: both ways must tell the same."""
    odd = {"model": "a\tb", "model_group": "None", "trace_id": "", "prompt_tokens": "12", "completion_tokens": 5.0}
    odd |= {
        "startTime": "2026-11-21T00:00:00Z",
        "endTime": None,
        "metadata": {"user_api_key_team_id": "me@example.com"},
    }
    (tmp_path / "a.jsonl").write_text(lines(*(payload(n) for n in range(50)), payload(50, **odd)), encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    content = "select * from raw.requests where file_number = (select file_number from raw.usage_files where "
    content += "file_path like '%/a.jsonl') order by request_id"
    result = load(settings)
    assert (result.record_count, result.rejected_count) == (51, 0)
    alone = rows(settings, content)
    assert rows(
        settings, "select model, model_group, tenant, prompt_tokens from raw.requests where trace_id is null"
    ) == [("ab", None, "sha256:" + hashlib.sha256(b"me@example.com").hexdigest()[:16], 12)]
    shutil.rmtree(settings.data_dir)
    (tmp_path / "b.jsonl").write_text(lines(payload(99)) + "{half\n", encoding="utf-8")
    result = load(settings)
    assert (result.record_count, result.rejected_count) == (52, 1)
    assert rows(settings, content) == alone


def test_a_rule_broken_by_usable_lines_refuses_the_file_alone(tmp_path: Path) -> None:
    """Every line can be read, but the file spans years: the gate refuses it, and the file beside it stays."""
    old = payload(2, startTime="2021-01-01T00:00:00Z", endTime="2021-01-01T00:00:01Z")
    (tmp_path / "a.jsonl").write_text(lines(payload(1)), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(lines(payload(3), old), encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    result = load(settings)
    assert (result.record_count, result.refused_file_count) == (1, 1)
    assert "spans 2151 days" in result.failures[0]
    assert rows(settings, "select count(*) from raw.requests") == [(1,)]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """What the readers are given to parse: way, name of the file and its bytes."""
    seen: list[tuple[str, str, int]] = []

    def watch(way: str) -> None:
        read = getattr(RequestReader, way)

        def watched(self: RequestReader, con: Any, source: Any, files: list[LogFile], *more: Any, **named: Any) -> Any:
            seen.extend((way, file.path.name, file.path.stat().st_size) for file in files)
            return read(self, con, source, files, *more, **named)

        reader = READERS["litellm"]
        own = RequestReader(litellm_payloads)
        monkeypatch.setattr(RequestReader, way, watched)
        monkeypatch.setitem(READERS, "litellm", replace(reader, **{way: getattr(own, way)}))

    for way in ("insert_clean", "unclean", "stage"):
        watch(way)
    return seen


def test_only_the_file_with_a_bad_line_goes_the_slow_way(tmp_path: Path, parsed: list[tuple[str, str, int]]) -> None:
    for name in "abc":
        entries = lines(*(payload(ord(name) * 100 + n) for n in range(20)))
        (tmp_path / f"{name}.jsonl").write_text(entries + ("{half\n" if name == "b" else ""), encoding="utf-8")
    whole = gzip.compress(lines(*(payload(n) for n in range(2000))).encode())
    (tmp_path / "d.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    settings = settings_for(tmp_path, "litellm", "*.jsonl*")
    result = load(settings)
    assert (result.file_count, result.rejected_count, result.partial_file_count) == (4, 1, 1)
    assert [name for way, name, _ in parsed if way == "stage"] == ["b.jsonl", "d.jsonl.gz"]
    assert [name for way, name, _ in parsed if way == "unclean"] == ["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl.gz"]
    counts = "select file_path[-8:], record_count, rejected_count, status from raw.usage_files order by file_path"
    assert rows(settings, counts)[:3] == [
        ("/a.jsonl", 20, 0, "loaded"),
        ("/b.jsonl", 20, 1, "loaded"),
        ("/c.jsonl", 20, 0, "loaded"),
    ]


def test_three_days_read_again_parse_only_what_is_new(tmp_path: Path, parsed: list[tuple[str, str, int]]) -> None:
    """Bytes given to the parsers, day by day: a rotation, a copy of the folder with new times, a log that grew."""
    for day in range(3):
        entries = lines(*(payload(day * 86_400 + n) for n in range(10)))
        (tmp_path / f"day.log.{3 - day}").write_text(entries, encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "day.log.*")

    def parsed_by_run() -> tuple[int, int]:
        parsed.clear()
        load(settings)
        return len(parsed), sum(size for _, _, size in parsed)

    size = sum(path.stat().st_size for path in tmp_path.glob("day.log.*"))
    assert parsed_by_run() == (3, size)
    assert parsed_by_run() == (0, 0)
    for number in (3, 2, 1):
        (tmp_path / f"day.log.{number}").rename(tmp_path / f"day.log.{number + 1}")
    assert parsed_by_run() == (0, 0)
    known = "select file_path from raw.usage_files order by file_path"
    assert rows(settings, known) == [(str(tmp_path / f"day.log.{number}"),) for number in (2, 3, 4)]
    for expected in ((3, size), (0, 0)):  # what a new time hides is compared whole, from the second time on
        for path in tmp_path.glob("day.log.*"):
            os.utime(path, ns=(0, path.stat().st_mtime_ns + 60 * 10**9))
        assert parsed_by_run() == expected
    with (tmp_path / "day.log.2").open("a", encoding="utf-8") as log:
        log.write(lines(payload(100)))
    assert parsed_by_run() == (1, (tmp_path / "day.log.2").stat().st_size)
    # Written anew in place, as long as before and with the same first record: another content.
    first, *others = (tmp_path / "day.log.3").read_text(encoding="utf-8").splitlines(keepends=True)
    changed = [line.replace('"completion_tokens": 10', '"completion_tokens": 20') for line in others]
    (tmp_path / "day.log.3").write_text("".join([first, *changed]), encoding="utf-8")
    assert parsed_by_run()[0] == 1
    # 31 calls of 10 tokens, nine of which are of 20 now
    assert rows(settings, "select count(*), sum(completion_tokens) from raw.requests") == [(31, 22 * 10 + 9 * 20)]


def test_a_name_is_cleaned_although_names_are_looked_at_after_reading(
    tmp_path: Path, parsed: list[tuple[str, str, int]]
) -> None:
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    team = {"user_api_key_team_id": "x" * 200}
    plain = [payload(1, model_group="None"), payload(2, model_id="é" * 129), payload(3, metadata=team)]
    (tmp_path / "a.jsonl").write_text(lines(*plain), encoding="utf-8")
    load(settings)
    assert [way for way, _, _ in parsed] == ["insert_clean"]
    names = "select model_group, model_id, tenant from raw.requests order by started_at, request_id"
    assert [row[0] for row in rows(settings, names)] == [None, payload(2)["model_group"], payload(3)["model_group"]]
    assert [row[1] for row in rows(settings, names)][1] == "é" * 128
    assert [row[2] for row in rows(settings, names)][2] == "x" * 128
    parsed.clear()
    turned = payload(4, model_group="qwen\u202e3", metadata={"user_api_key_team_id": "a\x1bb"})
    (tmp_path / "b.jsonl").write_text(lines(turned), encoding="utf-8")
    load(settings)
    assert [way for way, _, _ in parsed] == ["insert_clean", "unclean", "insert_clean"]
    assert (rows(settings, names)[3][0], rows(settings, names)[3][2]) == ("qwen3", "ab")


def test_numbers_read_as_numbers_are_the_same(tmp_path: Path, parsed: list[tuple[str, str, int]]) -> None:
    """A log that begins with numbers and goes on with text, and a token count that DuckDB would take for 1."""
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    content = "select * exclude (file_number) from raw.requests order by request_id"
    log = tmp_path / "a.jsonl"
    half = {"usage_object": {"prompt_tokens_details": {"cached_tokens": 2.5}}}
    log.write_text(lines(payload(1), payload(2, endTime=None), payload(3, metadata=half)), encoding="utf-8")
    load(settings)
    assert [way for way, _, _ in parsed] == ["insert_clean"]
    typed = rows(settings, content)
    assert rows(settings, "select cached_tokens from raw.requests order by started_at") == [(64,), (64,), (None,)]
    shutil.rmtree(settings.data_dir)
    half["usage_object"]["prompt_tokens_details"]["cached_tokens"] = "2.5"
    as_text = [payload(1, startTime="1795305601.25"), payload(2, endTime=""), payload(3, metadata=half)]
    log.write_text(lines(*as_text), encoding="utf-8")
    load(settings)
    assert rows(settings, content) == typed
    shutil.rmtree(settings.data_dir)
    mixed = [
        payload(1),
        payload(2, endTime="", startTime="2026-11-22T00:00:02.25Z"),
        payload(3, metadata=half),
    ]
    log.write_text(lines(*mixed), encoding="utf-8")
    parsed.clear()
    load(settings)
    assert [way for way, _, _ in parsed] == ["insert_clean", "unclean", "insert_clean"]
    assert rows(settings, content) == typed
    log.write_text(lines(payload(4, prompt_tokens=True)), encoding="utf-8")
    assert load(settings).rejected_count == 1


def test_a_warehouse_whose_calls_name_their_file_and_source_is_taken_over(tmp_path: Path) -> None:
    """As it was before files had numbers, and five more columns were kept."""
    logs = {name: tmp_path / f"{name}.jsonl" for name in "abc"}
    logs["a"].write_text(lines(payload(1), payload(2)), encoding="utf-8")
    logs["b"].write_text(lines(payload(3)), encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    load(settings)
    content = (
        "select parse_filename(file_path), source_name, requests.* exclude (file_number) "
        "from raw.requests join raw.usage_files using (file_number) order by all"
    )
    before = rows(settings, content)
    assert [row[:2] for row in before] == [("a.jsonl", "src"), ("a.jsonl", "src"), ("b.jsonl", "src")]
    with duckdb.connect(str(settings.warehouse_path)) as con:
        con.execute("""
            alter table raw.requests rename to calls;
            create table raw.requests as
            select
                files.source_name, files.file_id, 'acompletion' as call_type, true as is_stream, 7 as total_tokens,
                0.5::double as reported_cost_usd, 'stop' as finish_reason, calls.* exclude (file_number)
            from raw.calls as calls join raw.usage_files as files using (file_number);
            drop table raw.calls;
            alter table raw.usage_files drop column file_number
        """)
    assert load(settings).unchanged_file_count == 2
    assert rows(settings, content) == before
    logs["a"].write_text(lines(payload(1), payload(2), payload(4)), encoding="utf-8")
    logs["c"].write_text(lines(payload(5)), encoding="utf-8")
    assert load(settings).file_count == 2
    assert [row[0] for row in rows(settings, content)] == ["a.jsonl"] * 3 + ["b.jsonl", "c.jsonl"]
    assert sorted(rows(settings, "select file_number from raw.usage_files")) == [(1,), (2,), (3,)]


def test_reading_again_changes_nothing_and_a_renamed_file_replaces_itself(tmp_path: Path) -> None:
    """Rotation renames and compresses: a file is known by its first record."""
    text = lines(payload(1), payload(2))
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl*")
    load(settings)
    again = load(settings)
    assert (again.file_count, again.unchanged_file_count) == (0, 1)
    (tmp_path / "a.jsonl").unlink()
    (tmp_path / "a.jsonl.1.gz").write_bytes(gzip.compress(text.encode()))
    load(settings)
    assert rows(settings, "select count(*), count(distinct request_id) from raw.requests") == [(2, 2)]
    assert rows(settings, "select count(*) from raw.usage_files") == [(1,)]


def test_a_file_started_anew_does_not_take_the_old_rows_away(tmp_path: Path) -> None:
    """copytruncate: the same name holds new records; what it held before was served and stays counted."""
    (tmp_path / "a.jsonl").write_text(lines(payload(1), payload(2)), encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    load(settings)
    (tmp_path / "a.jsonl").write_text(lines(payload(3)), encoding="utf-8")
    load(settings)
    assert rows(settings, "select count(*) from raw.requests") == [(3,)]


def test_a_copy_beside_its_log_changes_nothing_however_often_it_is_read(tmp_path: Path) -> None:
    """What a rotation leaves: a shorter copy, a compressed copy. Read one by one, they would take turns."""
    text = lines(*(payload(n) for n in range(6)))
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "a.jsonl.1").write_text(lines(payload(0), payload(1)), encoding="utf-8")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    settings = settings_for(tmp_path, "litellm", "*.jsonl*")
    for _ in range(3):
        load(settings)
        assert rows(settings, "select count(*), count(distinct request_id) from raw.requests") == [(6, 6)]


def test_two_logs_that_only_begin_alike_are_both_kept(tmp_path: Path) -> None:
    """At-least-once shipping repeats a record in the next file."""
    (tmp_path / "a.jsonl").write_text(lines(payload(1), payload(2)), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(lines(payload(1), payload(3), payload(4)), encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    for _ in range(3):
        load(settings)
        assert rows(settings, "select count(distinct request_id) from raw.requests") == [(4,)]


def test_a_file_that_two_sources_name_is_read_by_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines(payload(1)), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(lines(payload(2)), encoding="utf-8")
    text = ledger_text("litellm", "a*.jsonl") + "  - {name: all, kind: litellm, path: '*.jsonl', deployment: d}\n"
    (tmp_path / "ledger.yaml").write_text(text, encoding="utf-8")
    settings = load_settings(tmp_path / "ledger.yaml", tmp_path / "data")
    for _ in range(2):
        with Warehouse(settings.warehouse_path).connect() as con:
            first, second = (
                load_usage(con, source, settings, now=NOW, work_dir=tmp_path / "tmp")
                for source in settings.ledger.usage
            )
        assert first.problems == []
        assert second.problems == [f"all: {tmp_path}/a.jsonl was not read: read_by_another_source"]
    calls = (
        "select source_name, count(*) from raw.requests join raw.usage_files using (file_number) group by 1 order by 1"
    )
    assert rows(settings, calls) == [("all", 1), ("src", 1)]


def test_a_renamed_folder_of_scrapes_counts_once(tmp_path: Path) -> None:
    folder = tmp_path / "replica-0"
    folder.mkdir()
    for minute in (0, 5):
        page = (
            "process_start_time_seconds 1.79545638262e+09\n"
            f'vllm:prompt_tokens_total{{engine="0",model_name="m"}} {minute}.0\n'
        )
        (folder / f"20261123T18{minute:02}00Z.prom").write_text(page, encoding="utf-8")
    settings = settings_for(tmp_path, "metrics", "*/*.prom")
    load(settings)
    folder.rename(tmp_path / "replica-0-archived")
    load(settings)
    found = rows(settings, "select count(*), any_value(replica_key) from raw.metric_samples")
    assert found == [(2, "replica-0-archived")]


def test_file_names_are_no_patterns(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl").write_text(lines(payload(1)), encoding="utf-8")
    (tmp_path / "a1.jsonl").write_text(lines(payload(2)), encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    load(settings)
    ids = "cast(md5_number('chatcmpl-1') as uuid), cast(md5_number('chatcmpl-2') as uuid)"
    assert rows(settings, f"select count(*) from raw.requests where request_id in ({ids})") == [(2,)]


def test_byte_order_mark_does_not_cost_the_first_record(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines(payload(1), payload(2)).encode())
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    result = load(settings)
    assert (result.record_count, result.rejected_count, result.problems) == (2, 0, [])


def test_a_call_that_ends_in_another_century_has_no_end(tmp_path: Path) -> None:
    """It would keep its replica busy for every hour until then."""
    (tmp_path / "a.jsonl").write_text(lines(payload(1, endTime=4_102_444_800.0)), encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    load(settings)
    assert rows(settings, "select completed_at, prompt_tokens from raw.requests") == [(None, 100)]


def test_absurd_counters_and_instants_are_rejected_not_fatal(tmp_path: Path) -> None:
    folder = tmp_path / "replica-0"
    folder.mkdir()
    page = (
        'vllm:prompt_tokens_total{engine="0",model_name="m"} 1e30\n'
        'vllm:generation_tokens_total{engine="0",model_name="m"} 5.0\n'
        'vllm:generation_tokens_created{engine="0",model_name="m"} 1e18\n'
        "process_start_time_seconds 1e300\n"
    )
    (folder / "20261123T175427Z.prom").write_text(page, encoding="utf-8")
    settings = settings_for(tmp_path, "metrics", "*/*.prom")
    load(settings)
    assert rows(settings, "select value, series_created_at, process_started_at from raw.metric_samples") == [
        (5.0, None, None)
    ]
    assert rows(settings, "select reason, field from raw.rejected_records") == [
        ("value_not_a_count", "vllm:prompt_tokens_total")
    ]


def test_files_that_were_not_read_are_named(tmp_path: Path) -> None:
    """A check that passes while files are passed over would hide them."""
    whole = gzip.compress(lines(*(payload(n) for n in range(2000))).encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    settings = settings_for(tmp_path, "litellm", "*.jsonl*")
    (problem,) = load(settings).problems
    assert problem.endswith("cut.jsonl.gz was read in part: archive_cut_short")
    folder = tmp_path / "replica-0"
    folder.mkdir()
    (folder / "latest.prom").write_text("x\n", encoding="utf-8")
    (problem,) = load(settings_for(tmp_path, "metrics", "*/*.prom")).problems
    assert problem.endswith("latest.prom was not read: file_name_has_no_utc_time_or_epoch")


def test_scrape_cut_short_loses_its_last_line_not_its_digits(tmp_path: Path) -> None:
    """`51842.0` cut to `518` would be read as a counter reset of 51,324 tokens."""
    folder = tmp_path / "replica-0"
    folder.mkdir()
    text = (
        'vllm:generation_tokens_total{engine="0",model_name="m"} 7629.0\n'
        'vllm:prompt_tokens_total{engine="0",model_name="m"} 518'
    )
    (folder / "20261123T175427Z.prom").write_text(text, encoding="utf-8")
    settings = settings_for(tmp_path, "metrics", "*/*.prom")
    load(settings)
    assert rows(settings, "select metric_name, value from raw.metric_samples") == [
        ("vllm:generation_tokens_total", 7629.0)
    ]
    assert rows(settings, "select reason from raw.rejected_records") == [("line_cut_short",)]


def test_page_without_engine_series_and_nameless_file_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / "replica-0"
    folder.mkdir()
    (folder / "1795456467.prom").write_text(
        'vllm:prompt_tokens_total{engine="0",model_name="m"} 5.0\n', encoding="utf-8"
    )
    (folder / "20261123T175427Z.prom").write_text("<html>not found</html>\n", encoding="utf-8")
    (folder / "latest.prom").write_text('vllm:prompt_tokens_total{engine="0",model_name="m"} 1.0\n', encoding="utf-8")
    (folder / "20261123T175432Z.prom").write_text(
        'vllm:prompt_tokens_total{engine="0",model_name="m"} NaN\n', encoding="utf-8"
    )
    settings = settings_for(tmp_path, "metrics", "*/*.prom")
    load(settings)
    found = {reason for (reason,) in rows(settings, "select reason from raw.rejected_records")}
    assert found == {"no_engine_series", "value_unknown", "file_name_has_no_utc_time_or_epoch"}
    assert rows(settings, "select value, scraped_at from raw.metric_samples") == [
        (5.0, datetime(2026, 11, 23, 17, 54, 27, tzinfo=UTC))
    ]


def test_labels_with_quotes_and_control_characters_are_text(tmp_path: Path) -> None:
    folder = tmp_path / "replica-0"
    folder.mkdir()
    (folder / "20261123T175427Z.prom").write_text(
        'vllm:prompt_tokens_total{engine="0",model_name="a\\"b\'; drop table x; --\x1b[31m"} 5.0\n', encoding="utf-8"
    )
    settings = settings_for(tmp_path, "metrics", "*/*.prom")
    load(settings)
    assert rows(settings, "select model_name from raw.metric_samples") == [("a\\\"b'; drop table x; --[31m",)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("20261123T175427Z.prom", datetime(2026, 11, 23, 17, 54, 27, tzinfo=UTC)),
        ("vllm-0_20261123T175427Z.prom", datetime(2026, 11, 23, 17, 54, 27, tzinfo=UTC)),
        ("1795456467.prom", datetime(2026, 11, 23, 17, 54, 27, tzinfo=UTC)),
        ("1795456467500.prom", datetime(2026, 11, 23, 17, 54, 27, 500000, tzinfo=UTC)),
        ("20261323T175427Z.prom", None),
        ("metrics.prom", None),
    ],
)
def test_scrape_time_from_the_file_name(name: str, expected: datetime | None) -> None:
    assert scrape_time(name) == expected


def test_changed_days_wait_until_they_are_published(tmp_path: Path) -> None:
    """A run killed after loading: the next one still rebuilds from the day that changed."""
    old = payload(1, startTime=datetime(2026, 10, 3, 12, tzinfo=UTC).timestamp())
    (tmp_path / "a.jsonl").write_text(lines(old), encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    load(settings)
    as_of = date(2026, 11, 23)
    with Warehouse(settings.warehouse_path).connect() as con:
        # A day earlier than the row: a scrape at midnight closes the day before.
        assert write_run(con, run_id="1", started_at=NOW, as_of_date=as_of) == date(2026, 10, 2)
        con.execute("delete from raw.pending_usage_days")
        assert write_run(con, run_id="2", started_at=NOW, as_of_date=as_of) == date(2026, 11, 21)
        # After an earlier day was asked for, the way back to today is rebuilt.
        assert write_run(con, run_id="3", started_at=NOW, as_of_date=date(2026, 11, 10)) == date(2026, 11, 8)
        assert write_run(con, run_id="4", started_at=NOW, as_of_date=as_of) == date(2026, 11, 8)


def test_other_routes_rebuild_all_usage_and_the_same_ones_do_not(tmp_path: Path) -> None:
    """Incremental models hold hours by deployment."""
    old = payload(1, startTime=datetime(2026, 10, 3, 12, tzinfo=UTC).timestamp())
    (tmp_path / "a.jsonl").write_text(lines(old, payload(2)), encoding="utf-8")
    settings = settings_for(tmp_path, "litellm", "*.jsonl")
    with Warehouse(settings.warehouse_path).connect() as con:
        write_ledger(con, settings)
        assert con.execute("select * from raw.pending_usage_days").fetchall() == []  # no usage yet
    load(settings)
    with Warehouse(settings.warehouse_path).connect() as con:  # an engine's log is usage, too
        con.execute("""
            insert into raw.engine_log_windows by name
            select 'log' as source_name, 'f' as file_id, 1 as line_number, 'r' as replica_key, usage_date,
                usage_date as logged_at
            from (select date '2026-10-01' as usage_date)
        """)
    ledger_path = tmp_path / "ledger.yaml"
    text = ledger_path.read_text(encoding="utf-8")
    rerouted = text.replace("deployment: d}\n", "deployments: {qwen3-32b: d}}\n")
    assert rerouted != text
    as_of = date(2026, 11, 23)
    for content, window_start in (
        (text, date(2026, 11, 21)),
        (text.replace("replicas: 1", "replicas: 2"), date(2026, 11, 21)),  # the same routes
        (rerouted, date(2026, 9, 30)),
        (rerouted, date(2026, 11, 21)),
        (text, date(2026, 9, 30)),
    ):
        ledger_path.write_text(content, encoding="utf-8")
        with Warehouse(settings.warehouse_path).connect() as con:
            note_published(con, "digest")
            write_ledger(con, load_settings(ledger_path, settings.data_dir))
            assert write_run(con, run_id="r", started_at=NOW, as_of_date=as_of) == window_start
            # A run killed before it published: the next one finds the same routes, and the day still waiting.
            write_ledger(con, load_settings(ledger_path, settings.data_dir))
            assert write_run(con, run_id="r", started_at=NOW, as_of_date=as_of) == window_start
