"""What `inference-ledger doctor` finds in a ledger that was published for real, and then damaged by hand."""

import fcntl
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli import app
from orchestration.doctor import examine
from orchestration.publication import publish
from orchestration.settings import Settings, load_settings
from orchestration.warehouse import Warehouse

NOW = datetime(2026, 11, 24, 5, 30, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "ledger.yaml").write_text(
        "prices:\n  sources: {}\nalerts:\n  channels: [{name: hook, url_env: LEDGER_TEST_HOOK}]\n", encoding="utf-8"
    )
    return load_settings(tmp_path / "ledger.yaml", tmp_path / "data")


def publish_day(settings: Settings, *, stale: bool = False, problem: str | None = None) -> None:
    with Warehouse(settings.warehouse_path).connect() as con:
        con.execute("create schema if not exists marts")
        con.execute(
            "create or replace table marts.fct_source_freshness as select 'aws' as source, ? as status",
            ["stale" if stale else "fresh"],
        )
        con.execute(
            "create or replace table marts.fct_alerts as "
            "select * from (values ('a', null, 'warning', 'open'), ('b', 'a', 'page', 'open'), "
            "('c', null, 'page', 'resolved')) as t (incident_id, parent_incident_id, severity, state), "
            "(select ?::varchar as delivery_problem)",
            [problem],
        )
        con.execute("delete from raw.ledger_run")
        con.execute(
            "insert into raw.ledger_run by name select 'run' as run_id, ? as started_at, "
            "date '2026-11-23' as as_of_date, date '2026-11-21' as window_start_date",
            [NOW],
        )
    publish(settings, run_id="run-1", published_at=NOW)
    (settings.data_dir / "run.lock").touch()


def states(settings: Settings, now: datetime = NOW) -> dict[str, str]:
    return {one.subject: one.state for one in examine(settings, now)}


WELL = {
    "disk": "ok",
    "data": "ok",
    "run": "ok",
    "published files": "ok",
    "last day": "ok",
    "sources": "ok",
    "alerts": "ok",
    "report": "warning",  # these tables are too few for one
    "alert channel hook": "warning",  # its variable is not set here
}


def test_a_ledger_that_is_well(settings: Settings) -> None:
    publish_day(settings)
    assert states(settings) == WELL
    texts = {one.subject: one.text for one in examine(settings, NOW)}
    assert texts["alerts"] == "open: 1 warning", "one stands under it, one is over"


def test_before_the_first_run(settings: Settings) -> None:
    found = states(settings)
    assert (found["run"], found["published files"]) == ("warning", "error")


@pytest.mark.parametrize("name", ["inference_ledger.duckdb", "parquet/fct_alerts.parquet"])
def test_a_file_that_was_cut_off(settings: Settings, name: str) -> None:
    publish_day(settings)
    path = settings.published_dir / name
    path.rename(path.with_suffix(".kept"))
    assert states_of_files(settings) == ("error", f"{path.name} is missing")
    path.with_suffix(".kept").rename(path)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert states_of_files(settings) == ("error", f"{path.name} is not what was published")


def states_of_files(settings: Settings) -> tuple[str, str]:
    for one in examine(settings, NOW):
        if one.subject == "published files":
            return one.state, one.text
    raise AssertionError("published files were not looked at")


def test_a_report_that_is_not_the_one_published(settings: Settings) -> None:
    publish_day(settings)
    settings.report_file.parent.mkdir(exist_ok=True)
    settings.report_file.write_bytes(b"<page>")
    manifest_file = settings.published_dir / "manifest.json"
    manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
    # printf '<page>' | sha256sum
    manifest["report"] = {"sha256": "43ae2115db6aa2d3ae00effcff5e136fc8d0e3aad3b362e6e22a396c198d84f4"}
    manifest_file.write_text(json.dumps(manifest), encoding="utf-8")
    assert (states(settings)["published files"], "report" in states(settings)) == ("ok", False)
    settings.report_file.write_bytes(b"<pag")
    assert states_of_files(settings) == ("error", "index.html is not what was published")


def test_a_damaged_manifest(settings: Settings) -> None:
    publish_day(settings)
    (settings.published_dir / "manifest.json").write_text('{"as_of', encoding="utf-8")
    assert states(settings)["published files"] == "error"


def test_days_that_are_missing(settings: Settings) -> None:
    """The day of 23 November may run on the 24th; on the 27th something is wrong."""
    publish_day(settings)
    assert states(settings, datetime(2026, 11, 25, 23, tzinfo=UTC))["last day"] == "ok"
    assert states(settings, datetime(2026, 11, 26, 1, tzinfo=UTC))["last day"] == "error"


def test_stale_sources_and_a_dead_channel(settings: Settings) -> None:
    publish_day(settings, stale=True, problem="hook: HTTP 503")
    found = states(settings, NOW + timedelta(hours=1))
    assert (found["sources"], found["delivery"]) == ("warning", "error")


def test_a_run_at_work(settings: Settings) -> None:
    publish_day(settings)
    with (settings.data_dir / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        texts = {one.subject: one.text for one in examine(settings, NOW)}
    assert texts["run"].startswith("one is at work since ")


def test_the_command_says_what_to_do_and_fails(settings: Settings) -> None:
    places = ["--config", str(settings.config_path), "--data-dir", str(settings.data_dir)]
    assert CliRunner().invoke(app, ["doctor", *places]).exit_code == 1
