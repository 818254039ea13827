"""Walking paged lists the way four providers page: absolute links, a cursor, page numbers, a short last page.

What makes a walk not whole is tested on Azure (test_azure_prices.py), which uses the same loop.
"""

from collections.abc import Callable
from typing import Any

import pytest
from feeds import NOW

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import Fetched, Page, PriceSource, Pull, SourceOptions, pull_dataset, walk_pages
from scrapers.records import ParsedSnapshot
from scrapers.snapshot import Snapshot
from tests.fault_server import Answer, FaultServer, Request

ITEMS = [{"id": number} for number in range(5)]
Read = Callable[[Page], tuple[list[Any], Any]]


class Paged(PriceSource):
    """A list of sizes behind a key."""

    name = "paged"
    title = docs = base_url = "https://provider.example"

    def __init__(self, read: Read) -> None:
        self.read = read

    def fetch(self, pull: Pull) -> Fetched:
        count = walk_pages(pull, "/v2/sizes", self.read, params={"per_page": "2"}, headers=pull.bearer)
        return Fetched(change_key=str(count))

    def parse(self, snapshot: Snapshot) -> ParsedSnapshot:
        raise NotImplementedError


def walk(server: FaultServer, landing: Landing, client: HttpClient, read: Read) -> LandedEntry:
    options = SourceOptions(base_url=server.url, api_key="canary")
    return pull_dataset(Paged(read), "prices", options, landing, now=NOW, client=client)


def by_link(page: Page) -> tuple[list[Any], Any]:
    """DigitalOcean: `links.pages.next` is an address, absent on the last page."""
    return page.value["items"], page.value["links"].get("pages", {}).get("next")


def by_cursor(page: Page) -> tuple[list[Any], Any]:
    """Vultr: `meta.links.next` is a cursor, empty on the last page."""
    cursor = page.value["meta"]["links"]["next"]
    return page.value["items"], {"cursor": cursor} if cursor else None


def by_number(page: Page) -> tuple[list[Any], Any]:
    """Linode: `page` of `pages`."""
    number, last = page.value["page"], page.value["pages"]
    return page.value["items"], {"page": str(number + 1)} if number < last else None


def until_short(page: Page) -> tuple[list[Any], Any]:
    """Scaleway: the answer does not say; a page that is not full is the last."""
    items = page.value["items"]
    return items, {"page": str(page.number + 1)} if len(items) == 2 else None


@pytest.mark.parametrize(
    ("read", "asked"),
    [
        (by_link, [{"per_page": "2"}, {"per_page": "2", "page": "2"}, {"per_page": "2", "page": "3"}]),
        (by_cursor, [{"per_page": "2"}, {"per_page": "2", "cursor": "c2"}, {"per_page": "2", "cursor": "c3"}]),
        (by_number, [{"per_page": "2"}, {"per_page": "2", "page": "2"}, {"per_page": "2", "page": "3"}]),
        (until_short, [{"per_page": "2"}, {"per_page": "2", "page": "2"}, {"per_page": "2", "page": "3"}]),
    ],
)
def test_every_way_of_paging_is_walked_to_its_end(
    read: Read, asked: list[dict[str, str]], server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    def sizes(request: Request) -> Answer:
        number = int(request.query.get("page") or request.query.get("cursor", "1").removeprefix("c"))
        is_last = number == 3
        link = f"{server.url}/v2/sizes?per_page=2&page={number + 1}"
        return Answer.json(
            {
                "items": ITEMS[2 * number - 2 : 2 * number],
                "links": {} if is_last else {"pages": {"next": link}},
                "meta": {"links": {"next": "" if is_last else f"c{number + 1}"}},
                "page": number,
                "pages": 3,
            }
        )

    server.respond("/v2/sizes", sizes)
    entry = walk(server, landing, client, read)
    assert (entry.kind, entry.change_key) == (EntryKind.SNAPSHOT, "5")
    assert [payload.name for payload in entry.payloads] == ["page-001.json", "page-002.json", "page-003.json"]
    assert [request.query for request in server.requests] == asked
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer canary"}


def test_a_cursor_that_does_not_move_is_refused(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    pages = [Answer.json({"items": [item], "meta": {"links": {"next": "same"}}}) for item in ITEMS]
    server.add("/v2/sizes", *pages)
    entry = walk(server, landing, client, by_cursor)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")
    assert "paged: prices page-002 links back to a page already read" in str(entry.message)


def test_a_key_is_not_carried_to_another_host(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    with FaultServer() as other:
        foreign = other.url.replace("127.0.0.1", "localhost")
        server.add("/v2/sizes", Answer.json({"items": ITEMS, "links": {"pages": {"next": f"{foreign}/v2/sizes"}}}))
        entry = walk(server, landing, client, by_link)
        assert other.requests == []
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "PermanentError")
    assert "'localhost' is not one of this source's hosts" in str(entry.message)


def test_a_link_may_be_relative(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    first = {"items": ITEMS[:1], "links": {"pages": {"next": "?page=2"}}}
    server.add("/v2/sizes", Answer.json(first), Answer.json({"items": ITEMS[1:], "links": {}}))
    assert walk(server, landing, client, by_link).change_key == "5"
    assert [(request.path, request.query) for request in server.requests] == [
        ("/v2/sizes", {"per_page": "2"}),
        ("/v2/sizes", {"page": "2"}),
    ]
