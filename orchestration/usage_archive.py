"""Usage whose records were pruned: what the models said of it, kept beside the warehouse.

Calls, scrapes and lines of engine logs are by far the largest tables, and what they add up to by hour and day is small.
`inference-ledger prune` writes those sums to `data/archive/usage` as Parquet, month by month, and deletes the records.
From then on no run works these days out anew, whatever changes: incremental models leave them alone, and a model that
is built anew takes them from here (dbt macros `records_start_at`, `with_archived`). Like `data/landing` the folder is
the only copy once the logs are gone; the warehouse can be filled again from it.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb

from orchestration.publication import sync_folder
from orchestration.serving_logs.fields import literal_text, quoted
from orchestration.settings import Settings

# The models that read records and keep rows, and the column that says when each row was: their meta.window_column.
ARCHIVED = {
    "int_calls__conflicting": "started_at",
    "int_calls__matched_daily": "usage_date",
    "int_counter_increases__hourly": "usage_hour_at",
    "int_engine_log_usage__hourly": "usage_hour_at",
    "int_latency_targets__daily": "usage_date",
    "int_request_activity__hourly": "usage_hour_at",
    "int_request_usage__hourly": "usage_hour_at",
    "int_start_ups__hourly": "usage_hour_at",
    "int_usage_anomalies": "scraped_at",
}
# The records, their UTC day, and about how many bytes one takes, as benchmarks/request_logs.py, metric_scrapes.py and
# engine_logs.py print it.
RECORDS = {
    "raw.requests": ("usage_date", 64),
    "raw.metric_samples": ("usage_date", 12),
    "raw.engine_log_windows": ("usage_date", 80),
    "intermediate.int_counter_deltas": ("cast(scraped_at as date)", 15),
}
# Of the days before the first one that is not archived so many keep their records: what follows is read from there on.
# An increase stands up to 84 hours before its scrape, and is measured from a scrape up to 168 hours before that one
# (dbt macro scrape_look_back_hours); a call lasts a day at most.
TAIL_DAYS = 11


class UsageArchiveError(Exception):
    """Usage cannot be archived, or its archive is not whole."""


@dataclass(frozen=True, slots=True)
class UsageArchive:
    """The manifest: days from `first_usage_date` up to `archived_until`, exclusive, UTC. `files`: path -> bytes."""

    first_usage_date: date
    archived_until: date
    files: Mapping[str, int]


def read_archive(settings: Settings) -> UsageArchive | None:
    """What is archived; None where nothing is.

    Raises:
        UsageArchiveError: a file of it is missing, or not the one that was written.
    """
    folder = settings.usage_archive_dir
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        archive = UsageArchive(
            date.fromisoformat(manifest["first_usage_date"]),
            date.fromisoformat(manifest["archived_until"]),
            dict(manifest["files"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise UsageArchiveError(f"{folder / 'manifest.json'} cannot be read; restore {folder} from a backup") from None
    for name, byte_count in archive.files.items():
        path = folder / name
        if not path.exists() or path.stat().st_size != byte_count:
            raise UsageArchiveError(
                f"{path} is missing or not the file that was written; restore {folder} from a backup: "
                f"usage before {archive.archived_until} stands nowhere else once the warehouse is made anew"
            )
    return archive


def open_archive(con: duckdb.DuckDBPyConnection, settings: Settings) -> UsageArchive | None:
    """Shows the archive to the models: `raw.usage_archive`, and a view of each model's rows in the schema `archive`.

    Raises:
        UsageArchiveError: as `read_archive`.
    """
    archive = read_archive(settings)
    con.execute("delete from raw.usage_archive")
    con.execute("drop schema if exists archive cascade")
    if archive is None:
        return None
    con.execute("insert into raw.usage_archive values (?, ?)", [archive.first_usage_date, archive.archived_until])
    con.execute("create schema archive")
    for model in ARCHIVED:
        paths = [str(settings.usage_archive_dir / name) for name in archive.files if name.startswith(f"{model}/")]
        if paths:  # none: a model that is younger than the archive
            con.execute(
                f"create view archive.{model} as select * from "
                f"read_parquet([{', '.join(map(literal_text, paths))}], union_by_name = true)"
            )
    return archive


def archive_usage(con: duckdb.DuckDBPyConnection, settings: Settings, until: date) -> None:
    """Archives what the models say of the days before `until`, and deletes the records that it was made of.

    Killed on the way, it leaves all records or an archive that is whole; the next call does the rest.

    Args:
        con: from `Warehouse.connect`.
        settings: from `load_settings`.
        until: a UTC day, exclusive; days that are archived stay as they are.

    Raises:
        UsageArchiveError: the marts do not hold these days as they are, or the archive is not whole.
    """
    archive = read_archive(settings)
    if archive is None or archive.archived_until < until:
        _require_settled(con, until)
        archive = _write_archive(con, settings, archive, until)
    open_archive(con, settings)  # at once: who has dbt build anew from Dagster's page may leave out write_ledger
    delete_archived_records(con, archive.archived_until)
    con.execute("checkpoint")


def delete_archived_records(con: duckdb.DuckDBPyConnection, archived_until: date) -> int:
    """Deletes the records of archived days, but for the last TAIL_DAYS; returns how many those were."""
    kept = archived_until - timedelta(days=TAIL_DAYS)
    return sum(
        con.execute(f"delete from {table} where {day} < ?", [kept]).fetchall()[0][0]
        for table, (day, _) in existing_records(con).items()
    )


def existing_records(con: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, int]]:
    """Those of RECORDS that the warehouse has: a new one has none of dbt's tables."""
    tables = con.execute("select schema_name || '.' || table_name from duckdb_tables()").fetchall()
    return {table: RECORDS[table] for (table,) in tables if table in RECORDS}


def _require_settled(con: duckdb.DuckDBPyConnection, until: date) -> None:
    tables = con.execute("select table_name from duckdb_tables() where schema_name = 'intermediate'").fetchall()
    built = {name for (name,) in tables}
    as_of = con.execute("select max(as_of_date) from raw.ledger_run").fetchall()[0][0]
    if as_of is None or as_of < until or not built.issuperset(ARCHIVED):
        raise UsageArchiveError(f"no run has computed all days before {until}; run `inference-ledger run` first")
    if con.execute("select count(*) from raw.pending_usage_days where usage_date < ?", [until]).fetchall() != [(0,)]:
        raise UsageArchiveError(f"usage before {until} has changed since; run `inference-ledger run` first")


def _write_archive(
    con: duckdb.DuckDBPyConnection, settings: Settings, archive: UsageArchive | None, until: date
) -> UsageArchive:
    folder = settings.usage_archive_dir
    files = dict(archive.files) if archive else {}
    first: date | None = archive.first_usage_date if archive else None
    for model, column in ARCHIVED.items():
        described = con.execute(f"describe intermediate.{model}").fetchall()
        if unkept := [name for name, kind, *_ in described if "HUGEINT" in kind]:
            raise UsageArchiveError(f"Parquet has no type for {model}.{unkept[0]}; its model must cast it to bigint")
        name = f"{model}/until-{until}.parquet"
        new = folder / f"{name}.new"
        new.parent.mkdir(parents=True, exist_ok=True)
        since = f"and {column} >= date '{archive.archived_until}'" if archive else ""
        rows = f"from intermediate.{model} where {column} < date '{until}' {since}"
        columns = ", ".join(quoted(row[0]) for row in described)
        con.execute(f"copy (select {columns} {rows}) to {literal_text(str(new))} (format parquet, compression zstd)")
        first_row = con.execute(f"select cast(min({column}) as date) {rows}").fetchall()[0][0]
        first = min((day for day in (first, first_row) if day), default=None)
        files[name] = new.stat().st_size
        _replace(new, folder / name)
    written = UsageArchive(first or until, until, files)
    manifest = folder / "manifest.json.new"
    manifest.write_text(json.dumps(asdict(written), default=str, indent=2), encoding="utf-8")
    _replace(manifest, folder / "manifest.json")
    return written


def _replace(new: Path, path: Path) -> None:
    """Puts a file in its place, on disk before anything that speaks of it."""
    with new.open("rb") as stream:
        os.fsync(stream.fileno())
    new.replace(path)
    sync_folder(path.parent)
