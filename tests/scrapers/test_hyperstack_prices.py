"""Hyperstack: GPUs in a book of everything. Figures of the price page of 2026-08-26."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from feeds import NOW, RECORDED, dumps, parse_bytes
from feeds.hyperstack import hyperstack_entry, serve_hyperstack

from scrapers.errors import SchemaDriftError
from scrapers.http import HttpClient
from scrapers.landing import LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

HYPERSTACK = PRICE_SOURCES["hyperstack"]
# Resource names as public readers of the API list them, USD per GPU-hour as on the page.
ON_DEMAND_2026_08_26 = {
    "B300-SXM": "7.40",
    "B200-SXM": "6.00",
    "H200-141G-SXM5": "3.99",
    "H100-80G-SXM5": "3.20",
    "H100-80G-PCIe-NVLink": "2.60",
    "H100-80G-PCIe": "2.50",
    "RTX-PRO6000-SE": "1.85",
    "A100-80G-SXM4": "1.60",
    "A100-80G-PCIe-NVLink": "1.40",
    "A100-80G-PCIe": "1.35",
    "L40": "1.00",
    "RTX-A6000": "0.50",
    "RTX-A4000": "0.15",
}
SPOT_2026_08_26 = {"H100-80G-PCIe": "2.00", "RTX-PRO6000-SE": "1.48", "A100-80G-PCIe": "1.08", "L40": "0.80"}
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *entries: parse_bytes("hyperstack", landing, dumps(list(entries)), directory=tmp_path)


def pull(server: FaultServer, landing: Landing, client: HttpClient) -> LandedEntry:
    options = SourceOptions(base_url=server.url, api_key="canary")
    return pull_dataset(HYPERSTACK, "pricebook", options, landing, now=NOW, client=client)


def test_the_price_page_through_the_api(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    book = [hyperstack_entry(name, float(usd)) for name, usd in ON_DEMAND_2026_08_26.items()]
    book += [hyperstack_entry(f"{name}-spot", float(usd)) for name, usd in SPOT_2026_08_26.items()]
    serve_hyperstack(server, book)
    entry = pull(server, landing, client)
    assert server.requests[0].headers["api_key"] == "canary"
    parsed = HYPERSTACK.parse(landing.open_snapshot(entry))
    prices = {(r.gpu_name_raw, r.pricing_model_raw): r.price_amount for r in parsed.records}
    assert prices == {
        **{(name, "on-demand"): Decimal(usd) for name, usd in ON_DEMAND_2026_08_26.items()},
        **{(name, "spot"): Decimal(usd) for name, usd in SPOT_2026_08_26.items()},
    }
    assert (parsed.rejections, parsed.skipped) == ((), {})


def test_a_record_is_per_gpu_everywhere(parse: Parse) -> None:
    (record,) = parse(hyperstack_entry("L40-spot", 0.8)).records
    assert (record.sku_id, record.gpu_name_raw, record.gpu_count_raw) == ("L40-spot", "L40", 1)
    assert (record.instance_type, record.region_raw, record.pricing_model_raw) == (None, "global", "spot")
    assert (record.price_unit_raw, record.price_currency) == ("GPU hour (original_value)", "USD")
    assert (record.is_available, record.gpu_memory_gb_raw, record.effective_at) == (None, None, None)


def test_the_account_s_discount_is_not_the_list_price(parse: Parse) -> None:
    (record,) = parse(hyperstack_entry(value=2.0, original_value=3.2, discount_applied=True)).records
    assert record.price_amount == Decimal("3.2")


def test_what_is_no_gpu_is_counted_by_its_name(parse: Parse) -> None:
    names = ["vCPU (cpu-only-flavors)", "RAM (cpu-only-flavors)", "Cloud-SSD", "Public IP", "org/Some-Model-8B"]
    parsed = parse(hyperstack_entry(), *(hyperstack_entry(name, 0.01) for name in names))
    assert len(parsed.records) == 1
    assert parsed.skipped == {
        "resource_cloud_ssd": 1,
        "resource_org_some_model_8b": 1,
        "resource_public_ip": 1,
        "resource_ram_cpu_only_flavors": 1,
        "resource_vcpu_cpu_only_flavors": 1,
    }


@pytest.mark.parametrize("name", ["GB200-NVL", "GB300", "MI300X", "T4", "V100-16G", "GH200", "RTX-6000-ada", "B100"])
def test_gpus_nobody_has_heard_of_are_kept(parse: Parse, name: str) -> None:
    assert [r.gpu_name_raw for r in parse(hyperstack_entry(name)).records] == [name]


def test_dated_prices(parse: Parse) -> None:
    """Recorded on 2026-10-01: one price ended before, one began, one is announced."""
    parsed = parse(
        hyperstack_entry(usd=9, end_time="2026-09-30T00:00:00Z"),
        hyperstack_entry(usd=3.2, start_time="2026-09-30T00:00:00Z", end_time="2026-12-31T00:00:00Z"),
        hyperstack_entry(usd=2.9, start_time="2027-01-01T00:00:00Z"),
    )
    assert datetime(2026, 10, 1, tzinfo=UTC) == RECORDED
    assert [(str(r.price_amount), r.effective_at) for r in parsed.records] == [
        ("3.2", datetime(2026, 9, 30, tzinfo=UTC)),
        ("2.9", datetime(2027, 1, 1, tzinfo=UTC)),
    ]
    assert parsed.skipped == {"no_longer_effective": 1}


@pytest.mark.parametrize(
    ("entry", "missing"),
    [
        ({"resource": "L40", "price": 1}, "name, original_value, start_time, end_time"),
        ({"name": "L40", "value": 1, "start_time": None, "end_time": None}, "original_value"),
    ],
)
def test_other_field_names_are_told(
    entry: dict[str, Any], missing: str, server: FaultServer, landing: Landing, client: HttpClient, tmp_path: Path
) -> None:
    serve_hyperstack(server, [entry, entry])
    failed = pull(server, landing, client)
    assert failed.error == "SchemaDriftError"
    assert f"absent from every entry: {missing}; present: {', '.join(sorted(entry))}" in str(failed.message)
    with pytest.raises(SchemaDriftError, match="absent from every entry"):
        parse_bytes("hyperstack", landing, dumps([entry]), directory=tmp_path)


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"original_value": 0}, Reason.PRICE_NOT_POSITIVE, "original_value"),
        ({"original_value": None}, Reason.MISSING_FIELD, "original_value"),
        ({"original_value": ...}, Reason.MISSING_FIELD, "original_value"),
        ({"name": None}, Reason.MISSING_FIELD, "name"),
        ({"start_time": "soon"}, Reason.UNREADABLE_FIELD, "start_time"),
        ({"end_time": 5}, Reason.UNREADABLE_FIELD, "end_time"),
    ],
)
def test_bad_entries_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    bad = {key: value for key, value in hyperstack_entry(**change).items() if value is not ...}
    parsed = parse(hyperstack_entry("L40"), bad, "text", hyperstack_entry("A40"))
    assert [r.sku_id for r in parsed.records] == ["L40", "A40"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "entry")]
    assert parsed.rejections[0].location == "part0.txt entry 2"


def test_an_empty_book_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_hyperstack(server, [])
    assert pull(server, landing, client).error == "IncompleteSnapshotError"
