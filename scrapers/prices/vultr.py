"""Vultr list prices of cloud GPU and bare metal plans, per instance.

Endpoint   GET https://api.vultr.com/v2/plans?type=all and /v2/plans-metal: two lists, one dataset each.
Auth       none.
Paging     `meta.links.next` is a cursor, empty on the last page; `meta.total` says how many plans there are.
A row      one plan in one location at `hourly_cost` (on demand) or `hourly_cost_preemptible` (spot).
Unit       USD per instance-hour; `location_cost` states other prices for single locations. USD is documented, not
           stated. `monthly_cost` is a cap (672 h for some plans), no offer of its own.
Quirks     No `locations`: not sold now. An empty string can stand among the locations. `deploy_ondemand` and
           `deploy_preemptible` tell whether the price can be bought; older answers lack both. Shares of a GPU have a
           `gpu_count` such as "1/4"; older answers lack it, and then the count is the memory of the plan over that of
           one GPU. Bare metal and dedicated plans (type vdm) state their GPU in the id only, at least without a key:
           `vbm-64c-2048gb-8-l40-gpu` is eight L40S, and `vcg-mi325x-252c-2872g-1536vram` is said to be eight GPUs of
           256 GB, so that no count is taken from its name.
Verified   2026-11-23 against recordings of 2024-26 (three cloud and two metal plans) and public readings of 2026-09
           (ids, flags, fractions), not live. Unverified: `gpu_type` and `gpu_count` in the metal list, `location_cost`
           of a GPU plan.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from scrapers.errors import IncompleteSnapshotError
from scrapers.prices.base import (
    Fetched,
    Page,
    PriceSource,
    Pull,
    SourceOptions,
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

# dataset, which is also the path -> field of the answer
_LISTS = {"plans": "plans", "plans-metal": "plans_metal"}
# price field -> flag that says whether the plan can be bought that way
_PRICES = {"hourly_cost": "deploy_ondemand", "hourly_cost_preemptible": "deploy_preemptible"}
_CLOUD_ID = re.compile(r"vcg-([a-z0-9]+)-.*?(?:-(\d+)vram)?", re.ASCII)
_METAL_ID = re.compile(r"vbm-.*?(?:-(\d+))?-([a-z0-9]+)-gpu", re.ASCII)
_COUNT = re.compile(r"[1-9]\d{0,3}(?:/[1-9]\d{0,3})?", re.ASCII)
# GB of one GPU in Vultr's own figures: whole-GPU plans of 2026-09, such as vcg-b200-248c-2826g-1536vram with eight.
_MEMORY_GB = {"a16": 16, "a40": 48, "a100": 80, "l40s": 48, "h100": 80, "b200": 192, "mi300x": 192, "mi355x": 288}


class Vultr(PriceSource):
    """Vultr's public plan lists."""

    name = "vultr"
    title = "Vultr plans"
    docs = "https://www.vultr.com/api/"
    base_url = "https://api.vultr.com"

    def datasets(self, options: SourceOptions) -> list[str]:
        """Return the two lists, whatever the regions: each plan names its locations."""
        return list(_LISTS)

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Walk all pages of one list."""
        params = {"per_page": "500"} | ({"type": "all"} if pull.dataset == "plans" else {})
        stated: list[object] = []

        def read(page: Page) -> tuple[list[Any], dict[str, str] | None]:
            plans = expect_list(page.value, _LISTS[pull.dataset], place=page.place)
            meta = expect_object(page.value.get("meta"), place=f"{page.place} field 'meta'")
            links = expect_object(meta.get("links"), place=f"{page.place} field 'meta.links'")
            if not isinstance(links.get("next"), str):
                raise drift(page.place, "field 'meta.links.next' is not text, so the end of the list is unknown")
            stated.append(meta.get("total"))
            return plans, {"cursor": links["next"]} if links["next"] else None

        count = walk_pages(pull, f"/v2/{pull.dataset}", read, params=params)
        if count == 0 or stated[-1] not in (None, count):
            raise IncompleteSnapshotError(f"{pull.dataset}: {count} plans arrived of {stated[-1]}; fetch again")
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per GPU plan, location and way to buy."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            answer = expect_object(value, place=payload.name)
            field = next((field for field in _LISTS.values() if field in answer), "plans")
            for number, plan in enumerate(expect_list(answer, field, place=payload.name), start=1):
                location = f"{payload.name} {field}[{number}]"
                with rows.rejecting(location):
                    if not isinstance(plan, dict):
                        raise RejectedValueError(Reason.UNREADABLE_ROW, field=field, value=plan)
                    _add(plan, rows, location=location, url=payload.url)
        return rows.result()


def _add(plan: Mapping[str, Any], rows: RecordCollector, *, location: str, url: str) -> None:
    plan_id = text(plan, "id")
    gpu_name, gpu_count, gpu_memory_gb = _gpu(plan, plan_id)
    if gpu_name is None:
        rows.skip("no_gpu")
        return
    regions = plan.get("locations")
    if not isinstance(regions, list):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="locations", value=regions)
    if not regions:
        rows.skip("no_location")
        return
    for field, flag in _PRICES.items():
        if plan.get(flag) is False or field not in plan:
            rows.skip(f"{field}_not_sold")
            continue
        for region in regions:
            if region == "":
                rows.skip("empty_location")
                continue
            place = f"{location}.{field} {region}"
            with rows.rejecting(place):
                record = PriceRecord(
                    sku_id=plan_id,
                    offer_id=f"{plan_id}/{field}",
                    instance_type=plan_id,
                    region_raw=text({"locations": region}, "locations"),
                    gpu_name_raw=gpu_name,
                    gpu_count_raw=gpu_count,
                    gpu_memory_gb_raw=gpu_memory_gb,
                    pricing_model_raw=field,
                    price_amount=price(_costs(plan, region).get(field), field=field),
                    price_currency="USD",
                    price_unit_raw="instance hour",
                    source_url=url,
                )
                rows.add(record, key=(record.offer_id, record.region_raw), location=place)


def _costs(plan: Mapping[str, Any], region: str) -> Mapping[str, Any]:
    """Return where the prices of a location stand: in the plan, unless the location has prices of its own."""
    by_location = plan.get("location_cost")
    if not isinstance(by_location, dict) or region not in by_location:
        return plan
    own = by_location[region]
    if not isinstance(own, dict):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="location_cost", value=own)
    return own


def _gpu(plan: Mapping[str, Any], plan_id: str) -> tuple[str | None, Decimal | None, Decimal | None]:
    """Return name, count and memory of one GPU, as far as the fields or the id of a plan state them."""
    cloud, metal = _CLOUD_ID.fullmatch(plan_id), _METAL_ID.fullmatch(plan_id)
    word = cloud[1] if cloud else metal[2] if metal else None
    count = _count(plan.get("gpu_count"), "gpu_count") or _count(metal and metal[1], "id")
    memory_gb = _memory_gb(plan.get("gpu_vram_gb") or (cloud and cloud[2]))
    if count is None and memory_gb and word in _MEMORY_GB:
        count = memory_gb / _MEMORY_GB[word]
    return (
        optional_text(plan, "gpu_type") or word,
        _rounded(count) if count else None,
        _rounded(memory_gb / count) if count and memory_gb else None,
    )


def _count(stated: object, field: str) -> Fraction | None:
    """Return a count such as 8, "8" or "1/3", exactly; None where it is not stated."""
    if stated is None or stated == "":
        return None
    if not _COUNT.fullmatch(str(stated)):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field=field, value=stated)
    return Fraction(str(stated))


def _memory_gb(stated: object) -> Fraction | None:
    """Return the memory of a plan's GPUs, or of its share of one."""
    memory_gb = quantity(stated, field="gpu_vram_gb")
    if memory_gb is None:
        return None
    if not (memory_gb.is_finite() and 1 <= memory_gb <= 100_000):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="gpu_vram_gb", value=stated)
    return Fraction(memory_gb)


def _rounded(amount: Fraction) -> Decimal:
    """Return what decimal(18, 6) holds of it: 1/3 is 0.333333."""
    return (Decimal(amount.numerator) / amount.denominator).quantize(Decimal("0.000001"))
