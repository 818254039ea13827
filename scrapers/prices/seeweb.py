"""Seeweb list prices of Cloud Server GPU plans, per instance.

Endpoint   GET https://api.seeweb.it/ecs/v2/plans.
Auth       an API token in the header X-APITOKEN.
Paging     none: one answer.
A row      one plan in one region it is offered in; the price is the same in all of them.
Unit       per instance-hour (`hourly_price`). The currency is not stated: taken as euros, that of an Italian provider,
           and not confirmed by any document at hand (gpuhunt reads dollars). Check it against a bill.
Quirks     Most numbers are text. Plans without GPU have `gpu` "0"; names ending in W are Windows plans. `gpu_label`
           may name the memory of one GPU ("A100 80GB") or not ("MI300X"); it does not tell A100 PCIe from SXM, which
           the seeds take as PCIe. No region: not sold.
Verified   2026-11-23 against a recording of 2026 (four plans), not live. Unverified: currency, Windows plans, whether
           `available` differs by region.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scrapers.errors import IncompleteSnapshotError, SchemaDriftError, one_line
from scrapers.prices.base import (
    Fetched,
    KeyUse,
    PriceSource,
    Pull,
    Unchanged,
    expect_list,
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

_MEMORY = re.compile(r".* (\d{1,4})GB", re.ASCII)


class Seeweb(PriceSource):
    """Seeweb's list of plans."""

    name = "seeweb"
    title = "Seeweb Cloud Server plans"
    docs = "https://github.com/rh363/ecsapi_client"
    base_url = "https://api.seeweb.it"
    key = KeyUse.REQUIRED
    api_key_env = "SEEWEB_API_TOKEN"
    dataset = "plans"
    currency = "EUR"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Fetch the list."""
        token = {"X-APITOKEN": pull.options.api_key} if pull.options.api_key else {}
        answer = pull.client.get(pull.url("/ecs/v2/plans"), headers=token)
        if not _plans(pull.json(answer), place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'plans' is empty; fetch it again")
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per GPU plan and region."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, plan in enumerate(_plans(value, place=payload.name), start=1):
                location = f"{payload.name} plans[{number}]"
                with rows.rejecting(location):
                    if not isinstance(plan, dict):
                        raise RejectedValueError(Reason.UNREADABLE_ROW, field="plans", value=plan)
                    _add(plan, rows, location=location, url=payload.url)
        return rows.result()


def _plans(answer: object, *, place: str) -> list[Any]:
    plans = expect_list(answer, "plans", place=place)
    status = answer.get("status") if isinstance(answer, dict) else None
    if status != "ok":
        raise SchemaDriftError(f"{place}: field 'status' says {one_line(status)!r}, not 'ok'")
    return plans


def _add(plan: Mapping[str, Any], rows: RecordCollector, *, location: str, url: str) -> None:
    gpu_count = quantity(plan.get("gpu"), field="gpu")
    if not gpu_count:
        rows.skip("no_gpu")
        return
    name, regions = text(plan, "name"), plan.get("available_regions")
    if name.endswith("W"):
        rows.skip("windows")
        return
    if not isinstance(regions, list):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="available_regions", value=regions)
    if not regions:
        rows.skip("no_region")
        return
    label = optional_text(plan, "gpu_label")
    memory = _MEMORY.fullmatch(label or "")
    is_available = plan.get("available")
    for region in regions:
        if not isinstance(region, dict):
            raise RejectedValueError(Reason.UNREADABLE_FIELD, field="available_regions", value=region)
        record = PriceRecord(
            sku_id=name,
            offer_id=name,
            instance_type=name,
            region_raw=text(region, "location"),
            gpu_name_raw=label,
            gpu_count_raw=gpu_count,
            gpu_memory_gb_raw=Decimal(memory[1]) if memory else None,
            pricing_model_raw="hourly_price",
            price_amount=price(plan.get("hourly_price"), field="hourly_price"),
            price_currency=Seeweb.currency,
            price_unit_raw="instance hour",
            is_available=is_available if isinstance(is_available, bool) else None,
            source_url=url,
        )
        rows.add(record, key=(name, record.region_raw), location=f"{location} {record.region_raw}")
