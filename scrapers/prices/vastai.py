"""Vast.ai market prices, per GPU-hour: minimum, lower quartile and median over the machines on offer.

Endpoint   GET https://console.vast.ai/api/v0/bundles/?q=<JSON>, every offer that can be rented on demand now.
Auth       none; a key, if given, is sent as a bearer token. The documentation shows one; readers get answers without.
Paging     by the offer's id: each question asks for ids above the last one seen, until an answer is empty. `limit`
           alone cannot be trusted: without one an answer has 64 offers, and a reader reports 64 whatever is asked
           without a key. Answers out of the order of the id are refused: nobody could tell what is missing.
A row      one statistic of one GPU name, memory and verification, on demand (`dph_base`) or interruptible (`min_bid`).
           Offers come and go, so an offer is no series. A machine is offered whole and in slices; its largest slice
           stands for it. Quantiles weigh machines by their GPUs and are prices really asked, not interpolated. Below
           five machines there is no row.
Unit       USD per GPU-hour: the amount of an offer covers all its GPUs and is divided by `num_gpus`, rounded to eight
           decimals. `dph_base` is without disk, `dph_total` with the default disk. The answer states neither unit nor
           currency; both are Vast's documented convention.
Quirks     "A100 SXM4" is 40 or 80 GB: memory is part of the key. `gpu_ram` is MiB per GPU and differs by driver and ECC
           (39936 and 40960 are both the 40 GB card), so it is snapped to the size sold within 7 %. `verification` is
           the tier; machines that lost it ("deverified") are left out. Offers that are bids, rented or not rentable
           are outside the question. Recordings may lack `machine_id` and `dph_base`: then each distinct offer is a
           machine, and `dph_total` is the price, under a unit of its own.
Verified   2026-11-24 against a recording of 2026-10 (138 offers, four fields) and the published schema, not live. Until
           the first live call: paging by id, whether `min_bid` is for the whole offer as the other amounts are (one
           reader takes it so), and the rate limit without a key.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

_OFFERS_PER_PAGE = 1000
_MIN_MACHINES = 5
_STATISTICS = {"minimum": Decimal(0), "lower_quartile": Decimal("0.25"), "median": Decimal("0.5")}
# Memory sizes that GPUs are sold with, GB; a stated one within 7 % of the nearest is taken for it.
_MEMORY_SIZES_GB = (4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 94, 96, 128, 141, 180, 192, 256, 288)
_MEMORY_TOLERANCE = Decimal("0.07")
# An offer dearer than this is no price; it also keeps the division within what Decimal can round.
_OFFER_LIMIT_USD = Decimal(10) ** 6
_PRICE_STEP = Decimal(1).scaleb(-8)


@dataclass(frozen=True, slots=True)
class _Group:
    """What is compared: one GPU, one tier, one way to buy."""

    gpu_name: str
    memory_gb: int
    verification: str | None
    pricing_model: str
    price_field: str

    @property
    def sku_id(self) -> str:
        sku = f"{self.gpu_name} {self.memory_gb}GB"
        return sku if self.verification == "verified" else f"{sku} {self.verification or 'unstated'}"


@dataclass(frozen=True, slots=True)
class _Slice:
    """GPUs of one machine that are offered together."""

    gpus: int
    usd_per_gpu_hour: Decimal
    url: str


class Vastai(PriceSource):
    """The offers of Vast.ai's hosts."""

    name = "vastai"
    title = "Vast.ai market place"
    docs = "https://docs.vast.ai/api-reference/search/search-offers"
    base_url = "https://console.vast.ai"
    key = KeyUse.OPTIONAL
    dataset = "offers"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Walk all offers in the order of their id."""
        last_id = 0

        def read(page: Page) -> tuple[list[Any], dict[str, str] | None]:
            nonlocal last_id
            offers = expect_list(page.value, "offers", place=page.place)
            if not offers:
                return offers, None
            ids = [offer.get("id") if isinstance(offer, dict) else None for offer in offers]
            numbers = [number for number in ids if isinstance(number, int)]
            if len(numbers) != len(ids):
                raise drift(page.place, "a JSON object was expected for every offer, with a number as its 'id'")
            if numbers != sorted(set(numbers)) or numbers[0] <= last_id:
                raise drift(page.place, "the offers are not in the order of 'id' that was asked for")
            last_id = numbers[-1]
            return offers, {"q": _question(last_id)}

        if not walk_pages(pull, "/api/v0/bundles/", read, params={"q": _question(last_id)}, headers=pull.bearer):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'offers' is empty; fetch it again")
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return the statistics; takes API pages, and bare lists of offers (recordings)."""
        rows = RecordCollector()
        market: dict[_Group, dict[object, _Slice]] = {}
        for payload, value in json_payloads(snapshot):
            offers = value if isinstance(value, list) else expect_list(value, "offers", place=payload.name)
            for number, offer in enumerate(offers, start=1):
                with rows.rejecting(f"{payload.name} offer {number}"):
                    _collect(offer, market, rows, url=payload.url)
        for group, machines in market.items():
            if len(machines) < _MIN_MACHINES:
                rows.skip("fewer_than_5_machines", count=len(machines))
                continue
            for statistic, share in _STATISTICS.items():
                record = _record(group, statistic, _quantile(machines.values(), share))
                rows.add(record, key=(record.offer_id,), location=f"{group.sku_id} {group.pricing_model} {statistic}")
        return rows.result()


def _question(after_id: int) -> str:
    asked = {
        "type": "on-demand",
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "id": {"gt": after_id},
        "order": [["id", "asc"]],
        "limit": _OFFERS_PER_PAGE,
    }
    return json.dumps(asked, separators=(",", ":"))


def _collect(offer: object, market: dict[_Group, dict[object, _Slice]], rows: RecordCollector, *, url: str) -> None:
    """Put the prices of an offer into their groups, one slice per machine."""
    if not isinstance(offer, dict):
        raise RejectedValueError(Reason.UNREADABLE_ROW, field="offers", value=offer)
    verification = optional_text(offer, "verification")
    if offer.get("rentable") is False or offer.get("rented") is True or offer.get("is_bid") is True:
        rows.skip("not_rentable_on_demand")
        return
    if verification == "deverified":
        rows.skip("deverified")
        return
    gpu_name, memory_gb, gpus = text(offer, "gpu_name"), _memory_gb(offer), _gpu_count(offer)
    machine = _machine(offer)
    on_demand = "dph_base" if "dph_base" in offer else "dph_total"
    for model, price_field in (("on-demand", on_demand), ("bid", "min_bid")):
        if model == "bid" and offer.get(price_field) in (None, 0):
            rows.skip("no_minimum_bid")
            continue
        slice_ = _Slice(gpus, _per_gpu(offer, price_field, gpus), url)
        machines = market.setdefault(_Group(gpu_name, memory_gb, verification, model, price_field), {})
        known = machines.get(machine)
        if known is not None:
            rows.skip("another_slice_of_the_machine")
        if known is None or (gpus, -slice_.usd_per_gpu_hour) > (known.gpus, -known.usd_per_gpu_hour):
            machines[machine] = slice_


def _machine(offer: Mapping[str, Any]) -> object:
    machine = offer.get("machine_id")
    if machine is None:
        return json.dumps(offer, sort_keys=True, default=str)
    if isinstance(machine, bool) or not isinstance(machine, int):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="machine_id", value=machine)
    return machine


def _gpu_count(offer: Mapping[str, Any]) -> int:
    count = quantity(offer.get("num_gpus"), field="num_gpus")
    if count is None:
        raise RejectedValueError(Reason.MISSING_FIELD, field="num_gpus")
    if not count.is_finite() or not 1 <= count <= 1000 or count != int(count):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="num_gpus", value=count)
    return int(count)


def _memory_gb(offer: Mapping[str, Any]) -> int:
    """Return the size the GPU is sold with; the stated one in whole GiB where none is near."""
    stated_mib = quantity(offer.get("gpu_ram"), field="gpu_ram")
    if stated_mib is None:
        raise RejectedValueError(Reason.MISSING_FIELD, field="gpu_ram")
    if not stated_mib.is_finite() or not 1024 <= stated_mib <= 1024 * 1024:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="gpu_ram", value=stated_mib)
    stated_gib = stated_mib / 1024
    nearest: int = min(_MEMORY_SIZES_GB, key=lambda size: abs(size - stated_gib))
    return nearest if abs(nearest - stated_gib) <= nearest * _MEMORY_TOLERANCE else round(stated_gib)


def _per_gpu(offer: Mapping[str, Any], field: str, gpus: int) -> Decimal:
    """Return the price of one GPU, of an offer's amount with up to 16 digits."""
    total = quantity(offer.get(field), field=field)
    if total is not None and total.is_finite():
        if total >= _OFFER_LIMIT_USD:
            raise RejectedValueError(Reason.PRICE_OUT_OF_RANGE, field=field, value=total)
        if total > 0:
            return price((total / gpus).quantize(_PRICE_STEP), field=field)
    return price(total, field=field)  # says what is wrong with it


def _quantile(machines: Iterable[_Slice], share: Decimal) -> _Slice:
    """Return the cheapest machine up to which this share of the GPUs is offered."""
    ordered = sorted(machines, key=lambda machine: machine.usd_per_gpu_hour)
    wanted = share * sum(machine.gpus for machine in ordered)
    gpus = 0
    for machine in ordered:
        gpus += machine.gpus
        if gpus >= wanted:
            break
    return machine


def _record(group: _Group, statistic: str, machine: _Slice) -> PriceRecord:
    return PriceRecord(
        sku_id=group.sku_id,
        offer_id=f"{group.sku_id}/{group.pricing_model}/{group.price_field}/{statistic}",
        region_raw="global",
        gpu_name_raw=group.gpu_name,
        gpu_count_raw=Decimal(1),
        gpu_memory_gb_raw=Decimal(group.memory_gb),
        pricing_model_raw=group.pricing_model,
        offering_class_raw=statistic,
        price_amount=machine.usd_per_gpu_hour,
        price_currency="USD",
        price_unit_raw=f"GPU hour ({group.price_field} / num_gpus)",
        is_available=True,
        source_url=machine.url,
    )
