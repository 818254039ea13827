"""Delivery over real sockets: apprise in its own process, a local web-hook that misbehaves on purpose."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from orchestration.alerts import delivery
from orchestration.alerts.delivery import Delivery, Message, deliver, send
from orchestration.alerts.incidents import Severity
from orchestration.alerts.ledger import AlertLedger, Channel
from orchestration.settings import ChannelSection, load_settings
from tests.alerts.worlds import DAY, POLICY, AnyChannel, finding, morning
from tests.fault_server import Answer, FaultServer

ROOT = Path(__file__).parents[2]
CANARY = "canary-7c1e-secret-token"
OK = Answer.json({})


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        server.add(f"/{CANARY}", OK)
        yield server


@pytest.fixture
def ledger(tmp_path: Path) -> AlertLedger:
    return AlertLedger(tmp_path / "alerts", is_durable=False)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "WAITS_SECONDS", (0.05,))


def hook(server: FaultServer, path: str = CANARY) -> str:
    return f"json://user:{CANARY}@127.0.0.1:{server.port}/{path}"


def tell(ledger: AlertLedger, *subjects: str, channels: tuple[Channel, ...] = (AnyChannel(),), usd: int = 100) -> None:
    ledger.record(
        [finding(subject, usd) for subject in subjects],
        scope="marts", day=DAY, now=morning(), policy=POLICY, channels=channels,
    )  # fmt: skip


def empty(
    ledger: AlertLedger, addresses: dict[str, str], *, channels: tuple[Channel, ...] = (AnyChannel(),), later: int = 0
) -> Delivery:
    return deliver(ledger, channels, addresses, POLICY, clock=lambda: morning() + timedelta(minutes=later), seconds=30)


def bodies(server: FaultServer, path: str = CANARY) -> list[dict[str, str]]:
    return [json.loads(request.body) for request in server.requests if request.path == f"/{path}"]


def keys(server: FaultServer, path: str = CANARY) -> list[str]:
    return [body["message"].rpartition("Key: ")[2] for body in bodies(server, path)]


def test_delivered_once_with_its_key(ledger: AlertLedger, server: FaultServer) -> None:
    tell(ledger, "aws")
    done = empty(ledger, {"team": hook(server)})
    assert done.delivered == {"team": ["[warning] Cost of aws moved"]}
    assert empty(ledger, {"team": hook(server)}).delivered == {}
    (body,) = bodies(server)
    assert body["title"] == "[warning] Cost of aws moved"
    assert body["type"] == "warning"
    assert body["message"].startswith("Cost of aws moved\nMoney: about $100.00 a day\n")
    assert keys(server) == [f"{finding('aws').fingerprint}-1"]
    assert ledger.deliveries()[finding("aws").fingerprint][:2] == (morning(), ["team"])


@pytest.mark.parametrize(
    ("answers", "attempts", "arrives"),
    [
        ([Answer(status=500), OK], 2, True),
        ([Answer(status=429), OK], 2, True),
        ([Answer(status=503)], 2, False),
        ([Answer(status=404)], 1, False),  # final: the address is wrong
        ([Answer(cut_after=0, content_length=10), OK], 2, True),  # accepted, and the answer lost on the way
    ],
)
def test_a_web_hook_that_fails_is_tried_again_within_bounds(
    ledger: AlertLedger, server: FaultServer, answers: list[Answer], attempts: int, arrives: bool
) -> None:
    server.add(f"/{CANARY}", *answers)
    tell(ledger, "aws")
    done = empty(ledger, {"team": hook(server)})
    assert bool(done.delivered) == arrives
    assert len(bodies(server)) == attempts
    assert len(set(keys(server))) == 1, "each copy carries the same key"
    assert ledger.waiting_count() == (0 if arrives else 1)


def test_a_web_hook_that_hangs_ends_in_time(
    ledger: AlertLedger, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte a second keeps apprise's own time-out from firing: the process is ended."""
    server.add(f"/{CANARY}", Answer(b"x" * 1000, seconds_per_byte=0.5))
    monkeypatch.setattr(delivery, "ANSWER_SECONDS", 2.0)
    tell(ledger, "aws", "gcp")
    began = time.monotonic()
    done = deliver(ledger, [AnyChannel()], {"team": hook(server)}, POLICY, clock=morning, seconds=5)
    assert time.monotonic() - began < 12
    assert done.problems["team"].startswith("no answer within")
    assert ledger.waiting_count() == 2


def test_nobody_listens(ledger: AlertLedger) -> None:
    tell(ledger, "aws")
    done = empty(ledger, {"team": "json://127.0.0.1:9/x"})
    assert done.problems == {"team": "no answer"}


def test_three_days_down_then_everything_arrives_in_order(
    ledger: AlertLedger, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "WAITS_SECONDS", ())
    server.add(f"/{CANARY}", Answer(status=503))
    for number in range(3):
        day = DAY + timedelta(days=number)
        ledger.record(
            [finding(str(one)) for one in range(number + 1)],
            scope="marts", day=day, now=morning(day), policy=POLICY, channels=[AnyChannel()],
        )  # fmt: skip
        deliver(ledger, [AnyChannel()], {"team": hook(server)}, POLICY, clock=lambda day=day: morning(day), seconds=20)
    server.requests.clear()
    server.add(f"/{CANARY}", OK)
    empty(ledger, {"team": hook(server)}, later=3 * 24 * 60)
    assert keys(server) == [f"{finding(str(number)).fingerprint}-1" for number in range(3)]
    assert ledger.waiting_count() == 0


def test_a_message_that_is_refused_does_not_hold_up_the_next(ledger: AlertLedger, server: FaultServer) -> None:
    server.respond(f"/{CANARY}", lambda request: Answer(status=400) if b"of aws" in request.body else OK)
    tell(ledger, "aws", "gcp")
    assert empty(ledger, {"team": hook(server)}).delivered == {"team": ["[warning] Cost of gcp moved"]}


def test_a_dead_channel_is_told_through_the_others(
    ledger: AlertLedger, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "WAITS_SECONDS", (0.05, 0.05))
    channels = (AnyChannel("team"), AnyChannel("mail"), AnyChannel("unset"))
    server.add("/dead", Answer(status=500))
    addresses = {"team": hook(server), "mail": hook(server, "dead")}
    tell(ledger, "aws", channels=channels)
    done = empty(ledger, addresses, channels=channels)
    assert done.problems == {"mail": "HTTP 500", "unset": "its address is not set in the environment"}
    titles = [body["title"] for body in bodies(server)]
    assert sorted(titles) == [
        "[warning] Alert channel mail does not answer: HTTP 500",
        "[warning] Alert channel unset does not answer: its address is not set in the environment",
        "[warning] Cost of aws moved",
    ]
    assert {one.finding.kind for one in ledger.incidents().values()} == {"money", "channel_dead"}
    server.requests.clear()
    server.add("/dead", OK)
    empty(ledger, addresses, channels=channels, later=5)
    assert len(bodies(server, "dead")) == 2, "the incident, and that channel unset is dead; not that it was dead itself"
    assert bodies(server) == [], "told once"
    assert ledger.health()["mail"].failing_since is None


def test_pages_pass_quiet_hours_and_the_rest_waits_for_their_end(ledger: AlertLedger, server: FaultServer) -> None:
    channel = ChannelSection(url_env="X", name="team", quiet_hours="22:00-07:00", time_zone="Europe/Berlin")
    tell(ledger, "warning", channels=(channel,))
    tell(ledger, "page", channels=(channel,), usd=5000)
    addresses = {"team": hook(server)}
    assert morning().astimezone(ZoneInfo("Europe/Berlin")).hour == 6
    assert empty(ledger, addresses, channels=(channel,)).delivered == {"team": ["[page] Cost of page moved"]}
    assert empty(ledger, addresses, channels=(channel,), later=29).delivered == {}
    done = empty(ledger, addresses, channels=(channel,), later=30)
    assert done.delivered == {"team": ["[warning] Cost of warning moved"]}


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-11-22T21:59+01:00", "2026-11-22T21:59+01:00"),
        ("2026-11-22T22:00+01:00", "2026-11-23T07:00+01:00"),
        ("2026-11-23T06:59+01:00", "2026-11-23T07:00+01:00"),
        ("2026-11-23T07:00+01:00", "2026-11-23T07:00+01:00"),
        ("2026-10-24T23:00+02:00", "2026-10-25T07:00+01:00"),  # the night in which clocks go back
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_wall(now: str, due: str) -> None:
    channel = ChannelSection(url_env="X", quiet_hours="22:00-07:00", time_zone="Europe/Berlin")
    assert channel.due_at(datetime.fromisoformat(now), Severity.WARNING) == datetime.fromisoformat(due)
    assert channel.due_at(datetime.fromisoformat(now), Severity.PAGE) == datetime.fromisoformat(now)


def test_only_one_process_delivers_at_a_time(ledger: AlertLedger, server: FaultServer) -> None:
    tell(ledger, "aws")
    with delivery._only_pass(ledger.folder) as is_mine:
        assert is_mine
        assert empty(ledger, {"team": hook(server)}).is_busy
    assert bodies(server) == []
    assert empty(ledger, {"team": hook(server)}).delivered


PROGRAM = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from orchestration.alerts import delivery
    from orchestration.alerts.ledger import AlertLedger
    from tests.alerts.worlds import DAY, POLICY, AnyChannel, finding, morning

    folder, url, moment = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    ledger = AlertLedger(folder)
    ledger.record([finding("aws")], scope="marts", day=DAY, now=morning(), policy=POLICY, channels=[AnyChannel()])
    if moment == "before sending":
        os.kill(os.getpid(), signal.SIGKILL)
    AlertLedger.note_attempt = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    delivery.deliver(ledger, [AnyChannel()], {"team": url}, POLICY, clock=morning)
    """
)


@pytest.mark.parametrize(("moment", "copies"), [("before sending", 1), ("before the receipt", 2)])
def test_killed_between_finding_and_receipt_it_arrives(
    ledger: AlertLedger, server: FaultServer, moment: str, copies: int
) -> None:
    """kill -9 after the message was written, and after it was accepted: delivered, at most once more, with one key."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ledger.folder), hook(server), moment], cwd=ROOT, check=False
    )
    assert result.returncode == -signal.SIGKILL
    assert empty(ledger, {"team": hook(server)}).delivered
    assert empty(ledger, {"team": hook(server)}).delivered == {}
    assert keys(server) == [f"{finding('aws').fingerprint}-1"] * copies
    assert len(ledger.incidents()) == 1


def test_the_address_reaches_no_file_log_or_process_list(
    ledger: AlertLedger,
    server: FaultServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("DEBUG")
    seen: list[bytes] = []

    def answer(_: object) -> Answer:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(process.read_bytes())
            except OSError:
                continue
        return Answer(status=500)

    server.respond(f"/{CANARY}", answer)
    addresses = {"team": hook(server), "odd": f"nosuchservice://{CANARY}", "dead": f"json://127.0.0.1:9/{CANARY}"}
    channels = tuple(AnyChannel(name) for name in addresses)
    monkeypatch.setattr(delivery, "WAITS_SECONDS", ())
    tell(ledger, "aws", channels=channels)
    done = empty(ledger, addresses, channels=channels)
    assert set(done.problems) == set(addresses)
    assert seen
    assert not [line for line in seen if CANARY.encode() in line]
    assert CANARY not in repr(done)
    assert CANARY not in "".join(capfd.readouterr()) + caplog.text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert ledger.path in files
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]


def test_an_address_that_apprise_does_not_know_says_so() -> None:
    (answer,) = send("nosuchservice://x", [Message("k", "", "info", "t", "b")])
    assert answer == ("k", "apprise does not understand the address; see docs/alerts.md for examples")


def test_pagerduty_gets_one_incident_of_its_own_for_one_of_ours() -> None:
    """apprise's plug-in has a field for Events v2's dedup_key; the sender fills it in."""
    import apprise

    service = apprise.Apprise.instantiate("pagerduty://integrationkey@apikey/source")
    assert hasattr(service, "dedup")


# --- ledger.yaml ----------------------------------------------------------------------------------------------------


def test_channels_are_read_from_the_ledger_and_addresses_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ledger.yaml").write_text(
        "alerts:\n"
        "  channels:\n"
        "    - {url_env: LEDGER_ALERT_URL}\n"
        '    - {name: pager, url_env: PAGER, min_severity: page, quiet_hours: "22:00-07:00", time_zone: Asia/Kolkata}\n'
        "  expected_changes:\n"
        "    - {from: 2026-12-01, to: 2026-12-08, reason: move to another cloud, subjects: [aws]}\n"
    )
    monkeypatch.setenv("LEDGER_ALERT_URL", " json://127.0.0.1/x\n")
    monkeypatch.delenv("PAGER", raising=False)
    settings = load_settings(tmp_path / "ledger.yaml", tmp_path / "data")
    team, pager = settings.ledger.alerts.channels
    assert settings.alert_addresses() == {"LEDGER_ALERT_URL": "json://127.0.0.1/x"}
    assert (team.least, team.takes_heartbeat, team.takes_digest) == (Severity.WARNING, True, True)
    assert (pager.name, pager.takes_heartbeat, pager.takes_digest) == ("pager", False, False)
    (change,) = settings.ledger.alerts.expected_changes
    window = change.window()
    assert window.covers(finding("aws"), datetime(2026, 12, 7, 23, tzinfo=UTC))
    assert not window.covers(finding("aws"), datetime(2026, 12, 8, tzinfo=UTC))
    assert not window.covers(finding("gcp"), datetime(2026, 12, 1, tzinfo=UTC))
