"""Incidents: what the marts found, taken up by the alert ledger before the marts are published."""

import sqlite3
from datetime import UTC, datetime

import dagster as dg

from orchestration.alerts.day import look_at_marts
from orchestration.settings import load_settings
from orchestration.warehouse import Warehouse

INCIDENTS = dg.AssetKey(["alerts", "incidents"])

# Written by the asset below, which needs the marts that read it: for Dagster it is a thing of its own.
mirrored_incidents = dg.AssetSpec(
    ["alerts", "mirrored_incidents"],
    description="raw.alert_incidents: one row per incident, for the view fct_alerts.",
    group_name="alerts",
)


@dg.asset(
    key=INCIDENTS,
    group_name="alerts",
    kinds={"python", "sqlite"},
    owners=["team:finance"],
    deps=[dg.AssetKey(["intermediate", "int_alert_candidates"]), dg.AssetKey(["marts", "fct_alerts"])],
    check_specs=[
        dg.AssetCheckSpec(
            "findings_are_taken_up",
            asset=INCIDENTS,
            description="The alert ledger took up what was found; else the incidents of the last run are published.",
        )
    ],
)
def alerts_incidents(context: dg.AssetExecutionContext):
    """One row per incident in data/alerts, and what has to be told in its outbox. Nothing is sent here."""
    settings = load_settings()
    metadata, problem = {}, ""
    try:
        with Warehouse(settings.warehouse_path).connect() as con:
            found = look_at_marts(settings, con, now=datetime.now(UTC))
    except (sqlite3.Error, OSError) as error:  # a disk that is full must not keep the numbers from being published
        problem = f"{type(error).__name__}: {error}"
        context.log.warning(f"{settings.alerts_dir}: {problem}")
    else:
        is_open = [one for one in found.incidents.values() if one.is_open]
        metadata = {"dagster/row_count": len(found.incidents), "open": len(is_open), "to_tell": len(found.notices)}
    yield dg.MaterializeResult(metadata=metadata)
    yield dg.AssetCheckResult(
        check_name="findings_are_taken_up",
        passed=not problem,
        severity=dg.AssetCheckSeverity.ERROR,
        description=problem or "taken up",
    )
