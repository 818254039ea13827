"""What every price source promises, checked for each source in the registry."""

import csv
import dataclasses
import importlib
import json
import pkgutil
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from feeds import FEEDS, NOW, ROOT, FakeClock, Feed, parse_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scrapers.prices
from scrapers import VERSION
from scrapers.errors import DamagedLandingError, IncompleteSnapshotError, SchemaDriftError, ScrapeError
from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import KeyUse, SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import PriceRecord, Reason
from tests.fault_server import Answer, FaultServer, Request

every_source = pytest.mark.parametrize("name", sorted(FEEDS))
KEY = "canary-key"


def _pull(
    name: str, server: FaultServer, landing: Landing, client: HttpClient, *, api_key: str | None = None
) -> LandedEntry:
    """Pull now, with a key where the source needs one."""
    if PRICE_SOURCES[name].key is KeyUse.REQUIRED:
        api_key = KEY
    options = SourceOptions(base_url=server.url, api_key=api_key)
    return pull_dataset(PRICE_SOURCES[name], FEEDS[name].dataset, options, landing, now=client.now(), client=client)


def test_every_source_has_a_feed() -> None:
    missing = [f"tests/scrapers/feeds/{name}.py with a FEED" for name in sorted(PRICE_SOURCES.keys() - FEEDS.keys())]
    assert not missing, f"the contract suite cannot serve every price source: write {', '.join(missing)}"


def test_every_module_is_registered_once() -> None:
    modules = {
        module.name
        for module in pkgutil.iter_modules(scrapers.prices.__path__)
        if module.name not in ("base", "registry")
    }
    assert modules == set(PRICE_SOURCES)
    for name, source in PRICE_SOURCES.items():
        assert source.name == name
        assert type(source).__module__ == f"scrapers.prices.{name}"


def test_the_source_that_contributing_shows_works(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    """The two blocks of code as they stand: what they serve is pulled, landed and parsed; a price of 0 is rejected."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    module, feed = (textwrap.dedent(block) for block in re.findall(r"   ```python\n(.*?)   ```", text, re.DOTALL))
    shown: dict[str, Any] = {"__name__": "scrapers.prices.example"}
    exec(module, shown)  # noqa: S102 - our own documentation
    for heading in _HEADINGS:
        assert f"\n{heading}" in shown["__doc__"], heading
    source = shown["Example"]()
    exec(feed, shown)  # noqa: S102 - as above
    options = SourceOptions(base_url=server.url)
    shown["LIST"]["prices"].append({**shown["H100"], "machine": "preview", "hourly": 0})
    shown["FEED"].serve(server)
    entry = pull_dataset(source, shown["FEED"].dataset, options, landing, now=NOW, client=client)
    assert entry.kind is EntryKind.SNAPSHOT, entry.message
    parsed = source.parse(landing.open_snapshot(entry))
    assert [(r.sku_id, str(r.price_amount), str(r.gpu_count_raw)) for r in parsed.records] == [("h100x8", "23.92", "8")]
    assert [rejection.reason for rejection in parsed.rejections] == [Reason.PRICE_NOT_POSITIVE]


_HEADINGS = ("Endpoint", "Auth", "Paging", "A row", "Unit", "Quirks", "Verified")


@every_source
def test_sources_are_documented(name: str) -> None:
    source = PRICE_SOURCES[name]
    doc = importlib.import_module(type(source).__module__).__doc__ or ""
    for heading in _HEADINGS:
        assert f"\n{heading}" in doc, heading
    assert source.docs.startswith("https://")
    assert source.base_url.startswith("https://")
    assert source.title
    with (ROOT / "dbt" / "seeds" / "price_sources.csv").open(encoding="utf-8", newline="") as seed:
        listed = {row["source"]: row for row in csv.DictReader(seed)}
    assert name in listed, f"dbt/seeds/price_sources.csv does not say whose prices {name} publishes"
    assert listed[name]["provider"]
    assert listed[name]["declared_currency"] == source.currency
    assert source.datasets(SourceOptions()) != []
    assert source.hosts(SourceOptions()) == {source.base_url.removeprefix("https://")}
    assert source.key is not KeyUse.REQUIRED or source.api_key_env, "nobody can tell where the key is read from"
    assert source.key is not KeyUse.NONE or not source.api_key_env, "a key is named that is never used"


@every_source
def test_a_pull_lands_all_pages_and_parses(
    name: str, server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    FEEDS[name].serve(server)
    entry = _pull(name, server, landing, client)
    assert entry.kind is EntryKind.SNAPSHOT, entry.message
    parsed = PRICE_SOURCES[name].parse(landing.open_snapshot(entry))
    assert len(parsed.records) == FEEDS[name].record_count
    assert parsed.rejections == ()
    assert server.requests[-1].path == FEEDS[name].last_path
    assert entry.source_url
    assert entry.source_url.startswith(server.url)


@every_source
def test_parsing_is_deterministic_and_keeps_every_field_small(name: str, landing: Landing, tmp_path: Path) -> None:
    good = FEEDS[name].good
    first = parse_bytes(name, landing, good, directory=tmp_path)
    assert first.records != ()
    assert parse_bytes(name, landing, good, directory=tmp_path) == first
    for record in first.records:
        assert {field.name for field in dataclasses.fields(PriceRecord)} == set(PriceRecord.__slots__)
        assert record.price_currency == PRICE_SOURCES[name].currency
        assert record.price_amount > 0


@every_source
def test_the_same_answer_again_is_unchanged(
    name: str, server: FaultServer, landing: Landing, client: HttpClient, clock: FakeClock
) -> None:
    FEEDS[name].serve(server)
    first = _pull(name, server, landing, client)
    clock.elapsed += 60
    second = _pull(name, server, landing, client)
    assert (second.kind, second.snapshot_id) == (EntryKind.UNCHANGED, first.snapshot_id)
    clock.elapsed += 60
    third = _pull(name, server, landing, client)
    assert (third.kind, third.snapshot_id) == (EntryKind.UNCHANGED, first.snapshot_id)
    assert [entry.kind for entry in landing.entries(name)] == ["snapshot", "unchanged", "unchanged"]


@every_source
def test_a_page_that_is_not_found_is_asked_for_once(
    name: str, server: FaultServer, landing: Landing, client: HttpClient, clock: FakeClock
) -> None:
    entry = _pull(name, server, landing, client)  # nothing is served: everything is 404
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "PermanentError")
    assert f"{name}: {server.url}" in str(entry.message)
    assert "answered 404" in str(entry.message)
    assert [request.path for request in server.requests[1:]] == [path for path in [FEEDS[name].fallback_path] if path]
    assert clock.sleeps == []


@every_source
def test_throttling_is_waited_out(
    name: str, server: FaultServer, landing: Landing, client: HttpClient, clock: FakeClock
) -> None:
    with _first_failing(server, FEEDS[name], Answer(status=429, headers={"Retry-After": "3"})):
        entry = _pull(name, server, landing, client)
    assert entry.kind is EntryKind.SNAPSHOT, entry.message
    assert clock.sleeps == [3]


_LAST_PAGE_FAULTS = {
    "down": (Answer(status=503), "TransientError", "answered 503"),
    "forbidden": (Answer(status=403), "PermanentError", "answered 403"),
    "html": (Answer.html(), "SchemaDriftError", "HTML page where data is expected"),
    "cut": (Answer(cut_after=30), "IncompleteSnapshotError", "the body is cut"),
    "empty": (Answer(b""), "(IncompleteSnapshot|SchemaDrift)Error", "ends too early|does not begin"),
    "gzip cut": (Answer(cut_after=60), "IncompleteSnapshotError", "gzip body is cut"),
    "redirect": (Answer.redirect("http://169.254.169.254/"), "PermanentError", "refused"),
    "other shape": (Answer.json({"answer": 42}), "SchemaDriftError", "expected|absent|begin"),
    "a list": (Answer.json([1]), "SchemaDriftError", "object was expected|does not begin"),
}


@every_source
@pytest.mark.parametrize("fault", _LAST_PAGE_FAULTS)
def test_a_pull_that_fails_late_lands_nothing_but_the_failure(
    name: str, fault: str, server: FaultServer, landing: Landing, client: HttpClient, clock: FakeClock, tmp_path: Path
) -> None:
    if fault == "gzip cut" and not FEEDS[name].is_gzip_asked:
        pytest.skip(f"{name} never asks for a compressed answer")
    answer, error, message = _LAST_PAGE_FAULTS[fault]
    if "cut" in fault:
        answer = answer.but(body=FEEDS[name].good)
    if fault == "gzip cut":  # the length agrees: only the gzip itself is short
        packed = answer.gzipped()
        answer = packed.but(body=packed.body[:-9], cut_after=None)
    FEEDS[name].serve(server)
    good = _pull(name, server, landing, client)
    clock.elapsed += 60
    with FaultServer() as broken:
        (FEEDS[name].serve_newer or FEEDS[name].serve)(broken)
        assert _pull(name, broken, Landing(tmp_path / "whole"), client).kind is EntryKind.SNAPSHOT
        _break_last_answer(broken, answer)
        entry = _pull(name, broken, landing, client)
    assert entry.kind is EntryKind.FAILED
    assert re.fullmatch(error, str(entry.error))
    assert re.search(message, str(entry.message)), entry.message
    assert str(entry.message).startswith(f"{name}: ")
    assert [path.name for path in entry.path.iterdir()] == ["envelope.json"]
    assert landing.latest_snapshot(name, FEEDS[name].dataset) == good
    assert landing.remove_leftovers() == 0


@every_source
def test_a_damaged_previous_snapshot_is_reported_not_raised(
    name: str, server: FaultServer, landing: Landing, client: HttpClient, clock: FakeClock
) -> None:
    FEEDS[name].serve(server)
    (_pull(name, server, landing, client).path / "envelope.json").write_text("{")
    clock.elapsed += 60
    entry = _pull(name, server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, DamagedLandingError.__name__)


@every_source
def test_keys_reach_neither_landing_nor_logs(
    name: str,
    server: FaultServer,
    landing: Landing,
    client: HttpClient,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    FEEDS[name].serve(server)
    assert "canary" not in repr(SourceOptions(api_key=KEY))
    for failing in (False, True):
        if failing:
            server.answer = lambda _: Answer(status=500)
        clock.elapsed += 60
        _pull(name, server, landing, client, api_key=KEY)
    written = b"".join(path.read_bytes() for path in landing.root.rglob("*") if path.is_file())
    assert b"canary" not in written
    assert "canary" not in caplog.text
    assert [entry.kind for entry in landing.entries(name)] == ["snapshot", "failed"]


@every_source
def test_a_key_is_sent_where_it_is_used_and_nowhere_else(
    name: str, server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    """Whether a source that needs one is skipped without, tests/test_source_keys.py asks."""
    FEEDS[name].serve(server)
    _pull(name, server, landing, client, api_key=KEY)
    is_sent = any(KEY in f"{request.headers} {request.query} {request.body!r}" for request in server.requests)
    assert is_sent == (PRICE_SOURCES[name].key is not KeyUse.NONE)


@every_source
def test_a_mistyped_region_fails_alone(name: str, server: FaultServer, landing: Landing, client: HttpClient) -> None:
    options = SourceOptions(base_url=server.url)
    entry = pull_dataset(PRICE_SOURCES[name], "US East/../x", options, landing, now=NOW, client=client)
    assert (entry.kind, entry.dataset, entry.error) == (EntryKind.FAILED, "us-east-..-x", "PermanentError")
    assert "'US East/../x' is not a dataset: check the regions" in str(entry.message)
    assert server.requests == []


def test_the_version_in_envelopes_is_the_project_version() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


@every_source
def test_one_bad_byte_in_landing_never_becomes_a_price(
    name: str, server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    FEEDS[name].serve(server)
    entry = _pull(name, server, landing, client)
    path = entry.payloads[-1].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DamagedLandingError):
        PRICE_SOURCES[name].parse(landing.open_snapshot(entry))


@every_source
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", ScrapeError),
        (b"<html>", ScrapeError),
        (b"{", IncompleteSnapshotError),
        (b'{"a": 1}', SchemaDriftError),
        (b"null", SchemaDriftError),
        (b"PK\x03\x04", SchemaDriftError),
    ],
)
def test_other_files_are_refused_as_a_whole(
    name: str, body: bytes, error: type[ScrapeError], landing: Landing, tmp_path: Path
) -> None:
    with pytest.raises(error, match=f"{name}: part0.txt"):
        parse_bytes(name, landing, body, directory=tmp_path)


_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats()
    | st.sampled_from(["", "USD", "1.5", "NaN", "x"])
)


@every_source
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mutation_of_an_answer_is_parsed_or_refused(
    name: str, data: st.DataObject, landing: Landing, tmp_path: Path
) -> None:
    """One value of a good answer is replaced or removed: records, rejections or a ScrapeError, never another error."""
    mutated = json.loads(json.dumps(FEEDS[name].good_json) if FEEDS[name].good_json else FEEDS[name].good)
    container, key = data.draw(st.sampled_from(list(_places(mutated))))
    if data.draw(st.booleans()):
        del container[key]
    else:
        container[key] = data.draw(_scalars | st.just([]) | st.just({}) | st.just([[]]) | st.just({"a": {"b": None}}))
    try:
        parsed = parse_bytes(name, landing, json.dumps(mutated).encode(), directory=tmp_path)
    except ScrapeError:
        return
    for record in parsed.records:
        assert record.price_amount > 0
        assert record.price_currency == PRICE_SOURCES[name].currency
        assert record.sku_id


def _places(value: object) -> Iterator[tuple[object, object]]:
    """Every (container, key) below a JSON value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in list(members):
        yield value, key
        yield from _places(member)


def _first_failing(server: FaultServer, feed: Feed, answer: Answer) -> "_Patched":
    feed.serve(server)
    return _Patched(server, answer)


class _Patched:
    """The first request, whatever it is, gets this answer; all others are served as usual."""

    def __init__(self, server: FaultServer, answer: Answer) -> None:
        self._server, self._answer, self._real = server, answer, server.answer

    def __enter__(self) -> None:
        self._server.answer = lambda request: (
            self._real(request) if self._server.requests else (self._server.requests.append(request), self._answer)[1]
        )

    def __exit__(self, *_: object) -> None:
        del self._server.answer


def _break_last_answer(server: FaultServer, answer: Answer) -> None:
    """Serve the fault from where the last answer of the whole pull before came; as often as it is asked for."""
    whole, last = server.answer, len(server.requests)
    server.requests.clear()

    def last_broken(request: Request) -> Answer:
        served = whole(request)
        return answer if len(server.requests) >= last else served

    server.answer = last_broken
