"""Euro reference rates: what is taken, what is refused, and that no XML trick gets through."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from scrapers.errors import IncompleteSnapshotError, SchemaDriftError, ScrapeError
from scrapers.fx.ecb import DAILY, ECB, HISTORY, ParsedRates
from scrapers.http import HttpClient
from scrapers.landing import EntryKind, Landing
from scrapers.prices.base import SourceOptions, parse_snapshot, pull_dataset
from scrapers.records import Reason
from scrapers.snapshot import Origin
from tests.fault_server import Answer, FaultServer

FETCHED = datetime(2026, 11, 23, 6, tzinfo=UTC)  # a Monday
XMLNS = 'xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref"'
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def rate_file(days: dict[str, dict[str, str]], *, head: str = DECLARATION) -> bytes:
    """A file in the ECB's shape."""
    cubes = "".join(
        f"<Cube time='{day}'>" + "".join(f"<Cube currency='{c}' rate='{r}'/>" for c, r in rates.items()) + "</Cube>"
        for day, rates in days.items()
    )
    sender = (
        "<gesmes:subject>Reference rates</gesmes:subject><gesmes:Sender><gesmes:name>x</gesmes:name></gesmes:Sender>"
    )
    return f"{head}<gesmes:Envelope {XMLNS}>\n{sender}<Cube>{cubes}</Cube></gesmes:Envelope>".encode()


FRIDAY = rate_file({"2026-11-20": {"USD": "1.25", "GBP": "0.8"}})


def parse(landing: Landing, tmp_path: Path, body: bytes) -> ParsedRates:
    file = tmp_path / "rates.xml"
    file.write_bytes(body)
    entry = landing.land_files("ecb", DAILY, [file], FETCHED, Origin.REPLAY)
    return parse_snapshot(ECB, landing.open_snapshot(entry))


@pytest.mark.parametrize(("dataset", "path"), [(DAILY, "eurofxref-daily.xml"), (HISTORY, "eurofxref-hist-90d.xml")])
def test_a_pull_lands_the_file_and_the_same_file_is_unchanged(
    dataset: str, path: str, server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    server.add(f"/stats/eurofxref/{path}", Answer(FRIDAY))
    options = SourceOptions(base_url=server.url)
    entry = pull_dataset(ECB, dataset, options, landing, now=FETCHED, client=client)
    assert (entry.kind, entry.change_key) == (EntryKind.SNAPSHOT, "2026-11-20"), entry.message
    rates = ECB.parse(landing.open_snapshot(entry)).rates
    assert [(r.rate_date, r.currency, r.units_per_eur) for r in rates] == [
        (date(2026, 11, 20), "USD", Decimal("1.25")),
        (date(2026, 11, 20), "GBP", Decimal("0.8")),
    ]
    later = pull_dataset(ECB, dataset, options, landing, now=FETCHED.replace(hour=7), client=client)
    assert (later.kind, later.snapshot_id) == (EntryKind.UNCHANGED, entry.snapshot_id)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<!DOCTYPE html><html><body>Sorry</body></html>", "SchemaDriftError"),
        (FRIDAY[:-40], "IncompleteSnapshotError"),
        (rate_file({}), "IncompleteSnapshotError"),
        (b"", "IncompleteSnapshotError"),
        (b'{"rates": []}', "SchemaDriftError"),
    ],
)
def test_a_pull_of_something_else_lands_only_the_failure(
    body: bytes, error: str, server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    server.add("/stats/eurofxref/eurofxref-daily.xml", Answer(body))
    entry = pull_dataset(ECB, DAILY, SourceOptions(base_url=server.url), landing, now=FETCHED, client=client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, error)
    assert str(entry.message).startswith("ecb: ")


BILLION_LAUGHS = (
    "<!DOCTYPE gesmes:Envelope ["
    '<!ENTITY a "1.25"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
OUTSIDE = '<!DOCTYPE gesmes:Envelope [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
PARAMETER = '<!DOCTYPE gesmes:Envelope [<!ENTITY % a SYSTEM "http://127.0.0.1/x.dtd"> %a;]>'


@pytest.mark.parametrize("doctype", [BILLION_LAUGHS, OUTSIDE, PARAMETER, "<!DOCTYPE html>"])
def test_a_document_type_declaration_is_refused(doctype: str, landing: Landing, tmp_path: Path) -> None:
    body = rate_file({"2026-11-20": {"USD": "1.25"}}, head=DECLARATION + doctype)
    with pytest.raises(SchemaDriftError, match=r"ecb: rates\.xml: a document type declaration"):
        parse(landing, tmp_path, body)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (FRIDAY.replace(b"1.25", b"&usd;"), SchemaDriftError),  # an entity that nothing declares
        (b"<Cube time='2026-11-20'><Cube currency='USD' rate='1'/></Cube>", SchemaDriftError),
        (FRIDAY.replace(b" time='2026-11-20'", b""), SchemaDriftError),
        (rate_file({"2026-11-20": {"GBP": "0.8"}}), IncompleteSnapshotError),  # nothing leads to the dollar
        (rate_file({"2026-11-20": {"USD": "0", "GBP": "0.8"}}), IncompleteSnapshotError),
    ],
)
def test_other_documents_are_refused_as_a_whole(
    body: bytes, error: type[ScrapeError], landing: Landing, tmp_path: Path
) -> None:
    with pytest.raises(error, match="ecb: "):
        parse(landing, tmp_path, body)


@pytest.mark.parametrize(
    ("day", "currency", "rate", "reason", "field"),
    [
        ("2026-11-20", "GBP", "0", Reason.PRICE_NOT_POSITIVE, "rate"),
        ("2026-11-20", "GBP", "-0.8", Reason.PRICE_NOT_POSITIVE, "rate"),
        ("2026-11-20", "GBP", "NaN", Reason.PRICE_NOT_FINITE, "rate"),
        ("2026-11-20", "GBP", "Infinity", Reason.PRICE_NOT_FINITE, "rate"),
        ("2026-11-20", "GBP", "0,8", Reason.PRICE_NOT_A_NUMBER, "rate"),
        ("2026-11-20", "GBP", "", Reason.MISSING_FIELD, "rate"),
        ("2026-11-20", "POUND", "0.8", Reason.CURRENCY_MISSING, "currency"),
        ("2026-11-24", "GBP", "0.8", Reason.UNREADABLE_FIELD, "time"),  # the day after the fetch
        ("1998-12-31", "GBP", "0.8", Reason.UNREADABLE_FIELD, "time"),  # before there was a euro
        ("2026-02-30", "GBP", "0.8", Reason.UNREADABLE_FIELD, "time"),
        ("20261120", "GBP", "0.8", Reason.UNREADABLE_FIELD, "time"),
    ],
)
def test_a_rate_that_cannot_be_used_is_rejected_and_the_others_are_kept(
    day: str, currency: str, rate: str, reason: Reason, field: str, landing: Landing, tmp_path: Path
) -> None:
    body = rate_file({"2026-11-19": {"USD": "1.2"}}).replace(
        b"</Cube></Cube></gesmes",
        f"</Cube><Cube time='{day}'><Cube currency='{currency}' rate='{rate}'/></Cube></Cube></gesmes".encode(),
    )
    parsed = parse(landing, tmp_path, body)
    assert [(r.currency, r.units_per_eur) for r in parsed.rates] == [("USD", Decimal("1.2"))]
    assert [(r.reason, r.field, r.location) for r in parsed.rejections] == [(reason, field, "rates.xml rate 2")]


def test_a_rate_stated_twice_counts_once_or_not_at_all(landing: Landing, tmp_path: Path) -> None:
    day = "<Cube time='2026-11-20'><Cube currency='USD' rate='1.25'/><Cube currency='GBP' rate='{}'/></Cube>"
    body = rate_file({}).decode().replace("<Cube></Cube>", f"<Cube>{day.format('0.8')}{day.format('0.9')}</Cube>")
    parsed = parse(landing, tmp_path, body.encode())
    assert [r.currency for r in parsed.rates] == ["USD"]
    assert [(r.reason, r.detail) for r in parsed.rejections] == [
        (Reason.DUPLICATE_KEY_CONFLICT, "0.8"),
        (Reason.DUPLICATE_KEY_CONFLICT, "0.9"),
    ]
