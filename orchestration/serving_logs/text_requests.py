"""Engine logs in text that tell of single calls, into the staging tables of `raw.requests`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import duckdb

from orchestration.serving_logs.fields import quoted
from orchestration.serving_logs.files import LogFile
from orchestration.serving_logs.requests import RequestFormat, request_arguments, typed_requests
from orchestration.serving_logs.staging import finish_files, list_files
from orchestration.serving_logs.text_lines import REJECTS, LineReject, TextLog, begin_read, note_read
from orchestration.settings import UsageSource

# Rows that go to DuckDB at a time.
BATCH_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class LineRecord:
    """A call that a log tells of: the allow-listed texts in the order of the format's fields, and where it stands."""

    number: int
    values: tuple[str | None, ...]
    line_count: int = 1


# Reads the marked lines of a file: what is a call, what is a broken one.
RecordsOf: TypeAlias = Callable[[TextLog, LogFile, UsageSource], Iterator[LineRecord | LineReject]]


@dataclass(frozen=True, slots=True)
class TextRequestReader:
    """The reader of one text format, for the registry.

    Attributes:
        format_of: the format as a source of the ledger configures it; its fields are texts, without parts.
        marks: a line that is read has one of them.
        records_of: from lines to fields.
    """

    format_of: Callable[[UsageSource], RequestFormat]
    marks: tuple[bytes, ...]
    records_of: RecordsOf

    def stage(
        self, con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime, work_dir: Path
    ) -> None:
        """Reads into the staging tables; what is not usable is counted by file, reason and field."""
        format_ = self.format_of(source)
        list_files(con, source, files, now)
        begin_read(con)
        columns = "".join(f", {quoted(name)} varchar" for name in format_.fields)
        con.execute(f"create or replace temp table text_records (file_name varchar, line_number bigint{columns})")
        for file in files:
            try:
                self._read(con, source, file, len(format_.fields))
            except OSError:
                con.execute("insert into failed_files values (?, 'unreadable', false)", [str(file.path)])
        query = typed_requests(format_, "from text_records", record_number="line_number")
        con.execute(
            f"create or replace temp table parsed as {query}",
            {**request_arguments(now), "name": None, "malformed": "malformed_line"},
        )
        con.execute(
            "create or replace temp view staged_records as "
            "select * exclude (file_path, record_number, rejected) from parsed where rejected is null"
        )
        con.execute("""
            insert into line_rejects
            select file_id, record_number, rejected[1], rejected[2] from parsed where rejected is not null
        """)
        con.execute(f"create or replace temp table staged_rejects as {REJECTS}")
        finish_files(con, source, now, passed_over="select file_id, passed_over_count from passed_over_lines")

    def _read(self, con: duckdb.DuckDBPyConnection, source: UsageSource, file: LogFile, width: int) -> None:
        log = TextLog(file.path, self.marks)
        rejects: list[LineReject] = []
        rows: list[tuple[object, ...]] = []
        used = 0
        for found in self.records_of(log, file, source):
            if isinstance(found, LineReject):
                rejects.append(found)
                continue
            used += found.line_count
            rows.append((str(file.path), found.number, *found.values))
            if len(rows) == BATCH_ROWS:
                _insert(con, rows, width)
                rows = []
        _insert(con, rows, width)
        note_read(con, file, rejects, others=log.line_count - used - len(rejects), damage=log.damage)


def _insert(con: duckdb.DuckDBPyConnection, rows: list[tuple[object, ...]], width: int) -> None:
    if rows:
        con.execute(
            "insert into text_records select " + ", ".join("unnest(?)" for _ in range(width + 2)),
            [list(column) for column in zip(*rows, strict=True)],
        )
