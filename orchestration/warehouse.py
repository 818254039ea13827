"""The pipeline's DuckDB file: opening it, and every write into the raw room.

One writer at a time: DuckDB locks the file against every other process, readers included, so connections are short
and readers open the published copy instead. Each commit below is one transaction that replaces a whole snapshot or a
whole file, so repeating it changes nothing and a killed run leaves nothing half-written. The file is a cache of
landing, logs and ledger.yaml; a sidecar manifest tells when it has lost something (a truncated write-ahead log opens
without a word), and then it is set aside and filled again.
"""

import json
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.expectations import PRICE_RULES, USAGE_RULES, check_batch, failing_rows
from orchestration.serving_logs import (
    KnownFile,
    LogFile,
    UnreadableFile,
    discover,
    insert_clean_litellm,
    stage_litellm,
    stage_vllm,
)
from orchestration.settings import Ledger, Settings, UsageSource
from scrapers.landing import EntryKind, LandedEntry
from scrapers.records import ParsedSnapshot, PriceRecord, Rejection

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

LOCK_WAIT_SECONDS = 60
_DAMAGE = re.compile(r"corrupt|checksum|not a valid DuckDB|enough bytes|write-ahead|\bWAL\b|block", re.IGNORECASE)
NAMED_PROBLEMS = 10
LOOK_BACK_DAYS = 2  # with the day itself: the last three days are rebuilt, for late rows
USAGE_TABLES = {"vllm_metrics": "vllm_samples", "litellm": "litellm_requests"}


class WarehouseUnusableError(Exception):
    """The warehouse cannot be opened for a reason that a new file would not cure: rights, a newer format, limits."""


class WarehouseLockedError(WarehouseUnusableError):
    """Another process holds the warehouse open."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What became of one landed entry."""

    outcome: str  # loaded | unchanged | refused | failed
    fetch_id: str
    record_count: int
    rejected_count: int
    message: str | None


@dataclass(frozen=True, slots=True)
class UsageResult:
    """What one usage source brought in this run.

    `failures` are the gate's sentences, one per broken rule; `problems` name files that were not read, or in part.
    """

    file_count: int
    unchanged_file_count: int
    record_count: int
    rejected_count: int
    partial_file_count: int
    refused_file_count: int
    failures: list[str]
    problems: list[str]


class Warehouse:
    """`<data_dir>/warehouse.duckdb` with its raw schema."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._manifest_path = path.with_suffix(".manifest.json")

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for writing; on the way out the file is checkpointed and its manifest written.

        Raises:
            WarehouseLockedError: another process has held the file for more than a minute.
            WarehouseUnusableError: the file cannot be opened, and not because its content is damaged.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self._manifest_path.unlink(missing_ok=True)  # deleted on purpose: filled again from landing and logs
        try:
            con = self._open()
        except (duckdb.Error, _RowsLostError) as error:
            if not _is_damage(error):
                raise WarehouseUnusableError(f"{self.path} cannot be opened: {error}") from None
            self._set_aside()
            con = self._open()
        try:
            yield con
            con.execute("checkpoint")
            self._write_manifest(con)
        finally:
            con.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        con = self._connect_when_free()
        try:
            con.execute(resources.files("orchestration").joinpath("raw_schema.sql").read_text())
            self._compare_with_manifest(con)
        except BaseException:
            con.close()
            raise
        return con

    def _connect_when_free(self) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        wait = 0.1
        while True:
            try:
                con = duckdb.connect(str(self.path))
            except duckdb.IOException as error:
                if "lock" not in str(error).lower():
                    raise
                if time.monotonic() > deadline:
                    raise WarehouseLockedError(
                        f"{self.path} is held open by another process; end it (a second run, a DuckDB shell, a BI "
                        "tool) and run again. Readers should open the published copy"
                    ) from None
                time.sleep(wait)
                wait = min(wait * 2, 5)
            else:
                # Row order means nothing in these tables, and keeping it would hold bulk loads to one thread.
                con.execute("set timezone = 'UTC'; set preserve_insertion_order = false")
                return con

    def _set_aside(self) -> None:
        """Moves a damaged file out of the way; the run fills a new one from landing, logs and ledger.yaml."""
        aside = self.path.parent / "quarantine" / datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        aside.mkdir(parents=True, exist_ok=True)
        logger.warning("%s is damaged; moved to %s and filled again", self.path.name, aside)
        for path in (self.path, Path(f"{self.path}.wal"), self._manifest_path):
            if path.exists():
                path.rename(aside / path.name)

    def _write_manifest(self, con: duckdb.DuckDBPyConnection) -> None:
        temporary = self._manifest_path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump({"rows": _kept_rows(con)}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._manifest_path)

    def _compare_with_manifest(self, con: duckdb.DuckDBPyConnection) -> None:
        """More rows than the manifest says are fine: a run was killed after its commit.

        A manifest that cannot be read says nothing; it is written anew when the connection closes.
        """
        try:
            expected = dict(json.loads(self._manifest_path.read_bytes())["rows"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            logger.warning("%s cannot be read and is written anew", self._manifest_path)
            return
        for table, rows in _kept_rows(con).items():
            if rows < expected.get(table, 0):
                raise _RowsLostError(f"raw.{table} has {rows} rows, its manifest says {expected[table]}")


def _is_damage(error: Exception) -> bool:
    """Whether an error in opening tells of damaged content. Anything else must not cost the user the file."""
    if isinstance(
        error, _RowsLostError | duckdb.SerializationException | duckdb.InternalException | duckdb.FatalException
    ):
        return True
    return isinstance(error, duckdb.Error) and bool(_DAMAGE.search(str(error)))


class _RowsLostError(Exception):
    """The file opened with fewer rows than were committed: its write-ahead log was cut."""


def _kept_rows(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Row counts of the two tables whose rows are never deleted."""
    return {
        "source_fetches": _scalar(con, "select count(*) from raw.source_fetches"),
        "usage_files": _scalar(con, "select count(*) from raw.usage_files"),
    }


@contextmanager
def _transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    con.execute("begin")
    try:
        yield
        con.execute("commit")
    except BaseException:
        con.execute("rollback")
        raise


def _scalar(con: duckdb.DuckDBPyConnection, query: str, arguments: Sequence[object] = ()) -> Any:
    row = con.execute(query, list(arguments)).fetchone()
    return None if row is None else row[0]


# --- prices ---------------------------------------------------------------------------------------------------------


def known_fetches(con: duckdb.DuckDBPyConnection, source: str) -> set[str]:
    """Ids of the landed entries of `source` that are in the raw room already."""
    return {
        row[0] for row in con.execute("select fetch_id from raw.source_fetches where source = ?", [source]).fetchall()
    }


def load_price_entry(
    con: duckdb.DuckDBPyConnection,
    entry: LandedEntry,
    parsed: ParsedSnapshot | None,
    *,
    work_dir: Path,
    landing_path: str,
    unreadable: str | None = None,
    accept_smaller: bool = False,
) -> LoadResult:
    """Brings one landed entry into the raw room: its prices if they pass the gate, and always its fetch record.

    Args:
        con: from `Warehouse.connect`.
        entry: a snapshot, or the note that a source was unchanged or failed.
        parsed: what the source's parser made of the snapshot; None when there is none or it could not be parsed.
        work_dir: a folder on local disk for the records on their way to DuckDB.
        landing_path: where the entry lies, relative to the data directory.
        unreadable: why a snapshot could not be parsed.
        accept_smaller: take a snapshot that is much shorter than the one before.
    """
    outcome, message = str(entry.kind), entry.message
    if entry.kind is EntryKind.UNCHANGED:
        # The same bytes that were refused before are not good now.
        refused = con.execute(
            "select outcome, message from raw.source_fetches where fetch_id = ? and outcome = 'refused'",
            [entry.snapshot_id],
        ).fetchone()
        outcome, message = refused or (outcome, message)
    if entry.kind is EntryKind.SNAPSHOT:
        if parsed is None:
            outcome, message = "refused", unreadable
        else:
            _stage_price_records(con, entry, parsed.records, work_dir)
            frame = _price_frame(con, entry, parsed)
            if accept_smaller:
                frame["share_of_previous"] = float("nan")
            failures = check_batch(frame, PRICE_RULES)
            outcome = "refused" if failures else "loaded"
            message = "; ".join(f"{entry.source} {entry.dataset} {failure}" for failure in failures) or None
    rejections = parsed.rejections if parsed else []
    with _transaction(con):
        for table, key in (
            ("price_records", "snapshot_id"),
            ("rejected_records", "batch_id"),
            ("source_fetches", "fetch_id"),
        ):
            con.execute(f"delete from raw.{table} where {key} = ?", [entry.entry_id])
        if outcome == "loaded":
            con.execute("insert into raw.price_records by name select * from staged_price_records")
        _insert_rejections(con, entry, rejections)
        con.execute(
            "insert into raw.source_fetches values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                entry.entry_id,
                entry.source,
                entry.dataset,
                entry.fetched_at,
                outcome,
                entry.snapshot_id,
                str(entry.origin),
                len(parsed.records) if parsed else None,
                len(rejections) if parsed else None,
                sum(parsed.skipped.values()) if parsed else None,
                entry.source_url,
                landing_path,
                message,
            ],
        )
    return LoadResult(
        outcome=outcome,
        fetch_id=entry.entry_id,
        record_count=len(parsed.records) if parsed else 0,
        rejected_count=len(rejections),
        message=message,
    )


def _stage_price_records(
    con: duckdb.DuckDBPyConnection, entry: LandedEntry, records: Iterable[PriceRecord], work_dir: Path
) -> None:
    """Records go through a JSON Lines file with decimals as text: typed by declaration, never by inference."""
    names = [field.name for field in fields(PriceRecord)]
    work_dir.mkdir(parents=True, exist_ok=True)
    path = work_dir / "price_records.jsonl"
    with path.open("w", encoding="utf-8") as out:
        for number, record in enumerate(records, start=1):
            row = {name: _as_json(getattr(record, name)) for name in names}
            out.write(json.dumps({**row, "record_number": number}) + "\n")
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    types = dict(
        con.execute(
            "select column_name, data_type from information_schema.columns "
            "where table_schema = 'raw' and table_name = 'price_records'"
        ).fetchall()
    )
    casts = ", ".join(f"cast({name} as {types[name]}) as {name}" for name in names)
    con.execute(
        f"""
        create or replace temp table staged_price_records as
        select
            ? as snapshot_id, ? as source, ? as dataset, cast(? as timestamptz) as fetched_at, record_number, {casts}
        from read_json(?, format = 'newline_delimited', columns = {{{columns}, 'record_number': 'BIGINT'}})
        """,
        [entry.snapshot_id, entry.source, entry.dataset, entry.fetched_at, str(path)],
    )
    path.unlink()


def _as_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bool):
        return str(value).lower()
    return value


def price_measures(records: str) -> str:
    """A query with one row per snapshot of the relation `records`: the counts and extremes that the gate looks at."""
    return f"""
        with repeated as (
            select snapshot_id, count(*) as repeated_key_count
            from (
                select snapshot_id from {records}
                group by
                    snapshot_id, sku_id, offer_id, region_raw, zone_raw, pricing_model_raw, term_raw,
                    payment_option_raw, price_unit_raw
                having count(distinct price_amount) > 1
            ) as repeated_keys
            group by snapshot_id
        )
        select
            snapshot_id,
            cast(count(*) as double) as record_count,
            cast(count(*) filter (price_currency <> 'USD') as double) as foreign_currency_count,
            cast(coalesce(max(repeated_key_count), 0) as double) as repeated_key_count,
            cast(max(price_amount) as double) as max_price_amount
        from {records}
        left join repeated using (snapshot_id)
        group by snapshot_id
    """


def _price_frame(con: duckdb.DuckDBPyConnection, entry: LandedEntry, parsed: ParsedSnapshot) -> "pd.DataFrame":
    """The snapshot in one row of counts and extremes, for the gate."""
    reasons = Counter(rejection.reason for rejection in parsed.rejections)
    top_reason = reasons.most_common(1)[0][0] if reasons else "none"
    rejected = len(parsed.rejections)
    return con.execute(
        f"""
        with previous as (
            select record_count from raw.source_fetches
            where source = $source and dataset = $dataset and outcome = 'loaded' and fetched_at < $fetched_at
            order by fetched_at desc limit 1
        )
        select
            $source as source,
            coalesce(measures.record_count, 0) as record_count,
            cast((select record_count from previous) as double) as previous_count,
            coalesce(measures.record_count, 0) / nullif((select record_count from previous), 0)::double
                as share_of_previous,
            cast($rejected as double) as rejected_count,
            $rejected / nullif(coalesce(measures.record_count, 0) + $rejected, 0)::double as rejected_share,
            coalesce(measures.foreign_currency_count, 0) as foreign_currency_count,
            coalesce(measures.repeated_key_count, 0) as repeated_key_count,
            measures.max_price_amount,
            $top_reason as top_reason
        from (select 1) as one
        left join ({price_measures("staged_price_records")}) as measures on true
        """,
        {
            "source": entry.source,
            "dataset": entry.dataset,
            "fetched_at": entry.fetched_at,
            "rejected": rejected,
            "top_reason": top_reason,
        },
    ).df()


def _insert_rejections(con: duckdb.DuckDBPyConnection, entry: LandedEntry, rejections: Sequence[Rejection]) -> None:
    counted: dict[tuple[str, str | None], list[Rejection]] = {}
    for rejection in rejections:
        counted.setdefault((rejection.reason, rejection.field), []).append(rejection)
    for (reason, field), alike in counted.items():
        con.execute(
            "insert into raw.rejected_records values (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                entry.source,
                entry.entry_id,
                str(reason),
                field,
                alike[0].location,
                alike[0].detail,
                len(alike),
                entry.fetched_at,
            ],
        )


# --- usage ----------------------------------------------------------------------------------------------------------


def load_usage(
    con: duckdb.DuckDBPyConnection, source: UsageSource, settings: Settings, *, now: datetime, work_dir: Path
) -> UsageResult:
    """Reads the new and changed files of one usage source, gates them, and replaces their rows whole."""
    known = {
        row[0]: KnownFile(*row[1:])
        for row in con.execute(
            "select file_path, file_id, size_bytes, modified_at from raw.usage_files "
            "where source_name = ? and status <> 'refused'",
            [source.name],
        ).fetchall()
    }
    found = discover(source, settings, known)
    failures: list[str] = []
    if found.changed and not _load_clean(con, source, found.changed, now):
        failures = _load_with_rejects(con, source, found.changed, now, work_dir)
    with _transaction(con):
        _replace_unreadable(con, source, found.unreadable, now)
    problems = [f"{source.name}: {file.path} was not read: {file.reason}" for file in found.unreadable]
    if found.changed:
        problems += [
            f"{source.name}: {path} was read in part: {message}"
            if status == "partial"
            else f"{source.name}: {path} was not read"
            for path, status, message in con.execute(
                "select file_path, status, message from staged_files "
                "where status = 'partial' or status = 'refused' and message <> 'gate' order by file_path"
            ).fetchall()
        ]
    if len(problems) > NAMED_PROBLEMS:
        problems = [*problems[:NAMED_PROBLEMS], f"{source.name}: and {len(problems) - NAMED_PROBLEMS} more files"]
    totals = (
        con.execute(
            "select coalesce(sum(record_count) filter (status <> 'refused'), 0), coalesce(sum(rejected_count), 0), "
            "count(*) filter (status = 'partial'), count(*) filter (status = 'refused') from staged_files"
        ).fetchone()
        if found.changed
        else None
    ) or (0, 0, 0, 0)
    return UsageResult(
        file_count=len(found.changed),
        unchanged_file_count=found.unchanged_count,
        record_count=int(totals[0]),
        rejected_count=int(totals[1]) + len(found.unreadable),
        partial_file_count=int(totals[2]),
        refused_file_count=int(totals[3]) + len(found.unreadable),
        failures=failures,
        problems=problems,
    )


def _load_clean(con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime) -> bool:
    """Loads payloads of which every line is usable and no rule broken; False, with nothing changed, where one is."""
    if source.kind != "litellm":
        return False
    try:
        with _transaction(con), _replaced_rows(con, source, files, refused=[]):
            insert_clean_litellm(con, source, files, now)
            _require_passed_gate(con, source)
            _list_loaded_files(con, source, now)
    except (duckdb.Error, _GateError):
        return False
    return True


class _GateError(Exception):
    """A rule was broken on the way that keeps no rejects."""


def _require_passed_gate(con: duckdb.DuckDBPyConnection, source: UsageSource) -> None:
    failures, _ = _gate_usage(con, source)
    if failures:
        raise _GateError


def _load_with_rejects(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime, work_dir: Path
) -> list[str]:
    """Loads what is usable and keeps count of the rest; returns the rules broken. A file that broke one is refused."""
    if source.kind == "vllm_metrics":
        stage_vllm(con, source, files, now)
    else:
        stage_litellm(con, source, files, now, work_dir)
    failures, refused = _gate_usage(con, source)
    with _transaction(con), _replaced_rows(con, source, files, refused=refused):
        con.execute(
            "update staged_files set status = 'refused', message = 'gate' where list_contains(?, file_id)", [refused]
        )
        con.execute(
            f"insert into raw.{USAGE_TABLES[source.kind]} by name select * from staged_records "
            "where file_id in (select file_id from staged_files where status <> 'refused')"
        )
        _list_loaded_files(con, source, now)
    return failures


@contextmanager
def _replaced_rows(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], *, refused: Sequence[str]
) -> Iterator[None]:
    """The files' rows are deleted before and inserted inside; the days of both are noted for rebuilding."""
    rows = f"raw.{USAGE_TABLES[source.kind]} where file_id in (select unnest(?))"
    note_days = f"insert into raw.pending_usage_days select distinct usage_date from {rows}"
    file_ids = [file.file_id for file in files if file.file_id not in refused]
    con.execute(note_days, [file_ids])
    con.execute(f"delete from {rows}", [file_ids])
    yield
    con.execute(note_days, [file_ids])


def _list_loaded_files(con: duckdb.DuckDBPyConnection, source: UsageSource, now: datetime) -> None:
    con.execute("delete from raw.rejected_records where batch_id in (select file_id from staged_files)")
    con.execute("delete from raw.usage_files where file_id in (select file_id from staged_files)")
    con.execute("insert into raw.usage_files by name select * from staged_files")
    con.execute(
        """
        insert into raw.rejected_records
        select ?, file_id, reason, field, first_location, null, occurrences, ? from staged_rejects
        """,
        [source.name, now],
    )


def _gate_usage(con: duckdb.DuckDBPyConnection, source: UsageSource) -> tuple[list[str], list[str]]:
    """Checks the staged files; returns the failed rules as sentences, and the ids of the files that broke one."""
    tokens = (
        "min(value)"
        if source.kind == "vllm_metrics"
        else "min(least(coalesce(prompt_tokens, 0), coalesce(completion_tokens, 0)))"
    )
    frame = con.execute(
        f"""
        with lowest as (select file_id, cast({tokens} as double) as min_tokens from staged_records group by file_id),
        reasons as (select file_id, arg_max(reason, occurrences) as top_reason from staged_rejects group by file_id)
        select
            files.file_id,
            cast(record_count as double) as record_count,
            cast(rejected_count as double) as rejected_count,
            rejected_count / nullif(record_count + rejected_count, 0)::double as rejected_share,
            lowest.min_tokens,
            cast(last_usage_date - first_usage_date as double) as span_days,
            coalesce(reasons.top_reason, 'none') as top_reason,
            files.file_path
        from staged_files as files
        left join lowest on files.file_id = lowest.file_id
        left join reasons on files.file_id = reasons.file_id
        """
    ).df()
    failures = check_batch(frame, USAGE_RULES)
    if not failures:
        return [], []
    refused = failing_rows(frame, USAGE_RULES, "file_id")
    named = frame[frame["file_id"].isin(refused)]["file_path"].tolist()
    return [f"{source.name}: a file {failure}" for failure in failures] + [
        f"refused {path}" for path in named[:10]
    ], refused


def _replace_unreadable(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: Sequence[UnreadableFile], now: datetime
) -> None:
    con.execute("delete from raw.rejected_records where source = ? and batch_id = 'unreadable'", [source.name])
    for file in files:
        con.execute(
            "insert into raw.rejected_records values (?, 'unreadable', ?, null, ?, null, 1, ?)",
            [source.name, file.reason, str(file.path), now],
        )


# --- ledger.yaml ----------------------------------------------------------------------------------------------------


def write_ledger(con: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    """Replaces the four `raw.ledger_*` tables that mirror ledger.yaml."""
    with _transaction(con):
        for table in (
            "ledger_deployments",
            "ledger_commitments",
            "ledger_usage_routes",
            "ledger_price_sources",
        ):
            con.execute(f"delete from raw.{table}")
        for index, entry in enumerate(ledger.fleet):
            con.execute(
                "insert into raw.ledger_deployments values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    f"{entry.deployment}#{index}",
                    entry.deployment,
                    entry.model,
                    entry.provider,
                    entry.region,
                    entry.instance_type,
                    entry.replicas,
                    entry.gpus_per_replica,
                    entry.pricing.model,
                    entry.pricing.commitment,
                    entry.pricing.rate_usd_per_gpu_hour,
                    entry.from_,
                    entry.to,
                ],
            )
        for commitment in ledger.commitments:
            con.execute(
                "insert into raw.ledger_commitments values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    commitment.id,
                    commitment.provider,
                    commitment.region,
                    commitment.instance_type,
                    commitment.count,
                    commitment.term_months,
                    commitment.payment_option,
                    commitment.rate_usd_per_gpu_hour,
                    commitment.upfront_usd,
                    commitment.from_,
                    commitment.to,
                ],
            )
        for source in ledger.usage:
            for model, deployment in source.routes().items():
                con.execute(
                    "insert into raw.ledger_usage_routes values (?, ?, ?, ?)",
                    [source.name, source.kind, model, deployment],
                )
        for name, section in ledger.prices.sources.items():
            con.execute(
                "insert into raw.ledger_price_sources values (?, ?, ?)",
                [name, section.enabled, ledger.prices.stale_after_hours],
            )


def write_run(con: duckdb.DuckDBPyConnection, *, run_id: str, started_at: datetime, as_of_date: date) -> date:
    """Writes the one row of `raw.ledger_run` and returns the first day to rebuild.

    That is the earliest of: three days ending with `as_of_date`, every day whose rows changed since the last published
    run, and where the last run left off.
    """
    earliest: date | None = _scalar(con, "select min(usage_date) from raw.pending_usage_days")
    last: date | None = _scalar(con, "select min(as_of_date) from raw.ledger_run")
    look_back = timedelta(days=LOOK_BACK_DAYS)
    # A day earlier than the earliest change: the scrape that closes a day carries the next day's date.
    starts = [as_of_date - look_back, earliest and earliest - timedelta(days=1), last and last - look_back]
    window_start = min(day for day in starts if day)
    with _transaction(con):
        con.execute("delete from raw.ledger_run")
        con.execute("insert into raw.ledger_run values (?, ?, ?, ?)", [run_id, started_at, as_of_date, window_start])
    return window_start


def clear_pending_days(con: duckdb.DuckDBPyConnection) -> None:
    """Called once the marts of this run are published: the changed days are in them."""
    con.execute("delete from raw.pending_usage_days")
