"""Euro reference rates of the European Central Bank.

Endpoint   GET https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml (dataset daily: the last day) and
           /stats/eurofxref/eurofxref-hist-90d.xml (dataset history-90d: the last 90 days, the last one included).
Auth       none.
Paging     none.
A row      one currency on one day, about 30 a day.
Unit       units of the currency for one euro. There is no row for the euro.
Quirks     Published at about 16:00 CET on the days on which TARGET is open: none on weekends and TARGET holidays, when
           the last one holds. The answer is XML. A document type declaration is refused: without one nothing can
           declare an entity, so neither an expanding nor an external one can be reached. That is why the standard
           library's parser is enough here.
Verified   2026-11-23 against public excerpts of both files (namespaces, `time`, `currency`, `rate`), not live.
"""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from xml.parsers import expat

from scrapers.errors import IncompleteSnapshotError, one_line
from scrapers.prices.base import Fetched, Pull, Source, Unchanged, drift
from scrapers.records import Reason, RejectedValueError, Rejection, price
from scrapers.snapshot import Snapshot

DAILY, HISTORY = "daily", "history-90d"
FIRST_DAY = date(1999, 1, 4)  # the first reference rates of the euro
_FILES = {DAILY: "eurofxref-daily.xml", HISTORY: "eurofxref-hist-90d.xml"}
_ENVELOPE = "http://www.gesmes.org/xml/2002-08-01 Envelope"
_CUBE = "http://www.ecb.int/vocabulary/2002-08-01/eurofxref Cube"
_LIMIT_BYTES = 4 << 20  # the history of 90 days is below 100 kB
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_CUT = {
    expat.errors.codes[message]
    for message in (expat.errors.XML_ERROR_NO_ELEMENTS, expat.errors.XML_ERROR_UNCLOSED_TOKEN)
}


@dataclass(frozen=True, slots=True)
class ExchangeRate:
    """What one euro cost in one currency on one day."""

    rate_date: date
    currency: str
    units_per_eur: Decimal


@dataclass(frozen=True, slots=True)
class ParsedRates:
    """All a snapshot says: rates in the source's order, and what could not be used."""

    rates: tuple[ExchangeRate, ...]
    rejections: tuple[Rejection, ...]


class Ecb(Source):
    """The ECB's euro foreign exchange reference rates."""

    name = "ecb"
    title = "ECB euro reference rates"
    docs = "https://www.ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates/html/index.en.html"
    base_url = "https://www.ecb.europa.eu"
    dataset = DAILY

    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Fetch one of the two files; the newest day in it becomes the change key."""
        answer = pull.client.get(pull.url(f"/stats/eurofxref/{_FILES[pull.dataset]}"), limit_bytes=_LIMIT_BYTES)
        days = [day for day, _, _ in _rows(answer.body, place=pull.dataset)]
        if not days:
            raise IncompleteSnapshotError(f"{pull.dataset}: there is no rate in it; fetch it again")
        pull.keep(answer, _FILES[pull.dataset])
        return Fetched(change_key=max(days))

    def parse(self, snapshot: Snapshot) -> ParsedRates:
        """Return the rates of a snapshot; one that is stated twice with different values is used in neither."""
        stated: dict[tuple[date, str], list[tuple[ExchangeRate, str]]] = {}
        rejections: list[Rejection] = []
        for payload in snapshot.payloads:
            with payload.open() as stream:
                body = stream.read()
            for number, (day, currency, value) in enumerate(_rows(body, place=payload.name), start=1):
                location = f"{payload.name} rate {number}"
                try:
                    rate = _rate(day, currency, value, latest=snapshot.fetched_at.date())
                except RejectedValueError as error:
                    rejections.append(Rejection(error.reason, error.field, location, error.detail))
                else:
                    stated.setdefault((rate.rate_date, rate.currency), []).append((rate, location))
        kept = tuple(rates[0][0] for rates in stated.values() if len(set(dict(rates))) == 1)
        rejections += [
            Rejection(Reason.DUPLICATE_KEY_CONFLICT, "rate", location, str(rate.units_per_eur))
            for rates in stated.values()
            if len(set(dict(rates))) > 1
            for rate, location in rates
        ]
        lost = {rate.rate_date for rate in kept} - {rate.rate_date for rate in kept if rate.currency == "USD"}
        if lost:
            raise IncompleteSnapshotError(f"{min(lost)} has no usable rate of the dollar; fetch it again")
        return ParsedRates(kept, tuple(rejections))


def _rate(day: str, currency: str | None, value: str | None, *, latest: date) -> ExchangeRate:
    """Return one rate, checked.

    Raises:
        RejectedValueError: no date, or one before the euro or after the fetch; no currency; no positive number.
    """
    if currency is None or not _CURRENCY.fullmatch(currency):
        raise RejectedValueError(Reason.CURRENCY_MISSING, field="currency", value=currency)
    try:
        rate_date = date.fromisoformat(day if _DATE.fullmatch(day) else "")
    except ValueError as error:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="time", value=day) from error
    if not FIRST_DAY <= rate_date <= latest:
        raise RejectedValueError(Reason.UNREADABLE_FIELD, field="time", value=day)
    return ExchangeRate(rate_date, currency, price(value, field="rate"))


def _rows(body: bytes, *, place: str) -> list[tuple[str, str | None, str | None]]:
    """Return day, currency and rate of each innermost element, unchecked.

    Raises:
        IncompleteSnapshotError: the text ends before the document does.
        SchemaDriftError: not XML, another document, or one with a document type declaration.
    """
    rows: list[tuple[str, str | None, str | None]] = []
    path: list[tuple[str, str | None]] = []  # name and `time` of each open element

    def refuse(*_: object) -> None:
        raise drift(place, "a document type declaration, which a rate file never has and an HTML page does")

    def start(name: str, attributes: dict[str, str]) -> None:
        if not path and name != _ENVELOPE:
            raise drift(place, f"the document is a {one_line(name, limit=80)}")
        path.append((name, attributes.get("time")))
        if name == _CUBE and ("currency" in attributes or "rate" in attributes):
            day = path[-2][1]
            if day is None:
                raise drift(place, "a rate stands outside a day")
            rows.append((day, attributes.get("currency"), attributes.get("rate")))

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: path.pop()
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        if error.code in _CUT and body.lstrip()[:1] in (b"<", b""):
            raise IncompleteSnapshotError(f"{place}: the XML text ends too early; fetch it again") from error
        raise drift(place, f"not XML ({expat.errors.messages[error.code]}, line {error.lineno})") from error
    return rows


ECB = Ecb()
