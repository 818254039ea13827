"""An answer of Oracle's price list, written by us: the smallest price source there is, for tests of landing."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from orchestration.price_feeds import land_replay
from orchestration.settings import Settings
from scrapers.landing import LandedEntry

FIRST_DAY = datetime(2026, 10, 1, 6, tzinfo=UTC)


def oci_answer(prices: Mapping[str, object], currency: str = "USD") -> bytes:
    """The cetools product list with GPU parts at the given prices."""
    items = [
        {
            "partNumber": part,
            "displayName": f"OCI - Compute - GPU - {part}",
            "metricName": "GPU Per Hour",
            "serviceCategory": "Compute - GPU",
            "currencyCodeLocalizations": [
                {"currencyCode": currency, "prices": [{"model": "PAY_AS_YOU_GO", "value": price}]}
            ],
        }
        for part, price in prices.items()
    ]
    return json.dumps({"lastUpdated": "2026-10-01T14:18:05.193Z", "items": items}).encode()


def land(settings: Settings, day: int, prices: dict[str, str]) -> LandedEntry:
    """Lands a list of `prices` by part number, fetched on a day of October; a price of -1 is rejected."""
    path = settings.root / "answer.json"
    path.write_bytes(oci_answer({part: float(price) for part, price in prices.items()}))
    return land_replay(settings, "oci", "products", [path], FIRST_DAY + timedelta(days=day - 1))
