"""Exchange rates: asked for only while a listed price source does not state its prices in dollars."""

from datetime import datetime, timedelta

import duckdb

from orchestration.price_feeds import read_overrides
from orchestration.seeds import REPORTING_CURRENCY, declared_currency
from orchestration.settings import Settings
from orchestration.warehouse import LoadResult, known_fetches, load_rate_entry
from scrapers.errors import DamagedLandingError, ScrapeError
from scrapers.fx.ecb import DAILY, ECB, HISTORY, ParsedRates
from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, parse_snapshot, pull_dataset

# After a longer pause days may be missing between the newest landed file and today's: the history is fetched again.
HISTORY_AFTER = timedelta(days=4)


def currencies_to_convert(settings: Settings, *, now: datetime) -> set[str]:
    """Returns the currencies other than the dollar in which what `ledger.yaml` lists states its prices."""
    skipped = settings.skipped_price_sources()
    declared = {declared_currency(name) for name in settings.enabled_price_sources() if name not in skipped}
    overrides, _ = read_overrides(settings, at=now)
    written = {record.price_currency for parsed in overrides for record in parsed.records}
    return (declared | written) - {REPORTING_CURRENCY}


def pull_rates(settings: Settings, *, now: datetime) -> LandedEntry:
    """Lands the last day's rates, or those of 90 days at first and after a pause."""
    landing = Landing(settings.landing_dir)
    options = SourceOptions(base_url=settings.ledger.prices.exchange_rates.base_url)
    client = HttpClient(ECB.hosts(options), contact=settings.ledger.prices.contact)
    confirmed = [
        entry.fetched_at for entry in landing.entries(ECB.name, damaged=[]) if entry.kind is not EntryKind.FAILED
    ]
    is_recent = bool(confirmed) and now - max(confirmed) <= HISTORY_AFTER
    return pull_dataset(ECB, DAILY if is_recent else HISTORY, options, landing, now=now, client=client)


def load_rates(con: duckdb.DuckDBPyConnection, settings: Settings) -> list[LoadResult]:
    """Loads the landed rate files that the warehouse does not hold yet, oldest first."""
    landing = Landing(settings.landing_dir)
    known = known_fetches(con, ECB.name)
    damaged: list[DamagedLandingError] = []
    entries = landing.entries(ECB.name, damaged=damaged)
    results = [LoadResult.damaged(ECB.name, error) for error in damaged]
    for entry in entries:
        if entry.entry_id in known:
            continue
        parsed, unreadable = _parse(landing, entry)
        landing_path = entry.path.relative_to(settings.data_dir).as_posix()
        results.append(load_rate_entry(con, entry, parsed, landing_path=landing_path, unreadable=unreadable))
    return results


def _parse(landing: Landing, entry: LandedEntry) -> tuple[ParsedRates | None, str | None]:
    if entry.kind is not EntryKind.SNAPSHOT:
        return None, None
    try:
        return parse_snapshot(ECB, landing.open_snapshot(entry)), None
    except ScrapeError as error:
        return None, str(error)
