"""Together's dedicated endpoint prices, per hardware configuration.

Endpoint   GET https://api.together.ai/v1/hardware
Auth       API key as a bearer token, read from TOGETHER_API_KEY.
Paging     none: one answer.
A row      one hardware configuration, such as "2x_nvidia_h100_80gb_sxm". What is sold is one replica of an endpoint
           that serves a model on it, not a machine to log in to: records state the pricing model "dedicated_endpoint",
           and the seed pricing_terms makes a tier of it, so that nobody takes them for bare GPUs.
Unit       the answer states cents per minute for all GPUs of the configuration (`cents_per_minute`); a record states
           that times 60 / 100, as Together's migration guide converts it. The answer names no currency: USD by the
           documentation.
Quirks     `cents_per_minute` is a float: 9.95 an hour would be 16.583333333333332 a minute. `gpu_type` is "h100" in one
           document and "a100-80gb" in another, so the GPU is named by what follows the count in `id`; `gpu_memory` is
           per GPU. `availability` comes only with a question about one model. A100 and L40 configurations that are no
           longer offered may still be listed. The robots file bars crawlers from the site: the API only.
Verified   2026-11-23 against the documented shape and a documented price table (H100 5.40, H200 6.60, B200 9.00 an
           hour; other copies of that page state other prices), not live. Supported until the end of 2026, says the
           documentation; the successor is GET /v2/public/inference-instance-types with `priceCentsPerHour`. Unverified
           until the first call: how floats are written, and what the list without a model holds.
"""

import re
from decimal import Decimal

from scrapers.errors import IncompleteSnapshotError
from scrapers.prices.base import Fetched, KeyUse, PriceSource, Pull, Unchanged, expect_list, json_payloads
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

_PER_MINUTE = Decimal(60) / 100
_COUNTED = re.compile(r"\d+x_(.+)", re.ASCII)
# "insufficient" has been seen explained as none and as little: no answer.
_AVAILABILITY = {"available": True, "unavailable": False}


class Together(PriceSource):
    """Together's hardware for dedicated endpoints."""

    name = "together"
    title = "Together dedicated endpoint hardware"
    docs = "https://docs.together.ai/reference/listhardware"
    base_url = "https://api.together.ai"
    key = KeyUse.REQUIRED
    api_key_env = "TOGETHER_API_KEY"
    dataset = "hardware"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Fetch the list of all configurations."""
        answer = pull.client.get(pull.url("/v1/hardware"), headers=pull.bearer)
        if not expect_list(pull.json(answer), "data", place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'data' is empty; fetch it again")
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per configuration."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, item in enumerate(expect_list(value, "data", place=payload.name), start=1):
                location = f"{payload.name} data[{number}]"
                with rows.rejecting(location):
                    record = self._record(item, url=payload.url)
                    rows.add(record, key=(record.sku_id,), location=location)
        return rows.result()

    def _record(self, item: object, *, url: str) -> PriceRecord:
        if not isinstance(item, dict):
            raise RejectedValueError(Reason.UNREADABLE_ROW, field="data", value=item)
        pricing, specs, availability = (
            part if isinstance(part := item.get(name), dict) else {} for name in ("pricing", "specs", "availability")
        )
        hardware = text(item, "id")
        counted = _COUNTED.fullmatch(hardware)
        return PriceRecord(
            sku_id=hardware,
            offer_id=hardware,
            instance_type=hardware,
            region_raw="global",
            gpu_name_raw=counted[1] if counted else optional_text(specs, "gpu_type"),
            gpu_count_raw=quantity(specs.get("gpu_count"), field="specs.gpu_count"),
            gpu_memory_gb_raw=quantity(specs.get("gpu_memory"), field="specs.gpu_memory"),
            pricing_model_raw="dedicated_endpoint",
            price_amount=price(pricing.get("cents_per_minute"), field="pricing.cents_per_minute", factor=_PER_MINUTE),
            price_currency="USD",
            price_unit_raw="endpoint hour, from cents per minute",
            is_available=_AVAILABILITY.get(str(availability.get("status"))),
            source_url=url,
        )
