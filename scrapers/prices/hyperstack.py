"""Hyperstack list prices, per GPU-hour.

Endpoint   GET https://infrahub-api.nexgencloud.com/v1/pricebook
Auth       header `api_key`.
Paging     none: one bare JSON list. 500 requests a minute.
A row      one resource that is a GPU, on demand, or as a spot machine where its name ends in "-spot". The price
           includes vCPUs, memory and local disk of the machine, and is the same in every region. A machine costs the
           GPU's price times its GPUs; the seed instance_types holds machines by name.
Unit       USD per GPU-hour: `original_value`, the price before discounts. `value` is what this account pays, so it is a
           contracted rate, which belongs to the ledger. The answer states no currency; prepayment is in dollars.
Quirks     vCPUs, memory, volumes, addresses and language models are in the same list and are told from GPUs by their
           names alone; each is counted by its name, so that a GPU named in a new way shows. GPU memory is in the name
           only. Reservations are negotiated and not in the list.
Verified   2026-11-24 against the documented schema PricebookModel and a price page of 2026-08-26, not live. Until the
           first live call: every field. An answer in which a needed field is in no entry is refused, and says which.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scrapers.errors import IncompleteSnapshotError, one_line
from scrapers.prices.base import Fetched, KeyUse, PriceSource, Pull, Unchanged, drift, json_payloads
from scrapers.records import (
    ParsedSnapshot,
    PriceRecord,
    Reason,
    RecordCollector,
    RejectedValueError,
    instant,
    price,
    text,
)
from scrapers.snapshot import Snapshot

_FIELDS = ("name", "original_value", "start_time", "end_time")
# How every GPU of the documentation begins: RTX-A6000, A100-80G-PCIe, GB200, L40, MI300X ...
_GPU = re.compile(r"RTX|(?:MI|G[BH]|[ABHLTV])\d", re.ASCII)
_SPOT = "-spot"


class Hyperstack(PriceSource):
    """Hyperstack's price book."""

    name = "hyperstack"
    title = "Hyperstack price book"
    docs = "https://docs.hyperstack.cloud/docs/api-reference/get-pricebook"
    base_url = "https://infrahub-api.nexgencloud.com"
    key = KeyUse.REQUIRED
    api_key_env = "HYPERSTACK_API_KEY"
    dataset = "pricebook"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Fetch the price book."""
        answer = pull.client.get(pull.url("/v1/pricebook"), headers={"api_key": pull.options.api_key or ""})
        if not _entries(pull.json(answer), place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: the list is empty; fetch it again")
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per GPU."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, entry in enumerate(_entries(value, place=payload.name), start=1):
                location = f"{payload.name} entry {number}"
                with rows.rejecting(location):
                    if not isinstance(entry, dict):
                        raise RejectedValueError(Reason.UNREADABLE_ROW, field="entry", value=entry)
                    _add(entry, rows, snapshot=snapshot, location=location, url=payload.url)
        return rows.result()


def _entries(value: object, *, place: str) -> list[Any]:
    """Return the entries of a price book, or say which fields it was expected to have."""
    if not isinstance(value, list):
        raise drift(place, f"a JSON list was expected, not {type(value).__name__}")
    objects = [entry for entry in value if isinstance(entry, dict)]
    if value and not objects:
        raise drift(place, f"a JSON object was expected for every entry, not {type(value[0]).__name__}")
    missing = [field for field in _FIELDS if objects and not any(field in entry for entry in objects)]
    if missing:
        present = ", ".join(sorted({one_line(field, limit=40) for entry in objects for field in entry}))
        raise drift(place, f"absent from every entry: {', '.join(missing)}; present: {one_line(present)}")
    return value


def _add(entry: Mapping[str, Any], rows: RecordCollector, *, snapshot: Snapshot, location: str, url: str) -> None:
    name = text(entry, "name")
    if not _GPU.match(name):
        rows.skip("resource_" + re.sub(r"\W+", "_", one_line(name, limit=60).lower(), flags=re.ASCII).strip("_"))
        return
    starts_at = instant(entry.get("start_time"), field="start_time")
    ended_at = instant(entry.get("end_time"), field="end_time")
    if ended_at and ended_at <= snapshot.fetched_at:
        rows.skip("no_longer_effective")
        return
    is_spot = name.endswith(_SPOT)
    record = PriceRecord(
        sku_id=name,
        offer_id=name,
        region_raw="global",
        gpu_name_raw=name.removesuffix(_SPOT),
        gpu_count_raw=Decimal(1),
        pricing_model_raw="spot" if is_spot else "on-demand",
        price_amount=price(entry.get("original_value"), field="original_value"),
        price_currency="USD",
        price_unit_raw="GPU hour (original_value)",
        effective_at=starts_at,
        source_url=url,
    )
    # An announced price stands beside the one in force; it is no contradiction.
    announced_at = starts_at if starts_at and starts_at > snapshot.fetched_at else None
    rows.add(record, key=(record.sku_id, announced_at), location=location)
