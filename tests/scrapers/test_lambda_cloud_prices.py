"""Lambda: cents per instance, sold-out types and GPUs that share a name. Figures of 2026-08 and 2026-09."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.lambda_cloud import lambda_answer, lambda_type, serve_lambda

from scrapers.errors import SchemaDriftError
from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

LAMBDA = PRICE_SOURCES["lambda_cloud"]
# Lambda's page lambda.ai/instances as transcribed on 2026-09-20 (api-evangelist/lambda-labs, plans): USD per GPU-hour,
# by GPU and number of GPUs. The API states whole instances, in cents.
PAGE_2026_09_20 = {
    ("B200 (180 GB SXM6)", 8): "6.69",
    ("B200 (180 GB SXM6)", 4): "6.79",
    ("B200 (180 GB SXM6)", 2): "6.89",
    ("B200 (180 GB SXM6)", 1): "6.99",
    ("H100 (80 GB SXM5)", 8): "3.99",
    ("H100 (80 GB SXM5)", 4): "4.09",
    ("H100 (80 GB SXM5)", 2): "4.19",
    ("H100 (80 GB SXM5)", 1): "4.29",
    ("H100 (80 GB PCIe)", 1): "3.29",
    ("A100 (80 GB SXM4)", 8): "2.79",
    ("A100 (40 GB SXM4)", 8): "1.99",
    ("GH200 (96 GB)", 1): "2.29",
    ("A6000 (48 GB)", 4): "1.09",
    ("A10 (24 GB PCIe)", 1): "1.29",
    ("Tesla V100 (16 GB)", 8): "0.79",
    ("RTX 6000 (24 GB)", 1): "0.69",
}
# The same in cents per instance, worked out by hand, under the names of the API.
CENTS = {
    "gpu_8x_b200_sxm6": (5352, "B200 (180 GB SXM6)", 8),
    "gpu_4x_b200_sxm6": (2716, "B200 (180 GB SXM6)", 4),
    "gpu_2x_b200_sxm6": (1378, "B200 (180 GB SXM6)", 2),
    "gpu_1x_b200_sxm6": (699, "B200 (180 GB SXM6)", 1),
    "gpu_8x_h100_sxm5": (3192, "H100 (80 GB SXM5)", 8),
    "gpu_4x_h100_sxm5": (1636, "H100 (80 GB SXM5)", 4),
    "gpu_2x_h100_sxm5": (838, "H100 (80 GB SXM5)", 2),
    "gpu_1x_h100_sxm5": (429, "H100 (80 GB SXM5)", 1),
    "gpu_1x_h100_pcie": (329, "H100 (80 GB PCIe)", 1),
    "gpu_8x_a100_80gb_sxm4": (2232, "A100 (80 GB SXM4)", 8),
    "gpu_8x_a100": (1592, "A100 (40 GB SXM4)", 8),
    "gpu_1x_gh200": (229, "GH200 (96 GB)", 1),
    "gpu_4x_a6000": (436, "A6000 (48 GB)", 4),
    "gpu_1x_a10": (129, "A10 (24 GB PCIe)", 1),
    "gpu_8x_v100": (632, "Tesla V100 (16 GB)", 8),
    "gpu_1x_rtx6000": (69, "RTX 6000 (24 GB)", 1),
}
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda **types: parse_bytes("lambda_cloud", landing, dumps(lambda_answer(**types)), directory=tmp_path)


def pull(server: FaultServer, landing: Landing, client: HttpClient) -> LandedEntry:
    options = SourceOptions(base_url=server.url, api_key="canary")
    return pull_dataset(LAMBDA, "instance-types", options, landing, now=NOW, client=client)


def test_list_prices_through_the_api_are_those_of_the_page(
    server: FaultServer, landing: Landing, client: HttpClient, parse: Parse
) -> None:
    types = {name: lambda_type(cents, gpu, gpus) for name, (cents, gpu, gpus) in CENTS.items()}
    serve_lambda(server, lambda_answer(**types))
    parsed = LAMBDA.parse(landing.open_snapshot(pull(server, landing, client)))
    assert server.requests[0].headers["authorization"] == "Bearer canary"
    per_gpu = {
        (record.gpu_name_raw, record.gpu_count_raw): record.price_amount / (record.gpu_count_raw or 0)
        for record in parsed.records
    }
    assert per_gpu == {key: Decimal(amount) for key, amount in PAGE_2026_09_20.items()}
    assert (parsed.rejections, parsed.skipped) == ((), {})
    assert [record.price_amount for record in parse(**types).records] == [r.price_amount for r in parsed.records]


def test_a_record_states_instance_and_gpu(parse: Parse) -> None:
    """The documented answer of 2026-08-15: 429 cents, sold out."""
    (record,) = parse(gpu_1x_h100_sxm5=lambda_type(429)).records
    assert record.price_amount == Decimal("4.29")
    assert (record.sku_id, record.instance_type) == ("gpu_1x_h100_sxm5", "gpu_1x_h100_sxm5")
    assert (record.gpu_name_raw, record.gpu_count_raw, record.gpu_memory_gb_raw) == ("H100 (80 GB SXM5)", 1, 80)
    assert (record.region_raw, record.price_currency) == ("global", "USD")
    assert record.price_unit_raw == "instance hour, from cents"


@pytest.mark.parametrize(
    ("regions", "is_available"), [((), False), (("us-east-1", "us-west-2"), True), (None, None), ("absent", None)]
)
def test_capacity_says_nothing_about_the_price(parse: Parse, regions: object, is_available: bool | None) -> None:
    item = lambda_type(199, "A100 (40 GB SXM4)")
    item["regions_with_capacity_available"] = [{"name": name} for name in regions] if regions is not None else None
    if regions == "absent":
        del item["regions_with_capacity_available"]
    (record,) = parse(gpu_1x_a100_sxm4=item).records
    assert (record.price_amount, record.is_available) == (Decimal("1.99"), is_available)


def test_types_without_a_gpu_are_outside_the_question(parse: Parse) -> None:
    parsed = parse(cpu_4x_general=lambda_type(20, "N/A", 0), gpu_1x_gh200=lambda_type(229, "GH200 (96 GB)"))
    assert [record.instance_type for record in parsed.records] == ["gpu_1x_gh200"]
    assert parsed.skipped == {"no_gpu": 1}


def test_memory_that_is_not_stated_stays_unknown(parse: Parse) -> None:
    (record,) = parse(gpu_1x_new=lambda_type(1000, "Rubin")).records
    assert (record.gpu_name_raw, record.gpu_memory_gb_raw) == ("Rubin", None)


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        (lambda_type(0), Reason.PRICE_NOT_POSITIVE, "price_cents_per_hour"),
        (lambda_type(-429), Reason.PRICE_NOT_POSITIVE, "price_cents_per_hour"),
        (lambda_type(None), Reason.MISSING_FIELD, "price_cents_per_hour"),
        (lambda_type("$4.29"), Reason.PRICE_NOT_A_NUMBER, "price_cents_per_hour"),
        (lambda_type(gpus="one"), Reason.UNREADABLE_FIELD, "specs.gpus"),
        ({"instance_type": None}, Reason.UNREADABLE_ROW, "instance_type"),
        ("text", Reason.UNREADABLE_ROW, "instance_type"),
    ],
)
def test_bad_types_are_rejected_and_good_ones_kept(parse: Parse, bad: object, reason: Reason, field: str) -> None:
    parsed = parse(a=lambda_type(), bad=bad, b=lambda_type())
    assert [record.sku_id for record in parsed.records] == ["a", "b"]
    assert [(r.reason, r.field, r.location) for r in parsed.rejections] == [(reason, field, "part0.txt bad")]


def test_an_empty_list_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_lambda(server, lambda_answer())
    entry = pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")


def test_a_list_in_place_of_the_object_is_drift(landing: Landing, tmp_path: Path) -> None:
    """Some public readers take `data` for a list; it is an object keyed by name."""
    with pytest.raises(SchemaDriftError, match="field 'data' is not an object"):
        parse_bytes("lambda_cloud", landing, dumps({"data": []}), directory=tmp_path)
