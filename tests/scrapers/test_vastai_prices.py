"""Vast.ai: a market told by quantiles. Golden figures of 2026-10."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.vastai import VASTAI_PATH, serve_vastai, vastai_answer, vastai_offer

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import Answer, FaultServer

VASTAI = PRICE_SOURCES["vastai"]
SAMPLE = "prices/vastai/ewyluda_bundles_offers_2026-10.json"
# USD per GPU-hour: minimum, lower quartile, median; the machines of each group sorted by price and their GPUs added
# up by hand. The recording has no machine ids, so each distinct offer is a machine: 10 H100 PCIE offers hold 25 GPUs,
# and the 7th (a quarter is 6.25) and the 13th (half is 12.5) are among the eight of the offer at 20.70553162962963,
# which is 2.58819145 for each. L40S: 24 offers, 82 GPUs. A100 SXM4 40 GB: 26 offers, 58 GPUs, one of them stated as
# 39936 MiB.
GOLDEN_2026_10 = {
    "A100 PCIE 40GB unstated": ("0.44444444", "0.60518519", "0.73592593"),
    "A100 PCIE 80GB unstated": ("0.68370370", "0.93388889", "0.93388889"),
    "A100 SXM4 40GB unstated": ("0.29407407", "0.44064815", "0.59388889"),
    "A100 SXM4 80GB unstated": ("0.93388889", "1.00148148", "1.62694444"),
    "B200 180GB unstated": ("6.25104167", "8.12630208", "8.12630208"),
    "H100 NVL 94GB unstated": ("2.26814815", "3.12027778", "3.12027778"),
    "H100 PCIE 80GB unstated": ("1.93555556", "2.58819145", "2.58819145"),
    "H100 SXM 80GB unstated": ("2.09742222", "2.40222222", "3.13866667"),
    "L40S 48GB unstated": ("0.46685185", "0.60018519", "0.80037037"),
}
STATISTICS = ("minimum", "lower_quartile", "median")
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *offers: parse_bytes("vastai", landing, dumps(vastai_answer(*offers)), directory=tmp_path)


def pull(server: FaultServer, landing: Landing, client: HttpClient) -> LandedEntry:
    return pull_dataset(VASTAI, "offers", SourceOptions(base_url=server.url), landing, now=NOW, client=client)


def asked_ids(server: FaultServer) -> list[int]:
    return [json.loads(request.query["q"])["id"]["gt"] for request in server.requests]


def by_group(parsed: ParsedSnapshot) -> dict[str, tuple[str, ...]]:
    """Prices of each SKU in the order of STATISTICS; fails unless all three are there."""
    found = {(r.sku_id, r.offering_class_raw): str(r.price_amount) for r in parsed.records}
    return {sku: tuple(found[sku, statistic] for statistic in STATISTICS) for sku in {sku for sku, _ in found}}


def test_golden_quantiles_through_the_api(
    sample: Callable[[str], Path], server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    """The recording has no ids: its offers are numbered here, and equal ones are one machine."""
    recorded = json.loads(sample(SAMPLE).read_text())
    offers = [{"id": n, "machine_id": recorded.index(offer), **offer} for n, offer in enumerate(recorded, start=1)]
    serve_vastai(server, offers, cap=64)
    entry = pull(server, landing, client)
    assert asked_ids(server) == [0, 64, 128, 138]
    parsed = VASTAI.parse(landing.open_snapshot(entry))
    assert by_group(parsed) == GOLDEN_2026_10
    assert parsed.rejections == ()


def test_golden_quantiles_of_the_recording(sample: Callable[[str], Path], landing: Landing, tmp_path: Path) -> None:
    """138 offers, 119 of them distinct; H200 has four, too few for a market."""
    parsed = parse_bytes("vastai", landing, sample(SAMPLE).read_bytes(), directory=tmp_path)
    assert by_group(parsed) == GOLDEN_2026_10
    assert {r.price_unit_raw for r in parsed.records} == {"GPU hour (dph_total / num_gpus)"}
    assert parsed.rejections == ()
    assert parsed.skipped == {
        "another_slice_of_the_machine": 19,
        "fewer_than_5_machines": 4,
        "no_minimum_bid": 138,
    }


def test_a_walk_goes_on_until_an_answer_is_empty(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    """150 offers, cut at 64 whatever the limit says: nothing is lost, and the end is seen, not assumed."""
    offers = [vastai_offer(number) for number in range(1, 151)]
    serve_vastai(server, offers, cap=64)
    entry = pull(server, landing, client)
    assert asked_ids(server) == [0, 20_000_064, 20_000_128, 20_000_150]
    assert [payload.name for payload in entry.payloads] == [f"page-00{number}.json" for number in (1, 2, 3, 4)]
    question = json.loads(server.requests[0].query["q"])
    assert question == {
        "type": "on-demand",
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "id": {"gt": 0},
        "order": [["id", "asc"]],
        "limit": 1000,
    }


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([2, 1], "not in the order of 'id'"),
        ([1, 1], "not in the order of 'id'"),
        ([0, 1], "not in the order of 'id'"),
        ([1, None], "a number as its 'id'"),
        ([1, "2"], "a number as its 'id'"),
    ],
)
def test_answers_out_of_order_are_refused(
    ids: list[Any], message: str, server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    server.add(VASTAI_PATH, Answer.json(vastai_answer(*(vastai_offer(id=number) for number in ids))))
    entry = pull(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "SchemaDriftError")
    assert message in str(entry.message)


def test_a_server_that_ignores_the_id_is_refused(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    server.add(VASTAI_PATH, Answer.json(vastai_answer(vastai_offer())))
    entry = pull(server, landing, client)
    assert (entry.kind, len(server.requests)) == (EntryKind.FAILED, 2)


def test_no_offers_are_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_vastai(server, [])
    assert pull(server, landing, client).error == "IncompleteSnapshotError"


def test_a_machine_counts_once_by_its_largest_slice(parse: Parse) -> None:
    """Machine 50001 is offered as 1, 2 and 8 GPUs; 8 for 16.00 are 2.00 each.

    Of the market's 12 GPUs a quarter is 3 and half is 6: both within the 8 at 2.00.
    """
    slices = [
        vastai_offer(1, 1.5, num_gpus=1, id=1),
        vastai_offer(1, 16, num_gpus=8, id=2),
        vastai_offer(1, 3, num_gpus=2, id=3),
    ]
    others = [vastai_offer(number, 3) for number in (2, 3, 4, 5)]
    parsed = parse(*slices, *others)
    on_demand = [str(r.price_amount) for r in parsed.records if r.pricing_model_raw == "on-demand"]
    assert on_demand == ["2.00000000"] * 3
    assert parsed.skipped == {"another_slice_of_the_machine": 4}  # two offers, each with its price and its bid


def test_quantiles_weigh_machines_by_their_gpus(parse: Parse) -> None:
    """GPUs 1, 1, 2, 4, 8 at 1, 2, 3, 4, 5 each: of 16 a quarter is the 4th, at 3, and half the 8th, at 4."""
    gpus = (1, 1, 2, 4, 8)
    parsed = parse(*(vastai_offer(n, n * gpus[n - 1], num_gpus=gpus[n - 1]) for n in range(1, 6)))
    prices = {(r.pricing_model_raw, r.offering_class_raw): r.price_amount for r in parsed.records}
    assert prices == {
        ("on-demand", "minimum"): 1,
        ("on-demand", "lower_quartile"): 3,
        ("on-demand", "median"): 4,
        ("bid", "minimum"): Decimal("0.5"),
        ("bid", "lower_quartile"): Decimal("1.5"),
        ("bid", "median"): 2,
    }


def test_a_record_names_gpu_memory_tier_and_statistic(parse: Parse) -> None:
    record = parse(*(vastai_offer(n) for n in range(5))).records[0]
    assert (record.sku_id, record.gpu_name_raw, record.gpu_memory_gb_raw) == ("H100 SXM 80GB", "H100 SXM", 80)
    assert (record.pricing_model_raw, record.offering_class_raw) == ("on-demand", "minimum")
    assert (record.instance_type, record.gpu_count_raw, record.region_raw) == (None, 1, "global")
    assert (record.price_amount, record.price_unit_raw) == (Decimal("2.4"), "GPU hour (dph_base / num_gpus)")
    assert record.is_available is True


@pytest.mark.parametrize(
    ("name", "mib", "sku"),
    [
        ("A100 SXM4", 40960, "A100 SXM4 40GB"),
        ("A100 SXM4", 39936, "A100 SXM4 40GB"),
        ("A100 SXM4", 81920, "A100 SXM4 80GB"),
        ("L40S", 46068, "L40S 48GB"),  # with ECC
        ("L4", 22888, "L4 24GB"),
        ("H100 NVL", 95830, "H100 NVL 94GB"),
        ("RTX PRO 6000 S", 97887, "RTX PRO 6000 S 96GB"),
        ("H200", 143771, "H200 141GB"),
        ("B200", 183359, "B200 180GB"),
        ("RTX 4090", 49140, "RTX 4090 48GB"),  # a card with the memory doubled is another card
        ("New", 225280, "New 220GB"),  # nothing is sold with a size near it
    ],
)
def test_memory_is_snapped_to_the_size_sold(parse: Parse, name: str, mib: int, sku: str) -> None:
    parsed = parse(*(vastai_offer(n, gpu_name=name, gpu_ram=mib) for n in range(5)))
    assert {r.sku_id for r in parsed.records} == {sku}


def test_tiers_and_purchase_options_are_never_mixed(parse: Parse) -> None:
    verified = [vastai_offer(n, 3) for n in range(5)]
    unverified = [vastai_offer(n, 1, verification="unverified") for n in range(5, 10)]
    outside = [
        vastai_offer(20, 1, verification="deverified"),
        vastai_offer(21, 1, rented=True),
        vastai_offer(22, 1, rentable=False),
        vastai_offer(23, 1, is_bid=True),
    ]
    parsed = parse(*verified, *unverified, *outside)
    assert {(r.sku_id, r.pricing_model_raw, str(r.price_amount)) for r in parsed.records} == {
        ("H100 SXM 80GB", "on-demand", "3.00000000"),
        ("H100 SXM 80GB", "bid", "1.50000000"),
        ("H100 SXM 80GB unverified", "on-demand", "1.00000000"),
        ("H100 SXM 80GB unverified", "bid", "0.50000000"),
    }
    assert parsed.skipped == {"deverified": 1, "not_rentable_on_demand": 3}


def test_four_machines_are_no_market(parse: Parse) -> None:
    parsed = parse(*(vastai_offer(n, min_bid=0) for n in range(4)))
    assert parsed.records == ()
    assert parsed.skipped == {"fewer_than_5_machines": 4, "no_minimum_bid": 4}


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"dph_base": 0}, Reason.PRICE_NOT_POSITIVE, "dph_base"),
        ({"dph_base": -1}, Reason.PRICE_NOT_POSITIVE, "dph_base"),
        ({"dph_base": None}, Reason.MISSING_FIELD, "dph_base"),
        ({"dph_base": float("nan")}, Reason.PRICE_NOT_FINITE, "dph_base"),
        ({"dph_base": 1e300}, Reason.PRICE_OUT_OF_RANGE, "dph_base"),
        ({"dph_base": 1e-12}, Reason.PRICE_NOT_POSITIVE, "dph_base"),  # nothing is left of it at eight decimals
        ({"dph_base": "cheap"}, Reason.UNREADABLE_FIELD, "dph_base"),
        ({"num_gpus": 0}, Reason.UNREADABLE_FIELD, "num_gpus"),
        ({"num_gpus": 0.5}, Reason.UNREADABLE_FIELD, "num_gpus"),
        ({"num_gpus": None}, Reason.MISSING_FIELD, "num_gpus"),
        ({"gpu_ram": None}, Reason.MISSING_FIELD, "gpu_ram"),
        ({"gpu_ram": 80}, Reason.UNREADABLE_FIELD, "gpu_ram"),  # GB where MiB are expected
        ({"gpu_name": None}, Reason.MISSING_FIELD, "gpu_name"),
        ({"machine_id": "m"}, Reason.UNREADABLE_FIELD, "machine_id"),
    ],
)
def test_bad_offers_are_rejected_and_the_market_kept(
    parse: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    good = [vastai_offer(n, min_bid=None) for n in range(5)]
    parsed = parse(good[0], vastai_offer(9, **({"min_bid": None} | change)), "text", *good[1:])
    assert len(parsed.records) == 3
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "offers")]
    assert parsed.rejections[0].location == "part0.txt offer 2"
