"""Together: cents per hour (old list: per minute) for all GPUs of an endpoint. Figures of the documentation, 2026."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.together import (
    TOGETHER_OLD_PATH,
    TOGETHER_PATH,
    serve_together,
    together_answer,
    together_hardware,
    together_type,
)

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import Answer, FaultServer

TOGETHER = PRICE_SOURCES["together"]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *hardware: parse_bytes("together", landing, dumps(together_answer(*hardware)), directory=tmp_path)


def test_documented_prices_through_the_api(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    """The price page of 2026: 5.49 and 8.99 an hour for one GPU, n times that for n; H200 has no price there."""
    hardware = [
        together_type(),
        together_type("8xnvidia-b200-180gb", 7192, gpuType="B200", gpuCount=8, gpuMemoryGib=180),
        together_type("1xnvidia-h200-141gb", None, gpuType="H200", gpuMemoryGib=141),
        together_type("1xnvidia-b300-280gb", 0, gpuType="B300", gpuMemoryGib=280),
    ]
    serve_together(server, together_answer(*hardware))
    options = SourceOptions(base_url=server.url, api_key="canary")
    entry = pull_dataset(TOGETHER, "hardware", options, landing, now=NOW, client=client)
    (request,) = server.requests
    assert (request.path, request.headers["authorization"]) == (TOGETHER_PATH, "Bearer canary")
    parsed = TOGETHER.parse(landing.open_snapshot(entry))
    assert [
        (r.sku_id, r.gpu_name_raw, r.gpu_count_raw, r.gpu_memory_gb_raw, r.price_amount) for r in parsed.records
    ] == [
        ("1xnvidia-h100-80gb", "nvidia-h100-80gb", 1, 80, Decimal("5.49")),
        ("8xnvidia-b200-180gb", "nvidia-b200-180gb", 8, 180, Decimal("71.92")),
    ]
    assert {(r.pricing_model_raw, r.price_currency, r.price_unit_raw, r.region_raw) for r in parsed.records} == {
        ("dedicated_endpoint", "USD", "endpoint hour, from cents", "global")
    }
    assert (parsed.rejections, parsed.skipped) == ((), {"no_price_stated": 2})


@pytest.mark.parametrize(
    ("free", "is_available"),
    [([0, 2], True), ([0, 0], False), ([0, None], None), ([None], None), ([], None)],
)
def test_headroom_in_any_region_is_availability(
    parse: Parse, free: list[int | None], is_available: bool | None
) -> None:
    regions = [{"name": "r", "headroom": {"relation": "RELATION_EQ", "value": value}} for value in free]
    (record,) = parse(together_type(regions=regions)).records
    assert record.is_available is is_available


def test_a_region_without_headroom_says_nothing(parse: Parse) -> None:
    records = parse(together_type("1xa", regions=[{"name": "r"}]), together_type("1xb", regions=None)).records
    assert [record.is_available for record in records] == [None, None]


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"priceCentsPerHour": "call us"}, Reason.PRICE_NOT_A_NUMBER, "priceCentsPerHour"),
        ({"priceCentsPerHour": -1}, Reason.PRICE_NOT_POSITIVE, "priceCentsPerHour"),
        ({"gpuCount": "two"}, Reason.UNREADABLE_FIELD, "gpuCount"),
        ({"id": ""}, Reason.MISSING_FIELD, "id"),
    ],
)
def test_a_bad_type_is_rejected_and_good_kept(
    parse: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    parsed = parse(together_type("1xa"), together_type("1xbad") | change)
    assert [record.sku_id for record in parsed.records] == ["1xa"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field)]


@pytest.mark.parametrize("status", [404, 403])
def test_the_old_list_stands_in_where_the_new_one_is_refused(
    status: int, server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    server.add(TOGETHER_PATH, Answer(status=status))
    serve_together(server, together_answer(together_hardware()), path=TOGETHER_OLD_PATH)
    options = SourceOptions(base_url=server.url, api_key="canary")
    entry = pull_dataset(TOGETHER, "hardware", options, landing, now=NOW, client=client)
    assert entry.source_url == server.url + TOGETHER_OLD_PATH
    (record,) = TOGETHER.parse(landing.open_snapshot(entry)).records
    assert (record.sku_id, record.price_amount) == ("1x_nvidia_h100_80gb_sxm", Decimal("5.40"))


def test_an_outage_is_no_refusal(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    """The names of the two lists differ: a bad hour must not make every offer vanish and another one appear."""
    server.add(TOGETHER_PATH, Answer(status=503))
    serve_together(server, together_answer(together_hardware()), path=TOGETHER_OLD_PATH)
    options = SourceOptions(base_url=server.url, api_key="canary")
    entry = pull_dataset(TOGETHER, "hardware", options, landing, now=NOW, client=client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "TransientError")
    assert {request.path for request in server.requests} == {TOGETHER_PATH}


def test_a_list_with_more_pages_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_together(server, together_answer(together_type()) | {"next_cursor": "more"})
    options = SourceOptions(base_url=server.url, api_key="canary")
    entry = pull_dataset(TOGETHER, "hardware", options, landing, now=NOW, client=client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")


def test_documented_prices_of_the_old_list(parse: Parse) -> None:
    """docs.together.ai, dedicated endpoints, 2026: 5.40, 6.60 and 9.00 an hour for one GPU, n times that for n."""
    hardware = [
        together_hardware("1x_nvidia_h100_80gb_sxm", 9),
        together_hardware("4x_nvidia_h100_80gb_sxm", 36, 4),
        together_hardware("1x_nvidia_h200_140gb_sxm", 11, memory=140),
        together_hardware("8x_nvidia_b200_180gb_sxm", 120, 8, 180),
    ]
    assert [(r.sku_id, r.gpu_count_raw, r.price_amount) for r in parse(*hardware).records] == [
        ("1x_nvidia_h100_80gb_sxm", 1, Decimal("5.40")),
        ("4x_nvidia_h100_80gb_sxm", 4, Decimal("21.60")),
        ("1x_nvidia_h200_140gb_sxm", 1, Decimal("6.60")),
        ("8x_nvidia_b200_180gb_sxm", 8, Decimal("72.00")),
    ]


def test_a_record_says_that_it_is_an_endpoint(parse: Parse) -> None:
    (record,) = parse(together_hardware("2x_nvidia_h100_80gb_sxm", 18, 2)).records
    assert record.pricing_model_raw == "dedicated_endpoint"
    assert record.price_unit_raw == "endpoint hour, from cents per minute"
    assert (record.instance_type, record.gpu_name_raw) == ("2x_nvidia_h100_80gb_sxm", "nvidia_h100_80gb_sxm")
    assert (record.gpu_count_raw, record.gpu_memory_gb_raw, record.price_currency) == (2, 80, "USD")
    assert (record.region_raw, record.is_available, record.effective_at) == ("global", None, None)


def test_a_rate_per_minute_that_does_not_come_out_even_is_the_hourly_price(parse: Parse) -> None:
    """9.95 an hour is 16.583333333333332 cents a minute in binary; the product would have thirteen decimals."""
    (record,) = parse(together_hardware("1x_nvidia_b200_180gb_sxm", 16.583333333333332)).records
    assert record.price_amount == Decimal("9.95")


@pytest.mark.parametrize("gpu_type", ["h100", "a100-80gb"])
def test_the_gpu_is_named_by_the_id(parse: Parse, gpu_type: str) -> None:
    specs = {"gpu_type": gpu_type, "gpu_link": "sxm", "gpu_memory": 80, "gpu_count": 2}
    counted, named = parse(
        together_hardware("2x_nvidia_a100_80gb_sxm", specs=specs), together_hardware("custom", specs=specs)
    ).records
    assert counted.gpu_name_raw == "nvidia_a100_80gb_sxm"
    assert named.gpu_name_raw == gpu_type


@pytest.mark.parametrize(
    ("availability", "is_available"),
    [
        ({"status": "available"}, True),
        ({"status": "unavailable"}, False),
        ({"status": "insufficient"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_availability_is_taken_only_where_it_is_plain(
    parse: Parse, availability: object, is_available: bool | None
) -> None:
    (record,) = parse(together_hardware(availability=availability)).records
    assert record.is_available is is_available


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"pricing": {"cents_per_minute": 0}}, Reason.PRICE_NOT_POSITIVE, "pricing.cents_per_minute"),
        ({"pricing": {}}, Reason.MISSING_FIELD, "pricing.cents_per_minute"),
        ({"pricing": None}, Reason.MISSING_FIELD, "pricing.cents_per_minute"),
        ({"pricing": {"cents_per_minute": "contact us"}}, Reason.PRICE_NOT_A_NUMBER, "pricing.cents_per_minute"),
        ({"specs": {"gpu_count": "two"}}, Reason.UNREADABLE_FIELD, "specs.gpu_count"),
        ({"id": None}, Reason.MISSING_FIELD, "id"),
    ],
)
def test_bad_hardware_is_rejected_and_good_kept(
    parse: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    parsed = parse(together_hardware("1x_a"), together_hardware("1x_bad", **change), "text", together_hardware("1x_b"))
    assert [record.sku_id for record in parsed.records] == ["1x_a", "1x_b"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "data")]
    assert parsed.rejections[0].location == "part0.txt data[2]"


def test_an_empty_list_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_together(server, together_answer())
    options = SourceOptions(base_url=server.url, api_key="canary")
    entry = pull_dataset(TOGETHER, "hardware", options, landing, now=NOW, client=client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")
