"""ledger.yaml in the raw room, and the window of the run."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from orchestration.exchange_rates import currencies_to_convert
from orchestration.settings import load_settings
from orchestration.usage_archive import delete_archived_records, read_archive
from orchestration.warehouse import Warehouse, write_ledger, write_run
from scrapers.fx.ecb import ECB
from scrapers.overrides import OVERRIDES

LEDGER_TABLES = (
    "ledger_deployments",
    "ledger_commitments",
    "ledger_usage_routes",
    "ledger_price_sources",
    "ledger_inventory_sources",
    "ledger_billing_sources",
    "ledger_deployment_pods",
    "ledger_model_names",
    "ledger_tenants",
    "ledger_latency_targets",
    "usage_archive",
)


@dg.multi_asset(
    name="raw__ledger",
    specs=[
        dg.AssetSpec(["raw", table], group_name="raw", kinds={"python", "duckdb"}, owners=["team:platform"])
        for table in LEDGER_TABLES
    ],
)
def raw_ledger(context: dg.AssetExecutionContext):
    """One row per entry of ledger.yaml, and the days whose usage is archived; replaced whole."""
    settings = load_settings()
    also_listed = [OVERRIDES.name] if settings.ledger.prices.overrides else []
    also_listed += [ECB.name] if currencies_to_convert(settings, now=datetime.now(UTC)) else []
    with Warehouse(settings.warehouse_path).connect() as con:
        write_ledger(con, settings, also_listed=also_listed)
    is_archived = read_archive(settings) is not None
    counts = {
        "ledger_deployments": len(settings.ledger.fleet),
        "ledger_commitments": len(settings.ledger.commitments),
        "ledger_latency_targets": len(settings.ledger.latency_targets),
        "ledger_usage_routes": sum(len(source.routes()) for source in settings.ledger.usage),
        "ledger_price_sources": len(settings.ledger.prices.sources) + len(also_listed),
        "ledger_inventory_sources": len(settings.ledger.inventory),
        "ledger_billing_sources": len(settings.ledger.billing),
        "ledger_deployment_pods": sum(
            max(len(entry.pods.labels), 1) for entry in settings.ledger.fleet if entry.pods is not None
        ),
        "ledger_model_names": sum(len(model.names()) for model in settings.ledger.models),
        "ledger_tenants": sum(len(tenant.patterns()) for tenant in settings.ledger.tenants),
        "usage_archive": int(is_archived),
    }
    for table, count in counts.items():
        yield dg.MaterializeResult(["raw", table], metadata={"dagster/row_count": count})


class RunConfig(dg.Config):
    """Which day the marts end with."""

    date: str = ""  # YYYY-MM-DD, UTC; empty for yesterday


@dg.asset(
    key=["raw", "ledger_run"],
    op_tags={"dagster/priority": "-1"},
    group_name="raw",
    kinds={"python", "duckdb"},
    owners=["team:platform"],
    deps=[
        ["raw", table]
        for table in (
            *LEDGER_TABLES,
            "price_records",
            "metric_samples",
            "requests",
            "inventory_snapshots",
            "billing_lines",
        )
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "no_archived_day_is_read",
            asset=["raw", "ledger_run"],
            description="Logs of days whose usage is archived change nothing; what was read of them is dropped.",
        )
    ],
)
def raw__ledger_run(context: dg.AssetExecutionContext, config: RunConfig):
    """One row: the run, its last day, and the first day it rebuilds (what changed, and at least three days)."""
    settings = load_settings()
    now = datetime.now(UTC)
    as_of = date.fromisoformat(config.date) if config.date else now.date() - timedelta(days=1)
    with Warehouse(settings.warehouse_path).connect() as con:
        window_start = write_run(
            con,
            run_id=context.run_id,
            started_at=now,
            as_of_date=as_of,
            close_after_days=settings.ledger.close_after_days,
        )
        archive = read_archive(settings)
        dropped = delete_archived_records(con, archive.archived_until) if archive else 0
    yield dg.MaterializeResult(
        metadata={"as_of_date": str(as_of), "window_start_date": str(window_start), "dagster/row_count": 1}
    )
    yield dg.AssetCheckResult(
        check_name="no_archived_day_is_read",
        passed=not dropped,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{dropped} records of days before {archive.archived_until} were dropped: their usage is archived"
        if archive and dropped
        else "none",
    )
