"""Google Cloud list prices of GPU machine types, per instance, composed of the parts Google bills.

Endpoint   GET https://cloudbilling.googleapis.com/v1/services/6F81-5844-456A/skus (Compute Engine), currencyCode USD.
Auth       an API key of any project, sent in the header X-Goog-Api-Key and so never part of an address.
Paging     5,000 SKUs a page; `nextPageToken` goes back as `pageToken` until it is empty. Tens of thousands of SKUs.
A row      one machine type in one region and purchase option. Google bills no machine: vCPU + RAM + GPU + bundled local
           SSD are SKUs of their own, and this module adds them up. `product_name_raw` is the sum: quantity x skuId.
           A4 (and G4 below one GPU) is billed by the GPU slice, which covers the whole machine. T4, V100 and P100 are
           attached to N1 machines of any size: one reference shape (n1-standard-4 with one GPU), marked
           `reference_shape`; the GPU alone is no machine, and its price would understate the cost.
Unit       USD per instance-hour. Parts are stated as units + nanos / 1e9 per `h`, `GiBy.h` (or `GBy.h`, 1 GiB =
           1.073741824 GB) and, for local SSD, `GiBy.mo`: a month is 730 hours. The sum is rounded to 12 decimals.
Kept       OnDemand, Spot Preemptible, Commitment v1 of 1 and 3 years (resource-based, hourly), DWS Defined Duration
           (flex start) and Calendar Mode (reserved for a period).
Quirks     A part without a SKU rejects the offer (incomplete_offer): elsewhere one summed as nothing stood 920 days as
           a price at a fifth of its value. An offer is looked for where a part of its own is priced (GPU, or vCPU and
           RAM of its series). Only the description tells what a SKU is: `usageType` says OnDemand also for some spot
           and all DWS SKUs. The GPU of a3-megagpu has three spellings (Mega GPU, Mega 80GB, Plus GPU). A GPU that no
           machine type here has is rejected by name, so that new ones are seen. Zero prices are placeholders
           (reservations, previews). A4, A3 Ultra and A3 High below 8 GPUs have prices on demand but are not sold so
           (Google's table of consumption options, as gpuhunt reads it). `serviceRegions` says where a price holds, not
           that there is capacity. `effectiveTime` is a moment of the last hours, not the day a price began, and is left
           out. Sustained use discounts (N1) are not in the list.
Composed   here and not in SQL, because a record is something that is sold: a price per core is neither an offer nor
           comparable, and half an offer must be counted as rejected before it can enter the raw room. Shapes are the
           table below; parsing is pure, so an emptied warehouse is priced again from landing by a corrected table.
Verified   2026-11-23, not live: against a recording of 2023-08 (7 SKUs), sums of 2026-07-30 (Cyclenerd's calculator,
           29 machine types) and prices quoted with their descriptions in public repositories 2025-08 to 2026-09.
           Unverified until the first live call: wording of vCPU, RAM and SSD parts in Calendar Mode, and of A4X (no SKU
           seen); the number of SKUs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    price,
    text,
)
from scrapers.snapshot import Snapshot

_PATH = "/v1/services/6F81-5844-456A/skus"
_STEP = Decimal(1).scaleb(-12)

# Unit a part is billed in -> how many make one hour of a core, GPU, slice or GiB.
_CORE_UNITS = {"h": Decimal(1)}
_RAM_UNITS = {"GiBy.h": Decimal(1), "GBy.h": Decimal("1.073741824")}
_SSD_UNITS = {"GiBy.h": Decimal(1), "GiBy.mo": 1 / Decimal(730)}
_SSD = "Local SSD"

_A100, _A100_80 = "Nvidia Tesla A100 GPU", "Nvidia Tesla A100 80GB GPU"
_H100, _H100_MEGA, _H200 = "Nvidia H100 80GB GPU", "Nvidia H100 80GB Mega GPU", "H200 141GB GPU"
_B200, _L4 = "A4 Nvidia B200 (1 gpu slice)", "Nvidia L4 GPU"
_RTX_6000, _RTX_6000_SLICE = "RTX 6000 96GB", "1/8 vGPU no lssd"
_T4, _V100, _P100 = "Nvidia Tesla T4 GPU", "Nvidia Tesla V100 GPU", "Nvidia Tesla P100 GPU"
_SPELLINGS = {
    **{gpu: gpu for gpu in (_A100, _A100_80, _H100, _H100_MEGA, _H200, _B200, _L4, _RTX_6000, _RTX_6000_SLICE)},
    **{gpu: gpu for gpu in (_T4, _V100, _P100)},
    "Nvidia H100 Mega 80GB GPU": _H100_MEGA,
    "Nvidia H100 80GB Plus GPU": _H100_MEGA,
    "Nvidia H200 141GB GPU": _H200,
    "SSD backed Local Storage": _SSD,
    _SSD: _SSD,
    # Commitments of N1, the first series, name none.
    "Cpu": "N1 Core",
    "Ram": "N1 Ram",
}
_SERIES_PART = re.compile(r"(A2|A3|A3 ?Plus|A3 ?Ultra|G2|G4|N1 Predefined)(?: Instance)? (Core|Cpu|Ram)", re.IGNORECASE)
# Parts that other machines use too: their price alone does not say that a GPU machine is sold.
_SHARED = {_SSD, "N1 Core", "N1 Ram"}

# First that fits the whole description: what is bought, the wording around it, and the years of a commitment.
_PURCHASES = (
    ("Commitment v1", re.compile(r"Commitment v1: (.+) for ([13]) Years?")),
    ("Spot Preemptible", re.compile(r"(?:Spot )?Preemptible (.+)")),
    ("Spot Preemptible", re.compile(r"(.+) attached to (?:Spot )?Preemptible VMs?.*")),
    ("DWS Defined Duration", re.compile(r"DWS Defined Duration (.+)")),
    ("DWS Defined Duration", re.compile(r"(.+) attached to DWS Defined Duration VMs?.*")),
    ("Calendar Mode", re.compile(r"DWS Calendar Mode (.+)")),
    ("Calendar Mode", re.compile(r"Reserved (.+) in Calendar Mode")),
    ("OnDemand", re.compile(r"(?!Commitment|Reserved)(.+)")),
)
_OUTSIDE = {
    "sole_tenancy": re.compile(r"Sole Tenancy"),
    "premium": re.compile(r"\bPremium\b"),
    "custom_machine": re.compile(r"\bCustom\b"),
    "suspended_machine": re.compile(r"suspended|^VM state"),
    "virtual_workstation": re.compile(r"\bVWS\b|Virtual Workstation"),
    "extended_memory": re.compile(r"\bExtended\b"),
    "capacity_optimized": re.compile(r"Capacity Optimized"),
    "tpu": re.compile(r"\bTPU|^Tpu|\bV\d[ep]\b"),
    "gpu_of_no_machine_type": re.compile(r"Nvidia Tesla (?:K80|P4) GPU"),  # sold with N1; no shape is listed here
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """What Google bills for one machine type.

    Args:
        name: as `gcloud compute machine-types list` has it.
        gpu: the part billed by the GPU.
        gpus: as many of them, whole ones; slices where the machine has less than one.
        series: whose vCPU and RAM; None where the GPU's price covers the whole machine.
        is_sold_on_demand: A price alone does not say so.
    """

    name: str
    gpu: str
    gpus: int
    series: str | None = None
    vcpus: int = 0
    ram_gib: int = 0
    ssd_gib: int = 0
    gpu_share: Decimal = Decimal(1)
    is_sold_on_demand: bool = True
    is_reference: bool = False

    @property
    def parts(self) -> dict[str, int]:
        """Quantity of each part."""
        machine = {f"{self.series} Core": self.vcpus, f"{self.series} Ram": self.ram_gib, _SSD: self.ssd_gib}
        return {self.gpu: self.gpus} | {part: quantity for part, quantity in machine.items() if quantity}


def _series(prefix: str, gpu: str, *rows: tuple[str, int, int, int, int], **facts: Any) -> list[_Machine]:
    """Machines of one series and GPU; rows are suffix, GPUs, vCPUs, RAM in GiB, bundled local SSD in GiB."""
    return [
        _Machine(name=prefix + suffix, gpu=gpu, gpus=gpus, vcpus=vcpus, ram_gib=ram, ssd_gib=ssd, **facts)
        for suffix, gpus, vcpus, ram, ssd in rows
    ]


# Shapes as published by Google (docs/accelerator-optimized-machines), read in the specifications of Cyclenerd's
# calculator, 2026-08. A3 Ultra's 12,000 GiB of SSD show in Google's own price of 84.806908493 an hour (Iowa, 2026-09):
# only 12,000 x 0.08 / 730 has such a fraction.
MACHINES = (
    *_series("a2-highgpu-", _A100, ("1g", 1, 12, 85, 0), ("2g", 2, 24, 170, 0), ("4g", 4, 48, 340, 0), series="A2"),
    *_series("a2-", _A100, ("highgpu-8g", 8, 96, 680, 0), ("megagpu-16g", 16, 96, 1360, 0), series="A2"),
    *_series("a2-ultragpu-", _A100_80, ("1g", 1, 12, 170, 375), ("2g", 2, 24, 340, 750), series="A2"),
    *_series("a2-ultragpu-", _A100_80, ("4g", 4, 48, 680, 1500), ("8g", 8, 96, 1360, 3000), series="A2"),
    *_series("a3-highgpu-", _H100, ("1g", 1, 26, 234, 750), series="A3", is_sold_on_demand=False),
    *_series("a3-highgpu-", _H100, ("2g", 2, 52, 468, 1500), series="A3", is_sold_on_demand=False),
    *_series("a3-highgpu-", _H100, ("4g", 4, 104, 936, 3000), series="A3", is_sold_on_demand=False),
    *_series("a3-highgpu-", _H100, ("8g", 8, 208, 1872, 6000), series="A3"),
    *_series("a3-megagpu-", _H100_MEGA, ("8g", 8, 208, 1872, 6000), series="A3Plus"),
    *_series("a3-ultragpu-", _H200, ("8g", 8, 224, 2952, 12000), series="A3Ultra", is_sold_on_demand=False),
    *_series("a4-highgpu-", _B200, ("8g", 8, 0, 0, 0), is_sold_on_demand=False),
    *_series("g2-standard-", _L4, ("4", 1, 4, 16, 0), ("8", 1, 8, 32, 0), ("12", 1, 12, 48, 0), series="G2"),
    *_series("g2-standard-", _L4, ("16", 1, 16, 64, 0), ("24", 2, 24, 96, 0), ("32", 1, 32, 128, 0), series="G2"),
    *_series("g2-standard-", _L4, ("48", 4, 48, 192, 0), ("96", 8, 96, 384, 0), series="G2"),
    *_series("g4-standard-", _RTX_6000, ("48", 1, 48, 180, 0), ("96", 2, 96, 360, 0), series="G4"),
    *_series("g4-standard-", _RTX_6000, ("192", 4, 192, 720, 0), ("384", 8, 384, 1440, 0), series="G4"),
    *_series(
        *("g4-standard-", _RTX_6000_SLICE, ("6", 1, 0, 0, 0), ("12", 2, 0, 0, 0), ("24", 4, 0, 0, 0)),
        gpu_share=Decimal("0.125"),
    ),
    *_series("n1-standard-4 + ", _T4, ("1 x nvidia-tesla-t4", 1, 4, 15, 0), series="N1", is_reference=True),
    *_series("n1-standard-4 + ", _V100, ("1 x nvidia-tesla-v100", 1, 4, 15, 0), series="N1", is_reference=True),
    *_series("n1-standard-4 + ", _P100, ("1 x nvidia-tesla-p100", 1, 4, 15, 0), series="N1", is_reference=True),
)


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """Where and how a price holds."""

    region: str
    model: str
    term: str  # empty without one


@dataclass(frozen=True, slots=True)
class _Rate:
    """The price of a part: USD per hour and GPU, core or GiB, and the SKU that states it."""

    amount: Decimal
    sku_id: str
    label: str


@dataclass(slots=True)
class _Rates:
    """The price of every part in every place. A part priced in two ways has no price."""

    found: dict[_Place, dict[str, _Rate]] = field(default_factory=dict)
    conflicts: set[tuple[_Place, str]] = field(default_factory=set)

    def add(self, place: _Place, part: str, rate: _Rate) -> None:
        first = self.found.setdefault(place, {}).setdefault(part, rate)
        if first.amount != rate.amount:
            self.conflicts.add((place, part))


class Gcp(PriceSource):
    """The public SKU list of Compute Engine."""

    name = "gcp"
    title = "Google Cloud Billing Catalog, Compute Engine"
    docs = "https://cloud.google.com/billing/docs/reference/rest/v1/services.skus/list"
    base_url = "https://cloudbilling.googleapis.com"
    key = KeyUse.REQUIRED
    api_key_env = "GCP_API_KEY"
    dataset = "compute-engine"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Walk all pages."""
        params = {"currencyCode": "USD", "pageSize": "5000"}
        headers = {"X-Goog-Api-Key": pull.options.api_key or ""}
        if not walk_pages(pull, _PATH, self._page, params=params, headers=headers):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'skus' is empty; fetch it again")
        return Fetched()

    def _page(self, page: Page) -> tuple[list[Any], Mapping[str, str] | None]:
        skus = expect_list(page.value, "skus", place=page.place)
        token = page.value.get("nextPageToken") or ""
        if not isinstance(token, str):
            raise drift(page.place, "field 'nextPageToken' is not text")
        return skus, {"pageToken": token} if token else None

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per machine type, region and purchase option whose parts are all priced."""
        rows, rates = RecordCollector(), _Rates()
        for payload, value in json_payloads(snapshot):
            for number, sku in enumerate(expect_list(value, "skus", place=payload.name), start=1):
                with rows.rejecting(f"{payload.name} sku {number}"):
                    _read(sku, rates, rows)
        for machine in MACHINES:
            own = machine.parts.keys() - _SHARED
            for place in sorted(place for place, found in rates.found.items() if own & found.keys()):
                location = " ".join(filter(None, (machine.name, place.region, place.model, place.term)))
                with rows.rejecting(location):
                    if place.model == "OnDemand" and not machine.is_sold_on_demand:
                        rows.skip("not_sold_on_demand")
                    else:
                        record = _compose(machine, place, rates, url=snapshot.payloads[0].url)
                        rows.add(record, key=(record.offer_id,), location=location)
        return rows.result()


def _read(sku: object, rates: _Rates, rows: RecordCollector) -> None:
    """Take up the price of one SKU if a GPU machine is made of it."""
    if not isinstance(sku, dict):
        raise RejectedValueError(Reason.UNREADABLE_ROW, field="skus", value=sku)
    description = " ".join(text(sku, "description").split())
    for why, wording in _OUTSIDE.items():
        if wording.search(description):
            rows.skip(why)
            return
    model, term, label = _purchase(description)
    if model is None:
        rows.skip("other_commitment_or_reservation")
        return
    part = _part(label)
    if part is None:
        category = sku.get("category")
        if isinstance(category, dict) and category.get("resourceGroup") == "GPU":
            raise RejectedValueError(Reason.INCOMPLETE_OFFER, field="description", value=f"no machine type has {label}")
        rows.skip("other_product")
        return
    amount = _hourly(sku, part)
    if amount == 0:
        rows.skip("zero_price")
        return
    regions = sku.get("serviceRegions")
    if not isinstance(regions, list) or not regions or not all(isinstance(region, str) for region in regions):
        raise RejectedValueError(Reason.MISSING_FIELD, field="serviceRegions", value=regions)
    for region in regions:
        rates.add(_Place(region, model, term), part, _Rate(amount, text(sku, "skuId"), label))


def _purchase(description: str) -> tuple[str | None, str, str]:
    """Return purchase option, term and what is bought, without its place; no option where none is sold to us."""
    for model, wording in _PURCHASES:
        if match := wording.fullmatch(description):
            years = match[2] if wording.groups == 2 else None
            # "for 3 Year" and "for 3 Years" are one term.
            term = f"{years} Year{'s' if years == '3' else ''}" if years else ""
            return model, term, re.split(r" (?:running )?in ", match[1])[0]
    return None, "", ""


def _part(label: str) -> str | None:
    """Return the part of a machine that a label names, in one spelling."""
    if match := _SERIES_PART.fullmatch(label):
        series = match[1].replace(" Predefined", "").replace(" ", "")
        return f"{series} {'Ram' if match[2].lower() == 'ram' else 'Core'}"
    return _SPELLINGS.get(label)


def _hourly(sku: Mapping[str, Any], part: str) -> Decimal:
    """Return what a SKU costs per hour and unit of its part; zero if it says so."""
    timeline = sku.get("pricingInfo")
    latest = timeline[-1] if isinstance(timeline, list) and timeline else None  # in chronological order
    expression = latest.get("pricingExpression") if isinstance(latest, dict) else None
    if not isinstance(expression, dict):
        raise RejectedValueError(Reason.MISSING_FIELD, field="pricingInfo")
    unit = text(expression, "usageUnit")
    allowed = _SSD_UNITS if part == _SSD else _RAM_UNITS if part.endswith(" Ram") else _CORE_UNITS
    if unit not in allowed:
        raise RejectedValueError(Reason.UNKNOWN_UNIT, field="usageUnit", value=f"{unit} of {part}")
    tiers = expression.get("tieredRates")
    if not isinstance(tiers, list) or len(tiers) != 1:
        raise RejectedValueError(Reason.TIERED_PRICE, field="tieredRates", value=part)
    money = tiers[0].get("unitPrice") if isinstance(tiers[0], dict) else None
    if not isinstance(money, dict):
        raise RejectedValueError(Reason.MISSING_FIELD, field="unitPrice")
    if money.get("currencyCode") != "USD":
        # The currency of the billing account, where the question named none.
        raise RejectedValueError(Reason.CURRENCY_NOT_USD, field="currencyCode", value=money.get("currencyCode"))
    units, nanos = money.get("units", "0"), money.get("nanos", 0)
    if not isinstance(nanos, int) or isinstance(nanos, bool) or not 0 <= nanos < 10**9:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="nanos", value=nanos)
    stated = price(units, field="units", zero_allowed=True) + Decimal(nanos).scaleb(-9)
    return stated * allowed[unit]


def _compose(machine: _Machine, place: _Place, rates: _Rates, *, url: str) -> PriceRecord:
    """Add up a machine; a part without one certain price rejects it."""
    found = rates.found[place]
    missing = ", ".join(part for part in machine.parts if part not in found)
    if missing:
        raise RejectedValueError(Reason.INCOMPLETE_OFFER, field=missing, value="no usable price of this part")
    doubtful = ", ".join(part for part in machine.parts if (place, part) in rates.conflicts)
    if doubtful:
        raise RejectedValueError(Reason.DUPLICATE_KEY_CONFLICT, field=doubtful, value="two prices in one place")
    gpu = found[machine.gpu]
    memory = re.search(r"(\d+)GB", gpu.label)
    total = sum(((quantity * found[part].amount) for part, quantity in machine.parts.items()), Decimal())
    return PriceRecord(
        sku_id=machine.name,
        offer_id="/".join(filter(None, (machine.name, place.region, place.model, place.term))),
        instance_type=machine.name,
        region_raw=place.region,
        gpu_name_raw=gpu.label,
        gpu_count_raw=machine.gpus * machine.gpu_share,
        gpu_memory_gb_raw=Decimal(memory[1]) if memory else None,
        pricing_model_raw=place.model,
        term_raw=place.term or None,
        offering_class_raw="reference_shape" if machine.is_reference else None,
        product_name_raw=" + ".join(f"{quantity} x {found[part].sku_id}" for part, quantity in machine.parts.items()),
        price_amount=price(total.quantize(_STEP), field="unitPrice"),
        price_currency="USD",
        price_unit_raw="h, sum of SKUs",
        source_url=url,
    )
