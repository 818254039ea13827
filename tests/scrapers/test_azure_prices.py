"""Azure: paging that must be walked to its end, and meters that are told apart by words. Golden figures of 2026-10."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from feeds import NOW, dumps, parse_bytes
from feeds.azure import AZURE_PATH as PATH
from feeds.azure import azure_item, azure_page, serve_azure

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import Answer, FaultServer, Request

AZURE = PRICE_SOURCES["azure"]
Parse = Callable[..., ParsedSnapshot]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *items, **page: parse_bytes(
        "azure", landing, dumps(azure_page(list(items), **page)), directory=tmp_path
    )


def pull_region(server: FaultServer, landing: Landing, client: HttpClient, region: str = "eastus") -> LandedEntry:
    return pull_dataset(AZURE, region, SourceOptions(base_url=server.url), landing, now=NOW, client=client)


def _by_key(parsed: ParsedSnapshot) -> dict[tuple[str | None, str, str], Decimal]:
    return {(r.instance_type, r.region_raw, r.pricing_model_raw): r.price_amount for r in parsed.records}


def test_golden_prices_through_the_api_paging(
    sample: Callable[[str], Path], server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    """The 62 recorded items in pages of 25, 25 and 12: 25 Linux, 28 Windows, 9 Low Priority, counted by grep."""
    items = json.loads(sample("prices/azure/ewyluda_retail_prices_gpu_items_2026-10.json").read_text())
    serve_azure(server, items, page_size=25)
    entry = pull_region(server, landing, client)
    assert [payload.name for payload in entry.payloads] == ["page-001.json", "page-002.json", "page-003.json"]
    parsed = AZURE.parse(landing.open_snapshot(entry))
    prices = _by_key(parsed)
    assert prices["Standard_ND96isr_H100_v5", "eastus", "Consumption"] == Decimal("98.32")
    assert prices["Standard_ND96isr_H100_v5", "westus3", "Consumption"] == Decimal("98.32")
    assert prices["Standard_ND96isr_H100_v5", "japaneast", "Consumption"] == Decimal("142.564")
    assert prices["Standard_ND96isr_MI300X_v5", "northeurope", "Consumption"] == Decimal("57.6")
    assert prices["Standard_NC24ads_A100_v4", "westus3", "Consumption"] == Decimal("3.673")
    assert prices["Standard_NC24ads_A100_v4", "eastus", "Spot"] == Decimal("0.67877")
    # Anomaly 5: a spot meter at the on-demand price stays visible; judging it is not the parser's business.
    assert prices["Standard_ND96isr_H200_v5", "uksouth", "Spot"] == Decimal("106.0")
    assert parsed.rejections == ()
    assert (len(parsed.records), parsed.skipped) == (25, {"low_priority": 9, "windows": 28})
    assert {r.price_unit_raw for r in parsed.records} == {"1 Hour"}
    # The recording lacks skuId: size, product and meter name the meter.
    assert "Standard_NC24ads_A100_v4/NCads A100 v4 Series Linux/NC24ads_A100_v4 Spot" in {
        r.sku_id for r in parsed.records
    }


def test_a_bare_list_has_no_currency_and_gives_no_price(
    sample: Callable[[str], Path], landing: Landing, tmp_path: Path
) -> None:
    body = sample("prices/azure/ewyluda_retail_prices_gpu_items_2026-10.json").read_bytes()
    parsed = parse_bytes("azure", landing, body, directory=tmp_path)
    assert parsed.records == ()
    assert {(r.reason, r.field) for r in parsed.rejections} == {(Reason.CURRENCY_MISSING, "currencyCode")}
    assert len(parsed.rejections) == 62


def test_a_bare_list_with_currency_is_read(landing: Landing, tmp_path: Path) -> None:
    assert len(parse_bytes("azure", landing, dumps([azure_item()]), directory=tmp_path).records) == 1


def test_the_question_names_region_service_and_currency(
    server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    serve_azure(server, [azure_item()])
    entry = pull_region(server, landing, client, "westus3")
    assert server.requests[0].query == {
        "api-version": "2023-01-01-preview",
        "currencyCode": "'USD'",
        "$filter": "serviceName eq 'Virtual Machines' and armRegionName eq 'westus3'",
    }
    assert entry.payloads[0].params == server.requests[0].query
    assert AZURE.datasets(SourceOptions(regions=("eastus", "westus3"))) == ["eastus", "westus3"]


def test_a_region_cannot_smuggle_a_filter(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    entry = pull_region(server, landing, client, "eastus-2")
    assert (entry.error, server.requests) == ("PermanentError", [])


def _script(server: FaultServer, *pages: dict[str, Any]) -> None:
    """Serve pages in turn; `next` becomes an absolute link."""
    answers = []
    for page in pages:
        link = page.pop("next", None)
        answers.append(Answer.json({**page, "NextPageLink": f"{server.url}{PATH}?$skip={link}" if link else None}))
    server.add(PATH, *answers)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("next link absent", "SchemaDriftError", "page-001: field 'NextPageLink' is absent"),
        ("next link a number", "SchemaDriftError", "'NextPageLink' is not text"),
        ("items absent", "SchemaDriftError", "page-001: field 'Items' is absent"),
        ("count too high", "IncompleteSnapshotError", "page-001: Count says 3, 1 items arrived"),
        ("empty in the middle", "IncompleteSnapshotError", "eastus page-002 is empty but has a next page"),
        ("same page twice", "IncompleteSnapshotError", "eastus page-002 repeats an earlier page"),
        ("link loop", "IncompleteSnapshotError", "eastus page-002 links back to a page already read"),
        ("foreign host", "PermanentError", "'evil.example' is not one of this source's hosts"),
        ("nothing listed", "IncompleteSnapshotError", "no virtual machine is listed"),
        ("second page gone", "PermanentError", "answered 404"),
        ("endless", "IncompleteSnapshotError", "more than 200 pages"),
    ],
)
def test_a_walk_that_is_not_whole_is_refused(
    server: FaultServer, landing: Landing, client: HttpClient, fault: str, error: str, message: str
) -> None:
    one, two = [azure_item()], [azure_item(skuId="S/2")]
    if fault == "next link absent":
        page = azure_page(one)
        del page["NextPageLink"]
        server.add(PATH, Answer.json(page))
    elif fault == "next link a number":
        server.add(PATH, Answer.json(azure_page(one, NextPageLink=2)))
    elif fault == "items absent":
        server.add(PATH, Answer.json({"BillingCurrency": "USD", "NextPageLink": None}))
    elif fault == "count too high":
        _script(server, azure_page(one, Count=3))
    elif fault == "empty in the middle":
        _script(server, azure_page(one, next=1), azure_page([], next=2), azure_page(two))
    elif fault == "same page twice":
        _script(server, azure_page(one, next=1), azure_page(one, next=2), azure_page(two))
    elif fault == "link loop":
        _script(server, azure_page(one, next=1), azure_page(two, next=1))
    elif fault == "foreign host":
        server.add(PATH, Answer.json(azure_page(one, NextPageLink="https://evil.example/api?$skip=1")))
    elif fault == "nothing listed":
        _script(server, azure_page([]))
    elif fault == "second page gone":
        server.add(PATH, Answer.json(azure_page(one, NextPageLink=f"{server.url}{PATH}?$skip=1")), Answer(status=404))
    elif fault == "endless":

        def endless(request: Request) -> Answer:
            skip = int(request.query.get("$skip", 0))
            page = azure_page([azure_item(skuId=f"S/{skip}")], NextPageLink=f"{server.url}{PATH}?$skip={skip + 1}")
            return Answer.json(page)

        server.respond(PATH, endless)
    entry = pull_region(server, landing, client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, error)
    assert message in str(entry.message)
    assert landing.latest_snapshot("azure", "eastus") is None


def test_an_empty_last_page_is_the_end(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    """A total that divides by the page size ends with an empty page."""
    _script(server, azure_page([azure_item()], next=1), azure_page([]))
    assert pull_region(server, landing, client).kind is EntryKind.SNAPSHOT


def test_a_page_is_asked_for_again_after_a_fault(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    link = f"{server.url}{PATH}?$skip=1"
    server.add(
        PATH,
        Answer.json(azure_page([azure_item()], NextPageLink=link)),
        Answer(status=429, headers={"Retry-After": "3"}),
        Answer.json(azure_page([azure_item(skuId="S/2")])).but(cut_after=20),
        Answer.json(azure_page([azure_item(skuId="S/2")])),
    )
    entry = pull_region(server, landing, client)
    assert len(AZURE.parse(landing.open_snapshot(entry)).records) == 2
    assert [request.query.get("$skip") for request in server.requests] == [None, "1", "1", "1"]


def test_savings_plans_become_rows_of_their_own(parse: Parse) -> None:
    """NC40ads_H100_v5, 2026: 6.98 on demand, savings plan 5.8067 for one year and 4.306 for three, already hourly."""
    plans = [{"term": "1 Year", "retailPrice": 5.8067}, {"term": "3 Years", "retailPrice": 4.306}]
    parsed = parse(azure_item(armSkuName="Standard_NC40ads_H100_v5", retailPrice=6.98, savingsPlan=plans))
    assert [(r.pricing_model_raw, r.term_raw, str(r.price_amount)) for r in parsed.records] == [
        ("Consumption", None, "6.98"),
        ("SavingsPlan", "1 Year", "5.8067"),
        ("SavingsPlan", "3 Years", "4.306"),
    ]
    assert len({r.offer_id for r in parsed.records}) == 3
    assert {r.sku_id for r in parsed.records} == {"DZH318Z0TEST/0001"}


def test_a_reservation_keeps_the_total_of_its_term(parse: Parse) -> None:
    """The documented pair (D8 v4, 2020-08): 4,594.0 for three years, unit "1 Hour". The size is made a GPU's."""
    parsed = parse(azure_item(type="Reservation", reservationTerm="3 Years", retailPrice=4594.0, skuId="D/01DF"))
    (record,) = parsed.records
    assert (record.pricing_model_raw, record.term_raw, record.price_unit_raw) == ("Reservation", "3 Years", "1 Hour")
    assert record.price_amount == Decimal("4594.0")
    assert record.offer_id == "D/01DF/Reservation/3 Years"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"productName": "Virtual Machines NDsr H100 v5 Series Windows"}, "windows"),
        ({"productName": "Virtual Machines NDMI300Xv5 Srs Win"}, "windows"),
        ({"meterName": "ND96isrH100v5 Low Priority"}, "low_priority"),
        ({"meterName": "x", "skuName": "ND96isrH100v5 Low Priority"}, "low_priority"),
        ({"productName": "NCv3 Series Cloud Services"}, "cloud_services"),
        ({"productName": "NCv3 Series CloudServices"}, "cloud_services"),
        ({"productName": "NCv3 Series Dedicated Host"}, "dedicated"),
        ({"type": "DevTestConsumption"}, "dev_test"),
        ({"armSkuName": ""}, "no_size"),
        ({"armSkuName": "Standard_D8_v4"}, "not_gpu_size"),
        ({"effectiveEndDate": "2026-01-01T00:00:00Z"}, "no_longer_effective"),
    ],
)
def test_other_products_are_counted_not_kept(parse: Parse, change: dict[str, object], why: str) -> None:
    parsed = parse(azure_item(), azure_item(skuId="S/2", **change))
    assert len(parsed.records) == 1
    assert (parsed.skipped, parsed.rejections) == ({why: 1}, ())


def test_an_unknown_gpu_size_stays_visible(parse: Parse) -> None:
    (record,) = parse(azure_item(armSkuName="Standard_NX128_R100_v9")).records
    assert record.instance_type == "Standard_NX128_R100_v9"


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"retailPrice": 0}, Reason.PRICE_NOT_POSITIVE, "retailPrice"),
        ({"retailPrice": -98.32}, Reason.PRICE_NOT_POSITIVE, "retailPrice"),
        ({"retailPrice": float("nan")}, Reason.PRICE_NOT_FINITE, "retailPrice"),
        ({"retailPrice": float("inf")}, Reason.PRICE_NOT_FINITE, "retailPrice"),
        ({"retailPrice": "98,32"}, Reason.PRICE_NOT_A_NUMBER, "retailPrice"),
        ({"retailPrice": None}, Reason.MISSING_FIELD, "retailPrice"),
        ({"currencyCode": "EUR"}, Reason.CURRENCY_NOT_USD, "currencyCode"),
        ({"unitOfMeasure": "1 Month"}, Reason.UNKNOWN_UNIT, "unitOfMeasure"),
        ({"unitOfMeasure": "100 Hours"}, Reason.UNKNOWN_UNIT, "unitOfMeasure"),
        ({"unitOfMeasure": None}, Reason.UNKNOWN_UNIT, "unitOfMeasure"),
        ({"type": "Rental"}, Reason.UNKNOWN_PRICING_MODEL, "type"),
        ({"tierMinimumUnits": 100.0}, Reason.TIERED_PRICE, "tierMinimumUnits"),
        ({"armRegionName": None}, Reason.MISSING_FIELD, "armRegionName"),
        ({"productName": None}, Reason.MISSING_FIELD, "productName"),
        ({"armSkuName": 7}, Reason.UNREADABLE_FIELD, "armSkuName"),
        ({"effectiveStartDate": "soon"}, Reason.UNREADABLE_FIELD, "effectiveStartDate"),
        ({"type": "Reservation"}, Reason.MISSING_FIELD, "reservationTerm"),
        ({"skuId": None, "meterName": None}, Reason.MISSING_FIELD, "meterName"),
    ],
)
def test_bad_items_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, object], reason: Reason, field: str
) -> None:
    parsed = parse(azure_item(), azure_item(**({"skuId": "BAD"} | change)), azure_item(skuId="NEXT"))
    assert [r.sku_id for r in parsed.records] == ["DZH318Z0TEST/0001", "NEXT"]
    (rejection,) = parsed.rejections
    assert (rejection.reason, rejection.field, rejection.location) == (reason, field, "part0.txt item 2")


def test_a_bad_savings_plan_does_not_cost_the_price_beside_it(parse: Parse) -> None:
    plans = [{"retailPrice": 5.0}, {"term": "1 Year", "retailPrice": 0}, "x", {"term": "3 Years", "retailPrice": 4.3}]
    parsed = parse(azure_item(savingsPlan=plans))
    assert [(r.pricing_model_raw, r.term_raw) for r in parsed.records] == [
        ("Consumption", None),
        ("SavingsPlan", "3 Years"),
    ]
    assert [(r.reason, r.field, r.location) for r in parsed.rejections] == [
        (Reason.MISSING_FIELD, "savingsPlan.term", "part0.txt item 1 savingsPlan 1"),
        (Reason.PRICE_NOT_POSITIVE, "retailPrice", "part0.txt item 1 savingsPlan 2"),
        (Reason.MISSING_FIELD, "savingsPlan.term", "part0.txt item 1 savingsPlan 3"),
    ]


def test_doubled_items_count_once_and_contradictions_not_at_all(parse: Parse) -> None:
    parsed = parse(
        azure_item(),
        azure_item(),
        azure_item(skuId="S/2"),
        azure_item(skuId="S/2", retailPrice=1),
        azure_item(skuId="S/3"),
    )
    assert [r.sku_id for r in parsed.records] == ["DZH318Z0TEST/0001", "S/3"]
    assert parsed.skipped == {"duplicate": 1}
    assert [r.reason for r in parsed.rejections] == [Reason.DUPLICATE_KEY_CONFLICT] * 2


def test_an_announced_price_stands_beside_the_one_in_force(parse: Parse) -> None:
    """The replay is dated 2026-10-01."""
    parsed = parse(azure_item(), azure_item(retailPrice=90, effectiveStartDate="2026-12-01T00:00:00Z"))
    assert [(str(r.price_amount), str(r.effective_at)[:10]) for r in parsed.records] == [
        ("98.32", "2024-01-01"),
        ("90", "2026-12-01"),
    ]


def test_page_currency_stands_in_for_an_absent_item_currency(parse: Parse) -> None:
    item = azure_item()
    del item["currencyCode"]
    assert len(parse(item).records) == 1
    assert parse(item, BillingCurrency="EUR").rejections[0].reason is Reason.CURRENCY_NOT_USD
    assert parse(item, BillingCurrency=None).rejections[0].reason is Reason.CURRENCY_MISSING
