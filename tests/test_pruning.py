"""What `retention` lets go, and that no price goes with it: also a warehouse filled again says what it said before."""

import fcntl
import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from orchestration import cli, price_feeds
from orchestration.cli import app
from orchestration.definitions import past_runs
from orchestration.doctor import examine
from orchestration.price_feeds import load_landed, reparse_landed
from orchestration.pruning import Pile, Removed, piles, prune_after_run, remove
from orchestration.settings import Settings, load_settings
from orchestration.warehouse import Warehouse
from scrapers.errors import PermanentError
from scrapers.kept_records import read_records, records_as_bytes
from scrapers.landing import LandedEntry, Landing
from scrapers.prices.base import parse_snapshot
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot
from scrapers.snapshot import Origin
from tests.oracle_answers import FIRST_DAY, land

ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 12, 1, 5, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path, "retention: {price_answers_days: 30, dagster_days: null}")


def configured(root: Path, retention: str) -> Settings:
    (root / "ledger.yaml").write_text(f"prices: {{sources: {{oci: }}}}\n{retention}\n", encoding="utf-8")
    return load_settings(root / "ledger.yaml", root / "data")


def load(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """Loads what is landed, and returns all that the raw room says of prices, but when it was loaded."""
    with Warehouse(settings.warehouse_path).connect() as con:
        load_landed(con, settings, "oci")
        return {
            table: con.execute(f"select {columns} from raw.{table} order by all").fetchall()
            for table, columns in {
                "source_fetches": "*",
                "price_loads": "* exclude (loaded_at)",
                "price_records": "*",
                "price_restatements": "*",
                "rejected_records": "*",
            }.items()
        }


def pruned(settings: Settings, kind: str, now: datetime = NOW) -> Removed:
    with piles(settings, now) as found:
        return remove(next(pile for pile in found if pile.kind == kind))


def pile(settings: Settings, kind: str, now: datetime = NOW) -> Pile:
    with piles(settings, now) as found:
        return next(pile for pile in found if pile.kind == kind)


def entries(settings: Settings) -> list[LandedEntry]:
    return Landing(settings.landing_dir).entries("oci")


def test_prices_stay_whole_without_the_bytes_that_they_were_read_from(settings: Settings) -> None:
    """Of five answers of October the newest stays, as does the refused one: three go on 1 December."""
    for day, prices in enumerate(
        ({"A": "1", "B": "2.5", "C": "-1"}, {"A": "1.10"}, {"A": "0"}, {"A": "1.2", "B": "3", "C": "4"}, {"A": "9"}), 1
    ):
        land(settings, day, prices)
    with Warehouse(settings.warehouse_path).connect() as con:
        load_landed(con, settings, "oci", accept_smaller=True)
    before = load(settings)
    assert [row[4] for row in before["source_fetches"]] == ["loaded", "loaded", "refused", "loaded", "loaded"]
    assert before["rejected_records"] != []
    bytes_before = sum(entry.stored_bytes for entry in entries(settings))

    there = pile(settings, "price_answers")
    assert (len(there.going), there.kept_count, str(there.oldest_kept)) == (3, 2, "2026-10-03")
    assert sum(entry.stored_bytes for entry in entries(settings)) == bytes_before, "looking removes nothing"
    done = pruned(settings, "price_answers")
    assert (done.count, done.problems) == (3, ())
    assert [entry.pruned is None for entry in entries(settings)] == [False, False, True, False, True]
    assert bytes_before - sum(entry.stored_bytes for entry in entries(settings)) > 0
    envelope = json.loads((entries(settings)[0].path / "envelope.json").read_text(encoding="utf-8"))
    assert envelope["pruned"]["at"] == "2026-12-01T05:00:00+00:00"
    assert envelope["payloads"][0]["sha256"], "what it was stays known"
    assert load(settings) == before
    assert pruned(settings, "price_answers").count == 0


def test_a_warehouse_filled_again_says_the_same(settings: Settings) -> None:
    for day, prices in enumerate(({"A": "1", "B": "2.5", "C": "-1"}, {"A": "1.10", "B": "3"}, {"A": "9", "B": "3"}), 1):
        land(settings, day, prices)
    before = load(settings)
    pruned(settings, "price_answers")
    settings.warehouse_path.unlink()
    assert load(settings) == before
    assert len(before["price_records"]) == 5


def test_what_a_killed_prune_left_goes_with_the_next(settings: Settings) -> None:
    first = land(settings, 1, {"A": "1"})
    land(settings, 2, {"A": "2"})
    load(settings)
    (payload,) = first.payloads
    content = payload.path.read_bytes()
    pruned(settings, "price_answers")
    payload.path.write_bytes(content)
    assert pruned(settings, "price_answers", NOW + timedelta(days=1)).count == 1
    assert not payload.path.exists()
    assert entries(settings)[0].pruned is not None
    assert entries(settings)[0].pruned.at == NOW


def test_reparse_says_how_many_are_left_as_they_were_read(settings: Settings) -> None:
    for day in (1, 2, 3):
        land(settings, day, {"A": str(day)})
    load(settings)
    pruned(settings, "price_answers")
    with Warehouse(settings.warehouse_path).connect() as con:
        found = reparse_landed(con, settings, "oci")
    assert found.snapshot_count == 1
    assert found.problems == ["oci: 2 snapshots up to 2026-10-02, whose bytes were pruned"]
    with pytest.raises(PermanentError, match="its bytes were pruned on 2026-12-01"):
        Landing(settings.landing_dir).open_snapshot(entries(settings)[0])
    # The same recording again: it was landed before, and nothing changes.
    assert land(settings, 1, {"A": "1"}).pruned is not None


def test_what_reads_otherwise_or_not_at_all_stays(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = land(settings, 1, {"A": "1"})
    other = land(settings, 2, {"A": "2", "B": "5"})
    for day in (3, 4):
        land(settings, day, {"A": str(day), "B": "5"})
    before = load(settings)
    (payload,) = damaged.payloads
    payload.path.write_bytes(b"rust")
    monkeypatch.setattr(
        price_feeds,
        "parse_snapshot",
        lambda source, snapshot: ParsedSnapshot(parse_snapshot(source, snapshot).records[:1], (), {}),
    )
    done = pruned(settings, "price_answers")
    assert done.count == 0
    assert done.problems[0].startswith(f"{damaged.entry_id} cannot be read, and stays: ")
    assert done.problems[1:] == (
        f"{other.entry_id} reads otherwise than when it was loaded; nothing of oci is pruned until "
        "`inference-ledger reparse oci` has taken it up",
    )
    assert load(settings) == before


def test_kept_records_that_were_changed_are_damage_and_nothing_of_them_is_loaded(settings: Settings) -> None:
    land(settings, 1, {"A": "1"})
    land(settings, 2, {"A": "2"})
    load(settings)
    pruned(settings, "price_answers")
    kept = entries(settings)[0].pruned
    assert kept is not None
    kept.records.path.write_bytes(b"rust")
    settings.warehouse_path.unlink()
    outcomes = {row[3].day: (row[4], row[-1]) for row in load(settings)["source_fetches"]}
    assert outcomes[1][0] == "refused"
    assert "Its bytes changed after landing" in outcomes[1][1]
    assert outcomes[2] == ("loaded", None)


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "prices").glob("*/*/*")), ids=str)
def test_what_is_kept_of_a_real_answer_is_what_was_read(path: Path, tmp_path: Path) -> None:
    source, dataset = path.parts[-3], path.parts[-2]
    landing = Landing(tmp_path)
    entry = landing.land_files(source, dataset, [path], FIRST_DAY, Origin.BUNDLED)
    parsed = parse_snapshot(PRICE_SOURCES[source], landing.open_snapshot(entry))
    landing.prune(entry, records_as_bytes(parsed), at=NOW)
    (kept,) = landing.entries(source)
    assert kept.pruned is not None
    assert read_records(kept.pruned.records) == parsed
    assert len(parsed.records) > 0
    assert kept.entry_id == entry.entry_id


def aged(path: Path, days: int, content: str = "x" * 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    moment = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment))
    return path


def test_each_kind_has_a_limit_of_its_own_and_none_is_for_good(tmp_path: Path) -> None:
    settings = configured(tmp_path, "retention: {run_logs_days: 10, quarantine_days: null}")
    data = settings.data_dir
    old_log, log = aged(data / "logs" / "a.log", 11), aged(data / "logs" / "b.log", 10)
    warehouse = aged(data / "quarantine" / "20200101T000000000000Z" / "warehouse.duckdb", 3000)
    spill, young = aged(data / "warehouse.duckdb.tmp" / "duckdb_temp_0", 3), aged(data / "tmp" / "price_records.txt", 2)
    others = [aged(data / "metrics.log", 3000), aged(tmp_path / "logs" / "gateway.log", 3000)]
    others += [aged(data / "landing" / "metrics" / "chat" / "a" / "2020-01-01" / "20200101T000000Z.prom", 3000)]
    with piles(settings, NOW) as found:
        late = [remove(one, until=0.0) for one in found]
    waits = "1 more wait for the next run, or `inference-ledger prune --yes`"
    assert {one.kind: one.problems for one in late if one.problems} == {"run_logs": (waits,), "leftovers": (waits,)}
    assert old_log.exists()
    lines = prune_after_run(settings, NOW)
    assert lines == ["Pruned by retention of ledger.yaml: 1 run logs (0.0 MB), 1 leftovers (0.0 MB)"]
    assert [path.exists() for path in (old_log, log, spill, young, warehouse)] == [False, True, False, True, True]
    assert all(path.exists() for path in others), "not ours to remove, or not to be had again"
    settings = configured(tmp_path, "retention: {quarantine_days: 100}")
    assert prune_after_run(settings, NOW) == ["Pruned by retention of ledger.yaml: 1 quarantine (0.0 MB)"]
    assert not warehouse.parent.exists()


def test_by_default_nothing_goes_that_cannot_be_had_again(tmp_path: Path) -> None:
    settings = configured(tmp_path, "")
    for day in (1, 2):
        land(settings, day, {"A": str(day)})
    load(settings)
    with piles(settings, NOW + timedelta(days=5000)) as found:
        assert [(one.kind, one.limit_days, len(one.going)) for one in found] == [
            ("usage_records", None, 0),
            ("usage_answers", None, 0),
            ("price_answers", None, 0),
            ("quarantine", None, 0),
            ("run_logs", 30, 0),
            ("dagster", 90, 0),
            ("leftovers", 2, 0),
        ]


def test_a_thing_that_cannot_go_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = configured(tmp_path, "retention: {price_answers_days: 30}")
    aged(settings.logs_dir / "a.log", 40)
    settings.warehouse_path.write_bytes(b"no database")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "nowhere" / "else"))
    (tmp_path / "nowhere").write_text("a file in the way", encoding="utf-8")
    gone, *problems = prune_after_run(settings, NOW)
    assert gone == "Pruned by retention of ledger.yaml: 1 run logs (0.0 MB)"
    assert [problem.partition(":")[0] for problem in problems] == ["price answers", "Dagster runs"]
    assert not (settings.logs_dir / "a.log").exists()
    assert settings.warehouse_path.read_bytes() == b"no database"


@dg.asset(check_specs=[dg.AssetCheckSpec("is_good", asset="something")])
def something():
    yield dg.MaterializeResult()
    yield dg.AssetCheckResult(check_name="is_good", passed=True)


def test_dagster_forgets_old_runs_of_the_day_with_all_their_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    settings = configured(tmp_path, "")
    with Warehouse(settings.warehouse_path).connect():
        pass
    jobs = [dg.define_asset_job(name, executor_def=dg.in_process_executor) for name in ("daily_job", "another")]
    repository = dg.Definitions(assets=[something], jobs=jobs).get_repository_def()
    with dg.DagsterInstance.get() as instance:
        ids = [
            repository.get_job(name).execute_in_process(instance=instance).run_id
            for name in ("another", "daily_job", "daily_job")
        ]
    another, old, newest = ids
    with past_runs(settings) as runs:
        assert [run.run_id for run in runs] == [old]
    now = datetime.now(UTC)
    assert pruned(settings, "dagster", now + timedelta(days=90)).count == 0
    done = pruned(settings, "dagster", now + timedelta(days=92))
    assert (done.count, done.problems) == (1, ())
    assert done.byte_count > 50_000
    with dg.DagsterInstance.get() as instance:
        assert {run.run_id for run in instance.get_runs()} == {another, newest}
    with sqlite3.connect(home / "history" / "runs" / "index.db") as index:
        for table in ("event_logs", "asset_check_executions"):
            left = index.execute(f"select distinct run_id from {table}").fetchall()
            assert {run_id for (run_id,) in left} == {another, newest}, table
    assert [path for path in home.rglob(f"*{old}*")] == []
    assert [path.name for path in home.rglob(f"*{newest}*.db")] == [f"{newest}.db"]


def test_a_day_that_dagster_ran_is_followed_by_pruning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration.defs.pruning.jobs import prune_after_daily_job, prune_job

    settings = configured(tmp_path, "")
    monkeypatch.setenv("LEDGER_CONFIG", str(settings.config_path))
    monkeypatch.setenv("LEDGER_DATA_DIR", str(settings.data_dir))
    path = settings.logs_dir / "a.log"
    aged(path, 4000)
    jobs = [dg.define_asset_job(name, executor_def=dg.in_process_executor) for name in ("daily_job", "another")]
    repository = dg.Definitions(assets=[something], jobs=jobs).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:

        def asked(name: str) -> dg.RunRequest | dg.SkipReason:
            result = repository.get_job(name).execute_in_process(instance=instance)
            context = dg.build_run_status_sensor_context(
                sensor_name="prune_after_daily_job",
                dagster_event=result.get_run_success_event(),
                dagster_instance=instance,
                dagster_run=result.dagster_run,
            )
            return prune_after_daily_job(context)

        assert isinstance(asked("another"), dg.SkipReason)
        assert isinstance(asked("daily_job"), dg.RunRequest)
        with (settings.data_dir / "run.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            result = prune_job.execute_in_process(instance=instance, raise_on_error=False)
            assert not result.success, "a run is at work"
        assert path.exists()
        assert prune_job.execute_in_process(instance=instance).success
    assert not path.exists()


def invoke(settings: Settings, *arguments: str) -> tuple[int, str]:
    places = ["--config", str(settings.config_path), "--data-dir", str(settings.data_dir)]
    result = CliRunner().invoke(app, ["prune", *arguments, *places])
    return result.exit_code, result.stdout


def test_the_command_removes_nothing_without_a_word(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    path = settings.logs_dir / "a.log"
    aged(path, 4000)
    code, said = invoke(settings, "--json")
    assert code == 0
    found = {one["kind"]: one for one in json.loads(said)}
    assert found["run_logs"] == {
        "kind": "run_logs",
        "limit_days": 30,
        "going_count": 1,
        "going_files": 1,
        "going_bytes": 1000,
        "kept_count": 0,
        "kept_bytes": 0,
        "oldest_kept": None,
        "removed_count": None,
        "removed_bytes": None,
        "problems": [],
    }
    assert path.exists()
    with (settings.data_dir / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert invoke(settings, "--yes")[0] == 1
    assert path.exists()
    found = {one["kind"]: one for one in json.loads(invoke(settings, "--yes", "--json")[1])}
    assert (found["run_logs"]["removed_count"], found["run_logs"]["removed_bytes"]) == (1, 1000)
    assert not path.exists()


def test_doctor_says_how_large_each_folder_is(settings: Settings) -> None:
    aged(settings.logs_dir / "a.log", 1, "x" * 3_000_000)
    aged(settings.landing_dir / "oci" / "a", 1, "x" * 2_000_000)
    (found,) = [one for one in examine(settings, NOW) if one.subject == "data"]
    assert (found.state, found.text) == ("ok", "logs 3.0 MB, landing 2.0 MB")


def test_runs_that_fail_again_and_again_keep_their_newest_logs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "MOST_LOGS", 3)
    for number in range(4):
        aged(settings.logs_dir / f"{number}.log", 1)
    with capfd.disabled(), cli._output_to(settings.logs_dir / "4.log"):
        pass
    assert sorted(path.name for path in settings.logs_dir.iterdir()) == ["2.log", "3.log", "4.log"]
