"""AWS EC2 Capacity Blocks: what a day on reserved GPU instances costs, per instance type and region.

Endpoint   EC2 DescribeCapacityBlockOfferings, POST https://ec2.<region>.amazonaws.com/, asked through boto3 (extra
           `aws`), once per instance type. It reads and buys nothing.
Auth       AWS credentials, found by boto3 as always: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the
           role of the machine. They need ec2:DescribeCapacityBlockOfferings and nothing else. Without the extra or
           credentials the source is skipped.
Paging     `NextToken` until it is empty.
A row      one instance type in one region: the cheapest offering per hour of those that lie within the next four weeks,
           for 24 hours and one instance. `product_name_raw` says which it was.
Unit       USD per instance-hour: `UpfrontFee`, paid once for all instances, over the hours of the block (1 to 182 days
           can be asked for, hours and minutes are stated) times the instances.
Choice     A quote depends on start, length and count, so a question must be chosen. 24 hours and one instance are the
           least that can be bought, so the rate holds no discount for size; the cheapest start is what somebody who can
           wait pays. Four weeks, as a narrower window may be sold out more often: the list would shrink by more than
           the gate accepts (`--accept-smaller aws_capacity_blocks` takes it). Such a price is a rate to compare, not
           the rate of a block that was bought: write that one into ledger.yaml.
Kept       GPU instances of P4 to P6. Trainium is no GPU; p6e-gb200 is sold by the UltraServer, which is another
           question.
Quirks     The bulk price list has Capacity Blocks too, at 0.00 or at the price of the operating system: those rows are
           no prices (aws). A type that is sold out in the window has no offering, and its row is gone until it has one
           again. A type that a region does not know is skipped. Systems with a licence cost extra, by the hour.
Landed     The answer is XML that boto3 reads; what lands is its JSON form without the page tokens, a file per instance
           type, as `aws ec2 describe-capacity-block-offerings` prints it, so that such a file can be replayed as well.
Verified   2026-11-24 against the documentation, botocore's own model of the service (1.44.5) and its stubs, not live.
           Unverified until the first call: which of the types are sold that way in a region, and what EC2 answers for a
           type that a region does not have (an empty list, or an error of a name that begins with Invalid or
           Unsupported, is taken for it).
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
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

_INSTANCE_TYPES = (
    "p4d.24xlarge",
    "p4de.24xlarge",
    "p5.4xlarge",
    "p5.48xlarge",
    "p5e.48xlarge",
    "p5en.48xlarge",
    "p6-b200.48xlarge",
    "p6-b300.48xlarge",
)
_HOURS, _INSTANCES = 24, 1
_WINDOW = timedelta(weeks=4)
_TERM = f"{_HOURS} h"
_ZONE = re.compile(r"(.+\d)[a-z]")  # us-east-1a, us-west-2-lax-1a


class AwsCapacityBlocks(PriceSource):
    """The offerings of EC2 Capacity Blocks."""

    name = "aws_capacity_blocks"
    title = "AWS EC2 Capacity Blocks"
    docs = "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeCapacityBlockOfferings.html"
    base_url = "https://ec2.us-east-1.amazonaws.com"
    default_regions = ("us-east-1",)
    dataset_prefix = "blocks-"

    def unready(self) -> str | None:
        """Return which of extra and credentials is missing."""
        return ec2.unready()

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Keep the offerings of each instance type."""
        client = ec2.ec2_client(pull, "DescribeCapacityBlockOfferings")
        place = client.meta.endpoint_url
        offering_count = 0
        refusal = ""
        for instance_type in _INSTANCE_TYPES:
            try:
                items = _offerings(pull, client, instance_type)
            except ec2.QuestionRefusedError as error:
                refusal = f" ({error})"
                continue
            offering_count += len(items)
            body = json.dumps({"CapacityBlockOfferings": items}, default=datetime.isoformat).encode()
            params = {
                "Action": "DescribeCapacityBlockOfferings",
                "InstanceType": instance_type,
                "CapacityDurationHours": str(_HOURS),
                "InstanceCount": str(_INSTANCES),
            }
            pull.stage.keep(f"{instance_type}.json", body, url=place, params=params, status=200)
        if not offering_count:
            raise IncompleteSnapshotError(f"{pull.dataset}: no Capacity Block is offered{refusal}")
        return Fetched()

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return the cheapest offering of each instance type and region."""
        rows = RecordCollector()
        cheapest: dict[str, tuple[PriceRecord, str]] = {}
        for payload, value in json_payloads(snapshot):
            for number, item in enumerate(expect_list(value, "CapacityBlockOfferings", place=payload.name), start=1):
                location = f"{payload.name} item {number}"
                with rows.rejecting(location):
                    record = _record(item, rows, url=payload.url)
                    if record is None:
                        continue
                    known, _ = cheapest.setdefault(record.offer_id, (record, location))
                    if known is not record:
                        if record.price_amount < known.price_amount:
                            cheapest[record.offer_id] = (record, location)
                        rows.skip("dearer_start")
        for record, location in cheapest.values():
            rows.add(record, key=(record.offer_id,), location=location)
        return rows.result()


def _offerings(pull: Pull, client: Any, instance_type: str) -> list[Any]:
    """Return the offerings of one instance type, of all pages."""
    now = pull.client.now()
    question: dict[str, Any] = {
        "InstanceType": instance_type,
        "InstanceCount": _INSTANCES,
        "CapacityDurationHours": _HOURS,
        "StartDateRange": now,
        "EndDateRange": now + _WINDOW,
    }
    items: list[Any] = []
    tokens: set[str] = set()
    for _ in range(PAGE_CAP):
        answer = ec2.ask_ec2(pull, client.describe_capacity_block_offerings, client.meta.endpoint_url, **question)
        items += expect_list(answer, "CapacityBlockOfferings", place=instance_type)
        token = answer.get("NextToken")
        if not token:
            return items
        if token in tokens:
            raise IncompleteSnapshotError(f"{pull.dataset} {instance_type} links back to a page already read")
        tokens.add(token)
        question["NextToken"] = token
    raise IncompleteSnapshotError(f"{pull.dataset} {instance_type}: more than {PAGE_CAP} pages")


def _record(item: object, rows: RecordCollector, *, url: str) -> PriceRecord | None:
    if not isinstance(item, dict):
        raise RejectedValueError(Reason.UNREADABLE_ROW, field="CapacityBlockOfferings", value=item)
    if item.get("UltraserverType"):
        rows.skip("ultraserver")
        return None
    if optional_text(item, "Tenancy") not in (None, "default"):
        rows.skip("other_tenancy")
        return None
    hours = _whole(item, "CapacityBlockDurationHours") + Decimal(_whole(item, "CapacityBlockDurationMinutes")) / 60
    instance_count = _whole(item, "InstanceCount")
    if not hours or not instance_count:
        field = "InstanceCount" if hours else "CapacityBlockDurationHours"
        raise RejectedValueError(Reason.MISSING_FIELD, field=field, value=item.get(field))
    # A block ends at a set hour of the day, so one may be some minutes short of what was asked for.
    if instance_count != _INSTANCES or not _HOURS / 2 < hours <= _HOURS:
        rows.skip("other_length_or_count")
        return None
    if (currency := text(item, "CurrencyCode")) != "USD":
        raise RejectedValueError(Reason.CURRENCY_NOT_USD, field="CurrencyCode", value=currency)
    zone = _ZONE.fullmatch(text(item, "AvailabilityZone"))
    if zone is None:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="AvailabilityZone", value=item["AvailabilityZone"])
    starts_at = instant(text(item, "StartDate"), field="StartDate")
    instance_type, fee = text(item, "InstanceType"), text(item, "UpfrontFee")
    return PriceRecord(
        sku_id=f"{instance_type}/capacity-block",
        offer_id=f"{instance_type}/capacity-block/{zone[1]}/{_TERM}",
        instance_type=instance_type,
        region_raw=zone[1],
        pricing_model_raw="CapacityBlock",
        term_raw=_TERM,
        operating_system_raw="Linux",
        tenancy_raw="Shared",
        product_name_raw=f"{fee} USD for {hours.normalize():f} h from {starts_at:%Y-%m-%d %H:%M}Z in {zone[0]}",
        price_amount=price(fee, field="UpfrontFee", factor=1 / (hours * instance_count)),
        price_currency="USD",
        price_unit_raw="instance hour (UpfrontFee / hours)",
        is_available=True,
        source_url=url,
    )


def _whole(item: Mapping[str, Any], field: str) -> int:
    """Return a whole number, 0 where it is not stated."""
    value = item.get(field) or 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field=field, value=value)
    return value
