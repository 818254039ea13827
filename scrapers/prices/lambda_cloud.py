"""Lambda's on-demand instance prices, per instance.

Endpoint   GET https://cloud.lambda.ai/api/v1/instance-types (until 2025 on cloud.lambdalabs.com).
Auth       API key as a bearer token, read from LAMBDA_API_KEY.
Paging     none: one answer, an object keyed by the name of the instance type.
A row      one instance type. It costs the same in every region.
Unit       the answer states whole cents per instance and hour (`price_cents_per_hour`); a record states that divided by
           100. The answer names no currency: USD, without tax, by Lambda's price page.
Quirks     The price page states prices per GPU, in tabs for 8, 4, 2 and 1 GPUs; one alone is dearer than one of eight.
           `regions_with_capacity_available` lists the regions that have some now: none means sold out, and the price
           still holds. "RTX 6000 (24 GB)" is the Quadro of 2018, and "A100 (40 GB …)" is another GPU than "A100 (80 GB
           …)". Types without a GPU are in the list. Clusters and reserved capacity are sold by contract only.
Verified   2026-11-23 against documented answers of 2026-08 (429, 229 and 199 cents) and the price page of 2026-09-20,
           not live. Unverified until the first call: that a GPU's memory always stands in `gpu_description`.
"""

import re
from decimal import Decimal
from typing import Any

from scrapers.errors import IncompleteSnapshotError
from scrapers.prices.base import (
    Fetched,
    KeyUse,
    PriceSource,
    Pull,
    Unchanged,
    drift,
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
)
from scrapers.snapshot import Snapshot

_CENT = Decimal("0.01")
_MEMORY = re.compile(r"\((\d+) GB\b", re.ASCII)


class LambdaCloud(PriceSource):
    """Lambda's list of instance types."""

    name = "lambda_cloud"
    title = "Lambda instance types"
    docs = "https://docs.lambda.ai/api/cloud"
    base_url = "https://cloud.lambda.ai"
    key = KeyUse.REQUIRED
    api_key_env = "LAMBDA_API_KEY"
    dataset = "instance-types"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Fetch the list."""
        answer = pull.client.get(pull.url("/api/v1/instance-types"), headers=pull.bearer)
        if not self._types(pull.json(answer), place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'data' is empty; fetch it again")
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per instance type that has a GPU."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for name, item in self._types(value, place=payload.name).items():
                location = f"{payload.name} {name}"
                with rows.rejecting(location):
                    if record := self._record(name, item, rows, url=payload.url):
                        rows.add(record, key=(record.sku_id,), location=location)
        return rows.result()

    def _types(self, value: object, *, place: str) -> dict[str, Any]:
        answer = expect_object(value, place=place)
        types = answer.get("data")
        if not isinstance(types, dict):
            raise drift(place, f"field 'data' is {'absent' if 'data' not in answer else 'not an object'}")
        return types

    def _record(self, name: str, item: object, rows: RecordCollector, *, url: str) -> PriceRecord | None:
        described = item.get("instance_type") if isinstance(item, dict) else None
        if not isinstance(item, dict) or not isinstance(described, dict):
            raise RejectedValueError(Reason.UNREADABLE_ROW, field="instance_type", value=described)
        specs = described.get("specs")
        gpu_count = quantity(specs.get("gpus") if isinstance(specs, dict) else None, field="specs.gpus")
        if gpu_count == 0:
            rows.skip("no_gpu")
            return None
        gpu = optional_text(described, "gpu_description")
        memory = _MEMORY.search(gpu or "")
        regions = item.get("regions_with_capacity_available")
        return PriceRecord(
            sku_id=name,
            offer_id=name,
            instance_type=name,
            region_raw="global",
            gpu_name_raw=gpu,
            gpu_count_raw=gpu_count,
            gpu_memory_gb_raw=Decimal(memory[1]) if memory else None,
            pricing_model_raw="on_demand",
            product_name_raw=optional_text(described, "description"),
            price_amount=price(described.get("price_cents_per_hour"), field="price_cents_per_hour", factor=_CENT),
            price_currency="USD",
            price_unit_raw="instance hour, from cents",
            is_available=bool(regions) if isinstance(regions, list) else None,
            source_url=url,
        )
