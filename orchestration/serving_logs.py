"""Readers of serving logs and metric scrapes: DuckDB in bulk, one allow-list of fields per format.

What is not on an allow-list is never parsed into a column, so prompts, replies, keys and addresses cannot reach a
table. A reader stages what it read into three temporary tables of the connection, which `warehouse.load_usage` moves
into the raw room once the gate has passed:

* `staged_records`: rows of the target table (`raw.vllm_samples` or `raw.litellm_requests`);
* `staged_files`: one row per file, as `raw.usage_files`;
* `staged_rejects`: what could not be used, counted by file, reason and field; never a value.
"""

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import duckdb

from orchestration.settings import Settings, UsageSource

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
UTF8_MARK = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_TOKENS_PER_REQUEST = 100_000_000
MAX_COUNTER = 1e15  # a replica at a million tokens a second gets here after thirty years
# A call that ends later than this after its start has a wrong clock, not a long answer. int_gateway_activity__hourly
# reads calls from this long before the run's window.
MAX_CALL_DAYS = 1

# Series kept from a /metrics page (reference: vLLM 0.6 to 0.33). Everything else on the page is passed over.
VLLM_COUNTERS = (
    "prompt_tokens",
    "generation_tokens",
    "prompt_tokens_cached",
    "prefix_cache_hits",  # stands in for prompt_tokens_cached before it existed
    "request_success",
)
VLLM_SUMS = ("request_prefill_time_seconds", "request_decode_time_seconds")

# The allow-list of a LiteLLM standard logging payload: nested names, each leaf read as text and cast in SQL.
LITELLM_FIELDS: Mapping[str, Any] = {
    "id": None,
    "litellm_call_id": None,
    "trace_id": None,
    "call_type": None,
    "status": None,
    "stream": None,
    "model": None,
    "model_group": None,
    "model_id": None,
    "startTime": None,
    "endTime": None,
    "completionStartTime": None,
    "prompt_tokens": None,
    "completion_tokens": None,
    "total_tokens": None,
    "response_cost": None,
    "metadata": {
        "user_api_key_team_id": None,
        "usage_object": {
            "prompt_tokens_details": {"cached_tokens": None},
            "completion_tokens_details": {"reasoning_tokens": None},
        },
    },
}


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file to read. `file_id` survives a rename; `replica_key` and `scraped_at` are set for scrapes only."""

    path: Path
    file_id: str
    size_bytes: int
    modified_at: datetime
    replica_key: str | None = None
    scraped_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What raw.usage_files holds of a path."""

    file_id: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that could not even be opened or named; listed among the rejects."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a usage source holds: new or changed files, unreadable ones, and how many were as before."""

    changed: list[LogFile]
    unreadable: list[UnreadableFile]
    unchanged_count: int


def discover(source: UsageSource, settings: Settings, known: Mapping[str, KnownFile]) -> Discovery:
    """Lists the files of `source`; those whose size and modification time are `known` need no reading.

    Args:
        source: an entry of the ledger's usage section.
        settings: gives the folder relative paths start from, and where scraped pages land.
        known: file path as stored in raw.usage_files -> what is known of it.
    """
    if source.url is not None:
        base, pattern = settings.landing_dir, f"vllm_metrics/{source.name}/**/*.prom"
    else:
        base, pattern = settings.root, source.path or ""
        if Path(pattern).is_absolute():
            base, pattern = Path(Path(pattern).anchor), str(Path(pattern).relative_to(Path(pattern).anchor))
    chosen: dict[str, LogFile] = {}
    changed: list[LogFile] = []
    unreadable: list[UnreadableFile] = []
    for path in sorted(base.glob(pattern)):
        if not path.is_file():  # a FIFO or folder that happens to match
            continue
        stat = path.stat()
        modified_at = datetime.fromtimestamp(stat.st_mtime_ns // 1_000 / 1_000_000, UTC)
        before = known.get(str(path))
        if before is not None and (before.size_bytes, before.modified_at) == (stat.st_size, modified_at):
            chosen[before.file_id] = LogFile(path, before.file_id, stat.st_size, modified_at)
        elif source.kind == "vllm_metrics":
            scraped_at = scrape_time(path.name)
            if scraped_at is None:
                unreadable.append(UnreadableFile(path, "file_name_has_no_utc_time_or_epoch"))
                continue
            replica = path.parents[1].name if source.url is not None else path.parent.relative_to(base).as_posix()
            file_id = _scrape_identity(path, source.name, replica, scraped_at)
            changed.append(LogFile(path, file_id, stat.st_size, modified_at, replica, scraped_at))
        else:
            first_line = _first_line(path)
            if first_line is not None:
                file_id = hashlib.sha256(source.name.encode() + b"|" + first_line).hexdigest()[:32]
                changed.append(LogFile(path, file_id, stat.st_size, modified_at))
            elif stat.st_size:
                unreadable.append(UnreadableFile(path, "no_readable_first_line"))
    unchanged = len(chosen)
    to_read: dict[str, LogFile] = {}
    for file in changed:
        other = to_read.get(file.file_id) or chosen.get(file.file_id)
        relation = _relation(file, other) if other is not None else Relation.LONGER
        if relation is Relation.DIFFERENT:  # they only begin alike, as at-least-once shipping makes them
            own_id = hashlib.sha256(f"{file.file_id}|{file.path}".encode()).hexdigest()[:32]
            to_read[own_id] = replace(file, file_id=own_id)
        elif relation is Relation.LONGER:
            to_read[file.file_id] = file
    return Discovery(list(to_read.values()), unreadable, unchanged)


def _scrape_identity(path: Path, source_name: str, replica: str, scraped_at: datetime) -> str:
    """A page is known by its content, which names the start of its process: so a renamed folder counts once.

    A page that exposes no start (before vLLM V1) is known by its folder and time.
    """
    content = path.read_bytes()
    own = hashlib.sha256(content).hexdigest()
    if b"process_start_time_seconds " not in content and b"_created{" not in content:
        own = replica
    return hashlib.sha256(f"{source_name}|{scraped_at.isoformat()}|{own}".encode()).hexdigest()[:32]


class Relation(StrEnum):
    """How the content of a file relates to that of another with the same identity."""

    CONTAINED = "contained"  # the other holds all of it: a copy, or what a rotation left behind
    LONGER = "longer"
    DIFFERENT = "different"


def _relation(file: LogFile, other: LogFile) -> Relation:
    if file.scraped_at is not None:
        return Relation.CONTAINED  # the same page under two names
    try:
        with _open(file.path) as mine, _open(other.path) as theirs:
            while True:
                left, right = mine.read(1 << 20), theirs.read(1 << 20)
                common = min(len(left), len(right))
                if left[:common] != right[:common]:
                    return Relation.DIFFERENT
                if len(left) != len(right) or not left:
                    return Relation.LONGER if len(left) > len(right) else Relation.CONTAINED
    except (OSError, EOFError, zlib.error):
        return Relation.DIFFERENT  # one is damaged: both are read, and staging drops what they share


def scrape_time(file_name: str) -> datetime | None:
    """The instant in a scrape's file name: `20261123T175427Z` or epoch seconds or milliseconds; None without one."""
    if match := re.search(r"(\d{8}T\d{6})(?:\.\d+)?Z", file_name):
        try:
            return datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return None
    if match := re.search(r"(?<!\d)(1\d{9})(\d{3})?(?!\d)", file_name):
        return datetime.fromtimestamp(int(match[1]) + int(match[2] or 0) / 1000, UTC)
    return None


def stage_vllm(con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime) -> None:
    """Reads scraped vLLM pages into the staging tables. A line cut by the end of the file is dropped and counted."""
    _list_files(con, source, files, now)
    names = [f"vllm:{name}_total" for name in VLLM_COUNTERS] + [f"vllm:{name}_sum" for name in VLLM_SUMS]
    created = [f"vllm:{name}_created" for name in (*VLLM_COUNTERS, *VLLM_SUMS)]
    wanted = "^(" + "|".join(re.escape(name) for name in names + created) + r")\{|^process_start_time_seconds "
    con.execute("""
        create or replace temp table page_lines
        (file_path varchar, line varchar, is_cut boolean)
    """)
    query = """
        insert into page_lines
        with pages as (
            select filename as file_path, content, right(content, 1) <> chr(10) as is_cut from read_text($paths)
        ),
        lines as (
            select file_path, is_cut, unnest(string_split(regexp_replace(content, '[^\n]*$', ''), chr(10))) as line
            from pages
        )
        select file_path, line, false from lines where regexp_matches(line, $wanted)
        union all
        select file_path, null, true from pages where is_cut
    """
    _by_file_where_it_fails(con, query, [file.path for file in files], {"wanted": wanted})
    con.execute(
        r"""
        create or replace temp table page_series as
        select
            file_path,
            regexp_extract(line, '^([^ {]+)', 1) as metric_name,
            nullif(regexp_extract(line, '[{,]engine="((?:[^"\\]|\\.)*)"', 1), '') as engine,
            nullif(regexp_extract(line, '[{,]model_name="((?:[^"\\]|\\.)*)"', 1), '') as model_name,
            nullif(regexp_extract(line, '[{,]finished_reason="((?:[^"\\]|\\.)*)"', 1), '') as label_value,
            try_cast(regexp_extract(line, '^[^ {]+(?:\{.*\})? +(\S+)', 1) as double) as value
        from page_lines
        where not is_cut
        """
    )
    con.execute(
        f"""
        create or replace temp table samples as
        with created as (
            select file_path, metric_name, engine, model_name, label_value, to_timestamp(max(value)) as created_at
            from page_series
            where metric_name like '%\\_created' escape '\\' and value between 1e9 and 1e10
            group by all
        ),
        started as (
            select file_path, to_timestamp(max(value)) as started_at
            from page_series
            where metric_name = 'process_start_time_seconds' and value between 1e9 and 1e10
            group by file_path
        )
        select
            ? as source_name, files.file_id, files.replica_key, files.scraped_at,
            cast(files.scraped_at as date) as usage_date,
            series.metric_name, case {_clean("series.engine")} end as engine,
            case {_clean("series.model_name")} end as model_name,
            case {_clean("series.label_value")} end as label_value, series.value,
            created.created_at as series_created_at, started.started_at as process_started_at
        from page_series as series
        inner join input_files as files on series.file_path = files.file_path
        left join created
            on
                series.file_path = created.file_path
                and regexp_replace(series.metric_name, '_(total|sum)$', '_created') = created.metric_name
                and series.engine is not distinct from created.engine
                and series.model_name is not distinct from created.model_name
                and series.label_value is not distinct from created.label_value
        left join started on series.file_path = started.file_path
        where
            series.metric_name in (select unnest(?))
            and series.model_name is not null
            and series.value between 0 and {MAX_COUNTER}
        """,
        [source.name, names],
    )
    con.execute("create or replace temp view staged_records as from samples")
    con.execute(
        f"""
        create or replace temp table staged_rejects as
        select files.file_id, 'line_cut_short' as reason, cast(null as varchar) as field,
            files.file_path || ', last line' as first_location, 1 as occurrences
        from page_lines inner join input_files as files on page_lines.file_path = files.file_path
        where is_cut
        union all
        select
            files.file_id,
            case when series.model_name is null then 'missing_label' else 'value_not_a_count' end,
            case when series.model_name is null then 'model_name' else series.metric_name end,
            min(files.file_path), count(*)
        from page_series as series inner join input_files as files on series.file_path = files.file_path
        where
            series.metric_name in (select unnest(?))
            and (series.model_name is null or coalesce(series.value not between 0 and {MAX_COUNTER}, true))
        group by 1, 2, 3
        union all
        select files.file_id, 'no_vllm_series', null, files.file_path, 1
        from input_files as files
        where
            files.file_id not in (select staged.file_id from staged_records as staged)
            and files.file_path not in (select failed.file_path from failed_files as failed)
        """,
        [names],
    )
    _finish_files(con, source, now)


def insert_clean_litellm(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime
) -> None:
    """Reads LiteLLM payloads straight into `raw.litellm_requests`: the way of a day on which every line is usable.

    One pass and no second copy, at about half the time of `stage_litellm`. The caller holds the transaction.

    Raises:
        duckdb.Error: one line or file is not usable; nothing says which, so roll back and take `stage_litellm`.
    """
    _list_files(con, source, files, now)
    query = f"""
        insert into raw.litellm_requests by name
        select * exclude (file_path, rejected) from ({_litellm_payloads(ignore_errors=False)})
        where case when rejected is null then true else error('a line is not usable') end
    """
    for compression, paths in _by_compression(files).items():
        con.execute(query, _litellm_arguments(source, now, compression) | {"paths": [_literal(path) for path in paths]})
    con.execute("""
        create or replace temp view staged_records as
        select * from raw.litellm_requests where file_id in (select file_id from input_files)
    """)
    con.execute("""
        create or replace temp table staged_rejects
        (file_id varchar, reason varchar, field varchar, first_location varchar, occurrences bigint)
    """)
    _finish_files(con, source, now)


def stage_litellm(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime, work_dir: Path
) -> None:
    """Reads LiteLLM standard logging payloads (JSON Lines, plain, gzip or zstd) into the staging tables.

    A file DuckDB cannot read to its end (an archive cut short, a line that breaks the reader) is read again line by
    line up to the damage; only its allow-listed fields pass through a file in `work_dir`.
    """
    _list_files(con, source, files, now)
    con.execute(
        "create or replace temp table parsed as "
        "select *, cast(null as varchar) as file_path, cast(null as varchar[]) as rejected "
        "from raw.litellm_requests limit 0"
    )
    query = f"insert into parsed by name {_litellm_payloads(ignore_errors=True)}"
    for file in files:
        if _has_mark(file.path):
            con.execute("insert into failed_files values (?, null, false)", [str(file.path)])
    for compression, paths in _by_compression(file for file in files if not _has_mark(file.path)).items():
        _by_file_where_it_fails(con, query, paths, _litellm_arguments(source, now, compression))
    for (path,) in con.execute("select file_path from failed_files").fetchall():
        work_dir.mkdir(parents=True, exist_ok=True)
        salvaged = work_dir / f"{hashlib.sha256(path.encode()).hexdigest()[:16]}.jsonl"
        try:
            reason = _salvage(Path(path), salvaged)
            arguments = _litellm_arguments(source, now, "none") | {"name": path, "paths": [_literal(salvaged)]}
            con.execute(query, arguments)
            con.execute("update failed_files set reason = ?, is_partial = true where file_path = ?", [reason, path])
            if reason is None:
                con.execute("delete from failed_files where file_path = ?", [path])
        finally:
            salvaged.unlink(missing_ok=True)
    con.execute(
        "create or replace temp view staged_records as "
        "select * exclude (file_path, rejected) from parsed where rejected is null"
    )
    con.execute(
        """
        create or replace temp table staged_rejects as
        select file_id, rejected[1] as reason, rejected[2] as field,
            any_value(file_path) as first_location, count(*) as occurrences
        from parsed
        where rejected is not null
        group by all
        """
    )
    for row in con.execute("""
        select distinct parsed.file_id, parsed.file_path
        from parsed where parsed.rejected[1] = 'malformed_json'
    """).fetchall():
        _locate_malformed(con, *row)
    _finish_files(con, source, now)


def _litellm_payloads(*, ignore_errors: bool) -> str:
    """SQL: the rows of raw.litellm_requests that `$paths` hold, with `file_path`, and `rejected` [reason, field].

    One pass from file to typed columns: the JSON scan is the limit, a second copy of its text would double the time.
    With `ignore_errors` a line that is no JSON becomes a rejected row, at a fifth more time.
    """
    columns = "{" + ", ".join(f"'{name}': '{_leaf_type(leaf)}'" for name, leaf in LITELLM_FIELDS.items()) + "}"
    started_at = _instant("startTime")
    details = "metadata.usage_object"
    return f"""
        with payloads as (
            select *, coalesce(cast($name as varchar), filename) as path
            from read_json(
                $paths, format = 'newline_delimited', columns = {columns}, ignore_errors = {ignore_errors},
                filename = true, compression = $compression, maximum_object_size = {MAX_LINE_BYTES}
            )
        )
        select
            $source as source_name, files.file_id, payloads.path as file_path,
            {_digest("coalesce(nullif(id, ''), litellm_call_id)")} as request_id,
            {_digest("litellm_call_id")} as call_id, {_digest("trace_id")} as trace_id,
            {_short("call_type")} as call_type, {_short("status")} as status, try_cast(stream as boolean) as is_stream,
            case {_clean("model")} end as model, case {_clean("model_group")} end as model_group,
            case {_clean("model_id")} end as model_id, {_tenant("metadata.user_api_key_team_id")} as tenant,
            {started_at} as started_at,
            case
                when {_instant("endTime")} between {started_at} and {started_at} + interval {MAX_CALL_DAYS} day
                    then {_instant("endTime")}
            end as completed_at,
            {_instant("completionStartTime")} as first_token_at,
            cast({started_at} as date) as usage_date,
            {_count("prompt_tokens")} as prompt_tokens, {_count("completion_tokens")} as completion_tokens,
            {_count("total_tokens")} as total_tokens,
            {_count(f"{details}.prompt_tokens_details.cached_tokens")} as cached_tokens,
            {_count(f"{details}.completion_tokens_details.reasoning_tokens")} as reasoning_tokens,
            case when isfinite(try_cast(response_cost as double)) then try_cast(response_cost as double) end
                as reported_cost_usd,
            case
                when coalesce(id, litellm_call_id, startTime, status) is null then ['malformed_json', null]
                when coalesce(nullif(id, ''), nullif(litellm_call_id, '')) is null then ['missing_field', 'id']
                when startTime is null then ['missing_field', 'startTime']
                when {started_at} is null then ['not_an_instant', 'startTime']
                when {started_at} not between timestamptz '2020-01-01 00:00:00+00' and $latest
                    then ['instant_out_of_range', 'startTime']
                when not coalesce({_is_count("prompt_tokens")}, true) then ['not_a_token_count', 'prompt_tokens']
                when not coalesce({_is_count("completion_tokens")}, true)
                    then ['not_a_token_count', 'completion_tokens']
            end as rejected
        from payloads inner join input_files as files on payloads.path = files.file_path
    """


def _litellm_arguments(source: UsageSource, now: datetime, compression: str) -> dict[str, object]:
    """Arguments of `_litellm_payloads` but the paths. `name`: the file's own name where a copy of it is read."""
    # A day of clock skew is forgiven; anything later is a wrong unit or a wrong clock.
    return {"source": source.name, "latest": now + timedelta(days=1), "name": None, "compression": compression}


def _by_compression(files: Iterable[LogFile]) -> dict[str, list[Path]]:
    paths: dict[str, list[Path]] = {}
    for file in files:
        paths.setdefault(_compression(file.path), []).append(file.path)
    return paths


def _list_files(con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime) -> None:
    con.execute("""
        create or replace temp table input_files
        (file_path varchar, file_id varchar, size_bytes bigint, modified_at timestamptz, replica_key varchar,
        scraped_at timestamptz)
    """)
    con.execute("create or replace temp table failed_files (file_path varchar, reason varchar, is_partial boolean)")
    con.execute(
        "insert into input_files select unnest(?), unnest(?), unnest(?), unnest(?), unnest(?), unnest(?)",
        [
            [str(file.path) for file in files],
            [file.file_id for file in files],
            [file.size_bytes for file in files],
            [file.modified_at for file in files],
            [file.replica_key for file in files],
            [file.scraped_at for file in files],
        ],
    )


def _by_file_where_it_fails(
    con: duckdb.DuckDBPyConnection, query: str, paths: list[Path], arguments: Mapping[str, object]
) -> None:
    """Runs `query` over all `paths` at once; when one breaks it, halves the list until the broken ones stand alone.

    DuckDB's message may quote the line it failed on, so it is never kept.
    """
    if not paths:
        return
    try:
        con.execute(query, {**arguments, "paths": [_literal(path) for path in paths]})
    except duckdb.Error:
        if len(paths) == 1:
            con.execute("insert into failed_files values (?, 'unreadable', false)", [str(paths[0])])
            return
        half = len(paths) // 2
        _by_file_where_it_fails(con, query, paths[:half], arguments)
        _by_file_where_it_fails(con, query, paths[half:], arguments)


def _literal(path: Path) -> str:
    """The path as DuckDB's readers take it: `[`, `*` and `?` in a file's own name are no pattern."""
    return re.sub(r"([\[*?])", r"[\1]", str(path))


def _finish_files(con: duckdb.DuckDBPyConnection, source: UsageSource, now: datetime) -> None:
    con.execute(
        """
        create or replace temp table staged_files as
        with records as (
            select file_id, count(*) as record_count, min(usage_date) as first_date, max(usage_date) as last_date
            from staged_records group by file_id
        ),
        rejects as (select file_id, sum(occurrences) as rejected_count from staged_rejects group by file_id)
        select
            files.file_id, ? as source_name, ? as kind, files.file_path, files.size_bytes, files.modified_at,
            records.first_date as first_usage_date, records.last_date as last_usage_date,
            coalesce(records.record_count, 0) as record_count,
            cast(coalesce(rejects.rejected_count, 0) as bigint) as rejected_count,
            case when failed.file_path is null then 'loaded' when failed.is_partial then 'partial' else 'refused' end
                as status,
            failed.reason as message, cast(? as timestamptz) as loaded_at
        from input_files as files
        left join records on files.file_id = records.file_id
        left join rejects on files.file_id = rejects.file_id
        left join failed_files as failed on files.file_path = failed.file_path
        """,
        [source.name, source.kind, now],
    )


def _locate_malformed(con: duckdb.DuckDBPyConnection, file_id: str, file_path: str) -> None:
    """Adds the line number of the first malformed line, and tells a line cut by the end of the file from the rest."""
    count = 0
    first = 0
    last_bad = 0
    number = 0
    ends_with_newline = True
    try:
        with _open(Path(file_path)) as stream:
            for number, line in enumerate(_lines(stream), start=1):
                ends_with_newline = line.endswith(b"\n")
                if line.strip() and not _is_payload(line):
                    count, first, last_bad = count + 1, first or number, number
    except (OSError, EOFError, zlib.error):
        return  # a cut archive: already told as partial
    if not count:
        return
    cut = int(last_bad == number and not ends_with_newline)
    con.execute(
        """
        update staged_rejects set first_location = ?, occurrences = occurrences - ?
        where file_id = ? and reason = 'malformed_json'
        """,
        [f"{file_path}, line {first}", cut, file_id],
    )
    con.execute("delete from staged_rejects where file_id = ? and occurrences = 0", [file_id])
    if cut:
        con.execute(
            "insert into staged_rejects values (?, 'line_cut_short', null, ?, 1)",
            [file_id, f"{file_path}, line {number}"],
        )


def _salvage(path: Path, target: Path) -> str | None:
    """Copies the allow-listed fields of every whole line of a file; returns how it is damaged, None if it is not."""
    reason = None
    with target.open("w", encoding="utf-8") as out:
        try:
            with _open(path) as stream:
                for line in _lines(stream):
                    try:
                        content = json.loads(line.removeprefix(UTF8_MARK))
                    except (ValueError, RecursionError):
                        content = None
                    kept = _project(content, LITELLM_FIELDS) if isinstance(content, dict) else None
                    # A bad line stays a bad line, so that the reader counts it; its text does not pass.
                    out.write((json.dumps(kept) if kept is not None else "x") + "\n")
        except EOFError:
            reason = "archive_cut_short"
        except (OSError, zlib.error):
            reason = "archive_damaged"
    return reason


def _project(content: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, leaf in fields.items():
        value = content.get(name)
        if leaf is None:
            kept[name] = value if isinstance(value, str | int | float | bool) else None
        elif isinstance(value, dict):
            kept[name] = _project(value, leaf)
    return kept


def _leaf_type(leaf: Mapping[str, Any] | None) -> str:
    if leaf is None:
        return "VARCHAR"
    return "STRUCT(" + ", ".join(f"{name} {_leaf_type(inner)}" for name, inner in leaf.items()) + ")"


def _clean(column: str) -> str:
    """SQL, branches of a CASE: the text without control characters, at most 128 characters.

    Null for empty and for sentinel words. The plain text is the common case and must cost no rewriting.
    """
    control = r"'[\x00-\x1f\x7f]'"
    return (
        f"when {column} in ('', 'None', 'NULL') then null "
        f"when length({column}) > 128 or regexp_matches({column}, {control}) "
        f"then nullif(left(regexp_replace({column}, {control}, '', 'g'), 128), '') "
        f"else {column}"
    )


def _short(column: str) -> str:
    """SQL: a word of the gateway's own, at most 128 characters; null for empty."""
    return f"case when length({column}) <= 128 then nullif({column}, '') else left({column}, 128) end"


def _digest(column: str) -> str:
    """SQL: an id as its 128-bit MD5; null for empty. Enough to tell ids apart, and a client's own words stay out."""
    return f"cast(md5_number(nullif({column}, '')) as uuid)"


def _tenant(column: str) -> str:
    """SQL: a tenant name; one that is an e-mail address is replaced by a stable digest, for it is personal data."""
    return f"case when contains({column}, '@') then 'sha256:' || left(sha256({column}), 16) {_clean(column)} end"


def _is_count(column: str) -> str:
    """SQL: whether the text is a whole number of tokens; null when the field is absent."""
    number = f"try_cast({column} as double)"
    return (
        f"case when {column} is not null then coalesce({number} between 0 and {MAX_TOKENS_PER_REQUEST} "
        f"and {number} = floor({number}), false) end"
    )


def _count(column: str) -> str:
    """SQL: the text as a number of tokens; null when it is absent or no whole number."""
    return f"case when {_is_count(column)} then cast(cast({column} as double) as bigint) end"


def _instant(column: str) -> str:
    """SQL: an instant written as epoch seconds or milliseconds, or as ISO text; text without a zone is UTC."""
    number = f'try_cast("{column}" as double)'
    return (
        f"case when {number} between 1e9 and 1e10 then to_timestamp({number}) "
        f"when {number} between 1e12 and 1e13 then to_timestamp({number} / 1e3) "
        f'when {number} is null then try_cast("{column}" as timestamptz) end'
    )


def _has_mark(path: Path) -> bool:
    """Whether the file begins with a byte order mark, which would spoil its first record."""
    with path.open("rb") as stream:
        return stream.read(3) == UTF8_MARK


def _compression(path: Path) -> str:
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic.startswith(GZIP_MAGIC):
        return "gzip"
    return "zstd" if magic == ZSTD_MAGIC else "none"


def _open(path: Path) -> BufferedIOBase:
    return gzip.open(path) if _compression(path) == "gzip" else path.open("rb")


def _lines(stream: BufferedIOBase) -> Iterator[bytes]:
    """Lines of at most MAX_LINE_BYTES; a longer one comes as one empty object, its rest passed over."""
    while line := stream.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            line = b"x\n"
        yield line


def _is_payload(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _first_line(path: Path) -> bytes | None:
    """The first line that is not blank, decompressed; None when there is none or the file cannot be read."""
    if _compression(path) == "zstd":  # the standard library reads no zstd: known by its head as stored
        with path.open("rb") as raw:
            return raw.read(4096)
    try:
        with _open(path) as stream:
            while line := stream.readline(MAX_LINE_BYTES):
                if line.strip():
                    return line.removeprefix(UTF8_MARK)
            return None
    except (OSError, EOFError, zlib.error):
        return None
