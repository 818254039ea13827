"""What the price source tests share: a clock that does not wait, and how each source is served (`FEEDS`).

One module per source, of the source's name: answers written by hand in the provider's shape, and `FEED`, from which the
contract suite (`test_price_sources.py`) serves the source whole and broken. Figures are list prices of 2026 unless a
test says otherwise.
"""

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from scrapers.landing import Landing
from scrapers.prices.base import parse_snapshot
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot
from scrapers.snapshot import Origin
from tests.fault_server import FaultServer

RECORDED = datetime(2026, 10, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 6, 0, 0, tzinfo=UTC)

ROOT = Path(__file__).parents[3]


@dataclass
class FakeClock:
    """Time that passes only when somebody sleeps."""

    elapsed: float = 0.0
    sleeps: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.elapsed += seconds

    def monotonic(self) -> float:
        return self.elapsed

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.elapsed)


@dataclass(frozen=True, kw_only=True)
class Feed:
    """How a test serves one source.

    Args:
        dataset: the one that is pulled.
        serve: lets a server answer a whole pull, well.
        serve_newer: the same with a newer version, for a source that does not download a version it has.
        last_path: where the last answer of a whole pull comes from.
        fallback_path: what is asked where the first address is refused.
        record_count: records in what `serve` serves.
        good: one payload as landed.
        good_json: a payload in JSON, where `good` is in another format.
        is_gzip_asked: whether the source asks for compressed answers; a library of the provider may not.
    """

    dataset: str
    serve: Callable[[FaultServer], object]
    serve_newer: Callable[[FaultServer], object] | None = None
    last_path: str
    fallback_path: str | None = None
    record_count: int
    good: bytes
    good_json: object = None
    is_gzip_asked: bool = True


def parse_bytes(source: str, landing: Landing, *bodies: bytes, directory: Path) -> ParsedSnapshot:
    """Land bodies as a replay, through the same path as a live answer, and parse what was landed."""
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / f"part{number}.txt" for number, _ in enumerate(bodies)]
    for file, body in zip(files, bodies, strict=True):
        file.write_bytes(body)
    entry = landing.land_files(source, FEEDS[source].dataset, files, RECORDED, Origin.REPLAY)
    return parse_snapshot(PRICE_SOURCES[source], landing.open_snapshot(entry))


def dumps(value: object) -> bytes:
    return json.dumps(value).encode()


# At the end: the modules take `Feed` and `dumps` from here. A source without one fails a test that says what to write.
FEEDS: dict[str, Feed] = {
    name: importlib.import_module(f"feeds.{name}").FEED for name in PRICE_SOURCES if find_spec(f"feeds.{name}")
}
