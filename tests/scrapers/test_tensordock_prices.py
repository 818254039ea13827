"""TensorDock: GPUs by location, priced without the machine around them. Figures of the documented example."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.tensordock import serve_tensordock, tensordock_answer, tensordock_gpu, tensordock_location

from scrapers.errors import SchemaDriftError
from scrapers.http import HttpClient
from scrapers.landing import Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

TENSORDOCK = PRICE_SOURCES["tensordock"]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *places: parse_bytes("tensordock", landing, dumps(tensordock_answer(*places)), directory=tmp_path)


def test_the_documented_example_through_the_api(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_tensordock(server, tensordock_answer(tensordock_location(tensordock_gpu())))
    options = SourceOptions(base_url=server.url, api_key="canary")
    entry = pull_dataset(TENSORDOCK, "locations", options, landing, now=NOW, client=client)
    assert server.requests[0].headers["authorization"] == "Bearer canary"
    (record,) = TENSORDOCK.parse(landing.open_snapshot(entry)).records
    assert (record.sku_id, record.gpu_name_raw, record.gpu_count_raw) == ("h100-sxm5-80gb", "H100 SXM5 80GB", 1)
    assert (record.price_amount, record.price_unit_raw) == (Decimal("2.2"), "GPU hour (price_per_hr)")
    assert (record.instance_type, record.offering_class_raw) == (None, "gpu_only")
    assert (record.region_raw, record.zone_raw) == ("Austin, Texas, United States", "location-1")
    assert record.is_available is True


def test_two_locations_in_one_city_are_two_offers(parse: Parse) -> None:
    parsed = parse(
        tensordock_location(tensordock_gpu(), id="a"),
        tensordock_location(tensordock_gpu(usd=2.5), id="b"),
    )
    assert [(r.region_raw, r.zone_raw, str(r.price_amount)) for r in parsed.records] == [
        ("Austin, Texas, United States", "a", "2.2"),
        ("Austin, Texas, United States", "b", "2.5"),
    ]


def test_a_location_without_state_or_city_is_its_country(parse: Parse) -> None:
    (record,) = parse(tensordock_location(tensordock_gpu(), city="", stateprovince=None)).records
    assert record.region_raw == "United States"


@pytest.mark.parametrize(("count", "is_available"), [(8, True), (0, False), (None, None), ("some", None)])
def test_a_price_is_not_capacity(parse: Parse, count: object, is_available: bool | None) -> None:
    (record,) = parse(tensordock_location(tensordock_gpu(max_count=count))).records
    assert record.is_available is is_available


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"price_per_hr": 0}, Reason.PRICE_NOT_POSITIVE, "price_per_hr"),
        ({"price_per_hr": None}, Reason.MISSING_FIELD, "price_per_hr"),
        ({"v0Name": None}, Reason.MISSING_FIELD, "v0Name"),
        ({"displayName": 4090}, Reason.UNREADABLE_FIELD, "displayName"),
    ],
)
def test_bad_gpus_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    bad = tensordock_gpu(**change)
    parsed = parse(tensordock_location(tensordock_gpu("a"), bad, "text", tensordock_gpu("b")))
    assert [r.sku_id for r in parsed.records] == ["a", "b"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "gpus")]
    assert parsed.rejections[0].location == "part0.txt locations[1].gpus[2]"


@pytest.mark.parametrize(
    ("change", "field"), [({"id": None}, "id"), ({"country": None}, "country"), ({"gpus": {"x": 1}}, "gpus")]
)
def test_bad_locations_are_rejected_and_good_ones_kept(parse: Parse, change: dict[str, object], field: str) -> None:
    bad = tensordock_location(tensordock_gpu()) | change
    parsed = parse(bad, tensordock_location(tensordock_gpu(), id="good"))
    assert [r.zone_raw for r in parsed.records] == ["good"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(Reason.MISSING_FIELD, field)]


def test_an_account_that_sees_nothing_is_told_why(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_tensordock(server, tensordock_answer())
    options = SourceOptions(base_url=server.url, api_key="canary")
    entry = pull_dataset(TENSORDOCK, "locations", options, landing, now=NOW, client=client)
    assert entry.error == "IncompleteSnapshotError"
    assert "An account without a deposit may see none" in str(entry.message)


def test_the_api_that_is_gone_is_not_taken_for_this_one(
    sample: Callable[[str], Path], landing: Landing, tmp_path: Path
) -> None:
    recorded = json.loads(sample("prices/tensordock/gpuhunt_hostnode_specs_excerpt.json").read_text())
    with pytest.raises(SchemaDriftError, match="field 'data'"):
        parse_bytes("tensordock", landing, dumps(recorded), directory=tmp_path)
