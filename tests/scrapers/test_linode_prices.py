"""Linode: names in labels, prices of single regions, plans without a public price. Documented figures of 2026."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.linode import linode_page, linode_type, serve_linode

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import Answer, FaultServer

LINODE = PRICE_SOURCES["linode"]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *types: parse_bytes("linode", landing, dumps(linode_page(*types)), directory=tmp_path)


def pull(server: FaultServer, landing: Landing, client: HttpClient) -> LandedEntry:
    return pull_dataset(LINODE, "types", SourceOptions(base_url=server.url), landing, now=NOW, client=client)


def test_list_prices_of_2026_through_the_api(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    """RTX 4000 Ada by the types API on 2026-06-06 (0.52, 1.05, 2.96 for 1, 2, 4), RTX 6000 1.50 by Akamai's guide."""
    labels = {
        "g2-gpu-rtx4000a1-s": ("RTX4000 Ada x1 Small", 1, 0.52),
        "g2-gpu-rtx4000a2-s": ("RTX4000 Ada x2 Small", 2, 1.05),
        "g2-gpu-rtx4000a4-s": ("RTX4000 Ada x4 Small", 4, 2.96),
        "g1-gpu-rtx6000-1": ("Dedicated 32GB + RTX6000 GPU x1", 1, 1.5),
    }
    types = [
        linode_type(plan, label=label, gpus=count, price={"hourly": hourly, "monthly": hourly * 673})
        for plan, (label, count, hourly) in labels.items()
    ]
    serve_linode(server, types, page_size=3)
    entry = pull(server, landing, client)
    assert [request.query for request in server.requests] == [
        {"page_size": "500"},
        {"page_size": "500", "page": "2"},
    ]
    parsed = LINODE.parse(landing.open_snapshot(entry))
    assert [(r.sku_id, r.gpu_name_raw, r.gpu_count_raw, str(r.price_amount)) for r in parsed.records] == [
        ("g2-gpu-rtx4000a1-s", "RTX4000 Ada", 1, "0.52"),
        ("g2-gpu-rtx4000a2-s", "RTX4000 Ada", 2, "1.05"),
        ("g2-gpu-rtx4000a4-s", "RTX4000 Ada", 4, "2.96"),
        ("g1-gpu-rtx6000-1", "RTX6000", 1, "1.5"),
    ]
    assert {(r.region_raw, r.price_unit_raw, r.is_available) for r in parsed.records} == {
        ("global", "instance hour", None)
    }
    assert (parsed.rejections, parsed.skipped) == ((), {})


def test_region_prices_are_prices_of_their_own(parse: Parse) -> None:
    regional = [{"id": "id-cgk", "hourly": 0.62, "monthly": 420.0}, {"id": "br-gru", "hourly": 0.73, "monthly": 490.0}]
    parsed = parse(linode_type(region_prices=regional))
    assert {r.region_raw: str(r.price_amount) for r in parsed.records} == {
        "global": "0.52",
        "id-cgk": "0.62",
        "br-gru": "0.73",
    }
    assert {r.sku_id for r in parsed.records} == {"g2-gpu-rtx4000a1-s"}


def test_plans_without_gpu_or_public_price_are_no_offers(parse: Parse) -> None:
    parsed = parse(
        linode_type("g6-standard-2", gpus=0, **{"class": "standard"}),
        # Video accelerators.
        linode_type("g1-accelerated-netint-vpu-t1u1-s", gpus=0, accelerated_devices=1, **{"class": "accelerated"}),
        linode_type("g3-gpu-rtxpro6000-blackwell-1", price={"hourly": 0, "monthly": 0}),
        linode_type(),
    )
    assert [r.sku_id for r in parsed.records] == ["g2-gpu-rtx4000a1-s"]
    assert (parsed.rejections, parsed.skipped) == ((), {"no_gpu": 2, "not_open_to_everybody": 1})


def test_a_label_of_another_form_is_kept_whole(parse: Parse) -> None:
    (record,) = parse(linode_type(label="Blackwell Large")).records
    assert (record.gpu_name_raw, record.product_name_raw) == ("Blackwell Large", "Blackwell Large")


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"price": None}, Reason.UNREADABLE_FIELD, "price"),
        ({"price": {"monthly": 350}}, Reason.MISSING_FIELD, "hourly"),
        ({"price": {"hourly": False}}, Reason.PRICE_NOT_A_NUMBER, "hourly"),
        ({"price": {"hourly": -1}}, Reason.PRICE_NOT_POSITIVE, "hourly"),
        ({"gpus": "one"}, Reason.UNREADABLE_FIELD, "gpus"),
        ({"label": None}, Reason.MISSING_FIELD, "label"),
        ({"id": ""}, Reason.MISSING_FIELD, "id"),
    ],
)
def test_bad_plans_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, Any], reason: Reason, field: str
) -> None:
    parsed = parse(linode_type("g1"), linode_type("g2", **{"label": "x"}) | change, "text", linode_type("g3"))
    assert [r.sku_id for r in parsed.records] == ["g1", "g3"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "data")]
    assert parsed.rejections[0].location.startswith("part0.txt data[2]")


def test_a_bad_region_price_does_not_cost_the_others(parse: Parse) -> None:
    regional = [{"hourly": 0.6}, "text", {"id": "br-gru", "hourly": 0.73}]
    parsed = parse(linode_type(region_prices=regional))
    assert [r.region_raw for r in parsed.records] == ["global", "br-gru"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [
        (Reason.MISSING_FIELD, "id"),
        (Reason.UNREADABLE_FIELD, "price"),
    ]


@pytest.mark.parametrize(
    ("page", "error", "message"),
    [
        (linode_page(), "IncompleteSnapshotError", "0 plans arrived of 0"),
        (linode_page(linode_type(), results=75), "IncompleteSnapshotError", "1 plans arrived of 75"),
        ({"data": [linode_type()], "results": 1}, "SchemaDriftError", "'page' and 'pages' are not numbers"),
    ],
)
def test_a_list_that_is_not_whole_is_refused(
    server: FaultServer, landing: Landing, client: HttpClient, page: object, error: str, message: str
) -> None:
    server.add("/v4/linode/types", Answer.json(page))
    entry = pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, error)
    assert message in str(entry.message)
