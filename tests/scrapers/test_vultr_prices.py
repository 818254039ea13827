"""Vultr: two lists, shares of a GPU, and plans that cannot be bought. Golden figures of recordings of 2024-26."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.vultr import serve_vultr, vultr_metal, vultr_page, vultr_plan

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import Answer, FaultServer

VULTR = PRICE_SOURCES["vultr"]
Parse = Callable[..., ParsedSnapshot]
Sample = Callable[[str], Path]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *plans: parse_bytes("vultr", landing, dumps(vultr_page(list(plans))), directory=tmp_path)


def pull(server: FaultServer, landing: Landing, client: HttpClient, dataset: str = "plans") -> LandedEntry:
    return pull_dataset(VULTR, dataset, SourceOptions(base_url=server.url), landing, now=NOW, client=client)


def test_golden_cloud_prices_through_the_api(
    sample: Sample, server: FaultServer, landing: Landing, client: HttpClient, tmp_path: Path
) -> None:
    """Per plan: 0.123 for a twentieth of an A100, 1.397 for a half, 2.397 for a whole one, all in ewr."""
    recording = sample("prices/vultr/gpuhunt_plans_excerpt.json").read_bytes()
    serve_vultr(server, json.loads(recording)["plans"], page_size=2)
    entry = pull(server, landing, client)
    assert [request.query for request in server.requests] == [
        {"type": "all", "per_page": "500"},
        {"type": "all", "per_page": "500", "cursor": "2"},
    ]
    parsed = VULTR.parse(landing.open_snapshot(entry))
    assert [(r.sku_id, r.region_raw, str(r.price_amount), r.gpu_count_raw) for r in parsed.records] == [
        ("vcg-a100-1c-6g-4vram", "ewr", "0.123", Decimal("0.05")),
        ("vcg-a100-12c-120g-80vram", "ewr", "2.397", Decimal(1)),
        ("vcg-a100-6c-60g-40vram", "ewr", "1.397", Decimal("0.5")),
    ]
    assert {(r.gpu_name_raw, r.gpu_memory_gb_raw) for r in parsed.records} == {("NVIDIA_A100", Decimal(80))}
    assert (parsed.rejections, parsed.skipped) == ((), {"hourly_cost_preemptible_not_sold": 3})
    replayed = parse_bytes("vultr", landing, recording, directory=tmp_path)
    assert [str(r.price_amount) for r in replayed.records] == ["0.123", "2.397", "1.397"]


def test_golden_metal_prices_through_the_api(
    sample: Sample, server: FaultServer, landing: Landing, client: HttpClient, tmp_path: Path
) -> None:
    recording = sample("prices/vultr/gpuhunt_plans_metal_excerpt.json").read_bytes()
    serve_vultr(server, json.loads(recording)["plans_metal"], path="/v2/plans-metal")
    entry = pull(server, landing, client, "plans-metal")
    assert [request.query for request in server.requests] == [{"per_page": "500"}]
    parsed = VULTR.parse(landing.open_snapshot(entry))
    # Prices of whole machines with eight GPUs. The monthly figures are caps at 672 h: 23.92 x 672 = 16074.24.
    assert [(r.offer_id, r.region_raw, r.gpu_name_raw, str(r.price_amount)) for r in parsed.records] == [
        ("vbm-256c-2048gb-8-mi300x-gpu/hourly_cost", "ord", "mi300x", "17.52"),
        ("vbm-256c-2048gb-8-mi300x-gpu/hourly_cost_preemptible", "ord", "mi300x", "14.72"),
        ("vbm-112c-2048gb-8-h100-gpu/hourly_cost", "sea", "h100", "23.92"),
        ("vbm-112c-2048gb-8-h100-gpu/hourly_cost_preemptible", "sea", "h100", "18.4"),
    ]
    assert {r.gpu_count_raw for r in parsed.records} == {Decimal(8)}
    assert (parsed.rejections, parsed.skipped) == ((), {})
    assert len(parse_bytes("vultr", landing, recording, directory=tmp_path).records) == 4


def test_both_lists_are_asked_for_whatever_the_regions() -> None:
    assert VULTR.datasets(SourceOptions(regions=("ewr",))) == ["plans", "plans-metal"]


NOT_STATED = {"gpu_type": None, "gpu_vram_gb": None, "gpu_count": None}


@pytest.mark.parametrize(
    ("plan_id", "stated", "name", "count", "memory_gb"),
    [
        ("vcg-a16-12c-128g-32vram", {}, "NVIDIA_A16", "2", "16"),
        ("vcg-a40-6c-30g-12vram", {"gpu_vram_gb": 12, "gpu_count": "1/4"}, "NVIDIA_A16", "0.25", "48"),
        ("vcg-a40-1c-5g-2vram", {"gpu_vram_gb": 2, "gpu_count": "1/24"}, "NVIDIA_A16", "0.041667", "48"),
        # A plan of 384 GB is eight GPUs of 48 GB, not one.
        ("vcg-l40s-x-384vram", {"gpu_vram_gb": 384, "gpu_count": None}, "NVIDIA_A16", "8", "48"),
        # Dedicated and bare metal plans without GPU fields.
        ("vcg-a100-96c-960g-640vram", NOT_STATED, "a100", "8", "80"),
        ("vcg-mi325x-252c-2872g-1536vram", NOT_STATED, "mi325x", None, None),
        ("vbm-112c-2048gb-8-a100-gpu", NOT_STATED, "a100", "8", None),
        ("vbm-64c-2048gb-8-l40-gpu", NOT_STATED, "l40", "8", None),
        ("vbm-72c-480gb-gh200-gpu", NOT_STATED, "gh200", None, None),
        ("vbm-112c-2048gb-8-a100-gpu", {"gpu_vram_gb": 640, "gpu_count": "8"}, "NVIDIA_A16", "8", "80"),
    ],
)
def test_gpus_are_read_from_fields_and_else_from_the_id(
    parse: Parse, plan_id: str, stated: dict[str, Any], name: str, count: str | None, memory_gb: str | None
) -> None:
    (record,) = parse(vultr_plan(plan_id) | stated).records
    assert record.gpu_name_raw == name
    assert record.gpu_count_raw == (count and Decimal(count))
    assert record.gpu_memory_gb_raw == (memory_gb and Decimal(memory_gb))
    assert (record.instance_type, record.sku_id, record.is_available) == (plan_id, plan_id, None)
    assert record.price_unit_raw == "instance hour"


def test_plans_without_gpu_or_location_are_no_offers(parse: Parse) -> None:
    parsed = parse(
        vultr_plan("vc2-1c-0.5gb-free", gpu_type=None, gpu_vram_gb=None, gpu_count=None, hourly_cost=0),
        vultr_plan("vbm-4c-32gb", gpu_type=None, gpu_vram_gb=None, gpu_count=None),
        vultr_plan(locations=[]),
        vultr_plan(locations=["", "ewr"]),
    )
    assert [r.region_raw for r in parsed.records] == ["ewr"]
    assert parsed.skipped == {
        "empty_location": 1,
        "hourly_cost_preemptible_not_sold": 1,
        "no_gpu": 2,
        "no_location": 1,
    }


def test_only_what_can_be_bought_is_a_price(parse: Parse) -> None:
    """An on-demand price of a preemptible-only plan, and a preemptible price of a plan that is not, are none."""
    parsed = parse(vultr_metal("vbm-256c-2048gb-8-mi300x-gpu", hourly_cost=31.92, hourly_cost_preemptible=14.8))
    assert [(r.pricing_model_raw, str(r.price_amount)) for r in parsed.records] == [("hourly_cost_preemptible", "14.8")]
    assert parsed.skipped == {"hourly_cost_not_sold": 1}
    assert [r.pricing_model_raw for r in parse(vultr_plan()).records] == ["hourly_cost"]


def test_a_location_may_have_prices_of_its_own(parse: Parse) -> None:
    plan = vultr_plan(locations=["sjc", "sao"], location_cost={"sao": {"hourly_cost": 1.2, "monthly_cost": 800}})
    assert {r.region_raw: str(r.price_amount) for r in parse(plan).records} == {"sjc": "0.942", "sao": "1.2"}


def test_an_empty_location_cost_may_be_a_list(parse: Parse) -> None:
    assert len(parse(vultr_plan(location_cost=[])).records) == 1


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"hourly_cost": 0}, Reason.PRICE_NOT_POSITIVE, "hourly_cost"),
        ({"hourly_cost": None}, Reason.MISSING_FIELD, "hourly_cost"),
        # The price of another location is not this one's.
        ({"location_cost": {"sjc": {"monthly_cost": 800}}}, Reason.MISSING_FIELD, "hourly_cost"),
        ({"location_cost": {"sjc": 1.2}}, Reason.UNREADABLE_FIELD, "location_cost"),
        ({"locations": None}, Reason.UNREADABLE_FIELD, "locations"),
        ({"gpu_count": "1/0"}, Reason.UNREADABLE_FIELD, "gpu_count"),
        ({"gpu_vram_gb": -1}, Reason.UNREADABLE_FIELD, "gpu_vram_gb"),
        ({"id": None}, Reason.MISSING_FIELD, "id"),
    ],
)
def test_bad_plans_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, Any], reason: Reason, field: str
) -> None:
    parsed = parse(vultr_plan("vcg-a16-1"), vultr_plan("vcg-a16-2") | change, "text", vultr_plan("vcg-a16-3"))
    assert [r.sku_id for r in parsed.records] == ["vcg-a16-1", "vcg-a16-3"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "plans")]
    assert parsed.rejections[0].location.startswith("part0.txt plans[2]")


@pytest.mark.parametrize(
    ("page", "error", "message"),
    [
        (vultr_page([]), "IncompleteSnapshotError", "0 plans arrived of 0"),
        (vultr_page([vultr_plan()], total=2), "IncompleteSnapshotError", "1 plans arrived of 2"),
        ({"plans": [vultr_plan()], "meta": {"links": {}}}, "SchemaDriftError", "'meta.links.next' is not text"),
        ({"plans": [vultr_plan()]}, "SchemaDriftError", "field 'meta': a JSON object was expected"),
    ],
)
def test_a_list_that_is_not_whole_is_refused(
    server: FaultServer, landing: Landing, client: HttpClient, page: object, error: str, message: str
) -> None:
    server.add("/v2/plans", Answer.json(page))
    entry = pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, error)
    assert message in str(entry.message)
