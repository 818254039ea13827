"""`data/alerts/alerts.sqlite3`: incidents, what people said about them, and the outbox.

The warehouse is a cache that may be deleted; an acknowledgement, a mute or a receipt exists nowhere else. So they have
a file of their own, in SQLite: it comes with Python, several processes may use it at once (the run, Dagster's sensors,
`inference-ledger alerts`), and a killed process leaves it as it was before its transaction. Incidents and the messages
about them are one transaction: nothing is found without being told, or told without being known.

The journal is append-only. Channel addresses are never here.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter

from orchestration.alerts.incidents import (
    Evaluation,
    ExpectedChange,
    Finding,
    Incident,
    Notice,
    Policy,
    Severity,
    State,
    evaluate,
)
from orchestration.alerts.messages import Facts, digest, digest_key, heartbeat, heartbeat_key, message

BUSY_SECONDS = 30
# What nobody could be told for so long is no news. A channel that is down for three days still gets everything.
KEPT_UNDELIVERED = timedelta(days=7)
KEPT_HEARTBEAT = timedelta(days=1)

# Decimal and instants as text. Fields that a newer version added have their defaults.
_DOCUMENT = TypeAdapter(Incident)

# SQLite's defaults, a rollback journal and a flush at each commit, are those of a file that must not be lost.
_NOT_DURABLE = "pragma synchronous = off; pragma journal_mode = memory;"
_SCHEMA = """
create table if not exists incidents (fingerprint text primary key, document text not null) strict;
create table if not exists journal (
    id integer primary key, at text not null, fingerprint text not null, action text not null,
    who text not null, reason text not null, until_at text
) strict;
create table if not exists outbox (
    message_key text not null,   -- the idempotency key in the message
    channel text not null,       -- name in ledger.yaml, never its address
    fingerprint text not null,   -- empty for heartbeat and digest
    severity text not null,
    title text not null,
    body text not null,
    created_at text not null,
    due_at text not null,        -- later than created_at in quiet hours
    expires_at text not null,
    attempts integer not null default 0,
    next_attempt_at text not null,
    problem text,
    delivered_at text,
    primary key (message_key, channel)
) strict;
create table if not exists channels (
    name text primary key, failing_since text, failures integer not null, problem text, delivered_at text
) strict;
create table if not exists facts (name text primary key, value text not null) strict;
"""


class UnknownIncidentError(Exception):
    """No incident, or several, begin with what was given."""


class Channel(Protocol):
    """What the ledger has to know of a channel of `ledger.yaml`."""

    @property
    def name(self) -> str: ...  # noqa: D102 - as in ChannelSection
    @property
    def least(self) -> Severity: ...  # noqa: D102
    @property
    def takes_heartbeat(self) -> bool: ...  # noqa: D102
    @property
    def takes_digest(self) -> bool: ...  # noqa: D102
    def due_at(self, now: datetime, severity: Severity) -> datetime: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message that waits for its channel."""

    message_key: str
    channel: str
    fingerprint: str
    severity: Severity
    title: str
    body: str
    attempts: int


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """How a channel answered last."""

    name: str
    failing_since: datetime | None
    failures: int  # in a row
    problem: str
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One thing that happened to an incident."""

    at: datetime
    action: str
    who: str
    reason: str
    until: datetime | None


class AlertLedger:
    """The file, opened for each call: nothing is held between them."""

    def __init__(self, folder: Path, *, is_durable: bool = True) -> None:
        self.folder = folder
        self._is_durable = is_durable  # False for a folder that is thrown away
        self.path = folder / "alerts.sqlite3"

    # --- what the pipeline does ---------------------------------------------------------------------------------------

    def record(
        self,
        findings: Iterable[Finding],
        *,
        scope: str,
        day: date,
        now: datetime,
        policy: Policy,
        channels: Sequence[Channel] = (),
        expected: Sequence[ExpectedChange] = (),
    ) -> Evaluation:
        """Takes up what a day found and puts what has to be told into the outbox, in one transaction."""
        findings = list(findings)
        with self._transaction() as con:
            if (lost := _fact(con, "lost")) is not None:
                findings += _lost_finding(lost) if scope == "marts" else []
            before = _incidents(con)
            after = evaluate(
                before,
                findings,
                scope=scope,
                day=day,
                now=now,
                policy=policy,
                expected=expected,
                tellable=min((channel.least for channel in channels), default=None),
            )
            for fingerprint, incident in after.incidents.items():
                if incident != (old := before.get(fingerprint)):
                    _put(con, incident)
                    if old is None or old.state is not incident.state:
                        who = incident.muted_by if incident.state is State.MUTED else "run"
                        _note(con, incident, str(incident.state), who, "", now, incident.muted_until)
            for notice in after.notices:
                _enqueue_notice(con, notice, channels, policy, now)
            if scope == "marts" and lost is not None:
                con.execute("delete from facts where name = 'lost'")
        return after

    def enqueue_daily(self, facts: Facts, channels: Sequence[Channel], now: datetime) -> None:
        """The heartbeat of a published day, and on the first day of a week the digest of the one before; once each."""
        with self._transaction() as con:
            incidents = list(_incidents(con).values())
            last = _fact(con, "heartbeat_at")
            resolved = [
                one
                for one in incidents
                if one.resolved_at is not None
                and one.told_at is not None
                and (last is None or one.resolved_at > datetime.fromisoformat(last))
            ]
            title, body = heartbeat(facts, incidents, resolved)
            # A heartbeat that was not delivered says nothing any more when the next one is there.
            con.execute("delete from outbox where message_key like 'heartbeat-%' and delivered_at is null")
            for channel in channels:
                if channel.takes_heartbeat:
                    key = heartbeat_key(facts.day)
                    _enqueue(con, key, channel, "", Severity.INFO, title, body, now, now + KEPT_HEARTBEAT)
            _set_fact(con, "heartbeat_at", _text(now))
            week, last_week = digest_key(facts.day), _fact(con, "digest_week")
            if last_week != week:
                _set_fact(con, "digest_week", week)
            if last_week is not None and last_week < week and (found := digest(facts.day, incidents)) is not None:
                for channel in channels:
                    if channel.takes_digest:
                        _enqueue(con, week, channel, "", Severity.INFO, *found, now, now + KEPT_UNDELIVERED)

    # --- what people say ----------------------------------------------------------------------------------------------

    def change(
        self,
        beginning: str,
        change: Callable[[Incident], Incident],
        *,
        action: str,
        who: str,
        reason: str,
        now: datetime,
    ) -> Incident:
        """Applies what a person said to the incident whose fingerprint begins so.

        Raises:
            UnknownIncidentError: none or several begin so.
        """
        with self._transaction() as con:
            incident = change(_find(_incidents(con), beginning))
            _put(con, incident)
            _note(con, incident, action, who, reason, now, incident.muted_until)
        return incident

    # --- reading ------------------------------------------------------------------------------------------------------

    def incidents(self) -> dict[str, Incident]:
        """All incidents by fingerprint."""
        with self._transaction() as con:
            return _incidents(con)

    def incident(self, beginning: str) -> tuple[Incident, list[JournalEntry]]:
        """One incident and its history; UnknownIncidentError where none or several begin so."""
        with self._transaction() as con:
            incident = _find(_incidents(con), beginning)
            rows = con.execute(
                "select at, action, who, reason, until_at from journal where fingerprint = ? order by id",
                [incident.fingerprint],
            ).fetchall()
        return incident, [JournalEntry(_instant(r[0]), r[1], r[2], r[3], r[4] and _instant(r[4])) for r in rows]

    def deliveries(self) -> dict[str, tuple[datetime | None, list[str], str]]:
        """By fingerprint, of its latest message: when it first arrived, at which channels, and what went wrong."""
        found: dict[str, tuple[datetime | None, list[str], str]] = {}
        with self._transaction() as con:
            rows = con.execute(
                "select fingerprint, message_key, channel, delivered_at, problem from outbox where fingerprint <> '' "
                "order by created_at, delivered_at is null, delivered_at, channel"
            ).fetchall()
        latest = {row[0]: row[1] for row in rows}
        for fingerprint, key, channel, delivered, problem in rows:
            if latest[fingerprint] != key:
                continue
            first, channels, problems = found.get(fingerprint, (None, [], ""))
            if delivered is not None:
                found[fingerprint] = (first or _instant(delivered), [*channels, channel], problems)
            else:
                problems += f"{channel}: {problem or 'not delivered yet'}; "
                found[fingerprint] = (first, channels, problems)
        return found

    def health(self) -> dict[str, ChannelHealth]:
        """By channel, how it answered last."""
        with self._transaction() as con:
            rows = con.execute("select name, failing_since, failures, problem, delivered_at from channels").fetchall()
        return {
            row[0]: ChannelHealth(
                row[0], row[1] and _instant(row[1]), row[2], row[3] or "", row[4] and _instant(row[4])
            )
            for row in rows
        }

    # --- delivery -----------------------------------------------------------------------------------------------------

    def due(
        self, channels: Iterable[str], now: datetime, *, longest_wait: timedelta, again: bool = False
    ) -> list[OutboxRow]:
        """Messages of these channels whose time has come, oldest first, the severest before the others.

        A next attempt further away than `longest_wait` was set by a clock that ran ahead. With `again` those that
        failed just now are due as well.
        """
        names = list(channels)
        with self._transaction() as con:
            con.execute("delete from outbox where delivered_at is null and expires_at < ?", [_text(now)])
            rows = con.execute(
                "select message_key, channel, fingerprint, severity, title, body, attempts from outbox "
                f"where delivered_at is null and channel in ({', '.join('?' * len(names))}) "
                "and due_at <= ? and (? or next_attempt_at <= ? or next_attempt_at > ?) "
                "order by created_at, message_key",
                [*names, _text(now), again, _text(now), _text(now + longest_wait)],
            ).fetchall()
        found = [OutboxRow(row[0], row[1], row[2], Severity.of(row[3]), *row[4:]) for row in rows]
        return sorted(found, key=lambda row: -row.severity)

    def waiting_count(self) -> int:
        """Messages that are not delivered."""
        with self._transaction() as con:
            return int(con.execute("select count(*) from outbox where delivered_at is null").fetchone()[0])

    def note_attempt(self, row: OutboxRow, problem: str | None, *, now: datetime, wait: timedelta) -> None:
        """Keeps the receipt of a delivery (`problem` None), or when to try again."""
        with self._transaction() as con:
            if problem is None:
                con.execute(
                    "update outbox set delivered_at = ?, attempts = attempts + 1, problem = null "
                    "where message_key = ? and channel = ?",
                    [_text(now), row.message_key, row.channel],
                )
            else:
                con.execute(
                    "update outbox set attempts = attempts + 1, problem = ?, next_attempt_at = ? "
                    "where message_key = ? and channel = ?",
                    [problem, _text(now + wait), row.message_key, row.channel],
                )
            _note_health(con, row.channel, problem, now)

    def note_channel(self, name: str, problem: str | None, *, now: datetime) -> None:
        """How a channel answered to something else than a message of the outbox."""
        with self._transaction() as con:
            _note_health(con, name, problem, now)

    # --- the file -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        con = self._open()
        try:
            con.execute("begin immediate")
            try:
                yield con
                con.execute("commit")
            except BaseException:
                if con.in_transaction:
                    con.execute("rollback")
                raise
        finally:
            con.close()

    def _open(self) -> sqlite3.Connection:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            return self._connect()
        except sqlite3.OperationalError:
            raise  # locked, full, no right to write: the file itself is sound
        except sqlite3.DatabaseError as error:
            aside = self.folder / "quarantine" / datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
            aside.mkdir(parents=True)
            for path in self.folder.glob("alerts.sqlite3*"):
                path.rename(aside / path.name)
            con = self._connect()
            _set_fact(con, "lost", json.dumps([_text(datetime.now(UTC)), str(error)]))
            return con

    def _connect(self) -> sqlite3.Connection:
        con = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            con.executescript(("" if self._is_durable else _NOT_DURABLE) + _SCHEMA)
            found = con.execute("pragma quick_check(1)").fetchone()[0]
        except BaseException:
            con.close()
            raise
        if found != "ok":
            con.close()
            raise sqlite3.DatabaseError(str(found))
        return con


def _enqueue_notice(
    con: sqlite3.Connection, notice: Notice, channels: Sequence[Channel], policy: Policy, now: datetime
) -> None:
    incident = notice.incident
    title, body = message(notice, policy)
    for channel in channels:
        # A dead channel is told of by the others.
        is_about_itself = incident.finding.kind == "channel_dead" and incident.finding.subject == channel.name
        if incident.severity >= channel.least and not is_about_itself:
            expires = now + KEPT_UNDELIVERED
            _enqueue(con, notice.key, channel, incident.fingerprint, incident.severity, title, body, now, expires)
    _note(con, incident, "told", "run", notice.reason, now, None)


def _enqueue(
    con: sqlite3.Connection,
    key: str,
    channel: Channel,
    fingerprint: str,
    severity: Severity,
    title: str,
    body: str,
    now: datetime,
    expires_at: datetime,
) -> None:
    due = channel.due_at(now, severity)
    con.execute(
        "insert or ignore into outbox (message_key, channel, fingerprint, severity, title, body, created_at, due_at, "
        "expires_at, next_attempt_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            key,
            channel.name,
            fingerprint,
            severity.word,
            title,
            body,
            _text(now),
            _text(due),
            _text(max(expires_at, due + KEPT_HEARTBEAT)),
            _text(due),
        ],
    )


def _note_health(con: sqlite3.Connection, name: str, problem: str | None, now: datetime) -> None:
    if problem is None:
        con.execute("insert or replace into channels values (?, null, 0, null, ?)", [name, _text(now)])
    else:
        con.execute(
            "insert into channels values (?, ?, 1, ?, null) on conflict (name) do update set "
            "failing_since = coalesce(failing_since, excluded.failing_since), failures = failures + 1, "
            "problem = excluded.problem",
            [name, _text(now), problem],
        )


def _incidents(con: sqlite3.Connection) -> dict[str, Incident]:
    rows = con.execute("select fingerprint, document from incidents").fetchall()
    return {fingerprint: _DOCUMENT.validate_json(document) for fingerprint, document in rows}


def _find(incidents: Mapping[str, Incident], beginning: str) -> Incident:
    found = [one for fingerprint, one in incidents.items() if fingerprint.startswith(beginning.lower())]
    if len(found) != 1:
        what = "no incident begins" if not found else f"{len(found)} incidents begin"
        raise UnknownIncidentError(f"{what} with {beginning!r}; see `inference-ledger alerts list --all`")
    return found[0]


def _put(con: sqlite3.Connection, incident: Incident) -> None:
    document = _DOCUMENT.dump_json(incident).decode()
    con.execute("insert or replace into incidents values (?, ?)", [incident.fingerprint, document])


def _note(
    con: sqlite3.Connection,
    incident: Incident,
    action: str,
    who: str,
    reason: str,
    now: datetime,
    until: datetime | None,
) -> None:
    con.execute(
        "insert into journal (at, fingerprint, action, who, reason, until_at) values (?, ?, ?, ?, ?, ?)",
        [_text(now), incident.fingerprint, action, who, reason, until and _text(until)],
    )


def _fact(con: sqlite3.Connection, name: str) -> str | None:
    row = con.execute("select value from facts where name = ?", [name]).fetchone()
    return None if row is None else str(row[0])


def _set_fact(con: sqlite3.Connection, name: str, value: str) -> None:
    con.execute("insert or replace into facts values (?, ?)", [name, value])


def _lost_finding(lost: str) -> list[Finding]:
    at, error = json.loads(lost)
    return [
        Finding(
            kind="ledger_lost",
            rule_id="ledger_lost",
            subject="alerts",
            headline="The alert ledger was damaged and is begun anew",
            explanation=error,
            first_seen_at=_instant(at),
            last_seen_at=_instant(at),
        )
    ]


def _text(instant: datetime) -> str:
    """Microseconds always written, so that text sorts as time does."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
