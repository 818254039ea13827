"""Request-level logs of every format into the staging tables: one machine, to which a format is a few field paths.

A format says which fields of its records are read and which column of `raw.requests` each one is. What a token count,
an instant or a name may look like, how files are opened and what becomes of bad ones is the same for all.
"""

import csv
import hashlib
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from io import BufferedIOBase, TextIOWrapper
from pathlib import Path
from typing import IO, Any, cast

import duckdb
import ijson

from orchestration.serving_logs.fields import (
    Fields,
    Scalar,
    clean,
    count,
    digest,
    has_control,
    is_count,
    leaf_type,
    literal_text,
    place,
    project,
    quoted,
    tenant,
    word,
)
from orchestration.serving_logs.files import (
    MAX_LINE_BYTES,
    PARQUET_MAGIC,
    UTF8_MARK,
    LogFile,
    compression,
    ends_with_newline,
    first_lines,
    has_mark,
    literal,
    log_lines,
    open_log,
    text_lines,
)
from orchestration.serving_logs.staging import by_file_where_it_fails, finish_files, list_files
from orchestration.settings import UsageSource

# A call that ends later than this after its start has a wrong clock, not a long answer. int_request_activity__hourly
# reads calls from this long before the run's window.
MAX_CALL_DAYS = 1

# A line of a log that is prefixed JSON but holds none: it stands in for the record, and the format passes it over.
NO_RECORD = '{"event": "no record"}'

# A row of a table that goes over more lines than this has a quote that is never closed.
MAX_ROW_LINES = 10_000

MALFORMED_LINE = "malformed_json"

_IDS = ("request_id", "call_id", "trace_id")
_NAMES = ("model", "model_group", "model_id", "adapter")
_INSTANTS = ("started_at", "completed_at", "first_token_at")
_COUNTS = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cache_write_tokens",
    "sub_index",
)
_PLAIN = (*_NAMES, "tenant")
# As a sum: DuckDB would ask a filter of each call before it gathers the names.
_CONTROL_IN_NAMES = f"""
    select count(case when {" or ".join(has_control(name) for name in _PLAIN)} then 1 end)
    from (select distinct {", ".join(_PLAIN)} from staged_records)
"""
# What makes a record unusable where it is no number of tokens; another count is left out.
_REQUIRED_COUNTS = ("prompt_tokens", "completion_tokens")


@dataclass(frozen=True, slots=True)
class RequestFormat:
    """One format of request-level log.

    Attributes:
        fields: the allow-list: what is read of a record.
        stated: column of raw.requests -> SQL over the fields. Text, as the source has it; instants as TIMESTAMPTZ.
        named: column -> what the source calls it, for rejects; where it is not here, they say the column's name.
        marks: SQL, fields of which a record of this format has at least one.
        time: SQL, the text that `started_at` is made of: absent is another reason than unreadable.
        records: SQL query from the relation `lines` to the fields; keeps file_path and record_number.
        passed_over: SQL, true for a record that is no call.
        by_position: whether a record is known by its file and its position, for want of an id of its own.
        may_have_prefix: whether something may stand before the JSON of a line.
        is_table: whether the file may also be CSV, Parquet or one JSON array.
        required_columns: fields without which a table is another one; field -> column of raw.requests.
    """

    fields: Fields
    stated: Mapping[str, str]
    marks: tuple[str, ...]
    time: str
    named: Mapping[str, str] = field(default_factory=dict)
    records: str = "select * from lines"
    passed_over: str = "false"
    by_position: bool = False
    may_have_prefix: bool = False
    is_table: bool = False
    required_columns: Mapping[str, str] = field(default_factory=dict)


class Shape(StrEnum):
    """How records stand in a file."""

    LINES = "lines"
    PREFIXED_LINES = "prefixed lines"
    ARRAY = "array"
    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class _Batch:
    """Files that one query reads. `scan`: SQL of the fields and `file_name`, from `$paths`."""

    scan: str
    paths: list[Path]
    arguments: Mapping[str, object]


class _OtherTableError(Exception):
    """A table without a column that is needed; `column`: which one, of raw.requests."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


@dataclass(frozen=True, slots=True)
class RequestReader:
    """The reader of one format, for the registry. `format_of`: the format as a source of the ledger configures it."""

    format_of: Callable[[UsageSource], RequestFormat]

    def insert_clean(
        self,
        con: duckdb.DuckDBPyConnection,
        source: UsageSource,
        files: list[LogFile],
        now: datetime,
        *,
        is_plain: bool,
    ) -> None:
        """Reads straight into `raw.requests`: the way of a day on which every line is usable.

        One pass and no second copy, at about half the time of `stage`. The caller holds the transaction. Where
        `is_plain`, a log that begins with numbers as the format expects them is read as numbers, and names are looked
        at once, not with each call that bears them: a quarter faster, if all lines have numbers and no name holds a
        control character.

        Raises:
            duckdb.Error: one line or file is not usable. Nothing says which: roll back and ask `unclean`.
        """
        format_ = self.format_of(source)
        list_files(con, source, files, now)
        for batch in _batches(con, format_, files, ignore_errors=False, typed=is_plain):
            con.execute(
                f"""
                insert into raw.requests by name
                select * exclude (file_id, file_path, record_number, rejected)
                from ({typed_requests(format_, batch.scan, numbered=format_.by_position, is_plain=is_plain)})
                where case when rejected is null then true else error('a line is not usable') end
                """,
                {**request_arguments(now), **batch.arguments, "paths": [literal(path) for path in batch.paths]},
            )
        if con.execute("select count(*) from failed_files").fetchall() != [(0,)]:
            raise duckdb.InvalidInputException("a file is not usable")
        con.execute("""
            create or replace temp view staged_records as
            select requests.*, input_files.file_id
            from raw.requests inner join input_files on requests.file_number = input_files.file_number
        """)
        if is_plain and con.execute(_CONTROL_IN_NAMES).fetchall() != [(0,)]:
            raise duckdb.InvalidInputException("a name is not plain")
        con.execute("""
            create or replace temp table staged_rejects
            (file_id varchar, reason varchar, field varchar, first_location varchar, occurrences bigint)
        """)
        finish_files(con, source, now)

    def unclean(
        self, con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime
    ) -> set[str]:
        """The ids of the files that hold a line or more that is not usable, or that cannot be read: one bare scan."""
        format_ = self.format_of(source)
        list_files(con, source, files, now)
        con.execute("create or replace temp table unclean_files (file_id varchar)")
        for batch in _batches(con, format_, files, ignore_errors=True):
            typed = typed_requests(format_, batch.scan, numbered=format_.by_position)
            by_file_where_it_fails(
                con,
                f"insert into unclean_files select distinct file_id from ({typed}) where rejected is not null",
                batch.paths,
                {**request_arguments(now), **batch.arguments},
            )
        return {
            row[0]
            for row in con.execute("""
                select file_id from unclean_files
                union
                select file_id from input_files where file_path in (select file_path from failed_files)
            """).fetchall()
        }

    def stage(
        self, con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime, work_dir: Path
    ) -> None:
        """Reads into the staging tables; what is not usable is counted by file, reason and field.

        A file DuckDB cannot read to its end (an archive cut short, a line that breaks the reader) is read again line by
        line up to the damage; only its allow-listed fields pass through a file in `work_dir`.
        """
        format_ = self.format_of(source)
        list_files(con, source, files, now)
        con.execute(
            "create or replace temp table parsed as select *, cast(null as varchar) as file_id, "
            "cast(null as varchar) as file_path, cast(null as bigint) as record_number, "
            "cast(null as varchar[]) as rejected from raw.requests limit 0"
        )
        arguments = request_arguments(now)
        for batch in _batches(con, format_, files, ignore_errors=True):
            by_file_where_it_fails(
                con,
                f"insert into parsed by name {typed_requests(format_, batch.scan, numbered=format_.by_position)}",
                batch.paths,
                {**arguments, **batch.arguments},
            )
        for (path,) in con.execute("select file_path from failed_files where reason = 'unreadable'").fetchall():
            self._read_again(con, Path(path), format_, arguments, work_dir)
        con.execute(
            "create or replace temp view staged_records as "
            "select * exclude (file_path, record_number, rejected) from parsed where rejected is null"
        )
        con.execute(
            """
            create or replace temp table staged_rejects as
            select file_id, rejected[1] as reason, rejected[2] as field,
                any_value(file_path) as first_location, count(*) as occurrences
            from parsed
            where rejected[1] <> 'passed_over'
            group by all
            """
        )
        for file_id, path in con.execute("""
            select distinct file_id, file_path from parsed where rejected[1] <> 'passed_over' order by file_path
        """).fetchall():
            _locate(con, format_, file_id, Path(path), arguments)
        con.execute("""
            insert into staged_rejects
            select files.file_id, 'missing_column', failed.reason[16:], files.file_path, 1
            from failed_files as failed inner join input_files as files on failed.file_path = files.file_path
            where starts_with(failed.reason, 'missing_column ')
        """)
        finish_files(
            con,
            source,
            now,
            passed_over="select file_id, count(*) as passed_over_count from parsed "
            "where rejected[1] = 'passed_over' group by file_id",
        )

    def _read_again(
        self,
        con: duckdb.DuckDBPyConnection,
        path: Path,
        format_: RequestFormat,
        arguments: Mapping[str, object],
        work_dir: Path,
    ) -> None:
        """Reads a file that DuckDB could not; it stays among the failed ones where it is damaged."""
        work_dir.mkdir(parents=True, exist_ok=True)
        salvaged = work_dir / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.jsonl"
        try:
            reason = _salvage(path, salvaged, format_)
            scan = _json_scan(format_, "newline_delimited", ignore_errors=True)
            con.execute(
                f"insert into parsed by name {typed_requests(format_, scan, numbered=True)}",
                {
                    **arguments,
                    **_of_file(path, _shape(path, format_)),
                    "compression": "none",
                    "paths": [literal(salvaged)],
                },
            )
        except (OSError, ValueError, csv.Error, duckdb.Error):
            return  # it stays unreadable
        finally:
            salvaged.unlink(missing_ok=True)
        if reason is None:
            con.execute("delete from failed_files where file_path = ?", [str(path)])
        else:
            con.execute(
                "update failed_files set reason = ?, is_partial = true where file_path = ?", [reason, str(path)]
            )


def request_arguments(now: datetime) -> dict[str, object]:
    """Arguments of `typed_requests` that are the same for all files."""
    # A day of clock skew is forgiven; anything later is a wrong unit or a wrong clock.
    return {"latest": now + timedelta(days=1)}


def _of_file(path: Path, shape: Shape) -> dict[str, object]:
    """Arguments of `typed_requests` for a file that is read alone. `name`: the file's own, of which a copy is read."""
    malformed = "malformed_row" if shape in (Shape.CSV, Shape.PARQUET) else MALFORMED_LINE
    packing: dict[str, object] = {} if shape is Shape.PARQUET else {"compression": compression(path)}
    return {"name": str(path), "malformed": malformed, **packing}


# --- from file to fields --------------------------------------------------------------------------------------------


def _shape(path: Path, format_: RequestFormat) -> Shape:
    """By the first bytes, not by the name."""
    first = (first_lines(path, 1) or [b""])[0].lstrip()
    if first.startswith(b"{"):
        return Shape.LINES
    if format_.may_have_prefix:
        return Shape.PREFIXED_LINES
    if not format_.is_table:
        return Shape.LINES
    if first.startswith(PARQUET_MAGIC):
        return Shape.PARQUET
    return Shape.ARRAY if first.startswith(b"[") else Shape.CSV


def _batches(
    con: duckdb.DuckDBPyConnection,
    format_: RequestFormat,
    files: Iterable[LogFile],
    *,
    ignore_errors: bool,
    typed: bool = False,
) -> Iterator[_Batch]:
    """The queries that read `files`: one for all JSON logs packed and typed alike, one for each other file.

    So is a log whose records are known by their position. A file that cannot be opened is listed as failed.
    """
    together: dict[tuple[str, bool], list[Path]] = {}
    for file in files:
        try:
            shape = _shape(file.path, format_)
            packing = compression(file.path)
            is_marked = shape in (Shape.LINES, Shape.ARRAY) and has_mark(file.path)
            if shape is Shape.LINES and not format_.by_position and not is_marked:
                has_numbers = typed and _begins_with_numbers(file.path, format_)
                together.setdefault((packing, has_numbers), []).append(file.path)
                continue
            scan = None if is_marked else _scan(con, format_, file.path, shape, ignore_errors=ignore_errors)
        except _OtherTableError as error:
            con.execute(
                "insert into failed_files values (?, ?, false)", [str(file.path), f"missing_column {error.column}"]
            )
        except (OSError, ValueError, duckdb.Error):
            con.execute("insert into failed_files values (?, 'unreadable', false)", [str(file.path)])
        else:
            if scan is None:
                con.execute("insert into failed_files values (?, 'unreadable', false)", [str(file.path)])
            else:
                yield _Batch(scan, [file.path], _of_file(file.path, shape))
    for (packing, has_numbers), paths in together.items():
        scan = _json_scan(format_, "newline_delimited", ignore_errors=ignore_errors, typed=has_numbers)
        yield _Batch(scan, paths, {"compression": packing, "name": None, "malformed": MALFORMED_LINE})


def _scan(
    con: duckdb.DuckDBPyConnection, format_: RequestFormat, path: Path, shape: Shape, *, ignore_errors: bool
) -> str:
    match shape:
        case Shape.LINES:
            return _json_scan(format_, "newline_delimited", ignore_errors=ignore_errors)
        case Shape.ARRAY:
            return _json_scan(format_, "array", ignore_errors=False)
        case Shape.PREFIXED_LINES:
            return _prefixed_scan(format_)
        case Shape.CSV:
            return _csv_scan(format_, path)
        case Shape.PARQUET:
            return _parquet_scan(con, format_, path)


def _begins_with_numbers(path: Path, format_: RequestFormat) -> bool:
    """Whether the first record has numbers, or nothing, where the format expects them."""
    record = _record((first_lines(path, 1) or [b""])[0], prefixed=False) or {}
    return all(
        isinstance(record.get(name), int | float | None) and not isinstance(record.get(name), bool)
        for name, leaf in format_.fields.items()
        if leaf is Scalar.NUMBER
    )


def _json_scan(format_: RequestFormat, layout: str, *, ignore_errors: bool, typed: bool = False) -> str:
    columns = ", ".join(
        f"{literal_text(name)}: '{leaf_type(leaf, typed=typed)}'" for name, leaf in format_.fields.items()
    )
    return (
        f"select * from read_json($paths, format = '{layout}', columns = {{{columns}}}, records = true, "
        f"ignore_errors = {ignore_errors}, filename = 'file_name', compression = $compression, "
        f"maximum_object_size = {MAX_LINE_BYTES})"
    )


def _prefixed_scan(format_: RequestFormat) -> str:
    structure = json.dumps(_structure(format_.fields))
    return rf"""
        select
            unnest(from_json(case when json_valid(body) then body end, {literal_text(structure)})), $name as file_name
        from (
            select coalesce(nullif(regexp_extract(line, '\{{.*'), ''), {literal_text(NO_RECORD)}) as body
            from {text_lines()} where trim(line) <> ''
        )
    """


def _structure(leaf: Any) -> Any:
    """The allow-list as DuckDB's from_json takes it."""
    return {name: _structure(inner) for name, inner in leaf.items()} if isinstance(leaf, Mapping) else leaf_type(leaf)


def _csv_scan(format_: RequestFormat, path: Path) -> str:
    header, delimiter = csv_header(path, format_)
    columns = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(len(header)))
    return (
        f"select {_found(format_, header, lambda index: f'c{index}')}, $name as file_name from read_csv($paths, "
        f"auto_detect = false, header = true, columns = {{{columns}}}, delim = {literal_text(delimiter)}, "
        f"quote = '\"', escape = '\"', compression = $compression, max_line_size = {MAX_LINE_BYTES}, "
        f"buffer_size = {4 * MAX_LINE_BYTES})"
    )


def csv_header(path: Path, format_: RequestFormat) -> tuple[list[str], str]:
    """Column names of a CSV file and what stands between them.

    Raises:
        ValueError: it has no readable header.
    """
    line = (first_lines(path, 1) or [b""])[0].decode()
    headers = [(next(csv.reader([line], delimiter=delimiter)), delimiter) for delimiter in ",;\t|"]
    return max(headers, key=lambda entry: len(set(entry[0]) & set(format_.fields)))


def _parquet_scan(con: duckdb.DuckDBPyConnection, format_: RequestFormat, path: Path) -> str:
    described = con.execute("describe select * from read_parquet(?)", [literal(path)]).fetchall()
    header = [name for name, *_ in described]

    def text(index: int) -> str:
        name, kind = described[index][:2]
        is_nested = kind.startswith(("STRUCT", "MAP")) or kind.endswith("[]")
        return f"cast(to_json({quoted(name)}) as varchar)" if is_nested else f"cast({quoted(name)} as varchar)"

    return f"select {_found(format_, header, text)}, $name as file_name from read_parquet($paths)"


def _found(format_: RequestFormat, header: list[str], column: Callable[[int], str]) -> str:
    """SQL: the allow-listed fields that a table has; null for the others."""
    if lacking := next((name for name in format_.required_columns if name not in header), None):
        raise _OtherTableError(format_.required_columns[lacking])
    return ", ".join(
        f"{column(header.index(name)) if name in header else 'cast(null as varchar)'} as {quoted(name)}"
        for name in format_.fields
    )


# --- from fields to rows --------------------------------------------------------------------------------------------


def typed_requests(
    format_: RequestFormat,
    scan: str,
    *,
    numbered: bool = True,
    record_number: str = "row_number() over ()",
    is_plain: bool = False,
) -> str:
    """SQL: the rows of raw.requests that `$paths` hold, with `file_id`, `file_path`, `record_number` and `rejected`.

    `rejected` is [reason, field], null for a usable row. One pass from file to typed columns: the scan is the limit, a
    second copy of its text would double the time. Numbering records holds the scan to one thread, unless the scan has
    a `record_number` of its own (SQL). Where `is_plain`, names may still hold control characters (_CONTROL_IN_NAMES).
    """
    stated = dict(format_.stated)
    if format_.by_position:
        # Two equal lines are two calls; the same line of the same file, read again, is one.
        stated["request_id"] = "input_files.file_id || '|' || records.record_number"
    columns = ", ".join(f"{expression} as stated_{name}" for name, expression in stated.items())

    def stated_or(name: str, typed: str, absent: str) -> str:
        return f"{typed if name in stated else absent} as {name}"

    rows = [f"{digest(f'stated_{name}')} as {name}" for name in _IDS if name in stated]
    rows += [f"case {clean(f'stated_{name}', is_plain=is_plain)} end as {name}" for name in _NAMES if name in stated]
    rows += [f"{count(f'number_{name}')} as {name}" for name in _COUNTS if name in stated]
    if "tenant" in stated:
        rows.append(f"{tenant('stated_tenant', is_plain=is_plain)} as tenant")
    if "status" in stated:
        rows.append(f"{word('stated_status')} as status")
    if "replica_hint" in stated:
        rows.append(f"{place('stated_replica_hint')} as replica_hint")
    if "token_basis" in stated:
        rows.append("stated_token_basis as token_basis")
    if "completed_at" in stated:
        rows.append(
            # In microseconds: adding to an instant asks the calendar of its zone, at a tenth of the whole reading.
            "case when epoch_us(stated_completed_at) - epoch_us(stated_started_at) "
            f"between 0 and {MAX_CALL_DAYS * 86_400_000_000} then stated_completed_at end as completed_at"
        )
    if "first_token_at" in stated:
        rows.append("stated_first_token_at as first_token_at")

    def named(column: str) -> str:
        return literal_text(format_.named.get(column, column))

    id_missing = (
        "" if format_.by_position else f"when stated_request_id is null then ['missing_field', {named('request_id')}]"
    )
    # Once for the count and for what makes it none.
    numbers = [f"try_cast(stated_{name} as double) as number_{name}" for name in _COUNTS if name in stated]
    bad_counts = " ".join(
        f"when stated_{name} is not null and not coalesce({is_count(f'number_{name}')}, false) "
        f"then ['not_a_token_count', {named(name)}]"
        for name in _REQUIRED_COUNTS
    )
    return f"""
        with lines as (
            select *, {record_number if numbered else "cast(null as bigint)"} as record_number,
                coalesce(cast($name as varchar), file_name) as file_path
            from ({scan})
        ),
        records as ({format_.records}),
        stated as (
            select
                input_files.file_number, input_files.file_id, records.file_path, records.record_number, {columns},
                {" and ".join(f"({mark}) is null" for mark in format_.marks)} as is_malformed,
                {format_.passed_over} as is_passed_over,
                {format_.time} as stated_time
            from records inner join input_files on records.file_path = input_files.file_path
        ),
        numbers as (select *, {", ".join(numbers)} from stated)
        select
            file_number, file_id, file_path, record_number, {", ".join(rows)},
            stated_started_at as started_at,
            cast(make_timestamp(epoch_us(stated_started_at)) as date) as usage_date,
            case
                when is_malformed then [$malformed, null]
                when is_passed_over then ['passed_over', null]
                {id_missing}
                when stated_time is null then ['missing_field', {named("started_at")}]
                when stated_started_at is null then ['not_an_instant', {named("started_at")}]
                when stated_started_at not between timestamptz '2020-01-01 00:00:00+00' and $latest
                    then ['instant_out_of_range', {named("started_at")}]
                {bad_counts}
            end as rejected
        from numbers
    """


# --- files that DuckDB cannot read ----------------------------------------------------------------------------------


def _salvage(path: Path, target: Path, format_: RequestFormat) -> str | None:
    """Copies the allow-listed fields of every whole record of a file; returns how it is damaged, None if it is not.

    Raises:
        OSError: nothing of it can be read: gone, or Parquet.
    """
    shape = _shape(path, format_)
    if shape is Shape.PARQUET:
        raise OSError("only DuckDB reads it")
    reason = None
    with target.open("w", encoding="utf-8") as out:
        try:
            with open_log(path) as stream:
                for record in _records(stream, shape, path, format_):
                    kept = project(record, format_.fields) if record is not None else None
                    # A bad line stays a bad line, so that the reader counts it; its text does not pass.
                    out.write((json.dumps(kept) if kept is not None else "x") + "\n")
        except EOFError:
            reason = "archive_cut_short"
        except ijson.JSONError:
            reason = "array_cut_short"
        except (OSError, zlib.error):
            reason = "archive_damaged"
    return reason


def _records(
    stream: BufferedIOBase, shape: Shape, path: Path, format_: RequestFormat
) -> Iterator[Mapping[str, Any] | None]:
    """The records of a file in their order; None for one that cannot be read."""
    match shape:
        case Shape.ARRAY:
            if has_mark(path):
                stream.read(len(UTF8_MARK))
            for item in ijson.items(stream, "item", use_float=True):
                yield item if isinstance(item, dict) else None
        case Shape.CSV:
            yield from _csv_records(stream, *csv_header(path, format_))
        case _:
            for line in log_lines(stream):
                if line.strip():
                    yield _record(line, prefixed=shape is Shape.PREFIXED_LINES)


def _record(line: bytes, *, prefixed: bool) -> dict[str, Any] | None:
    body = line.removeprefix(UTF8_MARK)
    if prefixed:
        start = body.find(b"{")
        body = body[start:] if start >= 0 else NO_RECORD.encode()
    try:
        # Of a name that stands twice DuckDB reads the first.
        content = json.loads(body, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _csv_records(stream: BufferedIOBase, header: list[str], delimiter: str) -> Iterator[dict[str, Any] | None]:
    rows = _csv_rows(stream, delimiter)
    next(rows, None)  # the header
    for _, row in rows:
        # A byte that is no UTF-8 makes its record unusable, not the file.
        is_whole = row is not None and len(row) == len(header) and not any("\ufffd" in value for value in row)
        yield {name: value or None for name, value in zip(header, row or [], strict=True)} if is_whole else None


def _csv_rows(stream: BufferedIOBase, delimiter: str) -> Iterator[tuple[int, list[str] | None]]:
    """The rows of a table and the line each begins on; None for one that cannot be read.

    A value in quotes may hold line feeds. A quote that is never closed spoils its own line, not all that follow.
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    lines = enumerate(_text(stream), start=1)
    waiting: deque[tuple[int, str]] = deque()
    while (begin := waiting.popleft() if waiting else next(lines, None)) is not None:
        number, record = begin
        taken: list[tuple[int, str]] = []
        is_open = record.count('"') % 2 == 1
        parts = [record]
        while is_open and len(taken) < MAX_ROW_LINES:
            more = waiting.popleft() if waiting else next(lines, None)
            if more is None:
                break
            taken.append(more)
            parts.append(more[1])
            is_open = more[1].count('"') % 2 == 0
        if is_open:
            waiting.extendleft(reversed(taken))
            yield number, None
        elif any(part.strip() for part in parts):
            try:
                yield number, next(csv.reader(parts, delimiter=delimiter))
            except csv.Error:
                yield number, None


def _text(stream: BufferedIOBase) -> TextIOWrapper:
    # A byte that is no UTF-8 makes its record unusable, not the file.
    return TextIOWrapper(cast("IO[bytes]", stream), "utf-8-sig", errors="replace", newline="")


# --- where rejects stand --------------------------------------------------------------------------------------------


def _locate(
    con: duckdb.DuckDBPyConnection, format_: RequestFormat, file_id: str, path: Path, arguments: Mapping[str, object]
) -> None:
    """Adds the line of the first reject of each reason, and tells a line cut by the end of the file from the rest."""
    shape = _shape(path, format_)
    relation = "parsed"
    bound: dict[str, object] = {"file_id": file_id}
    is_numbered = con.execute("select count(record_number) from parsed where file_id = ?", [file_id]).fetchall() != [
        (0,)
    ]
    if not is_numbered:
        scan = _scan(con, format_, path, shape, ignore_errors=True)
        relation = f"({typed_requests(format_, scan, numbered=True)})"
        bound |= {**arguments, **_of_file(path, shape), "paths": [literal(path)]}
    found = con.execute(
        f"""
        select rejected[1], rejected[2], min(record_number), max(record_number) from {relation}
        where file_id = $file_id group by rejected[1], rejected[2]
        """,
        bound,
    ).fetchall()
    lines = _lines_of({first for reason, _, first, _ in found if reason is not None}, path, shape, format_)
    for reason, name, first, _ in found:
        con.execute(
            "update staged_rejects set first_location = ? "
            "where file_id = ? and reason = ? and field is not distinct from ?",
            [f"{path}, {lines.get(first, f'record {first}')}", file_id, reason, name],
        )
    last = max(row[3] for row in found)
    cut = next(
        (reason for reason, _, _, latest in found if latest == last and str(reason).startswith("malformed")), None
    )
    if cut is not None and _is_cut(path):
        con.execute(
            "update staged_rejects set occurrences = occurrences - 1 where file_id = ? and reason = ?", [file_id, cut]
        )
        con.execute("delete from staged_rejects where file_id = ? and occurrences = 0", [file_id])
        line = _lines_of({last}, path, shape, format_).get(last, f"record {last}")
        con.execute("insert into staged_rejects values (?, 'line_cut_short', null, ?, 1)", [file_id, f"{path}, {line}"])


def _is_cut(path: Path) -> bool:
    try:
        return not ends_with_newline(path)
    except (OSError, EOFError, zlib.error):
        return False  # a cut archive: already told as partial


def _lines_of(numbers: set[int], path: Path, shape: Shape, format_: RequestFormat) -> dict[int, str]:
    """Where the records of these numbers stand, as far as the file can be read."""
    if shape in (Shape.ARRAY, Shape.PARQUET):
        return {number: f"record {number}" for number in numbers}
    lines: dict[int, str] = {}
    try:
        with open_log(path) as stream:
            for record, line in _places(stream, shape, path, format_):
                if record in numbers:
                    lines[record] = f"line {line}"
                if len(lines) == len(numbers):
                    break
    except (OSError, EOFError, ValueError, zlib.error, csv.Error):
        pass
    return lines


def _places(stream: BufferedIOBase, shape: Shape, path: Path, format_: RequestFormat) -> Iterator[tuple[int, int]]:
    """Number of each record and of the line it begins on. The header of a table is its record 0."""
    if shape is Shape.CSV:
        for record, (line, _) in enumerate(_csv_rows(stream, csv_header(path, format_)[1])):
            yield record, line
    else:
        whole = (number for number, line in enumerate(log_lines(stream), start=1) if line.strip())
        yield from enumerate(whole, start=1)
