"""Prices read from text: what is taken, what is refused and under which name, and what would not fit the raw table."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapers.records import (
    PriceRecord,
    Reason,
    RecordCollector,
    RejectedValueError,
    instant,
    price,
    quantity,
)

GOOD = {
    "sku_id": "s",
    "offer_id": "o",
    "region_raw": "global",
    "pricing_model_raw": "OnDemand",
    "price_amount": Decimal("55.04"),
    "price_currency": "USD",
    "price_unit_raw": "Hrs",
    "source_url": "file:x",
}


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("55.0400000000", "55.04"),
        (Decimal("98.32"), "98.32"),
        (10, "10"),
        ("1e2", "100"),
        ("0.000000000001", "0.000000000001"),  # the smallest that decimal(28,12) holds
        ("9999999999999999.999999999999", "9999999999999999.999999999999"),  # the largest
        ("0.10000000000000000000", "0.1"),
    ],
)
def test_prices_are_read_exactly(value: object, amount: str) -> None:
    assert price(value, field="p") == Decimal(amount)


CENT, CENT_A_MINUTE = Decimal("0.01"), Decimal("0.6")


@pytest.mark.parametrize(
    ("value", "factor", "amount"),
    [
        (429, CENT, "4.29"),
        ("429.5", CENT, "4.295"),
        (9, CENT_A_MINUTE, "5.4"),
        (Decimal("16.583333333333332"), CENT_A_MINUTE, "9.95"),  # 9.9499999999999992: the float nearest to 995 / 60
        (Decimal("16.58"), CENT_A_MINUTE, "9.948"),  # what the source rounded stays rounded
        ("1e-10", CENT, "0.000000000001"),
    ],
)
def test_prices_in_other_units_are_converted_exactly(value: object, factor: Decimal, amount: str) -> None:
    assert price(value, field="p", factor=factor) == Decimal(amount)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0, Reason.PRICE_NOT_POSITIVE),
        (-1, Reason.PRICE_NOT_POSITIVE),
        ("1e-12", Reason.PRICE_NOT_POSITIVE),  # nothing is left of it
        ("NaN", Reason.PRICE_NOT_FINITE),
        (Decimal("Infinity"), Reason.PRICE_NOT_FINITE),
        ("1e308", Reason.PRICE_OUT_OF_RANGE),
        (True, Reason.PRICE_NOT_A_NUMBER),
        (None, Reason.MISSING_FIELD),
    ],
)
def test_converted_prices_are_refused_for_the_same_reasons(value: object, reason: Reason) -> None:
    with pytest.raises(RejectedValueError) as refused:
        price(value, field="cents", factor=CENT)
    assert (refused.value.reason, refused.value.field) == (reason, "cents")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0, Reason.PRICE_NOT_POSITIVE),
        ("0.0000000000", Reason.PRICE_NOT_POSITIVE),
        ("-0", Reason.PRICE_NOT_POSITIVE),
        (-1, Reason.PRICE_NOT_POSITIVE),
        (Decimal("-0.01"), Reason.PRICE_NOT_POSITIVE),
        (Decimal("NaN"), Reason.PRICE_NOT_FINITE),
        (Decimal("-Infinity"), Reason.PRICE_NOT_FINITE),
        ("NaN", Reason.PRICE_NOT_FINITE),
        ("inf", Reason.PRICE_NOT_FINITE),
        ("1e308", Reason.PRICE_OUT_OF_RANGE),
        ("1e99999999999999999999", Reason.PRICE_OUT_OF_RANGE),
        ("1e-13", Reason.PRICE_OUT_OF_RANGE),  # would be stored as 0
        ("10000000000000000", Reason.PRICE_OUT_OF_RANGE),
        ("1,234.56", Reason.PRICE_NOT_A_NUMBER),
        ("1.234,56", Reason.PRICE_NOT_A_NUMBER),
        ("$2.10", Reason.PRICE_NOT_A_NUMBER),
        ("2.10 USD", Reason.PRICE_NOT_A_NUMBER),
        (" 2.10", Reason.PRICE_NOT_A_NUMBER),
        ("2.10\n", Reason.PRICE_NOT_A_NUMBER),
        ("٢", Reason.PRICE_NOT_A_NUMBER),
        ("1_000", Reason.PRICE_NOT_A_NUMBER),
        ("N/A", Reason.PRICE_NOT_A_NUMBER),
        (True, Reason.PRICE_NOT_A_NUMBER),
        ([1], Reason.PRICE_NOT_A_NUMBER),
        ({"USD": 1}, Reason.PRICE_NOT_A_NUMBER),
        (None, Reason.MISSING_FIELD),
        ("", Reason.MISSING_FIELD),
    ],
)
def test_bad_prices_are_refused_by_name(value: object, reason: Reason) -> None:
    with pytest.raises(RejectedValueError) as caught:
        price(value, field="retailPrice")
    assert (caught.value.reason, caught.value.field) == (reason, "retailPrice")


def test_zero_is_taken_only_where_it_is_a_price() -> None:
    assert price("0.0000000000", field="p", zero_allowed=True) == 0


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.text(max_size=30) | st.integers() | st.floats())
def test_a_price_is_refused_or_stored_without_loss(value: object) -> None:
    try:
        amount = price(value, field="p")
    except RejectedValueError:
        return
    assert 0 < amount < Decimal(10) ** 16
    assert Decimal(f"{amount:.12f}") == amount  # decimal(28,12) holds it exactly


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"sku_id": ""}, Reason.MISSING_FIELD, "sku_id"),
        ({"offer_id": ""}, Reason.MISSING_FIELD, "offer_id"),
        ({"region_raw": ""}, Reason.MISSING_FIELD, "region_raw"),
        ({"price_unit_raw": ""}, Reason.MISSING_FIELD, "price_unit_raw"),
        ({"price_currency": "usd"}, Reason.CURRENCY_MISSING, "price_currency"),
        ({"price_currency": "$"}, Reason.CURRENCY_MISSING, "price_currency"),
        ({"price_amount": Decimal("NaN")}, Reason.PRICE_NOT_FINITE, "price_amount"),
        ({"price_amount": Decimal("-1")}, Reason.PRICE_NOT_POSITIVE, "price_amount"),
        ({"price_amount": Decimal("1E+20")}, Reason.PRICE_OUT_OF_RANGE, "price_amount"),
        ({"gpu_count_raw": Decimal("-8")}, Reason.UNREADABLE_FIELD, "gpu_count_raw"),
        ({"gpu_memory_gb_raw": Decimal("NaN")}, Reason.UNREADABLE_FIELD, "gpu_memory_gb_raw"),
        ({"gpu_name_raw": "H100\x1b[31m"}, Reason.UNREADABLE_FIELD, "gpu_name_raw"),
        ({"gpu_name_raw": "H100\u202e"}, Reason.UNREADABLE_FIELD, "gpu_name_raw"),
        ({"product_name_raw": "x" * 600}, Reason.UNREADABLE_FIELD, "product_name_raw"),
        ({"effective_at": datetime(2026, 1, 1)}, Reason.UNREADABLE_FIELD, "effective_at"),  # noqa: DTZ001 - the mistake under test
    ],
)
def test_records_hold_what_the_raw_table_demands(change: dict[str, object], reason: Reason, field: str) -> None:
    with pytest.raises(RejectedValueError) as caught:
        PriceRecord(**{**GOOD, **change})
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_fractional_gpus_are_kept() -> None:
    assert quantity("0.125", field="GPU") == Decimal("0.125")
    assert quantity(None, field="GPU") is None
    with pytest.raises(RejectedValueError, match="unreadable_field: GPU"):
        quantity("eight", field="GPU")


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2024-05-01T00:00:00Z", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2024-05-01T02:00:00+02:00", datetime(2024, 5, 1, tzinfo=UTC)),
        (None, None),
    ],
)
def test_instants_are_utc(value: object, moment: datetime | None) -> None:
    assert instant(value, field="effectiveDate") == moment


@pytest.mark.parametrize("value", ["yesterday", "2024-13-01", 20240501, "0001-01-01T00:00:00+23:59", []])
def test_unreadable_instants_are_refused(value: object) -> None:
    with pytest.raises(RejectedValueError, match="unreadable_field: effectiveDate"):
        instant(value, field="effectiveDate")


def test_the_same_key_twice() -> None:
    """Equal prices are one record; contradicting ones are none, and a third opinion does not bring one back."""
    rows = RecordCollector()
    for key, amount in [("a", "1.0"), ("a", "1.00"), ("b", "1"), ("b", "2"), ("b", "1"), ("c", "3")]:
        record = PriceRecord(**{**GOOD, "sku_id": key, "price_amount": Decimal(amount)})
        rows.add(record, key=(key,), location=f"{key} {amount}")
    result = rows.result()
    assert [record.sku_id for record in result.records] == ["a", "c"]
    assert result.skipped == {"duplicate": 1}
    assert [(r.reason, r.location, r.detail) for r in result.rejections] == [
        (Reason.DUPLICATE_KEY_CONFLICT, "b 1", "b: 1"),
        (Reason.DUPLICATE_KEY_CONFLICT, "b 2", "b: 2"),
        (Reason.DUPLICATE_KEY_CONFLICT, "b 1", "b: 1"),
    ]
