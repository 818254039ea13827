"""JarvisLabs: one GPU in several pools, in the currency of the account. Golden figures of the recording (2026)."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.jarvislabs import jarvislabs_answer, jarvislabs_pool, serve_jarvislabs

from scrapers.errors import PermanentError
from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

JARVISLABS = PRICE_SOURCES["jarvislabs"]
SAMPLE = "prices/jarvislabs/gpuhunt_server_meta_excerpt.json"
# USD per GPU-hour, read by hand. Of the four spot prices three are on virtual machines, which are not sold as spot.
GOLDEN = {
    ("L4/container", "india-noida-01", "on-demand"): "0.44",
    ("L4/container", "india-noida-01", "spot"): "0.29",
    ("L4/vm", "india-noida-01", "on-demand"): "0.44",
    ("A100-80GB/vm", "india-noida-01", "on-demand"): "1.49",
    ("RTX-PRO6000/vm", "india-chennai-01", "on-demand"): "1.89",
    ("RTX PRO 6000/vm", "india-noida-01", "on-demand"): "1.89",
    ("H100/any", "europe-01", "on-demand"): "2.99",
    ("H100/vm", "unknown-region", "on-demand"): "2.99",
}
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *pools: parse_bytes("jarvislabs", landing, dumps(jarvislabs_answer(*pools)), directory=tmp_path)


def pull(server: FaultServer, landing: Landing, client: HttpClient) -> LandedEntry:
    options = SourceOptions(base_url=server.url, api_key="canary")
    return pull_dataset(JARVISLABS, "server-meta", options, landing, now=NOW, client=client)


def found(parsed: ParsedSnapshot) -> dict[tuple[str, str, str], str]:
    return {(r.sku_id, r.region_raw, r.pricing_model_raw): str(r.price_amount) for r in parsed.records}


def test_golden_prices_through_the_api(
    sample: Callable[[str], Path], server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    serve_jarvislabs(server, json.loads(sample(SAMPLE).read_text()))
    entry = pull(server, landing, client)
    assert server.requests[0].headers["authorization"] == "Bearer canary"
    parsed = JARVISLABS.parse(landing.open_snapshot(entry))
    assert found(parsed) == GOLDEN
    assert parsed.rejections == ()
    assert parsed.skipped == {"no_spot_price": 3, "spot_of_no_container": 3}


def test_golden_prices_of_the_recording(sample: Callable[[str], Path], landing: Landing, tmp_path: Path) -> None:
    parsed = parse_bytes("jarvislabs", landing, sample(SAMPLE).read_bytes(), directory=tmp_path)
    assert found(parsed) == GOLDEN
    assert {r.gpu_memory_gb_raw for r in parsed.records} == {24, 80, 96}


def test_a_pool_is_priced_by_the_gpu_not_by_the_bundle(parse: Parse) -> None:
    """`num_gpus` is 8 and the price that of one GPU."""
    record, spot = parse(jarvislabs_pool()).records
    assert (record.price_amount, record.price_unit_raw) == (Decimal("2.69"), "GPU hour (price_per_hour)")
    assert (spot.price_amount, spot.price_unit_raw) == (Decimal("1.19"), "GPU hour (spot_price)")
    assert (record.gpu_name_raw, record.gpu_count_raw, record.gpu_memory_gb_raw) == ("H100", 1, 80)
    assert (record.sku_id, record.offering_class_raw, record.instance_type) == ("H100/container", "container", None)
    assert (record.is_available, spot.is_available) == (True, False)


@pytest.mark.parametrize(
    ("change", "is_available"),
    [
        ({"effective_num_free_devices": 0, "num_free_devices": 3}, False),
        ({"effective_num_free_devices": None, "num_free_devices": 3}, True),
        ({"effective_num_free_devices": None, "num_free_devices": None}, None),
    ],
)
def test_a_price_is_not_capacity(parse: Parse, change: dict[str, Any], is_available: bool | None) -> None:
    assert parse(jarvislabs_pool(**change)).records[0].is_available is is_available


def test_pools_of_one_kind_are_one_offer_and_must_agree(parse: Parse) -> None:
    same = parse(jarvislabs_pool(spot_price=None), jarvislabs_pool(spot_price=None, num_free_devices=1))
    assert (len(same.records), same.skipped["duplicate"]) == (1, 1)
    other = parse(jarvislabs_pool(spot_price=None), jarvislabs_pool(spot_price=None, price_per_hour=3.8))
    assert other.records == ()
    assert {r.reason for r in other.rejections} == {Reason.DUPLICATE_KEY_CONFLICT}


@pytest.mark.parametrize("currency", ["INR", "", None, 1])
def test_rupees_are_refused(
    currency: object, server: FaultServer, landing: Landing, client: HttpClient, tmp_path: Path
) -> None:
    answer = jarvislabs_answer(jarvislabs_pool(price_per_hour=255.15), currency=currency)
    serve_jarvislabs(server, answer)
    entry = pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "PermanentError")
    assert f"the prices are in {currency}, the currency this account is billed in" in str(entry.message)
    with pytest.raises(PermanentError, match="billed in USD"):
        parse_bytes("jarvislabs", landing, dumps(answer), directory=tmp_path)


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"price_per_hour": 0}, Reason.PRICE_NOT_POSITIVE, "price_per_hour"),
        ({"price_per_hour": None}, Reason.MISSING_FIELD, "price_per_hour"),
        ({"gpu_type": None}, Reason.MISSING_FIELD, "gpu_type"),
        ({"region": ""}, Reason.MISSING_FIELD, "region"),
        ({"vram": "a lot"}, Reason.UNREADABLE_FIELD, "vram"),
    ],
)
def test_bad_pools_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    bad = jarvislabs_pool(spot_price=None) | change
    good = [jarvislabs_pool(spot_price=None, gpu_type=name) for name in ("A", "B")]
    parsed = parse(good[0], bad, 7, good[1])
    assert [r.gpu_name_raw for r in parsed.records] == ["A", "B"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [
        (reason, field),
        (Reason.UNREADABLE_ROW, "server_meta"),
    ]
    assert parsed.rejections[0].location == "part0.txt server_meta[2].price_per_hour"


def test_an_empty_list_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_jarvislabs(server, jarvislabs_answer())
    assert pull(server, landing, client).error == "IncompleteSnapshotError"
