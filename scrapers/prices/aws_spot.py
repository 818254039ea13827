"""AWS EC2 spot prices of GPU instances, per instance and availability zone.

Endpoint   EC2 DescribeSpotPriceHistory, POST https://ec2.<region>.amazonaws.com/, asked through boto3 (extra `aws`)
           with StartTime now and ProductDescription Linux/UNIX: the price in force in each zone.
Auth       AWS credentials, found by boto3 as always: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the
           role of the machine. They need ec2:DescribeSpotPriceHistory and nothing else. Without the extra or
           credentials the source is skipped.
Paging     `NextToken` until it is empty, 1,000 prices a page.
A row      one instance type in one zone. A fleet entry of ledger.yaml names a region: it is costed at the middle price
           of the zones (model int_list_prices__hourly).
Unit       USD per instance-hour. The answer states neither unit nor currency; both are documented.
Kept       GPU families, Linux/UNIX. `Timestamp` is when the price was set.
Quirks     Zone names (us-east-1a) are another zone in every account: the zone id (use1-az1) is kept. Several prices of
           a zone can come in one answer; the newest holds. A region the account has not opted in to answers AuthFailure
           and fails alone. GPU and count are not stated: the instance type tells.
Landed     The answer is XML that boto3 reads; what lands is its JSON form without the page tokens, as `aws ec2
           describe-spot-price-history` prints it, so that such a file can be replayed as well.
Left out   Capacity Blocks are another source (aws_capacity_blocks). The spot advisor gives averages over 30 days.
Verified   2026-11-23 against the documentation, botocore's own model of the service (1.44.5) and its stubs, not live.
"""

import json
import re
from datetime import datetime
from typing import Any

from scrapers import ec2
from scrapers.errors import IncompleteSnapshotError
from scrapers.prices.base import PAGE_CAP, Fetched, PriceSource, Pull, Unchanged, expect_list, json_payloads
from scrapers.records import (
    ParsedSnapshot,
    PriceRecord,
    Reason,
    RecordCollector,
    RejectedValueError,
    instant,
    optional_text,
    price,
    text,
)
from scrapers.snapshot import Snapshot

_LINUX = "Linux/UNIX"
_GPU_FAMILY = re.compile(r"(?:p|g|gr)\d|dl1\.")
_ZONE = re.compile(r"(.+\d)[a-z]")  # us-east-1a, us-west-2-lax-1a


class AwsSpot(PriceSource):
    """The spot price history of EC2, its newest price."""

    name = "aws_spot"
    title = "AWS EC2 spot prices"
    docs = "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotPriceHistory.html"
    base_url = "https://ec2.us-east-1.amazonaws.com"
    default_regions = ("us-east-1",)
    dataset_prefix = "spot-"

    def unready(self) -> str | None:
        """Return which of extra and credentials is missing."""
        return ec2.unready()

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Keep every page of the region's current prices."""
        client = ec2.ec2_client(pull, "DescribeSpotPriceHistory")
        place = client.meta.endpoint_url
        question: dict[str, Any] = {"StartTime": pull.client.now(), "ProductDescriptions": [_LINUX]}
        tokens: set[str] = set()
        item_count = 0
        for number in range(1, PAGE_CAP + 1):
            answer = ec2.ask_ec2(pull, client.describe_spot_price_history, place, **question)
            items = expect_list(answer, "SpotPriceHistory", place=f"page-{number:03}")
            item_count += len(items)
            body = json.dumps({"SpotPriceHistory": items}, default=datetime.isoformat).encode()
            params = {"Action": "DescribeSpotPriceHistory", "ProductDescription": _LINUX}
            pull.stage.keep(f"page-{number:03}.json", body, url=place, params=params, status=200)
            token = answer.get("NextToken")
            if not token:
                break
            if token in tokens:
                raise IncompleteSnapshotError(f"{pull.dataset} page-{number:03} links back to a page already read")
            tokens.add(token)
            question["NextToken"] = token
        else:
            raise IncompleteSnapshotError(f"{pull.dataset}: more than {PAGE_CAP} pages")
        if not item_count:
            raise IncompleteSnapshotError(f"{pull.dataset}: no spot price is listed; fetch it again")
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return the newest price of each GPU instance type and zone."""
        rows = RecordCollector()
        newest: dict[str, tuple[PriceRecord, str]] = {}
        for payload, value in json_payloads(snapshot):
            items = expect_list(value, "SpotPriceHistory", place=payload.name)
            for number, item in enumerate(items, start=1):
                location = f"{payload.name} item {number}"
                with rows.rejecting(location):
                    record = _record(item, rows, url=payload.url)
                    if record is None:
                        continue
                    known, _ = newest.setdefault(record.offer_id, (record, location))
                    if known is not record:
                        if _set_at(record) > _set_at(known):
                            newest[record.offer_id] = (record, location)
                        rows.skip("superseded")
        for record, location in newest.values():
            rows.add(record, key=(record.offer_id,), location=location)
        return rows.result()


def _record(item: object, rows: RecordCollector, *, url: str) -> PriceRecord | None:
    if not isinstance(item, dict):
        raise RejectedValueError(Reason.UNREADABLE_ROW, field="SpotPriceHistory", value=item)
    instance_type, system = text(item, "InstanceType"), text(item, "ProductDescription")
    if not _GPU_FAMILY.match(instance_type) or system != _LINUX:
        rows.skip("other_os" if system != _LINUX else "not_gpu")
        return None
    zone = _ZONE.fullmatch(text(item, "AvailabilityZone"))
    if zone is None:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="AvailabilityZone", value=item["AvailabilityZone"])
    zone_raw = optional_text(item, "AvailabilityZoneId") or zone[0]
    set_at = instant(text(item, "Timestamp"), field="Timestamp")
    return PriceRecord(
        sku_id=f"{instance_type}/{system}",
        offer_id=f"{instance_type}/{system}/{zone_raw}",
        instance_type=instance_type,
        region_raw=zone[1],
        zone_raw=zone_raw,
        pricing_model_raw="Spot",
        operating_system_raw=system,
        price_amount=price(item.get("SpotPrice"), field="SpotPrice"),
        price_currency="USD",
        price_unit_raw="Hour",
        effective_at=set_at,
        source_url=url,
    )


def _set_at(record: PriceRecord) -> datetime:
    if record.effective_at is None:
        raise AssertionError("unreachable: a record without Timestamp is rejected")
    return record.effective_at
