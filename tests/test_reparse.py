"""Landed snapshots parsed again by a better parser: what is restated, what stays, and what the command says."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration import price_feeds
from orchestration.price_feeds import Reparsed, load_landed, reparse_landed
from orchestration.settings import Settings, load_settings
from orchestration.warehouse import Warehouse, write_run
from scrapers.errors import SchemaDriftError
from scrapers.landing import Landing
from scrapers.records import ParsedSnapshot
from scrapers.snapshot import Snapshot
from tests.oracle_answers import FIRST_DAY, land

COMMAND = str(Path(sys.executable).with_name("inference-ledger"))
parse_snapshot = price_feeds.parse_snapshot


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "ledger.yaml").write_text("prices: {sources: {oci: }}\n", encoding="utf-8")
    return load_settings(tmp_path / "ledger.yaml", tmp_path / "data")


def load(settings: Settings) -> None:
    with Warehouse(settings.warehouse_path).connect() as con:
        load_landed(con, settings, "oci")


def reparse(settings: Settings, **options: Any) -> Reparsed:
    with Warehouse(settings.warehouse_path).connect() as con:
        return reparse_landed(con, settings, "oci", **options)


def query(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.warehouse_path)) as con:
        con.execute("set timezone = 'UTC'")
        return con.execute(sql).fetchall()


def prices(settings: Settings) -> dict[int, dict[str, str]]:
    """Day of October -> part -> price, as readers find them."""
    found: dict[int, dict[str, str]] = {}
    for number, part, price in query(
        settings,
        "select day(fetched_at), sku_id, cast(cast(price_amount as double) as varchar) from raw.price_loads as loads "
        "inner join raw.price_records as records on loads.source = records.source and loads.dataset = records.dataset "
        "and load_number between first_load_number and coalesce(last_load_number, load_number) order by all",
    ):
        found.setdefault(number, {})[part] = price
    return found


@pytest.fixture
def older_parser(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Parses as an older version did: reads B in cents, overlooks C, stumbles over D. Called, today's one is back."""

    def parse(source: Any, snapshot: Snapshot) -> ParsedSnapshot:
        parsed = parse_snapshot(source, snapshot)
        if any(record.sku_id == "D" for record in parsed.records):
            raise SchemaDriftError("D is new", source="oci")
        records = [
            replace(record, price_amount=record.price_amount / Decimal(100)) if record.sku_id == "B" else record
            for record in parsed.records
            if record.sku_id != "C"
        ]
        return replace(parsed, records=tuple(records))

    monkeypatch.setattr(price_feeds, "parse_snapshot", parse)
    return monkeypatch.undo


def test_the_command_restates_what_today_reads_otherwise(settings: Settings, older_parser: Callable[[], None]) -> None:
    """Day 3 cannot be read any more and stays as it was; day 4 was never good; day 5 has nothing to restate."""
    land(settings, 1, {"A": "1", "B": "2", "C": "3"})
    land(settings, 2, {"A": "1", "B": "2.5", "C": "3"})
    damaged = land(settings, 3, {"A": "4", "B": "2", "C": "3"})
    refused = land(settings, 4, {"A": "0"})
    land(settings, 5, {"A": "5", "E": "6"})
    load(settings)
    before = {
        1: {"A": "1.0", "B": "0.02"},
        2: {"A": "1.0", "B": "0.025"},
        3: {"A": "4.0", "B": "0.02"},
        5: {"A": "5.0", "E": "6.0"},
    }
    assert prices(settings) == before
    (payload,) = damaged.path.glob("000.*")
    payload.write_bytes(b"rust")

    def run(*arguments: str) -> list[str]:
        result = subprocess.run(
            [COMMAND, "reparse", *arguments], cwd=settings.root, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return [line for line in result.stdout.splitlines() if line]

    first = run("oci")
    # Days 1 and 2: C is added, B is another record.
    assert first[0] == ("oci: 5 snapshots read, 2 restated, 0 accepted that were refused; 4 records added, 2 removed")
    assert first[1].startswith(f"  left as it was: {damaged.entry_id}: ")
    assert "Its bytes changed after landing" in first[1]
    assert first[2].startswith(f"  left as it was: {refused.entry_id}: ")
    assert first[3] == "run `inference-ledger run` to bring it into the published tables"
    assert prices(settings) == before | {
        1: {"A": "1.0", "B": "2.0", "C": "3.0"},
        2: {"A": "1.0", "B": "2.5", "C": "3.0"},
    }
    assert query(
        settings,
        "select dataset, day(fetched_at), added_count, removed_count, why from raw.price_restatements order by 2",
    ) == [
        ("products", 1, 2, 1, "reparse by scrapers 0.1.0"),
        ("products", 2, 2, 1, "reparse by scrapers 0.1.0"),
    ]
    assert query(settings, "select outcome, count(*) from raw.source_fetches group by 1 order by 1") == [
        ("loaded", 4),
        ("refused", 1),
    ]
    again = run()
    assert again[0] == "oci: 5 snapshots read, 0 restated, 0 accepted that were refused; 0 records added, 0 removed"
    assert again[-1] == "nothing changed"
    assert run("oci", "--since", "2026-10-05")[0].startswith("oci: 1 snapshots read, 0 restated")


def test_the_command_says_what_it_cannot_take(settings: Settings) -> None:
    for arguments, message in (
        (["nowhere"], "no price source 'nowhere'"),
        (["--since", "yesterday"], "--since 'yesterday' is not a date; write YYYY-MM-DD"),
    ):
        result = subprocess.run(
            [COMMAND, "reparse", *arguments], cwd=settings.root, capture_output=True, text=True, check=False
        )
        assert result.returncode == 2
        assert message in result.stderr


def test_what_was_refused_and_is_read_now_is_accepted_with_the_pulls_that_confirmed_it(
    settings: Settings, older_parser: Callable[[], None]
) -> None:
    entry = land(settings, 1, {"A": "1", "D": "4"})
    with Landing(settings.landing_dir).stage("oci", "products", fetched_at=FIRST_DAY + timedelta(days=1)) as stage:
        stage.commit_unchanged(entry)
    load(settings)
    outcomes = "select outcome, message is null from raw.source_fetches order by fetched_at"
    assert query(settings, outcomes) == [("refused", False), ("refused", False)]
    older_parser()
    assert reparse(settings) == Reparsed(snapshot_count=1, accepted_count=1, added_count=2)
    assert query(settings, outcomes) == [("loaded", True), ("unchanged", True)]
    assert query(settings, "select * from raw.price_restatements") == []


def test_the_day_of_a_restated_snapshot_is_rebuilt(settings: Settings, older_parser: Callable[[], None]) -> None:
    for number in (1, 10, 20):
        land(settings, number, {"A": str(number), "C": "3"} if number == 10 else {"A": str(number)})
    load(settings)
    older_parser()
    assert reparse(settings, since=date(2026, 10, 2)).restated_count == 1
    with Warehouse(settings.warehouse_path).connect() as con:
        # The day before it too, as for usage.
        assert write_run(con, run_id="r", started_at=FIRST_DAY, as_of_date=date(2026, 10, 30)) == date(2026, 10, 9)


def test_a_snapshot_that_would_shrink_by_more_than_a_fifth_needs_a_word(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        land(settings, number, {part: "1" for part in "ABCDEFGHIJ"})
    load(settings)
    monkeypatch.setattr(
        price_feeds,
        "parse_snapshot",
        lambda source, snapshot: ParsedSnapshot(parse_snapshot(source, snapshot).records[:7], (), {}),
    )
    since = date(2026, 10, 2)
    refused = reparse(settings, since=since)
    assert (refused.restated_count, len(refused.problems)) == (0, 1)
    assert "has 7 prices where the last good snapshot had 10" in refused.problems[0]
    assert {number: len(parts) for number, parts in prices(settings).items()} == {1: 10, 2: 10}
    assert reparse(settings, since=since, accept_smaller=True).removed_count == 3
    assert {number: len(parts) for number, parts in prices(settings).items()} == {1: 10, 2: 7}
    # What was accepted by hand is not asked about again.
    assert reparse(settings, since=since) == Reparsed(snapshot_count=1)
