"""Token counts: scraped metric pages, and serving logs read in bulk."""

from datetime import UTC, datetime

import dagster as dg

from orchestration.metric_scrapes import scrape_all
from orchestration.settings import load_settings
from orchestration.usage_kinds import USAGE_KINDS, USAGE_TABLES, RawTable
from orchestration.warehouse import Warehouse, load_usage

_ROWS: dict[RawTable, str] = {
    "metric_samples": "Readings of counters and gauges.",
    "requests": "Calls, from request-level logs.",
    "engine_log_windows": "Statistics lines of engine logs.",
}


@dg.asset(
    key=["landing", "metrics"],
    group_name="landing",
    kinds={"python"},
    owners=["team:platform"],
    check_specs=[
        dg.AssetCheckSpec("every_endpoint_answered", asset=dg.AssetKey(["landing", "metrics"])),
    ],
)
def landing_metrics(context: dg.AssetExecutionContext):
    """One /metrics page per endpoint that ledger.yaml gives as a url, scraped by the run itself."""
    outcome = scrape_all(load_settings(), now=datetime.now(UTC))
    for failure in outcome.failures:
        context.log.warning(failure)
    yield dg.MaterializeResult(metadata={"scraped": outcome.scraped, "failed": len(outcome.failures)})
    yield dg.AssetCheckResult(
        check_name="every_endpoint_answered",
        passed=not outcome.failures,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(outcome.failures) or f"{outcome.scraped} endpoints",
    )


def _usage_asset(table: RawTable, deps: list[dg.AssetKey]) -> dg.AssetsDefinition:
    key = dg.AssetKey(["raw", table])

    @dg.asset(
        key=key,
        description=f"{_ROWS[table]} The new and changed files are read, and each file's rows replaced whole.",
        group_name="raw",
        kinds={"python", "duckdb"},
        owners=["team:platform"],
        deps=deps,
        check_specs=[
            dg.AssetCheckSpec(
                "files_pass_gate",
                asset=key,
                description="Each new file was read whole and passed Great Expectations; a refused one is left out.",
            )
        ],
    )
    def raw_usage(context: dg.AssetExecutionContext):
        settings = load_settings()
        now = datetime.now(UTC)
        with Warehouse(settings.warehouse_path).connect() as con:
            results = {
                source.name: load_usage(con, source, settings, now=now, work_dir=settings.data_dir / "tmp")
                for source in settings.ledger.usage
                if USAGE_KINDS[source.kind].table == table
            }
        failures = [failure for result in results.values() for failure in result.failures]
        problems = [problem for result in results.values() for problem in result.problems]
        for name, result in results.items():
            context.log.info(
                f"{name}: {result.record_count} rows from {result.file_count} new or changed files, "
                f"{result.rejected_count} rejected"
            )
        yield dg.MaterializeResult(
            metadata={
                "files": sum(result.file_count for result in results.values()),
                "unchanged_files": sum(result.unchanged_file_count for result in results.values()),
                "partial_files": sum(result.partial_file_count for result in results.values()),
                "records": sum(result.record_count for result in results.values()),
                "rejected": sum(result.rejected_count for result in results.values()),
            }
        )
        yield dg.AssetCheckResult(
            check_name="files_pass_gate",
            passed=not failures and not problems,
            severity=dg.AssetCheckSeverity.ERROR if failures else dg.AssetCheckSeverity.WARN,
            description="; ".join(failures + problems) or "every new file is in",
        )

    return raw_usage


raw_metric_samples = _usage_asset(
    "metric_samples", [dg.AssetKey(["landing", "metrics"]), dg.AssetKey(["landing", "prometheus"])]
)
raw_requests = _usage_asset("requests", [])
raw_engine_log_windows = _usage_asset("engine_log_windows", [])
raw_usage_files = dg.AssetSpec(
    ["raw", "usage_files"],
    description="One row per log or scrape file read; written with the rows of the file.",
    group_name="raw",
    deps=[["raw", table] for table in USAGE_TABLES],
)
