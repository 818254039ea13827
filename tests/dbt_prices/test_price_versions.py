"""Records as versions: what is stored, and that readers find every record of every snapshot again."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.price_versions import RecordChanges, load_price_history, load_staged_prices, stage_price_records
from scrapers.records import PriceRecord

from .conftest import RawRoom, day, oci

URL = "https://prices.test/2026-11"
TABLES = ("price_loads", "price_records", "price_restatements", "pending_usage_days")
# A row of stg_prices__records as far as these tests vary it.
Row = tuple[str, str | None, Decimal, datetime | None, bool | None, str]


def record(
    sku: str = "a",
    amount: str = "1",
    *,
    zone: str | None = None,
    effective_at: datetime | None = None,
    is_available: bool | None = None,
    url: str = URL,
) -> PriceRecord:
    return PriceRecord(
        sku_id=sku,
        offer_id=sku,
        region_raw="us-east-1",
        zone_raw=zone,
        pricing_model_raw="OnDemand",
        price_amount=Decimal(amount),
        price_currency="USD",
        price_unit_raw="Hrs",
        effective_at=effective_at,
        is_available=is_available,
        source_url=url,
    )


def row(record: PriceRecord) -> Row:
    return (
        record.sku_id,
        record.zone_raw,
        record.price_amount,
        record.effective_at,
        record.is_available,
        record.source_url,
    )


class Raw:
    """The loader and the staging view on one warehouse."""

    def __init__(self, con: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.con = con
        self.folder = folder

    def load(
        self, snapshot: str, records: Sequence[PriceRecord], *, at: int = 1, dataset: str = "d", url: str = URL
    ) -> RecordChanges | None:
        stage_price_records(self.con, records, self.folder, source_url=url)
        self.con.execute("begin")
        changes = load_staged_prices(
            self.con,
            source="aws",
            dataset=dataset,
            snapshot_id=snapshot,
            fetched_at=day(at),
            source_url=url,
            why="a test",
        )
        self.con.execute("commit")
        return changes

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.con.execute(sql).fetchall()

    def versions(self) -> list[tuple[Any, ...]]:
        """sku, amount in whole units, first and last load."""
        return self.query(
            "select sku_id, cast(price_amount as integer), first_load_number, last_load_number from raw.price_records "
            "order by all"
        )

    def expanded(self) -> dict[str, Counter[Row]]:
        found: dict[str, Counter[Row]] = {}
        for snapshot, *rest in self.query(
            "select snapshot_id, sku_id, zone_name, price_amount, effective_at, is_available, source_url "
            "from staging.stg_prices__records"
        ):
            found.setdefault(snapshot, Counter())[tuple(rest)] += 1  # type: ignore[index]  # the columns of Row
        return found

    def clear(self) -> None:
        for table in TABLES:
            self.con.execute(f"delete from raw.{table}")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raw]:
    room = RawRoom(tmp_path_factory.mktemp("versions") / "warehouse.duckdb")
    room.dbt("build", "--select", "+stg_prices__records", "--exclude-resource-type", "test", "unit_test")
    with room.connect() as con:
        yield Raw(con, room.path.parent)


@pytest.fixture
def raw(warehouse: Raw) -> Raw:
    warehouse.clear()
    return warehouse


def test_what_is_new_opens_what_is_gone_closes_and_what_comes_back_opens_again(raw: Raw) -> None:
    raw.load("s1", [record("a"), record("b")], at=1)
    raw.load("s2", [record("a"), record("b", "2"), record("c")], at=2)
    raw.load("s3", [record("a"), record("b")], at=3)
    assert raw.versions() == [
        ("a", 1, 1, None),
        ("b", 1, 1, 1),
        ("b", 1, 3, None),
        ("b", 2, 2, 2),
        ("c", 1, 2, 2),
    ]
    assert raw.query("select snapshot_id, load_number from raw.price_loads order by 2") == [
        ("s1", 1),
        ("s2", 2),
        ("s3", 3),
    ]
    assert raw.query("select * from raw.price_restatements") == raw.query("select * from raw.pending_usage_days") == []


def test_datasets_do_not_touch_each_other(raw: Raw) -> None:
    raw.load("s1", [record("a")], dataset="one")
    raw.load("t1", [record("a", "2")], dataset="two")
    assert raw.versions() == [("a", 1, 1, None), ("a", 2, 1, None)]


def test_a_snapshot_without_records_ends_them_all(raw: Raw) -> None:
    """An override file that was taken out of ledger.yaml."""
    raw.load("s1", [record("a")])
    raw.load("s2", [], at=2)
    assert raw.versions() == [("a", 1, 1, 1)]
    assert raw.query("select count(*) from raw.price_loads") == [(2,)]


def test_a_snapshot_that_is_loaded_late_costs_rows_and_nothing_else(raw: Raw) -> None:
    """Loaded in the order 1, 3, 2: the load numbers follow the order of loading, and the late day is rebuilt."""
    raw.load("s1", [record("a", "1")], at=1)
    raw.load("s3", [record("a", "3")], at=3)
    raw.load("s2", [record("a", "1")], at=2)
    assert raw.versions() == [("a", 1, 1, 1), ("a", 1, 3, None), ("a", 3, 2, 2)]
    assert {name: [row[2] for row in rows] for name, rows in raw.expanded().items()} == {
        "s1": [1],
        "s2": [1],
        "s3": [3],
    }
    assert raw.query("select cast(usage_date as varchar) from raw.pending_usage_days") == [("2026-11-02",)]


def test_a_snapshot_loaded_again_with_the_same_records_changes_nothing(raw: Raw) -> None:
    raw.load("s1", [record("a"), record("b")], at=1)
    raw.load("s2", [record("a")], at=2)
    tables = {table: raw.query(f"from raw.{table} order by all") for table in TABLES}
    assert raw.load("s1", [record("b"), record("a")], at=1) == RecordChanges(0, 0)
    assert {table: raw.query(f"from raw.{table} order by all") for table in TABLES} == tables


def test_a_snapshot_loaded_again_with_other_records_is_restated(raw: Raw) -> None:
    """What only the replaced load held goes: b at 1 and c; a at 1 is still that of s2."""
    raw.load("s1", [record("a"), record("b"), record("c")], at=1)
    raw.load("s2", [record("a"), record("b", "2")], at=2)
    assert raw.load("s1", [record("a"), record("b", "7")], at=1) == RecordChanges(added_count=1, removed_count=2)
    assert raw.versions() == [("a", 1, 1, None), ("b", 2, 2, 2), ("b", 7, 3, None)]
    assert raw.query("select snapshot_id, load_number from raw.price_loads order by 2") == [("s2", 2), ("s1", 3)]
    assert raw.query(
        "select source, dataset, snapshot_id, fetched_at, added_count, removed_count, why from raw.price_restatements"
    ) == [("aws", "d", "s1", day(1), 1, 2, "a test")]
    assert raw.query("select cast(usage_date as varchar) from raw.pending_usage_days") == [("2026-11-01",)]


def test_the_newest_snapshot_can_be_replaced_and_its_number_is_not_given_again(raw: Raw) -> None:
    raw.load("s1", [record("a")], at=1)
    raw.load("s2", [record("a", "2")], at=2)
    raw.load("s2", [record("a", "3")], at=2)
    assert raw.versions() == [("a", 1, 1, 1), ("a", 3, 3, None)]
    assert raw.query("select snapshot_id, load_number from raw.price_loads order by 2") == [("s1", 1), ("s2", 3)]


def test_copies_within_a_snapshot_are_kept_and_told_apart(raw: Raw) -> None:
    raw.load("s1", [record("a"), record("a"), record("b"), record("a")], at=1)
    raw.load("s2", [record("a"), record("a")], at=2)
    assert raw.versions() == [("a", 1, 1, 1), ("a", 1, 1, None), ("a", 1, 1, None), ("b", 1, 1, 1)]
    assert raw.query("select count(distinct content_id) from raw.price_records") == [(4,)]


def test_null_and_empty_text_are_two_records(raw: Raw) -> None:
    raw.load("s1", [record(zone=None)], at=1)
    assert raw.load("s1", [record(zone="")], at=1) == RecordChanges(1, 1)
    assert raw.query("select zone_raw from raw.price_records") == [("",)]


def test_the_address_of_the_list_makes_no_new_versions(raw: Raw) -> None:
    """AWS names the version of a price list in its address, and publishes one every few days."""
    own = "https://prices.test/of-its-own"
    for number in (1, 2):
        url = f"https://prices.test/2026110{number}"
        raw.load(f"s{number}", [record("a", url=url), record("b", url=own)], at=number, url=url)
    assert raw.query("select count(*) from raw.price_records") == [(2,)]
    assert raw.query("select snapshot_id, sku_id, source_url from staging.stg_prices__records order by all") == [
        ("s1", "a", "https://prices.test/20261101"),
        ("s1", "b", own),
        ("s2", "a", "https://prices.test/20261102"),
        ("s2", "b", own),
    ]


records = st.builds(
    record,
    st.sampled_from(["a", "b"]),
    st.sampled_from(["1", "1E-12", "9999999999999999.999999999999"]),
    zone=st.sampled_from([None, "", "null", '"', "\\N, x", "Zürich"]),
    effective_at=st.sampled_from([None, datetime(2026, 6, 1, 12, 30, 0, 1, tzinfo=UTC)]),
    is_available=st.sampled_from([None, True, False]),
    url=st.sampled_from([URL, "https://prices.test/own"]),
)
loads = st.lists(
    st.tuples(st.integers(0, 3), st.lists(records, max_size=4).map(tuple)),
    min_size=1,
    max_size=8,
)


@given(loads)
@settings(max_examples=60, deadline=None)
def test_readers_find_what_each_snapshot_was_loaded_with_last(
    warehouse: Raw, sequence: list[tuple[int, tuple[PriceRecord, ...]]]
) -> None:
    """Snapshots in any order and again, against a plain dict; two of the four belong to another dataset."""
    warehouse.clear()
    expected: dict[str, Counter[Row]] = {}
    restatements = []
    for number, said in sequence:
        name, now = f"s{number}", Counter(map(row, said))
        changes = warehouse.load(name, said, at=number + 1, dataset="one" if number < 2 else "two")
        if name in expected:
            differences = ((now - expected[name]).total(), (expected[name] - now).total())
            assert changes == RecordChanges(*differences)
            restatements += [(name, *differences)] if any(differences) else []
        else:
            assert changes is None
        expected[name] = now
    assert warehouse.expanded() == {name: said for name, said in expected.items() if said}
    assert Counter(warehouse.query("select snapshot_id from raw.price_loads")) == Counter((name,) for name in expected)
    assert sorted(
        warehouse.query("select snapshot_id, added_count, removed_count from raw.price_restatements")
    ) == sorted(restatements)
    # Nothing is kept that no snapshot has, and no two records of a snapshot share an id.
    assert warehouse.query(
        "select count(*) from raw.price_records as records where not exists ("
        "select 1 from raw.price_loads as loads where loads.dataset = records.dataset and loads.load_number "
        "between records.first_load_number and coalesce(records.last_load_number, 1000))"
    ) == [(0,)]
    assert (
        warehouse.query(
            "select snapshot_id, content_id from staging.stg_prices__records group by all having count(*) > 1"
        )
        == []
    )


@given(st.lists(st.lists(records, min_size=1, max_size=4), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_history_loaded_at_once_is_the_one_loaded_by_snapshot(
    warehouse: Raw, snapshots: list[list[PriceRecord]]
) -> None:
    query = "select * from raw.price_records order by all"
    warehouse.clear()
    con = warehouse.con
    con.execute("delete from raw.source_fetches")
    parts = []
    for number, said in enumerate(snapshots, start=1):
        warehouse.load(f"s{number}", said, at=number)
        stage_price_records(con, said, warehouse.folder, source_url=None)
        con.execute(f"create or replace temp table part{number} as from staged_price_records")
        con.execute(
            "insert into raw.source_fetches (fetch_id, source, dataset, fetched_at, outcome, origin, source_url) "
            "values (?, 'aws', 'd', ?, 'loaded', 'live', ?)",
            [f"s{number}", day(number), URL],
        )
        parts.append(
            f"select 's{number}' as snapshot_id, 'aws' as source, 'd' as dataset, "
            f"timestamptz '{day(number)}' as fetched_at, * exclude (content_id) from part{number}"
        )
    expected = warehouse.query(query)
    con.execute(f"create or replace temp table history as {' union all '.join(parts)}")
    warehouse.clear()
    load_price_history(con, "history")
    assert warehouse.query(query) == expected
    assert warehouse.query("select snapshot_id, load_number from raw.price_loads order by 2") == [
        (f"s{number}", number) for number in range(1, len(snapshots) + 1)
    ]


def test_a_restated_snapshot_is_a_row_of_the_mart(tmp_path: Path) -> None:
    """One part is dearer than was read at first, and one was overlooked."""
    room = RawRoom(tmp_path / "warehouse.duckdb")
    snapshot = room.fetch("oci", "products", day(1), records=[oci("B109479", "0.035"), oci("B98415", "10")])
    with room.connect() as con:
        better = [oci("B109479", "3.5"), oci("B98415", "10"), oci("B110519", "10")]
        room.load(con, "oci", "products", day(1), snapshot_id=str(snapshot), records=better, why="reparse")
    room.dbt("build", "--select", "+fct_price_restatements", "--exclude-resource-type", "unit_test")
    assert room.query(
        "select source, dataset, snapshot_id, added_count, removed_count, why, fetched_at "
        "from marts.fct_price_restatements"
    ) == [("oci", "products", snapshot, 2, 1, "reparse", day(1))]
