"""The alert ledger keeps what people said, tells nothing twice, and survives kills, two runs at once and damage."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from orchestration.alerts.incidents import Severity, State, acknowledge, mute
from orchestration.alerts.ledger import AlertLedger, UnknownIncidentError
from orchestration.alerts.messages import Facts
from tests.alerts.worlds import DAY, POLICY, AnyChannel, finding, morning

ROOT = Path(__file__).parents[2]
TEAM = AnyChannel()
WAIT = timedelta(hours=1)


@pytest.fixture
def ledger(tmp_path: Path) -> AlertLedger:
    return AlertLedger(tmp_path / "alerts")


def record(ledger: AlertLedger, *found: object, days: int = 0, channels: tuple[AnyChannel, ...] = (TEAM,)) -> list[str]:
    day = DAY + timedelta(days=days)
    result = ledger.record(found, scope="marts", day=day, now=morning(day), policy=POLICY, channels=channels)  # type: ignore[arg-type]
    return [notice.key for notice in result.notices]


def waiting(ledger: AlertLedger, days: int = 0, channel: str = "team") -> list[str]:
    return [row.message_key for row in ledger.due([channel], morning(DAY + timedelta(days=days)), longest_wait=WAIT)]


def test_every_field_comes_back_as_it_went(ledger: AlertLedger) -> None:
    full = finding(
        "a'b", None, segment="s", direction="up", cause="c", group_key="g", feed="f", is_feed_fault=True,
        exposed_usd_per_day=Decimal("1.0000000001"), blocked_hours=Decimal("2.5"), finding_count=9,
        explanation="e", data_state="d", evidence_sql="q",
    )  # fmt: skip
    record(ledger, full, finding("other", 5000, feed="f"))
    before = ledger.incidents()
    assert before[full.fingerprint].finding == full
    assert before[full.fingerprint].children == (finding("other", feed="f").fingerprint,)
    until = morning() + timedelta(days=1)
    muted = ledger.change(
        full.fingerprint, lambda one: mute(one, who="kim", reason="r", until=until), action="muted", who="kim",
        reason="r", now=morning(),
    )  # fmt: skip
    assert AlertLedger(ledger.folder).incidents()[full.fingerprint] == muted
    assert muted.muted_until == until


def test_found_and_told_are_one_transaction(ledger: AlertLedger) -> None:
    """The second run of the day tells nothing new; a failure in between leaves neither incident nor message."""
    (key,) = record(ledger, finding())
    assert record(ledger, finding()) == []
    assert waiting(ledger) == [key]

    class Broken(AnyChannel):
        def due_at(self, now: object, severity: Severity) -> None:  # type: ignore[override]
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        record(ledger, finding("new"), channels=(TEAM, Broken(name="broken")))
    assert [one.finding.subject for one in ledger.incidents().values()] == ["aws"]
    assert waiting(ledger) == [key]
    assert len(record(ledger, finding("new"))) == 1


def test_people_and_history_are_kept(ledger: AlertLedger) -> None:
    record(ledger, finding())
    fingerprint = finding().fingerprint
    ledger.change(
        fingerprint[:6], lambda one: acknowledge(one, who="kim", reason="on it", now=morning()),
        action="acknowledged", who="kim", reason="on it", now=morning(),
    )  # fmt: skip
    incident, journal = ledger.incident(fingerprint[:4])
    assert (incident.state, incident.note) == (State.ACKNOWLEDGED, "on it")
    assert [(entry.action, entry.who, entry.reason) for entry in journal] == [
        ("open", "run", ""),
        ("told", "run", "new"),
        ("acknowledged", "kim", "on it"),
    ]
    with pytest.raises(UnknownIncidentError, match="no incident begins with 'zz'"):
        ledger.incident("zz")
    record(ledger, finding("b"), finding("c"))
    with pytest.raises(UnknownIncidentError, match="3 incidents begin with ''"):
        ledger.incident("")


def test_messages_go_by_severity_and_a_receipt_is_kept(ledger: AlertLedger) -> None:
    pager = AnyChannel("pager", least=Severity.PAGE)
    record(ledger, finding("a", 100), finding("b", 5000), channels=(TEAM, pager))
    assert len(waiting(ledger)) == 2
    (page,) = ledger.due(["pager"], morning(), longest_wait=WAIT)
    assert page.severity is Severity.PAGE
    assert ledger.due(["team"], morning(), longest_wait=WAIT)[0].severity is Severity.PAGE, "pages go first"
    ledger.note_attempt(page, None, now=morning(), wait=WAIT)
    assert waiting(ledger, channel="pager") == []
    delivered_at, channels, problem = ledger.deliveries()[page.fingerprint]
    assert (delivered_at, channels, problem) == (morning(), ["pager"], "team: not delivered yet; ")


def test_a_failed_message_waits_and_a_clock_that_jumped_back_does_not_stop_it(ledger: AlertLedger) -> None:
    record(ledger, finding())
    (row,) = ledger.due(["team"], morning(), longest_wait=WAIT)
    ledger.note_attempt(row, "HTTP 500", now=morning(), wait=timedelta(minutes=5))
    assert ledger.due(["team"], morning() + timedelta(minutes=4), longest_wait=WAIT) == []
    assert len(ledger.due(["team"], morning() + timedelta(minutes=5), longest_wait=WAIT)) == 1
    ledger.note_attempt(row, "HTTP 500", now=morning() + timedelta(days=3650), wait=timedelta(minutes=5))
    assert len(ledger.due(["team"], morning(), longest_wait=WAIT)) == 1


def test_one_sign_of_life_a_day_and_one_digest_a_week(ledger: AlertLedger) -> None:
    told: list[str] = []
    for number in range(10):  # Sunday 22 November to Tuesday 1 December
        day = DAY + timedelta(days=number)
        record(ledger, finding(usd=1), days=number)
        for _ in range(2):  # two runs a day
            ledger.enqueue_daily(Facts(day, 1, 1, None, None), [TEAM], morning(day))
            for row in ledger.due(["team"], morning(day), longest_wait=WAIT):
                told.append(row.message_key)
                ledger.note_attempt(row, None, now=morning(day), wait=WAIT)
    assert [key for key in told if key.startswith("heartbeat")] == [
        f"heartbeat-{DAY + timedelta(days=number)}" for number in range(10)
    ]
    assert [key for key in told if key.startswith("digest")] == ["digest-2026-W48", "digest-2026-W49"]


def test_what_nobody_took_for_a_week_is_let_go(ledger: AlertLedger) -> None:
    record(ledger, finding())
    assert len(waiting(ledger, days=7)) == 1
    assert waiting(ledger, days=8) == []


def test_a_damaged_file_is_set_aside_told_and_begun_anew(ledger: AlertLedger) -> None:
    record(ledger, finding())
    ledger.path.write_bytes(b"not a database" * 100)
    record(ledger, finding(), days=1)
    assert {one.finding.kind for one in ledger.incidents().values()} == {"money", "ledger_lost"}
    assert [path.read_bytes()[:14] for path in ledger.folder.glob("quarantine/*/alerts.sqlite3")] == [b"not a database"]
    record(ledger, finding(), days=2)
    assert ledger.incidents()[finding().fingerprint].told_count == 1


def test_a_file_without_the_right_to_write_is_not_set_aside(
    ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(ledger, finding())
    con = sqlite3.connect(ledger.path)
    con.execute("begin exclusive")
    monkeypatch.setattr("orchestration.alerts.ledger.BUSY_SECONDS", 0.1)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        record(ledger, finding("b"))
    con.close()
    assert not (ledger.folder / "quarantine").exists()
    assert len(record(ledger, finding("b"))) == 1


PROGRAM = textwrap.dedent(
    """
    import sys
    from datetime import timedelta
    from pathlib import Path
    from orchestration.alerts.ledger import AlertLedger
    from tests.alerts.worlds import DAY, POLICY, AnyChannel, finding, morning

    ledger = AlertLedger(Path(sys.argv[1]))
    for number in range(int(sys.argv[2]), 100_000):
        day = DAY + timedelta(days=number % 300)
        ledger.record([finding(f"{number}-{one}") for one in range(3)], scope="marts", day=DAY, now=morning(),
                      policy=POLICY, channels=[AnyChannel()])
        print(number, flush=True)
    """
)


def test_killed_at_any_moment_what_is_known_is_told(ledger: AlertLedger) -> None:
    """kill -9, five times: every incident has its message, and every acknowledged one is there."""
    number = 0
    for pause in (0.0, 0.004, 0.01, 0.03, 0.07):
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(ledger.folder), str(number)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            for _ in range(3):
                number = int(process.stdout.readline()) + 1
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
        incidents = ledger.incidents()
        with sqlite3.connect(ledger.path) as con:
            told = {row[0] for row in con.execute("select fingerprint from outbox")}
            assert con.execute("pragma integrity_check").fetchone() == ("ok",)
        assert told == set(incidents)
        assert len(incidents) % 3 == 0
        assert len(incidents) >= 3 * number
        number = len(incidents) // 3


def _many(folder: str, begin: object, worker: int) -> None:
    begin.wait()  # type: ignore[attr-defined]
    for number in range(10):
        AlertLedger(Path(folder)).record(
            [finding("both"), finding(f"{worker}-{number}")],
            scope=f"scope-{worker}", day=DAY, now=morning(), policy=POLICY, channels=[TEAM],
        )  # fmt: skip
    os._exit(0)


def test_two_runs_at_once_lose_nothing_and_tell_nothing_twice(ledger: AlertLedger) -> None:
    context = multiprocessing.get_context("spawn")
    begin = context.Event()
    workers = [context.Process(target=_many, args=(str(ledger.folder), begin, number)) for number in range(2)]
    for worker in workers:
        worker.start()
    begin.set()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    incidents = ledger.incidents()
    assert len(incidents) == 21
    assert incidents[finding("both").fingerprint].told_count == 1
    assert len(waiting(ledger)) == 21
