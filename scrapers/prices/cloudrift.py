"""CloudRift list prices, per instance.

Endpoint   POST https://api.cloudrift.ai/api/v1/instance-types/list, selector: services "vm".
Auth       none.
Paging     none: one answer.
A row      one variant of an instance type: a machine with 1 to 8 GPUs, sold by its name at one price everywhere.
Unit       US cents per instance-hour (`cost_per_hour`), divided by 100 exactly: the record is in USD, and its unit
           says so. The answer states neither unit nor currency; cents are the published schema's and peers' reading.
Quirks     Most types have no node free at most times, and may then have no data centre: the price is listed all the
           same, and `is_available` is false. Whether a node is free is in `available_nodes` or, by data centre,
           `available_nodes_per_dc`; `nodes_per_dc` of older answers counts nodes, not free ones. `vram` is bytes; it
           is taken as of one GPU, as a peer does. `brand_short` does not tell the editions of RTX PRO 6000 apart.
Verified   2026-11-24 against the published schema and public catalogue figures of 2026-10-06, not live. Until the first
           live call: whether `vram` is per GPU, whether variant names are unique, and the spelling of `brand_short`.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scrapers.errors import IncompleteSnapshotError
from scrapers.prices.base import Fetched, PriceSource, Pull, Unchanged, expect_list, expect_object, json_payloads
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

_QUESTION = {"version": "2025-03-21", "data": {"selector": {"ByServiceAndLocation": {"services": ["vm"]}}}}
_BYTES_PER_GIB = 1 << 30
_MEMORY_STEP = Decimal(1).scaleb(-6)
_MEMORY_LIMIT_BYTES = 1 << 50


class Cloudrift(PriceSource):
    """CloudRift's public catalogue of virtual machines."""

    name = "cloudrift"
    title = "CloudRift instance types"
    docs = "https://docs.cloudrift.ai/extras/rest-api"
    base_url = "https://api.cloudrift.ai"
    dataset = "instance-types"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Ask for all instance types that are sold as virtual machines."""
        answer = pull.client.post_json(pull.url("/api/v1/instance-types/list"), _QUESTION)
        if not _types(pull.json(answer), place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'instance_types' is empty; fetch it again")
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per variant."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, item in enumerate(_types(value, place=payload.name), start=1):
                location = f"{payload.name} instance_types[{number}]"
                with rows.rejecting(location):
                    if not isinstance(item, dict):
                        raise RejectedValueError(Reason.UNREADABLE_ROW, field="instance_types", value=item)
                    variants = item.get("variants")
                    if not isinstance(variants, list):
                        raise RejectedValueError(Reason.MISSING_FIELD, field="variants")
                    for place, variant in enumerate(variants, start=1):
                        _add(item, variant, rows, location=f"{location}.variants[{place}]", url=payload.url)
        return rows.result()


def _types(value: object, *, place: str) -> list[Any]:
    data = expect_object(expect_object(value, place=place).get("data"), place=f"{place} field 'data'")
    return expect_list(data, "instance_types", place=place)


def _add(item: Mapping[str, Any], variant: object, rows: RecordCollector, *, location: str, url: str) -> None:
    with rows.rejecting(location):
        if not isinstance(variant, dict):
            raise RejectedValueError(Reason.UNREADABLE_ROW, field="variants", value=variant)
        gpu_count = quantity(variant.get("gpu_count"), field="gpu_count")
        if gpu_count is None:
            raise RejectedValueError(Reason.MISSING_FIELD, field="gpu_count")
        if gpu_count == 0:
            rows.skip("no_gpu")
            return
        name = text(variant, "name")
        record = PriceRecord(
            sku_id=name,
            offer_id=name,
            instance_type=name,
            region_raw="global",
            gpu_name_raw=text(item, "brand_short"),
            gpu_count_raw=gpu_count,
            gpu_memory_gb_raw=_memory_gib(variant),
            pricing_model_raw="on-demand",
            product_name_raw=optional_text(item, "name"),
            price_amount=price(variant.get("cost_per_hour"), field="cost_per_hour").scaleb(-2),
            price_currency="USD",
            price_unit_raw="instance hour (cost_per_hour / 100)",
            is_available=_is_available(variant),
            source_url=url,
        )
        rows.add(record, key=(record.sku_id,), location=location)


def _memory_gib(variant: Mapping[str, Any]) -> Decimal | None:
    stated = quantity(variant.get("vram"), field="vram")
    if stated is None:
        return None
    if not stated.is_finite() or not 0 < stated < _MEMORY_LIMIT_BYTES:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="vram", value=stated)
    return (stated / _BYTES_PER_GIB).quantize(_MEMORY_STEP)


def _is_available(variant: Mapping[str, Any]) -> bool | None:
    """Return whether a node is free; None where the answer does not count them."""
    free = variant.get("available_nodes")
    if isinstance(free, int):
        return free > 0
    by_data_centre = variant.get("available_nodes_per_dc")
    if isinstance(by_data_centre, dict):
        return any(isinstance(nodes, int) and nodes > 0 for nodes in by_data_centre.values())
    return None
