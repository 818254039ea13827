"""Price snapshots: one landing asset per source, each in its own guard, and the raw tables they feed."""

from datetime import UTC, datetime

import dagster as dg

from orchestration.price_feeds import land_bundled, load_landed, pull_live
from orchestration.settings import load_settings
from orchestration.warehouse import Warehouse
from scrapers.prices.registry import PRICE_SOURCES

PRICE_RECORDS = dg.AssetKey(["raw", "price_records"])


def landing_key(source: str) -> dg.AssetKey:
    """The asset of what one source answered."""
    return dg.AssetKey(["landing", f"{source}_prices"])


def _landing_asset(name: str) -> dg.AssetsDefinition:
    source = PRICE_SOURCES[name]
    key = landing_key(name)

    @dg.asset(
        name=f"{name}_prices",
        key_prefix="landing",
        description=f"Exact answers of {source.title}, immutable; a whole snapshot or nothing.\n\n{source.docs}",
        group_name="landing",
        kinds={"python"},
        owners=["team:platform"],
        check_specs=[
            dg.AssetCheckSpec(
                "answered_today",
                asset=key,
                description="The source answered; else its last good prices stay in force.",
            )
        ],
    )
    def landed(context: dg.AssetExecutionContext):
        settings = load_settings()
        if name not in settings.enabled_price_sources():
            yield dg.MaterializeResult(metadata={"outcome": "not in ledger.yaml"})
            yield dg.AssetCheckResult(check_name="answered_today", passed=True, description="not in ledger.yaml")
            return
        now = datetime.now(UTC)
        bundled = land_bundled(settings, name)
        pulls = pull_live(settings, name, now=now)
        failed = [pull for pull in pulls if pull.message is not None]
        for pull in failed:
            context.log.warning(f"{pull.source} {pull.dataset}: {pull.message}")
        answered = settings.why_skipped(name) or "live"
        yield dg.MaterializeResult(
            metadata={
                "outcome": "carried_forward" if failed else answered,
                "datasets": len(pulls),
                "failed_datasets": len(failed),
                "bundled_snapshots": bundled,
                "fetched_at": now.isoformat(timespec="seconds"),
                "snapshot_ids": [pull.snapshot_id or "none" for pull in pulls],
            }
        )
        yield dg.AssetCheckResult(
            check_name="answered_today",
            passed=not failed,
            severity=dg.AssetCheckSeverity.ERROR,
            description="; ".join(f"{pull.dataset}: {pull.message}" for pull in failed) or answered,
        )

    return landed


landing_assets = [_landing_asset(name) for name in PRICE_SOURCES]


class LoadConfig(dg.Config):
    """How strictly snapshots are taken."""

    accept_smaller: list[str] = []  # sources whose snapshot may be much smaller than the last good one


@dg.multi_asset(
    name="raw__price_records",
    specs=[
        dg.AssetSpec(
            ["raw", table],
            deps=[landing_key(name) for name in PRICE_SOURCES],
            group_name="raw",
            kinds={"python", "duckdb"},
            owners=["team:platform"],
        )
        for table in ("source_fetches", "price_records", "rejected_records")
    ],
    check_specs=[
        dg.AssetCheckSpec(
            f"{name}_passes_gate",
            asset=PRICE_RECORDS,
            description="Great Expectations let the new snapshots in; a refused one leaves the last good one in force.",
        )
        for name in PRICE_SOURCES
    ],
)
def raw_price_records(context: dg.AssetExecutionContext, config: LoadConfig):
    """One row per published price of each snapshot that passed the gate; a re-run loads only what is not in yet."""
    settings = load_settings()
    with Warehouse(settings.warehouse_path).connect() as con:
        for name in PRICE_SOURCES:
            results = load_landed(con, settings, name, accept_smaller=name in config.accept_smaller)
            loaded = [result for result in results if result.outcome == "loaded"]
            refused = [result for result in results if result.outcome == "refused"]
            for result in refused:
                context.log.warning(f"refused {result.fetch_id}: {result.message}")
            yield dg.AssetCheckResult(
                asset_key=PRICE_RECORDS,
                check_name=f"{name}_passes_gate",
                passed=not refused,
                severity=dg.AssetCheckSeverity.ERROR,
                description="; ".join(str(result.message) for result in refused) or f"{len(loaded)} new snapshots",
                metadata={
                    "records": sum(result.record_count for result in loaded),
                    "rejected": sum(result.rejected_count for result in results),
                },
            )
        counts = {
            table: con.execute(f"select count(*) from raw.{table}").fetchone()[0]
            for table in ("source_fetches", "price_records", "rejected_records")
        }
    for table, count in counts.items():
        yield dg.MaterializeResult(["raw", table], metadata={"dagster/row_count": count})
