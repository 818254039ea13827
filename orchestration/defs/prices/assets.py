"""Price snapshots: one landing asset per source, each in its own guard, and the raw tables they feed."""

from datetime import UTC, datetime

import dagster as dg

from orchestration.exchange_rates import currencies_to_convert, load_rates, pull_rates
from orchestration.price_feeds import (
    PRICE_PARSERS,
    land_bundled,
    land_overrides,
    load_landed,
    pull_live,
    read_overrides,
)
from orchestration.settings import load_settings
from orchestration.warehouse import Warehouse
from scrapers.fx.ecb import ECB
from scrapers.overrides import OVERRIDES
from scrapers.prices.registry import PRICE_SOURCES

PRICE_RECORDS = dg.AssetKey(["raw", "price_records"])
LOADED_TABLES = (
    "source_fetches",
    "price_loads",
    "price_records",
    "price_restatements",
    "rejected_records",
    "pending_price_changes",
)
EXCHANGE_RATES = dg.AssetKey(["raw", "exchange_rates"])
LANDED_RATES = dg.AssetKey(["landing", "ecb_exchange_rates"])


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


@dg.asset(
    key=landing_key(OVERRIDES.name),
    description="Negotiated and page-only prices: the files that ledger.yaml names under prices: overrides.",
    group_name="landing",
    kinds={"python"},
    owners=["team:finance"],
    check_specs=[
        dg.AssetCheckSpec(
            "every_line_is_read",
            asset=landing_key(OVERRIDES.name),
            description="Each file was read and each of its lines is a price; bad lines are named and left out.",
        )
    ],
)
def landing_override_prices():
    """Lands each override file that changed, or of which a line began or ceased to hold."""
    settings = load_settings()
    now = datetime.now(UTC)
    entries = land_overrides(settings, now=now)
    _, problems = read_overrides(settings, at=now)
    yield dg.MaterializeResult(
        metadata={
            "outcome": "read" if settings.ledger.prices.overrides else "none in ledger.yaml",
            "snapshot_ids": [entry.snapshot_id or "none" for entry in entries],
        }
    )
    yield dg.AssetCheckResult(
        check_name="every_line_is_read",
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(problems) or f"{len(settings.ledger.prices.overrides)} files",
    )


@dg.asset(
    key=LANDED_RATES,
    description=f"{ECB.title}, exact answers; asked for while a listed source states its prices in another currency.",
    group_name="landing",
    kinds={"python"},
    owners=["team:platform"],
    check_specs=[
        dg.AssetCheckSpec(
            "answered_today",
            asset=LANDED_RATES,
            description="The ECB answered; else its last rates hold for a week.",
        )
    ],
)
def landing_ecb_exchange_rates():
    """Lands the rates of the last day, at first those of 90 days."""
    settings = load_settings()
    now = datetime.now(UTC)
    currencies = currencies_to_convert(settings, now=now)
    if not currencies:
        yield dg.MaterializeResult(metadata={"outcome": "all prices are in USD"})
        yield dg.AssetCheckResult(check_name="answered_today", passed=True, description="all prices are in USD")
        return
    entry = pull_rates(settings, now=now)
    yield dg.MaterializeResult(
        metadata={
            "outcome": str(entry.kind),
            "currencies": sorted(currencies),
            "newest_day": entry.change_key or "none",
            "snapshot_ids": [entry.snapshot_id or "none"],
        }
    )
    yield dg.AssetCheckResult(
        check_name="answered_today",
        passed=entry.message is None,
        severity=dg.AssetCheckSeverity.ERROR,
        description=entry.message or "live",
    )


@dg.asset(
    key=EXCHANGE_RATES,
    deps=[LANDED_RATES],
    group_name="raw",
    kinds={"python", "duckdb"},
    owners=["team:platform"],
    check_specs=[
        dg.AssetCheckSpec(
            "ecb_passes_gate",
            asset=EXCHANGE_RATES,
            description="Great Expectations let the new rates in; a refused file leaves the last good rates in force.",
        )
    ],
)
def raw_exchange_rates(context: dg.AssetExecutionContext):
    """One row per currency and day of each rate file that passed the gate."""
    settings = load_settings()
    with Warehouse(settings.warehouse_path).connect() as con:
        results = load_rates(con, settings)
        count = con.execute("select count(*) from raw.exchange_rates").fetchone()[0]
    refused = [result for result in results if result.outcome == "refused"]
    for result in refused:
        context.log.warning(f"refused {result.fetch_id}: {result.message}")
    yield dg.MaterializeResult(metadata={"dagster/row_count": count})
    yield dg.AssetCheckResult(
        check_name="ecb_passes_gate",
        passed=not refused,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(str(result.message) for result in refused) or f"{len(results)} new files",
    )


class LoadConfig(dg.Config):
    """How strictly snapshots are taken."""

    accept_smaller: list[str] = []  # sources whose snapshot may be much smaller than the last good one


@dg.multi_asset(
    name="raw__price_records",
    specs=[
        dg.AssetSpec(
            ["raw", table],
            # After the exchange rates, for both write raw.source_fetches.
            deps=[*(landing_key(name) for name in PRICE_PARSERS), EXCHANGE_RATES],
            group_name="raw",
            kinds={"python", "duckdb"},
            owners=["team:platform"],
        )
        for table in LOADED_TABLES
    ],
    check_specs=[
        dg.AssetCheckSpec(
            f"{name}_passes_gate",
            asset=PRICE_RECORDS,
            description="Great Expectations let the new snapshots in; a refused one leaves the last good one in force.",
        )
        for name in PRICE_PARSERS
    ],
)
def raw_price_records(context: dg.AssetExecutionContext, config: LoadConfig):
    """The prices of each snapshot that passed the gate, as versions; a re-run loads only what is not in yet."""
    settings = load_settings()
    with Warehouse(settings.warehouse_path).connect() as con:
        for name in PRICE_PARSERS:
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
        counts = {table: con.execute(f"select count(*) from raw.{table}").fetchone()[0] for table in LOADED_TABLES}
    for table, count in counts.items():
        yield dg.MaterializeResult(["raw", table], metadata={"dagster/row_count": count})
