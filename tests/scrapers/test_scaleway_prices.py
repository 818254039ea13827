"""Scaleway: euros, zones, memory in bytes. List prices of 2026."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.scaleway import cpu_types, scaleway_gpu, scaleway_page, scaleway_type, serve_scaleway

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import Answer, FaultServer

SCALEWAY = PRICE_SOURCES["scaleway"]
PATH = "/instance/v1/zones/fr-par-2/products/servers"
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda servers: parse_bytes("scaleway", landing, dumps(scaleway_page(servers)), directory=tmp_path)


def pull(server: FaultServer, landing: Landing, client: HttpClient, zone: str = "fr-par-2") -> LandedEntry:
    return pull_dataset(SCALEWAY, zone, SourceOptions(base_url=server.url), landing, now=NOW, client=client)


def test_list_prices_of_2026_through_the_api(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    """Euros per machine as read from fr-par-2 on 2026-08-22 (H100 SXM, B300, RENDER-S) and prices.md (H100 PCIe)."""
    gpus = {
        "H100-1-80G": scaleway_type(),
        "H100-SXM-2-80G": scaleway_type(gpu=2, gpu_info=scaleway_gpu("H100-SXM", 80), hourly_price=6.6198),
        "H100-SXM-8-80G": scaleway_type(gpu=8, gpu_info=scaleway_gpu("H100-SXM", 80), hourly_price=25.3308),
        "B300-SXM-2-288G": scaleway_type(gpu=2, gpu_info=scaleway_gpu("B300-SXM", 288), hourly_price=18.96),
        "RENDER-S": scaleway_type(gpu=1, gpu_info=scaleway_gpu("P100", 16), hourly_price=1.221),
    }
    serve_scaleway(server, cpu_types(98) | gpus)
    entry = pull(server, landing, client)
    assert [request.query for request in server.requests] == [
        {"per_page": "100", "page": "1"},
        {"per_page": "100", "page": "2"},
    ]
    parsed = SCALEWAY.parse(landing.open_snapshot(entry))
    assert [
        (r.sku_id, r.gpu_name_raw, r.gpu_count_raw, r.gpu_memory_gb_raw, str(r.price_amount)) for r in parsed.records
    ] == [
        ("H100-1-80G", "H100-PCIe", 1, 80, "2.8665"),
        ("H100-SXM-2-80G", "H100-SXM", 2, 80, "6.6198"),
        ("H100-SXM-8-80G", "H100-SXM", 8, 80, "25.3308"),
        ("B300-SXM-2-288G", "B300-SXM", 2, 288, "18.96"),
        ("RENDER-S", "P100", 1, 16, "1.221"),
    ]
    assert {(r.region_raw, r.price_currency, r.price_unit_raw, r.is_available) for r in parsed.records} == {
        ("fr-par-2", "EUR", "instance hour", None)
    }
    assert (parsed.rejections, parsed.skipped) == ((), {"no_gpu": 98})


def test_a_last_page_that_is_full_is_followed_by_an_empty_one(
    server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    serve_scaleway(server, cpu_types(99) | {"H100-1-80G": scaleway_type()})
    entry = pull(server, landing, client)
    assert (entry.kind, len(entry.payloads), len(server.requests)) == (EntryKind.SNAPSHOT, 2, 2)
    assert len(SCALEWAY.parse(landing.open_snapshot(entry)).records) == 1


def test_types_that_are_no_offers_of_whole_gpus(parse: Parse) -> None:
    parsed = parse(
        {
            "DEV1-S": scaleway_type(gpu=None, gpu_info=None),
            "RENDER-S": scaleway_type(end_of_service=True),
            "H100-1-10G": scaleway_type(mig_profile="nvidia-mig-1g-10gb"),
            "L4-1-24G": scaleway_type(gpu_info=scaleway_gpu("L4", 24), hourly_price=0.7875),
        }
    )
    assert [r.sku_id for r in parsed.records] == ["L4-1-24G"]
    assert (parsed.rejections, parsed.skipped) == ((), {"end_of_service": 1, "mig_slice": 1, "no_gpu": 1})


@pytest.mark.parametrize(
    ("stated", "memory_gb"),
    [(80_000_000_000, "80"), (85_899_345_920, "80"), (141_000_000_000, "141"), (None, None)],
)
def test_memory_is_stated_in_bytes(parse: Parse, stated: object, memory_gb: str | None) -> None:
    (record,) = parse({"X": scaleway_type(gpu_info={"gpu_name": "H100-PCIe", "gpu_memory": stated})}).records
    assert record.gpu_memory_gb_raw == (memory_gb and Decimal(memory_gb))


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"hourly_price": 0}, Reason.PRICE_NOT_POSITIVE, "hourly_price"),
        ({"hourly_price": None}, Reason.MISSING_FIELD, "hourly_price"),
        ({"hourly_price": {"units": 2}}, Reason.PRICE_NOT_A_NUMBER, "hourly_price"),
        ({"gpu": "many"}, Reason.UNREADABLE_FIELD, "gpu"),
        ({"gpu_info": None}, Reason.UNREADABLE_FIELD, "gpu_info"),
        ({"gpu_info": {"gpu_memory": 1}}, Reason.MISSING_FIELD, "gpu_name"),
        ({"gpu_info": {"gpu_name": "L4", "gpu_memory": -1}}, Reason.UNREADABLE_FIELD, "gpu_info.gpu_memory"),
    ],
)
def test_bad_types_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, Any], reason: Reason, field: str
) -> None:
    parsed = parse({"A": scaleway_type(), "B": scaleway_type(**change), "C": "text", "D": scaleway_type()})
    assert [r.sku_id for r in parsed.records] == ["A", "D"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "servers")]
    assert parsed.rejections[0].location == "part0.txt B"


@pytest.mark.parametrize(
    ("page", "error", "message"),
    [
        (scaleway_page({}), "IncompleteSnapshotError", "'servers' is empty"),
        (scaleway_page([]), "SchemaDriftError", "field 'servers' is absent or not an object"),
        # The second page is the first again.
        (scaleway_page(cpu_types(100)), "IncompleteSnapshotError", "page-002 repeats an earlier page"),
    ],
)
def test_a_list_that_is_not_whole_is_refused(
    server: FaultServer, landing: Landing, client: HttpClient, page: object, error: str, message: str
) -> None:
    server.add(PATH, Answer.json(page))
    entry = pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, error)
    assert message in str(entry.message)


def test_a_region_is_no_zone(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    entry = pull(server, landing, client, "fr-par")
    assert (entry.error, server.requests) == ("PermanentError", [])
    assert "'fr-par' is not a Scaleway zone such as fr-par-2" in str(entry.message)
