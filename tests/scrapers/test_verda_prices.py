"""Verda: totals that are not per GPU, two names for spot. Golden figures of a recording of 2024 to 2026."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.verda import serve_verda, verda_type

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

VERDA = PRICE_SOURCES["verda"]
RECORDING = "prices/verda/gpuhunt_instance_types_excerpt.json"
AVAILABILITY = "prices/verda/gpuhunt_instance_availability_excerpt.json"
# Instance type, GPU, GPUs, GB per GPU, way to pay, USD per instance-hour: read by hand from the recording.
GOLDEN = [
    ("1H100.80S.30V", "H100 SXM5 80GB", 1, 80, "price_per_hour", "3.95"),
    ("1H100.80S.30V", "H100 SXM5 80GB", 1, 80, "spot_price", "1.70"),
    ("2A6000.20V", "RTX A6000 48GB", 2, 48, "price_per_hour", "1.98"),
    ("2A6000.20V", "RTX A6000 48GB", 2, 48, "spot_price", "0.70"),
    ("1V100.6V", "Tesla V100 16GB", 1, 16, "price_per_hour", "0.89"),
    ("1V100.6V", "Tesla V100 16GB", 1, 16, "spot_price", "0.25"),
]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *types: parse_bytes("verda", landing, dumps(list(types)), directory=tmp_path)


def figures(parsed: ParsedSnapshot) -> list[tuple[object, ...]]:
    return [
        (
            r.instance_type,
            r.gpu_name_raw,
            r.gpu_count_raw,
            r.gpu_memory_gb_raw,
            r.pricing_model_raw,
            str(r.price_amount),
        )
        for r in parsed.records
    ]


def test_golden_prices_through_the_api(
    sample: Callable[[str], Path], server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    serve_verda(server, json.loads(sample(RECORDING).read_text()))
    entry = pull_dataset(VERDA, "instance-types", SourceOptions(base_url=server.url), landing, now=NOW, client=client)
    (request,) = server.requests
    assert request.query == {"currency": "usd"}
    assert "authorization" not in request.headers
    parsed = VERDA.parse(landing.open_snapshot(entry))
    assert figures(parsed) == GOLDEN
    assert (parsed.rejections, parsed.skipped) == ((), {"no_gpu": 1})


def test_golden_prices_through_replay(sample: Callable[[str], Path], landing: Landing, tmp_path: Path) -> None:
    parsed = parse_bytes("verda", landing, sample(RECORDING).read_bytes(), directory=tmp_path)
    assert figures(parsed) == GOLDEN


def test_a_token_is_sent_where_the_ledger_names_one(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_verda(server, [verda_type()])
    options = SourceOptions(base_url=server.url, api_key="canary")
    pull_dataset(VERDA, "instance-types", options, landing, now=NOW, client=client)
    assert server.requests[0].headers["authorization"] == "Bearer canary"


def test_recorded_availability_is_asked_for_with_a_token(
    sample: Callable[[str], Path], server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    """Of the recorded types FIN-01 has the V100 and two A6000, and no location the H100; spot is asked apart."""
    stock = json.loads(sample(AVAILABILITY).read_text())
    spot = [{"location_code": "FIN-01", "availabilities": ["1H100.80S.30V"]}]
    serve_verda(server, json.loads(sample(RECORDING).read_text()), on_demand=stock, spot=spot)
    options = SourceOptions(base_url=server.url, api_key="canary")
    entry = pull_dataset(VERDA, "instance-types", options, landing, now=NOW, client=client)
    assert [(r.path, r.query) for r in server.requests[1:]] == [
        ("/v1/instance-availability", {"is_spot": "false"}),
        ("/v1/instance-availability", {"is_spot": "true"}),
    ]
    records = VERDA.parse(landing.open_snapshot(entry)).records
    assert {r.offer_id: r.is_available for r in records} == {
        "1H100.80S.30V/price_per_hour": False,
        "1H100.80S.30V/spot_price": True,
        "2A6000.20V/price_per_hour": True,
        "2A6000.20V/spot_price": False,
        "1V100.6V/price_per_hour": True,
        "1V100.6V/spot_price": False,
    }


def test_prices_land_without_availability(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    """A token that may not ask, and an answer of another shape: the prices are whole all the same."""
    serve_verda(server, [verda_type()], spot={"message": "no"})
    options = SourceOptions(base_url=server.url, api_key="canary")
    entry = pull_dataset(VERDA, "instance-types", options, landing, now=NOW, client=client)
    assert entry.kind is EntryKind.SNAPSHOT, entry.message
    assert len(server.requests) == 3
    assert [r.is_available for r in VERDA.parse(landing.open_snapshot(entry)).records] == [None, None]


@pytest.mark.parametrize(
    "stock", [[{"location_code": "FIN-01"}], [{"location_code": "FIN-01", "availabilities": None}, 7]]
)
def test_a_location_that_cannot_be_read_leaves_availability_open(
    stock: list[object], landing: Landing, tmp_path: Path
) -> None:
    parsed = parse_bytes("verda", landing, dumps([verda_type()]), dumps(stock), directory=tmp_path)
    assert [record.is_available for record in parsed.records] == [None, None]


def test_a_record_states_instance_and_gpu(parse: Parse) -> None:
    """Four A100 of 80 GB: the 320 GB of the answer are all of them together."""
    fixed, spot = parse(verda_type()).records
    assert (fixed.price_amount, spot.price_amount) == (Decimal("5.16"), Decimal("1.806"))
    assert (fixed.offer_id, spot.offer_id) == ("4A100.88V/price_per_hour", "4A100.88V/spot_price")
    assert (fixed.gpu_count_raw, fixed.gpu_memory_gb_raw) == (4, 80)
    assert (fixed.region_raw, fixed.price_currency, fixed.price_unit_raw) == ("global", "USD", "instance hour")
    assert fixed.is_available is None


def test_both_names_of_spot_are_one_series(parse: Parse) -> None:
    item = verda_type(spot_price_per_hour="1.806")
    del item["spot_price"]
    assert parse(item).records[1].offer_id == parse(verda_type()).records[1].offer_id


@pytest.mark.parametrize("spot", [None, ...])
def test_no_spot_price_is_no_price(parse: Parse, spot: object) -> None:
    item = {key: value for key, value in verda_type(spot_price=spot).items() if value is not ...}
    parsed = parse(item)
    assert [record.pricing_model_raw for record in parsed.records] == ["price_per_hour"]
    assert parsed.skipped == {"spot_not_stated": 1}


def test_dynamic_and_serverless_prices_are_other_products(parse: Parse) -> None:
    parsed = parse(
        verda_type(dynamic_price="4.9", serverless_price="6", serverless_spot_price="3", max_dynamic_price="9")
    )
    assert len(parsed.records) == 2
    assert parsed.skipped == {"dynamic_price": 1, "serverless_price": 1, "serverless_spot_price": 1}


@pytest.mark.parametrize(
    ("total", "count", "memory"),
    [(1073, 4, Decimal("268.25")), (None, 4, None), (100, 3, None)],
)
def test_memory_of_one_gpu_is_its_even_share(parse: Parse, total: object, count: int, memory: Decimal | None) -> None:
    item = verda_type(gpu={"number_of_gpus": count}, gpu_memory={"size_in_gigabytes": total})
    assert {record.gpu_memory_gb_raw for record in parse(item).records} == {memory}


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"price_per_hour": "0.00"}, Reason.PRICE_NOT_POSITIVE, "price_per_hour"),
        ({"price_per_hour": None}, Reason.MISSING_FIELD, "price_per_hour"),
        ({"price_per_hour": "on request"}, Reason.PRICE_NOT_A_NUMBER, "price_per_hour"),
        ({"currency": "eur"}, Reason.CURRENCY_NOT_USD, "currency"),
        ({"currency": None}, Reason.CURRENCY_MISSING, "currency"),
        ({"instance_type": ""}, Reason.MISSING_FIELD, "instance_type"),
    ],
)
def test_bad_types_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    parsed = parse(
        verda_type(instance_type="A", spot_price=None),
        verda_type(spot_price=None, **change),
        7,
        verda_type(instance_type="B"),
    )
    assert [record.offer_id for record in parsed.records] == ["A/price_per_hour", "B/price_per_hour", "B/spot_price"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "item")]
    assert parsed.rejections[0].location == "part0.txt item 2.price_per_hour"


@pytest.mark.parametrize(
    ("gpu", "reason"),
    [(None, Reason.MISSING_FIELD), ({"number_of_gpus": -1}, Reason.UNREADABLE_FIELD), ("H100", Reason.MISSING_FIELD)],
)
def test_an_unknown_number_of_gpus_is_rejected(parse: Parse, gpu: object, reason: Reason) -> None:
    parsed = parse(verda_type(gpu=gpu))
    assert parsed.records == ()
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, "gpu.number_of_gpus")]


def test_an_empty_list_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_verda(server, [])
    entry = pull_dataset(VERDA, "instance-types", SourceOptions(base_url=server.url), landing, now=NOW, client=client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")
