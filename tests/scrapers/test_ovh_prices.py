"""OVHcloud: integers in 1e-8, hours and months, what carries a GPU and is no instance. Figures of 2025-26."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.ovh import ovh_addon, ovh_catalogue, ovh_monthly, serve_ovh

from scrapers.errors import SchemaDriftError
from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

OVH = PRICE_SOURCES["ovh"]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *addons: parse_bytes("ovh", landing, dumps(ovh_catalogue(*addons)), directory=tmp_path)


def pull(server: FaultServer, landing: Landing, client: HttpClient, subsidiary: str = "fr") -> LandedEntry:
    return pull_dataset(OVH, subsidiary, SourceOptions(base_url=server.url), landing, now=NOW, client=client)


def test_golden_prices_through_the_api(
    sample: Callable[[str], Path], server: FaultServer, landing: Landing, client: HttpClient, tmp_path: Path
) -> None:
    """180000000 is 1.80 an hour, 63800000000 is 638.00 a month."""
    recording = sample("prices/ovh/opencost_catalog_excerpt.json").read_bytes()
    serve_ovh(server, json.loads(recording))
    entry = pull(server, landing, client)
    assert [request.query for request in server.requests] == [{"ovhSubsidiary": "FR"}]
    parsed = OVH.parse(landing.open_snapshot(entry))
    assert [(r.sku_id, r.instance_type, r.price_unit_raw, str(r.price_amount)) for r in parsed.records] == [
        ("t2-45.consumption", "t2-45", "instance hour from 1e-8", "1.80000000"),
        ("t2-45.monthly.postpaid", "t2-45", "instance month from 1e-8", "638.00000000"),
    ]
    assert [r.pricing_model_raw for r in parsed.records] == ["consumption", "monthly.postpaid"]
    assert {(r.gpu_name_raw, r.gpu_count_raw, r.gpu_memory_gb_raw) for r in parsed.records} == {
        ("Tesla V100S", 1, None)
    }
    assert {(r.region_raw, r.price_currency, r.is_available) for r in parsed.records} == {("FR", "EUR", None)}
    assert (parsed.rejections, parsed.skipped) == ((), {})
    assert parse_bytes("ovh", landing, recording, directory=tmp_path).skipped == {}


def test_list_prices_of_the_french_catalogue(parse: Parse) -> None:
    """Per machine, read by others on 2026-08-22: H100 2.80 an hour and 1940.00 a month, eight H200 42.00."""
    eight = {"technical": {"gpu": {"model": "H200", "number": 8, "memory": {"size": 141}}}}
    records = parse(ovh_addon(), ovh_monthly(), ovh_addon("h200-1920.consumption", 4_200_000_000, blobs=eight)).records
    assert [(r.sku_id, str(r.price_amount), r.gpu_count_raw, r.gpu_memory_gb_raw) for r in records] == [
        ("h100-380.consumption", "2.80000000", 1, 80),
        ("h100-380.monthly.postpaid", "1940.00000000", 1, 80),
        ("h200-1920.consumption", "42.00000000", 8, 141),
    ]


def test_an_interval_may_be_left_open(parse: Parse) -> None:
    """The catalogue of the US writes "none" on hourly and monthly prices: the plan code tells."""
    open_interval = [{"price": 180_000_000, "interval": 0, "intervalUnit": "none"}]
    (record,) = parse(ovh_addon("l40s-90.consumption", pricings=open_interval)).records
    assert (str(record.price_amount), record.pricing_model_raw) == ("1.80000000", "consumption")


def test_what_carries_a_gpu_and_is_no_offer_of_an_instance(parse: Parse) -> None:
    linux = ovh_addon()["blobs"]
    parsed = parse(
        ovh_addon("b2-7.consumption", blobs={"technical": {"cpu": {"cores": 2}}}),
        ovh_addon("b3-8.consumption", blobs={"technical": {"gpu": {"model": "", "number": 0}}}),
        ovh_addon("cloud.credit", blobs=None),
        # Per minute: 4 cents a minute would pass for 4 cents an hour.
        ovh_addon("ai-app.ai1-1-gpu.minute.consumption", 4_000_000, product="publiccloud-ai"),
        ovh_addon("ai-app.ai1-1-gpu.minute.consumption", 4_000_000),
        ovh_addon("win-t1-45.consumption"),
        ovh_addon("t1-45.consumption", blobs=linux | {"technical": linux["technical"] | {"os": {"family": "windows"}}}),
        ovh_addon("a10-45.consumption", blobs=linux | {"tags": ["coming_soon"]}),
        ovh_addon("l40s-90.consumption.3AZ"),
    )
    assert (parsed.records, parsed.rejections) == ((), ())
    assert parsed.skipped == {
        "coming_soon": 1,
        "no_gpu": 3,
        "paid_ai1_1_gpu_minute_consumption": 1,
        "paid_consumption_3az": 1,
        "product_publiccloud_ai": 1,
        "windows": 2,
    }


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"pricings": []}, Reason.MISSING_FIELD, "pricings"),
        ({"pricings": [{"price": 1}, {"price": 2}]}, Reason.TIERED_PRICE, "pricings"),
        ({"pricings": [{"price": 0}]}, Reason.PRICE_NOT_POSITIVE, "price"),
        ({"pricings": [{}]}, Reason.MISSING_FIELD, "price"),
        # Whole euros where 1e-8 is expected.
        ({"pricings": [{"price": 2.8}]}, Reason.UNKNOWN_UNIT, "price"),
        ({"pricings": [{"price": 280000000, "intervalUnit": "month"}]}, Reason.UNKNOWN_UNIT, "intervalUnit"),
        ({"blobs": {"technical": {"gpu": {"number": 1}}}}, Reason.MISSING_FIELD, "model"),
        ({"blobs": {"technical": {"gpu": {"model": "H100", "number": "x"}}}}, Reason.UNREADABLE_FIELD, "gpu.number"),
        ({"blobs": {"technical": {"gpu": "H100"}}}, Reason.UNREADABLE_FIELD, "gpu"),
        ({"planCode": None}, Reason.MISSING_FIELD, "planCode"),
    ],
)
def test_bad_addons_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, Any], reason: Reason, field: str
) -> None:
    parsed = parse(ovh_addon("a.consumption"), ovh_addon("b.consumption") | change, "text", ovh_addon("c.consumption"))
    assert [r.sku_id for r in parsed.records] == ["a.consumption", "c.consumption"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "addons")]
    assert parsed.rejections[0].location == "part0.txt addons[2]"


def test_a_catalogue_in_another_currency_is_refused(
    server: FaultServer, landing: Landing, client: HttpClient, tmp_path: Path
) -> None:
    document = ovh_catalogue(ovh_addon(), currencyCode="GBP", subsidiary="GB")
    serve_ovh(server, document)
    entry = pull(server, landing, client, "gb")
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "SchemaDriftError")
    assert "prices in GBP, not EUR: name a subsidiary that bills in euros" in str(entry.message)
    with pytest.raises(SchemaDriftError, match="prices in GBP"):
        parse_bytes("ovh", landing, dumps(document), directory=tmp_path)


def test_the_catalogue_of_another_subsidiary_is_refused(
    server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    serve_ovh(server, ovh_catalogue(ovh_addon()))
    entry = pull(server, landing, client, "de")
    assert entry.error == "SchemaDriftError"
    assert "the catalogue of DE was asked for, that of FR came" in str(entry.message)


def test_an_empty_catalogue_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_ovh(server, ovh_catalogue())
    entry = pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")
    assert "'addons' is empty" in str(entry.message)


def test_a_subsidiary_cannot_smuggle_a_parameter(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    entry = pull(server, landing, client, "fr-1")
    assert (entry.error, server.requests) == ("PermanentError", [])
