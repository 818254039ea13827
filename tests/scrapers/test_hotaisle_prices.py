"""Hot Aisle: the team in the path, cents, shapes without an id. Documented examples of 2026."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.hotaisle import MACHINES_PATH, TEAMS_PATH, hotaisle_machine, hotaisle_team, serve_hotaisle

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import FaultServer

HOTAISLE = PRICE_SOURCES["hotaisle"]
SHAPE = "vm-1xMI300X-13cpu-224gib"
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *machines: parse_bytes("hotaisle", landing, dumps(list(machines)), directory=tmp_path)


def pull(server: FaultServer, landing: Landing, client: HttpClient) -> LandedEntry:
    options = SourceOptions(base_url=server.url, api_key="canary")
    return pull_dataset(HOTAISLE, "virtual-machines", options, landing, now=NOW, client=client)


def test_documented_prices_through_the_api(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    """199 cents for one MI300X (an example of 2026), 27.12 USD for eight (their bare metal, here as a machine)."""
    serve_hotaisle(server, [hotaisle_machine(199), hotaisle_machine(2712, 8, 104, 2048)])
    entry = pull(server, landing, client)
    assert [request.path for request in server.requests] == [TEAMS_PATH, MACHINES_PATH]
    assert {request.headers["authorization"] for request in server.requests} == {"Token canary"}
    parsed = HOTAISLE.parse(landing.open_snapshot(entry))
    assert [(r.sku_id, r.gpu_count_raw, r.price_amount) for r in parsed.records] == [
        (SHAPE, 1, Decimal("1.99")),
        ("vm-8xMI300X-104cpu-2048gib", 8, Decimal("27.12")),
    ]
    assert (parsed.rejections, parsed.skipped) == ((), {})


@pytest.mark.parametrize(
    ("teams", "path"),
    [
        ([hotaisle_team("beta"), hotaisle_team("alpha")], "/api/teams/alpha/virtual_machines/available/"),
        (
            [hotaisle_team("alpha", invitation=True), hotaisle_team("beta")],
            "/api/teams/beta/virtual_machines/available/",
        ),
    ],
)
def test_the_key_names_its_team(
    server: FaultServer, landing: Landing, client: HttpClient, teams: list[object], path: str
) -> None:
    """Of several teams always the same one; an invitation gives no access yet."""
    serve_hotaisle(server, [], teams)
    pull(server, landing, client)
    assert server.requests[-1].path == path


def test_a_handle_cannot_lead_elsewhere(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_hotaisle(server, [], [hotaisle_team("../user?x=")])
    pull(server, landing, client)
    assert server.requests[-1].path == "/api/teams/..%2Fuser%3Fx%3D/virtual_machines/available/"


@pytest.mark.parametrize("teams", [[], [hotaisle_team(invitation=True)], [{"name": "no handle"}]])
def test_a_key_without_a_team_says_so(
    server: FaultServer, landing: Landing, client: HttpClient, teams: list[object]
) -> None:
    serve_hotaisle(server, [hotaisle_machine()], teams)
    entry = pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "PermanentError")
    assert "the API key has a role in no team" in str(entry.message)


def test_the_answer_about_teams_is_not_landed(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_hotaisle(server, [hotaisle_machine()], [hotaisle_team(description="a private remark")])
    entry = pull(server, landing, client)
    assert [payload.url for payload in entry.payloads] == [server.url + MACHINES_PATH]


def test_a_record_states_machine_and_gpu(parse: Parse) -> None:
    (record,) = parse(hotaisle_machine()).records
    assert (record.sku_id, record.instance_type) == (SHAPE, SHAPE)
    assert (record.gpu_name_raw, record.gpu_count_raw, record.gpu_memory_gb_raw) == ("MI300X", 1, None)
    assert (record.region_raw, record.price_currency, record.is_available) == ("global", "USD", True)
    assert record.price_unit_raw == "instance hour, from cents"


def test_shapes_with_the_same_gpu_are_different_offers(parse: Parse) -> None:
    parsed = parse(hotaisle_machine(199, cores=13), hotaisle_machine(189, cores=8), hotaisle_machine(199, cores=13))
    assert [r.sku_id for r in parsed.records] == [SHAPE, "vm-1xMI300X-8cpu-224gib"]
    assert parsed.skipped == {"duplicate": 1}


@pytest.mark.parametrize(("number", "is_available"), [(4, True), (0, False), (None, None)])
def test_quantity_says_whether_it_can_be_had(parse: Parse, number: int | None, is_available: bool | None) -> None:
    (record,) = parse(hotaisle_machine(Quantity=number)).records
    assert record.is_available is is_available


@pytest.mark.parametrize("cents", [0, None, ...])
def test_what_is_not_sold_on_demand_has_no_price(parse: Parse, cents: object) -> None:
    item = {key: value for key, value in hotaisle_machine(cents).items() if value is not ...}
    parsed = parse(item)
    assert (parsed.records, parsed.rejections, parsed.skipped) == ((), (), {"not_sold_on_demand": 1})


def with_specs(**changes: object) -> dict[str, object]:
    machine = hotaisle_machine()
    return {**machine, "Specs": {**machine["Specs"], **changes}}


def test_machines_without_a_gpu_are_outside_the_question(parse: Parse) -> None:
    assert parse(with_specs(gpus=[]), with_specs(gpus=None)).skipped == {"no_gpu": 2}


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        (hotaisle_machine(-199), Reason.PRICE_NOT_POSITIVE, "OnDemandPrice"),
        (hotaisle_machine("1.99 USD"), Reason.PRICE_NOT_A_NUMBER, "OnDemandPrice"),
        (
            with_specs(gpus=[{"count": 1, "model": "MI300X"}, {"count": 1, "model": "MI210"}]),
            Reason.UNREADABLE_FIELD,
            "Specs.gpus",
        ),
        (with_specs(gpus=[{"count": 0, "model": "MI300X"}]), Reason.UNREADABLE_FIELD, "count"),
        (with_specs(gpus=[{"count": 1}]), Reason.MISSING_FIELD, "model"),
        (with_specs(cpu_cores=None), Reason.MISSING_FIELD, "cpu_cores"),
        (with_specs(ram_capacity="224 GiB"), Reason.UNREADABLE_FIELD, "ram_capacity"),
        ({"OnDemandPrice": 199}, Reason.UNREADABLE_ROW, "Specs"),
        ("text", Reason.UNREADABLE_ROW, "Specs"),
    ],
)
def test_bad_machines_are_rejected_and_good_ones_kept(parse: Parse, bad: object, reason: Reason, field: str) -> None:
    parsed = parse(hotaisle_machine(), bad, hotaisle_machine(cores=8))
    assert len(parsed.records) == 2
    assert [(r.reason, r.field, r.location) for r in parsed.rejections] == [(reason, field, "part0.txt item 2")]


def test_an_empty_list_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_hotaisle(server, [])
    entry = pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")
