"""Publishing: what readers open is replaced whole, after every check, and never half-built.

`data/published/` holds `inference_ledger.duckdb`, one Parquet file a table, `report/index.html`, and `manifest.json`.
Each file is written beside its place, read back, and renamed over the old one, the manifest last: a reader that has the
old file open keeps it, a new reader gets the new one, and a crash in between leaves a manifest whose hashes tell the
truth.
"""

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from orchestration.settings import Settings, duckdb_config

logger = logging.getLogger(__name__)

# DuckDB 2.0 writes files that no 1.x opens unless told otherwise; this one is read by 1.2 to 2.0.
STORAGE_VERSION = "v1.2.0"
CONTRACT_VERSION = 1
DICTIONARY = "dim_published_columns"  # the mart that lists the others


class PublicationError(Exception):
    """The copy does not hold what the warehouse holds; the files published before stay in place."""


class ReportError(Exception):
    """The page cannot be made of the published tables; the page published before stays in place."""


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One table of the manifest. `cost_usd` sums each money column named *_cost_usd or cost_usd, as decimal text."""

    name: str
    row_count: int
    cost_usd: dict[str, str]
    parquet_sha256: str


def mart_tables(con: duckdb.DuckDBPyConnection, database: str) -> list[str]:
    """Names of the tables to publish: the marts schema, views too, which are tables once published.

    Where the dictionary is among them, it and what it lists: a mart that an upgrade took away, or what a killed run
    left half-made, stays in the warehouse and says nothing of today.
    """
    names = [
        row[0]
        for row in con.execute(
            """
            select table_name from duckdb_tables() where database_name = $name and schema_name = 'marts'
            union all
            select view_name from duckdb_views() where database_name = $name and schema_name = 'marts'
            order by 1
            """,
            {"name": database},
        ).fetchall()
    ]
    if DICTIONARY not in names:
        return names
    listed = con.execute(f'select distinct table_name from {database}.marts."{DICTIONARY}"').fetchall()
    return [name for name in names if name == DICTIONARY or (name,) in listed]


def publish(settings: Settings, *, run_id: str, published_at: datetime) -> dict[str, object]:
    """Copies the marts into `data/published`, makes the report of the copy, and returns the manifest.

    A report that cannot be made does not stop the tables: the page of the day before stays, which says so in its head,
    and the manifest has no `report` but a `report_problem`.

    Raises:
        PublicationError: the copy differs from the warehouse, or there is nothing to publish.
    """
    target = settings.published_dir
    (target / "parquet").mkdir(parents=True, exist_ok=True)
    new_database = target / ".inference_ledger.duckdb.new"
    for leftover in (
        *target.glob(".*.new*"),
        *(target / "parquet").glob(".*.new"),
        *settings.report_file.parent.glob(".*.new"),
    ):
        leftover.unlink()
    con = duckdb.connect(config=duckdb_config())
    con.execute("set timezone = 'UTC'")
    try:
        con.execute(f"attach {_quoted(settings.warehouse_path)} as warehouse (read_only)")
        names = mart_tables(con, "warehouse")
        if not names:
            raise PublicationError("the warehouse holds no mart to publish")
        con.execute(f"attach {_quoted(new_database)} as published (storage_version '{STORAGE_VERSION}')")
        for name in names:
            # In the order of time: readers ask for a day or a month, and DuckDB skips row groups of other times.
            con.execute(
                f'create table published."{name}" as select * from warehouse.marts."{name}" {_by_time(con, name)}'
            )
            _copy_comments(con, name)
        run = con.execute("select as_of_date, started_at from warehouse.raw.ledger_run").fetchone()
        if run is None:
            raise PublicationError("the warehouse does not say which run it holds")
        con.execute(
            "create table published.ledger_run as select ?::varchar as run_id, ?::date as as_of_date, "
            "?::timestamptz as published_at, ?::integer as contract_version",
            [run_id, run[0], published_at, CONTRACT_VERSION],
        )
        con.execute("checkpoint published")
        con.execute("detach published")
        con.execute(f"attach {_quoted(new_database)} as copy (read_only)")
        tables = []
        for name in names:
            totals = _totals(con, f'warehouse.marts."{name}"')
            if _totals(con, f'copy."{name}"') != totals:
                raise PublicationError(f"{name} differs between the warehouse and its published copy")
            new_parquet = target / "parquet" / f".{name}.parquet.new"
            con.execute(f'copy copy."{name}" to {_quoted(new_parquet)} (format parquet, compression zstd)')
            tables.append(
                PublishedTable(
                    name=name,
                    row_count=totals[0],
                    cost_usd={column: str(total) for column, total in totals[1].items() if total is not None},
                    parquet_sha256=_durable_sha256(new_parquet),
                )
            )
    finally:
        con.close()
    new_report, report_problem = None, None
    try:
        new_report = _new_report(settings, new_database)
    except ReportError as error:
        logger.exception("the tables are published without a report of their own")
        report_problem = str(error)
    manifest = {
        "contract_version": CONTRACT_VERSION,
        "run_id": run_id,
        "as_of_date": str(run[0]),
        "published_at": published_at.isoformat(),
        "database": {"file": settings.published_database.name, "sha256": _durable_sha256(new_database)},
        "report": None if new_report is None else _report_entry(settings, new_report),
        "report_problem": report_problem,
        "tables": [asdict(table) for table in tables],
    }
    new_manifest = target / ".manifest.json.new"
    new_manifest.write_text(json.dumps(manifest, indent=2) + "\n")
    _durable_sha256(new_manifest)
    new_database.replace(settings.published_database)
    for table in tables:
        (target / "parquet" / f".{table.name}.parquet.new").replace(target / "parquet" / f"{table.name}.parquet")
    if new_report is not None:
        new_report.replace(settings.report_file)
        sync_folder(settings.report_file.parent)
    new_manifest.replace(target / "manifest.json")
    sync_folder(target)
    for stale in set((target / "parquet").glob("*.parquet")) - {
        target / "parquet" / f"{table.name}.parquet" for table in tables
    }:
        stale.unlink()
    return manifest


def write_report(settings: Settings) -> Path:
    """Makes the report of what is published anew, such as after an upgrade, and returns where it is.

    Its entry in the manifest follows it.

    Raises:
        FileNotFoundError: nothing has been published yet.
        ReportError: the page cannot be made of these tables.
    """
    manifest_file = settings.published_dir / "manifest.json"
    if not settings.published_database.exists() or not manifest_file.exists():
        raise FileNotFoundError(f"nothing is published in {settings.published_dir}; run `inference-ledger run` first")
    new_report = _new_report(settings, settings.published_database)
    manifest = json.loads(manifest_file.read_text())
    manifest["report"] = _report_entry(settings, new_report)
    manifest["report_problem"] = None
    new_manifest = manifest_file.with_name(".manifest.json.new")
    new_manifest.write_text(json.dumps(manifest, indent=2) + "\n")
    _durable_sha256(new_manifest)
    new_report.replace(settings.report_file)
    new_manifest.replace(manifest_file)
    return settings.report_file


def _new_report(settings: Settings, database: Path) -> Path:
    """The page beside its place."""
    new_report = settings.report_file.with_name(f".{settings.report_file.name}.new")
    try:
        new_report.parent.mkdir(parents=True, exist_ok=True)
        # The charts' library takes a moment to load, which commands that only read need not wait for.
        from orchestration.report.page import build_report

        build_report(database, new_report)
    except Exception as error:  # noqa: BLE001 - whatever it is: a page never holds back the tables
        new_report.unlink(missing_ok=True)
        raise ReportError(f"{type(error).__name__}: {error}") from error
    return new_report


def _report_entry(settings: Settings, new_report: Path) -> dict[str, object]:
    return {
        "file": settings.report_file.relative_to(settings.published_dir).as_posix(),
        "sha256": _durable_sha256(new_report),
        "size_bytes": new_report.stat().st_size,
    }


def differing_files(settings: Settings, manifest: dict[str, Any]) -> list[str]:
    """Says which published files are not what the manifest names: one that was cut off opens without complaint."""
    stated = {settings.published_database: manifest["database"]["sha256"]}
    if manifest.get("report") is not None:  # a manifest of an older release names none
        stated[settings.report_file] = manifest["report"]["sha256"]
    for table in manifest["tables"]:
        stated[settings.published_dir / "parquet" / f"{table['name']}.parquet"] = table["parquet_sha256"]
    return [
        f"{path.name} is not what was published" if path.exists() else f"{path.name} is missing"
        for path, digest in stated.items()
        if not path.exists() or _sha256(path) != digest
    ]


def _by_time(con: duckdb.DuckDBPyConnection, name: str) -> str:
    """Orders the rows of a mart by its first column of a day or an instant, if it has one."""
    row = con.execute(
        "select min_by(column_name, column_index) from duckdb_columns() where database_name = 'warehouse' "
        "and schema_name = 'marts' and table_name = ? and data_type in ('DATE', 'TIMESTAMP WITH TIME ZONE')",
        [name],
    ).fetchone()
    return f'order by "{row[0]}"' if row and row[0] else ""


def remember_published_costs(con: duckdb.DuckDBPyConnection, settings: Settings) -> int:
    """Copies what the published file says of each day's cost (`fct_cost_versions`) into `raw.published_costs`.

    Without a published file, or with one that cannot be read or is older than the table, what the warehouse remembers
    stands. Returns the number of statements remembered.
    """
    if settings.published_database.exists():
        try:
            con.execute(f"attach {_quoted(settings.published_database)} as published_before (read_only)")
        except duckdb.Error as error:
            logger.warning("%s cannot be read: %s", settings.published_database, error)
        else:
            if "fct_cost_versions" in _tables(con, "published_before"):
                con.execute("begin transaction")
                con.execute("delete from raw.published_costs")
                con.execute(
                    """
                    insert into raw.published_costs by name
                    select usage_date, scope, name, pricing_category, version_number, stated_at, run_id, is_withdrawn,
                        provider, gpu_hours, cost_usd, rate_basis, total_tokens
                    from published_before.fct_cost_versions
                    """
                )
                con.execute("commit")
            con.execute("detach published_before")
    row = con.execute("select count(*) from raw.published_costs").fetchone()
    return row[0] if row else 0


def open_published(settings: Settings) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the published file that can reach no other file, host or setting.

    Raises:
        FileNotFoundError: nothing has been published yet.
    """
    if not settings.published_database.exists():
        raise FileNotFoundError(f"nothing is published in {settings.published_dir}; run `inference-ledger run` first")
    con = duckdb.connect(str(settings.published_database), read_only=True)
    con.execute("set timezone = 'UTC'")
    con.execute("set enable_external_access = false")
    con.execute("set lock_configuration = true")
    return con


def export_focus(settings: Settings, target: Path, *, month: date | None = None) -> int:
    """Writes the published FOCUS rows to `target`, Parquet or CSV by its ending, and returns how many they are.

    Args:
        settings: from `load_settings`.
        target: the file to write; replaced whole.
        month: a day of the billing period to write; None for all that is published.

    Raises:
        FileNotFoundError: nothing has been published yet.
    """
    if not settings.published_database.exists():
        raise FileNotFoundError(f"nothing is published in {settings.published_dir}; run `inference-ledger run` first")
    options = (
        "format parquet, compression zstd"
        if target.suffix == ".parquet"
        # FOCUS writes an instant as 2026-10-01T00:00:00Z.
        else "format csv, header, timestampformat '%Y-%m-%dT%H:%M:%SZ'"
    )
    period = "true" if month is None else f"BillingPeriodStart = timestamptz '{month:%Y-%m}-01 00:00:00+00'"
    new_file = target.with_name(f".{target.name}.new")
    with duckdb.connect() as con:
        con.execute("set timezone = 'UTC'")
        con.execute(f"attach {_quoted(settings.published_database)} as published (read_only)")
        row = con.execute(
            f"copy (select * from published.focus_cost_and_usage where {period} order by all) "
            f"to {_quoted(new_file)} ({options})"
        ).fetchone()
    new_file.replace(target)
    return int(row[0]) if row else 0


def _tables(con: duckdb.DuckDBPyConnection, database: str) -> set[str]:
    found = con.execute("select table_name from duckdb_tables() where database_name = ?", [database]).fetchall()
    return {row[0] for row in found}


def _copy_comments(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Carries dbt's descriptions over, so that a client shows units beside the columns."""
    table = con.execute(
        """
        select comment from duckdb_tables()
        where database_name = 'warehouse' and schema_name = 'marts' and table_name = $name
        union all
        select comment from duckdb_views()
        where database_name = 'warehouse' and schema_name = 'marts' and view_name = $name
        """,
        {"name": name},
    ).fetchone()
    if table and table[0]:
        con.execute(f'comment on table published."{name}" is {_quoted(table[0])}')
    for column, comment in con.execute(
        "select column_name, comment from duckdb_columns() where database_name = 'warehouse' "
        "and schema_name = 'marts' and table_name = ? and comment is not null",
        [name],
    ).fetchall():
        con.execute(f'comment on column published."{name}"."{column}" is {_quoted(comment)}')


def _totals(con: duckdb.DuckDBPyConnection, table: str) -> tuple[int, dict[str, Decimal | None]]:
    columns = [
        row[0]
        for row in con.execute(f"describe select * from {table}").fetchall()
        if str(row[0]).endswith("cost_usd") and str(row[1]).startswith("DECIMAL")
    ]
    sums = "".join(f', sum("{column}")' for column in columns)
    row = con.execute(f"select count(*){sums} from {table}").fetchone() or (0,)
    return row[0], dict(zip(columns, row[1:], strict=True))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _durable_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    return _sha256(path)


def sync_folder(path: Path) -> None:
    """Puts the names in a folder on disk: what was renamed into it stays there after a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"
