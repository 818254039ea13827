"""Together's dedicated endpoint prices, per hardware configuration.

Endpoint   GET https://api.together.ai/v2/public/inference-instance-types; where that answers with a refusal (404, 403),
           its predecessor GET /v1/hardware, which the documentation supports until the end of 2026.
Auth       API key as a bearer token, read from TOGETHER_API_KEY.
Paging     none: one answer. The successor has a `next_cursor`, always null by the documentation; another value refuses
           the answer.
A row      one hardware configuration: "1xnvidia-h100-80gb", in the old list "1x_nvidia_h100_80gb_sxm". What is sold is
           one replica of an endpoint that serves a model on it, not a machine to log in to: records state the pricing
           model "dedicated_endpoint", and the seed pricing_terms makes a tier of it, so that nobody takes them for bare
           GPUs. The two lists name one thing differently, so a fleet entry names the one that is pulled.
Unit       `priceCentsPerHour`: US cents per hour for one running replica, all its GPUs; a record states that divided by
           100. The old list states cents per minute (`cents_per_minute`), and a record that times 60 / 100, as
           Together's migration guide converts it; it names no currency: USD by the documentation.
Quirks     The GPU is named by what follows the count in `id`: `gpuType` is "H100" without memory, and the old
           `gpu_type` "h100" in one document and "a100-80gb" in another. Memory is per GPU. A configuration without a
           price (H200, B300 and GB300 are "contact sales" on the price page) is skipped. Prices are the same in all
           `regions`; one with `headroom` above 0 makes it available. In the old list `cents_per_minute` is a float
           (9.95 an hour would be 16.583333333333332), `availability` comes only with a question about one model, and
           A100 and L40 may still be listed. The robots file bars crawlers from the site: the API only.
Verified   2026-11-24 against the provider's own SDK, generated from its API description (fields, unit and cursor of the
           new list), the documented shape of the old list and public copies of its price page (in 2026 H100 5.49, until
           2026-09-30 3.99; B200 8.99 an hour), not live. Unverified until the first call: how a configuration without a
           price is written (absent or 0 is taken for it), which counts of GPUs are listed, and that the key may read
           the list.
"""

import re
from decimal import Decimal
from typing import Any

from scrapers.errors import IncompleteSnapshotError, PermanentError
from scrapers.http import Response
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
    quantity,
    text,
)
from scrapers.snapshot import Snapshot

_PATH, _OLD_PATH = "/v2/public/inference-instance-types", "/v1/hardware"
_CENT = Decimal("0.01")
_PER_MINUTE = 60 * _CENT
_COUNTED = re.compile(r"\d+x_?(.+)", re.ASCII)
# "insufficient" has been seen explained as none and as little: no answer.
_AVAILABILITY = {"available": True, "unavailable": False}


class Together(PriceSource):
    """Together's hardware for dedicated endpoints."""

    name = "together"
    title = "Together dedicated endpoint hardware"
    docs = "https://docs.together.ai/docs/dedicated-endpoints/pricing"
    base_url = "https://api.together.ai"
    key = KeyUse.REQUIRED
    api_key_env = "TOGETHER_API_KEY"
    dataset = "hardware"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Fetch the list of all configurations."""
        answer = _answer(pull)
        value = pull.json(answer)
        if not expect_list(value, "data", place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'data' is empty; fetch it again")
        if expect_object(value, place=pull.dataset).get("next_cursor"):
            raise IncompleteSnapshotError(f"{pull.dataset}: the list has more pages, which are not read")
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per configuration."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, item in enumerate(expect_list(value, "data", place=payload.name), start=1):
                location = f"{payload.name} data[{number}]"
                with rows.rejecting(location):
                    if not isinstance(item, dict):
                        raise RejectedValueError(Reason.UNREADABLE_ROW, field="data", value=item)
                    if (
                        record := _old_record(item, url=payload.url)
                        if "pricing" in item
                        else _record(item, payload.url)
                    ):
                        rows.add(record, key=(record.sku_id,), location=location)
                    else:
                        rows.skip("no_price_stated")
        return rows.result()


def _answer(pull: Pull) -> Response[bytes]:
    """Return the list, of the old address where the new one is refused."""
    try:
        return pull.client.get(pull.url(_PATH), headers=pull.bearer)
    except PermanentError as error:
        try:
            return pull.client.get(pull.url(_OLD_PATH), headers=pull.bearer)
        except PermanentError:
            raise error from None


def _record(item: dict[str, Any], url: str) -> PriceRecord | None:
    hardware = text(item, "id")
    if not item.get("priceCentsPerHour"):
        return None
    return PriceRecord(
        sku_id=hardware,
        offer_id=hardware,
        instance_type=hardware,
        region_raw="global",
        gpu_name_raw=_gpu_name(hardware) or optional_text(item, "gpuType"),
        gpu_count_raw=quantity(item.get("gpuCount"), field="gpuCount"),
        gpu_memory_gb_raw=quantity(item.get("gpuMemoryGib"), field="gpuMemoryGib"),
        pricing_model_raw="dedicated_endpoint",
        price_amount=price(item["priceCentsPerHour"], field="priceCentsPerHour", factor=_CENT),
        price_currency="USD",
        price_unit_raw="endpoint hour, from cents",
        is_available=_has_headroom(item.get("regions")),
        source_url=url,
    )


def _old_record(item: dict[str, Any], *, url: str) -> PriceRecord:
    pricing, specs, availability = (
        part if isinstance(part := item.get(name), dict) else {} for name in ("pricing", "specs", "availability")
    )
    hardware = text(item, "id")
    return PriceRecord(
        sku_id=hardware,
        offer_id=hardware,
        instance_type=hardware,
        region_raw="global",
        gpu_name_raw=_gpu_name(hardware) or optional_text(specs, "gpu_type"),
        gpu_count_raw=quantity(specs.get("gpu_count"), field="specs.gpu_count"),
        gpu_memory_gb_raw=quantity(specs.get("gpu_memory"), field="specs.gpu_memory"),
        pricing_model_raw="dedicated_endpoint",
        price_amount=price(pricing.get("cents_per_minute"), field="pricing.cents_per_minute", factor=_PER_MINUTE),
        price_currency="USD",
        price_unit_raw="endpoint hour, from cents per minute",
        is_available=_AVAILABILITY.get(str(availability.get("status"))),
        source_url=url,
    )


def _gpu_name(hardware: str) -> str | None:
    counted = _COUNTED.fullmatch(hardware)
    return counted[1] if counted else None


def _has_headroom(regions: object) -> bool | None:
    """Whether one more replica fits in a region; None where no region says so and one does not say."""
    free = [
        headroom.get("value")
        if isinstance(region, dict) and isinstance(headroom := region.get("headroom"), dict)
        else None
        for region in (regions if isinstance(regions, list) else [])
    ]
    if any(isinstance(value, int) and value > 0 for value in free):
        return True
    return False if free and all(value == 0 for value in free) else None
