"""AWS: three file formats, one meaning. Golden figures: us-east-1, 2026-10 and 2024-05-28."""

import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from feeds import NOW, RECORDED, FakeClock, dumps, parse_bytes
from feeds.aws import AWS_INDEX_PATH, aws_csv, aws_reserved, aws_row, serve_aws

from scrapers.errors import IncompleteSnapshotError, SchemaDriftError
from scrapers.http import HttpClient
from scrapers.landing import EntryKind, Landing
from scrapers.prices.base import SourceOptions, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot, Reason
from scrapers.snapshot import Origin
from tests.fault_server import Answer, FaultServer

AWS = PRICE_SOURCES["aws"]
# Prices of 2026-10 by instance type, as listed on the provider's page.
GOLDEN_2026_10 = {
    "p5.48xlarge": "55.04",
    "p5.4xlarge": "6.88",
    "p5en.48xlarge": "63.296",
    "p4d.24xlarge": "21.957642",
    "p4de.24xlarge": "27.44705",
    "p6-b200.48xlarge": "113.9328",
    "p6-b300.48xlarge": "142.416",
    "g6e.xlarge": "1.861",
    "g6e.12xlarge": "10.49264",
    "g6e.48xlarge": "30.13118",
}


@pytest.fixture
def parse(landing: Landing, tmp_path: Path) -> Callable[..., ParsedSnapshot]:
    return lambda *bodies: parse_bytes("aws", landing, *bodies, directory=tmp_path / "files")


Parse = Callable[..., ParsedSnapshot]


def replay(landing: Landing, dataset: str, *files: Path) -> ParsedSnapshot:
    return AWS.parse(landing.open_snapshot(landing.land_files("aws", dataset, list(files), RECORDED, Origin.REPLAY)))


def test_website_table_gives_the_golden_prices(sample: Callable[[str], Path], landing: Landing) -> None:
    parsed = replay(landing, "ec2-us-east-1", sample("prices/aws/ewyluda_awsstatic_ondemand_gpu_2026-10.json"))
    virginia = {r.instance_type: r.price_amount for r in parsed.records if r.region_raw == "US East (N. Virginia)"}
    assert virginia == {size: Decimal(amount) for size, amount in GOLDEN_2026_10.items()}
    assert len(parsed.records) == 18  # 10 in Virginia, 8 in Ohio
    assert parsed.rejections == ()
    p5 = next(record for record in parsed.records if record.instance_type == "p5.48xlarge")
    assert (p5.sku_id, p5.offer_id) == ("3D4V8UAYEMB38GU2", "3D4V8UAYEMB38GU2.JRTCKXETXF")
    assert (p5.pricing_model_raw, p5.price_unit_raw, p5.gpu_count_raw) == ("OnDemand", "Hrs", None)


def test_offer_file_keeps_the_on_demand_sku_beside_a_free_capacity_block(
    sample: Callable[[str], Path], landing: Landing
) -> None:
    """Anomaly 1: the Capacity Block SKU of p4d.24xlarge is listed at 0.00 with the same attributes."""
    parsed = replay(landing, "ec2-us-east-1", sample("prices/aws/opencost_offer_AmazonEC2_us-east-1.json"))
    (record,) = parsed.records
    assert record.price_amount == Decimal("32.7726")
    assert (record.sku_id, record.instance_type, record.gpu_count_raw) == ("H7NGEAC6UEHNTKSJ", "p4d.24xlarge", 8)
    assert (record.region_raw, record.price_unit_raw) == ("us-east-1", "Hrs")
    assert str(record.effective_at) == "2024-05-01 00:00:00+00:00"
    assert parsed.skipped == {"capacity_block": 1}
    assert parsed.rejections == ()


def test_offer_files_without_a_linux_gpu_give_no_record(sample: Callable[[str], Path], landing: Landing) -> None:
    """m5.large, a Windows p3.8xlarge, storage, a load balancer; and a storage price in yuan."""
    ohio = replay(landing, "ec2-us-east-2", sample("prices/aws/opencost_offer_AmazonEC2_us-east-2.json"))
    assert (ohio.records, ohio.rejections) == ((), ())
    assert ohio.skipped == {"not_gpu": 3, "other_os_tenancy_or_capacity": 1}
    china = replay(landing, "ec2-cn", sample("prices/aws/opencost_offer_AmazonEC2_cn-northwest-1.json"))
    assert (china.records, china.skipped) == ((), {"not_gpu": 1})


def test_live_pull_reads_index_then_csv(server: FaultServer, landing: Landing, client: HttpClient) -> None:
    rows = [aws_row(SKU=size, Instance_Type=size, PricePerUnit=amount) for size, amount in GOLDEN_2026_10.items()]
    csv_path = serve_aws(server, "us-east-1", aws_csv(*rows))
    options = SourceOptions(regions=("us-east-1",), base_url=server.url)
    assert AWS.datasets(options) == ["ec2-us-east-1"]
    entry = pull_dataset(AWS, "ec2-us-east-1", options, landing, now=NOW, client=client)
    assert entry.source_url == server.url + csv_path
    assert entry.change_key == csv_path.replace(".csv", ".json")
    with entry.payloads[0].open() as stream:
        assert stream.read() == aws_csv(*rows)
    parsed = AWS.parse(landing.open_snapshot(entry))
    assert {r.instance_type: str(r.price_amount) for r in parsed.records} == GOLDEN_2026_10


def test_an_unchanged_version_is_not_downloaded(
    server: FaultServer, landing: Landing, client: HttpClient, clock: FakeClock
) -> None:
    csv_path = serve_aws(server, "us-east-1", aws_csv(aws_row()))
    options = SourceOptions(base_url=server.url)
    first = pull_dataset(AWS, "ec2-us-east-1", options, landing, now=clock.now(), client=client)
    clock.elapsed += 86_400 / 200
    second = pull_dataset(AWS, "ec2-us-east-1", options, landing, now=clock.now(), client=client)
    assert (second.kind, second.snapshot_id) == (EntryKind.UNCHANGED, first.snapshot_id)
    assert [request.path for request in server.requests].count(csv_path) == 1

    serve_aws(server, "us-east-1", aws_csv(aws_row(PricePerUnit="44.0")), version="20261002000000")
    clock.elapsed += 86_400 / 200
    third = pull_dataset(AWS, "ec2-us-east-1", options, landing, now=clock.now(), client=client)
    assert third.kind is EntryKind.SNAPSHOT


def test_an_index_that_runs_ahead_of_its_files_is_waited_for(
    server: FaultServer, landing: Landing, client: HttpClient
) -> None:
    path = serve_aws(server, "us-east-1", b"")
    server.add(path, Answer(status=404), Answer(status=404), Answer(aws_csv(aws_row())))
    entry = pull_dataset(AWS, "ec2-us-east-1", SourceOptions(base_url=server.url), landing, now=NOW, client=client)
    assert entry.kind is EntryKind.SNAPSHOT


@pytest.mark.parametrize(
    ("regions", "error", "message"),
    [
        ({}, "PermanentError", "region 'us-east-1' is not in the region index: check prices.sources.aws.regions"),
        ([], "SchemaDriftError", "field 'regions'"),
        ({"us-east-1": {}}, "SchemaDriftError", "currentVersionUrl"),
        ({"us-east-1": {"currentVersionUrl": "/x/index.xml"}}, "SchemaDriftError", "currentVersionUrl"),
        ({"us-east-1": {"currentVersionUrl": "https://evil.example/index.json"}}, "PermanentError", "refused"),
    ],
)
def test_a_strange_index_fails_the_pull(
    server: FaultServer, landing: Landing, client: HttpClient, regions: object, error: str, message: str
) -> None:
    server.add(AWS_INDEX_PATH, Answer.json({"regions": regions}))
    entry = pull_dataset(AWS, "ec2-us-east-1", SourceOptions(base_url=server.url), landing, now=NOW, client=client)
    assert (entry.kind, entry.error) == (EntryKind.FAILED, error)
    assert message in str(entry.message)


def test_csv_keeps_only_plain_linux_gpu_rows(parse: Parse) -> None:
    outside = {
        "windows": aws_row(Operating_System="Windows"),
        "dedicated": aws_row(Tenancy="Dedicated", usageType="DedicatedUsage:p5.48xlarge"),
        "idle reservation": aws_row(CapacityStatus="UnusedCapacityReservation", usageType="UnusedBox:p5.48xlarge"),
        "cpu": aws_row(Instance_Type="m5.large", GPU=""),
        "capacity block": aws_row(MarketOption="CapacityBlock", PricePerUnit="0.0000000000"),
        # Only the premium of an operating system: $0.042 per GPU-hour for an H200.
        "capacity block premium": aws_row(
            MarketOption="CapacityBlock", PricePerUnit="0.336", operation="RunInstances:CB"
        ),
        "sql": aws_row(**{"Pre Installed S/W": "SQL Std"}),
        "host": aws_row(usageType="HostBoxUsage:p5.48xlarge"),
    }
    parsed = parse(aws_csv(*outside.values(), aws_row(), aws_row(SKU="F", Instance_Type="g6f.large", GPU="0.125")))
    assert [(r.instance_type, str(r.gpu_count_raw)) for r in parsed.records] == [
        ("p5.48xlarge", "8"),
        ("g6f.large", "0.125"),
    ]
    assert parsed.rejections == ()
    assert parsed.skipped == {
        "capacity_block": 2,
        "not_box_usage": 1,
        "not_gpu": 1,
        "other_os_tenancy_or_capacity": 3,
        "pre_installed_software": 1,
    }


def test_reserved_offers_keep_their_two_parts_together(parse: Parse) -> None:
    """Standard 3-year No Upfront of p5.48xlarge was 23.7773 an hour in 2026-06; the other two are made to match."""
    parsed = parse(
        aws_csv(
            *aws_reserved("NO", "No Upfront", hourly="23.7773000000", upfront=None),
            *aws_reserved("PART", "Partial Upfront", hourly="11.0", upfront="290000"),
            *aws_reserved("ALL", "All Upfront", hourly="0.0000000000", upfront="570000"),
            *aws_reserved("CONV", "No Upfront", hourly="30", upfront=None, OfferingClass="convertible"),
        )
    )
    assert parsed.rejections == ()
    found = [
        (r.offer_id.split(".")[1], r.payment_option_raw, r.offering_class_raw, r.price_unit_raw, f"{r.price_amount:f}")
        for r in parsed.records
    ]
    assert found == [
        ("NO", "No Upfront", "standard", "Hrs", "23.7773000000"),
        ("PART", "Partial Upfront", "standard", "Hrs", "11.0"),
        ("PART", "Partial Upfront", "standard", "Quantity", "290000"),
        ("ALL", "All Upfront", "standard", "Hrs", "0.0000000000"),
        ("ALL", "All Upfront", "standard", "Quantity", "570000"),
        ("CONV", "No Upfront", "convertible", "Hrs", "30"),
    ]
    assert {r.term_raw for r in parsed.records} == {"3yr"}


@pytest.mark.parametrize(
    ("option", "hourly", "upfront", "lost"),
    [
        ("Partial Upfront", "11.0", None, "Quantity"),
        ("Partial Upfront", "11.0", "n/a", "Quantity"),
        ("Partial Upfront", None, "290000", "Hrs"),
        ("Partial Upfront", "0.0000000000", "290000", "Hrs"),  # zero is right for All Upfront only
        ("All Upfront", "0.0000000000", None, "Quantity"),
        ("All Upfront", "0.0000000000", "0", "Quantity"),
    ],
)
def test_half_an_offer_is_no_bargain(
    parse: Parse, option: str, hourly: str | None, upfront: str | None, lost: str
) -> None:
    parsed = parse(aws_csv(aws_row(), *aws_reserved("HALF", option, hourly=hourly, upfront=upfront)))
    assert [r.pricing_model_raw for r in parsed.records] == ["OnDemand"]
    assert parsed.rejections[-1].reason is Reason.INCOMPLETE_OFFER
    assert parsed.rejections[-1].detail == f"no usable {lost} price"


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"PricePerUnit": "0.0000000000"}, Reason.PRICE_NOT_POSITIVE, "PricePerUnit"),
        ({"PricePerUnit": "-1"}, Reason.PRICE_NOT_POSITIVE, "PricePerUnit"),
        ({"PricePerUnit": "NaN"}, Reason.PRICE_NOT_FINITE, "PricePerUnit"),
        ({"PricePerUnit": "1,055.04"}, Reason.PRICE_NOT_A_NUMBER, "PricePerUnit"),
        ({"PricePerUnit": ""}, Reason.MISSING_FIELD, "PricePerUnit"),
        ({"Currency": "CNY"}, Reason.CURRENCY_NOT_USD, "Currency"),
        ({"Currency": ""}, Reason.CURRENCY_NOT_USD, "Currency"),
        ({"Unit": "Month"}, Reason.UNKNOWN_UNIT, "Unit"),
        ({"Unit": "Quantity"}, Reason.UNKNOWN_UNIT, "Unit"),  # only reserved terms have an upfront part
        ({"Unit": ""}, Reason.MISSING_FIELD, "Unit"),
        ({"TermType": "Flat"}, Reason.UNKNOWN_PRICING_MODEL, "TermType"),
        ({"StartingRange": "100"}, Reason.TIERED_PRICE, "StartingRange"),
        ({"SKU": ""}, Reason.MISSING_FIELD, "SKU"),
        ({"Instance_Type": ""}, Reason.MISSING_FIELD, "Instance Type"),
        ({"GPU": "eight"}, Reason.UNREADABLE_FIELD, "GPU"),
        ({"EffectiveDate": "soon"}, Reason.UNREADABLE_FIELD, "EffectiveDate"),
        ({"Region_Code": "", "Location": ""}, Reason.MISSING_FIELD, "Location"),
        ({"TermType": "Reserved"}, Reason.MISSING_FIELD, "LeaseContractLength"),
    ],
)
def test_bad_csv_rows_are_rejected_and_good_ones_kept(
    parse: Parse, change: dict[str, str], reason: Reason, field: str
) -> None:
    bad = aws_row(**({"SKU": "BAD"} | change))
    parsed = parse(aws_csv(aws_row(), bad, aws_row(SKU="NEXT")))
    assert [r.sku_id for r in parsed.records] == ["3D4V8UAYEMB38GU2", "NEXT"]
    (rejection,) = parsed.rejections
    assert (rejection.reason, rejection.field, rejection.location) == (reason, field, "part0.txt line 8")


def test_contradicting_rows_of_one_offer_are_both_rejected(parse: Parse) -> None:
    parsed = parse(aws_csv(aws_row(), aws_row(PricePerUnit="54"), aws_row(SKU="OK"), aws_row(SKU="OK")))
    assert [r.sku_id for r in parsed.records] == ["OK"]
    assert [r.reason for r in parsed.rejections] == [Reason.DUPLICATE_KEY_CONFLICT] * 2
    assert parsed.skipped == {"duplicate": 1}


def test_location_name_stands_in_for_a_missing_region_code(parse: Parse) -> None:
    (record,) = parse(aws_csv(aws_row(Region_Code=""))).records
    assert record.region_raw == "US East (N. Virginia)"


@pytest.mark.parametrize("column", ["GPU", "PricePerUnit", "Currency", "MarketOption", "usageType"])
def test_a_missing_column_is_drift(parse: Parse, column: str) -> None:
    renamed = aws_csv(aws_row()).replace(f'"{column}"'.encode(), b'"Renamed"')
    with pytest.raises(SchemaDriftError, match=f"aws: part0.txt: column '{column}' is absent"):
        parse(renamed)


def test_a_cut_csv_is_incomplete(parse: Parse) -> None:
    """Cut inside the last line; and a row with too few columns in the middle is rejected alone."""
    whole = aws_csv(aws_row(), aws_row(SKU="LAST"))
    for cut in (10, 200, 300):
        with pytest.raises(IncompleteSnapshotError, match="ends in the middle of line 8"):
            parse(whole[:-cut])
    with pytest.raises(SchemaDriftError, match="no header line"):
        parse(whole[:150])
    lines = whole.splitlines(keepends=True)
    lines.insert(6, lines[6].replace(b',"BoxUsage', b'"BoxUsage'))
    lines.insert(6, lines[7].replace(b'"AWS Region"', b'"AWS Region"x'))
    parsed = parse(b"".join(lines))
    assert len(parsed.records) == 2
    assert [r.reason for r in parsed.rejections] == [Reason.UNREADABLE_ROW] * 2


def test_a_last_line_without_line_feed_is_whole(parse: Parse) -> None:
    assert len(parse(aws_csv(aws_row(), aws_row(SKU="LAST"))[:-1]).records) == 2


def _offer_json(*, currency: str = "USD", amount: object = "55.04", **attributes: object) -> dict[str, object]:
    """Terms before products, so that nothing depends on their order; one reserved offer in two parts."""

    def offer(code: str, dimensions: list[tuple[str, object]], **terms: str) -> dict[str, object]:
        return {
            f"A.{code}": {
                "offerTermCode": code,
                "sku": "A",
                "effectiveDate": "2026-09-01T00:00:00Z",
                "priceDimensions": {
                    f"A.{code}.{unit}": {"unit": unit, "beginRange": "0", "pricePerUnit": {currency: paid}}
                    for unit, paid in dimensions
                },
                "termAttributes": terms,
            }
        }

    product = {
        "instanceType": "p5.48xlarge",
        "location": "US East (N. Virginia)",
        "regionCode": "us-east-1",
        "tenancy": "Shared",
        "operatingSystem": "Linux",
        "capacitystatus": "Used",
        "preInstalledSw": "NA",
        "marketoption": "OnDemand",
        "usagetype": "BoxUsage:p5.48xlarge",
        "gpu": "8",
    }
    terms = {"LeaseContractLength": "3yr", "OfferingClass": "standard", "PurchaseOption": "Partial Upfront"}
    return {
        "formatVersion": "v1.0",
        "terms": {
            "OnDemand": {"A": offer("J", [("Hrs", amount)]), "B": offer("J", [("Hrs", "1")])},
            "Reserved": {"A": offer("R", [("Hrs", "11.0"), ("Quantity", "290000")], **terms)},
        },
        "products": {
            "A": {"sku": "A", "attributes": product | attributes},
            "B": {"sku": "B", "attributes": {**product, "gpu": None}},
        },
    }


def test_json_and_csv_say_the_same(parse: Parse) -> None:
    from_json = parse(dumps(_offer_json()))
    rows = [
        aws_row(SKU="A", OfferTermCode="J", PricePerUnit="55.04"),
        *aws_reserved("R", "Partial Upfront", hourly="11.0", upfront="290000", SKU="A"),
    ]
    from_csv = parse(aws_csv(*rows))
    assert from_json.records == from_csv.records
    assert len(from_json.records) == 3
    assert from_json.skipped == {"not_gpu": 1}


def test_yuan_are_not_dollars(parse: Parse) -> None:
    """Anomaly 2: China offers price under CNY."""
    parsed = parse(dumps(_offer_json(currency="CNY")))
    assert parsed.records == ()
    assert [(r.reason, r.detail) for r in parsed.rejections] == [(Reason.CURRENCY_NOT_USD, "CNY")] * 3


def test_cut_json_is_incomplete(parse: Parse) -> None:
    whole = dumps(_offer_json())
    for cut in range(1, len(whole) - 40, 37):
        with pytest.raises((IncompleteSnapshotError, SchemaDriftError), match=r"^aws: part0\.txt"):
            parse(whole[:-cut])


def test_several_files_make_one_snapshot(parse: Parse) -> None:
    parsed = parse(aws_csv(aws_row(SKU="X")), dumps(_offer_json()))
    assert {r.sku_id for r in parsed.records} == {"X", "A"}


def _website(**changes: object) -> dict[str, object]:
    entry = {
        "rateCode": "S.J.6",
        "price": "55.0400000000",
        "Instance Type": "p5.48xlarge",
        "Operating System": "Linux",
        "Pre Installed S/W": "NA",
        **changes,
    }
    return {"regions": {"US East (N. Virginia)": {"label": entry}}}


def test_website_table_without_family_goes_by_the_size_name(parse: Parse) -> None:
    assert len(parse(dumps(_website())).records) == 1
    for size in ("m5.large", "inf2.xlarge", "trn1.2xlarge", "hpc7g.4xlarge"):
        assert parse(dumps(_website(**{"Instance Type": size}))).skipped == {"not_gpu": 1}
    assert parse(dumps(_website(**{"Instance Family": "FPGA Instances"}))).skipped == {"not_gpu": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"price": "0.0000000000"}, Reason.PRICE_NOT_POSITIVE),
        ({"price": None}, Reason.MISSING_FIELD),
        ({"rateCode": None}, Reason.MISSING_FIELD),
        ({"Instance Type": None}, Reason.MISSING_FIELD),
    ],
)
def test_bad_website_entries_are_rejected(parse: Parse, change: dict[str, object], reason: Reason) -> None:
    parsed = parse(dumps(_website(**change)))
    assert [r.reason for r in parsed.rejections] == [reason]
    assert parsed.records == ()


def test_lines_are_told_apart_before_they_are_split(parse: Parse) -> None:
    """Quoted commas and quotes before the GPU column, and a quoted empty GPU, change nothing."""
    tricky = aws_row(SKU="T", PriceDescription='a, "b", ,c""', Location='US East, "N." Virginia')
    no_gpu = aws_csv(aws_row(GPU="@")).replace(b'"@"', b'""')
    parsed = parse(no_gpu, aws_csv(tricky, aws_row(PriceDescription="", GPU="")))
    assert [r.sku_id for r in parsed.records] == ["T"]
    assert (parsed.skipped, parsed.rejections) == ({"not_gpu": 2}, ())


def test_parsing_holds_the_prices_and_not_the_file(landing: Landing, tmp_path: Path) -> None:
    """The offer file of us-east-1 is 450 MB; of these 60 MB three in four lines are Windows and the rest no GPU."""
    outside = aws_csv(*[aws_row(Operating_System="Windows")] * 3, aws_row(GPU="", Instance_Type="m5.large"))
    header, lines = outside[: outside.index(b'"3D4V')], outside[outside.index(b'"3D4V') :]
    file = tmp_path / "index.csv"
    file.write_bytes(header + lines * (60_000_000 // len(lines)) + aws_csv(aws_row())[len(header) :])
    tracemalloc.start()
    try:
        parsed = replay(landing, "ec2-us-east-1", file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(parsed.records) == 1
    assert sum(parsed.skipped.values()) > 120_000
    assert peak < 20_000_000  # two batches of eight at the hash
