"""Override files: what a line says, what a bad line costs, and when a line holds."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from scrapers.errors import IncompleteSnapshotError, SchemaDriftError, ScrapeError
from scrapers.overrides import COLUMNS, EMPTY_FILE, parse_file, turning_points
from scrapers.records import ParsedSnapshot, Reason

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 11, 23, 6, tzinfo=UTC)
GOOD = {
    "provider": "coreweave",
    "instance_type": "",
    "gpu_name": "H100-SXM-80GB",
    "gpu_count": "8",
    "region": "global",
    "pricing_model": "on_demand",
    "term_months": "",
    "payment_option": "",
    "price": "49.24",
    "unit": "instance_hour",
    "currency": "USD",
    "valid_from": "2026-09-20",
    "valid_to": "",
    "who": "finops",
    "when": "2026-11-23",
    "source": "contract 7",
}


def override_file(*lines: dict[str, str], head: str = "# ours\n") -> bytes:
    rows = [",".join(GOOD), *(",".join((GOOD | line).values()) for line in lines)]
    return (head + "\n".join(rows) + "\n").encode()


def parse(*lines: dict[str, str], at: datetime = AT) -> ParsedSnapshot:
    return parse_file(override_file(*lines), place="ours.csv", at=at)


def test_the_example_holds_the_page_prices() -> None:
    """CoreWeave states prices of instances, Crusoe of GPUs: 49.24 for eight, 3.90 for one."""
    body = (ROOT / "examples" / "overrides.csv").read_bytes()
    parsed = parse_file(body, place="overrides.csv", at=AT)
    assert (len(parsed.records), parsed.rejections) == (19, ())
    found = {
        (r.provider_raw, r.gpu_name_raw, r.pricing_model_raw): (str(r.price_amount), r.gpu_count_raw, r.price_unit_raw)
        for r in parsed.records
    }
    assert found["coreweave", "H100-SXM-80GB", "on_demand"] == ("49.24", 8, "instance_hour")
    assert found["coreweave", "H100-SXM-80GB", "spot"] == ("19.71", 8, "instance_hour")
    assert found["coreweave", "GB200-186GB", "on_demand"] == ("42.00", 4, "instance_hour")
    assert found["crusoe", "H100-SXM-80GB", "on_demand"] == ("3.90", None, "gpu_hour")
    assert found["crusoe", "MI300X-192GB", "on_demand"] == ("3.45", None, "gpu_hour")


def test_a_line_becomes_a_record() -> None:
    (record,) = parse({}).records
    assert (record.provider_raw, record.gpu_name_raw, record.gpu_count_raw) == ("coreweave", "H100-SXM-80GB", 8)
    assert (record.price_amount, record.price_currency) == (Decimal("49.24"), "USD")
    assert record.effective_at == datetime(2026, 9, 20, tzinfo=UTC)
    assert (record.product_name_raw, record.source_url) == ("finops, 2026-11-23", "contract 7")


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"provider": ""}, Reason.MISSING_FIELD, "provider"),
        ({"provider": "Core Weave"}, Reason.UNREADABLE_FIELD, "provider"),
        ({"gpu_name": ""}, Reason.MISSING_FIELD, "instance_type"),
        ({"gpu_count": ""}, Reason.MISSING_FIELD, "gpu_count"),
        ({"gpu_count": "0"}, Reason.UNREADABLE_FIELD, "gpu_count"),
        ({"gpu_count": "eight"}, Reason.UNREADABLE_FIELD, "gpu_count"),
        ({"region": ""}, Reason.MISSING_FIELD, "region"),
        ({"pricing_model": "on-demand"}, Reason.UNKNOWN_PRICING_MODEL, "pricing_model"),
        ({"term_months": "12"}, Reason.UNREADABLE_FIELD, "term_months"),
        ({"pricing_model": "reserved"}, Reason.UNREADABLE_FIELD, "term_months"),
        ({"pricing_model": "reserved", "term_months": "18"}, Reason.UNREADABLE_FIELD, "term_months"),
        ({"payment_option": "no_upfront"}, Reason.UNREADABLE_FIELD, "payment_option"),
        ({"price": ""}, Reason.MISSING_FIELD, "price"),
        ({"price": "0"}, Reason.PRICE_NOT_POSITIVE, "price"),
        ({"price": "from 49.24"}, Reason.PRICE_NOT_A_NUMBER, "price"),
        ({"unit": "month"}, Reason.UNKNOWN_UNIT, "unit"),
        ({"unit": "instance_upfront"}, Reason.UNKNOWN_UNIT, "unit"),
        ({"currency": "dollars"}, Reason.CURRENCY_MISSING, "price_currency"),
        ({"valid_from": ""}, Reason.MISSING_FIELD, "valid_from"),
        ({"valid_from": "20.9.2026"}, Reason.UNREADABLE_FIELD, "valid_from"),
        ({"valid_to": "2026-09-20"}, Reason.UNREADABLE_FIELD, "valid_to"),
        ({"who": ""}, Reason.MISSING_FIELD, "who"),
        ({"when": ""}, Reason.MISSING_FIELD, "when"),
        ({"source": ""}, Reason.MISSING_FIELD, "source"),
        ({"source": "a,b"}, Reason.UNREADABLE_ROW, None),
    ],
)
def test_a_bad_line_is_named_and_the_good_ones_are_kept(
    change: dict[str, str], reason: Reason, field: str | None
) -> None:
    parsed = parse({"provider": "crusoe"}, change, {"provider": "nebius"})
    assert [r.provider_raw for r in parsed.records] == ["crusoe", "nebius"]
    # A comment, the header, a good line: the bad one is the fourth.
    assert [(r.reason, r.field, r.location) for r in parsed.rejections] == [(reason, field, "ours.csv line 4")]


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (b"", SchemaDriftError, "there is no header"),
        (b"\xff\xfe", SchemaDriftError, "not UTF-8"),
        (override_file({}).replace(b",", b";"), SchemaDriftError, "no column provider"),
        (override_file({}).replace(b",unit,", b",per,"), SchemaDriftError, "no column unit; unknown per"),
        (override_file({}).replace(b",who,", b",when,"), SchemaDriftError, "no column who"),
        (override_file({"source": '"contract'}), IncompleteSnapshotError, "never closed"),
    ],
)
def test_another_file_is_refused_as_a_whole(body: bytes, error: type[ScrapeError], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_file(body, place="ours.csv", at=AT)


def test_excel_and_order_of_columns_do_not_matter() -> None:
    names = list(reversed(COLUMNS))
    body = ",".join(names) + "\r\n\r\n" + ",".join(GOOD[name] for name in names) + "\r\n"
    parsed = parse_file(b"\xef\xbb\xbf" + body.encode(), place="ours.csv", at=AT)
    assert [r.provider_raw for r in parsed.records] == ["coreweave"]


def test_a_line_holds_from_its_first_instant_to_its_last() -> None:
    line = {"valid_from": "2026-11-01", "valid_to": "2026-12-01"}
    start, end = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    moment = timedelta(seconds=1)
    assert [len(parse(line, at=at).records) for at in (start, end - moment, end)] == [1, 1, 0]
    assert parse(line, at=end).skipped == {"expired": 1}
    # Before its time it is announced: staging holds it back by effective_at.
    assert parse(line, at=start - moment).records[0].effective_at == start
    assert turning_points(override_file(line, {"valid_to": "soon"}), place="ours.csv") == {
        start,
        end,
        datetime(2026, 9, 20, tzinfo=UTC),
    }


def test_of_two_prices_that_hold_neither_is_used() -> None:
    """One that is announced beside the one that holds is no conflict."""
    parsed = parse({}, {"price": "40"})
    assert (parsed.records, [r.reason for r in parsed.rejections]) == ((), [Reason.DUPLICATE_KEY_CONFLICT] * 2)
    announced = parse({"valid_to": "2027-01-01"}, {"price": "40", "valid_from": "2027-01-01"})
    assert [str(r.price_amount) for r in announced.records] == ["49.24", "40"]


def test_a_file_without_lines_says_nothing() -> None:
    assert parse_file(EMPTY_FILE, place="ours.csv", at=AT) == ParsedSnapshot((), (), {})
