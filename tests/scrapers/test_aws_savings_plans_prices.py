"""AWS savings plans: the kind of plan stays in the key, rates are hourly already. Rates of us-east-1, 2026-09-25."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from feeds import dumps, parse_bytes
from feeds.aws_savings_plans import SP_INDEX_PATH, serve_sp, sp_file, sp_plan, sp_rate

from scrapers.errors import SchemaDriftError
from scrapers.http import HttpClient
from scrapers.landing import EntryKind, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from tests.fault_server import Answer, FaultServer

SAVINGS_PLANS = PRICE_SOURCES["aws_savings_plans"]
Parse = Callable[..., ParsedSnapshot]

COMPUTE_1Y, EC2_1Y, EC2_3Y = (
    sp_plan("C1", "ComputeSavingsPlans"),
    sp_plan("E1", "EC2InstanceSavingsPlans"),
    sp_plan("E3", "EC2InstanceSavingsPlans", "3yr"),
)
# No Upfront, USD per instance-hour, read from the price files of 2026-09-25 in a public catalogue of term prices. The
# three-year rate of p5 equals its Standard reserved instance (23.7773), as AWS documents for EC2 Instance plans.
GOLDEN_2026_09_25 = {
    ("p4de.24xlarge", "EC2InstanceSavingsPlans", "1yr"): "17.40137",
    ("p4de.24xlarge", "EC2InstanceSavingsPlans", "3yr"): "11.71777",
    ("p5.48xlarge", "EC2InstanceSavingsPlans", "1yr"): "34.6752",
    ("p5.48xlarge", "EC2InstanceSavingsPlans", "3yr"): "23.77728",
    ("p5en.48xlarge", "EC2InstanceSavingsPlans", "1yr"): "39.87648",
    ("p5en.48xlarge", "EC2InstanceSavingsPlans", "3yr"): "27.34387",
    ("p6-b200.48xlarge", "ComputeSavingsPlans", "1yr"): "89.72208",
    ("p6-b200.48xlarge", "EC2InstanceSavingsPlans", "3yr"): "49.21897",
    ("p6-b300.48xlarge", "ComputeSavingsPlans", "1yr"): "112.1526",
    ("p6-b300.48xlarge", "EC2InstanceSavingsPlans", "3yr"): "61.52371",
}


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    def parse_rates(*rates: Any, plans: tuple[Any, ...] = (COMPUTE_1Y,)) -> ParsedSnapshot:
        body = dumps(sp_file(list(plans), {"C1": list(rates)}))
        return parse_bytes("aws_savings_plans", landing, body, directory=tmp_path)

    return parse_rates


def _pull(server: FaultServer, landing: Landing, client: HttpClient, *, region: str = "us-east-1") -> Any:
    options = SourceOptions(base_url=server.url)
    return pull_dataset(SAVINGS_PLANS, f"sp-{region}", options, landing, now=client.now(), client=client)


def test_golden_rates_through_index_and_file(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    plans = {("ComputeSavingsPlans", "1yr"): "C1", ("EC2InstanceSavingsPlans", "1yr"): "E1"}
    plans["EC2InstanceSavingsPlans", "3yr"] = "E3"
    rates: dict[str, list[Any]] = {"C1": [], "E1": [], "E3": []}
    for (instance_type, kind, term), amount in GOLDEN_2026_09_25.items():
        plan = plans[kind, term]
        usage = f"BoxUsage:{instance_type}"
        sku = f"SKU-{instance_type}"
        rates[plan].append(
            sp_rate(plan, amount, discountedSku=sku, discountedUsageType=usage, discountedInstanceType=instance_type)
        )
    path = serve_sp(server, sp_file([COMPUTE_1Y, EC2_1Y, EC2_3Y], rates))
    entry = _pull(server, landing, client)
    assert [request.path for request in server.requests] == [SP_INDEX_PATH, path]
    assert entry.change_key == path
    parsed = SAVINGS_PLANS.parse(landing.open_snapshot(entry))
    found = {(r.instance_type, r.pricing_model_raw, r.term_raw): str(r.price_amount) for r in parsed.records}
    assert found == GOLDEN_2026_09_25
    assert (parsed.rejections, parsed.skipped) == ((), {})
    record = parsed.records[0]
    assert (record.region_raw, record.operating_system_raw, record.tenancy_raw) == ("us-east-1", "Linux", "Shared")
    assert (record.price_unit_raw, record.price_currency, record.effective_at) == ("Hrs", "USD", None)
    assert (record.gpu_name_raw, record.gpu_count_raw) == (None, None)  # the file states neither


def test_the_kind_of_plan_and_the_payment_stay_in_the_key(landing: Landing, tmp_path: Path) -> None:
    """One product, four plans: peers that merge them keep whichever comes last. Nothing is paid once by these rates."""
    plans = [
        sp_plan(f"{kind[0]}-{option}", kind, "3yr", option)
        for kind in ("ComputeSavingsPlans", "EC2InstanceSavingsPlans")
        for option in ("No Upfront", "All Upfront")
    ]
    rates = {plan["sku"]: [sp_rate(plan["sku"], f"{number + 20}.5")] for number, plan in enumerate(plans)}
    body = dumps(sp_file(plans, rates))
    parsed = parse_bytes("aws_savings_plans", landing, body, directory=tmp_path)
    assert {(r.pricing_model_raw, r.offering_class_raw, str(r.price_amount)) for r in parsed.records} == {
        ("ComputeSavingsPlans", "ComputeSavingsPlans, No Upfront", "20.5"),
        ("ComputeSavingsPlans", "ComputeSavingsPlans, All Upfront", "21.5"),
        ("EC2InstanceSavingsPlans", "EC2InstanceSavingsPlans, No Upfront", "22.5"),
        ("EC2InstanceSavingsPlans", "EC2InstanceSavingsPlans, All Upfront", "23.5"),
    }
    assert {r.payment_option_raw for r in parsed.records} == {None}
    assert {r.sku_id for r in parsed.records} == {"3D4V8UAYEMB38GU2"}


def test_the_recorded_rate_is_linux_with_sql(parse: Parse) -> None:
    """2026-06-23, c5d.2xlarge in a local zone at 1.285: operation 0004. As a GPU type it must not pass for Linux."""
    recorded = {
        "discountedSku": "22CU75SME3BFPJU8",
        "discountedUsageType": "DEN1-BoxUsage:c5d.2xlarge",
        "discountedOperation": "RunInstances:0004",
        "discountedRegionCode": "us-west-2-den-1",
        "discountedInstanceType": "c5d.2xlarge",
    }
    gpu = recorded | {"discountedUsageType": "DEN1-BoxUsage:g4dn.2xlarge", "discountedInstanceType": "g4dn.2xlarge"}
    parsed = parse(sp_rate("C1", "1.285", **recorded), sp_rate("C1", "1.285", **gpu))
    assert (parsed.records, parsed.rejections) == ((), ())
    assert parsed.skipped == {"not_gpu": 1, "other_os_or_licence": 1}


def test_a_local_zone_has_its_own_region(parse: Parse) -> None:
    zone = {"discountedUsageType": "LAX1-BoxUsage:g4dn.2xlarge", "discountedRegionCode": "us-west-2-lax-1"}
    (record,) = parse(sp_rate("C1", "0.6", discountedInstanceType="g4dn.2xlarge", **zone)).records
    assert (record.region_raw, record.instance_type) == ("us-west-2-lax-1", "g4dn.2xlarge")


def test_files_before_2026_name_the_type_in_the_usage_only(parse: Parse) -> None:
    older = sp_rate("C1")
    del older["discountedInstanceType"]
    assert parse(older).records[0].instance_type == "p5.48xlarge"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"discountedServiceCode": "AmazonECS"}, "other_service"),
        ({"discountedInstanceType": "trn2.48xlarge", "discountedUsageType": "BoxUsage:trn2.48xlarge"}, "not_gpu"),
        ({"discountedOperation": "RunInstances:CB"}, "capacity_block"),
        ({"discountedOperation": "RunInstances:0002"}, "other_os_or_licence"),
        ({"discountedOperation": "RunInstances:0010"}, "other_os_or_licence"),
        ({"discountedUsageType": "UnusedBox:p5.48xlarge"}, "other_tenancy_or_capacity"),
        ({"discountedUsageType": "USE2-DedicatedUsage:p5.48xlarge"}, "other_tenancy_or_capacity"),
        ({"discountedUsageType": "HostBoxUsage:p5.48xlarge"}, "other_tenancy_or_capacity"),
    ],
)
def test_other_rates_are_counted(parse: Parse, change: dict[str, Any], why: str) -> None:
    parsed = parse(sp_rate("C1", discountedSku="A"), sp_rate("C1", "0", **change))
    assert [r.sku_id for r in parsed.records] == ["A"]
    assert (parsed.skipped, parsed.rejections) == ({why: 1}, ())


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"discountedRate": {"price": "0.0000000000", "currency": "USD"}}, Reason.PRICE_NOT_POSITIVE, "price"),
        ({"discountedRate": {"price": "240", "currency": "CNY"}}, Reason.CURRENCY_NOT_USD, "currency"),
        ({"discountedRate": None}, Reason.CURRENCY_NOT_USD, "currency"),
        ({"unit": "Quantity"}, Reason.UNKNOWN_UNIT, "unit"),
        ({"rateCode": "GONE.3D4V8UAYEMB38GU2"}, Reason.INCOMPLETE_OFFER, "rateCode"),
        ({"rateCode": "DB.3D4V8UAYEMB38GU2"}, Reason.UNKNOWN_PRICING_MODEL, "productFamily"),
        ({"rateCode": "BARE.3D4V8UAYEMB38GU2"}, Reason.MISSING_FIELD, "purchaseTerm"),
        ({"discountedRegionCode": None}, Reason.MISSING_FIELD, "discountedRegionCode"),
        ({"discountedUsageType": None}, Reason.MISSING_FIELD, "discountedUsageType"),
    ],
)
def test_a_rate_that_cannot_be_used_is_rejected(
    parse: Parse, change: dict[str, Any], reason: Reason, field: str
) -> None:
    plans = (COMPUTE_1Y, sp_plan("DB", "DatabaseSavingsPlans"), sp_plan("BARE") | {"attributes": {}})
    parsed = parse(sp_rate("C1", discountedSku="A"), sp_rate("C1", **change), "text", plans=plans)
    assert [r.sku_id for r in parsed.records] == ["A"]
    assert [(r.reason, r.field) for r in parsed.rejections] == [(reason, field), (Reason.UNREADABLE_ROW, "rates")]
    assert parsed.rejections[0].location == "part0.txt rate 2"


def test_a_file_without_rates_is_refused(landing: Landing, tmp_path: Path) -> None:
    with pytest.raises(SchemaDriftError, match="holds no rate"):
        parse_bytes("aws_savings_plans", landing, dumps(sp_file([COMPUTE_1Y], {"C1": []})), directory=tmp_path)


def test_a_version_that_is_landed_is_not_downloaded_again(
    server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    serve_sp(server, sp_file([COMPUTE_1Y], {"C1": [sp_rate("C1")]}))
    _pull(server, landing, client)
    server.requests.clear()
    assert _pull(server, landing, client).kind is EntryKind.UNCHANGED
    assert [request.path for request in server.requests] == [SP_INDEX_PATH]


def test_the_index_can_run_ahead_of_the_files(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    document = sp_file([COMPUTE_1Y], {"C1": [sp_rate("C1")]})
    path = serve_sp(server, document)
    server.add(path, Answer(status=404), Answer.json(document))
    assert _pull(server, landing, client).kind is EntryKind.SNAPSHOT


def test_a_region_that_is_not_listed_fails_alone(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_sp(server, sp_file([COMPUTE_1Y], {"C1": [sp_rate("C1")]}))
    entry = _pull(server, landing, client, region="us-east-9")
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "PermanentError")
    assert "'us-east-9' is not in the region index: check prices.sources.aws_savings_plans.regions" in entry.message


@pytest.mark.parametrize("index", [{"regions": {}}, {"regions": [{"regionCode": "us-east-1"}]}, {"other": []}])
def test_another_index_is_drift(server: FaultServer, landing: Landing, client: HttpClient, index: object) -> None:
    server.add(SP_INDEX_PATH, Answer.json(index))
    assert _pull(server, landing, client).error == "SchemaDriftError"


def test_a_large_file_is_parsed_rate_by_rate(parse: Parse) -> None:
    """20,000 rates of which one is a GPU's: more than one read of the stream."""
    others = [
        sp_rate("C1", "0.1", discountedSku=f"S{number}", discountedInstanceType="m5.large") for number in range(20_000)
    ]
    parsed = parse(*others, sp_rate("C1"))
    assert [r.price_amount for r in parsed.records] == [Decimal("34.6752")]
    assert parsed.skipped == {"not_gpu": 20_000}
