"""Empties the outbox: at least once, within a bounded time, by one process at a time.

A message is sent, then its receipt is kept. A process killed between the two sends it again, with the same key in it:
at most one more copy per kill. The lock is the kernel's and ends with its process, so nothing waits for a dead one.
"""

import fcntl
import io
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from orchestration.alerts.incidents import Finding, Policy
from orchestration.alerts.ledger import AlertLedger, Channel, OutboxRow

# apprise gives up after 4 s to connect and 4 s without a byte; some services make it wait between messages (5.5 s).
ANSWER_SECONDS = 20.0
PASS_SECONDS = 90.0
BATCH = 20
# Within one pass, for a service that hiccups; a run may be the only pass of the day.
WAITS_SECONDS = (1.0, 4.0)
# Over passes, from the first failure on.
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)
FAILURES_OF_A_DEAD_CHANNEL = 3
# An answer of these is final: the address is wrong or no longer valid.
_FINAL = {f"HTTP {code}" for code in range(400, 500) if code not in (408, 425, 429)}

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel gets."""

    key: str
    incident: str
    severity: str
    title: str
    body: str


@dataclass(slots=True)
class Delivery:
    """What one pass did."""

    is_busy: bool = False  # another process delivers
    delivered: dict[str, list[str]] = field(default_factory=dict)  # channel -> titles
    problems: dict[str, str] = field(default_factory=dict)  # channel -> what it said last


def deliver(
    ledger: AlertLedger,
    channels: Sequence[Channel],
    addresses: Mapping[str, str],
    policy: Policy,
    *,
    clock: Clock = lambda: datetime.now(UTC),
    seconds: float = PASS_SECONDS,
) -> Delivery:
    """Sends what is due to each channel, keeps the receipts, and tells of dead channels through the others.

    Args:
        ledger: the outbox.
        channels: of ledger.yaml.
        addresses: channel name to its address; a channel without one is a dead channel.
        policy: from the seeds.
        clock: the present in UTC.
        seconds: after which nothing new is sent; the pass ends at most `ANSWER_SECONDS` later.
    """
    done = Delivery()
    if not channels:
        return done
    ends_at = time.monotonic() + seconds
    with _only_pass(ledger.folder) as is_mine:
        if not is_mine:
            done.is_busy = True
            return done
        missing = [channel.name for channel in channels if channel.name not in addresses]
        for name in missing:
            done.problems[name] = "its address is not set in the environment"
            ledger.note_channel(name, done.problems[name], now=clock())
        with ThreadPoolExecutor(max_workers=len(channels)) as pool:
            failing: set[str] = set(addresses)
            for wait in (0.0, *WAITS_SECONDS):
                if not failing or time.monotonic() + wait >= ends_at:
                    break
                time.sleep(wait)
                rows = ledger.due(failing, clock(), longest_wait=LONGEST_WAIT, again=wait > 0)
                failing = set(_round(pool, ledger, rows, addresses, done, clock, ends_at))
        _tell_of_dead(ledger, channels, policy, clock())
        fresh = ledger.due(set(addresses) - set(done.problems), clock(), longest_wait=LONGEST_WAIT)
        if fresh and time.monotonic() < ends_at:
            with ThreadPoolExecutor(max_workers=len(channels)) as pool:
                list(_round(pool, ledger, fresh, addresses, done, clock, ends_at))
    return done


def send(
    url: str, messages: Sequence[Message], *, answer_seconds: float = ANSWER_SECONDS
) -> Iterator[tuple[str, str | None]]:
    """Sends messages to one address; yields key and problem of each as it is answered.

    The address goes through a pipe, never into a list of processes. A message that hangs ends the process, and those
    behind it are not tried.
    """
    program = str(Path(__file__).with_name("sender.py"))
    with subprocess.Popen(  # noqa: S603 - our own program; what it sends is data
        [sys.executable, "-I", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        lines: queue.Queue[str] = queue.Queue()
        reader = threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True)
        reader.start()
        try:
            order = {
                "url": url,
                "messages": [{name: getattr(one, name) for name in Message.__slots__} for one in messages],
            }
            with process.stdin or io.StringIO() as stream:
                json.dump(order, stream)
            for message in messages:
                try:
                    line = lines.get(timeout=answer_seconds)
                except queue.Empty:
                    yield message.key, f"no answer within {answer_seconds:.0f} s"
                    return
                if not line:
                    yield message.key, "the sender ended without a word"
                    return
                answer = json.loads(line)
                yield answer["key"], answer["problem"]
        except BrokenPipeError:
            yield messages[0].key, "the sender could not be started"
        finally:
            process.kill()


def _read_lines(stream: Iterator[str], lines: "queue.Queue[str]") -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def _round(
    pool: ThreadPoolExecutor,
    ledger: AlertLedger,
    rows: Sequence[OutboxRow],
    addresses: Mapping[str, str],
    done: Delivery,
    clock: Clock,
    ends_at: float,
) -> Iterator[str]:
    """Sends the rows, the channels side by side; yields the channels that are worth another try in this pass."""
    by_channel: dict[str, list[OutboxRow]] = {}
    for row in rows:
        by_channel.setdefault(row.channel, []).append(row)
    for name, problem in zip(
        by_channel,
        pool.map(
            lambda name: _send_rows(ledger, by_channel[name], addresses[name], done, clock, ends_at), list(by_channel)
        ),
        strict=True,
    ):
        if problem is None:
            done.problems.pop(name, None)
            continue
        done.problems[name] = problem
        if problem not in _FINAL:
            yield name


def _send_rows(
    ledger: AlertLedger, rows: Sequence[OutboxRow], url: str, done: Delivery, clock: Clock, ends_at: float
) -> str | None:
    """Sends one channel's rows and keeps each receipt as it comes; returns the first problem.

    A message that the service refuses does not hold up the next ones; a service that gives no answer does.
    """
    first: str | None = None
    rows = rows[:BATCH]
    by_key = {row.message_key: row for row in rows}
    seconds = min(ANSWER_SECONDS, max(ends_at - time.monotonic(), 1.0))
    for key, problem in send(url, [_message(row) for row in rows], answer_seconds=seconds):
        row = by_key[key]
        wait = min(FIRST_WAIT * 2 ** min(row.attempts, 10), LONGEST_WAIT)
        ledger.note_attempt(row, problem, now=clock(), wait=wait)
        if problem is None:
            done.delivered.setdefault(row.channel, []).append(row.title)
        elif not problem.startswith("HTTP "):
            return problem
        else:
            first = first or problem
    return first


def _message(row: OutboxRow) -> Message:
    return Message(row.message_key, row.fingerprint, row.severity.word, row.title, row.body)


def _tell_of_dead(ledger: AlertLedger, channels: Sequence[Channel], policy: Policy, now: datetime) -> None:
    """A channel that does not answer is a finding like any other; the others tell it."""
    health = ledger.health()
    dead = [
        Finding(
            kind="channel_dead",
            rule_id="channel_dead",
            subject=one.name,
            headline=f"Alert channel {one.name} does not answer: {one.problem}",
            explanation=f"{one.failures} attempts in a row failed. Its messages wait for a week, for it to come back.",
            blocked_hours=Decimal(int((now - one.failing_since).total_seconds())) / 3600,
            first_seen_at=one.failing_since,
            last_seen_at=now,
        )
        for channel in channels
        if (one := health.get(channel.name)) is not None
        and one.failing_since is not None
        and (one.failures >= FAILURES_OF_A_DEAD_CHANNEL or one.problem in _FINAL or "is not set" in one.problem)
    ]
    known = [one for one in ledger.incidents().values() if one.scope == "channels" and one.is_open]
    if dead or known:
        ledger.record(dead, scope="channels", day=now.date(), now=now, policy=policy, channels=channels)


@contextmanager
def _only_pass(folder: Path) -> Iterator[bool]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "deliver.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
