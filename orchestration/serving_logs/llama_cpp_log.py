"""llama.cpp's server: the timings it logs at the end of each request. Its prompt count leaves out cached tokens."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orchestration.serving_logs.fields import Fields, instant
from orchestration.serving_logs.files import LogFile, scrape_time
from orchestration.serving_logs.requests import RequestFormat
from orchestration.serving_logs.text_lines import LineReject, TextLine, TextLog
from orchestration.serving_logs.text_requests import LineRecord, TextRequestReader
from orchestration.settings import UsageSource

_FIELDS: Fields = {
    "completed_at": None,
    "prompt_tokens": None,
    "eval_tokens": None,
    "eval_ms": None,
    "total_ms": None,
}

_MARKS = (b" time ", b"print_timing: ")

# What stands before a timing, of three generations: `print_timings: `, `INFO [ print_timings] `, and
# `slot print_timing: id  0 | task 7 | ` on the line itself or on the one before. `llama_perf_context_print: ` and
# `llama_print_timings: ` sum up a whole process: no call.
_BEFORE = (
    r"(?:\d{1,7}\.\d\d\.\d{3}\.\d{3} )?(?:[A-Z] )?"
    r"(?:print_timings: |INFO \[ *print_timings\] |slot +print_timing: id +-?\d+ \| task +-?\d+ \| )? *"
)
_MS = r" *= *(\d{1,12}(?:\.\d{1,6})?) ms"
_PROMPT = re.compile(rf"{_BEFORE}prompt eval time{_MS} / +(\d{{1,12}}) tokens")
_EVAL = re.compile(rf"{_BEFORE}(?:generation )?eval time{_MS} / +(\d{{1,12}}) (?:tokens|runs)")
_TOTAL = re.compile(rf"{_BEFORE}total time{_MS}")
_IS_TIMING = re.compile(rf"{_BEFORE}(?:prompt eval|(?:generation )?eval|total) time *=")
# Of a request whose lines have no stamp of their own, the line before them has.
_UPTIME = re.compile(r"(\d{1,7}\.\d\d\.\d{3}\.\d{3}) (?:[A-Z] )?")
_LAST_UPTIME = re.compile(rb"^(\d{1,7}\.\d\d\.\d{3}\.\d{3}) [^\n]*\n", re.MULTILINE)
# Builds of 2024 state the second in which they wrote the line.
_EPOCH = re.compile(r" timestamp=(\d{10})(?: |$)")


@dataclass(slots=True)
class _Timings:
    """What was read of one request so far. `number`: of its first line."""

    number: int
    prompt_tokens: str
    lines: int = 1
    eval_tokens: str | None = None
    eval_ms: str | None = None


@dataclass(frozen=True, slots=True)
class _Ended:
    """A request whose end is known by the server's uptime at most. `run`: how often the server was started before."""

    timings: _Timings
    total_ms: str
    run: int
    uptime: timedelta | None


def _milliseconds(name: str) -> str:
    """SQL: an interval of at most a day."""
    number = f"try_cast({name} as double)"
    return f"case when {number} between 0 and 86400e3 then to_microseconds(cast(round({number} * 1e3) as bigint)) end"


_COMPLETED_AT = instant("completed_at")

_REQUESTS = RequestFormat(
    fields=_FIELDS,
    stated={
        "status": "'success'",
        "prompt_tokens": "prompt_tokens",
        "completion_tokens": "eval_tokens",
        "started_at": f"{_COMPLETED_AT} - {_milliseconds('total_ms')}",
        "completed_at": _COMPLETED_AT,
        "first_token_at": f"{_COMPLETED_AT} - {_milliseconds('eval_ms')}",
        "token_basis": "'uncached_prompt'",
    },
    named={"prompt_tokens": "prompt eval time", "completion_tokens": "eval time"},
    marks=("total_ms",),
    time="completed_at",
    by_position=True,
)


def _records(log: TextLog, file: LogFile, source: UsageSource) -> Iterator[LineRecord | LineReject]:
    """One record per request. It ended when its collector or the line says so, else by uptime and the ledger's rule."""
    waiting: list[_Ended] = []
    current: _Timings | None = None
    run = 0
    uptime: timedelta | None = None
    for line in log:
        if (stamp := _UPTIME.match(line.text)) is not None:
            before, uptime = uptime, _duration(stamp[1])
            run += 1 if before is not None and uptime < before else 0
        if not _IS_TIMING.match(line.text):
            continue
        if not line.is_whole:
            yield LineReject(line.number, "line_cut_short")
        elif prompt := _PROMPT.match(line.text):
            if current is not None:
                yield LineReject(current.number, "incomplete_record")
            current = _Timings(line.number, prompt[2])
        elif current is not None and current.eval_tokens is None and (evaluated := _EVAL.match(line.text)):
            current.eval_ms, current.eval_tokens = evaluated[1], evaluated[2]
            current.lines += 1
        elif current is not None and current.eval_tokens is not None and (total := _TOTAL.match(line.text)):
            current.lines += 1
            if (completed_at := _stated(line)) is not None:
                yield _record(current, total[1], completed_at)
            else:
                waiting.append(_Ended(current, total[1], run, uptime))
            current = None
        else:
            yield LineReject(line.number, "malformed_line")
    if current is not None:
        yield LineReject(current.number, "incomplete_record")
    for ended in waiting:
        yield _record(ended.timings, ended.total_ms, _reckoned(ended, run, log, file, source))


def _record(timings: _Timings, total_ms: str, completed_at: datetime | None) -> LineRecord:
    stamp = completed_at.isoformat() if completed_at is not None else None
    values = (stamp, timings.prompt_tokens, timings.eval_tokens, timings.eval_ms, total_ms)
    return LineRecord(timings.number, values, timings.lines)


def _stated(line: TextLine) -> datetime | None:
    if line.stamped_at is not None:
        return line.stamped_at
    epoch = _EPOCH.search(line.text)
    return datetime.fromtimestamp(int(epoch[1]), UTC) if epoch else None


def _duration(uptime: str) -> timedelta:
    """Minutes, seconds, milli- and microseconds since the server started: `12.34.567.890`."""
    minutes, seconds, milliseconds, microseconds = (int(part) for part in uptime.split("."))
    return timedelta(minutes=minutes, seconds=seconds, milliseconds=milliseconds, microseconds=microseconds)


def _reckoned(ended: _Ended, last_run: int, log: TextLog, file: LogFile, source: UsageSource) -> datetime | None:
    """When a request ended, from the server's uptime and what the ledger says of the file; None where it says nothing.

    `file_name`: the file is named after the instant its (first) server started. `file_time`: the (last) server wrote
    its last line when the file was written last.
    """
    if ended.uptime is None:
        return None
    if source.clock == "file_name" and ended.run == 0:
        started_at = scrape_time(file.path.name)
        return started_at + ended.uptime if started_at is not None else None
    if source.clock == "file_time" and ended.run == last_run:
        stamps = _LAST_UPTIME.findall(log.tail)
        return file.modified_at - _duration(stamps[-1].decode()) + ended.uptime if stamps else None
    return None


def _format(source: UsageSource) -> RequestFormat:
    return _REQUESTS


LLAMA_CPP_LOG = TextRequestReader(_format, _MARKS, _records)
