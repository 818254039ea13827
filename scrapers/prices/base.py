"""What a price source is, and the one way to pull it.

A provider module holds what is particular to one provider: addresses, paging, field paths. `fetch` does the I/O and
keeps bytes, `parse` is pure and can be run again on any landed snapshot.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from scrapers.errors import PermanentError, SchemaDriftError, ScrapeError
from scrapers.http import HttpClient, parse_json
from scrapers.landing import LandedEntry, Landing, Stage
from scrapers.records import ParsedSnapshot
from scrapers.snapshot import Origin, Payload, Snapshot

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What `ledger.yaml` says about one source.

    Args:
        regions: in the provider's own codes; empty for the source's default regions.
        base_url: scheme and host to ask instead of the provider's own: a mirror, or a test server.
        api_key: already read from the environment by the settings; never logged or landed.
    """

    regions: tuple[str, ...] = ()
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The stage holds a whole snapshot. `change_key` is the source's own word for this version, if it has one."""

    change_key: str | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The source says that the previous snapshot still holds; nothing was downloaded."""

    change_key: str


class PriceSource(Protocol):
    """One publisher of prices. Implementations are stateless and inherit from this class.

    Attributes:
        name: registry key, and directory in the landing room.
        provider: whose prices these are; differs from `name` where one provider has two sources.
        title: for people.
        docs: where the provider documents the feed.
        base_url: scheme and host asked by default.
        default_regions: asked when the ledger names none; empty where prices are global.
    """

    name: str
    provider: str
    title: str
    docs: str
    base_url: str
    default_regions: tuple[str, ...]

    def hosts(self, options: SourceOptions) -> frozenset[str]:
        """Return the host names a pull may contact."""
        return frozenset({urlsplit(self.address(options)).hostname or ""})

    def address(self, options: SourceOptions, path: str = "") -> str:
        """Return the URL of a path on the host to ask."""
        return (options.base_url or self.base_url).rstrip("/") + path

    def datasets(self, options: SourceOptions) -> list[str]:
        """Return the units that are whole or refused."""
        ...

    def fetch(
        self,
        client: HttpClient,
        dataset: str,
        options: SourceOptions,
        *,
        stage: Stage,
        previous: LandedEntry | None,
    ) -> Fetched | Unchanged:
        """Put every payload of the dataset into the stage, or say that nothing changed. I/O only.

        Raises:
            ScrapeError: the dataset is not whole; the caller drops the stage.
        """
        ...

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return what a snapshot says. Pure: the same bytes give the same result.

        Raises:
            ScrapeError: the snapshot as a whole is not what this source publishes.
        """
        ...


def pull(
    source: PriceSource,
    dataset: str,
    options: SourceOptions,
    landing: Landing,
    *,
    now: datetime,
    client: HttpClient | None = None,
) -> LandedEntry:
    """Fetch one dataset now and land the outcome: a snapshot, `unchanged`, or `failed` with the reason.

    A provider that is down, slow or talking nonsense never raises here. What does raise is our own side: a landing
    room that cannot be written, and programming errors.
    """
    client = client or HttpClient(source.hosts(options))
    # A region mistyped in the ledger must fail this dataset and no other, so the failure needs a name that can land.
    landed_as = re.sub(r"[^a-z0-9._-]+", "-", dataset.lower(), flags=re.ASCII).strip("._-") or "unnamed"
    with landing.stage(source.name, landed_as, fetched_at=now, origin=Origin.LIVE) as stage:
        if landed_as != dataset:
            mistyped = f"{dataset!r} is not a dataset: check the regions of this source"
            return stage.commit_failed(PermanentError(mistyped, source=source.name))
        try:
            previous = landing.latest_confirmed(source.name, dataset)
            outcome = source.fetch(client, dataset, options, stage=stage, previous=previous)
        except ScrapeError as error:
            error.source = error.source or source.name
            _log.warning("%s/%s: %s: %s", source.name, dataset, type(error).__name__, error)
            return stage.commit_failed(error)
        if previous and previous.snapshot_id:
            same_bytes = isinstance(outcome, Fetched) and previous.snapshot_id.endswith(f"/{stage.content}")
            if same_bytes or isinstance(outcome, Unchanged):
                return stage.commit_unchanged(previous, change_key=outcome.change_key)
        return stage.commit(change_key=outcome.change_key)


def json_payloads(snapshot: Snapshot) -> Iterator[tuple[Payload, Any]]:
    """Yield each payload with its JSON value, numbers exact."""
    for payload in snapshot.payloads:
        with payload.open() as stream:
            yield payload, parse_json(stream.read(), source=snapshot.source, place=payload.name)


def expect_object(value: object, *, source: str, place: str) -> Mapping[str, Any]:
    """Return a JSON object, or say that the source changed its shape."""
    if not isinstance(value, dict):
        raise drift(source, place, f"a JSON object was expected, not {type(value).__name__}")
    return value


def expect_list(value: Mapping[str, Any], name: str, *, source: str, place: str) -> list[Any]:
    """Return a list field of a JSON object, or say that the source changed its shape."""
    items = value.get(name)
    if not isinstance(items, list):
        raise drift(source, place, f"field {name!r} is {'absent' if name not in value else 'not a list'}")
    return items


def drift(source: str, place: str, what: str) -> SchemaDriftError:
    """Return the error for an answer of another shape than the one this module was written for."""
    return SchemaDriftError(f"{place}: {what}. The feed has changed, or this is not its answer", source=source)
