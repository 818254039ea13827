"""Hand-written records of every request-level format, in the shape of the recordings and the documentation.

`START` is 2026-11-22T00:00:00Z. Each record has 100 prompt and 10 output tokens, and lasts two seconds.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from orchestration.settings import Settings, load_settings
from orchestration.warehouse import UsageResult, Warehouse, load_usage

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
START = 1795305600
Record = dict[str, Any]


def iso(number: int, *, after: float = 0) -> str:
    return (datetime.fromtimestamp(START, UTC) + timedelta(seconds=number + after)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def litellm(number: int) -> Record:
    return {
        "id": f"chatcmpl-{number}",
        "litellm_call_id": f"call-{number}",
        "trace_id": f"trace-{number}",
        "call_type": "acompletion",
        "status": "success",
        "stream": False,
        "cache_hit": None,
        "startTime": START + number + 0.25,
        "endTime": START + number + 2.25,
        "completionStartTime": START + number + 1.0,
        "model": "hosted_vllm/acme/qwen3-32b",
        "model_group": "qwen3-32b",
        "model_id": "replica-1",
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "total_tokens": 110,
        "response_cost": 0.001,
        "api_base": "http://vllm:8000/v1",
        "end_user": "u",
        "requester_ip_address": None,
        "messages": [{"role": "user", "content": "p"}],
        "response": {"choices": [{"message": {"content": "r"}}]},
        "metadata": {
            "user_api_key_team_id": "team-search",
            "user_api_key_hash": "h",
            "usage_object": {
                "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
        },
    }


def spend_log(number: int) -> Record:
    start = datetime.fromtimestamp(START + number, UTC).replace(tzinfo=None)
    return {
        "request_id": f"chatcmpl-{number}",
        "call_type": "acompletion",
        "api_key": "h",
        "spend": 0.001,
        "total_tokens": 110,
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "startTime": f"{start} ".strip(),
        "endTime": str(start + timedelta(seconds=2)),
        "completionStartTime": str(start + timedelta(seconds=1)),
        "model": "hosted_vllm/acme/qwen3-32b",
        "model_id": "replica-1",
        "model_group": "qwen3-32b",
        "user": "",
        "metadata": json.dumps(
            {"user_api_key_team_id": None, "usage_object": {"prompt_tokens_details": {"cached_tokens": 64}}}
        ),
        "cache_hit": "None",
        "request_tags": "[]",
        "team_id": "team-search",
        "end_user": "",
        "requester_ip_address": None,
        "messages": "{}",
        "response": "{}",
        "status": "success",
        "litellm_call_id": f"call-{number}",
    }


def attributes(values: Mapping[str, object]) -> list[Record]:
    def value(item: object) -> Record:
        if isinstance(item, dict):
            return item
        if isinstance(item, bool):
            return {"boolValue": item}
        if isinstance(item, int):
            return {"intValue": str(item)}
        return {"doubleValue": item} if isinstance(item, float) else {"stringValue": item}

    return [{"key": key, "value": value(item)} for key, item in values.items()]


def span(number: int, changes: Mapping[str, object] | None = None, **parts: object) -> Record:
    """`changes` of attributes; None takes one away."""
    values: dict[str, object] = {
        "gen_ai.latency.time_to_first_token": 0.75,
        "gen_ai.usage.prompt_tokens": 100,
        "gen_ai.usage.completion_tokens": 10,
        "gen_ai.request.id": f"chatcmpl-{number}",
        **(changes or {}),
    }
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "llm_request",
        "kind": 2,
        "startTimeUnixNano": str((START + number) * 10**9),
        "endTimeUnixNano": str((START + number + 2) * 10**9),
        "attributes": attributes({key: value for key, value in values.items() if value is not None}),
        "status": {},
        **parts,
    }


def spans(*found: object) -> Record:
    resource = {"service.name": "qwen3-32b", "k8s.pod.name": "vllm-0"}
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": attributes(resource)},
                "scopeSpans": [{"scope": {"name": "vllm.tracing.otel"}, "spans": list(found)}],
            }
        ]
    }


def otlp(number: int) -> Record:
    return spans(span(number))


def sglang(number: int) -> Record:
    """A line of --export-metrics-to-file."""
    return {
        "request_parameters": json.dumps({"text": "p"}),
        "id": f"rid-{number}",
        "finish_reason": {"type": "stop", "matched": 2},
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "cached_tokens": 64,
        "reasoning_tokens": 3,
        "weight_version": "default",
        "dp_rank": 1,
        "e2e_latency": 2.0,
        "request_received_ts": START + number + 0.0,
        "first_token_latency": 0.5,
        "response_sent_to_client_ts": START + number + 2.0,
    }


def sglang_log(number: int) -> Record:
    """What --log-requests writes behind its prefix, in UTC here."""
    ended = datetime.fromtimestamp(START + number + 2, UTC).replace(tzinfo=None)
    meta = {
        key: value for key, value in sglang(number).items() if not key.endswith("_ts") and key != "request_parameters"
    }
    return {
        "timestamp": ended.isoformat(),
        "event": "request.finished",
        "rid": f"rid-{number}",
        "obj": {"text": "p", "sampling_params": {}},
        "out": {"text": "r", "meta_info": meta},
    }


def envoy(number: int) -> Record:
    return {
        "start_time": iso(number),
        "duration": 2000,
        "response_code": 200,
        "response_flags": "-",
        "genai_model_name": "qwen3-32b",
        "genai_model_name_override": None,
        "genai_tokens_input": 100,
        "genai_tokens_output": 10,
        "genai_tokens_total": 110,
        "x-request-id": f"req-{number}",
        "upstream_host": "vllm-0.serving:8000",
        "x-forwarded-for": "-",
        "user-agent": "curl/8.7.1",
    }


def ollama(number: int) -> Record:
    return {
        "model": "qwen3:32b",
        "created_at": iso(number, after=2),
        "message": {"role": "assistant", "content": "r"},
        "done": True,
        "done_reason": "stop",
        "total_duration": 2_000_000_000,
        "load_duration": 250_000_000,
        "prompt_eval_count": 100,
        "prompt_eval_duration": 500_000_000,
        "eval_count": 10,
        "eval_duration": 1_000_000_000,
    }


def generic(number: int) -> Record:
    return {
        "When": iso(number),
        "Model name": "qwen3-32b",
        "Team": "team-search",
        "In": 100,
        "Out": 10,
        "Seconds": 2.0,
        "Prompt": "p",
    }


GENERIC_COLUMNS = (
    "columns: {started_at: When, model: Model name, tenant: Team, prompt_tokens: In, completion_tokens: Out, "
    "duration_seconds: Seconds}"
)


def as_lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def as_log(*records: object) -> bytes:
    return b"".join(b"[2026-11-22 00:00:00] " + json.dumps(record).encode() + b"\n" for record in records)


def as_csv(*records: Record) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue().encode()


@dataclass(frozen=True)
class Format:
    """A format under test: its kind, what else the ledger says, and how a record and a file are made."""

    kind: str
    record: Callable[[int], Record]
    encode: Callable[..., bytes] = as_lines
    options: str = ""


FORMATS = {
    "litellm": Format("litellm", litellm),
    "spend_logs": Format("litellm_spend_logs", spend_log),
    "spend_logs_csv": Format("litellm_spend_logs", spend_log, as_csv),
    "otlp": Format("otlp_spans", otlp),
    "sglang": Format("sglang_requests", sglang),
    "sglang_log": Format("sglang_requests", sglang_log, as_log),
    "envoy": Format("envoy_ai_gateway", envoy),
    "ollama": Format("ollama", ollama),
    "requests": Format("requests", generic, as_lines, GENERIC_COLUMNS),
    "requests_csv": Format("requests", generic, as_csv, GENERIC_COLUMNS),
}


def settings_for(root: Path, kind: str, options: str = "", path: str = "logs/*") -> Settings:
    (root / "logs").mkdir(exist_ok=True)
    (root / "ledger.yaml").write_text(
        "fleet:\n  - {deployment: d, model: m, provider: aws, region: r, instance_type: t, replicas: 1,\n"
        "     pricing: {model: on_demand}, from: 2020-01-01}\n"
        f"usage:\n  - {{name: src, kind: {kind}, path: '{path}', deployment: d{', ' + options if options else ''}}}\n",
        encoding="utf-8",
    )
    return load_settings(root / "ledger.yaml", root / "data")


def load(settings: Settings) -> UsageResult:
    with Warehouse(settings.warehouse_path).connect() as con:
        return load_usage(con, settings.ledger.usage[0], settings, now=NOW, work_dir=settings.data_dir / "tmp")


@contextmanager
def opened(settings: Settings) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """Reads the warehouse by several statements."""
    with duckdb.connect(str(settings.warehouse_path)) as con:
        con.execute("set timezone = 'UTC'")
        yield lambda sql: con.execute(sql).fetchall()


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with opened(settings) as query:
        return query(sql)


def read_as(root: Path, kind: str, content: bytes, options: str = "", sql: str = "select * from raw.requests") -> Any:
    """Loads one file and returns the rows of `sql`."""
    settings = settings_for(root, kind, options)
    (root / "logs" / "a.log").write_bytes(content)
    load(settings)
    return rows(settings, sql)
