"""The clouds' bills, month by month."""

from datetime import UTC, datetime

import dagster as dg

from orchestration.settings import load_settings
from orchestration.warehouse import Warehouse, load_bills

LINES = dg.AssetKey(["raw", "billing_lines"])
_TABLES = {
    "billing_lines": "One row per line of a bill, of the delivery in force. A month is replaced whole.",
    "billing_periods": "One row per bill and month whose lines are in force.",
    "billing_files": "One row per file of a bill that was read or refused.",
    "billing_restatements": "One row per month that was delivered again with other sums.",
}


@dg.multi_asset(
    name="raw__billing",
    specs=[
        dg.AssetSpec(
            ["raw", table],
            description=description,
            group_name="raw",
            kinds={"python", "duckdb"},
            owners=["team:platform"],
        )
        for table, description in _TABLES.items()
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "bills_are_whole",
            asset=LINES,
            description="Every file was read to its end; where not, its months stay as they were delivered before.",
        )
    ],
)
def raw_billing(context: dg.AssetExecutionContext):
    """One load per bill of ledger.yaml; one that cannot be read stops nothing."""
    settings = load_settings()
    now = datetime.now(UTC)
    with Warehouse(settings.warehouse_path).connect() as con:
        results = {source.name: load_bills(con, source, settings, now=now) for source in settings.ledger.billing}
    for name, result in results.items():
        context.log.info(
            f"{name}: {result.line_count} lines of {result.month_count} new or changed months, "
            f"{result.rejected_count} rejected"
        )
        for month in result.restated_months:
            context.log.info(f"{name}: {month:%Y-%m} was delivered again with other sums")
    loaded = list(results.values())
    for table in _TABLES:
        yield dg.MaterializeResult(
            ["raw", table],
            metadata={
                "files": sum(result.file_count for result in loaded),
                "months": sum(result.month_count for result in loaded),
                "lines": sum(result.line_count for result in loaded),
                "rejected": sum(result.rejected_count for result in loaded),
                "restated_months": sum(len(result.restated_months) for result in loaded),
            },
        )
    problems = [problem for result in loaded for problem in result.problems]
    yield dg.AssetCheckResult(
        asset_key=LINES,
        check_name="bills_are_whole",
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(problems) or "every file of every bill is in",
    )
