"""vLLM's log: the statistics line of every few seconds, as text or JSON, of all releases since 0.2.

Only that line and the one that says which version serves which model are read, each by its whole grammar. No other is:
up to vLLM 0.11 `Received request` lines hold the prompt.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb

from orchestration.serving_logs.fields import clean
from orchestration.serving_logs.files import LogFile
from orchestration.serving_logs.staging import finish_files, list_files
from orchestration.serving_logs.text_lines import (
    REJECTS,
    LineReject,
    TextLine,
    TextLog,
    YearlessStamp,
    begin_read,
    first_year,
    near_instant,
    note_read,
    parsed_object,
    turns,
    utc_instants,
)
from orchestration.settings import UsageSource

MAX_TOKENS_PER_SECOND = 1e7  # of one engine; more is a damaged line

# VLLM_LOG_STATS_INTERVAL, unless the ledger or the log itself says otherwise.
DEFAULT_INTERVAL_SECONDS = 10

_MARKS = (b"throughput: ", b"LLM engine ", b"server version ")

# `(APIServer pid=1) INFO 11-23 17:54:36 [loggers.py:335] `, `INFO 10-26 02:48:42 llm_engine.py:624] `.
_PREFIX = re.compile(
    r"(?:\((?P<process>[^()]{1,200})\) )?[A-Z]{4,8} (\d\d)-(\d\d) (\d\d):(\d\d):(\d\d) "
    r"(?:\[[^\]\s]{1,120}:\d{1,6}\]|[^\]\s]{1,120}:\d{1,6}\]) "
)
_ASCTIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:,\d{3})?")

_IS_STATS = re.compile(r"(?:Engine \d+: |\d+ Engines Aggregated: )?Avg (?:prompt|generation) throughput: ")
_STATS = re.compile(
    r"(?:Engine (?P<rank>\d{1,6}): |(?P<ranks>\d{1,6}) Engines Aggregated: )?"
    r"(?:Avg prompt throughput: (?P<prompt>\S{1,40}) tokens/s, )?"
    r"Avg generation throughput: (?P<output>\S{1,40}) tokens/s, Running: (?P<running>\d{1,9}) reqs"
    r"(?P<others>(?:, [A-Za-z][^,]{0,100}){0,20})"
)
_WAITING = re.compile(r", (?:Waiting|Pending): (\d{1,9}) reqs")
_KV_CACHE = re.compile(r", (?:[A-Za-z]{1,20} )?KV cache usage: (\d{1,3}(?:\.\d{1,6})?)%")
_PREFIX_HITS = re.compile(r", Prefix cache hit rate: (\d{1,3}(?:\.\d{1,6})?)%")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)

_START = re.compile(r"vLLM (?:API )?server version (\S{1,40})")
_ENGINE = re.compile(r"Initializing an? (?:V\d )?LLM engine (?:\(v?(\S{1,40})\) )?with config: ")
_MODEL = re.compile(r"[ (]model='([^']{1,200})'")
_SERVED = re.compile(r" served_model_name='?([^,')]{1,200})'?[,)]")
_TENSOR_PARALLEL = re.compile(r" tensor_parallel_size=(\d{1,4})[,)]")


@dataclass(frozen=True, slots=True)
class _Banner:
    """What the log's start-up lines say. `run`: how many of them came before, so that no window reaches across one."""

    run: int = 0
    version: str | None = None
    model: str | None = None
    tensor_parallel_size: int | None = None

    @property
    def prompt_basis(self) -> str | None:
        """What the prompt rate counts: since 0.16 without what was found in a cache (vllm-project/vllm#33290)."""
        release = re.match(r"(\d{1,4})\.(\d{1,4})", self.version or "")
        if release is None:
            return None
        return "computed" if (int(release[1]), int(release[2])) >= (0, 16) else "all"


@dataclass(frozen=True, slots=True)
class _Window:
    """One statistics line. `time`: local time where it has a year, else the stamp as written, or an instant."""

    number: int
    banner: _Banner
    process: str
    engine: str | None
    is_v0: bool
    time: datetime | YearlessStamp
    prompt: float | None
    output: float
    running: int
    waiting: int | None
    kv_cache: float | None
    prefix_hits: float | None


def stage_vllm_log(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime, work_dir: Path
) -> None:
    """Reads vLLM logs into the staging tables: a row of `raw.engine_log_windows` per statistics line."""
    list_files(con, source, files, now)
    begin_read(con)
    con.execute("""
        create or replace temp table log_lines (
            file_id varchar, line_number bigint, run bigint, process varchar, engine varchar, is_v0 boolean,
            engine_version varchar, model_name varchar, tensor_parallel_size bigint, prompt_basis varchar,
            logged_at timestamptz, prompt_tokens_per_second double, output_tokens_per_second double,
            running_requests bigint, waiting_requests bigint, kv_cache_usage_ratio double, prefix_cache_hit_ratio double
        )
    """)
    for file in files:
        try:
            _read(con, source, file, now)
        except OSError:
            con.execute("insert into failed_files values (?, 'unreadable', false)", [str(file.path)])
    con.execute(
        f"""
        create or replace temp table staged_records as
        with followed as (
            select
                *,
                (epoch_us(logged_at) - epoch_us(lag(logged_at) over (
                    partition by file_id, run, process, engine order by line_number
                ))) / 1e6 as distance_seconds
            from log_lines
        ),
        -- How often the log writes: the distance that most neighbours have. Idle engines leave lines out, so others
        -- are multiples of it.
        distances as (
            select
                file_id, round(distance_seconds) as seconds,
                row_number() over (
                    partition by file_id order by count(*) desc, round(distance_seconds)
                ) as rank
            from followed
            where distance_seconds between 1 and 600
            group by file_id, round(distance_seconds)
            having count(*) > 1
        ),
        intervals as (
            select
                followed.*,
                coalesce(distances.seconds, {DEFAULT_INTERVAL_SECONDS}) as interval_seconds
            from followed left join distances on followed.file_id = distances.file_id and distances.rank = 1
        )
        select
            $source as source_name, intervals.file_id, intervals.line_number, files.replica_key, intervals.engine,
            case {clean("intervals.model_name")} end as model_name,
            case {clean("intervals.engine_version")} end as engine_version,
            intervals.logged_at, cast(intervals.logged_at as date) as usage_date,
            case
                when $interval is not null then $interval
                -- V0 writes on every step after five seconds and also when idle; V1 at its interval, and starts to
                -- count anew also when it writes nothing: there a pause is no window.
                when is_v0 and distance_seconds between 1 and 60 then distance_seconds
                when distance_seconds between 0.5 * interval_seconds and 1.5 * interval_seconds then distance_seconds
                else interval_seconds
            end as window_seconds,
            prompt_tokens_per_second, output_tokens_per_second, running_requests, waiting_requests,
            kv_cache_usage_ratio, prefix_cache_hit_ratio, prompt_basis, tensor_parallel_size
        from intervals inner join input_files as files on intervals.file_id = files.file_id
        """,
        {"source": source.name, "interval": source.log_interval_seconds},
    )
    con.execute(f"create or replace temp table staged_rejects as {REJECTS}")
    finish_files(con, source, now, passed_over="select file_id, passed_over_count from passed_over_lines")


def _read(con: duckdb.DuckDBPyConnection, source: UsageSource, file: LogFile, now: datetime) -> None:
    log = TextLog(file.path, _MARKS)
    banner = _Banner()
    windows: list[_Window] = []
    rejects: list[LineReject] = []
    for line in log:
        found = _parsed(line, banner)
        if isinstance(found, _Banner):
            banner = found
        elif isinstance(found, _Window):
            windows.append(found)
        elif found is not None:
            rejects.append(found)
    rows = []
    for window, instant in zip(windows, _instants(windows, file, source), strict=True):
        if instant is None:
            rejects.append(LineReject(window.number, "not_an_instant", "logged_at"))
        elif not datetime(2020, 1, 1, tzinfo=UTC) <= instant <= now + timedelta(days=1):
            rejects.append(LineReject(window.number, "instant_out_of_range", "logged_at"))
        else:
            rows.append((window, instant))
    if rows:
        columns = zip(*(_row(file, window, instant) for window, instant in rows), strict=True)
        con.execute(
            "insert into log_lines select " + ", ".join("unnest(?)" for _ in range(17)),
            [list(column) for column in columns],
        )
    note_read(con, file, rejects, others=log.line_count - len(rows) - len(rejects), damage=log.damage)


def _row(file: LogFile, window: _Window, instant: datetime) -> tuple[object, ...]:
    banner = window.banner
    return (
        file.file_id,
        window.number,
        banner.run,
        window.process,
        window.engine,
        window.is_v0,
        banner.version,
        banner.model,
        banner.tensor_parallel_size,
        banner.prompt_basis,
        instant,
        window.prompt,
        window.output,
        window.running,
        window.waiting,
        window.kv_cache,
        window.prefix_hits,
    )


def _parsed(line: TextLine, banner: _Banner) -> _Banner | _Window | LineReject | None:
    """What a line is; None where it is none of ours."""
    time: datetime | YearlessStamp | None = None
    if line.text.startswith("{"):
        content = parsed_object(line.text)
        message = content.get("message")
        if not isinstance(message, str):
            is_cut = line.text.startswith('{"asctime"') and not content
            return LineReject(line.number, "malformed_json" if line.is_whole else "line_cut_short") if is_cut else None
        process = str(content.get("process"))
        stamp = content.get("asctime")
        if isinstance(stamp, str) and _ASCTIME.fullmatch(stamp):
            try:
                time = datetime.fromisoformat(stamp.replace(",", "."))
            except ValueError:
                time = None
    elif prefix := _PREFIX.match(line.text):
        message = line.text[prefix.end() :]
        process = prefix["process"] or ""
        stamps = YearlessStamp(*(int(prefix[group]) for group in range(2, 7)))
        try:
            time = near_instant(stamps, line.near) if line.near is not None else stamps
        except ValueError:
            time = None
    else:
        return None
    if _IS_STATS.match(message):
        return _window(line, message, line.stamped_at or time, process, banner)
    if not line.is_whole:
        return None
    if started := _START.match(message):
        return _Banner(banner.run + 1, started[1])
    if engine := _ENGINE.match(message):
        model = _SERVED.search(message) or _MODEL.search(message)
        ranks = _TENSOR_PARALLEL.search(message)
        return _Banner(
            banner.run + 1,
            engine[1] or banner.version,
            model[1] if model else None,
            int(ranks[1]) if ranks else None,
        )
    return None


def _window(
    line: TextLine, message: str, time: datetime | YearlessStamp | None, process: str, banner: _Banner
) -> _Window | LineReject:
    if not line.is_whole:
        return LineReject(line.number, "line_cut_short")
    stats = _STATS.fullmatch(message.rstrip().removesuffix("."))
    if stats is None or "\ufffd" in message:  # a byte that is no UTF-8
        return LineReject(line.number, "malformed_line")
    rates = {}
    for name, text in (("prompt", stats["prompt"]), ("generation", stats["output"])):
        if text is None:
            continue
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
        reason = (
            "not_a_number"
            if math.isnan(number)
            else "negative_rate"  # vllm-project/vllm#6642
            if number < 0
            else "rate_out_of_range"
            if number > MAX_TOKENS_PER_SECOND
            else None
        )
        if reason is not None:
            return LineReject(line.number, reason, f"Avg {name} throughput")
        rates[name] = number
    if time is None:
        return LineReject(line.number, "not_an_instant", "logged_at")
    others = stats["others"]
    waiting = _WAITING.search(others)
    return _Window(
        number=line.number,
        banner=banner,
        process=process,
        engine="all" if stats["ranks"] else str(int(stats["rank"])) if stats["rank"] else None,
        is_v0=", Pending: " in others,
        time=time,
        prompt=rates.get("prompt"),
        output=rates["generation"],
        running=int(stats["running"]),
        waiting=int(waiting[1]) if waiting else None,
        kv_cache=_ratio(_KV_CACHE.search(others)),
        prefix_hits=_ratio(_PREFIX_HITS.search(others)),
    )


def _ratio(percent: re.Match[str] | None) -> float | None:
    ratio = round(float(percent[1]) / 100, 8) if percent else None
    return ratio if ratio is not None and ratio <= 1 else None


def _instants(windows: list[_Window], file: LogFile, source: UsageSource) -> list[datetime | None]:
    """When each line was written: stated with a zone by what collected it, else in the zone of the ledger (UTC)."""
    zone = ZoneInfo(source.time_zone or "UTC")
    stamps = [window.time for window in windows if isinstance(window.time, YearlessStamp)]
    dated = [
        YearlessStamp(stamp.month, stamp.day, stamp.hour, stamp.minute, stamp.second, turn)
        for stamp, turn in zip(stamps, turns(stamps), strict=True)
    ]
    year = first_year(dated[0], dated[-1], file, source.year, zone) if dated else 0
    following = iter(dated)
    local: list[datetime | None] = []
    for window in windows:
        time = window.time
        if isinstance(time, YearlessStamp):
            try:
                local.append(next(following).in_year(year))
            except ValueError:
                local.append(None)
        else:
            local.append(time if time.tzinfo is None else None)
    return [
        window.time.astimezone(UTC) if isinstance(window.time, datetime) and window.time.tzinfo is not None else instant
        for window, instant in zip(windows, utc_instants(local, zone), strict=True)
    ]
