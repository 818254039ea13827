"""`inference-ledger alerts` as a person uses it, the quiet days, and what Dagster runs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from orchestration.alerts.commands import alerts_app
from orchestration.alerts.day import look_at_run
from orchestration.alerts.findings import RunFailures, load_policy
from orchestration.alerts.ledger import AlertLedger
from orchestration.alerts.simulation import report, simulate
from orchestration.settings import ConfigError, Settings, load_settings, read_ledger
from tests.alerts.worlds import DAY, finding, morning
from tests.fault_server import Answer, FaultServer

SHORT = finding("aws", kind="price_moved").fingerprint[:8]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "ledger.yaml").write_text(
        "alerts: {channels: [{name: team, url_env: TEAM_URL}, {name: pager, url_env: PAGER_URL, min_severity: page}]}\n"
    )
    settings = load_settings(tmp_path / "ledger.yaml", tmp_path / "data")
    AlertLedger(settings.alerts_dir).record(
        [finding("aws", 100, kind="price_moved"), finding("gcp", 5000, kind="price_moved", headline="*gcp* @all")],
        scope="marts", day=DAY, now=morning(), policy=load_policy(), channels=settings.ledger.alerts.channels,
    )  # fmt: skip
    return settings


@pytest.fixture
def say(settings: Settings):
    def run(*arguments: str, code: int = 0) -> str:
        place = ["--config", str(settings.config_path), "--data-dir", str(settings.data_dir)]
        result = CliRunner().invoke(alerts_app, [*arguments, *place])
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_list_show_ack_mute_and_resolve(say, settings: Settings) -> None:
    listed = say("list").splitlines()
    assert [line.split()[1] for line in listed[1:3]] == ["page", "warning"]
    assert "∗gcp∗ (at)all" in listed[1]
    assert f"{SHORT} is acknowledged by kim: Cost of aws moved" in say("ack", SHORT, "--reason", "asked", "--by", "kim")
    shown = say("show", SHORT)
    assert "Money: about $100.00 a day" in shown
    assert "acknowledged by kim: asked" in shown
    assert "Not delivered: team: not delivered yet" in shown
    until = datetime.now(UTC) + timedelta(days=3)
    assert f"muted until {until:%Y-%m-%d}" in say("mute", SHORT, "--reason", "known", "--days", "3")
    assert "is open" in say("unmute", SHORT)
    say("resolve", SHORT, "--reason", "fixed")
    assert SHORT not in say("list")
    resolved = next(one for one in json.loads(say("list", "--all", "--json")) if one["subject"] == "aws")
    assert (resolved["state"], resolved["note"], resolved["impact_usd_per_day"]) == ("resolved", "fixed", "100")
    _, journal = AlertLedger(settings.alerts_dir).incident(SHORT)
    assert [entry.action for entry in journal] == ["open", "told", "acknowledged", "muted", "unmuted", "resolved"]


def test_mistakes_are_sentences(say) -> None:
    assert "no incident begins with 'ffff'" in say("ack", "ffff", "--reason", "x", code=2)
    assert "no severity; known: page, warning, info" in say("list", "--severity", "loud", code=2)
    assert "--reason" in say("ack", SHORT, code=2)


def test_test_says_what_each_channel_answered(say, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    with FaultServer() as server:
        server.add("/team", Answer.json({}))
        monkeypatch.setenv("TEAM_URL", f"json://127.0.0.1:{server.port}/team")
        monkeypatch.delenv("PAGER_URL", raising=False)
        assert say("test", code=1).splitlines() == ["team: accepted", "pager: PAGER_URL is not set"]
        monkeypatch.setenv("PAGER_URL", f"json://127.0.0.1:{server.port}/gone")
        assert "pager: HTTP 404" in say("test", code=1)
        server.add("/gone", Answer.json({}))
        shown = say("deliver")
        assert "told pager: 1 message" in shown
        assert "told team: 2 messages" in shown
        assert "nothing new to tell" in say("deliver")
    assert AlertLedger(settings.alerts_dir).health()["pager"].problem == ""


def test_a_run_that_failed_tells_once_a_day_and_sends_no_sign_of_life(settings: Settings) -> None:
    failures = RunFailures(steps=(("dbt_build", "a test failed"),))
    for _ in range(2):
        look_at_run(settings, failures, is_published=False, day=DAY, now=morning())
    rows = AlertLedger(settings.alerts_dir).due(["team"], morning(), longest_wait=timedelta(hours=1))
    assert [row.title for row in rows if "gcp" not in row.title and "aws" not in row.title] == [
        "[warning] Nothing was published yet"
    ]


def test_400_quiet_days_keep_to_the_budget() -> None:
    """At most 1 page and 5 warnings in any week; and the noise is there: thousands of findings."""
    told = simulate(400, seed=1, policy=load_policy())
    lines, is_quiet = report(told)
    assert is_quiet, lines
    assert told.finding_count > 2000
    assert sum(counts["warning"] for counts in told.by_week.values()) > 10
    assert told.heartbeats == 400
    assert told.digests > 50


def test_the_budget_can_be_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drift that cries fifty times as often is over it: the measure measures."""
    monkeypatch.setattr("orchestration.alerts.simulation.DRIFT_FALSE_ALARM", 0.05)
    assert report(simulate(60, seed=1, policy=load_policy()))[1] is False


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("{channels: [{url_env: 'slack://a/b/c'}]}", "names an environment variable"),
        ("{channels: [{url_env: A, min_severity: loud}]}", "alerts.channels[0].min_severity"),
        ("{channels: [{url_env: A, quiet_hours: night}]}", "write from and to, such as 22:00-07:00"),
        ("{channels: [{url_env: A, time_zone: Mars}]}", "is no IANA time zone"),
        ("{channels: [{url_env: A}, {url_env: A}]}", "'A' is used twice"),
        ("{channels: [{url_env: A, min_sevrity: page}]}", "did you mean 'min_severity'?"),
        ("{expected_changes: [{from: 2026-12-02, to: 2026-12-01, reason: move}]}", "`to` must be later"),
        ("{expected_changes: [{from: 2026-01-01, to: 2026-12-01, reason: move}]}", "longer than three months"),
    ],
)
def test_a_mistake_in_the_ledger_is_named(tmp_path: Path, yaml: str, message: str) -> None:
    (tmp_path / "ledger.yaml").write_text(f"alerts: {yaml}\n")
    with pytest.raises(ConfigError) as caught:
        read_ledger(tmp_path / "ledger.yaml")
    assert message in str(caught.value)
    assert "slack://" not in str(caught.value)


def test_the_sensor_tells_of_a_failed_run_that_dagster_started(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real instance and a real failed run of the job's name."""
    from orchestration.defs.alerts.sensors import alerts_after_failure, deliver_waiting_alerts

    monkeypatch.setenv("LEDGER_CONFIG", str(settings.config_path))
    monkeypatch.setenv("LEDGER_DATA_DIR", str(settings.data_dir))

    @dg.op
    def dbt_build() -> None:
        raise RuntimeError("a data test failed")

    @dg.job(name="daily_job")
    def job() -> None:
        dbt_build()

    with FaultServer() as server, dg.DagsterInstance.ephemeral() as instance:
        server.add("/team", Answer.json({}))
        monkeypatch.setenv("TEAM_URL", f"json://127.0.0.1:{server.port}/team")
        monkeypatch.setenv("PAGER_URL", f"json://127.0.0.1:{server.port}/team")
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            sensor_name="alerts_after_failure",
            dagster_event=result.get_run_failure_event()
            if hasattr(result, "get_run_failure_event")
            else next(event for event in result.all_events if event.event_type is dg.DagsterEventType.RUN_FAILURE),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        )
        alerts_after_failure(context)
        titles = [json.loads(request.body)["title"] for request in server.requests]
        assert titles.count("[warning] Nothing was published yet") == 1
        skipped = deliver_waiting_alerts(dg.build_sensor_context(instance=instance))
        assert skipped.skip_message == "no message waits"
