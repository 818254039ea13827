"""CloudRift: cents, and prices of machines that are not there. Figures of the public catalogue of 2026-10-06."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.cloudrift import cloudrift_answer, cloudrift_type, cloudrift_variant, serve_cloudrift

from scrapers.http import HttpClient
from scrapers.landing import Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

CLOUDRIFT = PRICE_SOURCES["cloudrift"]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *types: parse_bytes("cloudrift", landing, dumps(cloudrift_answer(*types)), directory=tmp_path)


def test_cents_of_the_catalogue_become_dollars(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    """RTX 5090 0.62 and 0.65, RTX PRO 6000 1.34 and 1.39 an hour."""
    document = cloudrift_answer(
        cloudrift_type(cloudrift_variant(cents=62), name="a"),
        cloudrift_type(cloudrift_variant(cents=65.0, name="rtx59-7c-nr.1"), name="b"),
        cloudrift_type(
            cloudrift_variant(cents=134, name="rtxpro6000-a.1"),
            cloudrift_variant(cents=139, name="rtxpro6000-b.1"),
            brand_short="RTX PRO 6000",
        ),
    )
    serve_cloudrift(server, document)
    options = SourceOptions(base_url=server.url)
    entry = pull_dataset(CLOUDRIFT, "instance-types", options, landing, now=NOW, client=client)
    parsed = CLOUDRIFT.parse(landing.open_snapshot(entry))
    assert {r.instance_type: r.price_amount for r in parsed.records} == {
        "rtx59-16c-nr.1": Decimal("0.62"),
        "rtx59-7c-nr.1": Decimal("0.65"),
        "rtxpro6000-a.1": Decimal("1.34"),
        "rtxpro6000-b.1": Decimal("1.39"),
    }
    (request,) = server.requests
    assert request.method == "POST"
    assert json.loads(request.body) == {
        "version": "2025-03-21",
        "data": {"selector": {"ByServiceAndLocation": {"services": ["vm"]}}},
    }


def test_a_record_names_machine_and_gpu(parse: Parse) -> None:
    record = parse(cloudrift_type(cloudrift_variant(4, 260))).records[0]
    assert (record.sku_id, record.instance_type, record.product_name_raw) == (
        *("rtx59-16c-nr.4", "rtx59-16c-nr.4", "rtx59-16c-nr"),
    )
    assert (record.gpu_name_raw, record.gpu_count_raw, record.gpu_memory_gb_raw) == ("RTX 5090", 4, 32)
    assert (record.price_amount, record.price_unit_raw) == (*(Decimal("2.60"), "instance hour (cost_per_hour / 100)"),)
    assert (record.region_raw, record.price_currency) == ("global", "USD")


@pytest.mark.parametrize(
    ("change", "is_available"),
    [
        ({}, True),
        ({"available_nodes": 0}, False),
        ({"available_nodes": None}, None),  # nodes_per_dc alone counts nodes, not free ones
        ({"available_nodes": None, "available_nodes_per_dc": {"dc-1": 0, "dc-2": 1}}, True),
        ({"available_nodes": None, "available_nodes_per_dc": {"dc-1": 0}}, False),
        ({"available_nodes": 0, "nodes_per_dc": {}}, False),
    ],
)
def test_a_price_is_not_capacity(parse: Parse, change: dict[str, Any], is_available: bool | None) -> None:
    (record,) = parse(cloudrift_type(cloudrift_variant(**change))).records
    assert record.is_available is is_available
    assert record.price_amount == Decimal("0.65")


def test_machines_without_a_gpu_are_outside_the_question(parse: Parse) -> None:
    parsed = parse(cloudrift_type(cloudrift_variant(0, 5, brand_short="EPYC")))
    assert (parsed.records, parsed.skipped) == ((), {"no_gpu": 1})


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"cost_per_hour": 0}, Reason.PRICE_NOT_POSITIVE, "cost_per_hour"),
        ({"cost_per_hour": None}, Reason.MISSING_FIELD, "cost_per_hour"),
        ({"cost_per_hour": "$1"}, Reason.PRICE_NOT_A_NUMBER, "cost_per_hour"),
        # Thirteen decimals of a cent are kept nowhere: the amount is refused, not rounded.
        ({"cost_per_hour": 0.000000000012}, Reason.PRICE_OUT_OF_RANGE, "price_amount"),
        ({"name": None}, Reason.MISSING_FIELD, "name"),
        ({"gpu_count": None}, Reason.MISSING_FIELD, "gpu_count"),
        ({"gpu_count": "many"}, Reason.UNREADABLE_FIELD, "gpu_count"),
        ({"vram": -1}, Reason.UNREADABLE_FIELD, "vram"),
        ({"vram": float("inf")}, Reason.UNREADABLE_FIELD, "vram"),
    ],
)
def test_bad_variants_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    good = [cloudrift_variant(name=name) for name in ("a", "b")]
    parsed = parse(cloudrift_type(good[0], cloudrift_variant(**change), "text", good[1]))
    assert [r.sku_id for r in parsed.records] == ["a", "b"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "variants")]
    assert parsed.rejections[0].location == "part0.txt instance_types[1].variants[2]"


def test_bad_types_are_rejected_and_good_ones_kept(parse: Parse) -> None:
    parsed = parse(7, cloudrift_type(variants=None), cloudrift_type(cloudrift_variant()))
    assert len(parsed.records) == 1
    assert [(r.reason, r.field) for r in parsed.rejections] == [
        (Reason.UNREADABLE_ROW, "instance_types"),
        (Reason.MISSING_FIELD, "variants"),
    ]


def test_the_same_name_at_two_prices_is_refused(parse: Parse) -> None:
    parsed = parse(cloudrift_type(cloudrift_variant(cents=65), cloudrift_variant(cents=66)))
    assert parsed.records == ()
    assert {r.reason for r in parsed.rejections} == {Reason.DUPLICATE_KEY_CONFLICT}


def test_an_empty_list_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_cloudrift(server, cloudrift_answer())
    options = SourceOptions(base_url=server.url)
    entry = pull_dataset(CLOUDRIFT, "instance-types", options, landing, now=NOW, client=client)
    assert entry.error == "IncompleteSnapshotError"
