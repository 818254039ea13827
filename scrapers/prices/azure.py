"""Azure retail prices of GPU virtual machines, per instance.

Endpoint   GET https://prices.azure.com/api/retail/prices, api-version 2023-01-01-preview (the one with savings plans),
           `$filter` on service and region, one walk per region.
Auth       none.
Paging     `NextPageLink` until it is null, 1,000 items a page. Paging is by `$skip` over data that changes, so an item
           can come twice (counted as duplicate); a repeated or short page refuses the walk.
A row      one meter: Consumption (on demand, or Spot by the end of `meterName`), or Reservation; the savings plan
           entries of a Consumption meter become rows of their own.
Unit       USD per instance and `unitOfMeasure`, which says "1 Hour" on reservations too although their amount is the
           total of the term. Kept as published; staging divides.
Quirks     The GPU is named by `armSkuName` only. Windows shows in `productName`. Low Priority, Cloud Services,
           Dedicated and DevTest meters are other products. All Standard_N* sizes are kept, so that a GPU size nobody
           has heard of stays visible. Spot meters sometimes equal the on-demand price. A price may start in the future:
           it is kept beside the one in force, with its `effective_at`.
Verified   2026-11-23 against a recording of 2026-10 (62 items, 7 fields) and a documented pair of items, not live.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from scrapers.errors import IncompleteSnapshotError, PermanentError, one_line
from scrapers.prices.base import (
    Fetched,
    Page,
    PriceSource,
    Pull,
    Unchanged,
    drift,
    expect_list,
    json_payloads,
    walk_pages,
)
from scrapers.records import (
    ParsedSnapshot,
    PriceRecord,
    Reason,
    RecordCollector,
    RejectedValueError,
    instant,
    optional_text,
    price,
    text,
)
from scrapers.snapshot import Snapshot

_API_VERSION = "2023-01-01-preview"
_REGION = re.compile(r"[a-z0-9]+", re.ASCII)
_HOURLY = "1 Hour"


class Azure(PriceSource):
    """Microsoft's retail price API, virtual machines."""

    name = "azure"
    title = "Azure Retail Prices API"
    docs = "https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices"
    base_url = "https://prices.azure.com"
    default_regions = ("eastus",)

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Walk all pages of a region."""
        if not _REGION.fullmatch(pull.dataset):
            raise PermanentError(f"{one_line(pull.dataset)!r} is not an Azure region code")
        params = {
            "api-version": _API_VERSION,
            "currencyCode": "'USD'",
            "$filter": f"serviceName eq 'Virtual Machines' and armRegionName eq '{pull.dataset}'",
        }
        if not walk_pages(pull, "/api/retail/prices", self._whole_page, params=params):
            raise IncompleteSnapshotError(
                f"{pull.dataset}: no virtual machine is listed; region codes are lower case without blanks, as in "
                "eastus2"
            )
        return Fetched()

    def _whole_page(self, page: Page) -> tuple[list[Any], str | None]:
        items = expect_list(page.value, "Items", place=page.place)
        if page.value.get("Count", len(items)) != len(items):
            raise IncompleteSnapshotError(
                f"{page.place}: Count says {one_line(page.value['Count'])}, {len(items)} items arrived; fetch again"
            )
        if "NextPageLink" not in page.value:
            raise drift(page.place, "field 'NextPageLink' is absent, so the end of the list is unknown")
        link = page.value["NextPageLink"]
        if link and not isinstance(link, str):
            raise drift(page.place, "field 'NextPageLink' is not text")
        return items, link

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return records of all Linux GPU sizes; takes API pages, and bare lists of items (recordings)."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            if isinstance(value, list):
                items, currency = value, None
            else:
                items = expect_list(value, "Items", place=payload.name)
                currency = value.get("BillingCurrency")
            for number, item in enumerate(items, start=1):
                location = f"{payload.name} item {number}"
                with rows.rejecting(location):
                    _require_usd(item, currency)
                    outside = _outside(item)
                    if outside:
                        rows.skip(outside)
                    else:
                        _add(item, rows, snapshot=snapshot, location=location, url=payload.url)
        return rows.result()


def _require_usd(item: object, page_currency: object) -> None:
    """Other currencies are "for reference" only; an item without any cannot be priced."""
    if not isinstance(item, dict):
        raise RejectedValueError(Reason.UNREADABLE_ROW, field="Items", value=item)
    code = item.get("currencyCode") or page_currency
    if code is None:
        raise RejectedValueError(Reason.CURRENCY_MISSING, field="currencyCode")
    if code != "USD":
        raise RejectedValueError(Reason.CURRENCY_NOT_USD, field="currencyCode", value=code)


def _outside(item: Mapping[str, Any]) -> str | None:
    """Return why an item is no price of a Linux GPU machine, None if it is one."""
    size = optional_text(item, "armSkuName")
    product = text(item, "productName")
    if size is None:
        return "no_size"
    if not size.lower().startswith("standard_n"):
        return "not_gpu_size"
    # "… Series Windows", "… Srs Windows", and for some series "… Srs Win".
    if re.search(r"\bWin(dows)?\b", product):
        return "windows"
    if "Cloud Services" in product or "CloudServices" in product:
        return "cloud_services"
    if "Dedicated" in product:
        return "dedicated"
    if _meter_ends(item, "Low Priority"):
        return "low_priority"
    if item.get("type") == "DevTestConsumption":
        return "dev_test"
    return None


def _meter_ends(item: Mapping[str, Any], word: str) -> bool:
    return any((optional_text(item, name) or "").endswith(word) for name in ("meterName", "skuName"))


def _add(item: Mapping[str, Any], rows: RecordCollector, *, snapshot: Snapshot, location: str, url: str) -> None:
    effective_at = instant(item.get("effectiveStartDate"), field="effectiveStartDate")
    ended_at = instant(item.get("effectiveEndDate"), field="effectiveEndDate")
    if ended_at and ended_at <= snapshot.fetched_at:
        rows.skip("no_longer_effective")
        return
    size, product, kind = text(item, "armSkuName"), text(item, "productName"), text(item, "type")
    if kind not in ("Consumption", "Reservation"):
        raise RejectedValueError(Reason.UNKNOWN_PRICING_MODEL, field="type", value=kind)
    if item.get("tierMinimumUnits"):
        raise RejectedValueError(Reason.TIERED_PRICE, field="tierMinimumUnits", value=item["tierMinimumUnits"])
    if item.get("unitOfMeasure") != _HOURLY:
        raise RejectedValueError(Reason.UNKNOWN_UNIT, field="unitOfMeasure", value=item.get("unitOfMeasure", ""))
    # Recordings lack skuId; size, product and meter together name one.
    sku = optional_text(item, "skuId") or f"{size}/{product}/{text(item, 'meterName')}"

    for model, term, amount, place in _offers(item, kind, location):
        with rows.rejecting(place):
            term_raw = None if term is None else text({"savingsPlan.term": term}, "savingsPlan.term")
            record = PriceRecord(
                sku_id=sku,
                offer_id="/".join(filter(None, (sku, model, term_raw))),
                instance_type=size,
                region_raw=text(item, "armRegionName"),
                pricing_model_raw=model,
                term_raw=term_raw,
                operating_system_raw="Linux" if "Linux" in product else None,
                product_name_raw=product,
                price_amount=price(amount, field="retailPrice"),
                price_currency="USD",
                price_unit_raw=_HOURLY,
                effective_at=effective_at,
                source_url=url,
            )
            # An announced price stands beside the one in force; it is no contradiction.
            announced_at = effective_at if effective_at and effective_at > snapshot.fetched_at else None
            key = (record.offer_id, optional_text(item, "meterId"), record.region_raw, announced_at)
            rows.add(record, key=key, location=place)


def _offers(item: Mapping[str, Any], kind: str, location: str) -> Iterator[tuple[str, object, object, str]]:
    """Yield pricing model, term, amount and place of every price an item states."""
    if kind == "Reservation":
        yield kind, text(item, "reservationTerm"), item.get("retailPrice"), location
        return
    yield "Spot" if _meter_ends(item, "Spot") else kind, None, item.get("retailPrice"), location
    plans = item.get("savingsPlan") or []
    for number, plan in enumerate(plans if isinstance(plans, list) else [plans], start=1):
        entry = plan if isinstance(plan, dict) else {}
        # A plan without a term must not pass for a price without one.
        yield "SavingsPlan", entry.get("term", ""), entry.get("retailPrice"), f"{location} savingsPlan {number}"
