"""Counters as a Prometheus server keeps them, sample by sample, landed window by window.

Endpoint   GET <url>/api/v1/query and, where a server refuses that, /api/v1/query_range: Prometheus, and in its words
           Thanos, Mimir and VictoriaMetrics (vmselect). <url> may have a path prefix (`/prometheus`).
Auth       a bearer token, a user and password, or any header (X-Scope-OrgID); none in a bare Prometheus.
Asked      the samples themselves: an instant query at the end of a window for `{selector}[window]` answers with the
           true instants and values (a "matrix"; VictoriaMetrics documents the same). Never rate() or increase(), which
           extrapolate. query_range alone would repeat a value for five minutes after its last sample, so the fallback
           asks for last_over_time over one step: a gap stays a gap, and an instant is late by less than a step.
A file     one answered window, an hour at most: gzip JSON Lines,
           `<root>/prometheus/<source>/<YYYY-MM-DD>/<start>_<end>__<answered>__<samples>.jsonl.gz`. Its first line says
           what was asked; each other line is a series of the answer with the labels of an allow-list and no others. A
           window without samples lands too: asked and answered "nothing" is not the same as not asked.
Traps      Before Prometheus 3.0 the left end of a range belongs to it, since then it does not. An answer with
           `warnings` (Thanos: a store did not answer) or `isPartial` (VictoriaMetrics) lacks samples: refused, like a
           cut one, and nothing is written.
"""

import base64
import gzip
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scrapers import VERSION
from scrapers.errors import (
    IncompleteSnapshotError,
    PermanentError,
    SchemaDriftError,
    ScrapeError,
    TooLongError,
    TransientError,
    one_line,
)
from scrapers.http import HttpClient, Response, parse_json
from scrapers.snapshot import stamp

WINDOW = timedelta(hours=1)
# Younger samples may still be on their way: VictoriaMetrics hides the last 30 s, remote write sends in batches.
SETTLING = timedelta(minutes=1)
# A window is asked again until it was answered this long after its end.
LATE = timedelta(hours=1)
MAX_CATCH_UP = timedelta(days=30)
MAX_FAILED_WINDOWS = 3
ANSWER_LIMIT_BYTES = 24 << 20  # about a million samples, some 200 MB once parsed
_SMALLEST_WINDOW_SECONDS = 60
_TARGETS_PER_QUERY = 50
_PROCESS_START = "process_start_time_seconds"

# The labels that are kept, by what they tell apart: series of one engine, its ranks, replicas, and the copies of one
# sample (each server of a pair scrapes it, and each job where two jobs scrape one engine).
# Those that decide what a sample counts as stand before those that only divide it (seed engine_metrics).
VALUE_LABELS = ("finished_reason", "source", "cache_source", "mode", "category", "err", "is_streaming")
RANK_LABELS = ("dp_rank", "tp_rank", "pp_rank", "moe_ep_rank")
COPY_LABELS = ("replica", "prometheus_replica", "job")
KEPT_LABELS = frozenset(
    {"__name__", "model_name", "model", "engine", "cluster", "namespace", "pod", "instance"}
    | {*VALUE_LABELS, *RANK_LABELS, *COPY_LABELS}
)

# Raw data, whole or not at all. Servers that do not know a parameter pass over it.
_COMPLETE = {
    "partial_response": "false",  # Thanos
    "dedup": "true",  # Thanos
    "max_source_resolution": "0",  # Thanos: no downsampled blocks
    "deny_partial_response": "1",  # VictoriaMetrics
}
_TOO_MUCH = re.compile(r"too many|too large|too long|exceed|limit", re.IGNORECASE)
_NAME = re.compile(
    r"(?P<start>\d{8}T\d{6}Z)_(?P<end>\d{8}T\d{6}Z)__(?P<answered>\d{8}T\d{6}Z)__(?P<samples>\d+)\.jsonl\.gz", re.ASCII
)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Server:
    """A server and what to ask of it.

    Args:
        url: where its API lies, without /api/v1.
        families: regular expressions (RE2) of whole metric names.
        matchers: further label matchers, as between the braces of a selector.
        headers: credentials. They go into requests and nowhere else.
        credentials: what a message calls them: the environment variables they came from.
        step_seconds: of the fallback; at least the scrape interval, else series have holes.
        extra_label: one more label to keep.
    """

    url: str
    families: tuple[str, ...]
    matchers: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    credentials: str = ""
    step_seconds: int = 60
    extra_label: str | None = None


@dataclass(frozen=True, slots=True)
class LandedWindow:
    """What a file's name says: which samples were asked for, when, and how many there were."""

    path: Path
    start: datetime
    end: datetime
    answered_at: datetime
    sample_count: int


@dataclass(frozen=True, slots=True)
class PullOutcome:
    """How many windows were asked and landed, and one sentence for what was not."""

    asked: int
    landed: int
    failure: str | None = None


def basic(user: str, password: str) -> str:
    """Return the Authorization header of a user and password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def pull(
    server: Server,
    root: Path,
    source_name: str,
    *,
    now: datetime,
    look_back: timedelta,
    client: HttpClient | None = None,
) -> PullOutcome:
    """Ask for every window that is not landed yet or was asked too early, oldest first; what is landed stays.

    The first time that is `look_back`; later everything since the last landed window, `MAX_CATCH_UP` at most. A window
    that is answered in part is passed over and asked again the next time; a server that refuses or is down ends it.

    Args:
        server: whom to ask for what.
        root: of the landing room.
        source_name: in ledger.yaml.
        now: ends the last window.
        look_back: at least this long before `now` no window is missing.
        client: replaced in tests.
    """
    client = client or HttpClient(frozenset({urlsplit(server.url).hostname or ""}), private_network=True)
    conversation = _Conversation(server, client)
    windows = _due(landed_windows(root, source_name), now, look_back)
    landed, failures = 0, list[str]()
    for start, end in windows:
        try:
            _land(root, source_name, conversation, start, end, answered_at=now)
        except ScrapeError as error:
            failures.append(f"{start:%Y-%m-%d %H:%M}: {error}")
            if not isinstance(error, IncompleteSnapshotError) or len(failures) == MAX_FAILED_WINDOWS:
                break
        else:
            landed += 1
    failure = f"{len(windows) - landed} of {len(windows)} windows not landed; {failures[0]}" if failures else None
    return PullOutcome(len(windows), landed, failure)


def landed_windows(root: Path, source_name: str) -> list[LandedWindow]:
    """Return the windows of a source in order, one per start: of several the one with most samples, then the latest.

    A server that lost its data, or whose retention is over, answers with less than it once did.
    """
    best: dict[datetime, LandedWindow] = {}
    for path in (root / "prometheus" / _path_safe(source_name)).glob("*/*.jsonl.gz"):
        if match := _NAME.fullmatch(path.name):
            start, end, answered_at = (_instant(match[name]) for name in ("start", "end", "answered"))
            window = LandedWindow(path, start, end, answered_at, int(match["samples"]))
            other = best.get(start)
            if other is None or (other.sample_count, other.answered_at) < (window.sample_count, answered_at):
                best[start] = window
    return [best[start] for start in sorted(best)]


def _due(landed: Sequence[LandedWindow], now: datetime, look_back: timedelta) -> list[tuple[datetime, datetime]]:
    """The windows to ask, whole hours but for the last."""
    known = {window.start: window for window in landed}
    until = (now - SETTLING).replace(second=0, microsecond=0)
    first = now - look_back
    if landed:
        first = max(min(first, landed[-1].end), now - MAX_CATCH_UP)
    start = first.replace(minute=0, second=0, microsecond=0)
    due = []
    while start < until:
        end = min(start + WINDOW, until)
        window = known.get(start)
        if window is None or window.end < end or window.answered_at < window.end + LATE:
            due.append((start, end))
        start += WINDOW
    return due


class _TooMuchError(Exception):
    """The server or the limit of our own says that the answer would be too long. `error` is what to raise at last."""

    def __init__(self, error: ScrapeError) -> None:
        super().__init__(str(error))
        self.error = error


class _RefusedQueryError(PermanentError):
    """The server understood the request and will not answer this query."""


@dataclass(slots=True)
class _Conversation:
    """The queries of one pull. Whether the server gives samples by instant query is found out with the first."""

    server: Server
    client: HttpClient
    is_exact: bool | None = None

    def window(self, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
        """Yield the series of [start, end), and of the same targets when their processes began."""
        instances = set()
        for series in self._series(self.server.families, self.server.matchers, start, end):
            instances.add(series["metric"].get("instance"))
            yield series
        # Every exporter exposes it: asked without a target it would be the whole cluster's.
        targets = sorted(instances - {None})
        for first in range(0, len(targets), _TARGETS_PER_QUERY):
            chosen = "|".join(re.escape(target) for target in targets[first : first + _TARGETS_PER_QUERY])
            matchers = ",".join(filter(None, (f"instance=~{json.dumps(chosen)}", self.server.matchers)))
            yield from self._series((_PROCESS_START,), matchers, start, end)

    def _series(
        self, families: Sequence[str], matchers: str, start: datetime, end: datetime
    ) -> Iterator[dict[str, Any]]:
        """The series in as few answers as the server and the limit allow: halved by time, then by family."""
        try:
            answer = self._ask(families, matchers, start, end)
        except _TooMuchError as failure:
            seconds = int((end - start).total_seconds())
            if seconds >= 2 * _SMALLEST_WINDOW_SECONDS:
                middle = start + timedelta(seconds=seconds // 2)
                parts = [(families, start, middle), (families, middle, end)]
            elif len(families) > 1:
                half = len(families) // 2
                parts = [(families[:half], start, end), (families[half:], start, end)]
            else:
                raise failure.error from None
            for part, part_start, part_end in parts:
                yield from self._series(part, matchers, part_start, part_end)
            return
        yield from answer

    def _ask(self, families: Sequence[str], matchers: str, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """One query, by the way the server takes."""
        selector = "{" + ",".join(filter(None, (f"__name__=~{json.dumps('|'.join(families))}", matchers))) + "}"
        wanted = re.compile("|".join(families))
        if self.is_exact is not False:
            # From 3.0 on a range is open on the left, before it was closed: up to a millisecond before the end both
            # hold [start, end), the older ones a millisecond more.
            seconds = int((end - start).total_seconds())
            params = {"query": f"{selector}[{seconds}s]", "time": f"{end.timestamp() - 0.001:.3f}"}
            try:
                found = self._matrix("query", params, wanted)
            except _RefusedQueryError:
                if self.is_exact:
                    raise
                found = None
            if found is not None:
                self.is_exact = True
                return _between(found, start.timestamp(), end.timestamp())
        step = self.server.step_seconds
        params = {
            "query": f"last_over_time({selector}[{step}s])",
            "start": f"{start.timestamp() + step:.3f}",
            "end": f"{end.timestamp():.3f}",
            "step": str(step),
        }
        if start.timestamp() + step > end.timestamp():
            return []
        found = self._matrix("query_range", params, wanted)
        self.is_exact = False
        return found

    def _matrix(self, endpoint: str, params: Mapping[str, str], wanted: re.Pattern[str]) -> list[dict[str, Any]]:
        """The answer's series, whole, with allowed names and labels only."""
        url = f"{self.server.url.rstrip('/')}/api/v1/{endpoint}"
        try:
            answer = self.client.get(
                url,
                params={**params, **_COMPLETE},
                headers={**self.server.headers, "Accept": "application/json"},
                limit_bytes=ANSWER_LIMIT_BYTES,
                explained=(400, 401, 403, 422),
            )
        except TooLongError as error:
            raise _TooMuchError(error) from None
        place = answer.url
        if answer.status in (401, 403):
            remedy = (
                f"check {self.server.credentials}" if self.server.credentials else "it wants credentials: token_env"
            )
            raise PermanentError(f"{place} answered {answer.status}: {remedy}")
        content = self._content(answer)
        if warnings := content.get("warnings"):
            first = warnings[0] if isinstance(warnings, list) else warnings
            raise IncompleteSnapshotError(f"{place}: the answer may lack samples: {self._shown(first)}")
        if content.get("isPartial"):
            raise IncompleteSnapshotError(f"{place}: the answer lacks samples (isPartial)")
        data = content.get("data")
        if not isinstance(data, dict) or data.get("resultType") != "matrix" or not isinstance(data.get("result"), list):
            raise SchemaDriftError(f"{place}: no matrix of samples in 'data'. Point the ledger at a Prometheus API")
        allowed = KEPT_LABELS | {self.server.extra_label}
        found = []
        for number, series in enumerate(data["result"]):
            metric, values = _labels_and_values(series, f"{place}: data.result[{number}]")
            if wanted.fullmatch(metric.get("__name__", "")) and values:
                kept = {name: value for name, value in metric.items() if name in allowed}
                found.append({"metric": kept, "values": values})
        return found

    def _content(self, answer: Response[bytes]) -> dict[str, Any]:
        """The answer's envelope, once it says success."""
        place = answer.url
        try:
            content = parse_json(answer.body, place=place, parse_float=float)
        except (SchemaDriftError, IncompleteSnapshotError):
            if answer.status == 200:
                raise
            raise _RefusedQueryError(f"{place} answered {answer.status}, and not why") from None
        if not isinstance(content, dict):
            raise SchemaDriftError(f"{place}: not an answer of the Prometheus API")
        if answer.status == 200 and content.get("status") == "success":
            return content
        why = f"{self._shown(content.get('errorType'))}: {self._shown(content.get('error'))}"
        if _TOO_MUCH.search(why):
            raise _TooMuchError(IncompleteSnapshotError(f"{place}: {why}"))
        if content.get("errorType") in ("timeout", "canceled", "unavailable", "internal"):
            raise TransientError(f"{place}: {why}")
        raise _RefusedQueryError(f"{place} refuses the query: {why}")

    def _shown(self, text: object) -> str:
        """Text of the server's that a message may quote: one line, and never a credential."""
        shown = str(text)
        for value in self.server.headers.values():
            for secret in (value, value.partition(" ")[2]):
                if len(secret) > 3:  # a shorter one is no secret (X-Scope-OrgID: 1)
                    shown = shown.replace(secret, "***")
        return one_line(shown, limit=200)


def _labels_and_values(series: Any, place: str) -> tuple[dict[str, str], list[Any]]:
    """The two parts of a series. Its ends are looked at; the reader of the landed file looks at each sample."""
    if isinstance(series, dict) and isinstance(series.get("metric"), dict):
        metric, values = series["metric"], series.get("values", [])
        if all(isinstance(value, str) for value in metric.values()) and isinstance(values, list):
            ends = values[:1] + values[-1:]
            if all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], int | float) for pair in ends):
                return metric, values
    raise SchemaDriftError(f"{place}: not a series with labels and [instant, value] pairs")


def _between(found: list[dict[str, Any]], start: float, end: float) -> list[dict[str, Any]]:
    """The series without samples outside [start, end), which only their ends can hold."""
    for series in found:
        values = series["values"]
        while values and values[0][0] < start - 0.0005:
            values.pop(0)
        while values and values[-1][0] > end - 0.0005:
            values.pop()
    return [series for series in found if series["values"]]


def _land(
    root: Path,
    source_name: str,
    conversation: _Conversation,
    start: datetime,
    end: datetime,
    *,
    answered_at: datetime,
) -> Path:
    """Write an answered window in one step; nothing where it is not answered whole."""
    directory = root / "prometheus" / _path_safe(source_name) / start.date().isoformat()
    directory.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=directory)
    temporary, sample_count = Path(name), 0
    try:
        with os.fdopen(descriptor, "wb") as file:
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=4, mtime=0) as packed:
                asked = {
                    "source": source_name,
                    "server": conversation.server.url,
                    "start": start.isoformat(),
                    "end": end.isoformat(),
                    "answered_at": answered_at.isoformat(),
                    "families": conversation.server.families,
                    "matchers": conversation.server.matchers,
                    "scraper_version": VERSION,
                }
                packed.write(json.dumps({"asked": asked}).encode() + b"\n")
                for series in conversation.window(start, end):
                    sample_count += len(series["values"])
                    packed.write(json.dumps(series, separators=(",", ":")).encode() + b"\n")
                answered = {"samples": sample_count, "is_exact": conversation.is_exact}
                packed.write(json.dumps({"answered": answered}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        target = directory / f"{stamp(start)}_{stamp(end)}__{stamp(answered_at)}__{sample_count}.jsonl.gz"
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _instant(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _path_safe(name: str) -> str:
    """Return a name that is one harmless path component."""
    return _UNSAFE.sub("_", name).strip(".") or "_"
