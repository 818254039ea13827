"""Damaged, hostile and odd files of every request-level format.

Each case has a name and says by hand what becomes of it: how many records are kept, which are rejected and where, and
how many are passed over. Over all of them one rule: what was read is accepted, rejected or passed over.
"""

import copy
import gzip
import json
import logging
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.request_logs import (
    FORMATS,
    START,
    Record,
    as_csv,
    as_lines,
    envoy,
    generic,
    litellm,
    load,
    opened,
    otlp,
    rows,
    settings_for,
    sglang,
    span,
    spans,
    spend_log,
)

Reject = tuple[str, str | None, str]  # reason, field, place


@dataclass(frozen=True)
class Case:
    """One file of a format, and what becomes of it. `status` of the file; `sql` and `expected`: what else is true."""

    name: str
    format: str
    content: bytes
    accepted: int
    rejects: tuple[Reject, ...] = ()
    rejected: int | None = None
    passed_over: int = 0
    status: str = "loaded"
    message: str | None = None
    sql: str | None = None
    expected: list[tuple[Any, ...]] = field(default_factory=list)


def between(format_name: str, *bad: object) -> bytes:
    """`bad` records between a good one and two more; the first bad one is record 2, on line 2 (3 below a header)."""
    format_ = FORMATS[format_name]
    return format_.encode(format_.record(1), *bad, format_.record(2), format_.record(3))


def changed(format_name: str, path: str, value: object) -> Record:
    """Record 9 of a format with one field set to `value`, by its path."""
    record = copy.deepcopy(FORMATS[format_name].record(9))
    *way, last = path.split("/")
    place = record
    for step in way:
        place = place[step]
    place[last] = value
    return record


# Where each format says how many tokens a prompt had, and what a reject calls it.
PROMPT = {
    "litellm": ("prompt_tokens", "prompt_tokens"),
    "spend_logs": ("prompt_tokens", "prompt_tokens"),
    "spend_logs_csv": ("prompt_tokens", "prompt_tokens"),
    "sglang": ("prompt_tokens", "prompt_tokens"),
    "sglang_log": ("out/meta_info/prompt_tokens", "prompt_tokens"),
    "envoy": ("genai_tokens_input", "input_tokens"),
    "ollama": ("prompt_eval_count", "prompt_eval_count"),
    "requests": ("In", "prompt_tokens"),
    "requests_csv": ("In", "prompt_tokens"),
}
NO_COUNT = {
    "negative": -1,
    "fraction": 4.5,
    "2 to the 63": 2**63,
    "a word": "many",
    "infinite": "1e400",
    "a hundred million and one": 100_000_001,
    "a list": [1, 2],
    "an object": {"n": 1},
    "true": True,
    "a formula": "=1+1",
    "other digits": "١٢٣",
}
# Where each format says when a call began or ended, and what a reject calls it.
TIME = {
    "litellm": ("startTime", "startTime"),
    "spend_logs_csv": ("startTime", "startTime"),
    "envoy": ("start_time", "start_time"),
    "ollama": ("created_at", "created_at"),
    "requests": ("When", "started_at"),
    "requests_csv": ("When", "started_at"),
}
NO_TIME = {
    "a word": ("soon", "not_an_instant"),
    "year 1970": ("1970-01-01T00:00:00Z", "instant_out_of_range"),
    "year 2100": ("2100-01-01T00:00:00Z", "instant_out_of_range"),
    "13th month": ("2026-13-01T00:00:00Z", "not_an_instant"),
    "small number": (5, "not_an_instant"),
    "two days ahead": ("2026-11-26T00:00:00Z", "instant_out_of_range"),
    "infinity": ("infinity", "not_an_instant"),
    "a list": ([1], "not_an_instant"),
    "drop table": ("'; drop table raw.requests; --", "not_an_instant"),
}


def line_of(format_name: str) -> str:
    return "line 3" if format_name.endswith("csv") else "line 2"


def count_cases() -> list[Case]:
    return [
        Case(
            f"{name}: tokens {fault}",
            name,
            between(name, changed(name, path, value)),
            3,
            (("not_a_token_count", label, line_of(name)),),
        )
        for name, (path, label) in PROMPT.items()
        for fault, value in NO_COUNT.items()
    ] + [
        Case(
            f"otlp: tokens {fault}",
            "otlp",
            between("otlp", spans(span(9, {"gen_ai.usage.prompt_tokens": {"intValue": value}}))),
            3,
            (("not_a_token_count", "gen_ai.usage.input_tokens", "line 2"),),
        )
        for fault, value in {"negative": "-1", "2 to the 63": str(2**63), "a word": "many", "a number": 4.5}.items()
    ]


def time_cases() -> list[Case]:
    found = [
        Case(
            f"{name}: time {fault}",
            name,
            between(name, changed(name, path, value)),
            3,
            ((reason, label, line_of(name)),),
        )
        for name, (path, label) in TIME.items()
        for fault, (value, reason) in NO_TIME.items()
    ]
    found += [
        Case(
            f"{name}: no time",
            name,
            between(name, changed(name, path, None)),
            3,
            (("missing_field", label, line_of(name)),),
        )
        for name, (path, label) in TIME.items()
    ]
    for unit, digits in {"seconds": 0, "milliseconds": 3, "microseconds": 6, "nanoseconds": 9}.items():
        found.append(
            Case(
                f"litellm: start in {unit}",
                "litellm",
                as_lines(litellm(1) | {"startTime": START * 10**digits}),
                1,
                sql="select epoch(started_at) from raw.requests",
                expected=[(START,)],
            )
        )
    return found


NAMES = "select model from raw.requests order by started_at"


def name_case(name: str, model: object, expected: str | None) -> Case:
    return Case(name, "litellm", as_lines(litellm(1) | {"model": model}), 1, sql=NAMES, expected=[(expected,)])


MEGABYTE = 1024 * 1024


def line_cases() -> list[Case]:
    """Lines that are no record."""
    good = as_lines(litellm(1))
    deep = b"[" * 10_000 + b"]" * 10_000
    bad_lines = {
        "half an object": b'{"id": "x"',
        "a list": b"[1, 2]",
        "a number": b"5",
        "a word": b"null",
        "an empty object": b"{}",
        "nested 10,000 deep, never closed": b'{"id": ' + b"[" * 10_000,
        "two objects": as_lines(litellm(8)).strip() + b" " + as_lines(litellm(9)).strip(),
        "bytes that are no UTF-8": b'{"id": "\xff\xfe", "startTime": 1795305600}',
        "a NUL byte": b'{"id": "\x00", "startTime": 1795305600}',
        "half a surrogate": b'{"id": "\\ud800", "startTime": 1795305600}',
        "single quotes": b"{'id': 'x'}",
        "40 MB": b'{"id": "' + b"x" * (40 * MEGABYTE) + b'"}',
        "html": b"<html>502</html>",
        "control characters": b'{"id": "a\x1bb"}',
        "an object of another kind": b'{"level": "info"}',
    }
    found = [
        Case(f"a line that is {name}", "litellm", good + line + b"\n" + good, 2, (("malformed_json", None, "line 2"),))
        for name, line in bad_lines.items()
    ]
    found += [
        Case(
            f"{name}: half a record",
            name,
            between(name).replace(b"\n", b"\n" + half + b"\n", 1),
            3,
            (("malformed_json", None, "line 2"),),
        )
        for name, half in {
            "spend_logs": b'{"request_id": "x"',
            "otlp": b'{"resourceSpans": [{"resource"',
            "sglang": b'{"id": "x"',
            "sglang_log": b'[2026-11-22 00:00:00] {"rid": "x"',
            "envoy": b'{"start_time": "x"',
            "ollama": b'{"model": "x"',
            "requests": b'{"When": "x"',
        }.items()
    ]
    found += [
        Case("a field nested 10,000 deep", "litellm", b'{"q": ' + deep + b"," + good[1:], 1),
        Case("15 MB in a field not read", "litellm", as_lines(litellm(1) | {"messages": "x" * 15 * MEGABYTE}), 1),
        Case("blank lines", "litellm", b"\n\n   \n" + good + b"\n\t\n" + good, 2),
        Case(
            "a bad line below blank ones",
            "litellm",
            b"\n \n" + good + b"\nx\n" + good,
            2,
            (("malformed_json", None, "line 5"),),
        ),
        Case(
            "a field stands twice",
            "litellm",
            good.replace(b'"prompt_tokens": 100', b'"prompt_tokens": 100, "prompt_tokens": 7', 1),
            1,
            sql="select prompt_tokens from raw.requests",
            expected=[(100,)],
        ),
        Case("no id", "litellm", between("litellm", litellm(9) | {"id": None, "litellm_call_id": ""}), 3,
             (("missing_field", "id", "line 2"),)),
        Case("a span without its id", "otlp", between("otlp", spans(span(9, spanId=""))), 3,
             (("missing_field", "spanId", "line 2"),)),
        Case("another signal than spans", "otlp", between("otlp", {"resourceMetrics": []}), 3,
             (("malformed_json", None, "line 2"),)),
        Case("spans that are a word", "otlp", between("otlp", {"resourceSpans": "x"}), 3,
             (("malformed_json", None, "line 2"),)),
        Case("an attribute that stands twice", "otlp",
             as_lines(spans({**span(1), "attributes": span(1)["attributes"] * 2})), 1,
             sql="select prompt_tokens from raw.requests", expected=[(100,)]),
        Case("more cached than the prompt", "litellm",
             as_lines(changed("litellm", "metadata/usage_object/prompt_tokens_details/cached_tokens", 500)), 1,
             sql="select prompt_tokens, cached_tokens from raw.requests", expected=[(100, 500)]),
        Case("cached tokens that are a word", "sglang", as_lines(sglang(1) | {"cached_tokens": "x"}), 1,
             sql="select cached_tokens from raw.requests", expected=[(None,)]),
        Case("metadata that is no JSON", "spend_logs", as_lines(spend_log(1) | {"metadata": "{half"}), 1,
             sql="select prompt_tokens, cached_tokens from raw.requests", expected=[(100, None)]),
        Case("metadata that is an object", "spend_logs",
             as_lines(spend_log(1) | {"metadata": json.loads(spend_log(1)["metadata"])}), 1,
             sql="select cached_tokens from raw.requests", expected=[(64,)]),
        Case("a finish reason that is a word", "sglang", as_lines(sglang(1) | {"finish_reason": "stop"}), 1,
             sql="select status from raw.requests", expected=[("success",)]),
        Case("a comma too many", "litellm", good + b'{"id": "x",}\n' + good, 2,
             (("missing_field", "startTime", "line 2"),)),
        Case("a start that is a word, told by the end", "sglang",
             as_lines(sglang(7) | {"request_received_ts": "soon"}), 1,
             sql="select epoch(started_at) from raw.requests", expected=[(START + 7,)]),
        Case("neither start nor end", "sglang",
             between("sglang", sglang(9) | {"request_received_ts": None, "response_sent_to_client_ts": None}), 3,
             (("missing_field", "request_received_ts", "line 2"),)),
        Case("neither end nor latency", "sglang",
             between("sglang", sglang(9) | {"request_received_ts": None, "e2e_latency": "x"}), 3,
             (("not_an_instant", "request_received_ts", "line 2"),)),
        Case("a call that lasts a year", "sglang",
             as_lines(sglang(1) | {"e2e_latency": 3e7, "response_sent_to_client_ts": None}), 1,
             sql="select completed_at from raw.requests", expected=[(None,)]),
        Case("an end before the start", "litellm", as_lines(litellm(1) | {"endTime": START - 5}), 1,
             sql="select completed_at from raw.requests", expected=[(None,)]),
        Case("a duration that is a word", "envoy", as_lines(envoy(1) | {"duration": "-"}), 1,
             sql="select completed_at, prompt_tokens from raw.requests", expected=[(None, 100)]),
        Case("tokens that are a dash", "envoy", as_lines(envoy(1) | {"genai_tokens_input": "-"}), 1,
             sql="select prompt_tokens, completion_tokens from raw.requests", expected=[(None, 10)]),
    ]  # fmt: skip
    return found


def name_cases() -> list[Case]:
    return [
        name_case("name: ANSI colours", "\x1b[31mred\x1b[0m", "[31mred[0m"),
        name_case("name: control characters and line feeds", "a\x00b\r\nc\x7f\x85", "abc"),
        name_case("name: marks that turn writing around", "qwen\u202e3\u2066-\u200b8b\ufeff", "qwen3-8b"),
        name_case("name: formula of a spreadsheet", "=cmd|'/c calc'!A1", "=cmd|'/c calc'!A1"),
        name_case("name: SQL", "'; drop table raw.requests; --", "'; drop table raw.requests; --"),
        name_case("name: 100 kB", "m" * 100_000, "m" * 128),
        name_case("name: empty", "", None),
        name_case("name: None", "None", None),
        name_case("name: a number", 5, "5"),
        name_case("name: a template", "{{ 7 * 7 }}${x}", "{{ 7 * 7 }}${x}"),
        name_case("name: other scripts", "模型-é", "模型-é"),
        Case("10,000 names", "litellm", as_lines(*(litellm(n) | {"model": f"m{n}"} for n in range(10_000))), 10_000,
             sql="select count(distinct model) from raw.requests", expected=[(10_000,)]),
        Case("a status that is a sentence", "litellm", as_lines(litellm(1) | {"status": "it went well"}), 1,
             sql="select status from raw.requests", expected=[(None,)]),
    ]  # fmt: skip


def table_cases() -> list[Case]:
    good, header = as_csv(generic(1), generic(2), generic(3)), as_csv(generic(1)).split(b"\n")[0] + b"\n"
    first, second, third = good.split(b"\n")[1:4]
    rows_of = b"\n".join

    def table(name: str, *lines: bytes, accepted: int, rejects: tuple[Reject, ...] = (), **more: Any) -> Case:
        return Case(f"table: {name}", "requests_csv", header + rows_of(lines) + b"\n", accepted, rejects, **more)

    malformed: tuple[Reject, ...] = (("malformed_row", None, "line 3"),)
    gate: Any = {"status": "refused", "message": "gate"}
    unreadable: Any = {"status": "refused", "message": "unreadable"}
    return [
        Case("table: only a header", "requests_csv", header, 0),
        Case("table: only a header, no line feed", "requests_csv", header.strip(), 0),
        table("a column too few", first, b"2026-11-22T00:00:00Z,m,t,1", second, third, accepted=3, rejects=malformed),
        table("a column too many", first, second + b",more", second, third, accepted=3, rejects=malformed),
        table("bytes that are no UTF-8", first, second.replace(b"qwen", b"\xff\xfe"), second, third, accepted=3,
              rejects=malformed),
        table("blank lines", first, b"", second, accepted=2),
        table("only commas", first, b",,,,,,", second, third, accepted=3, rejects=malformed),
        table("quoted line feed above a bad one", first.replace(b",p", b',"p\nq"'), b"soon,m,t,1,1,1,p", second,
              accepted=2, rejects=(("not_an_instant", "started_at", "line 4"),)),
        table("a quote that is never closed", first, second.replace(b",p", b',"p'), third, first, accepted=3,
              rejects=malformed),
        Case("table: carriage returns and line feeds", "requests_csv", good.replace(b"\n", b"\r\n"), 3),
        Case("table: no last line feed", "requests_csv", good.strip(), 3),
        Case("table: cut in the last row", "requests_csv", good.strip()[:-6], 2, (("line_cut_short", None, "line 4"),)),
        Case("table: without a column that is needed", "requests_csv", good.replace(b",In,", b",Inn,"), 0,
             (("missing_column", "prompt_tokens", ""),), **gate),
        Case("table: UTF-16", "requests_csv", good.decode().encode("utf-16"), 0, **unreadable),
        Case("table: a NUL byte", "requests_csv", good.replace(b",p\n", b",\x00\n", 1), 3),
        Case("table: another column beside", "requests_csv", as_csv({"No": 1} | generic(1)), 1),
        Case("table: columns in another order", "requests_csv", as_csv(dict(reversed(generic(1).items()))), 1,
             sql="select prompt_tokens, completion_tokens from raw.requests", expected=[(100, 10)]),
        Case("table: sentinel words", "requests_csv", as_csv(generic(1) | {"In": "NaN", "Out": "-", "Team": "NULL"}), 1,
             sql="select prompt_tokens, completion_tokens, tenant from raw.requests", expected=[(None, None, None)]),
        Case("parquet: cut short", "requests_csv", b"PAR1" + b"\x00" * 100, 0, **unreadable),
        Case("array: cut short", "spend_logs",
             json.dumps([spend_log(n) for n in range(3)]).encode()[:-40], 2, status="partial",
             message="array_cut_short"),
        Case("array: something else among the records", "spend_logs",
             json.dumps([spend_log(1), 5, spend_log(2)]).encode(), 2, (("malformed_json", None, "record 2"),)),
        Case("array: empty", "spend_logs", b"[]", 0),
    ]  # fmt: skip


def file_cases() -> list[Case]:
    good = as_lines(*(litellm(n) for n in range(3)))
    archive = gzip.compress(good)
    gate: Any = {"status": "refused", "message": "gate"}
    damaged: Any = {"status": "partial", "message": "archive_damaged"}
    return [
        Case("gzip: of two members", "litellm", archive + gzip.compress(as_lines(litellm(9))), 4),
        Case("gzip: with rubbish behind", "litellm", archive + b"rubbish", 3, **damaged),
        Case("gzip: a bad line inside", "litellm", gzip.compress(good + b"x\n"), 3,
             (("malformed_json", None, "line 4"),)),
        Case("gzip: cut in the last line", "litellm", gzip.compress(good[:-9]), 2,
             (("line_cut_short", None, "line 3"),)),
        Case("mark of UTF-8", "litellm", b"\xef\xbb\xbf" + good, 3),
        Case("mark of UTF-8 in gzip", "litellm", gzip.compress(b"\xef\xbb\xbf" + good), 3),
        Case("UTF-16", "litellm", good.decode().encode("utf-16-le"), 0,
             (("line_cut_short", None, "line 4"), ("malformed_json", None, "line 1")), **gate),
        Case("carriage returns only", "litellm", good.replace(b"\n", b"\r"), 0, (("line_cut_short", None, "line 1"),),
             **gate),
        Case("cut in the last line", "litellm", good[:-9], 2, (("line_cut_short", None, "line 3"),)),
        Case("the same lines twice", "litellm", good + good, 6,
             sql="select count(distinct (request_id, call_id)) from raw.requests", expected=[(3,)]),
        Case("another format", "litellm", as_lines(otlp(1)) * 5, 0, (("malformed_json", None, "line 1"),),
             rejected=5, **gate),
        Case("replies of another server", "ollama", as_lines(litellm(1)), 0, passed_over=1),
    ]  # fmt: skip


CASES = count_cases() + time_cases() + line_cases() + name_cases() + table_cases() + file_cases()


def test_there_are_enough_cases_and_each_has_a_name() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
    assert len(names) >= 100


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input(case: Case, tmp_path: Path) -> None:
    format_ = FORMATS[case.format]
    settings = settings_for(tmp_path, format_.kind, format_.options)
    (tmp_path / "logs" / "a.log").write_bytes(case.content)
    load(settings)
    with opened(settings) as query:
        ((status, message, accepted, rejected, passed_over),) = query(
            "select status, message, record_count, rejected_count, passed_over_count from raw.usage_files"
        )
        found = query(
            "select reason, field, parse_filename(first_location), detail, occurrences from raw.rejected_records "
            "order by reason"
        )
        kept = query("select count(*) from raw.requests")
        said = query(case.sql) if case.sql is not None else []
    assert (status, accepted, passed_over or 0) == (case.status, case.accepted, case.passed_over)
    if case.message is not None:
        assert message == case.message
    places = [(reason, name, place.removeprefix("a.log").removeprefix(", ")) for reason, name, place, *_ in found]
    assert places == list(case.rejects)
    assert [detail for *_, detail, _ in found] == [None] * len(found)
    # Every reject of the cases is one record, unless the case says how many.
    assert rejected == sum(count for *_, count in found)
    if case.rejected is not None or case.status == "loaded":
        assert rejected == (len(case.rejects) if case.rejected is None else case.rejected)
    assert kept == [(0 if case.status == "refused" else accepted,)]
    assert said == case.expected


# --- files that are no files ----------------------------------------------------------------------------------------


def made(root: Path) -> Any:
    settings = settings_for(root, "litellm")
    (root / "logs" / "good.log").write_bytes(as_lines(litellm(1)))
    return settings


def test_what_is_no_file_is_passed_by(tmp_path: Path) -> None:
    """Opening a FIFO would wait for ever."""
    settings = made(tmp_path)
    os.mkfifo(tmp_path / "logs" / "fifo.log")
    (tmp_path / "logs" / "folder.log").mkdir()
    (tmp_path / "logs" / "dangling.log").symlink_to(tmp_path / "nowhere")
    (tmp_path / "logs" / "circle.log").symlink_to(tmp_path / "logs" / "circle.log")
    (tmp_path / "logs" / "empty.log").touch()
    result = load(settings)
    assert (result.record_count, result.problems) == (1, [])


def test_links_are_followed_inside_the_folder_of_the_ledger_only(tmp_path: Path) -> None:
    """Who may write into the folder of logs must not have other files of the machine read."""
    outside = tmp_path / "outside.log"
    outside.write_bytes(as_lines(litellm(9)))
    root = tmp_path / "root"
    root.mkdir()
    settings = made(root)
    (root / "kept.jsonl").write_bytes(as_lines(litellm(2)))
    (root / "logs" / "inside.log").symlink_to(root / "kept.jsonl")
    (root / "logs" / "same.log").symlink_to(root / "logs" / "good.log")
    (root / "logs" / "out.log").symlink_to(outside)
    result = load(settings)
    assert result.record_count == 2
    assert [problem.split("/")[-1] for problem in result.problems] == [
        "out.log was not read: link_leads_out_of_the_folder"
    ]


def test_a_file_that_must_not_be_read_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    settings = made(tmp_path)
    (tmp_path / "logs" / "shut.log").write_bytes(as_lines(litellm(2)))
    (tmp_path / "logs" / "shut.log").chmod(0)
    result = load(settings)
    assert result.record_count == 1
    assert result.problems[0].endswith("shut.log was not read: no_readable_first_line")


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_rotated_away_while_it_is_read_stops_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the listing of the folder and the reading; the next run finds it under its new name."""
    from orchestration.serving_logs import files

    format_ = FORMATS[name]
    settings = settings_for(tmp_path, format_.kind, format_.options)
    for number in (1, 2):
        (tmp_path / "logs" / f"{number}.log").write_bytes(format_.encode(format_.record(number)))
    listed = files._log_identity

    def rotate(path: Path, *rest: Any) -> str | None:
        identity = listed(path, *rest)
        if path.name == "2.log":
            path.rename(path.with_name("2.log.1"))
        return identity

    monkeypatch.setattr(files, "_log_identity", rotate)
    result = load(settings)
    assert (result.record_count, result.refused_file_count) == (1, 1)
    monkeypatch.setattr(files, "_log_identity", listed)
    load(settings)
    assert rows(settings, "select count(*), count(distinct request_id) from raw.requests") == [(2, 2)]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("at", [0.3, 0.7, 0.95])
def test_an_archive_cut_short_keeps_what_came_before(name: str, at: float, tmp_path: Path) -> None:
    format_ = FORMATS[name]
    archive = gzip.compress(format_.encode(*(format_.record(number) for number in range(3000))), compresslevel=1)
    settings = settings_for(tmp_path, format_.kind, format_.options)
    log = tmp_path / "logs" / "a.log.gz"
    log.write_bytes(archive[: int(len(archive) * at)])
    load(settings)
    ((status, message, kept),) = rows(settings, "select status, message, record_count from raw.usage_files")
    assert (status, message) == ("partial", "archive_cut_short")
    assert 3000 * at * 0.7 < kept < 3000 * min(1, at * 1.3)
    # The rest arrives.
    log.write_bytes(archive)
    load(settings)
    assert rows(settings, "select count(*), count(distinct request_id) from raw.requests") == [(3000, 3000)]


@pytest.mark.parametrize("name", FORMATS)
def test_a_zstd_file_cut_short_keeps_what_came_before(name: str, tmp_path: Path) -> None:
    """DuckDB reads it up to the cut without a word; only the last record tells."""
    if shutil.which("zstd") is None:
        pytest.skip("needs the zstd command to write an archive")
    format_ = FORMATS[name]
    settings = settings_for(tmp_path, format_.kind, format_.options)
    plain = format_.encode(*(format_.record(number) for number in range(5000)))
    packed = subprocess.run(["zstd", "-qc", "-1"], input=plain, capture_output=True, check=True).stdout
    (tmp_path / "logs" / "a.zst").write_bytes(packed[: len(packed) // 2])
    load(settings)
    ((kept, rejected),) = rows(settings, "select record_count, rejected_count from raw.usage_files")
    assert 500 < kept < 4900
    assert rejected <= 1
    (tmp_path / "logs" / "a.zst").write_bytes(packed)
    load(settings)
    assert rows(settings, "select count(*), count(distinct request_id) from raw.requests") == [(5000, 5000)]


@pytest.mark.parametrize("name", FORMATS)
def test_a_growing_file_is_read_to_its_last_whole_record_and_then_whole(name: str, tmp_path: Path) -> None:
    format_ = FORMATS[name]
    whole = format_.encode(*(format_.record(number) for number in range(4)))
    cut_in_third = len(format_.encode(*(format_.record(number) for number in range(2)))) + 20
    settings = settings_for(tmp_path, format_.kind, format_.options)
    log = tmp_path / "logs" / "a.log"
    ids: set[Any] = set()
    for length, expected in ((cut_in_third, 2), (len(whole), 4)):
        log.write_bytes(whole[:length])
        load(settings)
        found = {row[0] for row in rows(settings, "select request_id from raw.requests")}
        assert len(found) == expected
        assert ids <= found
        ids = found
    assert rows(settings, "select count(*) from raw.rejected_records") == [(0,)]


# --- privacy --------------------------------------------------------------------------------------------------------

CANARIES = {
    "prompt": "CANARYPROMPT tell me a secret",
    "reply": "CANARYREPLY here it is",
    "key": "sk-CANARYKEY0123456789abcdef",
    "e-mail": "canary.mail@example.com",
    "address": "203.0.113.77",
}
# Fields that name a model or a tenant. A tenant's name passes unless it looks like an e-mail address.
NAMES_OF = re.compile(
    r"^(model|model_group|model_id|Model name|Team|team_id|user_api_key_team_id|genai_model_name(_override)?"
    r"|service\.name|gen_ai\.(request|response)\.model)$"
)
TENANTS = re.compile(r"^(Team|team_id|user_api_key_team_id)$")


def planted(value: Any, canary: str, name: str = "") -> Any:
    """The record with the canary in every text, in every field that is null and in a field of its own."""
    if isinstance(value, dict):
        if set(value) == {"key", "value"}:
            return {"key": value["key"], "value": planted(value["value"], canary, value["key"])}
        inner = name if name.startswith(("gen_ai.", "service.", "k8s.")) else ""
        own = {} if inner else {"canary": canary}
        return {key: planted(item, canary, inner or key) for key, item in value.items()} | own
    if isinstance(value, list):
        return [planted(item, canary, name) for item in value]
    if NAMES_OF.match(name):
        return value
    if isinstance(value, str) and value.startswith("{"):
        return json.dumps(planted(json.loads(value), canary))
    return canary if isinstance(value, str) or value is None else value


def times_kept(name: str, record: Record, number: int) -> Record:
    """A planted record has no readable time or id any more; these are put back, so that it is loaded."""
    original = FORMATS[name].record(number)
    if name == "otlp":
        kept = record["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
        source = original["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
        for key in ("startTimeUnixNano", "endTimeUnixNano", "name"):
            kept[key] = source[key]
        for attribute, before in zip(kept["attributes"], source["attributes"], strict=True):
            if "usage" in before["key"]:
                attribute["value"] = before["value"]
        return record
    for key in (
        "startTime",
        "endTime",
        "completionStartTime",
        "When",
        "start_time",
        "created_at",
        "timestamp",
        "event",
    ):
        if key in original:
            record[key] = original[key]
    return record


@pytest.mark.parametrize("way", ["as it is", "in a cut archive", "beside broken lines"])
@pytest.mark.parametrize("name", FORMATS)
def test_nothing_private_reaches_disk_or_log(
    name: str, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A canary of each sort in every field, allow-listed or not, but those that name a model or tenant."""
    caplog.set_level(logging.DEBUG)
    format_ = FORMATS[name]
    records = [
        times_kept(name, planted(format_.record(number), canary), number)
        for number, canary in enumerate([*CANARIES.values()] * 40)
    ]
    content = format_.encode(*records)
    if way == "in a cut archive":
        content = gzip.compress(content)[:-30]
    elif way == "beside broken lines":
        for canary in CANARIES.values():
            bad = [record for record in map(copy.deepcopy, records[:1])]
            half = format_.encode(*(planted(record, canary) for record in bad)).splitlines()[-1]
            content += half + b"\n" + half[: len(half) // 2] + b"\n" + canary.encode() + b'"{\n'
    settings = settings_for(tmp_path, format_.kind, format_.options)
    (tmp_path / "logs" / "a.log").write_bytes(content)
    result = load(settings)
    assert result.record_count > (100 if way == "in a cut archive" else 150), result
    seen = {"log": caplog.text, "output": "".join(capfd.readouterr()), "result": repr(result)}
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            seen[str(path)] = path.read_bytes().decode("latin-1")
    # Rows as they are read, for columns that the file keeps compressed.
    for table in ("requests", "rejected_records", "usage_files"):
        seen[table] = repr(rows(settings, f"select * from raw.{table}"))
    for place, text in seen.items():
        for sort, canary in CANARIES.items():
            for part in (canary, canary.split()[0]):
                assert part not in text, (place, sort)


@pytest.mark.parametrize("name", ["litellm", "spend_logs", "spend_logs_csv", "requests", "requests_csv"])
def test_a_tenant_that_is_an_address_is_kept_as_a_digest(name: str, tmp_path: Path) -> None:
    format_ = FORMATS[name]
    path = {"litellm": "metadata/user_api_key_team_id"}.get(name, "team_id" if name.startswith("spend") else "Team")
    settings = settings_for(tmp_path, format_.kind, format_.options)
    (tmp_path / "logs" / "a.log").write_bytes(format_.encode(changed(name, path, CANARIES["e-mail"])))
    load(settings)
    # printf canary.mail@example.com | sha256sum
    assert rows(settings, "select tenant from raw.requests") == [("sha256:34ef837754a12712",)]
    for file in (tmp_path / "data").rglob("*"):
        if file.is_file():
            assert b"canary.mail" not in file.read_bytes(), file
