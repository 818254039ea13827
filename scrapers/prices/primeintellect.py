"""Prime Intellect, a broker: single-node GPU offers of several clouds, per instance-hour.

Endpoint   GET https://api.primeintellect.ai/api/v1/availability/gpus?page=n&page_size=100
Auth       Bearer key (PRIME_API_KEY) with the permission "Availability: Read".
Paging     page from 1, `totalCount` items in all; fewer than that is an incomplete answer.
A row      one offer: cloud, the cloud's own id, GPU type and socket, count, data centre, secure or community cloud.
           `provider_raw` is the underlying cloud, the source is the broker: the offers are the cloud's own, and seed
           price_sources says so (is_broker).
Unit       `prices.onDemand` (else `communityPrice`) in `prices.currency`, taken as the hourly price of the whole offer.
Quirks     The GPU is told by `gpuType` and `socket` together (H100_80GB is SXM5 or PCIe). The price is without the
           disk, which has a price of its own. `region` is a wide area (united_states); the data centre is the zone.
           Offers come and go with capacity: an absent one is sold out, not withdrawn.
Verified   2026-11-23 against the documented example, not live. Unverified until the first live call: that the price is
           for all GPUs of an offer and `gpuMemory` for one of them, and that `isSpot` marks spot offers.
"""

from decimal import Decimal
from typing import Any

from scrapers.errors import IncompleteSnapshotError
from scrapers.prices.base import (
    Fetched,
    KeyUse,
    Page,
    PriceSource,
    Pull,
    Unchanged,
    drift,
    expect_list,
    expect_object,
    json_payloads,
    walk_pages,
)
from scrapers.records import (
    ParsedSnapshot,
    PriceRecord,
    Reason,
    RecordCollector,
    RejectedValueError,
    optional_text,
    price,
    quantity,
    text,
)
from scrapers.snapshot import Snapshot

_PAGE_SIZE = 100
_NO_STOCK = "Out of Stock"


class PrimeIntellect(PriceSource):
    """Prime Intellect's GPU availability."""

    name = "primeintellect"
    title = "Prime Intellect GPU availability"
    docs = "https://docs.primeintellect.ai/api-reference/availability/get-gpu-availability"
    base_url = "https://api.primeintellect.ai"
    key = KeyUse.REQUIRED
    api_key_env = "PRIME_API_KEY"
    dataset = "gpus"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Walk the pages until as many offers are there as the list says it has."""
        total = 0

        def read(page: Page) -> tuple[list[Any], dict[str, str] | None]:
            nonlocal total
            items, total = expect_list(page.value, "items", place=page.place), _total(page.value, place=page.place)
            return items, {"page": str(page.number + 1)} if page.number * _PAGE_SIZE < total else None

        params = {"page": "1", "page_size": str(_PAGE_SIZE)}
        found = walk_pages(pull, "/api/v1/availability/gpus", read, params=params, headers=pull.bearer)
        if found < max(total, 1):
            raise IncompleteSnapshotError(f"{pull.dataset}: {found} of {total} offers arrived; fetch it again")
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per offer."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, item in enumerate(expect_list(value, "items", place=payload.name), start=1):
                location = f"{payload.name} items[{number}]"
                with rows.rejecting(location):
                    record = _record(item, url=payload.url)
                    key = (record.sku_id, record.region_raw, record.zone_raw, record.pricing_model_raw)
                    rows.add(record, key=key, location=location)
        return rows.result()


def _total(value: object, *, place: str) -> int:
    total = expect_object(value, place=place).get("totalCount")
    if not isinstance(total, int) or isinstance(total, bool):
        raise drift(place, "field 'totalCount' is absent or not a whole number")
    return total


def _record(item: object, *, url: str) -> PriceRecord:
    if not isinstance(item, dict):
        raise RejectedValueError(Reason.UNREADABLE_ROW, field="items", value=item)
    prices = item.get("prices")
    if not isinstance(prices, dict):
        raise RejectedValueError(Reason.MISSING_FIELD, field="prices")
    cloud, count = text(item, "provider"), quantity(item.get("gpuCount"), field="gpuCount") or Decimal(1)
    sku = f"{cloud}/{text(item, 'cloudId')}/{count:f}x"
    stock = optional_text(item, "stockStatus")
    on_demand = prices.get("onDemand")
    field = "communityPrice" if on_demand is None else "onDemand"
    return PriceRecord(
        provider_raw=cloud,
        sku_id=sku,
        offer_id=sku,
        instance_type=text(item, "cloudId"),
        region_raw=optional_text(item, "region") or "global",
        zone_raw=optional_text(item, "dataCenter"),
        gpu_name_raw=" ".join(filter(None, [text(item, "gpuType"), optional_text(item, "socket")])),
        gpu_count_raw=count,
        gpu_memory_gb_raw=quantity(item.get("gpuMemory"), field="gpuMemory"),
        pricing_model_raw=text(item, "security") + "_spot" * (item.get("isSpot") is True),
        price_amount=price(prices.get(field), field=field),
        price_currency=text(prices, "currency"),
        price_unit_raw="Instance Hour",
        is_available=None if stock is None else stock != _NO_STOCK,
        source_url=url,
    )
