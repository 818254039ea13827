"""The pipeline's DuckDB file: opening it, and every write into the raw room.

One writer at a time: DuckDB locks the file against every other process, readers included, so connections are short
and readers open the published copy instead. Each commit below is one transaction that replaces a whole snapshot or a
whole file, so repeating it changes nothing and a killed run leaves nothing half-written. The file is a cache of
landing, logs and ledger.yaml; a sidecar manifest tells when it has lost something (a truncated write-ahead log opens
without a word), and then it is set aside and filled again.
"""

import hashlib
import json
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.billing_files import BillFile, KnownBillFile, StagedBills, list_bill_files, stage_bills
from orchestration.expectations import (
    INVENTORY_RULES,
    PRICE_RULES,
    RATE_RULES,
    USAGE_RULES,
    Rule,
    check_batch,
    failing_rows,
)
from orchestration.inventory_files import KnownSnapshot, discover_snapshots, fields_digest, stage_snapshots
from orchestration.inventory_kinds import INVENTORY_KINDS
from orchestration.price_versions import (
    RecordChanges,
    convert_snapshot_rows,
    load_staged_prices,
    stage_price_records,
    staged_changes,
)
from orchestration.seeds import ANY_CURRENCY, REPORTING_CURRENCY
from orchestration.serving_logs.files import Discovery, KnownFile, LogFile, UnreadableFile
from orchestration.serving_logs.registry import READERS, Load
from orchestration.settings import (
    CLOSE_AFTER_DAYS,
    BillingSource,
    InventorySource,
    Ledger,
    Settings,
    UsageSource,
    duckdb_config,
)
from orchestration.usage_archive import open_archive
from orchestration.usage_kinds import USAGE_KINDS
from scrapers.errors import DamagedLandingError
from scrapers.fx.ecb import ParsedRates
from scrapers.landing import EntryKind, LandedEntry
from scrapers.records import ParsedSnapshot, Rejection

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

LOCK_WAIT_SECONDS = 60
_DAMAGE = re.compile(r"corrupt|checksum|not a valid DuckDB|enough bytes|write-ahead|\bWAL\b|block", re.IGNORECASE)
NAMED_PROBLEMS = 10
LOOK_BACK_DAYS = 2  # with the day itself: the last three days are rebuilt, for late rows


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
    changes: RecordChanges | None = None  # against what a price snapshot was loaded with before; None: never loaded

    @classmethod
    def damaged(cls, source: str, error: DamagedLandingError) -> "LoadResult":
        """A landed entry of `source` that cannot even be named."""
        return cls(outcome="refused", fetch_id=source, record_count=0, rejected_count=0, message=str(error))


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
            schema = resources.files("orchestration").joinpath("raw_schema.sql").read_text()
            convert_snapshot_rows(con, schema)
            with _transaction(con):  # one wait for the disk, not one a table
                con.execute(schema)
                _number_files_of_calls(con, schema)
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
                con = duckdb.connect(str(self.path), config=duckdb_config())
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


def _number_files_of_calls(con: duckdb.DuckDBPyConnection, schema: str) -> None:
    """Makes raw.requests know its files by number, in a warehouse where it held their id and source with each call."""
    columns = "select column_name from duckdb_columns() where schema_name = 'raw' and table_name = 'requests'"
    if ("file_id",) not in con.execute(columns).fetchall():
        return
    con.execute("""
        update raw.usage_files as files set file_number = numbers.file_number
        from (select file_id, row_number() over (order by loaded_at, file_id) as file_number from raw.usage_files)
            as numbers
        where files.file_id = numbers.file_id
    """)
    con.execute("alter table raw.requests rename to requests_by_file_id")
    con.execute(schema)
    con.execute("""
        insert into raw.requests by name
        select calls.* exclude (source_name, file_id), files.file_number
        from raw.requests_by_file_id as calls inner join raw.usage_files as files on calls.file_id = files.file_id
    """)
    con.execute("drop table raw.requests_by_file_id")


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


def snapshots_in_force(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Ids of the price snapshots whose records are in the raw room."""
    return {row[0] for row in con.execute("select snapshot_id from raw.price_loads").fetchall()}


def load_price_entry(
    con: duckdb.DuckDBPyConnection,
    entry: LandedEntry,
    parsed: ParsedSnapshot | None,
    *,
    work_dir: Path,
    landing_path: str,
    unreadable: str | None = None,
    accept_smaller: bool = False,
    rules: tuple[Rule, ...] = PRICE_RULES,
    currency: str = REPORTING_CURRENCY,
    why: str = "loaded again",
) -> LoadResult:
    """Brings one landed entry into the raw room: its prices if they pass the gate, and always its fetch record.

    A snapshot that is in force already stays so if it cannot be parsed or does not pass the gate now.

    Args:
        con: from `Warehouse.connect`.
        entry: a snapshot, or the note that a source was unchanged or failed.
        parsed: what the source's parser made of the snapshot; None when there is none or it could not be parsed.
        work_dir: a folder on local disk for the records on their way to DuckDB.
        landing_path: where the entry lies, relative to the data directory.
        unreadable: why a snapshot could not be parsed.
        accept_smaller: take a snapshot that is much shorter than the one before.
        rules: the gate.
        currency: in which the source states its prices; `any` where each record may say its own.
        why: what is said of a snapshot that is in force already and says something else now.
    """
    failures: list[str] = []
    changes: RecordChanges | None = None
    if parsed is not None:
        stage_price_records(con, parsed.records, work_dir, source_url=entry.source_url)
        changes = staged_changes(con, entry.entry_id)
        # What is in force with these very records has passed the gate, or was accepted by hand.
        if changes is None or changes:
            frame = _price_frame(con, entry, parsed, currency)
            if accept_smaller:
                frame["share_of_previous"] = float("nan")
            failures = check_batch(frame, rules)
    return _load_entry(
        con,
        entry,
        store=lambda: load_staged_prices(
            con,
            source=entry.source,
            dataset=entry.dataset,
            snapshot_id=entry.entry_id,
            fetched_at=entry.fetched_at,
            source_url=entry.source_url,
            why=why,
        ),
        record_count=None if parsed is None else len(parsed.records),
        rejections=None if parsed is None else parsed.rejections,
        skipped_count=None if parsed is None else sum(parsed.skipped.values()),
        failures=failures,
        landing_path=landing_path,
        unreadable=unreadable,
    )


def load_rate_entry(
    con: duckdb.DuckDBPyConnection,
    entry: LandedEntry,
    parsed: ParsedRates | None,
    *,
    landing_path: str,
    unreadable: str | None = None,
) -> LoadResult:
    """Brings one landed rate file into the raw room, as `load_price_entry` does with prices."""
    failures: list[str] = []
    if parsed is not None:
        con.execute(
            """
            create or replace temp table staged_exchange_rates as
            select
                ? as snapshot_id, cast(? as timestamptz) as fetched_at, unnest(?) as rate_date, unnest(?) as currency,
                cast(unnest(?) as decimal(28, 12)) as units_per_eur
            """,
            [
                entry.snapshot_id,
                entry.fetched_at,
                [rate.rate_date for rate in parsed.rates],
                [rate.currency for rate in parsed.rates],
                [format(rate.units_per_eur, "f") for rate in parsed.rates],
            ],
        )
        failures = check_batch(_rate_frame(con, parsed), RATE_RULES)
        # A late rate is one of a day long gone; those of the file that are known already change nothing.
        con.execute(
            """
            insert into raw.pending_price_changes
            select min(rate_date), null from (
                select rate_date, currency, units_per_eur from staged_exchange_rates
                except
                select rate_date, currency, units_per_eur from raw.exchange_rates
            )
            having count(*) > 0
            """
        )
    return _load_entry(
        con,
        entry,
        store=lambda: _replace_rates(con, entry.entry_id),
        record_count=None if parsed is None else len(parsed.rates),
        rejections=None if parsed is None else parsed.rejections,
        skipped_count=None if parsed is None else 0,
        failures=failures,
        landing_path=landing_path,
        unreadable=unreadable,
    )


def _replace_rates(con: duckdb.DuckDBPyConnection, snapshot_id: str) -> None:
    con.execute("delete from raw.exchange_rates where snapshot_id = ?", [snapshot_id])
    con.execute("insert into raw.exchange_rates by name select * from staged_exchange_rates")


def _load_entry(
    con: duckdb.DuckDBPyConnection,
    entry: LandedEntry,
    *,
    store: Callable[[], RecordChanges | None],
    record_count: int | None,
    rejections: Sequence[Rejection] | None,
    skipped_count: int | None,
    failures: Sequence[str],
    landing_path: str,
    unreadable: str | None,
) -> LoadResult:
    """Stores what was staged, unless the gate failed, and the fetch record; no bytes: counts are None."""
    outcome, message = str(entry.kind), entry.message
    if entry.kind is EntryKind.UNCHANGED:
        # The same bytes that were refused before are not good now.
        refused = con.execute(
            "select outcome, message from raw.source_fetches where fetch_id = ? and outcome = 'refused'",
            [entry.snapshot_id],
        ).fetchone()
        outcome, message = refused or (outcome, message)
    if entry.kind is EntryKind.SNAPSHOT:
        outcome = "refused" if failures or record_count is None else "loaded"
        message = "; ".join(f"{entry.source} {entry.dataset} {failure}" for failure in failures) or unreadable
    result = LoadResult(
        outcome=outcome,
        fetch_id=entry.entry_id,
        record_count=record_count or 0,
        rejected_count=len(rejections or []),
        message=message,
    )
    if outcome == "refused" and _scalar(
        con, "select 1 from raw.source_fetches where fetch_id = ? and outcome = 'loaded'", [entry.entry_id]
    ):
        return result
    changes = None
    with _transaction(con):
        for name, key in (("rejected_records", "batch_id"), ("source_fetches", "fetch_id")):
            con.execute(f"delete from raw.{name} where {key} = ?", [entry.entry_id])
        if outcome == "loaded":
            changes = store()
        con.execute("insert into raw.pending_price_changes values (?, ?)", [entry.fetched_at, entry.snapshot_id])
        _insert_rejections(con, entry, rejections or [])
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
                record_count,
                None if rejections is None else len(rejections),
                skipped_count,
                entry.source_url,
                landing_path,
                message,
            ],
        )
    return replace(result, changes=changes)


def _top_reason(rejections: Iterable[Rejection]) -> str:
    reasons = Counter(rejection.reason for rejection in rejections)
    return reasons.most_common(1)[0][0] if reasons else "none"


def _rate_frame(con: duckdb.DuckDBPyConnection, parsed: ParsedRates) -> "pd.DataFrame":
    """The rate file in one row of counts and extremes, for the gate; a step is the move against the day before.

    Days more than ten days apart are not compared: rates may move in between.
    """
    return con.execute(
        """
        with rates as (
            select rate_date, currency, units_per_eur, true as is_new from staged_exchange_rates
            union all
            select rate_date, currency, min(units_per_eur), false from raw.exchange_rates
            where (rate_date, currency) not in (select (rate_date, currency) from staged_exchange_rates)
            group by rate_date, currency
        ),
        moves as (
            select
                currency,
                is_new,
                greatest(
                    units_per_eur / lag(units_per_eur) over by_day, lag(units_per_eur) over by_day / units_per_eur
                ) - 1 as step
            from rates
            window by_day as (partition by currency order by rate_date)
            qualify rate_date - lag(rate_date) over by_day <= 10
        )
        select
            (select cast(count(*) as double) from staged_exchange_rates) as rate_count,
            cast($rejected as double) as rejected_count,
            $rejected / nullif((select count(*) from staged_exchange_rates) + $rejected, 0)::double as rejected_share,
            $top_reason as top_reason,
            (select cast(min(units_per_eur) as double) from staged_exchange_rates where currency = 'USD')
                as min_usd_per_eur,
            (select cast(max(units_per_eur) as double) from staged_exchange_rates where currency = 'USD')
                as max_usd_per_eur,
            (select max(step) from moves where is_new and currency = 'USD') as max_usd_step,
            (select max(step) from moves where is_new) as max_rate_step
        """,
        {"rejected": len(parsed.rejections), "top_reason": _top_reason(parsed.rejections)},
    ).df()


def price_measures(records: str, currency: str) -> str:
    """A query with one row per snapshot of the relation `records`: the counts and extremes that the gate looks at.

    Args:
        records: name of a relation of the fields of a PriceRecord and snapshot_id.
        currency: in which the source states its prices; `any` where each record may say its own.
    """
    is_foreign = "false" if currency == ANY_CURRENCY else f"price_currency <> '{currency}'"
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
            cast(count(*) filter ({is_foreign}) as double) as foreign_currency_count,
            cast(coalesce(max(repeated_key_count), 0) as double) as repeated_key_count,
            cast(max(price_amount) as double) as max_price_amount
        from {records}
        left join repeated using (snapshot_id)
        group by snapshot_id
    """


def _price_frame(
    con: duckdb.DuckDBPyConnection, entry: LandedEntry, parsed: ParsedSnapshot, currency: str
) -> "pd.DataFrame":
    """The snapshot in one row of counts and extremes, for the gate."""
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
            $currency as currency,
            coalesce(measures.foreign_currency_count, 0) as foreign_currency_count,
            coalesce(measures.repeated_key_count, 0) as repeated_key_count,
            measures.max_price_amount,
            $top_reason as top_reason
        from (select 1) as one
        left join ({price_measures("(select *, '' as snapshot_id from staged_price_records)", currency)}) as measures
            on true
        """,
        {
            "source": entry.source,
            "dataset": entry.dataset,
            "fetched_at": entry.fetched_at,
            "rejected": rejected,
            "top_reason": _top_reason(parsed.rejections),
            "currency": currency,
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
            "select file_path, file_id, size_bytes, modified_at, content_digest from raw.usage_files "
            # The last one read of a path stands: a file begun anew under its old name has two rows.
            "where source_name = ? and status <> 'refused' order by loaded_at",
            [source.name],
        ).fetchall()
    }
    found = _first_come(con, source, settings, READERS[source.kind].discover(source, settings, known))
    failures: list[str] = []
    if found.changed:
        failures = _load_files(con, source, found.changed, now, work_dir)
    with _transaction(con):
        _replace_unreadable(con, source, found.unreadable, now)
        for file in found.moved:
            con.execute(
                "update raw.usage_files set file_path = ?, modified_at = ? where file_id = ?",
                [str(file.path), file.modified_at, file.file_id],
            )
    file_ids = [file.file_id for file in found.changed]
    problems = [f"{source.name}: {file.path} was not read: {file.reason}" for file in found.unreadable]
    if found.changed:
        problems += [
            f"{source.name}: {path} was read in part: {message}"
            if status == "partial"
            else f"{source.name}: {path} was not read"
            for path, status, message in con.execute(
                "select file_path, status, message from raw.usage_files where file_id in (select unnest(?)) "
                "and (status = 'partial' or status = 'refused' and message <> 'gate') order by file_path",
                [file_ids],
            ).fetchall()
        ]
    if len(problems) > NAMED_PROBLEMS:
        problems = [*problems[:NAMED_PROBLEMS], f"{source.name}: and {len(problems) - NAMED_PROBLEMS} more files"]
    totals = (
        con.execute(
            "select coalesce(sum(record_count) filter (status <> 'refused'), 0), coalesce(sum(rejected_count), 0), "
            "count(*) filter (status = 'partial'), count(*) filter (status = 'refused') "
            "from raw.usage_files where file_id in (select unnest(?))",
            [file_ids],
        ).fetchone()
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


def _first_come(con: duckdb.DuckDBPyConnection, source: UsageSource, settings: Settings, found: Discovery) -> Discovery:
    """A file that another source of the ledger has read stays with it: read by both, its tokens would count twice."""
    others = [other.name for other in settings.ledger.usage if other.name != source.name]
    taken = {
        row[0]
        for row in con.execute(
            "select file_path from raw.usage_files where source_name in (select unnest(?)) and status <> 'refused'",
            [others],
        ).fetchall()
    }
    doubled = [UnreadableFile(file.path, "read_by_another_source") for file in found.changed if str(file.path) in taken]
    return replace(
        found,
        changed=[file for file in found.changed if str(file.path) not in taken],
        unreadable=[*found.unreadable, *doubled],
    )


def _load_files(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime, work_dir: Path
) -> list[str]:
    """Loads files, the clean ones in one pass; returns the rules broken.

    One bad line in a file of many sends that file the slow way, and costs the others the pass that tells which it is.
    """
    reader = READERS[source.kind]
    if reader.insert_clean is None or reader.unclean is None:
        return _load_with_rejects(con, source, files, now, work_dir)
    unclean = _load_clean(con, source, partial(reader.insert_clean, is_plain=True), files, now)
    if unclean is None:
        unclean = reader.unclean(con, source, files, now)
    elif not unclean:
        return []
    clean = [file for file in files if file.file_id not in unclean]
    if clean and _load_clean(con, source, partial(reader.insert_clean, is_plain=False), clean, now) != set():
        unclean = {file.file_id for file in files}  # a file changed while it was read
    return _load_with_rejects(con, source, [file for file in files if file.file_id in unclean], now, work_dir)


class _GateError(Exception):
    """A rule was broken on the way that keeps no rejects. `refused`: ids of the files that broke it."""

    def __init__(self, refused: set[str]) -> None:
        super().__init__()
        self.refused = refused


def _load_clean(
    con: duckdb.DuckDBPyConnection, source: UsageSource, insert: Load, files: list[LogFile], now: datetime
) -> set[str] | None:
    """Loads files of which every line is usable and no rule broken; where one is, nothing is changed.

    Returns the ids of the files that broke a rule; None where it is a line, or a file that cannot be read.
    """
    try:
        with _transaction(con), _replaced_rows(con, source, files, refused=[]):
            insert(con, source, files, now)
            _require_passed_gate(con, source, files)
            _list_loaded_files(con, source, now)
    except duckdb.Error:
        return None
    except _GateError as error:
        return error.refused
    return set()


def _require_passed_gate(con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile]) -> None:
    failures, refused = _gate_usage(con, source)
    if failures:
        raise _GateError(set(refused) or {file.file_id for file in files})


def _load_with_rejects(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime, work_dir: Path
) -> list[str]:
    """Loads what is usable and keeps count of the rest; returns the rules broken. A file that broke one is refused."""
    READERS[source.kind].stage(con, source, files, now, work_dir)
    failures, refused = _gate_usage(con, source)
    with _transaction(con), _replaced_rows(con, source, files, refused=refused):
        con.execute(
            "update staged_files set status = 'refused', message = 'gate' where list_contains(?, file_id)", [refused]
        )
        table = USAGE_KINDS[source.kind].table
        kept = "* exclude (file_id)" if table == "requests" else "*"  # calls know their file by its number
        con.execute(
            f"insert into raw.{table} by name select {kept} from staged_records "
            "where file_id in (select file_id from staged_files where status <> 'refused')"
        )
        _list_loaded_files(con, source, now)
    return failures


@contextmanager
def _replaced_rows(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], *, refused: Sequence[str]
) -> Iterator[None]:
    """The files' rows are deleted before and inserted inside; the days of both are noted for rebuilding."""
    table = USAGE_KINDS[source.kind].table
    rows = f"raw.{table} where file_id in (select unnest(?))"
    if table == "requests":
        numbers = "select file_number from raw.usage_files where file_id in (select unnest(?))"
        rows = f"raw.{table} where file_number in ({numbers})"
    note_days = f"insert into raw.pending_usage_days select distinct usage_date from {rows}"
    file_ids = [file.file_id for file in files if file.file_id not in refused]
    read_before = "select list(file_id) from raw.usage_files where file_id in (select unnest(?))"
    if known_ids := _scalar(con, read_before, [file_ids]):  # a new file has no rows to look for
        con.execute(note_days, [known_ids])
        con.execute(f"delete from {rows}", [known_ids])
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
    tokens = {
        "metric_samples": "min(value)",
        "requests": "min(least(coalesce(prompt_tokens, 0), coalesce(completion_tokens, 0)))",
        "engine_log_windows": "min(least(coalesce(prompt_tokens_per_second, 0), output_tokens_per_second))",
    }[USAGE_KINDS[source.kind].table]
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
    con: duckdb.DuckDBPyConnection,
    source: UsageSource | InventorySource,
    files: Sequence[UnreadableFile],
    now: datetime,
) -> None:
    con.execute("delete from raw.rejected_records where source = ? and batch_id = 'unreadable'", [source.name])
    for file in files:
        con.execute(
            "insert into raw.rejected_records values (?, 'unreadable', ?, null, ?, null, 1, ?)",
            [source.name, file.reason, str(file.path), now],
        )


# --- inventory ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InventoryResult:
    """What one inventory source brought in this run: as `UsageResult`, by snapshots."""

    snapshot_count: int
    unchanged_snapshot_count: int
    record_count: int
    rejected_count: int
    refused_snapshot_count: int
    failures: list[str]
    problems: list[str]


def load_inventory(
    con: duckdb.DuckDBPyConnection, source: InventorySource, settings: Settings, *, now: datetime
) -> InventoryResult:
    """Reads the new and changed snapshots of one inventory source; a snapshot is in as a whole or not at all.

    A snapshot of an instant that the same file gave before replaces what that one said.
    """
    fields = fields_digest(settings.ledger)
    known = {
        row[0]: KnownSnapshot(*row[1:])
        for row in con.execute(
            "select file_path, size_bytes, modified_at from raw.inventory_snapshots "
            "where source_name = ? and kind = ? and fields_digest = ? and status = 'loaded'",
            [source.name, source.kind, fields],
        ).fetchall()
    }
    found = discover_snapshots(source, settings, known, now=now)
    failures: list[str] = []
    totals: tuple[Any, ...] = (0, 0, 0)
    problems = [f"{source.name}: {file.path} was not read: {file.reason}" for file in found.unreadable]
    if found.changed:
        stage_snapshots(con, source, settings.ledger, found.changed, now)
        failures, refused = _gate_inventory(con, source)
        con.execute(
            "update staged_snapshots set status = 'refused', message = 'gate' where list_contains(?, file_id)",
            [refused],
        )
        with _transaction(con):
            _replace_snapshots(con, source, now)
        totals = con.execute(
            "select coalesce(sum(record_count) filter (status = 'loaded'), 0), sum(rejected_count), "
            "count(*) filter (status = 'refused') from staged_snapshots"
        ).fetchone() or (0, 0, 0)
        problems += [
            f"{source.name}: {path} was not read: {message}"
            for path, message in con.execute(
                "select file_path, message from staged_snapshots "
                "where status = 'refused' and message <> 'gate' order by file_path"
            ).fetchall()
        ]
    with _transaction(con):
        _replace_unreadable(con, source, found.unreadable, now)
    if len(problems) > NAMED_PROBLEMS:
        problems = [*problems[:NAMED_PROBLEMS], f"{source.name}: and {len(problems) - NAMED_PROBLEMS} more snapshots"]
    return InventoryResult(
        snapshot_count=len(found.changed),
        unchanged_snapshot_count=found.unchanged_count,
        record_count=int(totals[0]),
        rejected_count=int(totals[1]) + len(found.unreadable),
        refused_snapshot_count=int(totals[2]) + len(found.unreadable),
        failures=failures,
        problems=problems,
    )


def _gate_inventory(con: duckdb.DuckDBPyConnection, source: InventorySource) -> tuple[list[str], list[str]]:
    """Checks the staged snapshots; returns the failed rules as sentences, and the ids of the files that broke one."""
    frame = con.execute(
        """
        with reasons as (
            select file_id, arg_max(reason, occurrences) as top_reason from staged_rejects group by file_id
        )
        select
            staged.file_id, staged.file_path,
            cast(record_count as double) as record_count, cast(rejected_count as double) as rejected_count,
            rejected_count / nullif(record_count + rejected_count, 0)::double as rejected_share,
            coalesce(reasons.top_reason, 'none') as top_reason
        from staged_snapshots as staged
        left join reasons on staged.file_id = reasons.file_id
        where staged.status = 'loaded'
        """
    ).df()
    if frame.empty or not (failures := check_batch(frame, INVENTORY_RULES)):
        return [], []
    refused = failing_rows(frame, INVENTORY_RULES, "file_id")
    named = frame[frame["file_id"].isin(refused)]["file_path"].tolist()
    return [f"{source.name}: a snapshot {failure}" for failure in failures] + [
        f"refused {path}" for path in named[:NAMED_PROBLEMS]
    ], refused


def _replace_snapshots(con: duckdb.DuckDBPyConnection, source: InventorySource, now: datetime) -> None:
    """Moves the staged snapshots into the raw room, and notes their days for rebuilding."""
    table = INVENTORY_KINDS[source.kind]
    con.execute(
        """
        create or replace temp table replaced_snapshots as
        select old.file_id
        from raw.inventory_snapshots as old
        inner join staged_snapshots as new
            on
                old.file_id = new.file_id
                or old.source_name = new.source_name
                and old.file_path = new.file_path
                -- A good snapshot stays where its file is damaged now.
                and (old.status = 'refused' or new.status = 'loaded' and old.observed_at = new.observed_at)
        """
    )
    con.execute(f"delete from raw.{table} where file_id in (select file_id from replaced_snapshots)")
    con.execute(
        f"insert into raw.{table} by name select * from staged_records "
        "where file_id in (select file_id from staged_snapshots where status = 'loaded')"
    )
    con.execute("delete from raw.inventory_snapshots where file_id in (select file_id from replaced_snapshots)")
    con.execute("insert into raw.inventory_snapshots by name select * from staged_snapshots")
    con.execute(
        "delete from raw.rejected_records where batch_id in "
        "(select file_id from replaced_snapshots union all select file_id from staged_snapshots)"
    )
    con.execute(
        "insert into raw.rejected_records "
        "select ?, file_id, reason, field, first_location, null, occurrences, ? from staged_rejects",
        [source.name, now],
    )
    con.execute(
        "insert into raw.pending_usage_days select distinct observed_date from staged_snapshots where status = 'loaded'"
    )


# --- bills ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BillResult:
    """What one billing source brought in this run. `problems` name files that were refused, and why."""

    file_count: int
    month_count: int
    line_count: int
    rejected_count: int
    restated_months: list[date]
    problems: list[str]


def load_bills(
    con: duckdb.DuckDBPyConnection, source: BillingSource, settings: Settings, *, now: datetime
) -> BillResult:
    """Puts the months of one bill that changed in place of what was known of them, and notes their days for rebuilding.

    A month that is delivered again with other sums leaves a row in raw.billing_restatements. A month whose files are
    gone, or whose newest delivery is damaged, stays as it was.
    """
    known = {
        row[0]: KnownBillFile(*row[1:])
        for row in con.execute(
            "select file_path, size_bytes, modified_at, content_digest, format_version, line_count, "
            "rejected_count, periods "
            "from raw.billing_files where source_name = ? and kind = ? and status <> 'refused'",
            [source.name, source.kind],
        ).fetchall()
    }
    in_force = dict(
        con.execute(
            "select billing_period, delivery_digest from raw.billing_periods where source_name = ?", [source.name]
        ).fetchall()
    )
    files = list_bill_files(source, settings)
    staged = stage_bills(con, source, files, known=known, in_force=in_force, now=now)
    with _transaction(con):
        restated = _replace_months(con, source, staged, now)
        _list_bill_files(con, source, files, now)
    problems = [f"{source.name}: {file.path} was not read: {file.problem}" for file in files if file.problem]
    if len(problems) > NAMED_PROBLEMS:
        problems = [*problems[:NAMED_PROBLEMS], f"{source.name}: and {len(problems) - NAMED_PROBLEMS} more files"]
    return BillResult(
        file_count=len(files),
        month_count=len(staged.periods),
        line_count=int(_scalar(con, "select count(*) from staged_lines")),
        rejected_count=int(_scalar(con, "select coalesce(sum(occurrences), 0) from staged_rejects")),
        restated_months=restated,
        problems=problems,
    )


def _replace_months(
    con: duckdb.DuckDBPyConnection, source: BillingSource, staged: StagedBills, now: datetime
) -> list[date]:
    """Moves the staged months into the raw room; returns those that had other sums before."""
    con.execute(
        "create or replace temp table staged_periods "
        "(billing_period date, format_version varchar, delivery_digest varchar, delivered_at timestamptz)"
    )
    for period, delivery in staged.periods.items():
        con.execute(
            "insert into staged_periods values (?, ?, ?, ?)",
            [period, delivery.format_version, delivery.digest, delivery.delivered_at],
        )
    con.execute(
        """
        create or replace temp table new_periods as
        select
            $source as source_name, periods.billing_period, periods.format_version, count(lines.currency) as line_count,
            cast(sum(lines.billed_amount) as decimal(38, 10)) as billed_amount,
            cast(sum(lines.effective_amount) as decimal(38, 10)) as effective_amount,
            periods.delivery_digest, periods.delivered_at, cast($now as timestamptz) as loaded_at
        from staged_periods as periods
        left join staged_lines as lines on periods.billing_period = lines.billing_period
        group by periods.billing_period, periods.format_version, periods.delivery_digest, periods.delivered_at
        """,
        {"source": source.name, "now": now},
    )
    # Days whose sums are other ones than before; the first run of a month: all of its days.
    sums = """
        select
            cast(charge_from_at as date) as day, count(*) as line_count, sum(billed_amount) as billed,
            sum(effective_amount) as effective, sum(list_amount) as listed, sum(quantity) as quantity,
            sum(plan_effective_amount) as plan, sum(reservation_effective_amount) as reserved,
            sum(plan_committed_amount) as committed, sum(reservation_unused_amount) as unused
        from {lines}
        where source_name = $source and billing_period in (select periods.billing_period from new_periods as periods)
        group by day
    """
    con.execute(
        f"""
        insert into raw.pending_usage_days
        select distinct day from (
            ({sums.format(lines="raw.billing_lines")} except {sums.format(lines="staged_lines")})
            union all
            ({sums.format(lines="staged_lines")} except {sums.format(lines="raw.billing_lines")})
        )
        """,
        {"source": source.name},
    )
    restated = con.execute(
        """
        insert into raw.billing_restatements
        select
            $now, old.source_name, old.billing_period, old.line_count, new.line_count, old.billed_amount,
            new.billed_amount, old.effective_amount, new.effective_amount,
            'delivered again, written ' || strftime(new.delivered_at, '%Y-%m-%d %H:%M UTC')
        from raw.billing_periods as old
        inner join new_periods as new
            on old.source_name = new.source_name and old.billing_period = new.billing_period
        where
            (old.line_count, old.billed_amount, old.effective_amount)
            is distinct from (new.line_count, new.billed_amount, new.effective_amount)
        returning billing_period
        """,
        {"now": now},
    ).fetchall()
    replaced = "source_name = ? and billing_period in (select periods.billing_period from new_periods as periods)"
    con.execute(f"delete from raw.billing_lines where {replaced}", [source.name])
    con.execute(f"delete from raw.billing_periods where {replaced}", [source.name])
    con.execute("insert into raw.billing_lines by name select * exclude (file_path) from staged_lines")
    con.execute("insert into raw.billing_periods by name select * from new_periods")
    return sorted(row[0] for row in restated)


def _list_bill_files(
    con: duckdb.DuckDBPyConnection, source: BillingSource, files: list[BillFile], now: datetime
) -> None:
    con.execute("delete from raw.billing_files where source_name = ?", [source.name])
    for file in files:
        con.execute(
            "insert into raw.billing_files values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                source.name,
                source.kind,
                str(file.path),
                file.size_bytes,
                file.modified_at,
                file.digest,
                file.format_version,
                list(file.periods),
                file.line_count,
                file.rejected_count,
                file.status,
                file.problem,
                now,
            ],
        )
    con.execute(
        "delete from raw.rejected_records where source = ? and batch_id in "
        "(select source_name || '/' || billing_period from new_periods)",
        [source.name],
    )
    con.execute(
        "insert into raw.rejected_records "
        "select $source, $source || '/' || billing_period, reason, field, min(file_path), null, sum(occurrences), $now "
        "from staged_rejects group by billing_period, reason, field",
        {"source": source.name, "now": now},
    )


# --- ledger.yaml ----------------------------------------------------------------------------------------------------


def write_ledger(con: duckdb.DuckDBPyConnection, settings: Settings, *, also_listed: Sequence[str] = ()) -> None:
    """Replaces the `raw.ledger_*` tables that mirror ledger.yaml.

    Where usage goes to other deployments, models or tenants than before, all of it waits to be rebuilt: incremental
    models hold hours by these. The same with other sources of inventory, whose intervals are kept. Shows the archive of
    usage to the models, too.

    Args:
        con: from `Warehouse.connect`.
        settings: from `load_settings`.
        also_listed: sources that are asked without standing under `prices.sources`: overrides, exchange rates.

    Raises:
        UsageArchiveError: the archive is not whole.
    """
    ledger = settings.ledger
    with _transaction(con):
        open_archive(con, settings)
        routes_before, sources_before = _usage_routes(con), _inventory_sources(con)
        for table in (
            "ledger_deployments",
            "ledger_commitments",
            "ledger_usage_routes",
            "ledger_price_sources",
            "ledger_inventory_sources",
            "ledger_billing_sources",
            "ledger_deployment_pods",
            "ledger_model_names",
            "ledger_tenants",
            "ledger_latency_targets",
        ):
            con.execute(f"delete from raw.{table}")
        for index, entry in enumerate(ledger.fleet):
            con.execute(
                "insert into raw.ledger_deployments values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                    entry.instances_per_replica,
                ],
            )
        for target in ledger.latency_targets:
            con.execute(
                "insert into raw.ledger_latency_targets values (?, ?, ?)",
                [target.deployment, target.ttft_ms, target.tpot_ms],
            )
        for commitment in ledger.commitments:
            con.execute(
                "insert into raw.ledger_commitments values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                    commitment.kind,
                    commitment.usd_per_hour,
                    commitment.covers,
                    commitment.billed_as,
                ],
            )
        for bill in ledger.billing:
            con.execute(
                "insert into raw.ledger_billing_sources values (?, ?, ?)", [bill.name, bill.kind, bill.provider]
            )
        for source in ledger.usage:
            for model, deployment in source.routes().items():
                con.execute(
                    "insert into raw.ledger_usage_routes by name "
                    "select ? as source_name, ? as kind, ? as role, ? as model_match, ? as deployment",
                    [source.name, source.kind, source.speaks_as, model, deployment],
                )
        _write_names(con, ledger)
        if _inventory_sources(con) != sources_before:
            con.execute(
                """
                insert into raw.pending_usage_days
                select min(observed_date) from raw.inventory_snapshots having count(*) > 0
                """
            )
        if _usage_routes(con) != routes_before:
            con.execute(
                """
                insert into raw.pending_usage_days
                select min(usage_date) from (
                    select min(usage_date) as usage_date from raw.metric_samples
                    union all
                    select min(usage_date) as usage_date from raw.requests
                    union all
                    select min(usage_date) as usage_date from raw.engine_log_windows
                    union all
                    select first_usage_date from raw.usage_archive
                )
                having count(usage_date) > 0
                """
            )
        for name, section in ledger.prices.sources.items():
            con.execute(
                "insert into raw.ledger_price_sources values (?, ?, ?)",
                [name, section.enabled and not settings.why_skipped(name), ledger.prices.stale_after_hours],
            )
        for name in also_listed:
            con.execute(
                "insert into raw.ledger_price_sources values (?, true, ?)", [name, ledger.prices.stale_after_hours]
            )


def _usage_routes(con: duckdb.DuckDBPyConnection) -> set[tuple[Any, ...]]:
    """What kept hours depend on.

    The routes, the names of models and tenants (a route for a model is one for its aliases), latency targets, and the
    models and machines of the deployments, whose GPUs bound what a counter is believed.
    """
    return {
        (table, *row)
        for table, columns in (
            ("ledger_usage_routes", "*"),
            ("ledger_model_names", "*"),
            ("ledger_tenants", "*"),
            ("ledger_latency_targets", "*"),
            ("ledger_deployments", "distinct deployment, model, provider, instance_type, gpus_per_replica"),
        )
        for row in con.execute(f"select {columns} from raw.{table}").fetchall()
    }


def _inventory_sources(con: duckdb.DuckDBPyConnection) -> set[tuple[Any, ...]]:
    return set(con.execute("select source_name, kind from raw.ledger_inventory_sources").fetchall())


def _write_names(con: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    """What ledger.yaml says of pods, models and tenants: identity, and no money."""
    for source in ledger.inventory:
        con.execute(
            "insert into raw.ledger_inventory_sources values (?, ?, ?, ?, ?)",
            [source.name, source.kind, source.cluster, source.provider, source.region],
        )
    for index, entry in enumerate(ledger.fleet):
        if entry.pods is None:
            continue
        for key, value in entry.pods.labels.items() or [(None, None)]:
            con.execute(
                "insert into raw.ledger_deployment_pods values (?, ?, ?, ?, ?, ?, ?)",
                [
                    f"{entry.deployment}#{index}",
                    entry.deployment,
                    entry.pods.cluster,
                    entry.pods.namespace,
                    entry.pods.name,
                    key,
                    value,
                ],
            )
    for model in ledger.models:
        for raw_name, adapter in model.names().items():
            con.execute("insert into raw.ledger_model_names values (?, ?, ?)", [raw_name, model.name, adapter])
    for index, tenant in enumerate(ledger.tenants):
        for match_on, pattern in tenant.patterns():
            con.execute(
                "insert into raw.ledger_tenants values (?, ?, ?, ?, ?, ?)",
                [index, match_on, pattern, tenant.tenant, tenant.team, tenant.cost_center],
            )


def write_run(
    con: duckdb.DuckDBPyConnection,
    *,
    run_id: str,
    started_at: datetime,
    as_of_date: date,
    close_after_days: int = CLOSE_AFTER_DAYS,
) -> date:
    """Writes the one row of `raw.ledger_run` and returns the first day to rebuild.

    That is the earliest of: three days ending with `as_of_date`, every day whose rows changed since the last published
    run (all days, where the routes changed), and where the last run left off. What is known of prices stands up to the
    day before the earliest change since the last published run; as long as none is published, nothing stands.
    """
    earliest: date | None = _scalar(con, "select min(usage_date) from raw.pending_usage_days")
    last: date | None = _scalar(con, "select min(as_of_date) from raw.ledger_run")
    look_back = timedelta(days=LOOK_BACK_DAYS)
    # A day earlier than the earliest change: the scrape that closes a day carries the next day's date.
    starts = [as_of_date - look_back, earliest and earliest - timedelta(days=1), last and last - look_back]
    window_start = min(day for day in starts if day)
    with _transaction(con):
        con.execute("delete from raw.ledger_run")
        con.execute(
            """
            insert into raw.ledger_run
            select
                ?, ?, ?, ?,
                case
                    when exists (from raw.published_transform) then
                        date_trunc('day', coalesce(
                            (select min(changed_at) from raw.pending_price_changes),
                            (select max(fetched_at) from raw.source_fetches)
                        )) - interval 1 day
                end,
                ?
            """,
            [run_id, started_at, as_of_date, window_start, close_after_days],
        )
    return window_start


def write_alerts(con: duckdb.DuckDBPyConnection, rows: Sequence[Sequence[object]]) -> None:
    """Replaces `raw.alert_incidents`, the mirror of the alert ledger, by rows in the order of its columns."""
    with _transaction(con):
        con.execute("delete from raw.alert_incidents")
        for row in rows:
            con.execute(f"insert into raw.alert_incidents values ({', '.join('?' * len(row))})", list(row))


def transform_digest(dbt_dir: Path, parts: Sequence[str] = ("seeds", "models", "macros")) -> str:
    """SHA-256 over names and contents of all seeds, models and macros of a dbt project; or of other `parts`."""
    digest = hashlib.sha256()
    roots = [dbt_dir / part for part in parts]
    for path in sorted(path for root in roots for path in ([root] if root.is_file() else root.rglob("*.*"))):
        digest.update(f"{path.relative_to(dbt_dir)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_transform_changed(con: duckdb.DuckDBPyConnection, digest: str) -> bool:
    """Whether the published marts were built by other SQL or seeds, or none are published."""
    published: str | None = _scalar(con, "select max(digest) from raw.published_transform")
    return published != digest


def note_published(con: duckdb.DuckDBPyConnection, digest: str) -> None:
    """Called once the marts of this run are published: the changed days are in them, and so is this SQL."""
    with _transaction(con):
        con.execute("delete from raw.pending_usage_days")
        con.execute("delete from raw.pending_price_changes")
        # What is made anew begins where a build since says something else (int_usage_window, int_costs_window).
        for table in ("int_usage_classes", "int_cost_inputs"):
            if _scalar(con, f"select count(*) from duckdb_tables() where table_name = '{table}'"):
                con.execute(
                    f"""
                    delete from intermediate.{table}
                    where build_number < (select max(build_number) from intermediate.{table})
                    """
                )
        con.execute("delete from raw.published_transform")
        con.execute("insert into raw.published_transform values (?)", [digest])
