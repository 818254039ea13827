"""What a price source is, and the one way to pull it.

A provider module holds what is particular to one provider: addresses, paging, field paths. `fetch` does the I/O and
keeps bytes, `parse` is pure and can be run again on any landed snapshot.
"""

import hashlib
import json
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, urljoin, urlsplit, urlunsplit

from scrapers.errors import IncompleteSnapshotError, PermanentError, SchemaDriftError, ScrapeError
from scrapers.http import HttpClient, Response, parse_json
from scrapers.landing import LandedEntry, Landing, Stage, StoredFile
from scrapers.records import ParsedSnapshot
from scrapers.snapshot import Origin, Payload, Snapshot

_log = logging.getLogger(__name__)
_Parsed = TypeVar("_Parsed", covariant=True)

# The longest list seen: Azure's, all regions together, was about 150 pages in 2026.
PAGE_CAP = 200


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


class KeyUse(StrEnum):
    """Whether a source asks for an API key."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """One attempt at one dataset: what `fetch` gets.

    Args:
        source: whose `fetch` is called.
        client: may contact the hosts of the source, and no other.
        dataset: one of the source's `datasets`.
        options: what the ledger says about the source.
        stage: takes the payloads.
        previous: the newest attempt that succeeded, None at the first one.
    """

    source: "Source"
    client: HttpClient
    dataset: str
    options: SourceOptions
    stage: Stage
    previous: LandedEntry | None

    @property
    def region(self) -> str:
        """The provider's own code of the region this dataset is about."""
        return self.source.region(self.dataset)

    @property
    def bearer(self) -> dict[str, str]:
        """The header that carries the API key; none without a key."""
        return {"Authorization": f"Bearer {self.options.api_key}"} if self.options.api_key else {}

    def url(self, path: str) -> str:
        """Return the URL of a path on the host to ask."""
        return self.source.address(self.options, path)

    def json(self, answer: Response[bytes], *, place: str | None = None) -> Any:
        """Return the JSON value of an answer; `place` is what messages call it, the dataset if not given."""
        return parse_json(answer.body, place=place or self.dataset)

    def keep(self, answer: Response[bytes] | Response[StoredFile], name: str | None = None) -> None:
        """Make an answer part of the snapshot, as `<dataset>.json` if not named."""
        self.stage.keep(
            name or f"{self.dataset}.json",
            answer.body,
            url=answer.url,
            params=answer.params,
            status=answer.status,
            headers=answer.headers,
        )


class Source(ABC):
    """Something that is pulled over HTTP and landed. Implementations are stateless.

    `fetch` and `parse` are called through `pull_dataset` and `parse_snapshot`, which put the source's name before the
    message of every error.

    Attributes:
        name: registry key, name of the module, and directory in the landing room.
        title: for people.
        docs: where the provider documents the feed.
        base_url: scheme and host asked by default.
        key: whether an API key is needed. Without a required one the source is skipped, which is no failure.
        api_key_env: environment variable the key is read from unless the ledger names another. None: a key is sent only
            where the ledger names a variable, for a key that is not needed had better stay at home.
        default_regions: asked when the ledger names none; empty where one list holds for all regions.
        dataset: the name of that one list; not used where there are regions.
        dataset_prefix: what stands before the region in the name of a region's dataset.
        currency: ISO 4217 code of its prices, as the seed `price_sources` declares it; the gate refuses any other.
    """

    name: str
    title: str
    docs: str
    base_url: str
    key: KeyUse = KeyUse.NONE
    api_key_env: str | None = None
    default_regions: tuple[str, ...] = ()
    dataset: str = "prices"
    dataset_prefix: str = ""
    currency: str = "USD"

    def hosts(self, options: SourceOptions) -> frozenset[str]:
        """Return the host names a pull may contact."""
        return frozenset({urlsplit(self.address(options)).hostname or ""})

    def address(self, options: SourceOptions, path: str = "") -> str:
        """Return the URL of a path on the host to ask."""
        return (options.base_url or self.base_url).rstrip("/") + path

    def datasets(self, options: SourceOptions) -> list[str]:
        """Return the units that are whole or refused: one per region, or the one list."""
        if not self.default_regions:
            return [self.dataset]
        return [self.dataset_prefix + region for region in options.regions or self.default_regions]

    def region(self, dataset: str) -> str:
        """Return the region a dataset is about, in the provider's own code."""
        return dataset.removeprefix(self.dataset_prefix)

    def unready(self) -> str | None:
        """Return what this machine lacks to ask the source (an extra, credentials), and the remedy; None if nothing.

        Such a source is skipped like one without its API key, which is no failure.
        """
        return None

    @abstractmethod
    def fetch(self, pull: Pull) -> Fetched | Unchanged:
        """Put every payload of the dataset into the stage, or say that nothing changed. I/O only.

        Raises:
            ScrapeError: the dataset is not whole; the caller drops the stage.
        """


class PriceSource(Source):
    """One publisher of prices."""

    @abstractmethod
    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        """Return what a snapshot says. Pure: the same bytes give the same result.

        Raises:
            ScrapeError: the snapshot as a whole is not what this source publishes.
        """


class Parser(Protocol[_Parsed]):
    """What reads a landed snapshot: a price source, the exchange rates, the price overrides."""

    name: str

    def parse(self, snapshot: Snapshot) -> _Parsed:
        """Return what a snapshot says. Pure: the same bytes give the same result."""


def pull_dataset(
    source: Source,
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
            pull = Pull(source=source, client=client, dataset=dataset, options=options, stage=stage, previous=previous)
            outcome = source.fetch(pull)
        except ScrapeError as error:
            error.source = error.source or source.name
            _log.warning("%s/%s: %s: %s", source.name, dataset, type(error).__name__, error)
            return stage.commit_failed(error)
        if previous and previous.snapshot_id:
            same_bytes = isinstance(outcome, Fetched) and previous.snapshot_id.endswith(f"/{stage.content}")
            if same_bytes or isinstance(outcome, Unchanged):
                return stage.commit_unchanged(previous, change_key=outcome.change_key)
        return stage.commit(change_key=outcome.change_key)


def parse_snapshot(source: Parser[_Parsed], snapshot: Snapshot) -> _Parsed:
    """Return what a snapshot says.

    Raises:
        ScrapeError: the snapshot as a whole is not what this source publishes, or its bytes are damaged.
    """
    try:
        return source.parse(snapshot)
    except ScrapeError as error:
        error.source = error.source or source.name
        raise


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a walk: its JSON value, numbers exact; its number from 1; what messages call it."""

    value: Any
    number: int
    place: str


# The items of a page, and the way to the next one: its address (absolute, or relative to this one), or the parameters
# that change in the question; None or empty at the end.
ReadPage = Callable[[Page], tuple[Sequence[object], str | Mapping[str, str] | None]]


def walk_pages(
    pull: Pull,
    path: str,
    read: ReadPage,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> int:
    """Keep every page of a paged JSON list, and return how many items they hold.

    Links to another host are refused by the client.

    Args:
        pull: whose stage takes the pages.
        path: of the first page.
        read: tells items and next page, and raises where a page is not whole.
        params: of the first page's question.
        headers: sent with every page.

    Raises:
        IncompleteSnapshotError: a page is repeated, empty with a next one, or links back; or there is no end of them.
    """
    url, asked = pull.url(path), dict(params or {})
    ways: set[str] = set()
    contents: set[str] = set()
    item_count = 0
    for number in range(1, PAGE_CAP + 1):
        answer = pull.client.get(url, params=asked, headers=headers)
        place = f"page-{number:03}"
        items, following = read(Page(pull.json(answer, place=place), number, place))
        item_count += len(items)
        content = hashlib.sha256(json.dumps(items, default=str).encode()).hexdigest()
        if items and content in contents:
            raise IncompleteSnapshotError(
                f"{pull.dataset} {place} repeats an earlier page, so others were lost; fetch again"
            )
        contents.add(content)
        pull.keep(answer, f"{place}.json")
        if not following:
            return item_count
        way = following if isinstance(following, str) else json.dumps(dict(following), sort_keys=True)
        if not items or way in ways:
            what = "is empty but has a next page" if not items else "links back to a page already read"
            raise IncompleteSnapshotError(f"{pull.dataset} {place} {what}; fetch again")
        ways.add(way)
        if isinstance(following, str):
            parts = urlsplit(urljoin(url, following))
            url, asked = urlunsplit(parts._replace(query="")), dict(parse_qsl(parts.query))
        else:
            asked |= following
    raise IncompleteSnapshotError(f"{pull.dataset}: more than {PAGE_CAP} pages")


def json_payloads(snapshot: Snapshot) -> Iterator[tuple[Payload, Any]]:
    """Yield each payload with its JSON value, numbers exact."""
    for payload in snapshot.payloads:
        with payload.open() as stream:
            yield payload, parse_json(stream.read(), place=payload.name)


def expect_object(value: object, *, place: str) -> Mapping[str, Any]:
    """Return a JSON object, or say that the source changed its shape."""
    if not isinstance(value, dict):
        raise drift(place, f"a JSON object was expected, not {type(value).__name__}")
    return value


def expect_list(value: object, name: str, *, place: str) -> list[Any]:
    """Return a list field of a JSON object, or say that the source changed its shape."""
    found = expect_object(value, place=place)
    items = found.get(name)
    if not isinstance(items, list):
        raise drift(place, f"field {name!r} is {'absent' if name not in found else 'not a list'}")
    return items


def expect_rows(value: object, *, place: str) -> list[Any]:
    """Return the rows of an answer that is a bare JSON list of objects, or say that the source changed its shape."""
    if not isinstance(value, list):
        raise drift(place, f"a JSON list was expected, not {type(value).__name__}")
    if value and not any(isinstance(row, dict) for row in value):
        expect_object(value[0], place=place)
    return value


def drift(place: str, what: str) -> SchemaDriftError:
    """Return the error for an answer of another shape than the one this module was written for."""
    return SchemaDriftError(f"{place}: {what}. The feed has changed, or this is not its answer")
