"""Quiet days: how much a fleet with nothing wrong is told.

The noise goes through the real incidents, ledger and outbox. Its rates are those of a real world in which nobody has to
act, each with its source; where one is a guess it is a high one. What is simulated are findings, one row of
int_alert_candidates each: the SQL that makes them is not run.
"""

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from orchestration.alerts.incidents import Finding, Policy, Severity
from orchestration.alerts.ledger import AlertLedger
from orchestration.alerts.messages import Facts

FIRST_DAY = date(2025, 1, 6)  # a Monday
PAGES_A_WEEK, WARNINGS_A_WEEK = 1, 5

SOURCES = ("aws", "azure", "gcp", "oci", "runpod", "lambda_cloud")
MODELS = tuple(f"model-{number}" for number in range(40))
# A fetch that fails: 5 % of days per source (the flaky feeds of the soak test); it is stale after 48 hours only.
FLAKY_FETCH = 0.05
# List prices moved at 9 of 289 snapshots of 4.5 years of Google history, 3 of them genuine: about 2 dates a year.
LIST_PRICE_MOVE = 9 / (4.5 * 365)
# Spot prices changed at 34 dates in 28 months there, most by less than what is a finding.
SPOT_PRICE_MOVE = 34 / (28 * 30.4)
# Drift is calibrated for 1,000 days between false alarms of a series.
DRIFT_FALSE_ALARM = 1 / 1000
# New hardware and regions: a word a source and month.
NEW_WORD = 1 / 30
# A name nobody mapped: one a week.
NEW_NAME = 1 / 7
# A file cut while it was written, and read again the day after: one a week.
FAILED_CHECK = 1 / 7
# The run itself fails once in 200 days (published by 06:00 on 99.5 % of days).
FAILED_RUN = 0.005


@dataclass(slots=True)
class Told:
    """What came out: messages by ISO week and severity."""

    days: int
    seed: int
    finding_count: int
    by_week: dict[date, Counter[str]]
    heartbeats: int
    digests: int


@dataclass(frozen=True, slots=True)
class _Channel:
    name: str = "simulated"
    least: Severity = Severity.WARNING
    takes_heartbeat: bool = True
    takes_digest: bool = True

    def due_at(self, now: datetime, severity: Severity) -> datetime:
        return now


def simulate(days: int, *, seed: int, policy: Policy) -> Told:
    """Runs so many days in a folder that is thrown away."""
    chance = random.Random(seed)  # noqa: S311 - noise, no secret
    told = Told(days, seed, 0, {}, 0, 0)
    channel = _Channel()
    with tempfile.TemporaryDirectory() as folder:
        ledger = AlertLedger(Path(folder), is_durable=False)
        world = _World(chance)
        for number in range(days):
            day = FIRST_DAY + timedelta(days=number)
            now = datetime.combine(day + timedelta(days=1), time(5, 30), tzinfo=UTC)
            marts, run = world.findings(day, now)
            told.finding_count += len(marts) + len(run)
            week = day - timedelta(days=day.weekday())
            counts = told.by_week.setdefault(week, Counter())
            for scope, findings in (("marts", marts), ("run", run)):
                found = ledger.record(findings, scope=scope, day=day, now=now, policy=policy, channels=(channel,))
                counts.update(notice.incident.severity.word for notice in found.notices)
            ledger.enqueue_daily(Facts(day, len(SOURCES), len(SOURCES), Decimal(2000), Decimal(2)), (channel,), now)
            for row in ledger.due((channel.name,), now, longest_wait=timedelta(hours=1)):
                told.heartbeats += row.message_key.startswith("heartbeat-")
                told.digests += row.message_key.startswith("digest-")
                ledger.note_attempt(row, None, now=now, wait=timedelta(0))
    return told


def report(told: Told) -> tuple[list[str], bool]:
    """Lines for a person, and whether the budget is kept in every week."""
    pages = [counts["page"] for counts in told.by_week.values()]
    warnings = [counts["warning"] for counts in told.by_week.values()]
    is_quiet = max(pages) <= PAGES_A_WEEK and max(warnings) <= WARNINGS_A_WEEK
    return [
        f"{told.days} quiet days, seed {told.seed}: {told.finding_count} findings in {len(told.by_week)} weeks",
        f"pages     {sum(pages):4d}   most in a week {max(pages)}, allowed {PAGES_A_WEEK}",
        f"warnings  {sum(warnings):4d}   most in a week {max(warnings)}, allowed {WARNINGS_A_WEEK}",
        f"signs of life {told.heartbeats}, weekly digests {told.digests}",
        "within the budget" if is_quiet else "over the budget",
    ], is_quiet


class _World:
    """Sources that flicker, prices that move, series that seem to drift: nothing that anybody has to do."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.silent_days = dict.fromkeys(SOURCES, 0)
        self.spend = {source: Decimal(chance.randint(0, 3000)) for source in SOURCES}
        self.model_spend = {model: Decimal(chance.randint(20, 800)) for model in MODELS}
        self.lasting: list[tuple[date, Finding]] = []  # last day, finding

    def findings(self, day: date, now: datetime) -> tuple[list[Finding], list[Finding]]:
        """What the marts and what the run found on a day."""
        for finding, days in self._new(day, now):
            self.lasting.append((day + timedelta(days=days - 1), finding))
        self.lasting = [(last, finding) for last, finding in self.lasting if last >= day]
        return [*self._stale(now), *(finding for _, finding in self.lasting)], list(self._run(now))

    def _happens(self, probability: float) -> bool:
        return self.chance.random() < probability

    def _stale(self, now: datetime) -> Iterator[Finding]:
        for source in SOURCES:
            self.silent_days[source] = self.silent_days[source] + 1 if self._happens(FLAKY_FETCH) else 0
            if (hours := 24 * self.silent_days[source]) > 48:
                yield _finding(
                    now,
                    "source_stale",
                    source,
                    group_key="sources|price|failed",
                    feed=source,
                    is_feed_fault=True,
                    exposed_usd_per_day=self.spend[source],
                    blocked_hours=Decimal(hours),
                )

    def _new(self, day: date, now: datetime) -> Iterator[tuple[Finding, int]]:
        chance = self.chance
        for source in SOURCES:
            if self._happens(LIST_PRICE_MOVE):
                # The genuine cuts of that history were -3 % to -44 %, on one or two machine types.
                moved = self.spend[source] * Decimal(chance.randint(3, 44)) / 100 / 4
                yield _price(now, source, "list_price_jumped", "on_demand", "down", moved), 3
            if self._happens(SPOT_PRICE_MOVE):
                moved = self.spend[source] * Decimal(chance.randint(1, 15)) / 100 / 4
                yield _price(now, source, "spot_price_jumped", "spot", chance.choice(("up", "down")), moved), 3
            if self._happens(NEW_WORD):
                found = _finding(now, "price_words_unmapped", source, segment="gpu_name", impact_usd_per_day=Decimal(0))
                yield found, chance.randint(5, 60)
        for model, spend in self.model_spend.items():
            if self._happens(DRIFT_FALSE_ALARM):
                found = _finding(
                    now,
                    "cost_drift",
                    model,
                    direction=chance.choice(("up", "down")),
                    cause="utilization",
                    impact_usd_per_day=spend * Decimal(chance.randint(10, 25)) / 100,
                )
                yield found, chance.randint(1, 5)
        if self._happens(NEW_NAME):
            found = _finding(now, "names_unmapped", "gateway", segment="model", impact_usd_per_day=Decimal(0))
            yield found, chance.randint(1, 20)

    def _run(self, now: datetime) -> Iterator[Finding]:
        if self._happens(FAILED_CHECK):
            yield _finding(now, "check_failed", "raw/requests: files_pass_gate")
        if self._happens(FAILED_RUN):
            yield _finding(now, "not_published", "published", blocked_hours=Decimal(24))


def _price(now: datetime, source: str, rule: str, option: str, direction: str, moved: Decimal) -> Finding:
    cause = "the provider moved its price"
    return replace(
        _finding(now, "price_moved", source, segment=option, direction=direction, cause=cause),
        rule_id=rule,
        group_key=f"price|{source}|{cause}",
        impact_usd_per_day=moved,
    )


def _finding(now: datetime, kind: str, subject: str, **more: Any) -> Finding:
    """A finding of a rule that is called as its kind."""
    return Finding(kind, kind, subject, f"{kind} of {subject}", first_seen_at=now, last_seen_at=now, **more)
