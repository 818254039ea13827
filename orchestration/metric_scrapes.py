"""Scrapes of the /metrics endpoints that ledger.yaml gives as a url, landed where the reader of scrape files looks."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from orchestration.settings import Settings
from scrapers.errors import ScrapeError
from scrapers.usage.prometheus import land_scrape, scrape


@dataclass(frozen=True, slots=True)
class ScrapeOutcome:
    """How many endpoints answered, and one sentence per endpoint that did not."""

    scraped: int
    failures: list[str]


def scrape_all(settings: Settings, *, now: datetime) -> ScrapeOutcome:
    """Scrapes every url of the usage section once; one that is down stops nothing."""
    scraped = 0
    failures = []
    for source in settings.ledger.usage:
        if source.url is None or source.kind != "metrics":
            continue
        try:
            page = scrape(source.url)
        except ScrapeError as error:
            failures.append(f"{source.name}: {error}")
            continue
        land_scrape(settings.landing_dir, source.name, urlsplit(source.url).netloc, now, page)
        scraped += 1
    return ScrapeOutcome(scraped, failures)
