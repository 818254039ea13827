"""Small findings and channels for the tests of alerts."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from orchestration.alerts.incidents import Finding, Kind, Policy, Severity

DAY = date(2026, 11, 22)


def morning(day: date = DAY) -> datetime:
    """When the run of a day ends: the day after, half past five."""
    return datetime.combine(day + timedelta(days=1), time(5, 30), tzinfo=UTC)


def kind(name: str, floor: str = "info", cap: str = "page", unknown: str = "info", hours: int | None = None) -> Kind:
    return Kind(
        name,
        name.capitalize(),
        Severity.of(floor),
        Severity.of(cap),
        Severity.of(unknown),
        None if hours is None else Decimal(hours),
        "Look at it.",
    )


POLICY = Policy(
    kinds={
        one.name: one
        for one in (
            kind("money"),
            kind("quiet", cap="info"),
            kind("source_stale", unknown="warning", hours=48),
            kind("channel_dead", floor="warning", hours=48),
            kind("ledger_lost", floor="warning", cap="warning"),
        )
    },
    min_usd_per_day={Severity.PAGE: Decimal(1000), Severity.WARNING: Decimal(25), Severity.INFO: Decimal(0)},
)


def finding(subject: str = "aws", usd: str | int | None = 100, **more: Any) -> Finding:
    """Something that costs so many USD a day."""
    values: dict[str, Any] = {
        "kind": "money",
        "rule_id": "rule",
        "subject": subject,
        "headline": f"Cost of {subject} moved",
        "first_seen_at": morning(),
        "last_seen_at": morning(),
        "impact_usd_per_day": None if usd is None else Decimal(usd),
    }
    return Finding(**{**values, **more})


@dataclass(frozen=True)
class AnyChannel:
    """A channel without quiet hours."""

    name: str = "team"
    least: Severity = Severity.WARNING
    takes_heartbeat: bool = True
    takes_digest: bool = True

    def due_at(self, now: datetime, severity: Severity) -> datetime:
        return now
