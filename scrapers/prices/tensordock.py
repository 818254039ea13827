"""TensorDock market prices, per GPU-hour without vCPUs, memory and disk.

Endpoint   GET https://dashboard.tensordock.com/api/v2/locations
Auth       bearer token, from the developer settings of an account. 100 requests a minute.
Paging     none: one answer.
A row      one GPU model at one location.
Unit       USD per GPU-hour (`price_per_hr`). vCPUs, memory and disk are billed on top by `pricing.per_*_hr`; the answer
           names the largest machine and no smallest one, so there is no machine to publish: the offering class is
           `gpu_only`. The answer states no currency; TensorDock's pages are in dollars.
Quirks     Hosts set the prices, so the same GPU costs differently by location. Two locations can lie in one city: the
           location's id is the zone. `max_count` is how many GPUs can be deployed now. `tier` rates the data centre.
           An account without a deposit is reported to see no location at all. The v0 API of older code is gone.
Verified   2026-11-24 against the documented example (h100-sxm5-80gb at 2.20), not live. Until the first live call: that
           `price_per_hr` is of one GPU, as peers read it, and whether state and city can be empty.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scrapers.errors import IncompleteSnapshotError
from scrapers.prices.base import (
    Fetched,
    KeyUse,
    PriceSource,
    Pull,
    Unchanged,
    expect_list,
    expect_object,
    json_payloads,
)
from scrapers.records import (
    ParsedSnapshot,
    PriceRecord,
    Reason,
    RecordCollector,
    RejectedValueError,
    optional_text,
    price,
    text,
)
from scrapers.snapshot import Snapshot


class Tensordock(PriceSource):
    """TensorDock's locations with their GPUs."""

    name = "tensordock"
    title = "TensorDock locations"
    docs = "https://dashboard.tensordock.com/api/docs/fetch-hostnodes"
    base_url = "https://dashboard.tensordock.com"
    key = KeyUse.REQUIRED
    api_key_env = "TENSORDOCK_API_KEY"
    dataset = "locations"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Fetch all locations."""
        answer = pull.client.get(pull.url("/api/v2/locations"), headers=pull.bearer)
        if not _locations(pull.json(answer), place=pull.dataset):
            raise IncompleteSnapshotError(
                f"{pull.dataset}: 'locations' is empty; fetch it again. An account without a deposit may see none"
            )
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per GPU model and location."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, item in enumerate(_locations(value, place=payload.name), start=1):
                location = f"{payload.name} locations[{number}]"
                with rows.rejecting(location):
                    if not isinstance(item, dict):
                        raise RejectedValueError(Reason.UNREADABLE_ROW, field="locations", value=item)
                    gpus = item.get("gpus")
                    if not isinstance(gpus, list):
                        raise RejectedValueError(Reason.MISSING_FIELD, field="gpus")
                    for place, gpu in enumerate(gpus, start=1):
                        with rows.rejecting(f"{location}.gpus[{place}]"):
                            record = _record(item, gpu, url=payload.url)
                            rows.add(record, key=(record.offer_id,), location=f"{location}.gpus[{place}]")
        return rows.result()


def _locations(value: object, *, place: str) -> list[Any]:
    data = expect_object(expect_object(value, place=place).get("data"), place=f"{place} field 'data'")
    return expect_list(data, "locations", place=place)


def _record(location: Mapping[str, Any], gpu: object, *, url: str) -> PriceRecord:
    if not isinstance(gpu, dict):
        raise RejectedValueError(Reason.UNREADABLE_ROW, field="gpus", value=gpu)
    model, location_id = text(gpu, "v0Name"), text(location, "id")
    deployable = gpu.get("max_count")
    parts = [optional_text(location, field) for field in ("city", "stateprovince")]
    return PriceRecord(
        sku_id=model,
        offer_id=f"{model}/{location_id}",
        region_raw=", ".join(part for part in (*parts, text(location, "country")) if part),
        zone_raw=location_id,
        gpu_name_raw=text(gpu, "displayName"),
        gpu_count_raw=Decimal(1),
        pricing_model_raw="on-demand",
        offering_class_raw="gpu_only",
        price_amount=price(gpu.get("price_per_hr"), field="price_per_hr"),
        price_currency="USD",
        price_unit_raw="GPU hour (price_per_hr)",
        is_available=deployable > 0 if isinstance(deployable, int) else None,
        source_url=url,
    )
