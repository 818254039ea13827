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
Left out   Capacity Blocks (DescribeCapacityBlockOfferings): a quote holds for one start date, length and count, so it
           is no price that stays in force. The spot advisor gives averages over 30 days.
Verified   2026-11-23 against the documentation, botocore's own model of the service (1.44.5) and its stubs, not live.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from typing import Any

from scrapers.errors import (
    IncompleteSnapshotError,
    PermanentError,
    SchemaDriftError,
    ScrapeError,
    TransientError,
    one_line,
)
from scrapers.http import CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS, RETRY_AFTER_CAP_SECONDS
from scrapers.prices.base import PAGE_CAP, Fetched, PriceSource, Pull, Unchanged, drift, expect_list, json_payloads
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
_HTML = re.compile(rb"\s*<(?:!doctype html|html)", re.IGNORECASE)
_ERROR_CODE = re.compile(rb"<Code>([\w.]{1,80})</Code>")
_TRIES = 3


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
        if find_spec("boto3") is None:
            return "it needs boto3; install it, or this package with its extra aws"
        if not has_credentials():
            return "it needs AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        return None

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Keep every page of the region's current prices."""
        ec2 = _client(pull)
        question: dict[str, Any] = {"StartTime": pull.client.now(), "ProductDescriptions": [_LINUX]}
        tokens: set[str] = set()
        item_count = 0
        for number in range(1, PAGE_CAP + 1):
            answer = _ask(pull, ec2, question)
            items = expect_list(answer, "SpotPriceHistory", place=f"page-{number:03}")
            item_count += len(items)
            body = json.dumps({"SpotPriceHistory": items}, default=datetime.isoformat).encode()
            params = {"Action": "DescribeSpotPriceHistory", "ProductDescription": _LINUX}
            pull.stage.keep(f"page-{number:03}.json", body, url=ec2.meta.endpoint_url, params=params, status=200)
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


@cache
def has_credentials() -> bool:
    """Whether boto3 finds credentials. Kept for the run: asking the machine for its role can take seconds."""
    import boto3

    return boto3.Session().get_credentials() is not None


def _client(pull: Pull) -> Any:
    """Return an EC2 client that leaves retries, proxies and redirects to us."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        proxies={},
    )
    try:
        ec2 = boto3.Session().client("ec2", region_name=pull.region, endpoint_url=pull.options.base_url, config=config)
    except (BotoCoreError, ValueError) as error:
        raise PermanentError(f"{pull.dataset}: {one_line(error)}: check the regions of this source") from None
    ec2.meta.events.register("before-parse.ec2.DescribeSpotPriceHistory", _checker(ec2.meta.endpoint_url))
    return ec2


class _TryAgainError(Exception):
    """An answer that another try may better."""

    def __init__(self, error: ScrapeError, retry_after: str = "") -> None:
        super().__init__(str(error))
        self.error = error
        seconds = float(retry_after) if re.fullmatch(r"\d{1,9}", retry_after, re.ASCII) else None
        self.wait_seconds = None if seconds is None else min(seconds, RETRY_AFTER_CAP_SECONDS)


def _checker(place: str) -> Callable[..., None]:
    """Return what looks at an answer before boto3 parses it, which asks for XML whatever the status says."""

    def check(response_dict: Mapping[str, Any], **_: object) -> None:
        status, headers, body = (response_dict[name] for name in ("status_code", "headers", "body"))
        code = _ERROR_CODE.search(body)
        said = f"{place} answered {status}" + (f" {code[1].decode()}" if code else "")
        if status in (408, 429) or status >= 500:
            raise _TryAgainError(TransientError(f"{said}; try again later"), str(headers.get("Retry-After", "")))
        if 300 <= status < 400:
            raise PermanentError(f"{said}: a redirect to another host; refused")
        if status != 200:
            raise PermanentError(
                f"{said}: the credentials are wrong or lack ec2:DescribeSpotPriceHistory, or the account has not "
                "opted in to this region"
            )
        if int(headers.get("Content-Length", len(body))) != len(body):  # boto3 takes what came for the whole
            raise _TryAgainError(IncompleteSnapshotError(f"{place}: the body is cut, {len(body)} bytes arrived"))
        if not body or _HTML.match(body):
            raise SchemaDriftError(f"{place} does not begin as a price history: an HTML page where data is expected?")

    return check


def _ask(pull: Pull, ec2: Any, question: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return one page; retried as every other source is."""
    from botocore import exceptions
    from botocore.parsers import ResponseParserError

    place = ec2.meta.endpoint_url
    attempt = 1
    while True:
        wait: float | None = None
        try:
            answer: Mapping[str, Any] = ec2.describe_spot_price_history(**question)
        except _TryAgainError as failure:
            error, wait = failure.error, failure.wait_seconds
        except exceptions.ConnectionClosedError:
            error = IncompleteSnapshotError(f"{place}: the connection broke or the body is cut")
        except (exceptions.HTTPClientError, exceptions.ConnectionError) as failure:
            error = TransientError(f"{place}: no connection or no answer in time ({type(failure).__name__})")
        except ResponseParserError:
            raise drift(place, "the answer does not begin as the XML of a price history, as was expected") from None
        except (exceptions.BotoCoreError, exceptions.ClientError) as failure:
            # Without the cause: its text may name the access key.
            raise PermanentError(f"{place}: {type(failure).__name__}; check the credentials") from None
        else:
            return answer
        if attempt == _TRIES:
            raise type(error)(f"{error}; gave up after {attempt} tries")
        pull.client.sleep(2.0**attempt if wait is None else wait)
        attempt += 1


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
