"""Request-level logs, format by format: what each field becomes, and the recordings to the token."""

import gzip
import json
import re
import shutil
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from orchestration.settings import ConfigError, load_settings
from tests.request_logs import (
    FORMATS,
    GENERIC_COLUMNS,
    START,
    as_csv,
    as_lines,
    as_log,
    envoy,
    generic,
    load,
    ollama,
    read_as,
    rows,
    settings_for,
    sglang_log,
    span,
    spans,
    spend_log,
)

CALL = (
    "select prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, epoch(started_at), epoch(completed_at), "
    "epoch(first_token_at), status, model, model_group, tenant, replica_hint from raw.requests"
)
# What the hand-written record 7 of each format says, in the order of CALL.
EXPECTED = {
    "litellm": (
        100, 10, 64, 3, START + 7.25, START + 9.25, START + 8.0, "success", "hosted_vllm/acme/qwen3-32b", "qwen3-32b",
        "team-search", None,
    ),
    "spend_logs": (
        100, 10, 64, None, START + 7, START + 9, START + 8, "success", "hosted_vllm/acme/qwen3-32b", "qwen3-32b",
        "team-search", None,
    ),
    "otlp": (
        100, 10, None, None, START + 7, START + 9, START + 7.75, "success", "qwen3-32b", None, None, "vllm-0",
    ),
    "sglang": (100, 10, 64, 3, START + 7, START + 9, START + 7.5, "success", None, None, None, "dp1"),
    "envoy": (
        100, 10, None, None, START + 7, START + 9, None, "success", "qwen3-32b", "qwen3-32b", None,
        "vllm-0.serving:8000",
    ),
    "ollama": (100, 10, None, None, START + 7, START + 9, START + 8, "success", "qwen3:32b", None, None, None),
    "requests": (
        100, 10, None, None, START + 7, START + 9, None, "success", "qwen3-32b", None, "team-search", None,
    ),
}  # fmt: skip
EXPECTED |= {
    "spend_logs_csv": EXPECTED["spend_logs"],
    "sglang_log": EXPECTED["sglang"],
    "requests_csv": EXPECTED["requests"],
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_field_of_each_format(name: str, tmp_path: Path) -> None:
    format_ = FORMATS[name]
    found = read_as(tmp_path, format_.kind, format_.encode(format_.record(7)), format_.options, CALL)
    assert found == [EXPECTED[name]]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("packing", ["plain", "gzip", "gzip in parts", "zstd", "marked", "no last newline", "crlf"])
def test_packed_in_whatever_way_the_rows_are_the_same(name: str, packing: str, tmp_path: Path) -> None:
    format_ = FORMATS[name]
    plain = format_.encode(*(format_.record(number) for number in range(3)))
    first_line = plain.index(b"\n") + 1
    content = {
        "plain": plain,
        "gzip": gzip.compress(plain),
        "gzip in parts": gzip.compress(plain[:first_line]) + gzip.compress(plain[first_line:]),
        "zstd": zstd(plain),
        "marked": b"\xef\xbb\xbf" + plain,
        "no last newline": plain.removesuffix(b"\n"),
        "crlf": plain.replace(b"\n", b"\r\n"),
    }[packing]
    found = read_as(tmp_path, format_.kind, content, format_.options, f"{CALL} order by started_at")
    assert len(found) == 3
    assert [row[:2] for row in found] == [(100, 10)] * 3
    assert found[0][7:] == EXPECTED[name][7:]


def zstd(content: bytes) -> bytes:
    if shutil.which("zstd") is None:
        pytest.skip("needs the zstd command to write an archive")
    return subprocess.run(["zstd", "-qc"], input=content, capture_output=True, check=True).stdout


# --- recordings -----------------------------------------------------------------------------------------------------


def test_recorded_engine_spans_to_the_token(samples: Path, tmp_path: Path) -> None:
    """vLLM 0.32.0, recorded 2026-11-23; usage.md 0.2: p1 has 105 spans, 41,133 / 6,417 tokens, n = 2 counted twice."""
    content = next((samples / "usage").rglob("otel_llm_request_spans.otlp.jsonl")).read_bytes()
    ids = {
        attribute["value"]["stringValue"]
        for line in content.splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for found in scope["spans"]
        for attribute in found["attributes"]
        if attribute["key"] == "gen_ai.request.id" and "-p1-" in attribute["value"]["stringValue"]
    }
    assert len(ids) == 96
    p1 = ", ".join(f"cast(md5_number('{name}') as uuid)" for name in ids)
    settings = settings_for(tmp_path, "otlp_spans")
    (tmp_path / "logs" / "spans.jsonl").write_bytes(content)
    result = load(settings)
    assert (result.record_count, result.rejected_count) == (157, 0)
    assert rows(settings, "select passed_over_count from raw.usage_files") == [(0,)]
    sums = "select count(*), count(distinct request_id), sum(prompt_tokens), sum(completion_tokens) from raw.requests"
    assert rows(settings, f"{sums} where call_id in ({p1})") == [(105, 105, 41133, 6417)]
    assert rows(settings, "select distinct model, replica_hint from raw.requests") == [("vllm-tiny", "tiny-llama-0")]


def test_recorded_spend_log(samples: Path, tmp_path: Path) -> None:
    """LiteLLM's own test data of 2025-01-24, naive UTC stamps."""
    content = (samples / "usage" / "litellm" / "spend_logs_payload_2025-01-24.json").read_bytes()
    columns = "prompt_tokens, completion_tokens, model, tenant, status, started_at, token_basis"
    found = read_as(tmp_path, "litellm_spend_logs", content, sql=f"select {columns} from raw.requests")
    at = datetime(2025, 1, 24, 9, 20, 46, 847371, UTC)
    assert found == [(10, 20, "gpt-4o", None, "success", at, None)]


def test_recorded_azure_trace(samples: Path, tmp_path: Path) -> None:
    """8,819 rows, 18.06 M context and 0.246 M generated tokens; CRLF, no last newline, 7-digit fractions, no zone."""
    content = (samples / "usage" / "azure-llm" / "AzureLLMInferenceTrace_code.csv").read_bytes()
    options = "columns: {started_at: TIMESTAMP, prompt_tokens: ContextTokens, completion_tokens: GeneratedTokens}"
    sql = (
        "select count(*), count(distinct request_id), round(sum(prompt_tokens) / 1e6, 2), "
        "round(sum(completion_tokens) / 1e6, 3), min(started_at), max(started_at) from raw.requests"
    )
    first, last = datetime(2023, 11, 16, 18, 17, 3, 979960, UTC), datetime(2023, 11, 16, 19, 14, 19, 928016, UTC)
    assert read_as(tmp_path, "requests", content, options, sql) == [(8819, 8819, 18.06, 0.246, first, last)]


def test_recorded_burstgpt_of_either_release(samples: Path, tmp_path: Path) -> None:
    """Release 3 has two more columns in the middle: columns are found by name. Seconds since a local midnight."""
    options = (
        "time_unit: s, time_origin: 2025-01-01, no_output_means_failure: true, columns: {started_at: Timestamp, "
        "model: Model, prompt_tokens: Request tokens, completion_tokens: Response tokens}"
    )
    settings = settings_for(tmp_path, "requests", options)
    for path in (samples / "usage" / "burstgpt").iterdir():
        shutil.copy(path, tmp_path / "logs")
    assert load(settings).rejected_count == 0
    columns = "epoch(started_at) - 1735689600, model, prompt_tokens, completion_tokens, status"
    assert rows(settings, f"select {columns} from raw.requests order by 1") == [
        (5, "ChatGPT", 472, 18, "success"),
        (45, "ChatGPT", 1087, 230, "success"),
        (118, "GPT-4", 417, 276, "success"),
        (19440110, "GPT-4", 906, 446, "success"),
    ]


def test_recorded_envoy_line(samples: Path, tmp_path: Path) -> None:
    """Envoy AI Gateway's documentation, 2025-08-30. The pod's address is kept as a digest, without its port."""
    (path,) = (samples / "usage" / "gateway").glob("*.jsonl")
    columns = "prompt_tokens, completion_tokens, model, status, started_at, completed_at, replica_hint"
    (found,) = read_as(tmp_path, "envoy_ai_gateway", path.read_bytes(), sql=f"select {columns} from raw.requests")
    started, ended = datetime(2025, 8, 30, 16, 51, 37, 894000, UTC), datetime(2025, 8, 30, 16, 51, 39, 420000, UTC)
    assert found[:6] == (15, 7, "gpt-4o-mini", "success", started, ended)
    # printf 34.128.142.77 | sha256sum
    assert found[6] == "sha256:024b96ca00cfaaa4"


# --- spans ----------------------------------------------------------------------------------------------------------


def test_span_names_of_today_and_yesterday(tmp_path: Path) -> None:
    today = {
        "gen_ai.usage.input_tokens": 200,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "gen_ai.usage.cache_creation.input_tokens": 32,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "qwen3",
        "gen_ai.response.model": "qwen3-32b",
    }
    content = as_lines(spans(span(1, today, kind=3, name="chat qwen3"), span(2, kind="SPAN_KIND_CLIENT")))
    columns = (
        "prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, model, model_group"
    )
    sql = f"select {columns} from raw.requests order by started_at"
    assert read_as(tmp_path, "otlp_spans", content, "role: client", sql) == [
        (200, 20, 64, 32, 5, "qwen3-32b", "qwen3"),
        (100, 10, None, None, None, "qwen3-32b", None),
    ]


def test_spans_that_are_no_call_of_the_role_are_counted_not_rejected(tmp_path: Path) -> None:
    """A client span of the same call, an agent's sum, a span of another operation, one without token counts."""
    agent = {"gen_ai.operation.name": "invoke_agent"}
    none = {"gen_ai.usage.prompt_tokens": None, "gen_ai.usage.completion_tokens": None}
    found = [span(1), span(2, kind=3), span(3, agent, kind=3), span(4, name="Load model"), span(5, none)]
    for role, kept in (("engine_requests", 1), ("client", 2)):
        settings = settings_for(tmp_path, "otlp_spans", f"role: {role}")
        (tmp_path / "logs" / "a.jsonl").write_bytes(as_lines(spans(*found), {"resourceSpans": []}))
        load(settings)
        sql = "select record_count, rejected_count, passed_over_count from raw.usage_files"
        assert rows(settings, sql) == [(1, 0, 4)]
        assert rows(settings, "select epoch(started_at) from raw.requests") == [(START + kept,)]
        shutil.rmtree(settings.data_dir)


def test_n_answers_of_one_request_are_two_spans(tmp_path: Path) -> None:
    same = {"gen_ai.request.id": "chatcmpl-1"}
    content = as_lines(spans(span(1, same), span(2, same)))
    sql = "select count(distinct request_id), count(distinct call_id), sum(prompt_tokens) from raw.requests"
    assert read_as(tmp_path, "otlp_spans", content, sql=sql) == [(2, 1, 200)]


def test_trace_ids_of_either_case_are_one(tmp_path: Path) -> None:
    lower = span(1, traceId="cd92c0db86ba531ae10b0bce3fe85e08", spanId="969ecba361155bcb")
    upper = span(1, traceId="CD92C0DB86BA531AE10B0BCE3FE85E08", spanId="969ECBA361155BCB")
    sql = "select count(*), count(distinct request_id) from raw.requests"
    assert read_as(tmp_path, "otlp_spans", as_lines(spans(lower), spans(upper)), sql=sql) == [(2, 1)]


# --- the others -----------------------------------------------------------------------------------------------------


def test_a_reply_from_the_gateways_cache_says_so(tmp_path: Path) -> None:
    content = as_lines(
        *(spend_log(n) | {"cache_hit": hit} for n, hit in enumerate(["True", "False", "None", "", None]))
    )
    sql = "select token_basis from raw.requests order by started_at"
    assert read_as(tmp_path, "litellm_spend_logs", content, sql=sql) == [("gateway_cache",)] + [(None,)] * 4


@pytest.mark.parametrize("layout", ["array", "array over lines", "parquet", "parquet with typed columns"])
def test_spend_logs_as_array_and_table(layout: str, tmp_path: Path) -> None:
    records = [spend_log(number) for number in (7, 8)]
    if layout.startswith("parquet"):
        (tmp_path / "a.json").write_bytes(as_lines(*records))
        typed = '* replace ("startTime"::timestamp as "startTime")' if layout.endswith("columns") else "*"
        duckdb.execute(
            f"copy (select {typed} from read_json('{tmp_path}/a.json', columns = {{{columns_of(records[0])}}})) "
            f"to '{tmp_path}/a.parquet'"
        )
        content = (tmp_path / "a.parquet").read_bytes()
    else:
        content = json.dumps(records, indent=1 if layout.endswith("lines") else None).encode()
    found = read_as(tmp_path, "litellm_spend_logs", content, sql=f"{CALL} order by started_at")
    assert found[0] == EXPECTED["spend_logs"]
    assert len(found) == 2


def columns_of(record: dict[str, Any]) -> str:
    kinds = {int: "bigint", float: "double"}
    return ", ".join(f"'{name}': '{kinds.get(type(value), 'varchar')}'" for name, value in record.items())


def test_a_static_id_of_a_self_hosted_server_is_another_call(tmp_path: Path) -> None:
    """BerriAI/litellm#28376. Without a call id the start tells calls apart; a copy of the row has the same one."""
    same = {"request_id": "chatcmpl-1"}
    one, other = (
        {key: value for key, value in (spend_log(n) | same).items() if key != "litellm_call_id"} for n in (1, 2)
    )
    sql = "select count(*), count(distinct request_id), count(distinct call_id) from raw.requests"
    assert read_as(tmp_path, "litellm_spend_logs", as_lines(one, other, one), sql=sql) == [(3, 1, 2)]


def test_sglang_log_without_epochs_is_in_the_zone_of_the_source(tmp_path: Path) -> None:
    """`timestamp` is local: 2026-11-22T00:00:09 in Berlin is 2026-11-21T23:00:09Z; the call began 2 s before."""
    sql = "select started_at, completed_at, usage_date from raw.requests"
    assert read_as(tmp_path, "sglang_requests", as_log(sglang_log(7)), "time_zone: Europe/Berlin", sql) == [
        (datetime(2026, 11, 21, 23, 0, 7, tzinfo=UTC), datetime(2026, 11, 21, 23, 0, 9, tzinfo=UTC), date(2026, 11, 21))
    ]


def test_sglang_log_passes_over_what_is_no_finished_request(tmp_path: Path) -> None:
    """stdout mixes the records with other lines. A request aborted while queued has no counts."""
    received = {"timestamp": "2026-11-22T00:00:00", "event": "request.received", "rid": "r", "obj": {"text": "p"}}
    aborted = sglang_log(2)
    aborted["out"]["meta_info"] = {"id": "rid-2", "finish_reason": {"type": "abort"}, "e2e_latency": 1.0}
    content = as_log(received, sglang_log(1), aborted) + b"[2026-11-22 00:00:00] Decode batch, #running-req: 1\n"
    settings = settings_for(tmp_path, "sglang_requests")
    (tmp_path / "logs" / "host_0.log").write_bytes(content)
    assert load(settings).rejected_count == 0
    assert rows(settings, "select passed_over_count from raw.usage_files") == [(2,)]
    sql = "select status, prompt_tokens from raw.requests order by started_at"
    assert rows(settings, sql) == [("success", 100), ("failure", None)]


def test_envoy_fields_are_the_operators_own(tmp_path: Path) -> None:
    renamed = envoy(1)
    renamed["tokens in"] = renamed.pop("genai_tokens_input")
    renamed["cached"] = 64
    renamed["team"] = "search"
    options = "fields: {input_tokens: tokens in, cached_input_tokens: cached, tenant: team}"
    sql = "select prompt_tokens, cached_tokens, completion_tokens, tenant from raw.requests"
    assert read_as(tmp_path, "envoy_ai_gateway", as_lines(renamed), options, sql) == [(100, 64, 10, "search")]


def test_envoy_lines_of_no_model_are_passed_over_and_failures_stay(tmp_path: Path) -> None:
    empty = {name: None for name in envoy(0) if name.startswith("genai_")}
    failed = envoy(2) | {name: None for name in empty if name != "genai_model_name"} | {"response_code": 429}
    gone = envoy(3) | {"response_code": 0}  # the caller hung up
    settings = settings_for(tmp_path, "envoy_ai_gateway")
    (tmp_path / "logs" / "a.log").write_bytes(as_lines(envoy(1) | empty, failed, gone, envoy(4)))
    load(settings)
    counts = "select record_count, rejected_count, passed_over_count from raw.usage_files"
    assert rows(settings, counts) == [(3, 0, 1)]
    sql = "select status, prompt_tokens from raw.requests order by started_at"
    assert rows(settings, sql) == [("failure", None), ("failure", 100), ("success", 100)]


def test_envoy_attempts_with_one_id_are_told_apart_and_copies_are_not(tmp_path: Path) -> None:
    again = envoy(2) | {"x-request-id": "req-1"}
    sql = "select count(*), count(distinct request_id), count(distinct call_id) from raw.requests"
    assert read_as(tmp_path, "envoy_ai_gateway", as_lines(envoy(1), again, envoy(1)), sql=sql) == [(3, 1, 2)]


def test_ollama_counts_only_whole_replies(tmp_path: Path) -> None:
    """Chunks of a stream carry no counts; a prompt found in the cache has none, which is not zero."""
    chunk = {"model": "qwen3:32b", "created_at": "2026-11-22T00:00:01Z", "message": {"content": "r"}, "done": False}
    loaded = {"model": "qwen3:32b", "created_at": "2026-11-22T00:00:01Z", "done": True, "done_reason": "load"}
    cached = {key: value for key, value in ollama(2).items() if key != "prompt_eval_count"}
    settings = settings_for(tmp_path, "ollama")
    (tmp_path / "logs" / "a.jsonl").write_bytes(as_lines(chunk, ollama(1), loaded, cached))
    load(settings)
    counts = "select record_count, rejected_count, passed_over_count from raw.usage_files"
    assert rows(settings, counts) == [(2, 0, 2)]
    sql = "select prompt_tokens, completion_tokens from raw.requests order by started_at"
    assert rows(settings, sql) == [(100, 10), (None, 10)]


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ("", "1795305600", datetime(2026, 11, 22, tzinfo=UTC)),
        ("", "1795305600.5", datetime(2026, 11, 22, 0, 0, 0, 500000, UTC)),
        ("", "1795305600500", datetime(2026, 11, 22, 0, 0, 0, 500000, UTC)),
        ("", "1795305600000001", datetime(2026, 11, 22, 0, 0, 0, 1, UTC)),
        ("", "1795305600000001999", datetime(2026, 11, 22, 0, 0, 0, 1, UTC)),
        ("", "2026-11-22 01:00:00.1234567", datetime(2026, 11, 22, 1, 0, 0, 123456, UTC)),
        ("", "2026-11-22T01:00:00+05:30", datetime(2026, 11, 21, 19, 30, tzinfo=UTC)),
        ("time_unit: ms", "1795305600500", datetime(2026, 11, 22, 0, 0, 0, 500000, UTC)),
        ("time_unit: ns", "1795305600000001000", datetime(2026, 11, 22, 0, 0, 0, 0, UTC)),
        ("time_unit: ms, time_origin: 2026-11-20", "86400500", datetime(2026, 11, 21, 0, 0, 0, 500000, UTC)),
        ("time_unit: s, time_origin: '2026-11-20T06:00Z'", "0", datetime(2026, 11, 20, 6, tzinfo=UTC)),
        ("time_format: '%d/%b/%Y:%H:%M:%S %z'", "22/Nov/2026:01:00:00 +0200", datetime(2026, 11, 21, 23, tzinfo=UTC)),
        (
            "time_format: '%d.%m.%Y %H:%M', time_zone: Europe/Berlin",
            "22.11.2026 01:00",
            datetime(2026, 11, 22, tzinfo=UTC),
        ),
        ("time_zone: Europe/Berlin", "2026-11-22 01:00:00", datetime(2026, 11, 22, tzinfo=UTC)),
        ("time_zone: Europe/Berlin", "2026-11-22 01:00:00+00:00", datetime(2026, 11, 22, 1, tzinfo=UTC)),
        ("time_zone: Europe/Berlin", "2026-11-22 01:00:00Z", datetime(2026, 11, 22, 1, tzinfo=UTC)),
        # Clocks show 02:30 twice on 25 October 2026: the second one is 01:30Z. On 29 March they skip it.
        ("time_zone: Europe/Berlin", "2026-10-25 02:30:00", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        ("time_zone: Europe/Berlin", "2026-03-29 02:30:00", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
    ],
)
def test_instants_of_any_notation(options: str, text: str, expected: datetime, tmp_path: Path) -> None:
    content = as_csv(generic(1) | {"When": text})
    options = f"{GENERIC_COLUMNS}, {options}" if options else GENERIC_COLUMNS
    ((found,),) = read_as(tmp_path, "requests", content, options, "select started_at from raw.requests")
    assert abs((found - expected).total_seconds()) < (2e-6 if "ns" in options else 1e-9)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_tables_of_any_delimiter(delimiter: str, tmp_path: Path) -> None:
    content = as_csv(generic(7)).replace(b",", delimiter.encode())
    assert read_as(tmp_path, "requests", content, GENERIC_COLUMNS, CALL) == [EXPECTED["requests"]]


def test_two_equal_lines_are_two_calls_and_the_same_file_read_again_is_one(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "requests", GENERIC_COLUMNS)
    log = tmp_path / "logs" / "a.csv"
    log.write_bytes(as_csv(generic(1), generic(1)))
    load(settings)
    sql = "select request_id from raw.requests order by request_id"
    first = rows(settings, sql)
    assert len(set(first)) == 2
    log.rename(tmp_path / "logs" / "a.csv.1")  # rotated
    (tmp_path / "logs" / "copy.csv").write_bytes(as_csv(generic(1), generic(1)))  # and copied
    load(settings)
    assert rows(settings, sql) == first
    with (tmp_path / "logs" / "a.csv.1").open("ab") as grown:
        grown.write(as_csv(generic(2)).split(b"\n", 1)[1])
    load(settings)
    assert len(rows(settings, sql)) == 3
    assert set(first) < set(rows(settings, sql))


def test_two_tables_with_one_header_are_two_files(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "requests", GENERIC_COLUMNS)
    for number in (1, 2):
        (tmp_path / "logs" / f"{number}.csv").write_bytes(as_csv(generic(number)))
    load(settings)
    (tmp_path / "logs" / "1.csv").rename(tmp_path / "logs" / "9.csv")
    load(settings)
    assert rows(settings, "select count(*), count(distinct request_id) from raw.requests") == [(2, 2)]


def test_an_export_written_anew_replaces_what_it_held(tmp_path: Path) -> None:
    """A JSON array or Parquet file has no end that grows."""
    settings = settings_for(tmp_path, "requests", GENERIC_COLUMNS)
    for count in (2, 3):
        records = json.dumps([generic(number) for number in range(count)])
        (tmp_path / "logs" / "month.json").write_text(records)
        load(settings)
        assert rows(settings, "select count(*), count(distinct request_id) from raw.requests") == [(count, count)]


def test_position_is_the_same_on_either_way(tmp_path: Path) -> None:
    """A table without a fault goes a shorter way than one with; a bad line added later must not rename the others."""
    good = as_csv(*(generic(number) for number in range(300)))
    settings = settings_for(tmp_path, "requests", GENERIC_COLUMNS)
    (tmp_path / "logs" / "a.csv").write_bytes(good)
    load(settings)
    sql = "select request_id, epoch(started_at) from raw.requests order by 2"
    first = rows(settings, sql)
    assert len(first) == 300
    for added in (b"soon,m,t,1,1,1,p\n", b"soon,m\n"):  # the second breaks the table, so that it is read line by line
        (tmp_path / "logs" / "a.csv").write_bytes(good + added)
        assert load(settings).rejected_count == 1
        assert rows(settings, sql) == first


def test_records_keep_their_position_in_a_file_of_many_blocks(tmp_path: Path) -> None:
    """DuckDB reads blocks of a file in parallel and in any order; positions must not follow."""
    settings = settings_for(tmp_path, "requests", "columns: {started_at: t, prompt_tokens: i, completion_tokens: o}")
    path = tmp_path / "logs" / "a.jsonl"
    with path.open("w") as out:
        for number in range(200_000):
            out.write(f'{{"t": {START}, "i": {number}, "o": 1, "pad": "{"x" * 300}"}}\n')
    load(settings)
    (file_id,) = rows(settings, "select file_id from raw.usage_files")[0]
    misplaced = rows(
        settings,
        f"select count(*) from raw.requests "
        f"where request_id <> cast(md5_number('{file_id}|' || (prompt_tokens + 1)) as uuid)",
    )
    assert misplaced == [(0,)]


@given(
    st.lists(st.sampled_from(["good", "bad tokens", "half", "blank", "other"]), max_size=12),
    st.booleans(),
)
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_read_is_accepted_rejected_and_passed_over(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], ends: bool
) -> None:
    made = {
        "good": as_lines(ollama(1)),
        "bad tokens": as_lines(ollama(1) | {"eval_count": -1}),
        "half": b'{"model": "q\n',
        "blank": b"  \n",
        "other": as_lines({"model": "q", "done": False}),
    }
    # Good lines enough for the gate.
    content = b"".join(made[name] for name in lines) + made["good"] * (len(lines) + 1)
    content = content if ends else content[:-1]
    root = tmp_path_factory.mktemp("any")
    sql = "select record_count, rejected_count, passed_over_count from raw.usage_files"
    ((accepted, rejected, passed_over),) = read_as(root, "ollama", content, sql=sql)
    assert accepted == lines.count("good") + len(lines) + 1
    assert rejected == lines.count("bad tokens") + lines.count("half")
    assert passed_over == lines.count("other")


# --- ledger.yaml ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            "litellm",
            "time_zone: Europe/Berlin",
            "time_zone: kind litellm does not know it; kinds that do: sglang_requests",
        ),
        ("ollama", "columns: {started_at: a, prompt_tokens: b, completion_tokens: c}", "columns: kind ollama does not"),
        ("litellm", "role: client", "role: kind litellm speaks as gateway"),
        ("otlp_spans", "role: engine_log", "role: kind otlp_spans speaks as engine_requests or gateway or client"),
        ("sglang_requests", "time_zone: Middle/Earth", "'Middle/Earth' is no IANA time zone"),
        ("sglang_requests", "time_zone: ../etc", "'../etc' is no IANA time zone"),
        ("requests", "role: client", "columns: name at least started_at, prompt_tokens and completion_tokens"),
        ("requests", "columns: {when: a}", "columns"),
        ("requests", f"{GENERIC_COLUMNS}, time_format: '%Q'", "unknown %Q"),
        ("requests", f"{GENERIC_COLUMNS}, time_format: '%Y', time_unit: s", "give either time_format"),
        ("requests", f"{GENERIC_COLUMNS}, time_origin: 2025-01-01", "time_origin needs time_unit"),
        (
            "requests",
            "columns: {started_at: a, prompt_tokens: A, completion_tokens: c}",
            "differ in upper and lower case",
        ),
        ("envoy_ai_gateway", "fields: {tokens: a}", "fields"),
    ],
)
def test_a_mistake_in_the_ledger_is_told(kind: str, options: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_for(tmp_path, kind, options)
    assert message in str(caught.value)


def test_the_role_of_the_ledger_goes_with_the_routes(tmp_path: Path) -> None:
    from orchestration.warehouse import Warehouse, write_ledger

    for options, role in (("", "engine_requests"), ("role: client", "client")):
        settings = settings_for(tmp_path, "otlp_spans", options)
        with Warehouse(settings.warehouse_path).connect() as con:
            write_ledger(con, settings)
        assert rows(settings, "select role from raw.ledger_usage_routes") == [(role,)]


@pytest.mark.parametrize("page", sorted({entry.kind for entry in FORMATS.values()}))
def test_the_ledger_entries_of_the_documentation_are_read(page: str, tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "usage" / f"{page}.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\nusage:\n(.*?)```", text, flags=re.DOTALL)
    fleet = "".join(
        f"  - {{deployment: {name}, model: m, provider: aws, region: r, instance_type: t, replicas: 1,\n"
        "     pricing: {model: on_demand}, from: 2020-01-01}\n"
        for name in ("chat", "code")
    )
    (tmp_path / "ledger.yaml").write_text(f"fleet:\n{fleet}usage:\n{block}", encoding="utf-8")
    sources = load_settings(tmp_path / "ledger.yaml", tmp_path / "data").ledger.usage
    assert {source.kind for source in sources} == {page}
