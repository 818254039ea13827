"""AWS EC2 list prices of GPU instances: on demand and reserved, per instance.

Endpoint   GET https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonEC2/current/region_index.json names the
           current version of each region; the file itself is `<version>/<region>/index.csv` beside the `index.json`
           that the index lists. An unchanged version is not downloaded again.
Auth       none.
Paging     none, but the us-east-1 file is about 450 MB: it is streamed to disk and parsed line by line.
A row      one price dimension of one offer: "Hrs" (recurring) or "Quantity" (paid once). Both parts of an offer share
           `offer_id` = SKU.OfferTermCode.
Unit       USD per instance-hour, or per instance and term. Per instance always, never per GPU.
Kept       Linux, Shared, capacity status Used, usage type BoxUsage, market option OnDemand, no pre-installed software,
           a GPU count; terms OnDemand and Reserved.
Quirks     Capacity Block SKUs look like on-demand ones at 0.00 and are told apart by `MarketOption` only. A zero "Hrs"
           price is right for Reserved All Upfront and for nothing else. The index can run ahead of the files (404:
           try again). Local zones have their own region codes in the file of their parent region. GPU counts can be
           fractions (g6f.large: 0.125).
Replays    The JSON offer file and the small keyless JSON behind the website's price table
           (ec2-ondemand-without-sec-sel: on demand only; it states neither currency nor unit, its address says USD)
           land and parse as well.
Verified   2026-11-23 against recordings of 2023-03-22, 2024-05-28 and 2026-10, not live.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import urljoin

import ijson

from scrapers.errors import IncompleteSnapshotError, PermanentError, SchemaDriftError
from scrapers.http import parse_json
from scrapers.prices.base import Fetched, PriceSource, Pull, Unchanged, drift, expect_object
from scrapers.records import (
    ParsedSnapshot,
    PriceRecord,
    Reason,
    RecordCollector,
    RejectedValueError,
    Rejection,
    instant,
    optional_text,
    price,
    quantity,
    text,
)
from scrapers.snapshot import Payload, Snapshot

_INDEX_PATH = "/offers/v1.0/aws/AmazonEC2/current/region_index.json"
_CSV_START = b'"FormatVersion"'
# What every wanted line holds, as quoted in the file. Splitting a line into 90 fields takes ten times as long as
# these tests and the GPU test below, which all but some 1,000 of the 500,000 lines of us-east-1 fail.
_LINUX, _SHARED, _USED, _BOX = b'"Linux"', b'"Shared"', b'"Used"', b"BoxUsage"
# "BoxUsage:p5.48xlarge", "USE2-BoxUsage:…"; not "HostBoxUsage:…".
_BOX_USAGE = re.compile(r"(?:^|-)BoxUsage(?::|$)")
_GPU_FAMILY = re.compile(r"(?:p|g|gr)\d")
# CSV column -> attribute of a JSON product
_PRODUCT_COLUMNS = {
    "Instance Type": "instanceType",
    "Region Code": "regionCode",
    "Location": "location",
    "Tenancy": "tenancy",
    "Operating System": "operatingSystem",
    "CapacityStatus": "capacitystatus",
    "Pre Installed S/W": "preInstalledSw",
    "MarketOption": "marketoption",
    "usageType": "usagetype",
    "GPU": "gpu",
}
_PRICE_COLUMNS = (
    "SKU",
    "OfferTermCode",
    "TermType",
    "EffectiveDate",
    "StartingRange",
    "Unit",
    "PricePerUnit",
    "Currency",
    "LeaseContractLength",
    "PurchaseOption",
    "OfferingClass",
)


class Aws(PriceSource):
    """The EC2 offer files of AWS."""

    name = "aws"
    title = "AWS Price List, Amazon EC2"
    docs = "https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-the-aws-price-list-bulk-api.html"
    base_url = "https://pricing.us-east-1.amazonaws.com"
    default_regions = ("us-east-1",)
    dataset_prefix = "ec2-"

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Download the region's CSV unless the index names the version we have."""
        place = "region index"
        index = pull.json(pull.client.get(pull.url(_INDEX_PATH)), place=place)
        regions = expect_object(
            expect_object(index, place=place).get("regions"),
            place=f"{place} field 'regions'",
        )
        if pull.region not in regions:
            raise PermanentError(f"region {pull.region!r} is not in the region index: check prices.sources.aws.regions")
        place = f"{place} {pull.region}"
        version = expect_object(regions[pull.region], place=place).get("currentVersionUrl")
        if not isinstance(version, str) or not version.endswith("/index.json"):
            raise drift(place, "field 'currentVersionUrl' is not …/index.json")
        if pull.previous and pull.previous.change_key == version:
            return Unchanged(change_key=version)
        answer = pull.client.download(
            urljoin(pull.url("/"), version.removesuffix("json") + "csv"),
            lambda chunks: pull.stage.write("index.csv", _offer_chunks(chunks)),
            retry_404=True,
        )
        pull.keep(answer, "index.csv")
        return Fetched(change_key=version)

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per price dimension; CSV, JSON offer file and website JSON are told apart by content."""
        rows = RecordCollector()
        for payload in snapshot.payloads:
            with payload.open() as stream:
                head = stream.peek(4096)[:4096].lstrip()
                if head.startswith(b'"'):
                    _read_csv(stream, payload, rows)
                    continue
                if b'"formatVersion"' not in head:
                    _read_website(stream.read(), payload, rows)
                    continue
            _read_json(payload, rows)
        return _whole_offers(rows.result())


def _offer_chunks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    first = next(chunks, b"")
    if not first.startswith(_CSV_START[: len(first)]) or not first:
        raise SchemaDriftError("index.csv does not begin as an offer file: no FormatVersion line")
    yield first
    yield from chunks


def _read_csv(stream: BinaryIO, payload: Payload, rows: RecordCollector) -> None:
    place = payload.name
    line, number = b"", 0
    while not line.startswith(b'"SKU",'):  # five lines of metadata come first
        line, number = stream.readline(), number + 1
        if not line or number > 20:
            raise drift(place, 'no header line that begins with "SKU"')
    try:
        header = _fields(line)
    except RejectedValueError as error:
        raise drift(place, "the header line is not CSV") from error
    missing = [name for name in (*_PRODUCT_COLUMNS, *_PRICE_COLUMNS) if name not in header]
    if missing:
        raise drift(place, f"column {', '.join(map(repr, missing))} is absent")
    # All columns before GPU, then the opening quote of a GPU count: group 1 is None where there is none. A line of
    # another make does not match at all and is left to the CSV reader, which names the fault.
    gpu = re.compile(rb'(?:(?:"[^"]*+")*+,){%d}+(")?' % header.index("GPU"))
    other_machine = no_gpu = 0
    header_number = number
    for number, line in enumerate(stream, start=header_number + 1):
        if not (_LINUX in line and _SHARED in line and _USED in line and _BOX in line):
            other_machine += 1
            continue
        match = gpu.match(line)
        if match and match[1] is None:
            no_gpu += 1
            continue
        location = f"{place} line {number}"
        try:
            row = _row(header, line)
            _add(row, row, rows, location=location, url=payload.url)
        except RejectedValueError as error:
            rows.reject(error, location=location)
    if not line.endswith(b"\n") and _is_cut(header, line):
        raise IncompleteSnapshotError(f"{place} ends in the middle of line {number}; fetch it again")
    for why, count in (("other_os_tenancy_or_capacity", other_machine), ("not_gpu", no_gpu)):
        if count:
            rows.skip(why, count=count)


def _fields(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8")], strict=True))
    except (UnicodeDecodeError, csv.Error, StopIteration) as error:
        raise RejectedValueError(Reason.UNREADABLE_ROW, field=None, value=error) from error


def _row(header: list[str], line: bytes) -> dict[str, str]:
    fields = _fields(line)
    if len(fields) != len(header):
        raise RejectedValueError(Reason.UNREADABLE_ROW, field=None, value=f"{len(fields)} columns")
    return dict(zip(header, fields, strict=True))


def _is_cut(header: list[str], line: bytes) -> bool:
    try:
        _row(header, line)
    except RejectedValueError:
        return True
    return False


def _read_json(payload: Payload, rows: RecordCollector) -> None:
    """Read the offer file in three passes: a product map first, then each kind of term, one offer at a time.

    Passes instead of one event loop, because the objects are then built in C, and because the order of the sections
    does not matter. Only GPU products are held in memory.
    """
    wanted: dict[str, dict[str, str]] = {}
    product_count = 0
    for sku, product in _items(payload, "products"):
        product_count += 1
        attributes = product.get("attributes") if isinstance(product, dict) else None
        given = attributes if isinstance(attributes, dict) else {}
        row = {column: given[name] for column, name in _PRODUCT_COLUMNS.items() if name in given}
        outside = _outside(row)
        if outside:
            rows.skip(outside)
        else:
            wanted[sku] = row
    if not product_count:
        raise drift(payload.name, "field 'products' is absent or empty")
    for term_type in ("OnDemand", "Reserved"):
        for sku, offers in _items(payload, f"terms.{term_type}"):
            if sku not in wanted:
                continue
            for offer_code, offer in _pairs(offers):
                terms = dict(_pairs(offer.get("termAttributes"), inner=str))
                for rate_code, dimension in _pairs(offer.get("priceDimensions")):
                    location = f"{payload.name} terms.{term_type} {rate_code}"
                    per_unit = dict(_pairs(dimension.get("pricePerUnit"), inner=object))
                    currency = "USD" if "USD" in per_unit else next(iter(per_unit), "")
                    row = {
                        "SKU": sku,
                        "OfferTermCode": offer.get("offerTermCode") or offer_code.partition(".")[2],
                        "TermType": term_type,
                        "EffectiveDate": offer.get("effectiveDate"),
                        "StartingRange": dimension.get("beginRange"),
                        "Unit": dimension.get("unit"),
                        "PricePerUnit": per_unit.get(currency),
                        "Currency": currency,
                        **{
                            name: terms.get(name) for name in ("LeaseContractLength", "PurchaseOption", "OfferingClass")
                        },
                    }
                    with rows.rejecting(location):
                        _add(row, wanted[sku], rows, location=location, url=payload.url)


def _items(payload: Payload, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the members of one object of a JSON file of any size."""
    with payload.open() as stream:
        try:
            yield from ijson.kvitems(stream, prefix)
        except ijson.IncompleteJSONError as error:
            raise IncompleteSnapshotError(
                f"{payload.name}: the JSON text ends too early or is broken in {prefix!r}; fetch it again",
            ) from error
        except (ijson.JSONError, ValueError) as error:
            raise drift(payload.name, f"not JSON in {prefix!r}") from error


def _pairs(value: object, *, inner: type = dict) -> list[tuple[str, Any]]:
    """Members of an object whose values have the expected type; other shapes hold no price."""
    found = value if isinstance(value, dict) else {}
    return [(key, member) for key, member in found.items() if isinstance(member, inner)]


def _read_website(data: bytes, payload: Payload, rows: RecordCollector) -> None:
    """Read the website's table, or several of them wrapped in one object by location name."""
    place = payload.name
    answer = expect_object(parse_json(data, place=place), place=place)
    tables = [answer] if "regions" in answer else list(answer.values())
    for table in tables:
        regions = table.get("regions") if isinstance(table, dict) else None
        if not isinstance(regions, dict) or not regions:
            raise drift(place, "neither an offer file nor a price table with 'regions'")
        for region, entries in regions.items():
            for label, entry in _pairs(entries):
                location = f"{place} {label}"
                with rows.rejecting(location):
                    _add_website_entry(entry, region, rows, location=location, url=payload.url)


def _add_website_entry(
    entry: Mapping[str, Any], region: str, rows: RecordCollector, *, location: str, url: str
) -> None:
    instance_type = text(entry, "Instance Type")
    family = optional_text(entry, "Instance Family")
    if not ("GPU" in family if family else _GPU_FAMILY.match(instance_type)):
        rows.skip("not_gpu")
    elif entry.get("Operating System") != "Linux":
        rows.skip("other_os_tenancy_or_capacity")
    elif entry.get("Pre Installed S/W") not in (None, "", "NA"):
        rows.skip("pre_installed_software")
    else:
        sku, _, rest = text(entry, "rateCode").partition(".")
        record = PriceRecord(
            sku_id=sku,
            offer_id=f"{sku}.{rest.partition('.')[0]}",
            instance_type=instance_type,
            region_raw=region,
            pricing_model_raw="OnDemand",
            operating_system_raw="Linux",
            price_amount=price(entry.get("price"), field="price"),
            price_currency="USD",
            price_unit_raw="Hrs",
            source_url=url,
        )
        rows.add(record, key=(record.offer_id, record.price_unit_raw), location=location)


def _outside(product: Mapping[str, Any]) -> str | None:
    """Return why a product is not a plain Linux GPU instance, None if it is one."""
    if product.get("GPU") in (None, "", "0", "NA"):
        return "not_gpu"
    if (product.get("Operating System"), product.get("Tenancy"), product.get("CapacityStatus")) != (
        "Linux",
        "Shared",
        "Used",
    ):
        return "other_os_tenancy_or_capacity"
    if product.get("MarketOption") != "OnDemand":
        return "capacity_block" if product.get("MarketOption") == "CapacityBlock" else "other_market_option"
    if not _BOX_USAGE.search(str(product.get("usageType"))):
        return "not_box_usage"
    if product.get("Pre Installed S/W") not in (None, "", "NA"):
        return "pre_installed_software"
    return None


def _add(row: Mapping[str, Any], product: Mapping[str, Any], rows: RecordCollector, *, location: str, url: str) -> None:
    """Add one price dimension: price columns from `row`, product columns from `product`."""
    outside = _outside(product)
    if outside:
        rows.skip(outside)
        return
    term, unit, option = text(row, "TermType"), text(row, "Unit"), optional_text(row, "PurchaseOption")
    if term not in ("OnDemand", "Reserved"):
        raise RejectedValueError(Reason.UNKNOWN_PRICING_MODEL, field="TermType", value=term)
    if unit != "Hrs" and (term, unit) != ("Reserved", "Quantity"):
        raise RejectedValueError(Reason.UNKNOWN_UNIT, field="Unit", value=unit)
    if row.get("StartingRange") not in (None, "", "0"):
        raise RejectedValueError(Reason.TIERED_PRICE, field="StartingRange", value=row.get("StartingRange"))
    if row.get("Currency") != "USD":
        raise RejectedValueError(Reason.CURRENCY_NOT_USD, field="Currency", value=row.get("Currency"))
    zero_allowed = (term, option, unit) == ("Reserved", "All Upfront", "Hrs")
    sku = text(row, "SKU")
    record = PriceRecord(
        sku_id=sku,
        offer_id=f"{sku}.{text(row, 'OfferTermCode')}",
        instance_type=text(product, "Instance Type"),
        region_raw=optional_text(product, "Region Code") or text(product, "Location"),
        gpu_count_raw=quantity(product.get("GPU"), field="GPU"),
        pricing_model_raw=term,
        term_raw=text(row, "LeaseContractLength") if term == "Reserved" else None,
        offering_class_raw=text(row, "OfferingClass") if term == "Reserved" else None,
        payment_option_raw=text(row, "PurchaseOption") if term == "Reserved" else None,
        operating_system_raw="Linux",
        tenancy_raw="Shared",
        price_amount=price(row.get("PricePerUnit"), field="PricePerUnit", zero_allowed=zero_allowed),
        price_currency="USD",
        price_unit_raw=unit,
        effective_at=instant(row.get("EffectiveDate"), field="EffectiveDate"),
        source_url=url,
    )
    rows.add(record, key=(record.offer_id, unit), location=location)


def _whole_offers(parsed: ParsedSnapshot) -> ParsedSnapshot:
    """Reject what is left of an offer that lost a part: half of "Partial Upfront" would look like a bargain."""
    units: dict[str, set[str]] = {}
    for record in parsed.records:
        units.setdefault(record.offer_id, set()).add(record.price_unit_raw)

    def missing(record: PriceRecord) -> str | None:
        option, found = record.payment_option_raw, units[record.offer_id]
        if option in ("Partial Upfront", "All Upfront") and "Quantity" not in found:
            return "Quantity"
        return "Hrs" if option in ("Partial Upfront", "No Upfront") and "Hrs" not in found else None

    kept = tuple(record for record in parsed.records if missing(record) is None)
    lost = tuple(
        Rejection(Reason.INCOMPLETE_OFFER, "Unit", record.offer_id, f"no usable {missing(record)} price")
        for record in parsed.records
        if missing(record) is not None
    )
    return ParsedSnapshot(kept, parsed.rejections + lost, parsed.skipped)
