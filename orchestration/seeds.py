"""What Python has to know of the seeds in dbt/seeds. Their meaning is in SQL; see docs/architecture.md."""

import csv

from orchestration.settings import DBT_DIR

REPORTING_CURRENCY = "USD"
ANY_CURRENCY = "any"  # of a source whose every record says its own, on purpose


def seed_rows(name: str) -> list[dict[str, str]]:
    """Returns the rows of `dbt/seeds/<name>.csv`."""
    with (DBT_DIR / "seeds" / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def declared_currency(source: str) -> str:
    """Returns the currency in which `source` states its prices; USD for one that the seed does not list."""
    return next(
        (row["declared_currency"] for row in seed_rows("price_sources") if row["source"] == source), REPORTING_CURRENCY
    )
