"""Findings become incidents: same fingerprint, same incident; one parent per cause; told only when something is new.

Pure: no clock, no file, no database. `evaluate` takes what was known, what a day found and the time, and returns what
is known now and what has to be told. Detection is never filtered here: every finding becomes part of an incident, and
only *telling* is a question of severity, cool-down, mutes and parents.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from fnmatch import fnmatchcase

COOL_DOWN = timedelta(days=1)
NORMAL_DAYS_TO_RESOLVE = 3
# What stopped a run is over with the first run that it does not stop; what is found in the data may flicker.
SCOPES_RESOLVED_AT_ONCE = frozenset({"run"})
GROWTH_TO_TELL_AGAIN = Decimal("1.5")
# A parent that is absent for one day still holds its children back: feeds that flicker would have them told one by one.
DAYS_A_PARENT_MAY_BE_ABSENT = 1
# Who mutes by a window in ledger.yaml.
EXPECTED_BY = "ledger.yaml"


class Severity(IntEnum):
    """How loudly something is told; the order is the rank."""

    INFO = 0
    WARNING = 1
    PAGE = 2

    @property
    def word(self) -> str:
        """As people and tables write it."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> "Severity":
        """The severity called `word`; ValueError for another word."""
        try:
            return cls[word.upper()]
        except KeyError:
            raise ValueError(f"{word!r} is no severity; known: page, warning, info") from None


class State(StrEnum):
    """Where an incident stands with people."""

    OPEN = "open"
    REOPENED = "reopened"  # came back after it was resolved
    ACKNOWLEDGED = "acknowledged"
    MUTED = "muted"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the seed alert_kinds."""

    name: str
    title: str
    floor: Severity
    cap: Severity
    when_unknown: Severity
    page_after_hours: Decimal | None
    advice: str


@dataclass(frozen=True, slots=True)
class Policy:
    """The seeds alert_kinds and alert_severities: what weighs how much, in USD a day."""

    kinds: Mapping[str, Kind]
    min_usd_per_day: Mapping[Severity, Decimal]

    def by_money(self, usd_per_day: Decimal) -> Severity:
        """Severity of so many USD a day."""
        return max(severity for severity, least in self.min_usd_per_day.items() if usd_per_day >= least)

    @property
    def worth_telling_usd_per_day(self) -> Decimal:
        """The least money that is worth a message."""
        return self.min_usd_per_day[Severity.WARNING]


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of int_alert_candidates, or something the run itself found.

    `impact_usd_per_day` is money that is wrong or moved; `exposed_usd_per_day` is money that rests on what was found.
    None is unknown, never zero. `feed` is the source that the finding depends on: while that is faulty itself, the
    finding stands under it.
    """

    kind: str
    rule_id: str
    subject: str
    headline: str
    first_seen_at: datetime
    last_seen_at: datetime
    segment: str = ""
    direction: str = ""
    cause: str = ""
    group_key: str = ""
    feed: str = ""
    is_feed_fault: bool = False
    impact_usd_per_day: Decimal | None = None
    exposed_usd_per_day: Decimal | None = None
    blocked_hours: Decimal | None = None
    finding_count: int = 1
    explanation: str = ""
    data_state: str = ""
    evidence_sql: str = ""

    @property
    def fingerprint(self) -> str:
        """Digest of rule, subject, segment, direction and cause; the same in every version of Python and DuckDB."""
        parts = [self.rule_id, self.subject, self.segment, self.direction, self.cause]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Incident:
    """What is known of one fingerprint over time."""

    fingerprint: str
    scope: str
    finding: Finding
    state: State
    severity: Severity  # of itself and what stands under it
    opened_at: datetime
    checked_date: date  # last day it was looked for
    normal_days: int = 0  # days in a row it was looked for and not there
    parent: str = ""  # fingerprint of the incident that tells for it
    children: tuple[str, ...] = ()
    group_impact_usd_per_day: Decimal | None = None
    reopened_count: int = 0
    resolved_at: datetime | None = None
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None
    muted_by: str = ""
    muted_until: datetime | None = None
    muted_severity: Severity = Severity.INFO
    note: str = ""  # reason of the last acknowledgement, mute or resolution by hand
    told_at: datetime | None = None
    told_severity: Severity | None = None
    told_impact_usd_per_day: Decimal | None = None
    told_count: int = 0

    @property
    def is_open(self) -> bool:
        """Not resolved: somebody may have to do something."""
        return self.state is not State.RESOLVED

    @property
    def is_present(self) -> bool:
        """Still there, or absent for so short that it may be a flicker."""
        return self.is_open and self.normal_days <= DAYS_A_PARENT_MAY_BE_ABSENT

    @property
    def money(self) -> Decimal:
        """What is at stake in USD a day, for ranking; 0 where nothing is known."""
        return max(self.finding.impact_usd_per_day or Decimal(0), self.finding.exposed_usd_per_day or Decimal(0))


@dataclass(frozen=True, slots=True)
class ExpectedChange:
    """A window of `ledger.yaml` in which something is known to happen; nothing that fits is told."""

    from_: datetime
    to: datetime
    reason: str
    rules: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    def covers(self, finding: Finding, now: datetime) -> bool:
        """Whether the window is open and the finding is of it; no rules or subjects: all."""
        return (
            self.from_ <= now < self.to
            and (not self.rules or bool({finding.rule_id, finding.kind} & set(self.rules)))
            and (not self.subjects or any(fnmatchcase(finding.subject, pattern) for pattern in self.subjects))
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """An incident that has to be told now, with what stands under it."""

    incident: Incident
    members: tuple[Incident, ...]
    reason: str  # new | reopened | more severe | grew by half | mute ended

    @property
    def key(self) -> str:
        """Idempotency key: the same notice told twice carries the same."""
        return f"{self.incident.fingerprint}-{self.incident.told_count}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is known after a day was looked at, and what has to be told."""

    incidents: dict[str, Incident]
    notices: tuple[Notice, ...]


def evaluate(
    known: Mapping[str, Incident],
    findings: Iterable[Finding],
    *,
    scope: str,
    day: date,
    now: datetime,
    policy: Policy,
    expected: Sequence[ExpectedChange] = (),
    tellable: Severity | None = Severity.INFO,
) -> Evaluation:
    """Looks at one day.

    Args:
        known: incidents by fingerprint, of all scopes.
        findings: everything found on `day` in `scope`; what is missing of it was looked for and not there.
        scope: whose incidents may become normal: marts, run or channels.
        day: the day the findings are about, UTC. A day before one that was looked at changes nothing.
        now: the present, UTC; it may jump.
        policy: from the seeds.
        expected: windows of ledger.yaml.
        tellable: lowest severity that some channel takes; None where there is no channel. What nobody was told stays
            to be told.
    """
    incidents = dict(known)
    today = now.date()
    found: dict[str, Finding] = {}
    for finding in findings:
        same = found.get(finding.fingerprint)
        found[finding.fingerprint] = finding if same is None else _merged(same, finding)
    # A clock that once ran ahead must not keep every later day from counting.
    latest = max(day, today)
    last = max(
        (one.checked_date for one in known.values() if one.scope == scope and one.checked_date <= latest), default=day
    )
    if day < last:
        return Evaluation(incidents, ())
    for fingerprint, finding in found.items():
        incidents[fingerprint] = _seen(incidents.get(fingerprint), finding, scope, day, now, expected)
    for fingerprint, incident in known.items():
        if incident.scope == scope and fingerprint not in found:
            incidents[fingerprint] = _missed(incident, day, latest, now)
    incidents = {fingerprint: _mute_over(incident, now) for fingerprint, incident in incidents.items()}
    incidents = _grouped(incidents, policy)
    notices = []
    for fingerprint, incident in sorted(incidents.items()):
        reason = _reason_to_tell(incident, now, policy, tellable)
        if reason is None:
            continue
        told = replace(
            incident,
            # Who acknowledged or muted something smaller has not seen this.
            state=State.OPEN if incident.state in (State.ACKNOWLEDGED, State.MUTED) else incident.state,
            told_at=now,
            told_severity=incident.severity,
            told_impact_usd_per_day=incident.group_impact_usd_per_day,
            told_count=incident.told_count + 1,
        )
        incidents[fingerprint] = told
        notices.append(Notice(told, tuple(incidents[child] for child in told.children), reason))
    return Evaluation(incidents, tuple(notices))


def severity_of(finding: Finding, policy: Policy, *, impact_usd_per_day: Decimal | None = None) -> Severity:
    """Severity of one finding, with the money of all that stands under it where that is more."""
    kind = policy.kinds[finding.kind]
    impact = max_known(finding.impact_usd_per_day, impact_usd_per_day)
    exposed = finding.exposed_usd_per_day
    severity = kind.floor
    if impact is None and exposed is None:
        severity = max(severity, kind.when_unknown)
    if impact is not None:
        severity = max(severity, policy.by_money(impact))
    rests = exposed is not None and exposed >= policy.worth_telling_usd_per_day
    if rests:
        severity = max(severity, Severity.WARNING)
    is_old = (
        kind.page_after_hours is not None
        and finding.blocked_hours is not None
        and finding.blocked_hours > kind.page_after_hours
    )
    if is_old and (rests or kind.floor >= Severity.WARNING):
        severity = Severity.PAGE
    return min(severity, kind.cap)


def acknowledge(incident: Incident, *, who: str, reason: str, now: datetime) -> Incident:
    """Somebody works on it: told again only when it becomes worse."""
    return replace(
        incident, state=State.ACKNOWLEDGED, acknowledged_by=who, acknowledged_at=now, note=reason, muted_until=None
    )


def mute(incident: Incident, *, who: str, reason: str, until: datetime) -> Incident:
    """Silent until an instant, unless its severity rises above what it is now."""
    return replace(
        incident,
        state=State.MUTED,
        muted_by=who,
        muted_until=until,
        muted_severity=incident.severity,
        note=reason,
    )


def unmute(incident: Incident, *, reason: str) -> Incident:
    """Told again like any other; not at once, for it was told before."""
    return replace(incident, state=State.OPEN, muted_until=None, note=reason)


def resolve(incident: Incident, *, reason: str, now: datetime) -> Incident:
    """Done with. Found again, it is reopened and told."""
    return replace(incident, state=State.RESOLVED, resolved_at=now, muted_until=None, parent="", note=reason)


def max_known(*amounts: Decimal | None) -> Decimal | None:
    """The largest amount that is known; None when none is."""
    return max((amount for amount in amounts if amount is not None), default=None)


def total_known(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum of what is known; None when nothing is."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if known else None


def _merged(one: Finding, other: Finding) -> Finding:
    """Two findings of one fingerprint: 900 SKUs of one broken feed. The dearer one speaks."""
    dearer = max(one, other, key=lambda f: (f.impact_usd_per_day or 0, f.exposed_usd_per_day or 0))
    return replace(
        dearer,
        impact_usd_per_day=total_known((one.impact_usd_per_day, other.impact_usd_per_day)),
        # What rests on both may be the same money.
        exposed_usd_per_day=max_known(one.exposed_usd_per_day, other.exposed_usd_per_day),
        blocked_hours=max_known(one.blocked_hours, other.blocked_hours),
        finding_count=one.finding_count + other.finding_count,
        first_seen_at=min(one.first_seen_at, other.first_seen_at),
        last_seen_at=max(one.last_seen_at, other.last_seen_at),
    )


def _seen(
    incident: Incident | None,
    finding: Finding,
    scope: str,
    day: date,
    now: datetime,
    expected: Sequence[ExpectedChange],
) -> Incident:
    if incident is None:
        incident = Incident(finding.fingerprint, scope, finding, State.OPEN, Severity.INFO, now, day)
    elif incident.state is State.RESOLVED:
        is_muted = incident.muted_until is not None and now < incident.muted_until
        incident = replace(
            incident,
            state=State.MUTED if is_muted else State.REOPENED,
            reopened_count=incident.reopened_count + 1,
            resolved_at=None,
            acknowledged_by="",
            acknowledged_at=None,
            told_severity=None,
            told_impact_usd_per_day=None,
        )
    else:
        finding = replace(finding, first_seen_at=min(finding.first_seen_at, incident.finding.first_seen_at))
    window = next((one for one in expected if one.covers(finding, now)), None)
    if window is not None and incident.state is not State.ACKNOWLEDGED:
        incident = replace(
            incident,
            state=State.MUTED,
            muted_by=EXPECTED_BY,
            muted_until=window.to,
            muted_severity=Severity.PAGE,
            note=window.reason,
        )
    return replace(incident, finding=finding, normal_days=0, checked_date=day)


def _missed(incident: Incident, day: date, latest: date, now: datetime) -> Incident:
    if incident.is_open and incident.scope in SCOPES_RESOLVED_AT_ONCE:
        return replace(
            incident, state=State.RESOLVED, normal_days=1, checked_date=day, resolved_at=now, parent="", children=()
        )
    if day <= incident.checked_date <= latest:
        return incident  # this day was looked at before
    incident = replace(incident, normal_days=incident.normal_days + 1, checked_date=day)
    if incident.is_open and incident.normal_days >= NORMAL_DAYS_TO_RESOLVE:
        return replace(incident, state=State.RESOLVED, resolved_at=now, parent="", children=())
    return incident


def _mute_over(incident: Incident, now: datetime) -> Incident:
    if incident.state is State.MUTED and (incident.muted_until is None or incident.muted_until <= now):
        # Nobody knows that it is still there: it is told like a new one.
        return replace(incident, state=State.OPEN, muted_until=None, told_severity=None, told_impact_usd_per_day=None)
    return incident


def _grouped(incidents: Mapping[str, Incident], policy: Policy) -> dict[str, Incident]:
    """Parents, children and severities of what is there."""
    present = [incident for incident in incidents.values() if incident.is_present]
    faults = {one.finding.feed: one for one in present if one.finding.is_feed_fault and one.finding.feed}
    clusters: defaultdict[str, list[Incident]] = defaultdict(list)
    for incident in present:
        cause = incident if incident.finding.is_feed_fault else faults.get(incident.finding.feed, incident)
        clusters[cause.finding.group_key or cause.fingerprint].append(incident)
    result = dict(incidents)
    for members in clusters.values():
        root = max(members, key=lambda one: _fitness_as_parent(one, severity_of(one.finding, policy)))
        others = sorted((one for one in members if one is not root), key=lambda one: (-one.money, one.finding.headline))
        impact = _impact_of_all(members)
        severity = max(severity_of(one.finding, policy) for one in members)
        severity = max(severity, severity_of(root.finding, policy, impact_usd_per_day=impact))
        result[root.fingerprint] = replace(
            root,
            parent="",
            children=tuple(one.fingerprint for one in others),
            severity=severity,
            group_impact_usd_per_day=impact,
        )
        for one in others:
            result[one.fingerprint] = replace(
                one,
                parent=root.fingerprint,
                children=(),
                severity=severity_of(one.finding, policy),
                group_impact_usd_per_day=one.finding.impact_usd_per_day,
            )
    for incident in incidents.values():
        if not incident.is_present:  # leads nobody; stays with whom it was under, if that still leads
            leader = result.get(incident.parent)
            parent = incident.parent if leader is not None and not leader.parent and leader.is_open else ""
            result[incident.fingerprint] = replace(result[incident.fingerprint], parent=parent, children=())
    return result


def _fitness_as_parent(incident: Incident, severity: Severity) -> tuple[bool, bool, Severity, Decimal, float, str]:
    """The broken input first; then who told for the group before, so that a parent stays one from day to day.

    `severity` is that of its own finding: what is kept of a reopened incident is of the group it once led.
    """
    return (
        incident.finding.is_feed_fault,
        incident.told_severity is not None and not incident.parent,
        severity,
        incident.money,
        -incident.opened_at.timestamp(),
        incident.fingerprint,
    )


def _impact_of_all(members: Sequence[Incident]) -> Decimal | None:
    """The findings of one rule add up; those of different rules see the same money."""
    by_rule: defaultdict[str, list[Decimal | None]] = defaultdict(list)
    for one in members:
        by_rule[one.finding.rule_id].append(one.finding.impact_usd_per_day)
    return max_known(*(total_known(amounts) for amounts in by_rule.values()))


def _reason_to_tell(incident: Incident, now: datetime, policy: Policy, tellable: Severity | None) -> str | None:
    if not incident.is_open or incident.normal_days or incident.parent:
        return None
    if tellable is None or incident.severity < max(tellable, Severity.WARNING):
        return None  # info goes into the weekly digest
    if incident.state is State.MUTED and incident.severity <= incident.muted_severity:
        return None
    is_worse = incident.told_severity is not None and incident.severity > incident.told_severity
    if is_worse and incident.severity is Severity.PAGE:
        return "more severe"
    if incident.told_at is not None and timedelta(0) <= now - incident.told_at < COOL_DOWN:
        return None
    if incident.told_severity is None:
        if incident.told_count == 0:
            return "new"
        return "reopened" if incident.state is State.REOPENED else "mute ended"
    if is_worse:
        return "more severe"
    impact, told = incident.group_impact_usd_per_day, incident.told_impact_usd_per_day or Decimal(0)
    if (
        impact is not None
        and impact >= GROWTH_TO_TELL_AGAIN * told
        and impact - told >= policy.worth_telling_usd_per_day
    ):
        return "grew by half"
    return None


def end_of_day(day: date) -> datetime:
    """The instant at which a UTC day is over."""
    return datetime.combine(day, time(), tzinfo=UTC) + timedelta(days=1)
