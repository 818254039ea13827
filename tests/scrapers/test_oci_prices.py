"""Oracle: the one exact category, and part numbers. Golden figures of 2026-10-01 and 2024-01-19."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.oci import oci_item, oci_list, serve_oci

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

OCI = PRICE_SOURCES["oci"]
# USD per GPU-hour by part number, prices.md section 6 of the reference, read by hand from the published list.
GOLDEN_2026_10_01 = {
    "B88517": "1.275",
    "B88518": "1.275",
    "B89734": "2.95",
    "B92740": "3.05",
    "B93544": "3.05",
    "B95907": "4",
    "B95909": "2",
    "B98415": "10",
    "B109479": "3.5",
    "B109485": "6",
    "B110519": "10",
    "B110978": "14",
    "B110979": "16",
    "B111758": "8.6",
    "B112140": "18",
    "B112237": "15",
    "B112613": "4.5",
}


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Callable[..., ParsedSnapshot]:
    return lambda *items: parse_bytes("oci", landing, dumps(oci_list(*items)), directory=tmp_path)


Parse = Callable[..., ParsedSnapshot]


def test_golden_prices_through_the_api(
    sample: Callable[[str], Path], server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    serve_oci(server, json.loads(sample("prices/oci/ewyluda_cetools_products_gpu_2026-10-01.json").read_text()))
    entry = pull_dataset(OCI, "products", SourceOptions(base_url=server.url), landing, now=NOW, client=client)
    assert server.requests[0].query == {"currencyCode": "USD"}
    assert entry.change_key == "2026-10-01T14:18:05.193Z"
    parsed = OCI.parse(landing.open_snapshot(entry))
    assert {r.sku_id: str(r.price_amount) for r in parsed.records} == GOLDEN_2026_10_01
    assert parsed.rejections == ()
    # VMware nodes and devices by the day are not sold per GPU-hour; Cloud@Customer and H100T are, but not as a cloud.
    assert parsed.skipped == {
        "category_compute_cloud_customer": 3,
        "category_compute_gpu_other": 1,
        "not_sold_per_gpu_hour": 5,
    }


def test_the_full_list_of_2024_holds_seven_gpus(
    sample: Callable[[str], Path], landing: Landing, tmp_path: Path
) -> None:
    body = sample("prices/oci/opencost_cetools_products_usd_full.json").read_bytes()
    parsed = parse_bytes("oci", landing, body, directory=tmp_path)
    assert {r.sku_id: str(r.price_amount) for r in parsed.records} == {
        "B88517": "1.275",
        "B88518": "1.275",
        "B89734": "2.95",
        "B92740": "3.05",
        "B95907": "4",
        "B95909": "2",
        "B98415": "10",
    }
    assert parsed.skipped == {"not_sold_per_gpu_hour": 443}


def test_a_record_is_per_gpu_everywhere(parse: Parse) -> None:
    (record,) = parse(oci_item()).records
    assert (record.region_raw, record.gpu_count_raw, record.price_unit_raw) == ("global", 1, "GPU Per Hour")
    assert (record.pricing_model_raw, record.effective_at) == ("PAY_AS_YOU_GO", None)
    assert record.gpu_name_raw == "Oracle Cloud Infrastructure - Compute - GPU - H100"
    assert record.price_amount == Decimal(10)


def test_a_new_category_shows_in_the_counts(parse: Parse) -> None:
    parsed = parse(oci_item(serviceCategory="Compute - GPU - Rubin"), oci_item(serviceCategory=None))
    assert parsed.skipped == {"category_compute_gpu_rubin": 1, "category_none": 1}


def _money(*entries: dict[str, object]) -> dict[str, object]:
    return {"currencyCodeLocalizations": list(entries)}


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        (_money({"currencyCode": "EUR", "prices": []}), Reason.CURRENCY_NOT_USD, "currencyCode"),
        ({"currencyCodeLocalizations": None}, Reason.MISSING_FIELD, "currencyCodeLocalizations"),
        (_money({"currencyCode": "USD", "prices": []}), Reason.MISSING_FIELD, "prices[PAY_AS_YOU_GO]"),
        (
            _money({"currencyCode": "USD", "prices": [{"model": "X", "value": 1}]}),
            Reason.MISSING_FIELD,
            "prices[PAY_AS_YOU_GO]",
        ),
        (
            _money({"currencyCode": "USD", "prices": [{"model": "PAY_AS_YOU_GO", "value": 0}]}),
            Reason.PRICE_NOT_POSITIVE,
            "value",
        ),
        (_money({"currencyCode": "USD", "prices": [{"model": "PAY_AS_YOU_GO"}]}), Reason.MISSING_FIELD, "value"),
        (
            _money({"currencyCode": "USD", "prices": [{"model": "PAY_AS_YOU_GO", "value": n} for n in (1, 2)]}),
            Reason.TIERED_PRICE,
            "prices",
        ),
        ({"partNumber": ""}, Reason.MISSING_FIELD, "partNumber"),
        ({"displayName": None}, Reason.MISSING_FIELD, "displayName"),
    ],
)
def test_bad_items_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    parsed = parse(oci_item("B1"), oci_item("BAD", **({"displayName": "x"} | change)), "text", oci_item("B2"))
    assert [r.sku_id for r in parsed.records] == ["B1", "B2"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "items")]
    assert parsed.rejections[0].location == "part0.txt item 2"


def test_an_empty_list_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_oci(server, oci_list())
    entry = pull_dataset(OCI, "products", SourceOptions(base_url=server.url), landing, now=NOW, client=client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")
    assert "'items' is empty" in str(entry.message)
