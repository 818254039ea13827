"""Cudo Compute list prices: per virtual machine with one GPU, and per bare GPU.

Endpoint   GET https://rest.compute.cudo.org/v1/vms/machine-types
Auth       none by peers' reports, a bearer token by the API reference; a key, if given, is sent.
Paging     none: one answer.
A row      a machine type in a data centre. Cudo prices components, and a GPU cannot be had without vCPUs and memory, so
           there are two rows, told apart by the offering class and never mixed: `minimum_vm`, the smallest machine with
           one GPU that the type's own limits allow, and `gpu_only`, the GPU's component by itself.
Unit       USD per hour: of the machine, its components summed, or of the GPU (`gpuPriceHr`). Amounts are decimal
           strings. The answer states no currency; Cudo's price pages are in dollars.
Quirks     The smallest machine has the fewest vCPUs (`minVcpuPerGpu`, `minVcpu`) and the least memory that
           `minVcpuPerMemoryGib` to `maxVcpuPerMemoryGib` and `minMemoryGib` leave, both whole; `product_name_raw` says
           which it was. Disk and public IPv4 are priced apart and left out: the answer names no smallest disk.
           `maxVcpuPerGpu` can be "Infinity". Types without a GPU are in the same list. The count of free GPUs says
           whether one is available. GPU memory is not stated.
Left out   Commitments: GET /v1/data-centers/{id}/machine-type-prices, a call for each data centre. Public SDKs name the
           call, but neither a recording nor a document that says what a term costs, per hour or in total, is at hand.
Verified   2026-11-24 against a recording of 2023-24 (two machine types) and a public SDK's field list, not live. Until
           the first live call: whether it answers without a key, and the currency.
"""

from collections.abc import Mapping
from decimal import Decimal
from itertools import count
from math import ceil
from typing import Any

from scrapers.errors import IncompleteSnapshotError
from scrapers.prices.base import Fetched, KeyUse, PriceSource, Pull, Unchanged, expect_list, json_payloads
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

# On demand, in the word of the API's commitment terms.
_NO_COMMITMENT = "COMMITMENT_TERM_NONE"
# No machine of one GPU has more vCPUs or GiB.
_SIZE_LIMIT = 1024


class Cudo(PriceSource):
    """Cudo's machine types."""

    name = "cudo"
    title = "Cudo Compute machine types"
    docs = "https://www.cudocompute.com/docs/api"
    base_url = "https://rest.compute.cudo.org"
    key = KeyUse.OPTIONAL
    dataset = "machine-types"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Fetch the list."""
        answer = pull.client.get(pull.url("/v1/vms/machine-types"), headers=pull.bearer)
        if not expect_list(pull.json(answer), "machineTypes", place=pull.dataset):
            raise IncompleteSnapshotError(f"{pull.dataset}: 'machineTypes' is empty; fetch it again")
        pull.keep(answer)
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return two records per machine type with a GPU."""
        rows = RecordCollector()
        for payload, value in json_payloads(snapshot):
            for number, item in enumerate(expect_list(value, "machineTypes", place=payload.name), start=1):
                location = f"{payload.name} machineTypes[{number}]"
                with rows.rejecting(location):
                    if not isinstance(item, dict):
                        raise RejectedValueError(Reason.UNREADABLE_ROW, field="machineTypes", value=item)
                    if optional_text(item, "gpuModelId") is None and optional_text(item, "gpuModel") is None:
                        rows.skip("no_gpu")
                    else:
                        _add(item, rows, location=location, url=payload.url)
        return rows.result()


def _add(item: Mapping[str, Any], rows: RecordCollector, *, location: str, url: str) -> None:
    machine_type, gpu_id, region = text(item, "machineType"), text(item, "gpuModelId"), text(item, "dataCenterId")
    gpu_price = _price(item, "gpuPriceHr")
    free_gpus = item.get("maxGpuFree")
    for offering in ("gpu_only", "minimum_vm"):
        # The GPU's price holds even where no legal machine can be worked out from the limits.
        with rows.rejecting(f"{location} {offering}"):
            is_machine = offering == "minimum_vm"
            vcpus, memory_gib = _smallest_machine(item) if is_machine else (0, 0)
            amount = gpu_price
            if is_machine:
                amount += vcpus * _price(item, "vcpuPriceHr", zero_allowed=True)
                amount += memory_gib * _price(item, "memoryGibPriceHr", zero_allowed=True)
            record = PriceRecord(
                sku_id=f"{machine_type}/{gpu_id}",
                offer_id=f"{machine_type}/{gpu_id}/{region}/{offering}",
                instance_type=machine_type if is_machine else None,
                region_raw=region,
                gpu_name_raw=text(item, "gpuModel"),
                gpu_count_raw=Decimal(1),
                pricing_model_raw=_NO_COMMITMENT,
                offering_class_raw=offering,
                product_name_raw=f"1 GPU, {vcpus} vCPU, {memory_gib} GiB" if is_machine else "1 GPU",
                price_amount=amount,
                price_currency="USD",
                price_unit_raw="VM hour (GPU + vCPU + memory)" if is_machine else "GPU hour (gpuPriceHr)",
                is_available=free_gpus > 0 if isinstance(free_gpus, int) else None,
                source_url=url,
            )
            rows.add(record, key=(record.offer_id,), location=location)


def _price(item: Mapping[str, Any], field: str, *, zero_allowed: bool = False) -> Decimal:
    stated = item.get(field)
    if not isinstance(stated, dict):
        raise RejectedValueError(Reason.MISSING_FIELD, field=field)
    return price(stated.get("value"), field=f"{field}.value", zero_allowed=zero_allowed)


def _smallest_machine(item: Mapping[str, Any]) -> tuple[int, int]:
    """Return vCPUs and GiB of the smallest machine with one GPU.

    Memory grows with the vCPUs, so the first legal machine is the cheapest.
    """
    fewest = max(_limit(item, "minVcpuPerGpu"), _limit(item, "minVcpu", default=0), Decimal(1))
    most = _limit(item, "maxVcpuPerGpu", default=_SIZE_LIMIT)
    least_memory = max(_limit(item, "minMemoryGib", default=0), Decimal(1))
    min_ratio, max_ratio = _limit(item, "minVcpuPerMemoryGib"), _limit(item, "maxVcpuPerMemoryGib")
    if max_ratio == 0:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="maxVcpuPerMemoryGib", value=max_ratio)
    for vcpus in count(ceil(fewest)):
        memory_gib = ceil(max(least_memory, vcpus / max_ratio))
        if vcpus > most or memory_gib > _SIZE_LIMIT:
            raise RejectedValueError(
                Reason.INCOMPLETE_OFFER, field="minVcpuPerGpu", value="no machine meets the limits"
            )
        if memory_gib * min_ratio <= vcpus:
            return vcpus, memory_gib
    raise AssertionError("unreachable: the vCPUs end at the most that are allowed")


def _limit(item: Mapping[str, Any], field: str, *, default: int | None = None) -> Decimal:
    """Return a limit, never above what a machine can have: it may be stated as Infinity."""
    limit = quantity(item.get(field), field=field) if item.get(field) != "Infinity" else Decimal(_SIZE_LIMIT)
    if limit is None:
        if default is None:
            raise RejectedValueError(Reason.MISSING_FIELD, field=field)
        limit = Decimal(default)
    if limit.is_nan() or limit < 0:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field=field, value=limit)
    return min(limit, Decimal(_SIZE_LIMIT))
