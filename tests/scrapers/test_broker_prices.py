"""The brokers: whose price it is, what of the price, and what is no price. Documented examples."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.primeintellect import prime_offer, prime_offers, prime_page, serve_prime
from feeds.shadeform import serve_shadeform, shadeform_answer, shadeform_type

from scrapers.http import HttpClient
from scrapers.landing import Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def shadeform(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *types: parse_bytes("shadeform", landing, dumps(shadeform_answer(*types)), directory=tmp_path)


@pytest.fixture
def prime(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *offers: parse_bytes("primeintellect", landing, dumps(prime_page(*offers)), directory=tmp_path)


def test_shadeform_states_the_cloud_and_the_instance(shadeform: Parse) -> None:
    """3192 cents are 31.92 dollars for eight GPUs."""
    first, second = shadeform(shadeform_type()).records
    assert (first.provider_raw, first.instance_type, first.sku_id) == (
        "lambdalabs",
        "gpu_8x_h100_sxm5",
        "lambdalabs/H100x8/gpu_8x_h100_sxm5",
    )
    assert (first.gpu_name_raw, first.gpu_count_raw, first.gpu_memory_gb_raw) == ("H100 sxm5", 8, 80)
    assert (first.price_amount, first.price_currency) == (Decimal("31.92"), "USD")
    assert [(r.region_raw, r.is_available) for r in (first, second)] == [("us-east-1", True), ("us-west-2", False)]


def test_shadeform_sends_the_key_in_its_own_header(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_shadeform(server, shadeform_answer(shadeform_type()))
    options = SourceOptions(base_url=server.url, api_key="canary")
    pull_dataset(PRICE_SOURCES["shadeform"], "instance-types", options, landing, now=NOW, client=client)
    assert server.requests[0].headers["x-api-key"] == "canary"


def test_shadeform_without_gpu_or_region_is_outside_the_question(shadeform: Parse) -> None:
    cpu = shadeform_type(configuration={"num_gpus": 0, "gpu_type": "CPU"})
    parsed = shadeform(shadeform_type(), cpu, shadeform_type(availability=[]))
    assert (len(parsed.records), parsed.skipped, parsed.rejections) == (2, {"no_gpu": 1, "no_region": 1}, ())


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"hourly_price": 0}, Reason.PRICE_NOT_POSITIVE, "hourly_price"),
        ({"hourly_price": "$31.92"}, Reason.PRICE_NOT_A_NUMBER, "hourly_price"),
        ({"hourly_price": None}, Reason.MISSING_FIELD, "hourly_price"),
        ({"cloud": None}, Reason.MISSING_FIELD, "cloud"),
        ({"configuration": []}, Reason.MISSING_FIELD, "configuration"),
        ({"availability": None}, Reason.MISSING_FIELD, "availability"),
        ({"availability": ["us"]}, Reason.UNREADABLE_ROW, "availability"),
        ({"configuration": {"num_gpus": "eight"}}, Reason.UNREADABLE_FIELD, "num_gpus"),
    ],
)
def test_shadeform_rejects_what_cannot_be_used(
    shadeform: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    parsed = shadeform(shadeform_type(**change), shadeform_type(cloud="crusoe"), 7)
    assert {r.provider_raw for r in parsed.records} == {"crusoe"}
    assert {(r.reason, r.field) for r in parsed.rejections} == {
        (reason, field),
        (Reason.UNREADABLE_ROW, "instance_types"),
    }


def test_prime_states_the_cloud_the_tier_and_the_offer(prime: Parse) -> None:
    (record,) = prime(prime_offer()).records
    assert (record.provider_raw, record.sku_id) == ("runpod", "runpod/NVIDIA H100 PCIe/1x")
    assert (record.gpu_name_raw, record.gpu_count_raw, record.gpu_memory_gb_raw) == ("H100_80GB PCIe", 1, 80)
    assert (record.region_raw, record.zone_raw) == ("united_states", "US-KS-2")
    assert (record.pricing_model_raw, record.price_amount) == ("secure_cloud", Decimal("2.69"))
    assert record.is_available is True


def test_prime_keeps_tiers_spot_and_stock_apart(prime: Parse) -> None:
    community = {"onDemand": None, "communityPrice": 1.99, "currency": "USD"}
    parsed = prime(
        prime_offer(security="community_cloud", prices=community, stockStatus="Out of Stock"),
        prime_offer(isSpot=True, stockStatus=None),
    )
    assert [(r.pricing_model_raw, str(r.price_amount), r.is_available) for r in parsed.records] == [
        ("community_cloud", "1.99", False),
        ("secure_cloud_spot", "2.69", None),
    ]


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"prices": {"onDemand": 0, "currency": "USD"}}, Reason.PRICE_NOT_POSITIVE, "onDemand"),
        (
            {"prices": {"onDemand": None, "communityPrice": None, "currency": "USD"}},
            Reason.MISSING_FIELD,
            "communityPrice",
        ),
        ({"prices": {"onDemand": 1}}, Reason.MISSING_FIELD, "currency"),
        ({"prices": None}, Reason.MISSING_FIELD, "prices"),
        ({"provider": None}, Reason.MISSING_FIELD, "provider"),
        ({"gpuType": None}, Reason.MISSING_FIELD, "gpuType"),
        ({"security": None}, Reason.MISSING_FIELD, "security"),
    ],
)
def test_prime_rejects_what_cannot_be_used(prime: Parse, change: dict[str, object], reason: Reason, field: str) -> None:
    parsed = prime(prime_offer(**change), prime_offer(cloudId="good"))
    assert [r.instance_type for r in parsed.records] == ["good"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field)]


@pytest.mark.parametrize(
    ("pages", "error"),
    [
        (
            [prime_page(*prime_offers(100), total=150), prime_page(*prime_offers(20), total=150)],
            "IncompleteSnapshotError",
        ),
        ([prime_page(total=0)], "IncompleteSnapshotError"),
        ([prime_page(*prime_offers(3), total="3")], "SchemaDriftError"),
    ],
)
def test_prime_needs_all_its_pages(
    pages: list[object], error: str, server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    serve_prime(server, *pages)
    options = SourceOptions(base_url=server.url, api_key="canary")
    entry = pull_dataset(PRICE_SOURCES["primeintellect"], "gpus", options, landing, now=NOW, client=client)
    assert entry.error == error
