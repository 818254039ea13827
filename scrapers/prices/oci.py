"""Oracle Cloud list prices, per GPU-hour.

Endpoint   GET https://apexapps.oracle.com/pls/apex/cetools/api/v1/products/?currencyCode=USD
Auth       none.
Paging     none: one answer of about 200 KB. `lastUpdated` names the version.
A row      one product ("part number") sold as GPU Per Hour. The price includes CPU and memory of the shape and is
           the same in every commercial region.
Unit       USD per GPU-hour, as stated by `metricName`.
Quirks     Names are free text with slips ("OCI- Compute", two blanks): only `partNumber` identifies. The category
           must be exactly "Compute - GPU": Compute Cloud@Customer lists an L40S at 0.6, a commitment for a machine at
           the customer's site; VMware rows are per node. Preemptible is a documented 50 % and is not in the list.
Verified   2026-11-23 against recordings of 2024-01-19 (complete) and 2026-10-01 (GPU rows), not live.
"""

import re
from decimal import Decimal
from typing import Any

from scrapers.errors import IncompleteSnapshotError
from scrapers.prices.base import Fetched, PriceSource, Pull, Unchanged, expect_list, json_payloads
from scrapers.records import (
    ParsedSnapshot,
    PriceRecord,
    Reason,
    RecordCollector,
    RejectedValueError,
    price,
    text,
)
from scrapers.snapshot import Snapshot

_GPU_METRIC, _GPU_CATEGORY = "GPU Per Hour", "Compute - GPU"
_LIST_MODEL = "PAY_AS_YOU_GO"


class Oci(PriceSource):
    """Oracle's public product list."""

    name = "oci"
    title = "Oracle Cloud Infrastructure price list"
    docs = "https://docs.oracle.com/en-us/iaas/Content/Billing/Tasks/signingup_topic-Estimating_Costs.htm"
    base_url = "https://apexapps.oracle.com"
    dataset = "products"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Fetch the list; `lastUpdated` becomes the change key."""
        answer = pull.client.get(pull.url("/pls/apex/cetools/api/v1/products/"), params={"currencyCode": "USD"})
        page = pull.json(answer)
        if not expect_list(page, "items", place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'items' is empty; fetch it again")
        pull.keep(answer)
        updated = page.get("lastUpdated")
        return Fetched(change_key=updated if isinstance(updated, str) else None)

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per GPU part number."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, item in enumerate(expect_list(value, "items", place=payload.name), start=1):
                location = f"{payload.name} item {number}"
                with rows.rejecting(location):
                    if record := self._record(item, rows, url=payload.url):
                        rows.add(record, key=(record.sku_id,), location=location)
        return rows.result()

    def _record(self, item: object, rows: RecordCollector, *, url: str) -> PriceRecord | None:
        if not isinstance(item, dict):
            raise RejectedValueError(Reason.UNREADABLE_ROW, field="items", value=item)
        metric, category = item.get("metricName"), item.get("serviceCategory")
        if metric != _GPU_METRIC:
            rows.skip("not_sold_per_gpu_hour")
            return None
        if category != _GPU_CATEGORY:
            # Named one by one, so that a new category of GPUs shows up in the counts.
            rows.skip("category_" + re.sub(r"\W+", "_", str(category).lower(), flags=re.ASCII).strip("_"))
            return None
        part = text(item, "partNumber")
        return PriceRecord(
            sku_id=part,
            offer_id=part,
            region_raw="global",
            gpu_name_raw=text(item, "displayName"),
            gpu_count_raw=Decimal(1),
            pricing_model_raw=_LIST_MODEL,
            price_amount=price(_usd_list_price(item), field="value"),
            price_currency="USD",
            price_unit_raw=_GPU_METRIC,
            source_url=url,
        )


def _usd_list_price(item: dict[str, Any]) -> object:
    """Return the one undiscounted USD price of a product."""
    listed = item.get("currencyCodeLocalizations")
    if not isinstance(listed, list):
        raise RejectedValueError(Reason.MISSING_FIELD, field="currencyCodeLocalizations")
    by_currency = {str(entry.get("currencyCode")): entry for entry in listed if isinstance(entry, dict)}
    if "USD" not in by_currency:
        codes = ", ".join(sorted(by_currency))
        raise RejectedValueError(Reason.CURRENCY_NOT_USD, field="currencyCode", value=codes)
    entries = by_currency["USD"].get("prices")
    prices = [
        entry
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and entry.get("model") == _LIST_MODEL
    ]
    if not prices:
        raise RejectedValueError(Reason.MISSING_FIELD, field=f"prices[{_LIST_MODEL}]")
    if len(prices) > 1:
        # Ranges exist for other services; which one a GPU-hour falls into is not knowable from the list.
        raise RejectedValueError(Reason.TIERED_PRICE, field="prices", value=len(prices))
    return prices[0].get("value")
