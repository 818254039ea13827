"""DigitalOcean: memory of all GPUs, sizes without a region, ways to buy in the slug. Golden figures of 2025."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.digitalocean import digitalocean_page, digitalocean_size, serve_digitalocean

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import Answer, FaultServer

DIGITALOCEAN = PRICE_SOURCES["digitalocean"]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *sizes: parse_bytes("digitalocean", landing, dumps(digitalocean_page(*sizes)), directory=tmp_path)


def pull(server: FaultServer, landing: Landing, client: HttpClient) -> LandedEntry:
    options = SourceOptions(base_url=server.url, api_key="canary")
    return pull_dataset(DIGITALOCEAN, "sizes", options, landing, now=NOW, client=client)


def test_golden_prices_through_the_api(
    sample: Callable[[str], Path], server: FaultServer, landing: Landing, client: HttpClient, tmp_path: Path
) -> None:
    recording = sample("prices/digitalocean/gpuhunt_v2_sizes_excerpt.json").read_bytes()
    serve_digitalocean(server, json.loads(recording)["sizes"], page_size=2)
    entry = pull(server, landing, client)
    assert [request.query for request in server.requests] == [{"per_page": "200"}, {"page": "2", "per_page": "200"}]
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer canary"}
    parsed = DIGITALOCEAN.parse(landing.open_snapshot(entry))
    # Per machine of eight GPUs. The listed memory, 640 and 1536 GB, is that of all eight.
    assert [
        (r.sku_id, r.region_raw, r.gpu_name_raw, r.gpu_count_raw, r.gpu_memory_gb_raw, str(r.price_amount))
        for r in parsed.records
    ] == [
        ("gpu-h100x8-640gb", "nyc1", "nvidia_h100", 8, 80, "23.92"),
        ("gpu-mi300x8-1536gb", "nyc1", "amd_mi300x", 8, 192, "15.92"),
    ]
    assert {r.is_available for r in parsed.records} == {True}
    assert (parsed.rejections, parsed.skipped) == ((), {"no_gpu": 1})
    assert len(parse_bytes("digitalocean", landing, recording, directory=tmp_path).records) == 2


def test_one_row_per_region(parse: Parse) -> None:
    records = parse(digitalocean_size()).records
    assert [(r.region_raw, str(r.price_amount), r.gpu_memory_gb_raw) for r in records] == [
        ("nyc2", "30.4", 256),
        ("tor1", "30.4", 256),
    ]


def test_the_slug_says_how_a_size_is_bought(parse: Parse) -> None:
    parsed = parse(
        digitalocean_size("gpu-mi325x1-256gb"),
        digitalocean_size("gpu-mi350x1-288gb-spot"),
        digitalocean_size("gpu-b300x8-2304gb-lc-spot"),
        digitalocean_size("gpu-mi325x8-2048gb-fabric-contracted"),
    )
    assert {r.sku_id: r.pricing_model_raw for r in parsed.records} == {
        "gpu-mi325x1-256gb": "price_hourly",
        "gpu-mi350x1-288gb-spot": "price_hourly spot",
        "gpu-b300x8-2304gb-lc-spot": "price_hourly spot",
    }
    assert parsed.skipped == {"contract_only": 1}


def test_a_size_without_regions_is_not_sold(parse: Parse) -> None:
    """On 2026-10-08 all NVIDIA sizes of one account read `available` true and no region."""
    parsed = parse(digitalocean_size("gpu-h100x1-80gb", price_hourly=4.41, regions=[]))
    assert (parsed.records, parsed.skipped) == ((), {"no_region": 1})


@pytest.mark.parametrize(("stated", "kept"), [(True, True), (False, False), (None, None), ("yes", None)])
def test_availability_is_what_the_source_says(parse: Parse, stated: object, kept: bool | None) -> None:
    assert {r.is_available for r in parse(digitalocean_size(available=stated)).records} == {kept}


@pytest.mark.parametrize("vram", [None, {"amount": 2048, "unit": "mib"}, {"amount": 0, "unit": "gib"}])
def test_memory_that_cannot_be_told_does_not_cost_the_price(parse: Parse, vram: object) -> None:
    gpu = {"count": 8, "vram": vram, "model": "amd_mi325x"}
    assert {r.gpu_memory_gb_raw for r in parse(digitalocean_size(gpu_info=gpu)).records} == {None}


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"price_hourly": 0}, Reason.PRICE_NOT_POSITIVE, "price_hourly"),
        ({"price_hourly": None}, Reason.MISSING_FIELD, "price_hourly"),
        ({"regions": None}, Reason.UNREADABLE_FIELD, "regions"),
        ({"regions": [1]}, Reason.UNREADABLE_FIELD, "regions"),
        ({"gpu_info": "h100"}, Reason.UNREADABLE_FIELD, "gpu_info"),
        ({"gpu_info": {"count": 8}}, Reason.MISSING_FIELD, "model"),
        (
            {"gpu_info": {"count": float("nan"), "vram": {"amount": 8, "unit": "gib"}, "model": "x"}},
            Reason.UNREADABLE_FIELD,
            "gpu_count_raw",
        ),
        ({"slug": None}, Reason.MISSING_FIELD, "slug"),
    ],
)
def test_bad_sizes_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, Any], reason: Reason, field: str
) -> None:
    parsed = parse(digitalocean_size("a"), digitalocean_size("b") | change, "text", digitalocean_size("c"))
    assert {r.sku_id for r in parsed.records} == {"a", "c"}
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "sizes")]
    assert parsed.rejections[0].location == "part0.txt sizes[2]"


@pytest.mark.parametrize(
    ("page", "error", "message"),
    [
        (digitalocean_page(), "IncompleteSnapshotError", "0 sizes arrived of 0"),
        (digitalocean_page(digitalocean_size(), total=147), "IncompleteSnapshotError", "1 sizes arrived of 147"),
        ({"sizes": [digitalocean_size()], "meta": {}}, "SchemaDriftError", "field 'links': a JSON object was expected"),
    ],
)
def test_a_list_that_is_not_whole_is_refused(
    server: FaultServer, landing: Landing, client: HttpClient, page: object, error: str, message: str
) -> None:
    server.add("/v2/sizes", Answer.json(page))
    entry = pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, error)
    assert message in str(entry.message)
