"""The rows that leave a parser, and how prices are read from text.

A parser decides structure (which number is a price), never meaning (what "H100" is): every word here is the source's
own. The columns are those of `raw.price_records` without those of its versions, which the loader adds.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Context, Decimal, DecimalException
from enum import StrEnum

from scrapers.errors import one_line

# raw.price_records.price_amount is decimal(28, 12): what does not fit exactly would be rounded in silence.
_PRICE_LIMIT, _PRICE_STEP = Decimal(10) ** 16, Decimal(1).scaleb(-12)
# gpu_count_raw and gpu_memory_gb_raw are decimal(18, 6).
_QUANTITY_LIMIT, _QUANTITY_STEP = Decimal(10) ** 12, Decimal(1).scaleb(-6)
_WIDE = Context(prec=60)
# No group separators, currency signs or blanks: "1,234.56" means two different prices in two countries.
_PLAIN_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_MAX_TEXT = 512


class Reason(StrEnum):
    """Why a row that answers the question could not be used."""

    PRICE_NOT_POSITIVE = "price_not_positive"
    PRICE_NOT_FINITE = "price_not_finite"
    PRICE_NOT_A_NUMBER = "price_not_a_number"
    PRICE_OUT_OF_RANGE = "price_out_of_range"
    PLACEHOLDER_PRICE = "placeholder_price"
    TIERED_PRICE = "tiered_price"
    CURRENCY_NOT_USD = "currency_not_usd"
    CURRENCY_MISSING = "currency_missing"
    MISSING_FIELD = "missing_field"
    UNREADABLE_FIELD = "unreadable_field"
    UNREADABLE_ROW = "unreadable_row"
    UNKNOWN_UNIT = "unknown_unit"
    UNKNOWN_PRICING_MODEL = "unknown_pricing_model"
    INCOMPLETE_OFFER = "incomplete_offer"
    DUPLICATE_KEY_CONFLICT = "duplicate_key_conflict"


class RejectedValueError(ValueError):
    """One value cannot be used. Parsers turn it into a `Rejection` and go on with the next row."""

    def __init__(self, reason: Reason, *, field: str | None, value: object = None) -> None:
        super().__init__(f"{reason}: {field}")
        self.reason = reason
        self.field = field
        self.detail = None if value is None else one_line(value, limit=120)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRecord:
    """One price a source publishes, in its own words and units.

    `provider_raw` says whose price it is, where a source states prices of several providers.

    Raises:
        RejectedValueError: an invariant of the raw table does not hold.
    """

    sku_id: str
    offer_id: str
    instance_type: str | None = None
    region_raw: str
    zone_raw: str | None = None
    gpu_name_raw: str | None = None
    gpu_count_raw: Decimal | None = None
    gpu_memory_gb_raw: Decimal | None = None
    pricing_model_raw: str
    term_raw: str | None = None
    offering_class_raw: str | None = None
    payment_option_raw: str | None = None
    operating_system_raw: str | None = None
    tenancy_raw: str | None = None
    product_name_raw: str | None = None
    price_amount: Decimal
    price_currency: str
    price_unit_raw: str
    effective_at: datetime | None = None
    is_available: bool | None = None
    source_url: str
    provider_raw: str | None = None

    def __post_init__(self) -> None:
        for name in ("sku_id", "offer_id", "region_raw", "pricing_model_raw", "price_unit_raw", "source_url"):
            if not getattr(self, name):
                raise RejectedValueError(Reason.MISSING_FIELD, field=name)
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, str) and value != one_line(value, limit=_MAX_TEXT):
                raise RejectedValueError(Reason.UNREADABLE_FIELD, field=name, value=value)
        if not _CURRENCY.fullmatch(self.price_currency):
            raise RejectedValueError(Reason.CURRENCY_MISSING, field="price_currency", value=self.price_currency)
        _check_amount(self.price_amount, field="price_amount")
        for name in ("gpu_count_raw", "gpu_memory_gb_raw"):
            quantity = getattr(self, name)
            if quantity is not None and not _fits(quantity, limit=_QUANTITY_LIMIT, step=_QUANTITY_STEP):
                raise RejectedValueError(Reason.UNREADABLE_FIELD, field=name, value=quantity)
        if self.effective_at is not None and self.effective_at.tzinfo is None:
            raise RejectedValueError(Reason.UNREADABLE_FIELD, field="effective_at", value=self.effective_at)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that answers the question but cannot be used: why, which field, where, and the offending value."""

    reason: Reason
    field: str | None
    location: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class ParsedSnapshot:
    """All a snapshot says: usable records in the source's order, rejections, and what was outside the question."""

    records: tuple[PriceRecord, ...]
    rejections: tuple[Rejection, ...]
    skipped: dict[str, int]


@dataclass(slots=True)
class RecordCollector:
    """Gathers a parser's output, and settles rows that state the same key twice.

    The same key with the same price counts as skipped `duplicate`. With different prices nobody can say which one is
    right, so every row of that key is rejected.
    """

    rejections: list[Rejection] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    _records: dict[tuple[object, ...], tuple[PriceRecord, str]] = field(default_factory=dict)
    _conflicts: dict[tuple[object, ...], PriceRecord] = field(default_factory=dict)

    def add(self, record: PriceRecord, *, key: tuple[object, ...], location: str) -> None:
        """Keep a record under the source's natural key."""
        if key in self._conflicts:
            self._reject_conflict(record, location)
        elif key not in self._records:
            self._records[key] = (record, location)
        elif self._records[key][0].price_amount == record.price_amount:
            self.skip("duplicate")
        else:
            first, first_location = self._records.pop(key)
            self._conflicts[key] = first
            self._reject_conflict(first, first_location)
            self._reject_conflict(record, location)

    def reject(self, error: RejectedValueError, *, location: str) -> None:
        """Count a row that answers the question but cannot be used."""
        self.rejections.append(Rejection(error.reason, error.field, location, error.detail))

    @contextmanager
    def rejecting(self, location: str) -> Iterator[None]:
        """Reject the row that the block reads if one of its values cannot be used, and go on."""
        try:
            yield
        except RejectedValueError as error:
            self.reject(error, location=location)

    def skip(self, why: str, *, count: int = 1) -> None:
        """Count rows that are outside the question."""
        self.skipped[why] = self.skipped.get(why, 0) + count

    def result(self) -> ParsedSnapshot:
        """Return what was gathered; skipped kinds in alphabetical order."""
        records = tuple(record for record, _ in self._records.values())
        return ParsedSnapshot(records, tuple(self.rejections), dict(sorted(self.skipped.items())))

    def _reject_conflict(self, record: PriceRecord, location: str) -> None:
        detail = one_line(f"{record.sku_id}: {record.price_amount}")
        self.rejections.append(
            Rejection(Reason.DUPLICATE_KEY_CONFLICT, "price_amount", location, detail),
        )


def text(row: Mapping[str, object], field: str) -> str:
    """Return a required text field; numbers are not silently taken for text."""
    value = optional_text(row, field)
    if value is None:
        raise RejectedValueError(Reason.MISSING_FIELD, field=field)
    return value


def optional_text(row: Mapping[str, object], field: str) -> str | None:
    """Return a text field, None where absent or empty."""
    value = row.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field=field, value=value)
    return value


def price(value: object, *, field: str, zero_allowed: bool = False, factor: Decimal = Decimal(1)) -> Decimal:
    """Return a price read from a JSON number or a decimal string.

    Args:
        value: as the source states it.
        field: what rejections call it.
        zero_allowed: zero is an amount here, as in the recurring part of a commitment paid upfront.
        factor: what turns the stated unit into whole currency units per hour: 0.01 for cents. The product is rounded to
            the twelve decimals of the raw table, because a price per minute is often a binary float, such as
            16.583333333333332 cents for 9.95 an hour.

    Raises:
        RejectedValueError: absent, not a number, not finite, not positive, or not exactly storable.
    """
    if value is None or value == "":
        raise RejectedValueError(Reason.MISSING_FIELD, field=field)
    amount = _decimal(value, field=field)
    if factor != 1 and amount.is_finite() and abs(amount) < _PRICE_LIMIT:
        amount = _WIDE.multiply(amount, factor).quantize(_PRICE_STEP, context=_WIDE)
    _check_amount(amount, field=field)
    if amount == 0 and not zero_allowed:
        raise RejectedValueError(Reason.PRICE_NOT_POSITIVE, field=field, value=value)
    return amount


def quantity(value: object, *, field: str) -> Decimal | None:
    """Return a GPU count or memory size, None where the source does not state it."""
    if value is None or value == "":
        return None
    try:
        return _decimal(value, field=field)
    except RejectedValueError as error:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field=field, value=value) from error


def instant(value: object, *, field: str) -> datetime | None:
    """Return an ISO date or time as UTC, None where absent. A date without a time means its first instant in UTC."""
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field=field, value=value) from error


def _decimal(value: object, *, field: str) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and _PLAIN_NUMBER.fullmatch(value):
        try:
            return Decimal(value)
        except DecimalException as error:
            raise RejectedValueError(Reason.PRICE_OUT_OF_RANGE, field=field, value=value) from error
    if isinstance(value, str) and _NOT_FINITE.fullmatch(value):
        raise RejectedValueError(Reason.PRICE_NOT_FINITE, field=field, value=value)
    raise RejectedValueError(Reason.PRICE_NOT_A_NUMBER, field=field, value=value)


def _check_amount(amount: Decimal, *, field: str) -> None:
    if not amount.is_finite():
        raise RejectedValueError(Reason.PRICE_NOT_FINITE, field=field, value=amount)
    if amount < 0:
        raise RejectedValueError(Reason.PRICE_NOT_POSITIVE, field=field, value=amount)
    if not _fits(amount, limit=_PRICE_LIMIT, step=_PRICE_STEP):
        raise RejectedValueError(Reason.PRICE_OUT_OF_RANGE, field=field, value=amount)


def _fits(amount: Decimal, *, limit: Decimal, step: Decimal) -> bool:
    """Whether the amount is stored exactly: finite, not negative, below the limit, no digits beyond the step."""
    return amount.is_finite() and 0 <= amount < limit and amount.quantize(step, context=_WIDE) == amount
