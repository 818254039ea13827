"""OVHcloud list prices of Public Cloud GPU instances, per instance, by the hour or by the month.

Endpoint   GET https://api.ovh.com/1.0/order/catalog/public/cloud?ovhSubsidiary=FR: one catalogue per subsidiary, which
           is the company that bills. `regions` in the ledger lists subsidiaries, in lower case.
Auth       none.
Paging     none: one answer of several MB.
A row      one addon, which is a flavour and a way to pay: plan code `h100-380.consumption` (by the hour) or
           `h100-380.monthly.postpaid` (by the month, sold as such). The price holds in all regions of the subsidiary,
           so the subsidiary stands as region; a fleet entry in the ledger writes it too (`region: FR`).
Unit       currency of `locale.currencyCode`, without tax, per instance-hour or instance-month. Prices are integers in
           1e-8 of the currency, converted here. Only catalogues in euros are taken: each source has one currency.
Quirks     The plan code says how it is paid; `intervalUnit` is "none" in some catalogues. Flavours with a Windows
           licence (win-*) and managed AI services, priced per minute, carry GPUs too. Codes with more parts
           (.3AZ, .LZ) are prices of single places. A tag "coming_soon" stands on flavours with a price.
Verified   2026-11-23 against a test catalogue in the real shape (OpenCost, 2025-26, two addons) and figures that others
           read from the FR catalogue in 2025-26, not live. Unverified: `blobs.tags` and `os` of every flavour.
"""

import re
from collections.abc import Mapping
from typing import Any

from scrapers.errors import IncompleteSnapshotError, PermanentError, SchemaDriftError, one_line
from scrapers.prices.base import (
    Fetched,
    PriceSource,
    Pull,
    Unchanged,
    drift,
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

_SUBSIDIARY = re.compile(r"[a-z]{2,4}", re.ASCII)
# Way to pay, which is the end of a plan code -> what the amount covers, and the interval it may state.
_PAID = {
    "consumption": ("instance hour from 1e-8", "hour"),
    "monthly.postpaid": ("instance month from 1e-8", "month"),
}


class Ovh(PriceSource):
    """OVHcloud's public order catalogue."""

    name = "ovh"
    title = "OVHcloud Public Cloud catalogue"
    docs = "https://eu.api.ovh.com/console/"
    base_url = "https://api.ovh.com"
    currency = "EUR"
    default_regions = ("fr",)

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Fetch the catalogue of one subsidiary."""
        if not _SUBSIDIARY.fullmatch(pull.region):
            raise PermanentError(f"{one_line(pull.region)!r} is not an OVH subsidiary such as fr")
        asked = pull.region.upper()
        answer = pull.client.get(pull.url("/1.0/order/catalog/public/cloud"), params={"ovhSubsidiary": asked})
        catalogue = pull.json(answer)
        if not expect_list(catalogue, "addons", place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'addons' is empty; fetch it again")
        answered = _subsidiary(catalogue, place=pull.dataset)
        if answered != asked:
            raise SchemaDriftError(f"{pull.dataset}: the catalogue of {asked} was asked for, that of {answered} came")
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per GPU flavour and way to pay."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            addons = expect_list(value, "addons", place=payload.name)
            subsidiary = _subsidiary(value, place=payload.name)
            for number, addon in enumerate(addons, start=1):
                location = f"{payload.name} addons[{number}]"
                with rows.rejecting(location):
                    if not isinstance(addon, dict):
                        raise RejectedValueError(Reason.UNREADABLE_ROW, field="addons", value=addon)
                    if outside := _outside(addon):
                        rows.skip(outside)
                        continue
                    record = _record(addon, subsidiary=subsidiary, url=payload.url)
                    rows.add(record, key=(record.sku_id,), location=location)
        return rows.result()


def _subsidiary(catalogue: Mapping[str, Any], *, place: str) -> str:
    """Return whose catalogue it is, if it is in the currency of this source."""
    locale = expect_object(catalogue.get("locale"), place=f"{place} field 'locale'")
    subsidiary, currency = locale.get("subsidiary"), locale.get("currencyCode")
    if not isinstance(subsidiary, str) or not subsidiary:
        raise drift(place, "field 'locale.subsidiary' is absent or not text")
    if currency != Ovh.currency:
        raise SchemaDriftError(
            f"{place}: prices in {one_line(currency)}, not {Ovh.currency}: name a subsidiary that bills in euros"
        )
    return subsidiary


def _outside(addon: Mapping[str, Any]) -> str | None:
    """Return why an addon is no price of a Linux GPU instance, None if it is one."""
    technical = _blobs(addon, "technical")
    gpu = technical.get("gpu")
    if not gpu or (isinstance(gpu, dict) and gpu.get("number") == 0):
        return "no_gpu"
    code, product = text(addon, "planCode"), optional_text(addon, "product")
    if product is not None and not product.startswith("publiccloud-instance"):
        # A managed service on GPUs; named, so that a new one shows in the counts.
        return "product_" + re.sub(r"\W+", "_", product.lower(), flags=re.ASCII)
    flavour, _, paid = code.partition(".")
    if paid not in _PAID:
        return "paid_" + re.sub(r"\W+", "_", paid.lower(), flags=re.ASCII)
    system = technical.get("os")
    if flavour.startswith("win-") or (isinstance(system, dict) and system.get("family") == "windows"):
        return "windows"
    tags = _blobs(addon).get("tags")
    if isinstance(tags, list) and "coming_soon" in tags:
        return "coming_soon"
    return None


def _blobs(addon: Mapping[str, Any], part: str | None = None) -> Mapping[str, Any]:
    """Return the free description of an addon, or a part of it; empty where there is none."""
    found = addon.get("blobs")
    if part is not None and isinstance(found, dict):
        found = found.get(part)
    return found if isinstance(found, dict) else {}


def _record(addon: Mapping[str, Any], *, subsidiary: str, url: str) -> PriceRecord:
    code = text(addon, "planCode")
    flavour, _, paid = code.partition(".")
    unit, interval = _PAID[paid]
    gpu = _blobs(addon, "technical")["gpu"]
    if not isinstance(gpu, dict):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="gpu", value=gpu)
    memory = gpu.get("memory")
    pricings = addon.get("pricings")
    if not isinstance(pricings, list) or not pricings or not isinstance(pricings[0], dict):
        raise RejectedValueError(Reason.MISSING_FIELD, field="pricings")
    if len(pricings) > 1:
        raise RejectedValueError(Reason.TIERED_PRICE, field="pricings", value=len(pricings))
    pricing = pricings[0]
    if pricing.get("intervalUnit") not in (None, "none", interval):
        raise RejectedValueError(Reason.UNKNOWN_UNIT, field="intervalUnit", value=pricing["intervalUnit"])
    amount = price(pricing.get("price"), field="price")
    if amount != amount.to_integral_value():
        # Not in 1e-8 then.
        raise RejectedValueError(Reason.UNKNOWN_UNIT, field="price", value=amount)
    return PriceRecord(
        sku_id=code,
        offer_id=code,
        instance_type=flavour,
        region_raw=subsidiary,
        gpu_name_raw=text(gpu, "model"),
        gpu_count_raw=quantity(gpu.get("number"), field="gpu.number"),
        gpu_memory_gb_raw=quantity(memory.get("size"), field="gpu.memory") if isinstance(memory, dict) else None,
        pricing_model_raw=paid,
        product_name_raw=optional_text(addon, "invoiceName"),
        price_amount=amount.scaleb(-8),
        price_currency=Ovh.currency,
        price_unit_raw=unit,
        source_url=url,
    )
