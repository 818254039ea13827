"""AWS Capacity Blocks: an upfront fee over the hours of a block, and the cheapest start of a chosen question.

No answer is recorded; the shape is that of the documentation, and botocore's own model checks it (Stubber).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3
import pytest
from botocore.stub import Stubber
from feeds import NOW, dumps, parse_bytes
from feeds.aws_capacity_blocks import block, blocks, blocks_xml, serve_blocks

from scrapers import ec2
from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import Answer, FaultServer

BLOCKS = PRICE_SOURCES["aws_capacity_blocks"]
ASKED_TYPES = [
    "p4d.24xlarge",
    "p4de.24xlarge",
    "p5.4xlarge",
    "p5.48xlarge",
    "p5e.48xlarge",
    "p5en.48xlarge",
    "p6-b200.48xlarge",
    "p6-b300.48xlarge",
]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *items: parse_bytes("aws_capacity_blocks", landing, dumps(blocks(*items)), directory=tmp_path)


def _pull(server: FaultServer, landing: Landing, client: HttpClient) -> LandedEntry:
    options = SourceOptions(base_url=server.url)
    return pull_dataset(BLOCKS, "blocks-us-east-1", options, landing, now=client.now(), client=client)


def test_the_questions_and_the_pages(landing: Landing, client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What boto3 is asked, checked by botocore against its model of EC2: a description, never a purchase."""
    stubbed = boto3.Session().client("ec2", region_name="us-west-2")
    monkeypatch.setattr(ec2, "ec2_client", lambda pull, operation: stubbed)
    starts_at = datetime(2026, 11, 25, 11, 30, tzinfo=UTC)
    offering = block(AvailabilityZone="us-west-2b", StartDate=starts_at, EndDate=starts_at + timedelta(days=1))
    with Stubber(stubbed) as stubber:
        for instance_type in ASKED_TYPES:
            question = {
                "InstanceType": instance_type,
                "InstanceCount": 1,
                "CapacityDurationHours": 24,
                "StartDateRange": NOW,
                "EndDateRange": NOW + timedelta(days=28),
            }
            answers: list[tuple[dict[str, Any], dict[str, Any]]] = [(blocks(), question)]
            if instance_type == "p5.48xlarge":
                answers = [
                    (blocks(offering) | {"NextToken": "t"}, question),
                    (blocks(offering | {"UpfrontFee": "600"}), question | {"NextToken": "t"}),
                ]
            for answer, expected in answers:
                stubber.add_response("describe_capacity_block_offerings", answer, expected)
        entry = pull_dataset(BLOCKS, "blocks-us-west-2", SourceOptions(), landing, now=NOW, client=client)
        stubber.assert_no_pending_responses()
    assert entry.kind is EntryKind.SNAPSHOT, entry.message
    parsed = BLOCKS.parse(landing.open_snapshot(entry))
    (record,) = parsed.records
    # 600 / 24 = 25 USD an hour for the instance of 8 GPUs.
    assert (record.instance_type, record.region_raw, record.zone_raw) == ("p5.48xlarge", "us-west-2", None)
    assert (record.price_amount, record.price_currency) == (Decimal(25), "USD")
    assert (record.pricing_model_raw, record.term_raw) == ("CapacityBlock", "24 h")
    assert record.price_unit_raw == "instance hour (UpfrontFee / hours)"
    assert record.product_name_raw == "600 USD for 24 h from 2026-11-25 11:30Z in us-west-2b"
    assert parsed.skipped == {"dearer_start": 1}


def test_nothing_is_bought(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_blocks(server, [block()])
    assert _pull(server, landing, client).kind is EntryKind.SNAPSHOT
    asked = [parse_qs(request.body.decode()) for request in server.requests]
    assert [question["InstanceType"] for question in asked] == [[name] for name in ASKED_TYPES]
    assert {question["Action"][0] for question in asked} == {"DescribeCapacityBlockOfferings"}


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({"UpfrontFee": "755.1360"}, "31.464"),
        ({"UpfrontFee": "47", "CapacityBlockDurationHours": 23, "CapacityBlockDurationMinutes": 30}, "2"),
        ({"UpfrontFee": "100"}, "4.166666666667"),
    ],
)
def test_the_rate_is_the_fee_over_the_hours(parse: Parse, changes: dict[str, Any], rate: str) -> None:
    (record,) = parse(block(**changes)).records
    assert record.price_amount == Decimal(rate)


def test_the_cheapest_start_of_a_region_is_taken_whatever_its_zone_and_length(parse: Parse) -> None:
    """48 USD for 24 h is 2.00 an hour; 46 for 22 h is dearer, though the sum is less."""
    parsed = parse(
        block(UpfrontFee="72"),
        block(UpfrontFee="48", AvailabilityZone="us-east-1c"),
        block(UpfrontFee="46", CapacityBlockDurationHours=22),
        block(UpfrontFee="24", AvailabilityZone="us-east-1-atl-1a"),
    )
    assert [(r.region_raw, r.price_amount) for r in parsed.records] == [("us-east-1", 2), ("us-east-1-atl-1", 1)]
    assert parsed.skipped == {"dearer_start": 2}


def test_other_blocks_are_counted(parse: Parse) -> None:
    parsed = parse(
        block(),
        block(InstanceCount=2),
        block(CapacityBlockDurationHours=48),
        block(CapacityBlockDurationHours=6),
        block(Tenancy="dedicated"),
        block(UltraserverType="u-p6e-gb200x72"),
    )
    assert len(parsed.records) == 1
    assert parsed.skipped == {"other_length_or_count": 3, "other_tenancy": 1, "ultraserver": 1}


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"UpfrontFee": "0.00"}, Reason.PRICE_NOT_POSITIVE, "UpfrontFee"),
        ({"UpfrontFee": None}, Reason.MISSING_FIELD, "UpfrontFee"),
        ({"CurrencyCode": "CNY"}, Reason.CURRENCY_NOT_USD, "CurrencyCode"),
        ({"CurrencyCode": None}, Reason.MISSING_FIELD, "CurrencyCode"),
        ({"CapacityBlockDurationHours": None}, Reason.MISSING_FIELD, "CapacityBlockDurationHours"),
        ({"CapacityBlockDurationHours": "24"}, Reason.UNREADABLE_FIELD, "CapacityBlockDurationHours"),
        ({"InstanceCount": 0}, Reason.MISSING_FIELD, "InstanceCount"),
        ({"StartDate": "soon"}, Reason.UNREADABLE_FIELD, "StartDate"),
        ({"AvailabilityZone": "us-east"}, Reason.UNREADABLE_FIELD, "AvailabilityZone"),
    ],
)
def test_bad_offerings_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, Any], reason: Reason, field: str
) -> None:
    parsed = parse(block(), block(**change), "text")
    assert len(parsed.records) == 1
    assert [(r.reason, r.field) for r in parsed.rejections] == [
        (reason, field),
        (Reason.UNREADABLE_ROW, "CapacityBlockOfferings"),
    ]


def _refusal(code: str) -> Answer:
    text = f"<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors></Response>"
    return Answer(text.encode(), status=400)


def test_a_type_that_the_region_does_not_have_costs_only_itself(
    server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    refused, good = _refusal("InvalidParameterValue"), blocks_xml([block()])
    server.respond("/", lambda request: good if b"InstanceType=p5.48xlarge" in request.body else refused)
    entry = _pull(server, landing, client)
    assert entry.kind is EntryKind.SNAPSHOT, entry.message
    assert [record.instance_type for record in BLOCKS.parse(landing.open_snapshot(entry)).records] == ["p5.48xlarge"]


def test_a_region_without_offerings_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    server.add("/", _refusal("Unsupported"))
    entry = _pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")
    assert "no Capacity Block is offered" in str(entry.message)
    assert "answered 400 Unsupported" in str(entry.message)


def test_other_refusals_end_the_pull(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    server.add("/", _refusal("UnauthorizedOperation"))
    entry = _pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "PermanentError")
    assert "lack ec2:DescribeCapacityBlockOfferings" in str(entry.message)
    assert len(server.requests) == 1


def test_pages_that_go_round_are_noticed(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    server.add("/", blocks_xml([block()], token="again"))
    entry = _pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")
    assert "links back" in str(entry.message)
