"""Price overrides: negotiated prices, and prices that stand only on a page, written down by hand.

File       CSV in UTF-8 with a header, named in ledger.yaml (prices: overrides). Blank lines and lines that begin with #
           are passed over. Columns, in any order:
           provider         who rents the GPU out, in the ledger's word: coreweave
           instance_type    as the fleet names it; this or gpu_name is needed
           gpu_name         the GPU in the words of dbt/seeds/gpu_models.csv (H100-SXM-80GB) or gpu_model_aliases.csv
           gpu_count        GPUs per instance; needed where the price is for an instance of a gpu_name
           region           the provider's code, or global
           pricing_model    on_demand, spot, reserved, savings_plan
           term_months      1, 3, 6, 12, 24 or 36 for the last two, else empty
           payment_option   no_upfront, partial_upfront, all_upfront, or empty
           price            a plain decimal number
           unit             what it covers: gpu_hour, instance_hour, instance_upfront, instance_term_total
           currency         ISO 4217
           valid_from       day or instant, UTC
           valid_to         exclusive; empty while it holds
           who, when        by whom and on which day the line was written
           source           page or contract
Auth       none: a file of this machine.
A row      one price. A commitment paid in part upfront has two: its instance_hour and its instance_upfront.
Unit       as `unit` says.
Quirks     A bad line is rejected with file, line and field, and the good ones are kept. A line counts from valid_from
           to valid_to, as seen by the snapshot: a new snapshot is landed when one of these instants has passed.
"""

import csv
import io
import re
from collections.abc import Iterator
from datetime import datetime

from scrapers.errors import IncompleteSnapshotError, one_line
from scrapers.prices.base import drift
from scrapers.records import (
    ParsedSnapshot,
    PriceRecord,
    Reason,
    RecordCollector,
    RejectedValueError,
    instant,
    optional_text,
    price,
    quantity,
    text,
)
from scrapers.snapshot import Snapshot

COLUMNS = (
    *("provider", "instance_type", "gpu_name", "gpu_count", "region", "pricing_model", "term_months"),
    *("payment_option", "price", "unit", "currency", "valid_from", "valid_to", "who", "when", "source"),
)
# What is landed for a file that was taken out of ledger.yaml: it states no price any more.
EMPTY_FILE = (",".join(COLUMNS) + "\n").encode()

_HOURLY = ("gpu_hour", "instance_hour")
_UNITS = {
    "on_demand": _HOURLY,
    "spot": _HOURLY,
    "reserved": (*_HOURLY, "instance_upfront", "instance_term_total"),
    "savings_plan": (*_HOURLY, "instance_upfront", "instance_term_total"),
}
_COMMITTED = ("reserved", "savings_plan")
_TERMS = ("1", "3", "6", "12", "24", "36")
_PAYMENT_OPTIONS = ("no_upfront", "partial_upfront", "all_upfront")
_PROVIDER = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
_LIMIT_BYTES = 16 << 20


class Overrides:
    """The reader of override files; `name` is the source under which their prices appear."""

    name = "override"
    title = "Price overrides of ledger.yaml"

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return one record per line that holds, or is announced, at the time of the snapshot."""
        (payload,) = snapshot.payloads
        with payload.open() as stream:
            return parse_file(stream.read(), place=payload.name, at=snapshot.fetched_at)


def parse_file(body: bytes, *, place: str, at: datetime) -> ParsedSnapshot:
    """Return one record per line that holds, or is announced, at an instant.

    Raises:
        ScrapeError: the file as a whole is not one of price overrides.
    """
    rows = RecordCollector()
    for number, line in _lines(body, place=place):
        location = f"{place} line {number}"
        with rows.rejecting(location):
            record, valid_to = _record(line)
            if valid_to is not None and valid_to <= at:
                rows.skip("expired")
            else:
                rows.add(record, key=_key(record, at), location=location)
    return rows.result()


def turning_points(body: bytes, *, place: str) -> set[datetime]:
    """Return the instants at which a line begins or ceases to hold; lines that cannot be read have none."""
    found: set[datetime] = set()
    for _, line in _lines(body, place=place):
        for name in ("valid_from", "valid_to"):
            try:
                moment = instant(line.get(name), field=name)
            except RejectedValueError:
                continue
            if moment is not None:
                found.add(moment)
    return found


def _lines(body: bytes, *, place: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield number and fields of each line of prices.

    Raises:
        SchemaDriftError: no UTF-8 text, no CSV, or a header with other columns.
        IncompleteSnapshotError: a quoted field is never closed.
    """
    if len(body) > _LIMIT_BYTES:
        raise drift(place, f"longer than {_LIMIT_BYTES >> 20} MB")
    try:
        content = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise drift(place, f"not UTF-8 text (byte {error.start})") from error
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
                continue
            cells = [cell.strip() for cell in cells]
            if header is None:
                header = cells
                _check_header(header, place=place)
            elif len(cells) != len(header):
                yield reader.line_num, {"": f"{len(cells)} fields under {len(header)} columns"}
            else:
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise IncompleteSnapshotError(f"{place}: a quoted field is never closed") from error
        raise drift(place, f"not readable CSV at line {reader.line_num} ({one_line(error)})") from error
    if header is None:
        raise drift(place, "there is no header")


def _check_header(header: list[str], *, place: str) -> None:
    missing = [name for name in COLUMNS if name not in header]
    unknown = [one_line(name, limit=40) for name in header if name not in COLUMNS]
    if missing or unknown or len(set(header)) < len(header):
        facts = [f"no column {', '.join(missing)}" * bool(missing), f"unknown {', '.join(unknown)}" * bool(unknown)]
        raise drift(place, "; ".join(filter(None, facts)) or "a column is given twice")


def _record(line: dict[str, object]) -> tuple[PriceRecord, datetime | None]:
    if "" in line:
        raise RejectedValueError(Reason.UNREADABLE_ROW, field=None, value=line[""])
    provider = text(line, "provider")
    if not _PROVIDER.fullmatch(provider):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="provider", value=provider)
    instance_type, gpu_name = optional_text(line, "instance_type"), optional_text(line, "gpu_name")
    if instance_type is None and gpu_name is None:
        raise RejectedValueError(Reason.MISSING_FIELD, field="instance_type")
    model = text(line, "pricing_model")
    if model not in _UNITS:
        raise RejectedValueError(Reason.UNKNOWN_PRICING_MODEL, field="pricing_model", value=model)
    term = optional_text(line, "term_months")
    if (term is not None) != (model in _COMMITTED) or (term is not None and term not in _TERMS):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="term_months", value=f"{term or 'empty'} for {model}")
    payment = optional_text(line, "payment_option")
    if payment is not None and (payment not in _PAYMENT_OPTIONS or model not in _COMMITTED):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="payment_option", value=f"{payment} for {model}")
    unit = text(line, "unit")
    if unit not in _UNITS[model]:
        raise RejectedValueError(Reason.UNKNOWN_UNIT, field="unit", value=f"{unit} for {model}")
    count = quantity(line.get("gpu_count"), field="gpu_count")
    if count is not None and count <= 0:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="gpu_count", value=count)
    if count is None and instance_type is None and unit != "gpu_hour":
        raise RejectedValueError(Reason.MISSING_FIELD, field="gpu_count")
    valid_from, valid_to = (instant(line.get(name), field=name) for name in ("valid_from", "valid_to"))
    if valid_from is None:
        raise RejectedValueError(Reason.MISSING_FIELD, field="valid_from")
    if valid_to is not None and valid_to <= valid_from:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="valid_to", value=line["valid_to"])
    if instant(line.get("when"), field="when") is None:
        raise RejectedValueError(Reason.MISSING_FIELD, field="when")
    currency = text(line, "currency")
    # The currency is part of what is sold: a price that goes over to another one is another series, and no move.
    sold = f"{provider}/{instance_type or gpu_name}/{'' if count is None else f'{count.normalize():f}x/'}{currency}"
    record = PriceRecord(
        provider_raw=provider,
        sku_id=sold,
        offer_id=sold,
        instance_type=instance_type,
        region_raw=text(line, "region"),
        gpu_name_raw=gpu_name,
        gpu_count_raw=count,
        pricing_model_raw=model,
        term_raw=term,
        payment_option_raw=payment,
        product_name_raw=f"{text(line, 'who')}, {line['when']}",
        price_amount=price(line.get("price"), field="price"),
        price_currency=currency,
        price_unit_raw=unit,
        effective_at=valid_from,
        source_url=text(line, "source"),
    )
    return record, valid_to


def _key(record: PriceRecord, fetched_at: datetime) -> tuple[object, ...]:
    """Of all lines of an offer that hold there may be one; each announced date is a key of its own."""
    announced_at = record.effective_at if record.effective_at and record.effective_at > fetched_at else None
    return (
        *(record.sku_id, record.region_raw, record.pricing_model_raw, record.term_raw, record.payment_option_raw),
        *(record.price_unit_raw, announced_at),
    )


OVERRIDES = Overrides()
