"""AWS savings plan rates of GPU instances, per instance.

Endpoint   GET https://pricing.us-east-1.amazonaws.com/savingsPlan/v1.0/aws/AWSComputeSavingsPlan/current/
           region_index.json names the current file of each region; an unchanged one is not downloaded again.
Auth       none.
Paging     none, but a region's file holds hundreds of MB: it is streamed to disk and parsed rate by rate.
A row      one rate: an EC2 product (`discountedSku`) under one plan. `rateCode` is plan SKU + "." + product SKU; term,
           payment option and kind of plan are attributes of the plan's product.
Unit       USD per instance-hour while the term lasts, whatever is paid upfront: AWS has spread the upfront part
           already. So the payment option stands in `offering_class_raw`, beside the kind of plan, and not in
           `payment_option_raw`, which announces a part paid once.
Kept       AmazonEC2, GPU families, usage type BoxUsage (shared machines), operation RunInstances (plain Linux), both
           ComputeSavingsPlans and EC2InstanceSavingsPlans.
Quirks     The same instance has a rate under either kind of plan, and the kinds must not be mixed. `regions` of the
           index is a list here (an object for EC2 offers). The index can run ahead of the files (404: try again).
           Operations with a suffix carry licences: 0002 is Windows, 0010 RHEL, CB a Capacity Block. Local zones are in
           the file of their parent region under their own code. GPU and count are not stated: the instance type tells.
           `effectiveDate` is when the file was published, not since when a rate holds, and is left out. Some types have
           no one-year EC2 Instance plan (p6-b200, p6-b300 in 2026-09).
Verified   2026-11-23, not live: against field values recorded from the file of 2026-06-23 and rates read from the files
           of 2026-09-25 by others. Unverified until the first live call: order of the sections, size.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin

import ijson

from scrapers.errors import IncompleteSnapshotError, PermanentError, SchemaDriftError
from scrapers.prices.base import Fetched, PriceSource, Pull, Unchanged, drift, expect_list
from scrapers.records import (
    ParsedSnapshot,
    PriceRecord,
    Reason,
    RecordCollector,
    RejectedValueError,
    optional_text,
    price,
    text,
)
from scrapers.snapshot import Payload, Snapshot

_INDEX_PATH = "/savingsPlan/v1.0/aws/AWSComputeSavingsPlan/current/region_index.json"
_KINDS = ("ComputeSavingsPlans", "EC2InstanceSavingsPlans")
_HEAD_BYTES = 1 << 16
# "BoxUsage:p5.48xlarge", "USE2-BoxUsage:…"; not "UnusedBox:…", "HostBoxUsage:…" or "DedicatedUsage:…".
_BOX_USAGE = re.compile(r"(?:^|-)BoxUsage:")
_GPU_FAMILY = re.compile(r"(?:p|g|gr)\d|dl1\.")


class AwsSavingsPlans(PriceSource):
    """The savings plan files of AWS for EC2."""

    name = "aws_savings_plans"
    title = "AWS Price List, Savings Plans for Amazon EC2"
    docs = "https://docs.aws.amazon.com/savingsplans/latest/userguide/sp-offer-file.html"
    base_url = "https://pricing.us-east-1.amazonaws.com"
    default_regions = ("us-east-1",)
    dataset_prefix = "sp-"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Download the region's file unless the index names the version we have."""
        place = "region index"
        listed = expect_list(pull.json(pull.client.get(pull.url(_INDEX_PATH)), place=place), "regions", place=place)
        versions = {
            entry.get("regionCode"): entry.get("versionUrl")
            for entry in listed
            if isinstance(entry, dict) and isinstance(entry.get("regionCode"), str)
        }
        if pull.region not in versions:
            raise PermanentError(
                f"region {pull.region!r} is not in the region index: check prices.sources.{self.name}.regions"
            )
        version = versions[pull.region]
        if not isinstance(version, str) or not version.endswith("/index.json"):
            raise drift(f"{place} {pull.region}", "field 'versionUrl' is not …/index.json")
        if pull.previous and pull.previous.change_key == version:
            return Unchanged(change_key=version)
        answer = pull.client.download(
            urljoin(pull.url("/"), version),
            lambda chunks: pull.stage.write("index.json", _plan_file(chunks)),
            retry_404=True,
        )
        pull.keep(answer, "index.json")
        return Fetched(change_key=version)

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per plan and GPU instance type."""
        rows = RecordCollector()
        for payload in snapshot.payloads:
            plans = {
                product["sku"]: product
                for product in _items(payload, "products.item")
                if isinstance(product, dict) and isinstance(product.get("sku"), str)
            }
            if not plans:
                raise drift(payload.name, "field 'products' is absent or empty")
            number = 0
            for number, rate in enumerate(_items(payload, "terms.savingsPlan.item.rates.item"), start=1):
                location = f"{payload.name} rate {number}"
                with rows.rejecting(location):
                    if record := _record(rate, plans, rows, url=payload.url):
                        rows.add(record, key=(record.offer_id,), location=location)
            if not number:
                raise drift(payload.name, "field 'terms.savingsPlan' holds no rate")
        return rows.result()


def _plan_file(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Pass the file on once its beginning is that of a savings plan file."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _HEAD_BYTES:
            break
    if not head.lstrip().startswith(b"{") or not (b'"products"' in head or b'"terms"' in head):
        raise SchemaDriftError("index.json does not begin as a savings plan file: neither products nor terms")
    yield head
    yield from chunks


def _items(payload: Payload, prefix: str) -> Iterator[Any]:
    """Yield the items of lists in a JSON file of any size."""
    with payload.open() as stream:
        if not stream.peek(64)[:64].lstrip().startswith(b"{"):
            raise drift(payload.name, "a JSON object was expected")
        try:
            yield from ijson.items(stream, prefix)
        except ijson.IncompleteJSONError as error:
            raise IncompleteSnapshotError(
                f"{payload.name}: the JSON text ends too early or is broken in {prefix!r}; fetch it again",
            ) from error
        except (ijson.JSONError, ValueError) as error:
            raise drift(payload.name, f"not JSON in {prefix!r}") from error


def _record(
    rate: object, plans: Mapping[str, Mapping[str, Any]], rows: RecordCollector, *, url: str
) -> PriceRecord | None:
    if not isinstance(rate, dict):
        raise RejectedValueError(Reason.UNREADABLE_ROW, field="rates", value=rate)
    usage, operation = text(rate, "discountedUsageType"), optional_text(rate, "discountedOperation") or ""
    instance_type = optional_text(rate, "discountedInstanceType") or usage.partition(":")[2]
    if why := _outside(rate, usage, operation, instance_type):
        rows.skip(why)
        return None
    code = text(rate, "rateCode")
    plan = plans.get(code.partition(".")[0])
    if plan is None:
        raise RejectedValueError(Reason.INCOMPLETE_OFFER, field="rateCode", value=f"no plan is listed for {code}")
    kind, attributes = plan.get("productFamily"), plan.get("attributes")
    if kind not in _KINDS or not isinstance(attributes, dict):
        raise RejectedValueError(Reason.UNKNOWN_PRICING_MODEL, field="productFamily", value=kind)
    if rate.get("unit") != "Hrs":
        raise RejectedValueError(Reason.UNKNOWN_UNIT, field="unit", value=rate.get("unit", ""))
    paid = rate.get("discountedRate")
    money = paid if isinstance(paid, dict) else {}
    if money.get("currency") != "USD":
        raise RejectedValueError(Reason.CURRENCY_NOT_USD, field="currency", value=money.get("currency", ""))
    return PriceRecord(
        sku_id=text(rate, "discountedSku"),
        offer_id=code,
        instance_type=instance_type,
        region_raw=text(rate, "discountedRegionCode"),
        pricing_model_raw=kind,
        term_raw=text(attributes, "purchaseTerm"),
        offering_class_raw=f"{kind}, {text(attributes, 'purchaseOption')}",
        operating_system_raw="Linux",
        tenancy_raw="Shared",
        price_amount=price(money.get("price"), field="price"),
        price_currency="USD",
        price_unit_raw="Hrs",
        source_url=url,
    )


def _outside(rate: Mapping[str, Any], usage: str, operation: str, instance_type: str) -> str | None:
    """Return why a rate is not that of a plain Linux GPU instance, None if it is."""
    if rate.get("discountedServiceCode") != "AmazonEC2":
        return "other_service"
    if not _GPU_FAMILY.match(instance_type):
        return "not_gpu"
    if operation.endswith(":CB"):
        return "capacity_block"
    if operation != "RunInstances":
        return "other_os_or_licence"
    return None if _BOX_USAGE.search(usage) else "other_tenancy_or_capacity"
