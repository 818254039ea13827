"""Price records as versions: of a snapshot only what the load before it did not say is stored.

A version is one record over the loads that have it: `first_load_number` to `last_load_number`, which is null while the
dataset's newest load has it. Loads are numbered in the order of loading, not of time: a snapshot that is loaded late
or again is compared with the newest load like any other, so that every order gives the same records per snapshot.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from pathlib import Path

import duckdb

from scrapers.records import PriceRecord

FIELDS = tuple(field.name for field in fields(PriceRecord))
# No text of a PriceRecord holds a control character, so these need no quoting, and null and '' are told apart.
_BETWEEN, _NULL = "\x1f", "\x1e"


@dataclass(frozen=True, slots=True)
class RecordChanges:
    """How the records of a snapshot differ from those it was loaded with before."""

    added_count: int
    removed_count: int

    def __bool__(self) -> bool:
        return bool(self.added_count or self.removed_count)


# --- staging ----------------------------------------------------------------------------------------------------------


def stage_price_records(
    con: duckdb.DuckDBPyConnection, records: Iterable[PriceRecord], work_dir: Path, *, source_url: str | None
) -> None:
    """Stages what a parser read. Records go through a text file: typed by declaration, never by inference."""
    work_dir.mkdir(parents=True, exist_ok=True)
    path = work_dir / "price_records.txt"
    values = attrgetter(*FIELDS)
    with path.open("w", encoding="utf-8", newline="") as out:
        out.writelines(
            _BETWEEN.join((str(number), *map(_as_text, values(record)))) + "\n"
            for number, record in enumerate(records, start=1)
        )
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in {"record_number": "BIGINT", **_types(con)}.items())
    stage_price_rows(
        con,
        f"""
        from read_csv(
            $path, columns = {{{columns}}}, auto_detect = false, header = false, delim = chr(31), nullstr = chr(30),
            quote = '', escape = '', new_line = '\\n'
        )
        """,
        {"path": str(path)},
        source_url=source_url,
    )
    path.unlink()


def stage_price_rows(
    con: duckdb.DuckDBPyConnection,
    rows: str,
    arguments: Mapping[str, object] | None = None,
    *,
    source_url: str | None,
) -> None:
    """Stages the rows of a query for `load_staged_prices`, as the temporary table `staged_price_records`.

    Args:
        con: a connection to the warehouse.
        rows: a query with record_number and the fields of a PriceRecord, in the types of raw.price_records; fields
            that it does not have are null.
        arguments: parameters of the query.
        source_url: address of the snapshot.
    """
    con.execute(
        f"create or replace temp table staged_price_records as {_identified(rows, '$source_url')}",
        {**(arguments or {}), "source_url": source_url},
    )


def _as_text(value: object) -> str:
    if value is None:
        return _NULL
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def _types(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    found = dict(
        con.execute(
            "select column_name, data_type from duckdb_columns() "
            "where database_name = current_database() and schema_name = 'raw' and table_name = 'price_records'"
        ).fetchall()
    )
    return {name: found[name] for name in FIELDS}


def _identified(rows: str, source_url: str, *, snapshot: str = "") -> str:
    """A query that adds `content_id` to `rows`, and leaves out the address of a record where it is the snapshot's own.

    AWS puts the version of the list into its address: kept with each record, all would be new with every list.

    Only fields that are stated go into the digest, by name. So null is told from '', and a field that is added to
    PriceRecord later leaves the records alone that do not state it.

    Args:
        rows: as in `stage_price_rows`.
        source_url: SQL for the address of the snapshot.
        snapshot: SQL for the snapshot of a row, with a comma behind it, where the rows are of several.
    """
    stated = ", ".join(
        f"'{name}=' || {'epoch_us(effective_at)' if name == 'effective_at' else name}" for name in FIELDS
    )
    return f"""
        with complete as (
            select record_number, {", ".join(FIELDS)} from raw.price_records where false
            union all by name
            ({rows})
        ),
        addressed as (
            select * replace (case when source_url is distinct from {source_url} then source_url end as source_url)
            from complete
        ),
        digested as (
            select *, md5_number(concat_ws(chr(31), {stated})) as digest from addressed
        ),
        numbered as (
            select *, row_number() over (partition by {snapshot} digest order by record_number) as copy_number
            from digested
        )
        select
            * exclude (digest, copy_number),
            cast(
                case when copy_number = 1 then digest else md5_number(digest || '#' || copy_number) end as uuid
            ) as content_id
        from numbered
    """


# --- loading ----------------------------------------------------------------------------------------------------------


def staged_changes(con: duckdb.DuckDBPyConnection, snapshot_id: str) -> RecordChanges | None:
    """Compares what is staged with what the snapshot was loaded with; None where it was not loaded before."""
    load = con.execute(
        "select source, dataset, load_number from raw.price_loads where snapshot_id = ?", [snapshot_id]
    ).fetchone()
    if load is None:
        return None
    added, removed = con.execute(
        """
        with loaded as (
            select content_id from raw.price_records
            where source = ? and dataset = ? and ? between first_load_number and coalesce(last_load_number, ?)
        )
        select
            (select count(*) from staged_price_records anti join loaded using (content_id)),
            (select count(*) from loaded anti join staged_price_records using (content_id))
        """,
        [*load, load[2]],
    ).fetchall()[0]
    return RecordChanges(added, removed)


def load_staged_prices(
    con: duckdb.DuckDBPyConnection,
    *,
    source: str,
    dataset: str,
    snapshot_id: str,
    fetched_at: datetime,
    source_url: str | None,
    why: str,
) -> RecordChanges | None:
    """Makes what is staged the records of a snapshot, as the newest load of its dataset; call it in a transaction.

    A snapshot that says what it said when it was loaded before keeps its load; one that says something else is loaded
    anew and leaves a row in raw.price_restatements.

    Args:
        con: from `Warehouse.connect`, with records staged.
        source: registry name of the price source.
        dataset: the unit that is whole or refused.
        snapshot_id: the snapshot.
        fetched_at: when it was fetched.
        source_url: its address, as it was staged with.
        why: what led to a restatement, if it is one.

    Returns:
        What differs from the load before, None where there was none.
    """
    changes = staged_changes(con, snapshot_id)
    if changes is not None and not changes:
        return changes
    arguments = {"source": source, "dataset": dataset}
    old_number, new_number, is_backdated = con.execute(
        """
        select
            max(load_number) filter (snapshot_id = $snapshot_id), coalesce(max(load_number), 0) + 1,
            coalesce(bool_or(fetched_at > $fetched_at), false)
        from raw.price_loads where source = $source and dataset = $dataset
        """,
        {**arguments, "snapshot_id": snapshot_id, "fetched_at": fetched_at},
    ).fetchall()[0]
    con.execute(
        """
        update raw.price_records set last_load_number = $new_number - 1
        where
            source = $source and dataset = $dataset and last_load_number is null
            and content_id not in (select content_id from staged_price_records)
        """,
        {**arguments, "new_number": new_number},
    )
    con.execute(
        """
        insert into raw.price_records by name
        with open_records as (
            select content_id from raw.price_records
            where source = $source and dataset = $dataset and last_load_number is null
        )
        select $source as source, $dataset as dataset, $new_number as first_load_number, staged.*
        from staged_price_records as staged
        anti join open_records using (content_id)
        """,
        {**arguments, "new_number": new_number},
    )
    con.execute("delete from raw.price_loads where snapshot_id = ?", [snapshot_id])
    con.execute(
        "insert into raw.price_loads values (?, ?, ?, ?, ?, ?, now())",
        [source, dataset, new_number, snapshot_id, fetched_at, source_url],
    )
    if old_number is not None:
        _delete_unreachable(con, source, dataset, old_number)
    if changes:
        con.execute(
            "insert into raw.price_restatements values (now(), ?, ?, ?, ?, ?, ?, ?)",
            [source, dataset, snapshot_id, fetched_at, changes.added_count, changes.removed_count, why],
        )
    if changes or is_backdated:
        con.execute("insert into raw.pending_usage_days select cast(cast(? as timestamptz) as date)", [fetched_at])
    return changes


def _delete_unreachable(con: duckdb.DuckDBPyConnection, source: str, dataset: str, gone_number: int) -> None:
    """Deletes the versions that only the load of this number held: those between its neighbours."""
    con.execute(
        """
        delete from raw.price_records
        where
            source = $source and dataset = $dataset
            and first_load_number > coalesce(
                (
                    select max(load_number) from raw.price_loads
                    where source = $source and dataset = $dataset and load_number < $gone_number
                ),
                0
            )
            and last_load_number < (
                select min(load_number) from raw.price_loads
                where source = $source and dataset = $dataset and load_number > $gone_number
            )
        """,
        {"source": source, "dataset": dataset, "gone_number": gone_number},
    )


# --- whole histories --------------------------------------------------------------------------------------------------


def load_price_history(con: duckdb.DuckDBPyConnection, records: str) -> None:
    """Loads many snapshots at once, in the order of fetching, into datasets that have none; call it in a transaction.

    Args:
        con: a connection to the warehouse, with the fetches of the snapshots in raw.source_fetches.
        records: name of a relation of snapshot_id, source, dataset, fetched_at, record_number and fields of a
            PriceRecord; those that it does not have are null.
    """
    con.execute(
        f"""
        insert into raw.price_loads
        select
            snapshots.source, snapshots.dataset,
            row_number() over (
                partition by snapshots.source, snapshots.dataset
                order by snapshots.fetched_at, snapshots.snapshot_id
            ),
            snapshots.snapshot_id, snapshots.fetched_at, fetches.source_url, now()
        from (select distinct source, dataset, snapshot_id, fetched_at from {records}) as snapshots
        left join raw.source_fetches as fetches on snapshots.snapshot_id = fetches.fetch_id
        """
    )
    rows = f"""
        select records.*, loads.load_number, loads.source_url as snapshot_url
        from {records} as records
        inner join raw.price_loads as loads on records.snapshot_id = loads.snapshot_id
    """
    con.execute(
        f"""
        insert into raw.price_records by name
        with identified as ({_identified(rows, "snapshot_url", snapshot="snapshot_id,")}),
        numbered as (
            select
                *,
                load_number - row_number() over (
                    partition by source, dataset, content_id order by load_number
                ) as island
            from identified
        ),
        newest as (
            select source, dataset, max(load_number) as newest_load_number from raw.price_loads
            group by source, dataset
        )
        select
            source, dataset, min(load_number) as first_load_number,
            nullif(max(load_number), any_value(newest_load_number)) as last_load_number,
            arg_min(record_number, load_number) as record_number, content_id,
            {", ".join(f"any_value({name}) as {name}" for name in FIELDS)}
        from numbered
        inner join newest using (source, dataset)
        group by source, dataset, content_id, island
        """
    )


def convert_snapshot_rows(con: duckdb.DuckDBPyConnection, schema: str) -> None:
    """Makes versions of a raw.price_records that holds every record of every snapshot, as warehouses once did.

    Args:
        con: a connection to a warehouse of any age.
        schema: the statements of raw_schema.sql.
    """
    try:
        con.execute("select snapshot_id from raw.price_records limit 0")
    except (duckdb.CatalogException, duckdb.BinderException):  # a new warehouse, or one of versions
        return
    con.execute("begin")
    try:
        con.execute("alter table raw.price_records rename to price_records_by_snapshot")
        con.execute(schema)
        load_price_history(con, "raw.price_records_by_snapshot")
        con.execute("drop table raw.price_records_by_snapshot")
        con.execute("commit")
    except BaseException:
        con.execute("rollback")
        raise
