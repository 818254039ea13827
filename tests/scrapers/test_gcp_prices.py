"""Google Cloud: machines composed of SKUs. Golden sums of 2026-07-30, and prices quoted with their SKU descriptions."""

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from feeds import NOW, ROOT, dumps, parse_bytes
from feeds.gcp import GCP_G2, GCP_PATH, gcp_page, gcp_sku, serve_gcp

from scrapers.http import HttpClient
from scrapers.landing import EntryKind, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.gcp import MACHINES
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, PriceRecord, Reason
from tests.fault_server import Answer, FaultServer

GCP = PRICE_SOURCES["gcp"]
Parse = Callable[..., ParsedSnapshot]

A2_CORE, A2_RAM = "A2 Instance Core running in Americas", "A2 Instance Ram running in Americas"
A100, A100_80 = "Nvidia Tesla A100 GPU running in Americas", "Nvidia Tesla A100 80GB GPU running in Americas"
SSD = "SSD backed Local Storage"
# The recording of 2023-08: the price of A2 in us-central1 has not changed since.
A2 = [gcp_sku(A2_CORE, "0.031611"), gcp_sku(A2_RAM, "0.004237"), gcp_sku(A100, "2.933908")]


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Parse:
    return lambda *skus: parse_bytes("gcp", landing, dumps(gcp_page(*skus)), directory=tmp_path)


def by_machine(parsed: ParsedSnapshot, model: str = "OnDemand") -> dict[str, PriceRecord]:
    return {str(record.instance_type): record for record in parsed.records if record.pricing_model_raw == model}


def _options(server: FaultServer) -> SourceOptions:
    return SourceOptions(base_url=server.url, api_key="canary-key")


# -- recordings


def test_the_recording_through_the_api(
    sample: Callable[[str], Path], server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    """2023-08: A2 in USD, and E2 and T2D in IDR, which are no GPU machines. 12 x .031611 + 85 x .004237 + 2.933908."""
    recorded = json.loads(sample("prices/gcp/opencost_billing_skus_excerpt.json").read_text())
    token = recorded["nextPageToken"]
    server.respond(
        GCP_PATH,
        lambda request: Answer.json(gcp_page(*GCP_G2) if request.query.get("pageToken") == token else recorded),
    )
    entry = pull_dataset(GCP, "compute-engine", _options(server), landing, now=NOW, client=client)
    assert [request.query.get("pageToken") for request in server.requests] == [None, token]
    assert {request.headers["x-goog-api-key"] for request in server.requests} == {"canary-key"}
    assert all(request.query["currencyCode"] == "USD" and "key" not in request.query for request in server.requests)
    parsed = GCP.parse(landing.open_snapshot(entry))
    a2 = [record for record in parsed.records if record.instance_type == "a2-highgpu-1g"]
    assert {(r.region_raw, r.price_amount) for r in a2} == {
        (region, Decimal("3.673385")) for region in ("us-central1", "us-east1", "us-west1")
    }
    assert a2[0].product_name_raw == "1 x 039F-D0DA-4055 + 12 x 2922-40C5-B19F + 85 x 2390-DCAF-DA38"
    assert parsed.skipped == {"other_product": 4}
    # vCPU and RAM of A2 are priced in three regions, and the recording holds neither the larger GPU nor SSD.
    assert {(r.reason, r.field) for r in parsed.rejections} == {
        (Reason.INCOMPLETE_OFFER, "Nvidia Tesla A100 80GB GPU, Local SSD")
    }
    assert len(parsed.rejections) == 3 * 4


# Prices of the parts in us-central1 on 2026-07-30, by option: A2 core, A2 RAM, A100, A100 80, A3 core, A3 RAM, H100,
# G2 core, G2 RAM, L4, G4 core, G4 RAM, RTX 6000, local SSD a month. On demand, A2 and the A100 are as recorded in
# 2023-08, and A100 80, H100, G4 and SSD as quoted with their SKUs in public repositories in 2026. The rest is solved
# from the published sums: A2 core = (16 x a2-highgpu-1g - a2-megagpu-16g) / 96, and what is left comes in fixed ratios
# (85 GiB a GPU, 9 GiB an A3 core, 4 GiB a G2 core), so that how it is split does not show in any sum.
_PARTS = {
    "OnDemand": "0.031611 0.004237 2.933908 3.92808 0.025375063 0.002234 9.796550569 "
    "0.024990004 0.002927 0.560040239 0.04891 0.00587 1.09565 0.08",
    "Spot Preemptible": "0.01659 0.002222 1.54007 2.16824 0.0092 0.001 5.82402 "
    "0.013034 0.0019 0.3148 0.02 0.002348 0.41718 0.0282",
    "1 Year": "0.019915 0.002669 1.84836204 0 0.02263 0.001 6.798798196 0.015119742 0.002 0.35282535 "
    "0.04 0.00405 0.456 0.0504",
    "3 Years": "0.011063888 0.001483 1.02688667 0 0.011045 0.001 4.299891338 0.010514099 0.0015 0.252018107 "
    "0.02 0.00258 0.55505 0.036",
}
_LABELS = {
    "OnDemand": ("{} Instance {} running in Americas", "{} running in Americas", "SSD backed Local Storage"),
    "Spot Preemptible": (
        "Spot Preemptible {} Instance {} running in Americas",
        "{} attached to Spot Preemptible VMs running in Americas",
        "SSD backed Local Storage attached to Spot Preemptible VMs",
    ),
    "1 Year": (
        "Commitment v1: {} {} in Americas for 1 Year",
        "Commitment v1: {} running in Americas for 1 Year",
        "Commitment v1: Local SSD in Americas for 1 Year",
    ),
    # Singular and plural are met side by side.
    "3 Years": (
        "Commitment v1: {} {} in Americas for 3 Year",
        "Commitment v1: {} running in Americas for 3 Years",
        "Commitment v1: Local SSD in Americas for 3 Year",
    ),
}
_GPUS = (
    "Nvidia Tesla A100 GPU",
    "Nvidia Tesla A100 80GB GPU",
    "Nvidia H100 80GB GPU",
    "Nvidia L4 GPU",
    "RTX 6000 96GB",
)


def _golden_skus(option: str) -> Iterator[dict[str, Any]]:
    machine, gpu, ssd = _LABELS[option]
    a2c, a2r, a100, a100_80, a3c, a3r, h100, g2c, g2r, l4, g4c, g4r, rtx, ssd_month = _PARTS[option].split()
    core = "Core" if "Instance" in machine else "Cpu"
    for series, cores, ram in (("A2", a2c, a2r), ("A3", a3c, a3r), ("G2", g2c, g2r), ("G4", g4c, g4r)):
        yield gcp_sku(machine.format(series, core), cores)
        yield gcp_sku(machine.format(series, "Ram"), ram)
    for name, amount in zip(_GPUS, (a100, a100_80, h100, l4, rtx), strict=True):
        if amount != "0":
            yield gcp_sku(gpu.format(name), amount)
    yield gcp_sku(ssd, ssd_month)


@pytest.mark.parametrize("option", sorted(_PARTS))
def test_composed_prices_of_2026_07_30(option: str, sample: Callable[[str], Path], parse: Parse) -> None:
    """All machine types of the calculator but a3-megagpu (not priced there) and G4 below one GPU (billed by slices)."""
    parsed = parse(*_golden_skus(option))
    path = sample("prices/gcp/cyclenerd_pricing_gpu_machines_2026-07-30.json.gz")
    golden = json.loads(gzip.decompress(path.read_bytes()), parse_float=Decimal)["instance"]
    key = {"OnDemand": "hour", "Spot Preemptible": "hour_spot", "1 Year": "month_1y", "3 Years": "month_3y"}[option]
    published = {
        name: Decimal(machine["cost"]["us-central1"][key]) / (730 if key.startswith("month") else 1)
        for name, machine in golden.items()
        if key in machine["cost"].get("us-central1", {})
        and name not in ("g4-standard-6", "g4-standard-12", "g4-standard-24")
    }
    not_sold = {"a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g"} if option == "OnDemand" else set()
    composed = {str(record.instance_type): record.price_amount for record in parsed.records}
    assert composed.keys() == published.keys() - not_sold
    assert len(composed) >= 21
    for name, amount in composed.items():
        assert abs(amount - published[name]) < Decimal("0.0000001"), name
    assert parsed.skipped == ({"not_sold_on_demand": 3} if option == "OnDemand" else {})
    # No commitment is published for the A100 80 GB of that day: a sum without it would be a fifth of the price.
    assert {r.field for r in parsed.rejections} == ({"Nvidia Tesla A100 80GB GPU"} if "Year" in option else set())


def test_golden_figures_of_us_central1(parse: Parse) -> None:
    """The same without the recording: figures of section 15 of the reference, read by hand."""
    found = {
        (record.instance_type, record.pricing_model_raw, record.term_raw): record.price_amount
        for option in _PARTS
        for record in parse(*_golden_skus(option)).records
    }
    for machine, model, term, amount in (
        ("a2-highgpu-1g", "OnDemand", None, "3.673385"),
        ("a2-highgpu-1g", "Spot Preemptible", None, "1.92802"),
        ("a2-ultragpu-8g", "OnDemand", None, "40.5504"),
        ("a2-ultragpu-8g", "Spot Preemptible", None, "22.0764"),
        ("a3-highgpu-8g", "OnDemand", None, "88.49"),
        ("a3-highgpu-8g", "Spot Preemptible", None, "50.6095"),
        ("a3-highgpu-8g", "Commitment v1", "1 Year", "61.3837"),  # 44,810.08 / 730
        ("a3-highgpu-8g", "Commitment v1", "3 Years", "38.8644"),  # 28,371.00 / 730
        ("g2-standard-4", "OnDemand", None, "0.7068"),
        ("g2-standard-4", "Spot Preemptible", None, "0.3973"),
        ("g4-standard-48", "OnDemand", None, "4.49993"),
        ("g4-standard-48", "Spot Preemptible", None, "1.79982"),
    ):
        assert abs(found[machine, model, term] - Decimal(amount)) < Decimal("0.00006"), (machine, model)


# -- worked by hand


def test_a_machine_is_the_sum_of_its_parts(parse: Parse) -> None:
    """a2-ultragpu-1g: 3.92808 + 12 x .031611 + 170 x .004237 + 375 x .08 / 730 = 5.02770200 + .041095890411."""
    parsed = parse(
        gcp_sku(A2_CORE, "0.031611"), gcp_sku(A2_RAM, "0.004237"), gcp_sku(A100_80, "3.92808"), gcp_sku(SSD, "0.08")
    )
    record = by_machine(parsed)["a2-ultragpu-1g"]
    assert record.price_amount == Decimal("5.068797890411")
    assert (record.gpu_name_raw, record.gpu_count_raw, record.gpu_memory_gb_raw) == (
        "Nvidia Tesla A100 80GB GPU",
        1,
        80,
    )
    assert (record.sku_id, record.offer_id) == ("a2-ultragpu-1g", "a2-ultragpu-1g/us-central1/OnDemand")
    assert (record.price_unit_raw, record.price_currency) == ("h, sum of SKUs", "USD")
    assert (record.is_available, record.effective_at, record.offering_class_raw) == (None, None, None)
    assert by_machine(parsed)["a2-ultragpu-8g"].gpu_count_raw == 8


def test_a_part_without_a_price_is_never_summed_as_nothing(parse: Parse) -> None:
    """Episode E2: A2 in northamerica-northeast2 without the SKU of its GPU."""
    regions = ["us-central1", "northamerica-northeast2"]
    parsed = parse(gcp_sku(A2_CORE, "0.031611", regions=regions), gcp_sku(A2_RAM, "0.004237", regions=regions), A2[2])
    assert {record.region_raw for record in parsed.records} == {"us-central1"}
    lost = [r for r in parsed.rejections if "a2-highgpu-8g northamerica-northeast2" in r.location]
    assert [(r.reason, r.field) for r in lost] == [(Reason.INCOMPLETE_OFFER, "Nvidia Tesla A100 GPU")]
    assert lost[0].location == "a2-highgpu-8g northamerica-northeast2 OnDemand"


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_every_part_is_needed(parse: Parse, lost: int) -> None:
    parsed = parse(*(sku for number, sku in enumerate(GCP_G2) if number != lost))
    assert parsed.records == ()
    missing = ("G2 Core", "G2 Ram", "Nvidia L4 GPU")[lost]
    assert {(r.reason, r.field) for r in parsed.rejections} == {(Reason.INCOMPLETE_OFFER, missing)}
    assert len(parsed.rejections) == 8


def test_bundled_ssd_is_needed(parse: Parse) -> None:
    parsed = parse(gcp_sku(A2_CORE, "0.031611"), gcp_sku(A2_RAM, "0.004237"), gcp_sku(A100_80, "3.92808"))
    assert by_machine(parsed) == {}
    assert {r.field for r in parsed.rejections} == {"Nvidia Tesla A100 GPU", "Local SSD"}


def test_ssd_alone_sells_no_machine(parse: Parse) -> None:
    parsed = parse(gcp_sku(SSD, "0.08"), gcp_sku("N1 Predefined Instance Core running in Americas", "0.031611"))
    assert (parsed.records, parsed.rejections) == ((), ())


def test_the_mega_gpu_has_three_spellings(parse: Parse) -> None:
    """8 x 10.344275712 + 208 x .026924 + 1872 x .002344 + 6000 x .08 / 730 (Americas, 2026)."""
    for label in ("Nvidia H100 80GB Plus GPU", "Nvidia H100 80GB Mega GPU", "Nvidia H100 Mega 80GB GPU"):
        parsed = parse(
            gcp_sku("A3Plus Instance Core running in Americas", "0.026924"),
            gcp_sku("A3Plus Instance Ram running in Americas", "0.002344"),
            gcp_sku(f"{label} running in Americas", "10.344275712"),
            gcp_sku(SSD, "0.08"),
        )
        (record,) = parsed.records
        assert (record.instance_type, record.gpu_name_raw, record.gpu_count_raw) == ("a3-megagpu-8g", label, 8)
        assert record.price_amount == Decimal("93.399899942575")
        assert parsed.rejections == ()


def test_flex_start_and_calendar_mode_stand_apart(parse: Parse) -> None:
    """Flex: 8 x 4.200761 + 208 x .010934 + 1872 x .000952 + .657534 = 38.320038, as billed in 2025-08."""
    parsed = parse(
        gcp_sku("Nvidia H100 80GB GPU attached to DWS Defined Duration VMs running in Americas", "4.200761"),
        gcp_sku("DWS Defined Duration A3 Core running in Americas", "0.010934"),
        gcp_sku("DWS Defined Duration A3 Ram running in Americas", "0.000952"),
        gcp_sku("DWS Defined Duration SSD backed Local Storage running in Americas", "0.08"),
        gcp_sku("Reserved Nvidia H100 80GB GPU in Americas in Calendar Mode", "4.5701"),
        gcp_sku("Reserved A3 Cpu in Americas in Calendar Mode", "0.012"),
        gcp_sku("Reserved A3 Ram in Americas in Calendar Mode", "0.001"),
        gcp_sku("Reserved SSD backed Local Storage in Americas in Calendar Mode", "0.08"),
    )
    assert by_machine(parsed) == {}
    assert by_machine(parsed, "DWS Defined Duration")["a3-highgpu-8g"].price_amount == Decimal("38.320038246575")
    # 8 x 4.5701 + 208 x .012 + 1872 x .001 + .657534
    assert by_machine(parsed, "Calendar Mode")["a3-highgpu-8g"].price_amount == Decimal("41.586334246575")
    assert {record.term_raw for record in parsed.records} == {None}


def test_a4_is_billed_by_the_gpu_slice(parse: Parse) -> None:
    """Prices of 2026-07-30, Americas. All are typed OnDemand: the description decides."""
    slices = "A4 Nvidia B200 (1 gpu slice)"
    parsed = parse(
        gcp_sku(f"{slices} running in Americas", "16.11"),
        gcp_sku(f"Spot Preemptible {slices} running in Americas", "4.9542"),
        gcp_sku(f"DWS Calendar Mode {slices} in Americas", "11.277"),
        gcp_sku(f"DWS Defined Duration {slices} running in Americas", "8.055"),
        gcp_sku(f"Commitment v1: {slices} in Americas for 1 Year", "11.1159", usage="Commit1Yr"),
        gcp_sku(f"Commitment v1: {slices} in Americas for 3 Years", "7.0884", usage="Commit3Yr"),
    )
    assert {(r.pricing_model_raw, r.term_raw): str(r.price_amount.normalize()) for r in parsed.records} == {
        ("Spot Preemptible", None): "39.6336",
        ("Calendar Mode", None): "90.216",
        ("DWS Defined Duration", None): "64.44",
        ("Commitment v1", "1 Year"): "88.9272",
        ("Commitment v1", "3 Years"): "56.7072",
    }
    assert parsed.skipped == {"not_sold_on_demand": 1}  # 16.11 is published, and cannot be bought
    assert parsed.rejections == ()


def test_g4_below_one_gpu_is_billed_by_eighths(parse: Parse) -> None:
    """Iowa, 2026: the slice covers the machine; an eighth of the whole GPU's parts (0.5596) would be too little."""
    parsed = parse(gcp_sku("1/8 vGPU no lssd running in Iowa", "0.64688", group="GPU"))
    assert {r.instance_type: (r.price_amount, r.gpu_count_raw) for r in parsed.records} == {
        "g4-standard-6": (Decimal("0.64688"), Decimal("0.125")),
        "g4-standard-12": (Decimal("1.29376"), Decimal("0.25")),
        "g4-standard-24": (Decimal("2.58752"), Decimal("0.5")),
    }


def test_attached_gpus_have_one_reference_shape(parse: Parse) -> None:
    """n1-standard-4 with a T4: .35 + 4 x .031611 + 15 x .004237 = .539999. Commitments of N1 name no series."""
    parsed = parse(
        gcp_sku("N1 Predefined Instance Core running in Americas", "0.031611", group="N1Standard"),
        gcp_sku("N1 Predefined Instance Ram running in Americas", "0.004237", group="N1Standard"),
        gcp_sku("Nvidia Tesla T4 GPU running in Americas", "0.35"),
        gcp_sku("Commitment v1: Cpu in Americas for 1 Year", "0.019915"),
        gcp_sku("Commitment v1: Ram in Americas for 1 Year", "0.002669"),
        gcp_sku("Commitment v1: Nvidia Tesla T4 GPU running in Americas for 1 Year", "0.22"),
    )
    committed, listed = parsed.records
    assert (listed.instance_type, listed.price_amount) == ("n1-standard-4 + 1 x nvidia-tesla-t4", Decimal("0.539999"))
    assert (committed.term_raw, committed.price_amount) == ("1 Year", Decimal("0.339695"))
    assert {record.offering_class_raw for record in parsed.records} == {"reference_shape"}
    assert parsed.rejections == ()


def test_ram_by_the_decimal_gigabyte(parse: Parse) -> None:
    """A GiB is 1.073741824 GB: 16 GiB at .002 a GB-hour are .034359738368."""
    parsed = parse(GCP_G2[0], gcp_sku("G2 Instance Ram running in Americas", "0.002", "GBy.h"), GCP_G2[2])
    assert by_machine(parsed)["g2-standard-4"].price_amount == Decimal(
        "0.694359993368"
    )  # + 4 x .024990004 + .560040239


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("Nvidia L4 GPU attached to Sole Tenancy VMs running in Americas", "sole_tenancy"),
        ("Committed Use Discount Premium for G2 Instance Core running in Americas", "premium"),
        ("G2 Custom Instance Core running in Americas", "custom_machine"),
        ("G2 Custom Extended Instance Ram running in Americas", "custom_machine"),
        ("N1 Extended Instance Ram running in Americas", "extended_memory"),
        ("Nvidia L4 Virtual Workstation GPU running in Americas", "virtual_workstation"),
        ("Nvidia Tesla T4 VWS GPU running in Americas", "virtual_workstation"),
        ("VM state: preserved local SSD in Americas", "suspended_machine"),
        ("Capacity Optimized TpuV6e running in Americas", "capacity_optimized"),
        ("DWS Defined Duration V6e running in Americas", "tpu"),
        ("TpuV5p running in Americas", "tpu"),
        ("Nvidia Tesla P4 GPU running in Americas", "gpu_of_no_machine_type"),
        ("Reserved Nvidia L4 GPU in Americas", "other_commitment_or_reservation"),
        ("Reserved G2 Ram in Netherlands", "other_commitment_or_reservation"),
        ("Commitment v1: G2 Cpu in Americas for 5 Years", "other_commitment_or_reservation"),
        ("Commitment - dollar based v1: GCE for 1 year", "other_commitment_or_reservation"),
        ("C4D Instance Local SSD running in Americas", "other_product"),
        ("C3 Instance Local SSD attached to Calendar mode reservations running in Iowa", "other_product"),
        ("N2 Instance Core running in Americas", "other_product"),
    ],
)
def test_what_is_no_part_of_a_gpu_machine_is_counted(parse: Parse, description: str, why: str) -> None:
    parsed = parse(*GCP_G2, gcp_sku(description, "0.00001"))
    assert len(parsed.records) == 8
    assert (parsed.skipped, parsed.rejections) == ({why: 1}, ())


def test_zero_is_a_placeholder(parse: Parse) -> None:
    """V100 commitments stood at 0 in Seoul on 2025-11-15."""
    parsed = parse(
        gcp_sku("Commitment v1: Nvidia Tesla V100 GPU running in Seoul for 1 Year", "0"),
        gcp_sku("Commitment v1: Cpu in Seoul for 1 Year", "0.02"),
        gcp_sku("Commitment v1: Ram in Seoul for 1 Year", "0.002"),
    )
    assert (parsed.records, parsed.rejections, parsed.skipped) == ((), (), {"zero_price": 1})


def test_a_new_gpu_is_named(parse: Parse) -> None:
    parsed = parse(*GCP_G2, gcp_sku("Spot Preemptible A5 Nvidia R100 (1 gpu slice) running in Americas", "9"))
    (new,) = parsed.rejections
    assert (new.reason, new.field) == (Reason.INCOMPLETE_OFFER, "description")
    assert new.detail == "no machine type has A5 Nvidia R100 (1 gpu slice)"


def test_two_prices_for_one_part_leave_none(parse: Parse) -> None:
    same = gcp_sku("Nvidia L4 GPU running in Iowa", "0.560040239", sku_id="OTHER")
    assert len(parse(*GCP_G2, same).records) == 8
    parsed = parse(*GCP_G2, gcp_sku("Nvidia L4 GPU running in Iowa", "0.66"))
    assert parsed.records == ()
    assert {(r.reason, r.field) for r in parsed.rejections} == {(Reason.DUPLICATE_KEY_CONFLICT, "Nvidia L4 GPU")}


def _with(sku: dict[str, Any], **expression: Any) -> dict[str, Any]:
    """The SKU with fields of its pricing expression, or of the SKU, replaced."""
    changed: dict[str, Any] = json.loads(json.dumps(sku))
    changed["pricingInfo"][0]["pricingExpression"] |= expression
    return changed


def _money(**money: Any) -> dict[str, Any]:
    rate = {"startUsageAmount": 0, "unitPrice": {"currencyCode": "USD", "units": "0", "nanos": 1, **money}}
    return _with(GCP_G2[2], tieredRates=[rate])


@pytest.mark.parametrize(
    ("sku", "reason", "field"),
    [
        (_money(currencyCode="IDR", units="327", nanos=173848364), Reason.CURRENCY_NOT_USD, "currencyCode"),
        (_money(currencyCode=None), Reason.CURRENCY_NOT_USD, "currencyCode"),
        (_money(nanos=10**9), Reason.UNREADABLE_FIELD, "nanos"),
        (_money(nanos="1"), Reason.UNREADABLE_FIELD, "nanos"),
        (_money(units="-1"), Reason.PRICE_NOT_POSITIVE, "units"),
        (_money(units="many"), Reason.PRICE_NOT_A_NUMBER, "units"),
        (_with(GCP_G2[2], usageUnit="mo"), Reason.UNKNOWN_UNIT, "usageUnit"),
        (_with(GCP_G2[2], usageUnit="GiBy.h"), Reason.UNKNOWN_UNIT, "usageUnit"),
        (_with(GCP_G2[2], tieredRates=[{}, {}]), Reason.TIERED_PRICE, "tieredRates"),
        (_with(GCP_G2[2], tieredRates=[{}]), Reason.MISSING_FIELD, "unitPrice"),
        (GCP_G2[2] | {"pricingInfo": []}, Reason.MISSING_FIELD, "pricingInfo"),
        (GCP_G2[2] | {"serviceRegions": []}, Reason.MISSING_FIELD, "serviceRegions"),
        (GCP_G2[2] | {"skuId": ""}, Reason.MISSING_FIELD, "skuId"),
        (GCP_G2[2] | {"description": None}, Reason.MISSING_FIELD, "description"),
        ("text", Reason.UNREADABLE_ROW, "skus"),
    ],
)
def test_a_bad_sku_takes_its_machines_with_it(parse: Parse, sku: Any, reason: Reason, field: str) -> None:
    """Not with a smaller sum: the GPU is the third SKU, and all eight G2 machines need it."""
    parsed = parse(GCP_G2[0], GCP_G2[1], sku)
    assert parsed.records == ()
    first, *rest = parsed.rejections
    assert (first.reason, first.field, first.location) == (reason, field, "part0.txt sku 3")
    assert {(r.reason, r.field) for r in rest} == {(Reason.INCOMPLETE_OFFER, "Nvidia L4 GPU")}
    assert len(rest) == 8


def test_the_newest_of_a_timeline_holds(parse: Parse) -> None:
    old = gcp_sku("Nvidia L4 GPU running in Americas", "99")["pricingInfo"]
    parsed = parse(*GCP_G2[:2], GCP_G2[2] | {"pricingInfo": old + GCP_G2[2]["pricingInfo"]})
    assert by_machine(parsed)["g2-standard-4"].price_amount == Decimal("0.706832255")


# -- the walk


def test_the_key_is_in_no_address(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_gcp(server, GCP_G2, page_size=2)
    entry = pull_dataset(GCP, "compute-engine", _options(server), landing, now=NOW, client=client)
    assert [payload.params for payload in entry.payloads] == [
        {"currencyCode": "USD", "pageSize": "5000"},
        {"currencyCode": "USD", "pageSize": "5000", "pageToken": "after-2"},
    ]
    assert "canary" not in (entry.path / "envelope.json").read_text()


def test_a_wrong_key_says_so(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_gcp(server, GCP_G2)
    options = SourceOptions(base_url=server.url)
    entry = pull_dataset(GCP, "compute-engine", options, landing, now=NOW, client=client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "PermanentError")
    assert "answered 403: access is refused: check the API key" in str(entry.message)


def test_an_empty_list_is_incomplete(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    serve_gcp(server, [])
    entry = pull_dataset(GCP, "compute-engine", _options(server), landing, now=NOW, client=client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "IncompleteSnapshotError")
    assert "'skus' is empty" in str(entry.message)


def test_a_token_that_is_no_text_is_drift(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    server.add(GCP_PATH, Answer.json(gcp_page(*GCP_G2) | {"nextPageToken": 2}))
    entry = pull_dataset(GCP, "compute-engine", _options(server), landing, now=NOW, client=client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, "SchemaDriftError")


# -- the table of shapes


def test_shapes_agree_with_the_seed_and_the_specifications(sample: Callable[[str], Path]) -> None:
    """Every machine type that can be priced is known to the models, with the same number of GPUs."""
    with (ROOT / "dbt" / "seeds" / "instance_types.csv").open(encoding="utf-8", newline="") as seed:
        known = {row["instance_type"]: row["gpu_count"] for row in csv.DictReader(seed) if row["provider"] == "gcp"}
    assert {m.name: m.gpus * m.gpu_share for m in MACHINES} == {
        name: Decimal(count) for name, count in known.items() if name != "a4x-highgpu-4g"
    }
    specified = yaml.safe_load(sample("prices/gcp/cyclenerd_gcp_machine_types.yml").read_text())["compute"]["instance"]
    compared = 0
    for machine in MACHINES:
        spec = specified.get(machine.name)
        if spec and machine.series:
            facts = (machine.vcpus, machine.ram_gib, machine.ssd_gib)
            assert facts == (spec["cpu"], spec["ram"], spec.get("local-ssd", 0)), machine.name
            compared += 1
    assert compared == 26
