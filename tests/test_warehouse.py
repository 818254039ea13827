"""Prices into the raw room through the gate, and what happens to a damaged or locked warehouse."""

import json
import multiprocessing
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration import price_feeds
from orchestration import warehouse as warehouse_module
from orchestration.price_feeds import land_bundled, land_replay, load_landed
from orchestration.settings import Settings, load_settings
from orchestration.warehouse import (
    LoadResult,
    Warehouse,
    WarehouseLockedError,
    WarehouseUnusableError,
    is_transform_changed,
    note_published,
    transform_digest,
)
from scrapers.landing import Landing
from tests.oracle_answers import oci_answer

DAY = datetime(2026, 10, 1, 6, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "ledger.yaml").write_text("prices: {bundled: [bundled], sources: {oci: }}\n", encoding="utf-8")
    return load_settings(tmp_path / "ledger.yaml", tmp_path / "data")


def replay(settings: Settings, content: bytes, at: datetime, **options: Any) -> LoadResult:
    """Lands and loads one answer; returns what became of it."""
    path = settings.root / "answer.json"
    path.write_bytes(content)
    entry = land_replay(settings, "oci", "products", [path], at)
    with Warehouse(settings.warehouse_path).connect() as con:
        results = load_landed(con, settings, "oci", **options)
    return next(result for result in results if result.fetch_id == entry.entry_id)


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.warehouse_path)) as con:
        con.execute("set timezone = 'UTC'")
        return con.execute(sql).fetchall()


def test_prices_arrive_as_exact_decimals_in_the_source_words(settings: Settings) -> None:
    result = replay(settings, oci_answer({"B109479": 3.5, "B98415": 10, "B88517": 1.275}), DAY)
    assert (result.outcome, result.record_count, result.message) == ("loaded", 3, None)
    found = rows(
        settings,
        "select sku_id, price_amount::varchar, price_unit_raw, region_raw, fetched_at "
        "from raw.price_records inner join raw.price_loads using (source, dataset) order by sku_id",
    )
    assert found == [
        ("B109479", "3.500000000000", "GPU Per Hour", "global", DAY),
        ("B88517", "1.275000000000", "GPU Per Hour", "global", DAY),
        ("B98415", "10.000000000000", "GPU Per Hour", "global", DAY),
    ]
    assert rows(settings, "select outcome, origin, record_count, landing_path from raw.source_fetches")[0][:3] == (
        "loaded",
        "replay",
        3,
    )


def test_a_snapshot_80_percent_shorter_is_refused_and_the_last_one_stays(settings: Settings) -> None:
    parts = {f"B{number}": 1 + number for number in range(10)}
    replay(settings, oci_answer(parts), DAY)
    short = oci_answer(dict(list(parts.items())[:2]))
    result = replay(settings, short, DAY + timedelta(days=1))
    assert result.outcome == "refused"
    assert "oci products has 2 prices where the last good snapshot had 10" in str(result.message)
    assert "--accept-smaller oci" in str(result.message)
    assert rows(settings, "select count(*), count(last_load_number) from raw.price_records") == [(10, 0)]
    assert rows(settings, "select count(*) from raw.price_loads") == [(1,)]
    # 8 of 10 is the edge that passes
    assert replay(settings, oci_answer(dict(list(parts.items())[:8])), DAY + timedelta(days=2)).outcome == "loaded"


def test_accept_smaller_takes_it(settings: Settings) -> None:
    replay(settings, oci_answer({f"B{number}": 1 for number in range(10)}), DAY)
    result = replay(settings, oci_answer({"B1": 1}), DAY + timedelta(days=1), accept_smaller=True)
    assert result.outcome == "loaded"


def test_answer_in_another_currency_is_refused(settings: Settings) -> None:
    result = replay(settings, oci_answer({"B109479": 3.5, "B98415": 10}, currency="EUR"), DAY)
    assert result.outcome == "refused"
    assert "holds no usable price" in str(result.message)
    assert rows(settings, "select reason, sum(occurrences) from raw.rejected_records group by 1") == [
        ("currency_not_usd", 2)
    ]


def test_each_source_is_held_to_its_own_currency(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that declares euros may not publish dollars."""
    monkeypatch.setattr(price_feeds, "declared_currency", lambda source: "EUR")
    result = replay(settings, oci_answer({"B109479": 3.5}), DAY)
    assert result.outcome == "refused"
    assert result.message == "oci products has prices in another currency than EUR"


@pytest.mark.parametrize("price", [0, -1, "NaN", "free", None])
def test_one_bad_price_is_listed_and_the_others_are_kept(settings: Settings, price: object) -> None:
    result = replay(settings, oci_answer({"B109479": price, "B98415": 10, "B110519": 10}), DAY)
    assert (result.outcome, result.record_count, result.rejected_count) == ("loaded", 2, 1)
    ((reason, location),) = rows(settings, "select reason, first_location from raw.rejected_records")
    assert reason.startswith("price_not") or reason == "missing_field"
    assert location


@pytest.mark.parametrize("content", [b"<html><body>Service unavailable</body></html>", b'{"items": [', b"", b"[]"])
def test_an_answer_that_is_no_product_list_is_refused_with_a_reason(settings: Settings, content: bytes) -> None:
    result = replay(settings, content, DAY)
    assert result.outcome == "refused"
    assert "oci" in str(result.message).lower() or "answer.json" in str(result.message)


def test_loading_twice_changes_nothing(settings: Settings) -> None:
    replay(settings, oci_answer({"B109479": 3.5}), DAY)
    with Warehouse(settings.warehouse_path).connect() as con:
        assert load_landed(con, settings, "oci") == []


def test_emptied_warehouse_is_filled_again_from_landing(settings: Settings) -> None:
    replay(settings, oci_answer({"B109479": 3.5}), DAY)
    replay(settings, oci_answer({"B109479": 3.25}), DAY + timedelta(days=1))
    query = "select * from raw.price_records order by all"
    loads = "select * exclude (loaded_at) from raw.price_loads order by all"
    fetches = "select * from raw.source_fetches order by all"
    before, loaded, fetched = rows(settings, query), rows(settings, loads), rows(settings, fetches)
    settings.warehouse_path.unlink()
    with Warehouse(settings.warehouse_path).connect() as con:
        load_landed(con, settings, "oci")
    assert rows(settings, query) == before
    assert rows(settings, loads) == loaded
    assert rows(settings, fetches) == fetched


def test_a_refused_answer_confirmed_by_the_source_is_still_refused(settings: Settings) -> None:
    """`unchanged` since a snapshot that was never good is no success."""
    replay(settings, oci_answer({"B109479": 0}), DAY)
    landing = Landing(settings.landing_dir)
    refused = landing.latest_snapshot("oci", "products")
    assert refused is not None
    with landing.stage("oci", "products", fetched_at=DAY + timedelta(days=1)) as stage:
        stage.commit_unchanged(refused)
    with Warehouse(settings.warehouse_path).connect() as con:
        (result,) = load_landed(con, settings, "oci")
    assert result.outcome == "refused"


def test_bundled_snapshots_land_once_with_the_time_of_their_name(settings: Settings) -> None:
    folder = settings.root / "bundled" / "oci" / "products"
    folder.mkdir(parents=True)
    (folder / "20261001T141805Z.json").write_bytes(oci_answer({"B109479": 3.5}))
    (folder / "notes.json").write_bytes(b"{}")
    assert land_bundled(settings, "oci") == 1
    assert land_bundled(settings, "oci") == 0
    (entry,) = Landing(settings.landing_dir).entries("oci")
    assert (entry.fetched_at, str(entry.origin)) == (datetime(2026, 10, 1, 14, 18, 5, tzinfo=UTC), "bundled")


def test_one_damaged_landing_folder_is_told_and_the_rest_loads(settings: Settings) -> None:
    replay(settings, oci_answer({"B109479": 3.5}), DAY)
    (envelope,) = settings.landing_dir.rglob("envelope.json")
    envelope.write_text("{")
    settings.warehouse_path.unlink()
    result = replay(settings, oci_answer({"B109479": 3.4}), DAY + timedelta(days=1))
    assert result.outcome == "loaded"
    with Warehouse(settings.warehouse_path).connect() as con:
        (damaged,) = load_landed(con, settings, "oci")
    assert damaged.outcome == "refused"
    assert "Restore the directory from a backup, or remove it" in str(damaged.message)


def test_truncated_warehouse_is_noticed_and_set_aside(settings: Settings) -> None:
    """DuckDB opens a file whose write-ahead log was cut without a word: only the manifest outside tells."""
    replay(settings, oci_answer({"B109479": 3.5}), DAY)
    path = settings.warehouse_path
    path.unlink()
    duckdb.connect(str(path)).close()  # what such a file looks like: it opens, and holds less than was committed
    with Warehouse(path).connect() as con:
        (result,) = load_landed(con, settings, "oci")
    assert result.outcome == "loaded"
    (aside,) = (settings.data_dir / "quarantine").iterdir()
    assert (aside / "warehouse.duckdb").exists()


def test_a_warehouse_of_snapshot_rows_is_converted_when_it_is_opened(settings: Settings) -> None:
    """A file from before versions, and before providers were told apart: every record of every snapshot."""
    with Warehouse(settings.warehouse_path).connect() as con:
        con.execute("drop table raw.price_records; drop table raw.price_loads; drop table raw.price_restatements")
        con.execute(
            """
            create table raw.price_records (
                snapshot_id varchar not null, source varchar not null, dataset varchar not null,
                fetched_at timestamptz not null, record_number bigint not null, sku_id varchar not null,
                offer_id varchar not null, instance_type varchar, region_raw varchar not null, zone_raw varchar,
                gpu_name_raw varchar, gpu_count_raw decimal(18, 6), gpu_memory_gb_raw decimal(18, 6),
                pricing_model_raw varchar not null, term_raw varchar, offering_class_raw varchar,
                payment_option_raw varchar, operating_system_raw varchar, tenancy_raw varchar,
                product_name_raw varchar, price_amount decimal(28, 12) not null, price_currency varchar not null,
                price_unit_raw varchar not null, effective_at timestamptz, is_available boolean,
                source_url varchar not null,
                primary key (snapshot_id, record_number)
            )
            """
        )
        con.execute(
            "insert into raw.source_fetches (fetch_id, source, dataset, fetched_at, outcome, origin, source_url) "
            "values ('s3', 'oci', 'd', timestamptz '2026-10-03 06:00:00+00', 'loaded', 'live', 'https://third.test')"
        )
        # Record 1 comes, goes and comes back with another price beside it; record 2 stands, twice in the second.
        for snapshot, number, sku, amount, url in (
            ("s1", 1, "a", "1", "https://first.test"),
            ("s1", 2, "b", "5", "https://own.test"),
            ("s2", 1, "b", "5", "https://own.test"),
            ("s2", 2, "b", "5", "https://own.test"),
            ("s3", 1, "a", "1", "https://third.test"),
            ("s3", 2, "a", "2", "https://third.test"),
            ("s3", 3, "b", "5", "https://own.test"),
        ):
            con.execute(
                "insert into raw.price_records by name select ? as snapshot_id, 'oci' as source, 'd' as dataset, "
                "cast(? as timestamptz) as fetched_at, ? as record_number, ? as sku_id, ? as offer_id, "
                "'r' as region_raw, 'm' as pricing_model_raw, ? as price_amount, 'USD' as price_currency, "
                "'h' as price_unit_raw, ? as source_url",
                [snapshot, f"2026-10-0{snapshot[1]} 06:00:00+00", number, sku, sku, amount, url],
            )
    for _ in range(2):  # the second time there is nothing to convert
        with Warehouse(settings.warehouse_path).connect() as con:
            assert con.execute(
                "select sku_id, cast(price_amount as integer), first_load_number, last_load_number, record_number, "
                "source_url from raw.price_records order by all"
            ).fetchall() == [
                ("a", 1, 1, 1, 1, "https://first.test"),
                ("a", 1, 3, None, 1, None),
                ("a", 2, 3, None, 2, None),
                ("b", 5, 1, None, 2, "https://own.test"),
                ("b", 5, 2, 2, 2, "https://own.test"),
            ]
            assert con.execute(
                "select source, dataset, load_number, snapshot_id, fetched_at, source_url from raw.price_loads "
                "order by load_number"
            ).fetchall() == [
                ("oci", "d", 1, "s1", datetime(2026, 10, 1, 6, tzinfo=UTC), None),
                ("oci", "d", 2, "s2", datetime(2026, 10, 2, 6, tzinfo=UTC), None),
                ("oci", "d", 3, "s3", datetime(2026, 10, 3, 6, tzinfo=UTC), "https://third.test"),
            ]


def test_unreadable_warehouse_is_set_aside(settings: Settings) -> None:
    replay(settings, oci_answer({"B109479": 3.5}), DAY)
    with settings.warehouse_path.open("r+b") as stream:
        stream.truncate(6000)
    with Warehouse(settings.warehouse_path).connect() as con:
        assert load_landed(con, settings, "oci")[0].outcome == "loaded"
    assert (settings.data_dir / "quarantine").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b'{"rows": null}', b"\xff\xfe"])
def test_manifest_that_cannot_be_read_is_written_anew(settings: Settings, content: bytes) -> None:
    replay(settings, oci_answer({"B109479": 3.5}), DAY)
    manifest = settings.warehouse_path.with_suffix(".manifest.json")
    manifest.write_bytes(content)
    with Warehouse(settings.warehouse_path).connect() as con:
        assert load_landed(con, settings, "oci") == []
    assert json.loads(manifest.read_text())["rows"]["source_fetches"] == 1


def test_a_file_that_may_not_be_opened_is_not_set_aside(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights, limits and newer formats are no damage: a new file would cost the rows of logs that are gone."""
    replay(settings, oci_answer({"B109479": 3.5}), DAY)

    def refused(*_: object, **__: object) -> None:
        raise duckdb.IOException('IO Error: Cannot open file "warehouse.duckdb": Permission denied')

    monkeypatch.setattr(warehouse_module.duckdb, "connect", refused)
    with pytest.raises(WarehouseUnusableError, match="Permission denied"), Warehouse(settings.warehouse_path).connect():
        pass
    assert not (settings.data_dir / "quarantine").exists()
    assert settings.warehouse_path.exists()


def _hold(path: str, seconds: float, ready: Any) -> None:
    with duckdb.connect(path):
        ready.set()
        time.sleep(seconds)


@pytest.fixture
def holder(settings: Settings) -> Iterator[Any]:
    """Starts another process that holds the warehouse open for some seconds."""
    context = multiprocessing.get_context("spawn")
    processes = []

    def start(seconds: float) -> None:
        with Warehouse(settings.warehouse_path).connect():
            pass
        ready = context.Event()
        process = context.Process(target=_hold, args=(str(settings.warehouse_path), seconds, ready))
        process.start()
        processes.append(process)
        assert ready.wait(30)

    yield start
    for process in processes:
        process.kill()
        process.join()


def test_a_short_lock_is_waited_for(settings: Settings, holder: Any) -> None:
    holder(1.0)
    with Warehouse(settings.warehouse_path).connect() as con:
        assert con.execute("select count(*) from raw.price_records").fetchone() == (0,)


def test_a_long_lock_ends_in_a_sentence(settings: Settings, holder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warehouse_module, "LOCK_WAIT_SECONDS", 0.5)
    holder(60.0)
    with (
        pytest.raises(WarehouseLockedError, match="is held open by another process"),
        Warehouse(settings.warehouse_path).connect(),
    ):
        pass
    assert not (settings.data_dir / "quarantine").exists()


def test_other_seeds_or_sql_build_the_past_anew(tmp_path: Path) -> None:
    project = tmp_path / "dbt"
    for part in ("seeds", "models", "macros"):
        (project / part / "room").mkdir(parents=True)
    (project / "seeds" / "rates.csv").write_text("a\n1\n")
    digest = transform_digest(project)
    with Warehouse(tmp_path / "w.duckdb").connect() as con:
        assert is_transform_changed(con, digest)  # nothing published yet
        note_published(con, digest)
        assert not is_transform_changed(con, digest)
        (project / "target").mkdir()
        (project / "target" / "made.sql").write_text("select 1")
        assert transform_digest(project) == digest
        (project / "models" / "room" / "m.sql").write_text("select 1")
        changed = transform_digest(project)
        assert is_transform_changed(con, changed)
        note_published(con, changed)
        assert is_transform_changed(con, digest)
        (project / "models" / "room" / "m.sql").rename(project / "models" / "room" / "n.sql")
        assert transform_digest(project) not in (digest, changed)
