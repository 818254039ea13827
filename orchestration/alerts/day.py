"""What a day does with alerts: findings of the marts, then of the run, then delivery. The caller brings the clock."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from orchestration.alerts.delivery import Delivery, deliver
from orchestration.alerts.findings import RunFailures, candidates, load_policy, run_findings
from orchestration.alerts.incidents import Evaluation, Finding, Incident, Policy
from orchestration.alerts.ledger import AlertLedger
from orchestration.alerts.messages import Facts, text, title
from orchestration.publication import open_published
from orchestration.settings import Settings
from orchestration.warehouse import write_alerts

if TYPE_CHECKING:
    import duckdb


def look_at_marts(settings: Settings, con: "duckdb.DuckDBPyConnection", *, now: datetime) -> Evaluation:
    """Takes up what the marts found, and mirrors all incidents into the warehouse for fct_alerts."""
    day, findings = candidates(con)
    ledger, policy = AlertLedger(settings.alerts_dir), load_policy()
    found = _record(settings, findings, scope="marts", day=day, now=now, policy=policy)
    write_alerts(con, incident_rows(ledger, policy))
    return found


def look_at_run(
    settings: Settings, failures: RunFailures, *, is_published: bool, day: date, now: datetime
) -> Evaluation:
    """Takes up what went wrong in a run that is over, and writes the sign of life of one that published."""
    facts, published_at = published_facts(settings)
    findings = run_findings(failures, is_published=is_published, published_at=published_at, now=now)
    found = _record(settings, findings, scope="run", day=day, now=now, policy=load_policy())
    if is_published and facts is not None:
        AlertLedger(settings.alerts_dir).enqueue_daily(facts, settings.ledger.alerts.channels, now)
    return found


def deliver_alerts(settings: Settings) -> Delivery:
    """Sends what is due to the channels of ledger.yaml."""
    channels = settings.ledger.alerts.channels
    return deliver(AlertLedger(settings.alerts_dir), channels, settings.alert_addresses(), load_policy())


def published_facts(settings: Settings) -> tuple[Facts | None, datetime | None]:
    """What the published tables say of their last day, and when they were published; None where nothing is."""
    try:
        con = open_published(settings)
    except FileNotFoundError:
        return None, None
    with con:
        row = con.execute(
            """
            select
                as_of_date,
                published_at,
                (select count(*) from fct_source_freshness where status = 'fresh') as fresh,
                (select count(*) from fct_source_freshness) as sources,
                (
                    select sum(cost_usd) from fct_inference_costs_hourly as costs
                    where costs.usage_date = ledger_run.as_of_date
                ) as cost_usd,
                (
                    select sum(total_tokens) from fct_inference_costs_hourly as costs
                    where costs.usage_date = ledger_run.as_of_date
                ) as tokens
            from ledger_run
            """
        ).fetchone()
    if row is None:
        return None, None
    day, published_at, fresh, sources, cost, tokens = row
    unit = Decimal(cost) / Decimal(int(tokens)) * 1_000_000 if cost is not None and tokens else None
    return Facts(day, fresh, sources, cost, unit), published_at


def incident_rows(ledger: AlertLedger, policy: Policy) -> list[Sequence[object]]:
    """Every incident as a row of raw.alert_incidents."""
    incidents, deliveries = ledger.incidents(), ledger.deliveries()
    rows: list[Sequence[object]] = []
    for one in sorted(incidents.values(), key=lambda incident: incident.fingerprint):
        finding = one.finding
        members = [incidents[child] for child in one.children if child in incidents]
        delivered_at, channels, problem = deliveries.get(one.fingerprint, (None, [], ""))
        rows.append(
            (
                one.fingerprint,
                finding.kind,
                finding.rule_id,
                finding.subject,
                finding.segment,
                finding.direction,
                finding.cause,
                one.severity.word,
                str(one.state),
                one.parent or None,
                len(members),
                finding.finding_count,
                one.group_impact_usd_per_day,
                finding.exposed_usd_per_day,
                title(one),
                text(one, members, policy),
                finding.evidence_sql or None,
                finding.first_seen_at,
                finding.last_seen_at,
                one.opened_at,
                one.resolved_at,
                one.reopened_count,
                one.acknowledged_at,
                one.acknowledged_by or None,
                one.muted_until,
                one.muted_by or None,
                one.note or None,
                one.told_at,
                one.told_count,
                delivered_at,
                ", ".join(channels) or None,
                problem.removesuffix("; ") or None,
            )
        )
    return rows


def _record(
    settings: Settings, findings: list[Finding], *, scope: str, day: date, now: datetime, policy: Policy
) -> Evaluation:
    alerts = settings.ledger.alerts
    return AlertLedger(settings.alerts_dir).record(
        findings,
        scope=scope,
        day=day,
        now=now,
        policy=policy,
        channels=alerts.channels,
        expected=[change.window() for change in alerts.expected_changes],
    )


def open_roots(incidents: dict[str, Incident]) -> list[Incident]:
    """What stands open and speaks for itself, the loudest and dearest first."""
    return sorted(
        (one for one in incidents.values() if one.is_open and not one.parent),
        key=lambda one: (-one.severity, -one.money, one.finding.headline),
    )
