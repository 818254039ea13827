"""Seeweb: numbers as text, a currency that is not stated. Golden figures of a recording of 2026."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.seeweb import seeweb_answer, seeweb_plan, serve_seeweb

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

SEEWEB = PRICE_SOURCES["seeweb"]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *plans: parse_bytes("seeweb", landing, dumps(seeweb_answer(*plans)), directory=tmp_path)


def pull(server: FaultServer, landing: Landing, client: HttpClient) -> LandedEntry:
    options = SourceOptions(base_url=server.url, api_key="canary")
    return pull_dataset(SEEWEB, "plans", options, landing, now=NOW, client=client)


def test_golden_prices_through_the_api(
    sample: Callable[[str], Path], server: FaultServer, landing: Landing, client: HttpClient, tmp_path: Path
) -> None:
    recording = sample("prices/seeweb/gpuhunt_plans_excerpt.json").read_bytes()
    serve_seeweb(server, json.loads(recording))
    entry = pull(server, landing, client)
    (request,) = server.requests
    assert request.headers["x-apitoken"] == "canary"
    assert "authorization" not in request.headers
    parsed = SEEWEB.parse(landing.open_snapshot(entry))
    assert [
        (r.sku_id, r.region_raw, r.gpu_name_raw, r.gpu_count_raw, r.gpu_memory_gb_raw, str(r.price_amount))
        for r in parsed.records
    ] == [
        ("ECS1GPU7", "it-fr2", "L40s 48GB", 1, 48, "0.85"),
        ("ECS1GPU7", "it-mi2", "L40s 48GB", 1, 48, "0.85"),
        ("ECS2GPU3", "it-fr2", "A100 80GB", 2, 80, "1.98"),
        ("ECS1GPU9", "it-fr2", "MI300X", 1, None, "1.6"),
    ]
    assert {(r.price_currency, r.price_unit_raw, r.is_available) for r in parsed.records} == {
        ("EUR", "instance hour", True)
    }
    assert (parsed.rejections, parsed.skipped) == ((), {"no_gpu": 1})
    assert len(parse_bytes("seeweb", landing, recording, directory=tmp_path).records) == 4


def test_plans_that_are_no_offers(parse: Parse) -> None:
    parsed = parse(
        seeweb_plan("ECS1GPU6W"), seeweb_plan("ECS1GPU8", available_regions=[]), seeweb_plan("eCS4", gpu="0")
    )
    assert (parsed.records, parsed.rejections) == ((), ())
    assert parsed.skipped == {"no_gpu": 1, "no_region": 1, "windows": 1}


def test_a_price_may_be_text(parse: Parse) -> None:
    assert {str(r.price_amount) for r in parse(seeweb_plan(hourly_price="0.38")).records} == {"0.38"}


@pytest.mark.parametrize(("stated", "kept"), [(False, False), (None, None), ("true", None)])
def test_availability_is_what_the_source_says(parse: Parse, stated: object, kept: bool | None) -> None:
    assert {r.is_available for r in parse(seeweb_plan(available=stated)).records} == {kept}


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"hourly_price": 0}, Reason.PRICE_NOT_POSITIVE, "hourly_price"),
        ({"hourly_price": "on request"}, Reason.PRICE_NOT_A_NUMBER, "hourly_price"),
        ({"gpu": "two"}, Reason.UNREADABLE_FIELD, "gpu"),
        ({"gpu_label": 4}, Reason.UNREADABLE_FIELD, "gpu_label"),
        ({"available_regions": None}, Reason.UNREADABLE_FIELD, "available_regions"),
        ({"available_regions": [{}]}, Reason.MISSING_FIELD, "location"),
        ({"name": None}, Reason.MISSING_FIELD, "name"),
    ],
)
def test_bad_plans_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, Any], reason: Reason, field: str
) -> None:
    parsed = parse(seeweb_plan("A"), seeweb_plan("B") | change, "text", seeweb_plan("C"))
    assert {r.sku_id for r in parsed.records} == {"A", "C"}
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "plans")]
    assert parsed.rejections[0].location == "part0.txt plans[2]"


@pytest.mark.parametrize(
    ("document", "error", "message"),
    [
        (seeweb_answer(), "IncompleteSnapshotError", "'plans' is empty"),
        (seeweb_answer(seeweb_plan(), status="error"), "SchemaDriftError", "field 'status' says 'error', not 'ok'"),
    ],
)
def test_an_answer_that_is_no_list_of_plans_is_refused(
    server: FaultServer, landing: Landing, client: HttpClient, document: object, error: str, message: str
) -> None:
    serve_seeweb(server, document)
    entry = pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, error)
    assert message in str(entry.message)
