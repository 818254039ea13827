"""Akamai Cloud (Linode) list prices of GPU plans, per instance.

Endpoint   GET https://api.linode.com/v4/linode/types.
Auth       none.
Paging     `page` of `pages`, 500 items a page; `results` says how many there are in all.
A row      one plan: `price.hourly` as the price of every region ("global"), and each entry of `region_prices` as the
           price of that region, which stands instead of the global one.
Unit       USD per instance-hour. The currency is documented, not stated. `monthly` is a cap below 730 x hourly, no
           offer of its own.
Quirks     The GPU is named in `label` only ("RTX4000 Ada x1 Small", "Dedicated 32GB + RTX6000 GPU x1"); what stands
           before the count is taken as its name, or the whole label. Class "accelerated" is NETINT video, not GPU.
           Price 0: a plan that is not open to everybody, such as the Blackwell ones in 2026.
Verified   2026-11-23 against documented examples and figures that others read from the API in 2026, not live; no
           recording of a GPU plan is at hand. Unverified: labels of the Blackwell plans, region prices of a GPU plan.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from scrapers.errors import IncompleteSnapshotError
from scrapers.prices.base import (
    Fetched,
    Page,
    PriceSource,
    Pull,
    Unchanged,
    drift,
    expect_list,
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

_EVERYWHERE = "global"
_LABEL = re.compile(r"(?:.* \+ )?(.+?)(?: GPU)? x\d+(?: .*)?")


class Linode(PriceSource):
    """Linode's public list of plans."""

    name = "linode"
    title = "Akamai Cloud (Linode) plans"
    docs = "https://techdocs.akamai.com/linode-api/reference/get-linode-types"
    base_url = "https://api.linode.com"
    dataset = "types"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Walk all pages of the list."""
        stated: list[object] = []

        def read(page: Page) -> tuple[list[Any], dict[str, str] | None]:
            items = expect_list(page.value, "data", place=page.place)
            number, last = page.value.get("page"), page.value.get("pages")
            if not isinstance(number, int) or not isinstance(last, int):
                raise drift(page.place, "fields 'page' and 'pages' are not numbers, so the end of the list is unknown")
            stated.append(page.value.get("results"))
            return items, {"page": str(number + 1)} if number < last else None

        count = walk_pages(pull, "/v4/linode/types", read, params={"page_size": "500"})
        if count == 0 or stated[-1] != count:
            raise IncompleteSnapshotError(f"{pull.dataset}: {count} plans arrived of {stated[-1]}; fetch again")
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per GPU plan and price."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, plan in enumerate(expect_list(value, "data", place=payload.name), start=1):
                location = f"{payload.name} data[{number}]"
                with rows.rejecting(location):
                    if not isinstance(plan, dict):
                        raise RejectedValueError(Reason.UNREADABLE_ROW, field="data", value=plan)
                    _add(plan, rows, location=location, url=payload.url)
        return rows.result()


def _add(plan: Mapping[str, Any], rows: RecordCollector, *, location: str, url: str) -> None:
    gpu_count = quantity(plan.get("gpus"), field="gpus")
    if not gpu_count:
        rows.skip("no_gpu")
        return
    plan_id, label = text(plan, "id"), text(plan, "label")
    named = _LABEL.fullmatch(label)
    for region, stated in _prices(plan):
        place = f"{location} {region}"
        with rows.rejecting(place):
            if not isinstance(stated, dict):
                raise RejectedValueError(Reason.UNREADABLE_FIELD, field="price", value=stated)
            if stated.get("hourly") == 0 and stated.get("hourly") is not False:
                rows.skip("not_open_to_everybody")
                continue
            record = PriceRecord(
                sku_id=plan_id,
                offer_id=plan_id,
                instance_type=plan_id,
                region_raw=text({"id": region}, "id"),
                gpu_name_raw=named[1] if named else label,
                gpu_count_raw=gpu_count,
                pricing_model_raw="hourly",
                product_name_raw=label,
                price_amount=price(stated.get("hourly"), field="hourly"),
                price_currency="USD",
                price_unit_raw="instance hour",
                source_url=url,
            )
            rows.add(record, key=(plan_id, record.region_raw), location=place)


def _prices(plan: Mapping[str, Any]) -> Iterator[tuple[object, object]]:
    """Yield region and price of what a plan states."""
    yield _EVERYWHERE, plan.get("price")
    entries = plan.get("region_prices") or []
    if not isinstance(entries, list):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="region_prices", value=entries)
    for entry in entries:
        yield (entry.get("id"), entry) if isinstance(entry, dict) else (None, entry)
