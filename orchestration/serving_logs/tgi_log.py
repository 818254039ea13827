"""Text Generation Inference: the router's log of each call, as text or JSON. It has times and no tokens."""

import re
from collections.abc import Iterator
from typing import Any

from orchestration.serving_logs.fields import Fields, instant
from orchestration.serving_logs.files import LogFile
from orchestration.serving_logs.requests import RequestFormat
from orchestration.serving_logs.text_lines import LineReject, TextLine, TextLog, parsed_object
from orchestration.serving_logs.text_requests import LineRecord, TextRequestReader
from orchestration.settings import UsageSource

_FIELDS: Fields = {"logged_at": None, "call": None, "status": None, "total_time": None}

# A call that was answered states how long it took; the router's errors stand in the span of their call.
_MARKS = (b"total_time", b"ERROR")

# Spans of calls. Others (warm-up, health, shards) serve nobody.
_CALLS = (
    "(?:compat_generate|generate_stream|generate|chat_completions|completions|"
    "vertex_compatibility|sagemaker_compatibility)"
)

# The span is not read: `parameters` may hold the caller's own words (stop sequences, a grammar). Inside a text its
# quotes are escaped, so `total_time="` is the router's own.
_TEXT = re.compile(
    rf"(?:(\d{{4}}-\d\d-\d\dT\S{{8,24}}) )? *(INFO|ERROR) (?:HTTP request\{{[^{{}}]*\}}:)?({_CALLS})[{{:]"
)
_TOTAL_TIME = re.compile(r'[{ ]total_time="([^"]{1,40})"')
_ANSWERED = re.compile(r": router/src/[\w/.-]{1,80}:\d{1,6}: Success$")
# As Rust writes a duration: `1.5s`, `735.200735ms`, `955.594µs` (or u), `12ns`.
_DURATION = r"(\d{1,9}(?:\.\d{1,12})?)(s|ms|µs|μs|us|ns)"


def _microseconds(name: str) -> str:
    """SQL: such a duration of at most a day; null for anything else."""
    number = f"try_cast(regexp_extract({name}, '^{_DURATION}$', 1) as double)"
    unit = f"regexp_extract({name}, '^{_DURATION}$', 2)"
    scale = f"case {unit} when 's' then 1e6 when 'ms' then 1e3 when 'ns' then 1e-3 when '' then null else 1 end"
    product = f"{number} * {scale}"
    return f"case when {product} between 0 and 86400e6 then to_microseconds(cast(round({product}) as bigint)) end"


_LOGGED_AT = instant("logged_at")

_CALLS_LOGGED = RequestFormat(
    fields=_FIELDS,
    stated={
        "status": "status",
        # The router does not say them; they are in its metrics and in its reply.
        "prompt_tokens": "cast(null as varchar)",
        "completion_tokens": "cast(null as varchar)",
        "started_at": f"case when status = 'failure' then {_LOGGED_AT} "
        f"else {_LOGGED_AT} - {_microseconds('total_time')} end",
        "completed_at": _LOGGED_AT,
    },
    marks=("call",),
    time="logged_at",
    by_position=True,
)


def _records(log: TextLog, file: LogFile, source: UsageSource) -> Iterator[LineRecord | LineReject]:
    for line in log:
        found = _of_json(line) if line.text.startswith("{") else _of_text(line)
        if found is not None:
            yield found


def _of_text(line: TextLine) -> LineRecord | LineReject | None:
    start = _TEXT.match(line.text)
    if start is None:
        return None
    if not line.is_whole:
        return LineReject(line.number, "line_cut_short")
    stamp = start[1] or (line.stamped_at.isoformat() if line.stamped_at else None)
    if start[2] == "ERROR":
        return LineRecord(line.number, (stamp, start[3], "failure", None))
    if not _ANSWERED.search(line.text):
        return None
    time = _TOTAL_TIME.search(line.text)
    return LineRecord(line.number, (stamp, start[3], "success", time[1] if time else None))


def _of_json(line: TextLine) -> LineRecord | LineReject | None:
    content = parsed_object(line.text)
    if not content:
        if not line.text.startswith('{"timestamp"'):
            return None
        return LineReject(line.number, "malformed_json" if line.is_whole else "line_cut_short")
    span: Any = content.get("span")
    call = span.get("name") if isinstance(span, dict) else None
    level = content.get("level")
    if not isinstance(call, str) or not re.fullmatch(_CALLS, call):
        return None
    if not line.is_whole:
        return LineReject(line.number, "line_cut_short")
    stamp = _short(content.get("timestamp")) or (line.stamped_at.isoformat() if line.stamped_at else None)
    if level == "ERROR":
        return LineRecord(line.number, (stamp, call, "failure", None))
    if level != "INFO" or content.get("message") != "Success":
        return None
    return LineRecord(line.number, (stamp, call, "success", _short(span.get("total_time"))))


def _short(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= 40 else None


def _format(source: UsageSource) -> RequestFormat:
    return _CALLS_LOGGED


TGI_LOG = TextRequestReader(_format, _MARKS, _records)
