"""Months of usage without their records. That no published number changes by it is tested end to end, on the demo."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from orchestration import usage_archive
from orchestration.cli import app
from orchestration.doctor import examine
from orchestration.pruning import Pile, Removed, piles, prune_after_run, remove
from orchestration.settings import PROJECT_ROOT, Settings, load_settings
from orchestration.usage_archive import (
    ARCHIVED,
    TAIL_DAYS,
    UsageArchiveError,
    archive_usage,
    delete_archived_records,
    read_archive,
)
from orchestration.warehouse import Warehouse, write_ledger

NOW = datetime(2026, 12, 20, 5, tzinfo=UTC)
FIRST, LAST = date(2026, 9, 20), date(2026, 12, 19)
LEDGER = """
retention: {usage_records_days: 31}
fleet:
  - {deployment: chat, model: m, provider: aws, region: us-east-1, instance_type: p5.48xlarge, replicas: 1,
     pricing: {model: on_demand}, from: 2026-01-01}
usage:
  - {name: gateway, kind: litellm, path: "*.jsonl", deployment: ROUTE}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A call a day from 20 September to 19 December, and what the models say of each day: its number in the year."""
    (tmp_path / "ledger.yaml").write_text(LEDGER.replace("ROUTE", "chat"), encoding="utf-8")
    settings = load_settings(tmp_path / "ledger.yaml", tmp_path / "data")
    with Warehouse(settings.warehouse_path).connect() as con:
        write_ledger(con, settings)
        con.execute("delete from raw.pending_usage_days")
        con.execute("create schema intermediate")
        days = f"range(date '{FIRST}', date '{LAST + timedelta(days=1)}', interval 1 day) as days(day)"
        con.execute(
            "insert into raw.requests by name select 1 as file_number, uuid() as request_id, "
            f"cast(day as timestamptz) as started_at, cast(day as date) as usage_date from {days}"
        )
        for model, column in ARCHIVED.items():
            kind = "date" if column == "usage_date" else "timestamptz"
            con.execute(
                f"create table intermediate.{model} as "
                f"select cast(day as {kind}) as {column}, cast(dayofyear(day) as bigint) as day_number from {days}"
            )
        con.execute(
            "insert into raw.ledger_run by name select 'r' as run_id, now() as started_at, "
            f"date '{LAST}' as as_of_date, date '{LAST}' as window_start_date"
        )
    return settings


@pytest.fixture
def con(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(settings.warehouse_path).connect() as con:
        yield con


def first_call(con: duckdb.DuckDBPyConnection) -> date:
    return con.execute("select min(usage_date) from raw.requests").fetchall()[0][0]


def archived_days(con: duckdb.DuckDBPyConnection, model: str) -> list[int]:
    return [row[0] for row in con.execute(f"select day_number from archive.{model} order by all").fetchall()]


def test_months_go_one_after_the_other_and_the_archive_has_each_day_once(
    settings: Settings, con: duckdb.DuckDBPyConnection
) -> None:
    archive_usage(con, settings, date(2026, 10, 1))
    assert first_call(con) == FIRST, "all that there is lies within eleven days of October"
    archive_usage(con, settings, date(2026, 11, 1))
    assert first_call(con) == date(2026, 10, 21)
    archive_usage(con, settings, date(2026, 11, 1))
    archive = read_archive(settings)
    assert archive is not None
    assert (archive.first_usage_date, archive.archived_until) == (FIRST, date(2026, 11, 1))
    assert con.execute("from raw.usage_archive").fetchall() == [(FIRST, date(2026, 11, 1))]
    # 20 September is day 263 of 2026, 31 October day 304.
    for model in ARCHIVED:
        assert archived_days(con, model) == list(range(263, 305))


def test_the_tail_holds_what_later_days_are_read_with() -> None:
    """An increase stands up to half of what a scrape looks back before it, and is measured from all of it before."""
    macros = (PROJECT_ROOT / "dbt" / "macros" / "windows.sql").read_text(encoding="utf-8")
    found = re.search(r"macro scrape_look_back_hours.*?return\((\d+)\)", macros, re.DOTALL)
    assert found is not None
    assert int(found[1]) * 1.5 <= TAIL_DAYS * 24


def test_a_column_of_a_later_version_is_null_before(settings: Settings, con: duckdb.DuckDBPyConnection) -> None:
    archive_usage(con, settings, date(2026, 10, 1))
    con.execute("alter table intermediate.int_usage_anomalies add column more varchar default 'x'")
    archive_usage(con, settings, date(2026, 11, 1))
    counted = con.execute("select more, count(*) from archive.int_usage_anomalies group by 1 order by 1").fetchall()
    assert counted == [("x", 31), (None, 11)]


def test_what_no_run_has_computed_is_not_archived(settings: Settings, con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(UsageArchiveError, match="no run has computed all days before 2027-01-01"):
        archive_usage(con, settings, date(2027, 1, 1))
    con.execute("insert into raw.pending_usage_days values (date '2026-10-31')")
    with pytest.raises(UsageArchiveError, match="usage before 2026-11-01 has changed since"):
        archive_usage(con, settings, date(2026, 11, 1))
    con.execute("drop table intermediate.int_usage_anomalies")
    with pytest.raises(UsageArchiveError, match="no run has computed"):
        archive_usage(con, settings, date(2026, 10, 1))
    assert (first_call(con), read_archive(settings)) == (FIRST, None)


def test_a_type_that_parquet_would_change_is_refused(settings: Settings, con: duckdb.DuckDBPyConnection) -> None:
    con.execute("alter table intermediate.int_request_usage__hourly alter day_number type hugeint")
    with pytest.raises(UsageArchiveError, match="int_request_usage__hourly.day_number; its model must cast it"):
        archive_usage(con, settings, date(2026, 11, 1))
    assert read_archive(settings) is None


def test_killed_before_the_records_went_the_next_one_takes_them(
    settings: Settings, con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(usage_archive, "delete_archived_records", kill)
        with pytest.raises(KeyboardInterrupt):
            archive_usage(con, settings, date(2026, 11, 1))
    assert first_call(con) == FIRST
    archive_usage(con, settings, date(2026, 11, 1))
    assert first_call(con) == date(2026, 10, 21)


def test_calls_of_archived_days_that_come_late_are_dropped(settings: Settings, con: duckdb.DuckDBPyConnection) -> None:
    archive_usage(con, settings, date(2026, 11, 1))
    late = "select * replace (date '2026-10-02' as usage_date) from raw.requests limit 3"
    con.execute(f"insert into raw.requests {late}")
    assert delete_archived_records(con, date(2026, 11, 1)) == 3
    assert delete_archived_records(con, date(2026, 11, 1)) == 0
    assert first_call(con) == date(2026, 10, 21)


def test_another_route_opens_the_archived_days_too(settings: Settings) -> None:
    with Warehouse(settings.warehouse_path).connect() as con:
        archive_usage(con, settings, date(2026, 11, 1))
        write_ledger(con, settings)
        assert con.execute("from raw.pending_usage_days").fetchall() == []
        settings.config_path.write_text(
            LEDGER.replace("ROUTE", "other").replace("deployment: chat", "deployment: other"), encoding="utf-8"
        )
        write_ledger(con, load_settings(settings.config_path, settings.data_dir))
        assert con.execute("from raw.pending_usage_days").fetchall() == [(FIRST,)]


@pytest.mark.parametrize("damage", ["missing", "cut", "manifest"])
def test_an_archive_that_is_not_whole_is_told(settings: Settings, damage: str) -> None:
    with Warehouse(settings.warehouse_path).connect() as con:
        archive_usage(con, settings, date(2026, 11, 1))
    assert "archive" in {one.subject for one in examine(settings, NOW) if one.state == "ok"}
    file = settings.usage_archive_dir / "int_usage_anomalies" / "until-2026-11-01.parquet"
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file = settings.usage_archive_dir / "manifest.json"
        file.write_text("{}", encoding="utf-8")
    with Warehouse(settings.warehouse_path).connect() as con, pytest.raises(UsageArchiveError) as raised:
        write_ledger(con, settings)
    assert str(file) in str(raised.value)
    assert "restore" in str(raised.value)
    (told,) = [one for one in examine(settings, NOW) if one.subject == "archive"]
    assert (told.state, told.text) == ("error", str(raised.value))


def test_prune_lets_whole_months_go(settings: Settings) -> None:
    """On 20 December, 31 days back is 19 November: September and October are over, November is not."""
    with piles(settings, NOW, will_remove=False) as found:
        (pile,) = [pile for pile in found if pile.kind == "usage_records"]
        # 64 bytes a call: 11 of September and 31 of October; 30 of November and 19 of December stay.
        assert [(thing.day, thing.byte_count) for thing in pile.going] == [
            (date(2026, 9, 30), 11 * 64),
            (date(2026, 10, 31), 31 * 64),
        ]
        assert (pile.kept_count, pile.kept_bytes, pile.oldest_kept) == (2, 49 * 64, date(2026, 11, 1))
        assert pile.limit_days == 31
    with piles(settings, NOW) as found:
        (pile,) = [pile for pile in found if pile.kind == "usage_records"]
        assert (remove(pile).count, remove(pile).problems) == (2, ())
    with Warehouse(settings.warehouse_path).connect() as con:
        assert first_call(con) == date(2026, 10, 21)
    with piles(settings, NOW, will_remove=False) as found:
        (pile,) = [pile for pile in found if pile.kind == "usage_records"]
        assert (pile.going, pile.kept_count) == ((), 2), "the eleven days of October count no more"


def test_scrapes_of_archived_days_go_too(settings: Settings) -> None:
    """Archived up to 1 November, of which the eleven days from 21 October on are still read."""
    text = LEDGER.replace("ROUTE", "chat").replace("records_days: 31", "records_days: 31, usage_answers_days: 1")
    settings.config_path.write_text(text, encoding="utf-8")
    settings = load_settings(settings.config_path, settings.data_dir)
    for place in ("metrics/pages/10.0.0.7_8000", "prometheus/p"):
        for day in ("2026-10-09", "2026-10-20", "2026-10-21"):
            folder = settings.landing_dir / place / day
            folder.mkdir(parents=True)
            (folder / "a").write_text("x" * 10, encoding="utf-8")

    def answers(found: list[Pile]) -> Pile:
        (pile,) = [pile for pile in found if pile.kind == "usage_answers"]
        return pile

    with piles(settings, NOW, will_remove=False) as found:
        assert (len(answers(found).going), answers(found).kept_count) == (0, 6), "nothing is archived"
    with Warehouse(settings.warehouse_path).connect() as con:
        archive_usage(con, settings, date(2026, 11, 1))
    with piles(settings, NOW) as found:
        assert remove(answers(found)) == Removed("usage_answers", 4, 40, ())
    left = {path.parent.relative_to(settings.landing_dir) for path in settings.landing_dir.rglob("a")}
    assert left == {Path("metrics/pages/10.0.0.7_8000/2026-10-21"), Path("prometheus/p/2026-10-21")}


def test_a_run_prunes_and_says_so_and_what_cannot_go_stops_nothing(settings: Settings) -> None:
    with Warehouse(settings.warehouse_path).connect() as con:
        con.execute("insert into raw.pending_usage_days values (date '2026-10-05')")
    lines = prune_after_run(settings, NOW)
    assert lines[0].startswith("Pruned by retention of ledger.yaml: 1 usage records (")
    assert lines[1] == "usage records: usage before 2026-11-01 has changed since; run `inference-ledger run` first"


def test_the_command_needs_yes(settings: Settings) -> None:
    arguments = ["prune", "--config", str(settings.config_path), "--data-dir", str(settings.data_dir), "--json"]
    runner = CliRunner()
    shown = json.loads(runner.invoke(app, arguments).stdout)
    assert shown[0]["kind"] == "usage_records"
    assert shown[0]["removed_count"] is None
    assert read_archive(settings) is None
