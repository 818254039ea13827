"""AWS spot prices: one row per zone by its id, the newest price, and boto3 kept on a short leash.

No answer is recorded; the shape is that of the documentation, and botocore's own model checks it (Stubber).
"""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from feeds import NOW, ROOT, FakeClock, dumps, parse_bytes
from feeds.aws_spot import serve_spot, spot_history, spot_item, spot_xml

from scrapers import ec2
from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import Answer, FaultServer

SPOT = PRICE_SOURCES["aws_spot"]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *items: parse_bytes("aws_spot", landing, dumps(spot_history(*items)), directory=tmp_path)


def _pull(server: FaultServer, landing: Landing, client: HttpClient, *, region: str = "us-east-1") -> LandedEntry:
    options = SourceOptions(base_url=server.url)
    return pull_dataset(SPOT, f"spot-{region}", options, landing, now=client.now(), client=client)


def test_the_question_and_the_pages(landing: Landing, client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What boto3 is asked, checked by botocore against its model of EC2; zone names, not ids, in an older answer."""
    stubbed = boto3.Session().client("ec2", region_name="us-west-2")
    monkeypatch.setattr(ec2, "ec2_client", lambda pull, operation: stubbed)
    question = {"StartTime": NOW, "ProductDescriptions": ["Linux/UNIX"]}
    set_at = datetime(2026, 11, 23, 4, 31, 12, tzinfo=UTC)
    first = {**spot_item(Timestamp=set_at), "AvailabilityZone": "us-west-2b", "AvailabilityZoneId": "usw2-az1"}
    second = {**first, "AvailabilityZone": "us-west-2-lax-1a", "InstanceType": "g4dn.2xlarge", "SpotPrice": "0.2256"}
    del second["AvailabilityZoneId"]
    with Stubber(stubbed) as stubber:
        stubber.add_response(
            "describe_spot_price_history", {"SpotPriceHistory": [first], "NextToken": "t"}, {**question}
        )
        stubber.add_response(
            "describe_spot_price_history",
            {"SpotPriceHistory": [second], "NextToken": ""},
            {**question, "NextToken": "t"},
        )
        entry = pull_dataset(SPOT, "spot-us-west-2", SourceOptions(), landing, now=client.now(), client=client)
        stubber.assert_no_pending_responses()
    assert entry.kind is EntryKind.SNAPSHOT, entry.message
    assert entry.source_url == "https://ec2.us-west-2.amazonaws.com"
    p5, t4 = SPOT.parse(landing.open_snapshot(entry)).records
    assert (p5.region_raw, p5.zone_raw, p5.instance_type) == ("us-west-2", "usw2-az1", "p5.48xlarge")
    assert (p5.price_amount, p5.price_currency, p5.price_unit_raw) == (Decimal("21.3456"), "USD", "Hour")
    assert (p5.pricing_model_raw, p5.operating_system_raw, p5.effective_at) == ("Spot", "Linux/UNIX", set_at)
    assert (p5.sku_id, p5.offer_id) == ("p5.48xlarge/Linux/UNIX", "p5.48xlarge/Linux/UNIX/usw2-az1")
    assert (p5.is_available, p5.gpu_count_raw) == (None, None)
    assert (t4.region_raw, t4.zone_raw, str(t4.price_amount)) == ("us-west-2-lax-1", "us-west-2-lax-1a", "0.2256")


def test_a_region_not_opted_in_fails_alone(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    refusal = b"<Response><Errors><Error><Code>AuthFailure</Code><Message>no</Message></Error></Errors></Response>"
    server.add("/", Answer(refusal, status=401))
    entry = _pull(server, landing, client, region="me-south-1")
    assert (entry.kind, entry.dataset, entry.error) == (EntryKind.FAILED, "spot-me-south-1", "PermanentError")
    assert "answered 401 AuthFailure" in str(entry.message)
    assert "has not opted in to this region" in str(entry.message)
    assert len(server.requests) == 1


def test_throttling_in_the_words_of_ec2_is_waited_out(
    server: FaultServer, landing: Landing, client: HttpClient, clock: FakeClock
) -> None:
    throttled = b"<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>"
    server.add("/", Answer(throttled, status=503), Answer(throttled, status=503), spot_xml([spot_item()]))
    assert _pull(server, landing, client).kind is EntryKind.SNAPSHOT
    assert clock.sleeps == [2, 4]


def test_nobody_answers(landing: Landing, client: HttpClient, clock: FakeClock) -> None:
    options = SourceOptions(base_url="http://127.0.0.1:9")  # nobody listens there
    entry = pull_dataset(SPOT, "spot-us-east-1", options, landing, now=NOW, client=client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "TransientError")
    assert "no connection or no answer in time (EndpointConnectionError); gave up after 3 tries" in str(entry.message)
    assert clock.sleeps == [2, 4]


def test_credentials_are_neither_landed_nor_logged(
    server: FaultServer, landing: Landing, client: HttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The level a run logs at: boto3's own debug log shows what it signs."""
    caplog.set_level("INFO")
    serve_spot(server, [spot_item()])
    _pull(server, landing, client)
    assert "AKIATESTNOTREAL00000" in server.requests[0].headers["authorization"]
    server.add("/", Answer(status=403))
    _pull(server, landing, client)
    written = b"".join(path.read_bytes() for path in landing.root.rglob("*") if path.is_file())
    for secret in ("AKIATESTNOTREAL00000", "a made up secret"):
        assert secret.encode() not in written
        assert secret not in caplog.text


def test_pages_that_go_round_are_noticed(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    server.add("/", spot_xml([spot_item()], token="again"))
    entry = _pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")
    assert "page-002 links back" in str(entry.message)


def test_an_empty_history_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_spot(server, [])
    entry = _pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")
    assert "no spot price is listed" in str(entry.message)


def test_without_credentials_the_pull_fails_in_a_sentence(
    server: FaultServer, landing: Landing, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They can vanish between the look before the run and the pull."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    entry = _pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "PermanentError")
    assert "NoCredentialsError; check the credentials" in str(entry.message)


def test_the_newest_price_of_a_zone_holds(parse: Parse) -> None:
    """90 days of history, as the command line saves them, give one price."""
    old = spot_item(SpotPrice="30", Timestamp="2026-10-01T00:00:00+00:00")
    for items in ((old, spot_item()), (spot_item(), old)):
        parsed = parse(*items)
        assert [str(r.price_amount) for r in parsed.records] == ["21.345600"]
        assert (parsed.skipped, parsed.rejections) == ({"superseded": 1}, ())


def test_other_systems_and_machines_are_counted(parse: Parse) -> None:
    parsed = parse(spot_item(), spot_item(InstanceType="m5.large"), spot_item(ProductDescription="Windows"))
    assert len(parsed.records) == 1
    assert parsed.skipped == {"not_gpu": 1, "other_os": 1}


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"SpotPrice": "0.0"}, Reason.PRICE_NOT_POSITIVE, "SpotPrice"),
        ({"SpotPrice": None}, Reason.MISSING_FIELD, "SpotPrice"),
        ({"Timestamp": None}, Reason.MISSING_FIELD, "Timestamp"),
        ({"Timestamp": "yesterday"}, Reason.UNREADABLE_FIELD, "Timestamp"),
        ({"AvailabilityZone": "us-east"}, Reason.UNREADABLE_FIELD, "AvailabilityZone"),
        ({"InstanceType": None}, Reason.MISSING_FIELD, "InstanceType"),
    ],
)
def test_bad_items_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, Any], reason: Reason, field: str
) -> None:
    parsed = parse(spot_item(), spot_item(**change), "text")
    assert len(parsed.records) == 1
    assert [(r.reason, r.field) for r in parsed.rejections] == [
        (reason, field),
        (Reason.UNREADABLE_ROW, "SpotPriceHistory"),
    ]
    assert parsed.rejections[0].location == "part0.txt item 2"


def test_boto3_is_loaded_only_when_spot_is_asked() -> None:
    program = "import sys, scrapers.prices.registry; sys.exit(bool({'boto3', 'botocore'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
