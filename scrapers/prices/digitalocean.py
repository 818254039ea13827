"""DigitalOcean list prices of GPU Droplets, per instance.

Endpoint   GET https://api.digitalocean.com/v2/sizes.
Auth       a personal access token as a bearer token; the scopes sizes:read and regions:read are enough.
Paging     `links.pages.next` is an address, absent on the last page; `meta.total` says how many sizes there are.
A row      one size in one region it can be created in. The price is the same in all of them.
Unit       USD per instance-hour (`price_hourly`). The currency is documented, not stated. `price_monthly` is an
           estimate, no offer of its own.
Quirks     `regions` may be empty: not sold, at least not to the account of the key. The slug says how a size is
           bought: "-spot" at its end is spot, "-contracted" is for holders of a contract and not a list price.
           `gpu_info.vram` is the memory of all GPUs of the size: 640 for eight H100.
Verified   2026-11-23 against a recording of 2025 (two GPU sizes) and a public reading of 2026-10-08 (slugs, prices),
           not live. Unverified: `gpu_info` of spot sizes.
"""

from collections.abc import Mapping
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
    price,
    quantity,
    text,
)
from scrapers.snapshot import Snapshot

_MOST_GPUS, _MOST_MEMORY_GB = 1_000, 100_000


class Digitalocean(PriceSource):
    """DigitalOcean's list of Droplet sizes."""

    name = "digitalocean"
    title = "DigitalOcean GPU Droplets"
    docs = "https://docs.digitalocean.com/reference/api/reference/sizes/"
    base_url = "https://api.digitalocean.com"
    key = KeyUse.REQUIRED
    api_key_env = "DIGITALOCEAN_ACCESS_TOKEN"
    dataset = "sizes"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Walk all pages of the list."""
        stated: list[object] = []

        def read(page: Page) -> tuple[list[Any], str | None]:
            sizes = expect_list(page.value, "sizes", place=page.place)
            links = expect_object(page.value.get("links"), place=f"{page.place} field 'links'")
            pages = expect_object(links.get("pages") or {}, place=f"{page.place} field 'links.pages'")
            following = pages.get("next")
            if following and not isinstance(following, str):
                raise drift(page.place, "field 'links.pages.next' is not text")
            meta = expect_object(page.value.get("meta"), place=f"{page.place} field 'meta'")
            stated.append(meta.get("total"))
            return sizes, following

        count = walk_pages(pull, "/v2/sizes", read, params={"per_page": "200"}, headers=pull.bearer)
        if count == 0 or stated[-1] != count:
            raise IncompleteSnapshotError(f"{pull.dataset}: {count} sizes arrived of {stated[-1]}; fetch again")
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per GPU size and region."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, size in enumerate(expect_list(value, "sizes", place=payload.name), start=1):
                location = f"{payload.name} sizes[{number}]"
                with rows.rejecting(location):
                    if not isinstance(size, dict):
                        raise RejectedValueError(Reason.UNREADABLE_ROW, field="sizes", value=size)
                    _add(size, rows, location=location, url=payload.url)
        return rows.result()


def _add(size: Mapping[str, Any], rows: RecordCollector, *, location: str, url: str) -> None:
    gpu = size.get("gpu_info")
    if gpu is None:
        rows.skip("no_gpu")
        return
    if not isinstance(gpu, dict):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="gpu_info", value=gpu)
    slug, regions = text(size, "slug"), size.get("regions")
    if not isinstance(regions, list):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="regions", value=regions)
    if slug.endswith("-contracted"):
        rows.skip("contract_only")
        return
    if not regions:
        rows.skip("no_region")
        return
    gpu_count = quantity(gpu.get("count"), field="gpu_info.count")
    is_available = size.get("available")
    for region in regions:
        record = PriceRecord(
            sku_id=slug,
            offer_id=slug,
            instance_type=slug,
            region_raw=text({"regions": region}, "regions"),
            gpu_name_raw=text(gpu, "model"),
            gpu_count_raw=gpu_count,
            gpu_memory_gb_raw=_memory_gb_per_gpu(gpu.get("vram"), gpu_count),
            pricing_model_raw="price_hourly spot" if slug.endswith("-spot") else "price_hourly",
            price_amount=price(size.get("price_hourly"), field="price_hourly"),
            price_currency="USD",
            price_unit_raw="instance hour",
            is_available=is_available if isinstance(is_available, bool) else None,
            source_url=url,
        )
        rows.add(record, key=(slug, record.region_raw), location=f"{location} {record.region_raw}")


def _memory_gb_per_gpu(vram: object, gpu_count: Decimal | None) -> Decimal | None:
    """Return the share of one GPU; None where amount or unit is not what is known."""
    if not isinstance(vram, dict) or vram.get("unit") not in ("gib", "gb"):
        return None
    total = quantity(vram.get("amount"), field="gpu_info.vram.amount")
    if total is None or gpu_count is None or not (total.is_finite() and gpu_count.is_finite()):
        return None
    if not (1 <= total <= _MOST_MEMORY_GB and 1 <= gpu_count <= _MOST_GPUS):
        return None
    return (total / gpu_count).quantize(Decimal("0.000001"))
