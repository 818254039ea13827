"""Scaleway list prices of GPU Instances, per instance.

Endpoint   GET https://api.scaleway.com/instance/v1/zones/{zone}/products/servers, one walk per zone.
Auth       none.
Paging     `page` and `per_page`; the answer does not say how many there are, so a page that is not full is the last.
A row      one Instance type in one zone. `servers` is an object keyed by the name of the type.
Unit       euros per instance-hour, without tax. The answer does not state the currency; it is the documented one.
           `monthly_price` is 730 x hourly, no offer of its own.
Quirks     `gpu` counts GPUs; `gpu_info.gpu_memory` is in bytes per GPU, binary (85899345920 is 80) in the live answers
           of 2026-08 and decimal (80000000000) in an example. A type at the end of its service is not sold to
           newcomers; one with a MIG profile holds a slice, whatever `gpu` says. Stock is in another list.
Verified   2026-11-23 against a documented example and figures that others read from the API in 2026-08, not live; no
           recording is at hand. Unverified: which other zones list GPUs.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scrapers.errors import IncompleteSnapshotError, PermanentError, one_line
from scrapers.prices.base import (
    Fetched,
    Page,
    PriceSource,
    Pull,
    Unchanged,
    drift,
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
    price,
    quantity,
    text,
)
from scrapers.snapshot import Snapshot

_ZONE = re.compile(r"[a-z]{2}-[a-z]{3}-[1-9]", re.ASCII)
_PER_PAGE = 100
_MOST_BYTES = 10**15


class Scaleway(PriceSource):
    """Scaleway's public list of Instance types."""

    name = "scaleway"
    title = "Scaleway Instance types"
    docs = "https://www.scaleway.com/en/developers/api/instances/"
    base_url = "https://api.scaleway.com"
    currency = "EUR"
    # Zones in which public readings of 2026 found H100, L40S and L4. A zone without a GPU would be refused as empty.
    default_regions = ("fr-par-2", "pl-waw-2")

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Walk all pages of a zone."""
        if not _ZONE.fullmatch(pull.region):
            raise PermanentError(f"{one_line(pull.region)!r} is not a Scaleway zone such as fr-par-2")

        def read(page: Page) -> tuple[list[Any], dict[str, str] | None]:
            servers = list(_servers(page.value, place=page.place).items())
            return servers, {"page": str(page.number + 1)} if len(servers) >= _PER_PAGE else None

        path = f"/instance/v1/zones/{pull.region}/products/servers"
        if not walk_pages(pull, path, read, params={"per_page": str(_PER_PAGE), "page": "1"}):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'servers' is empty; fetch it again")
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per GPU Instance type."""
        rows = RecordCollector()
        zone = self.region(snapshot.dataset)
        for payload, value in json_payloads(snapshot):
            for name, server in _servers(value, place=payload.name).items():
                location = f"{payload.name} {one_line(name, limit=60)}"
                with rows.rejecting(location):
                    if not isinstance(server, dict):
                        raise RejectedValueError(Reason.UNREADABLE_ROW, field="servers", value=server)
                    if outside := _outside(server):
                        rows.skip(outside)
                        continue
                    record = _record(name, server, zone=zone, url=payload.url)
                    rows.add(record, key=(record.sku_id,), location=location)
        return rows.result()


def _servers(value: object, *, place: str) -> Mapping[str, Any]:
    servers = expect_object(value, place=place).get("servers")
    if not isinstance(servers, dict):
        raise drift(place, "field 'servers' is absent or not an object")
    return servers


def _outside(server: Mapping[str, Any]) -> str | None:
    """Return why a type is no offer of whole GPUs, None if it is one."""
    if not server.get("gpu"):
        return "no_gpu"
    if server.get("end_of_service"):
        return "end_of_service"
    if server.get("mig_profile"):
        return "mig_slice"
    return None


def _record(name: str, server: Mapping[str, Any], *, zone: str, url: str) -> PriceRecord:
    gpu = server.get("gpu_info")
    if not isinstance(gpu, dict):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="gpu_info", value=gpu)
    return PriceRecord(
        sku_id=name,
        offer_id=name,
        instance_type=name,
        region_raw=zone,
        gpu_name_raw=text(gpu, "gpu_name"),
        gpu_count_raw=quantity(server["gpu"], field="gpu"),
        gpu_memory_gb_raw=_memory_gb(gpu.get("gpu_memory")),
        pricing_model_raw="hourly_price",
        price_amount=price(server.get("hourly_price"), field="hourly_price"),
        price_currency=Scaleway.currency,
        price_unit_raw="instance hour",
        source_url=url,
    )


def _memory_gb(stated: object) -> Decimal | None:
    """Return bytes as whole GiB where they are that, else as GB."""
    memory = quantity(stated, field="gpu_info.gpu_memory")
    if memory is None:
        return None
    if not (memory.is_finite() and 0 < memory < _MOST_BYTES):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="gpu_info.gpu_memory", value=stated)
    return memory / 2**30 if memory % 2**30 == 0 else (memory / 10**9).quantize(Decimal("0.000001"))
