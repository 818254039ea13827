"""RunPod: prices that are not prices. Golden figures of 2026-10."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.runpod import runpod_answer, runpod_type, serve_runpod

from scrapers.errors import SchemaDriftError
from scrapers.http import HttpClient
from scrapers.landing import EntryKind, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import Answer, FaultServer

RUNPOD = PRICE_SOURCES["runpod"]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *types: parse_bytes("runpod", landing, dumps(runpod_answer(*types)), directory=tmp_path)


def test_golden_prices_through_the_api(
    sample: Callable[[str], Path], server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    """48 types; 47 known x 2 tiers = 94 cells, of which 6 are zero and 12 the placeholder: 76 prices."""
    serve_runpod(server, json.loads(sample("prices/runpod/ewyluda_graphql_gpuTypes_2026-10.json").read_text()))
    entry = pull_dataset(RUNPOD, "gpu-types", SourceOptions(base_url=server.url), landing, now=NOW, client=client)
    parsed = RUNPOD.parse(landing.open_snapshot(entry))
    prices = {r.sku_id: str(r.price_amount) for r in parsed.records}
    assert prices["NVIDIA H100 80GB HBM3/secure"] == "3.49"
    assert prices["NVIDIA H100 80GB HBM3/community"] == "2.69"
    assert prices["NVIDIA L40S/secure"] == "1.09"
    assert prices["NVIDIA L40S/community"] == "0.79"
    assert prices["NVIDIA B200/secure"] == "6.79"
    assert prices["NVIDIA B200/community"] == "5.98"
    assert len(prices) == 76
    assert {(r.reason, r.detail) for r in parsed.rejections} == {(Reason.PLACEHOLDER_PRICE, "0.5")}
    assert len(parsed.rejections) == 12
    assert parsed.skipped == {"not_offered": 6, "spot_not_stated": 94, "unknown_type": 1}


def test_the_query_asks_for_flags_and_spot(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_runpod(server, runpod_answer(runpod_type()))
    options = SourceOptions(base_url=server.url, api_key="canary")
    pull_dataset(RUNPOD, "gpu-types", options, landing, now=NOW, client=client)
    (request,) = server.requests
    assert request.method == "POST"
    asked = json.loads(request.body)["query"]
    for field in ("id", "memoryInGb", "secureCloud", "communityCloud", "securePrice", "communitySpotPrice"):
        assert f" {field} " in asked
    assert request.headers["authorization"] == "Bearer canary"


def test_a_type_gives_a_row_per_tier(parse: Parse) -> None:
    parsed = parse(runpod_type())
    assert [(r.pricing_model_raw, str(r.price_amount)) for r in parsed.records] == [
        ("secure", "3.49"),
        ("community", "2.69"),
        ("secure_spot", "1.75"),
        ("community_spot", "1.5"),
    ]
    record = parsed.records[0]
    assert (record.gpu_name_raw, record.gpu_memory_gb_raw, record.gpu_count_raw) == ("NVIDIA H100 80GB HBM3", 80, 1)
    assert (record.region_raw, record.price_unit_raw) == ("global", "GPU Per Hour")


@pytest.mark.parametrize(
    ("flag", "amount", "outcome"),
    [
        (True, 0.5, "price"),  # the flag says that it is offered: a true 0.5
        (False, 0.5, "not_offered"),
        (False, 2.69, "not_offered"),
        (None, 0.5, "placeholder"),
        ("absent", 0.5, "placeholder"),
        ("yes", 0.5, "placeholder"),
        ("absent", 0.51, "price"),
        (True, 0, "not_offered"),
        (True, None, "not_offered"),
        (None, 2.69, "price"),
    ],
)
def test_half_a_dollar_is_believed_only_with_the_flag(parse: Parse, flag: object, amount: object, outcome: str) -> None:
    item = runpod_type(communityCloud=flag, communityPrice=amount, communitySpotPrice=None)
    if flag == "absent":
        del item["communityCloud"]
    parsed = parse(item)
    is_price = "community" in {r.pricing_model_raw for r in parsed.records}
    assert is_price == (outcome == "price")
    assert [r.reason for r in parsed.rejections] == [Reason.PLACEHOLDER_PRICE] * (outcome == "placeholder")
    # Spot is null here, so one cell is not offered anyway.
    assert parsed.skipped == {"not_offered": 1 + (outcome == "not_offered")}


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"securePrice": -1}, Reason.PRICE_NOT_POSITIVE, "securePrice"),
        ({"securePrice": float("nan")}, Reason.PRICE_NOT_FINITE, "securePrice"),
        ({"securePrice": "$3"}, Reason.PRICE_NOT_A_NUMBER, "securePrice"),
        ({"securePrice": True}, Reason.PRICE_NOT_A_NUMBER, "securePrice"),
        ({"securePrice": False}, Reason.PRICE_NOT_A_NUMBER, "securePrice"),
        ({"securePrice": ...}, Reason.MISSING_FIELD, "securePrice"),
        ({"id": ...}, Reason.MISSING_FIELD, "id"),
        ({"memoryInGb": "lots"}, Reason.UNREADABLE_FIELD, "memoryInGb"),
    ],
)
def test_bad_types_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    only_secure = {"communityPrice": 0, "secureSpotPrice": 0, "communitySpotPrice": 0}
    bad = {key: value for key, value in runpod_type(**only_secure, **change).items() if value is not ...}
    parsed = parse(runpod_type(id="A", **only_secure), bad, 7, runpod_type(id="B", **only_secure))
    assert [r.gpu_name_raw for r in parsed.records] == ["A", "B"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "gpuTypes")]
    assert parsed.rejections[0].location == "part0.txt gpuTypes[2].securePrice"


@pytest.mark.parametrize(
    "answer",
    [
        {"errors": [{"message": 'Cannot query field "securePrice" on type "GpuType".\u001b[0m'}], "data": None},
        {"errors": [{"message": "Cannot query field"}], "data": {"gpuTypes": [runpod_type()]}},  # half an answer
        {"errors": "Cannot query field"},
    ],
)
def test_graphql_errors_with_status_200_fail_the_pull(
    server: FaultServer, landing: Landing, client: HttpClient, tmp_path: Path, answer: dict[str, object]
) -> None:
    server.add("/graphql", Answer.json(answer))
    entry = pull_dataset(RUNPOD, "gpu-types", SourceOptions(base_url=server.url), landing, now=NOW, client=client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "SchemaDriftError")
    assert "the GraphQL answer reports an error: Cannot query field" in str(entry.message)
    assert "\x1b" not in str(entry.message)
    with pytest.raises(SchemaDriftError, match="GraphQL"):
        parse_bytes("runpod", landing, dumps(answer), directory=tmp_path)


def test_an_empty_list_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_runpod(server, runpod_answer())
    entry = pull_dataset(RUNPOD, "gpu-types", SourceOptions(base_url=server.url), landing, now=NOW, client=client)
    assert entry.error == "IncompleteSnapshotError"
