"""Loading one snapshot of 120,000 prices, of which 2 % changed, beside three years of versions.

    python -m benchmarks.price_versions

Prints seconds of the load (parsing left out, the gate and the checkpoint included) and the peak memory of the process,
and how long a reader takes for three days and for all of history.
"""

import re
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path

import duckdb

from orchestration.price_versions import FIELDS
from orchestration.warehouse import Warehouse, load_price_entry
from scrapers.landing import EntryKind, LandedEntry
from scrapers.records import ParsedSnapshot, PriceRecord
from scrapers.snapshot import Origin, Payload, entry_id

PRICES = 120_000
LOADS = 1001  # of history
CHANGED = 50  # one price in so many changes from load to load
FIRST_DAY = datetime(2024, 1, 1, 6, tzinfo=UTC)
URL = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonEC2/20260801000000/us-east-1/index.csv"


def record(number: int, amount: str) -> PriceRecord:
    """A price with about as many words as AWS states."""
    return PriceRecord(
        sku_id=f"SKU{number:08d}ABCDEFGH",
        offer_id=f"SKU{number:08d}ABCDEFGH.JRTCKXETXF",
        instance_type=f"p{number % 300}.{number % 48}xlarge",
        region_raw=f"us-east-{number % 40}",
        gpu_count_raw=Decimal(8),
        pricing_model_raw="Reserved",
        term_raw="3yr",
        offering_class_raw="standard",
        payment_option_raw="No Upfront",
        operating_system_raw="Linux",
        tenancy_raw="Shared",
        price_amount=Decimal(amount),
        price_currency="USD",
        price_unit_raw="Hrs",
        effective_at=FIRST_DAY,
        source_url=URL,
    )


def entry(day: int, dataset: str = "all") -> LandedEntry:
    """The landed snapshot of a day."""
    at = FIRST_DAY + timedelta(days=day)
    name = entry_id("aws", dataset, at, "0" * 12)
    return LandedEntry(
        kind=EntryKind.SNAPSHOT,
        source="aws",
        dataset=dataset,
        fetched_at=at,
        origin=Origin.LIVE,
        entry_id=name,
        snapshot_id=name,
        change_key=None,
        error=None,
        message=None,
        payloads=(Payload("index.csv", URL, {}, 200, {}, "", 0, Path()),),
        path=Path(),
    )


def load(warehouse: Warehouse, folder: Path, landed: LandedEntry, records: tuple[PriceRecord, ...]) -> float:
    """Seconds to load a snapshot, from opening the warehouse to closing it."""
    start = time.perf_counter()
    with warehouse.connect() as con:
        result = load_price_entry(con, landed, ParsedSnapshot(records, (), {}), work_dir=folder, landing_path="")
    assert result.outcome == "loaded", result.message
    return time.perf_counter() - start


def write_history(warehouse: Warehouse) -> None:
    """Makes history of the one load there is: each price has changed every 50th load before it."""
    fields = ", ".join(name for name in FIELDS if name != "price_amount")
    with warehouse.connect() as con:
        con.execute(f"update raw.price_loads set load_number = {LOADS}, fetched_at = fetched_at + to_days({LOADS - 1})")
        con.execute(
            "insert into raw.price_loads select 'aws', 'all', n, 's' || n, "
            f"cast(? as timestamptz) + to_days(cast(n - 1 as integer)), null, now() from range(1, {LOADS}) as t(n)",
            [FIRST_DAY],
        )
        con.execute("create temp table newest as from raw.price_records")
        con.execute("delete from raw.price_records")
        con.execute(
            f"""
            insert into raw.price_records by name
            with versions as (
                select *, unnest(range({LOADS // CHANGED + 1})) as step, record_number % {CHANGED} as turn from newest
            )
            select
                source, dataset, record_number, {fields}, price_amount + step / 100 as price_amount,
                case when step = 0 then content_id else cast(md5_number(content_id || '/' || step) as uuid) end
                    as content_id,
                greatest({LOADS} - turn - (step + 1) * {CHANGED} + 1, 1) as first_load_number,
                case when step > 0 then {LOADS} - turn - step * {CHANGED} end as last_load_number
            from versions
            where step = 0 or {LOADS} - turn - step * {CHANGED} > 0
            order by first_load_number
            """
        )


@contextmanager
def reader(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the join of stg_prices__records, without its seeds."""
    with duckdb.connect(str(path)) as con:
        con.execute(
            """
            create temp view records as
            select versions.*, loads.fetched_at
            from raw.price_loads as loads
            inner join raw.price_records as versions
                on loads.source = versions.source and loads.dataset = versions.dataset
                and loads.load_number >= versions.first_load_number
                and loads.load_number <= coalesce(versions.last_load_number, 9223372036854775807)
            """
        )
        yield con


def peak_mb() -> float:
    """Peak memory of this process; ru_maxrss would hold that of the process it was forked from."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024


def next_day(path: Path) -> tuple[float, float, float]:
    """Seconds of the load after history, and MB of this process before and at its peak; in a process of its own."""
    warehouse = Warehouse(path)
    records = tuple(record(number, "1.25" if number % CHANGED else "1.5") for number in range(PRICES))
    load(warehouse, path.parent, entry(0, "other"), records[:1])  # imports the gate
    before = peak_mb()
    seconds = load(warehouse, path.parent, entry(LOADS), records)
    return seconds, before, peak_mb()


def main() -> None:
    """Runs it once."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "warehouse.duckdb"
        load(Warehouse(path), path.parent, entry(0), tuple(record(number, "1.25") for number in range(PRICES)))
        write_history(Warehouse(path))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            seconds, before, peak = pool.submit(next_day, path).result()
        with reader(path) as con:
            versions = con.execute("select count(*) from raw.price_records").fetchall()[0][0]
            start = time.perf_counter()
            con.execute(
                "select count(*), sum(price_amount) from records "
                "where fetched_at >= (select max(fetched_at) - to_days(2) from raw.price_loads)"
            ).fetchall()
            window = time.perf_counter() - start
            start = time.perf_counter()
            rows = con.execute("select count(*), sum(price_amount) from records").fetchall()[0][0]
            whole = time.perf_counter() - start
        size = path.stat().st_size / 1e6
    print(f"{versions:,} versions, {size:.0f} MB")
    print(
        f"loading {PRICES:,}, {PRICES // CHANGED:,} changed       {seconds:6.1f} s, {peak:.0f} MB ({before:.0f} before)"
    )
    print(f"reading three days                    {window:6.1f} s")
    print(f"reading all {rows:,} records   {whole:6.1f} s")


if __name__ == "__main__":
    main()
