"""Cudo: a GPU with its smallest machine, and the GPU alone. Golden figures of the recording (2023-24)."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.cudo import cudo_answer, cudo_type, serve_cudo

from scrapers.http import HttpClient
from scrapers.landing import Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

CUDO = PRICE_SOURCES["cudo"]
SAMPLE = "prices/cudo/gpuhunt_machine_types_excerpt.json"
# Worked out by hand: 1 vCPU and 1 GiB are legal in both types, so 0.05 + 0.0025 + 0.0038 and 0.52 + 0.0021 + 0.0034.
GOLDEN = {
    ("cascade-lake/nvidia-rtx-3080", "br-saopaulo-1", "gpu_only"): "0.05",
    ("cascade-lake/nvidia-rtx-3080", "br-saopaulo-1", "minimum_vm"): "0.0563",
    ("epyc-rome-rtx-a5000/nvidia-rtx-a5000", "no-luster-1", "gpu_only"): "0.52",
    ("epyc-rome-rtx-a5000/nvidia-rtx-a5000", "no-luster-1", "minimum_vm"): "0.5255",
}
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *types: parse_bytes("cudo", landing, dumps(cudo_answer(*types)), directory=tmp_path)


def found(parsed: ParsedSnapshot) -> dict[tuple[str, str, str | None], str]:
    return {(r.sku_id, r.region_raw, r.offering_class_raw): f"{r.price_amount.normalize()}" for r in parsed.records}


def test_golden_prices_through_the_api(
    sample: Callable[[str], Path], server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    serve_cudo(server, json.loads(sample(SAMPLE).read_text()))
    entry = pull_dataset(CUDO, "machine-types", SourceOptions(base_url=server.url), landing, now=NOW, client=client)
    parsed = CUDO.parse(landing.open_snapshot(entry))
    assert found(parsed) == GOLDEN
    assert (parsed.rejections, parsed.skipped) == ((), {})


def test_golden_prices_of_the_recording(sample: Callable[[str], Path], landing: Landing, tmp_path: Path) -> None:
    assert found(parse_bytes("cudo", landing, sample(SAMPLE).read_bytes(), directory=tmp_path)) == GOLDEN


def test_the_two_offers_of_a_type_share_nothing_but_the_gpu(parse: Parse) -> None:
    """2 vCPUs at 0.0025 and 2 GiB at 0.004 on top of a GPU at 0.45."""
    gpu, machine = parse(cudo_type()).records
    assert (gpu.instance_type, gpu.offering_class_raw, gpu.price_unit_raw, gpu.price_amount) == (
        *(None, "gpu_only", "GPU hour (gpuPriceHr)", Decimal("0.45")),
    )
    assert (machine.instance_type, machine.offering_class_raw, machine.price_unit_raw, machine.price_amount) == (
        *("epyc-rome-rtx-a6000", "minimum_vm", "VM hour (GPU + vCPU + memory)", Decimal("0.463")),
    )
    assert machine.product_name_raw == "1 GPU, 2 vCPU, 2 GiB"
    for record in (gpu, machine):
        assert (record.gpu_name_raw, record.gpu_count_raw, record.gpu_memory_gb_raw) == ("RTX A6000", 1, None)
        assert (record.region_raw, record.pricing_model_raw) == ("se-example-1", "COMMITMENT_TERM_NONE")
        assert record.is_available is True


@pytest.mark.parametrize(
    ("limits", "machine"),
    [
        ({"minVcpuPerGpu": 1}, "1 GPU, 1 vCPU, 1 GiB"),
        ({"minVcpuPerGpu": 2.5}, "1 GPU, 3 vCPU, 3 GiB"),
        ({"minVcpuPerGpu": 4, "maxVcpuPerMemoryGib": 0.5}, "1 GPU, 4 vCPU, 8 GiB"),
        ({"minVcpuPerGpu": 1, "maxVcpuPerMemoryGib": 1.036437}, "1 GPU, 1 vCPU, 1 GiB"),
        ({"minVcpu": 6}, "1 GPU, 6 vCPU, 6 GiB"),
        # 24 GiB at the least need 6 vCPUs at a quarter for each.
        ({"minMemoryGib": 24}, "1 GPU, 6 vCPU, 24 GiB"),
        ({"maxVcpuPerGpu": "Infinity"}, "1 GPU, 2 vCPU, 2 GiB"),
        ({"maxVcpuPerGpu": float("inf")}, "1 GPU, 2 vCPU, 2 GiB"),
    ],
)
def test_the_smallest_legal_machine(parse: Parse, limits: dict[str, Any], machine: str) -> None:
    assert parse(cudo_type(**limits)).records[1].product_name_raw == machine


def test_limits_that_no_machine_meets_leave_the_gpu(parse: Parse) -> None:
    parsed = parse(cudo_type(minMemoryGib=64, maxVcpuPerGpu=8))
    assert [r.offering_class_raw for r in parsed.records] == ["gpu_only"]
    assert [(r.reason, r.location) for r in parsed.rejections] == [
        (Reason.INCOMPLETE_OFFER, "part0.txt machineTypes[1] minimum_vm")
    ]


@pytest.mark.parametrize(("free", "is_available"), [(5, True), (0, False), (None, None)])
def test_a_price_is_not_capacity(parse: Parse, free: int | None, is_available: bool | None) -> None:
    assert {r.is_available for r in parse(cudo_type(maxGpuFree=free)).records} == {is_available}


def test_types_without_a_gpu_are_outside_the_question(parse: Parse) -> None:
    parsed = parse(cudo_type(gpuModel="", gpuModelId=""))
    assert (parsed.records, parsed.skipped) == ((), {"no_gpu": 1})


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"gpuPriceHr": {"value": "0"}}, Reason.PRICE_NOT_POSITIVE, "gpuPriceHr.value"),
        ({"gpuPriceHr": None}, Reason.MISSING_FIELD, "gpuPriceHr"),
        ({"gpuPriceHr": {"value": ""}}, Reason.MISSING_FIELD, "gpuPriceHr.value"),
        ({"gpuPriceHr": {"value": "1,5"}}, Reason.PRICE_NOT_A_NUMBER, "gpuPriceHr.value"),
        ({"machineType": None}, Reason.MISSING_FIELD, "machineType"),
        ({"dataCenterId": ""}, Reason.MISSING_FIELD, "dataCenterId"),
        ({"gpuModelId": None}, Reason.MISSING_FIELD, "gpuModelId"),
    ],
)
def test_bad_types_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    parsed = parse(cudo_type(machineType="A"), cudo_type(**change), 7, cudo_type(machineType="B"))
    assert {r.sku_id for r in parsed.records} == {"A/nvidia-rtx-a6000", "B/nvidia-rtx-a6000"}
    assert [(r.reason, r.field) for r in parsed.rejections] == [
        (reason, field),
        (Reason.UNREADABLE_ROW, "machineTypes"),
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"vcpuPriceHr": None}, "vcpuPriceHr"),
        ({"memoryGibPriceHr": {}}, "memoryGibPriceHr.value"),
        ({"minVcpuPerGpu": None}, "minVcpuPerGpu"),
        ({"maxVcpuPerMemoryGib": None}, "maxVcpuPerMemoryGib"),
        ({"maxVcpuPerMemoryGib": 0}, "maxVcpuPerMemoryGib"),
        ({"minVcpuPerGpu": -1}, "minVcpuPerGpu"),
    ],
)
def test_a_missing_component_is_never_counted_as_nothing(parse: Parse, change: dict[str, object], field: str) -> None:
    parsed = parse(cudo_type(**change))
    assert [r.offering_class_raw for r in parsed.records] == ["gpu_only"]
    assert [r.field for r in parsed.rejections] == [field]


def test_a_component_that_is_stated_as_free_costs_nothing(parse: Parse) -> None:
    parsed = parse(cudo_type(vcpuPriceHr={"value": "0"}, memoryGibPriceHr={"value": "0.000"}))
    assert [r.price_amount for r in parsed.records] == [Decimal("0.45")] * 2


def test_an_empty_list_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_cudo(server, cudo_answer())
    entry = pull_dataset(CUDO, "machine-types", SourceOptions(base_url=server.url), landing, now=NOW, client=client)
    assert entry.error == "IncompleteSnapshotError"
