"""Together: cents per minute for all GPUs of an endpoint. Figures of the documentation, 2026."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.together import serve_together, together_answer, together_hardware

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

TOGETHER = PRICE_SOURCES["together"]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *hardware: parse_bytes("together", landing, dumps(together_answer(*hardware)), directory=tmp_path)


def test_documented_prices_through_the_api(
    server: FaultServer, landing: Landing, client: HttpClient, parse: Parse
) -> None:
    """docs.together.ai, dedicated endpoints, 2026: 5.40, 6.60 and 9.00 an hour for one GPU, n times that for n."""
    hardware = [
        together_hardware("1x_nvidia_h100_80gb_sxm", 9),
        together_hardware("4x_nvidia_h100_80gb_sxm", 36, 4),
        together_hardware("1x_nvidia_h200_140gb_sxm", 11, memory=140),
        together_hardware("8x_nvidia_b200_180gb_sxm", 120, 8, 180),
    ]
    serve_together(server, together_answer(*hardware))
    options = SourceOptions(base_url=server.url, api_key="canary")
    entry = pull_dataset(TOGETHER, "hardware", options, landing, now=NOW, client=client)
    assert server.requests[0].headers["authorization"] == "Bearer canary"
    parsed = TOGETHER.parse(landing.open_snapshot(entry))
    assert [(r.sku_id, r.gpu_count_raw, r.price_amount) for r in parsed.records] == [
        ("1x_nvidia_h100_80gb_sxm", 1, Decimal("5.40")),
        ("4x_nvidia_h100_80gb_sxm", 4, Decimal("21.60")),
        ("1x_nvidia_h200_140gb_sxm", 1, Decimal("6.60")),
        ("8x_nvidia_b200_180gb_sxm", 8, Decimal("72.00")),
    ]
    assert [r.price_amount for r in parse(*hardware).records] == [r.price_amount for r in parsed.records]


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
