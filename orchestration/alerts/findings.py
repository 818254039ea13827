"""Where findings come from: the table int_alert_candidates, and what the run itself says."""

from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from orchestration.alerts.incidents import Finding, Kind, Policy, Severity
from orchestration.seeds import seed_rows

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class RunFailures:
    """What went wrong in one run: names and reasons. A check names its asset, `raw/requests: files_pass_gate`."""

    steps: tuple[tuple[str, str], ...] = ()
    checks: tuple[tuple[str, str], ...] = ()


def load_policy() -> Policy:
    """The seeds alert_kinds and alert_severities."""
    return Policy(
        kinds={
            row["kind"]: Kind(
                name=row["kind"],
                title=row["title"],
                floor=Severity.of(row["severity_floor"]),
                cap=Severity.of(row["severity_cap"]),
                when_unknown=Severity.of(row["severity_when_unknown"]),
                page_after_hours=Decimal(row["page_after_hours"]) if row["page_after_hours"] else None,
                advice=row["advice"],
            )
            for row in seed_rows("alert_kinds")
        },
        min_usd_per_day={
            Severity.of(row["severity"]): Decimal(row["min_usd_per_day"]) for row in seed_rows("alert_severities")
        },
    )


def candidates(con: "duckdb.DuckDBPyConnection") -> tuple[date, list[Finding]]:
    """The last day of the marts, and all that they found."""
    day = con.execute("select as_of_date from raw.ledger_run").fetchone()
    if day is None:
        raise LookupError("the warehouse does not say which run it holds")
    names = [field.name for field in fields(Finding)]
    rows = con.execute(f"select {', '.join(names)} from intermediate.int_alert_candidates").fetchall()
    return day[0], [Finding(**dict(zip(names, row, strict=True))) for row in rows]


def run_findings(
    failures: RunFailures, *, is_published: bool, published_at: datetime | None, now: datetime
) -> list[Finding]:
    """What a run that is over has to tell.

    Args:
        failures: of the run.
        is_published: whether it published.
        published_at: when what readers see was published, by whichever run; None where nothing ever was.
        now: the present.
    """
    age = None if published_at is None else Decimal(int((now - published_at).total_seconds())) / 3600
    found = [
        Finding(
            kind="check_failed",
            rule_id="check_failed",
            subject=name,
            feed=_feed(name),
            headline=f"Check {name} failed",
            explanation=reason,
            first_seen_at=now,
            last_seen_at=now,
        )
        for name, reason in failures.checks
    ]
    found += [
        Finding(
            kind="step_failed",
            rule_id="step_failed",
            subject=name,
            group_key="run",
            headline=f"Step {name} failed",
            explanation=reason,
            blocked_hours=age,
            first_seen_at=now,
            last_seen_at=now,
        )
        for name, reason in failures.steps
    ]
    if not is_published:
        found.append(
            Finding(
                kind="not_published",
                rule_id="not_published",
                subject="published",
                group_key="run",
                headline="Nothing was published"
                + (f" since {published_at:%Y-%m-%d %H:%M} UTC" if published_at else " yet"),
                explanation="; ".join(reason for _, reason in failures.steps),
                blocked_hours=age,
                first_seen_at=now,
                last_seen_at=now,
            )
        )
    return found


def _feed(check: str) -> str:
    """The price source a check is about: its failing is no news while the source is known to be faulty."""
    asset, _, name = check.partition(": ")
    for text, ending in ((asset.removeprefix("landing/"), "_prices"), (name, "_passes_gate")):
        if text.endswith(ending):
            return text.removesuffix(ending)
    return ""
