"""Hand-written answers in each provider's shape, and a clock that does not wait.

Figures are list prices of 2026 unless a test says otherwise.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scrapers.landing import Landing
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot
from scrapers.snapshot import Origin
from tests.fault_server import FaultServer

RECORDED = datetime(2026, 10, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 6, 0, 0, tzinfo=UTC)

ROOT = Path(__file__).parents[2]


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


# Column names and order as in the published file; columns that no test needs are left out.
AWS_COLUMNS = (
    *("SKU", "OfferTermCode", "RateCode", "TermType", "PriceDescription", "EffectiveDate", "StartingRange"),
    *("EndingRange", "Unit", "PricePerUnit", "Currency", "LeaseContractLength", "PurchaseOption", "OfferingClass"),
    *("Product Family", "Location", "Location Type", "Instance Type", "Instance Family", "vCPU", "Memory", "Tenancy"),
    *("Operating System", "License Model", "usageType", "operation", "CapacityStatus", "GPU", "GPU Memory"),
    *("MarketOption", "Pre Installed S/W", "Region Code"),
)
_AWS_METADATA = (
    '"FormatVersion","v1.0"\n"Disclaimer","This pricing list is for informational purposes only."\n'
    '"Publication Date","2026-10-01T00:00:00Z"\n"Version","20261001000000"\n"OfferCode","AmazonEC2"\n'
)


def aws_row(**changes: str) -> dict[str, str]:
    """p5.48xlarge on demand in us-east-1; keyword names are columns with blanks as underscores."""
    row = {
        "SKU": "3D4V8UAYEMB38GU2",
        "OfferTermCode": "JRTCKXETXF",
        "RateCode": "3D4V8UAYEMB38GU2.JRTCKXETXF.6YS6EN2CT7",
        "TermType": "OnDemand",
        "PriceDescription": '$55.04 per On Demand Linux p5.48xlarge, "plain", Instance Hour',
        "EffectiveDate": "2026-09-01",
        "StartingRange": "0",
        "EndingRange": "Inf",
        "Unit": "Hrs",
        "PricePerUnit": "55.0400000000",
        "Currency": "USD",
        "Product Family": "Compute Instance",
        "Location": "US East (N. Virginia)",
        "Location Type": "AWS Region",
        "Instance Type": "p5.48xlarge",
        "Instance Family": "GPU instance",
        "vCPU": "192",
        "Memory": "2048 GiB",
        "Tenancy": "Shared",
        "Operating System": "Linux",
        "License Model": "No License required",
        "usageType": "BoxUsage:p5.48xlarge",
        "operation": "RunInstances",
        "CapacityStatus": "Used",
        "GPU": "8",
        "GPU Memory": "NA",
        "MarketOption": "OnDemand",
        "Pre Installed S/W": "NA",
        "Region Code": "us-east-1",
    }
    return row | {name.replace("_", " "): value for name, value in changes.items()}


def aws_reserved(
    offer: str, option: str, *, hourly: str | None, upfront: str | None, **changes: str
) -> list[dict[str, str]]:
    """The rows of one reserved offer."""
    terms = {
        "TermType": "Reserved",
        "OfferTermCode": offer,
        "PurchaseOption": option,
        "LeaseContractLength": "3yr",
        "OfferingClass": "standard",
        **changes,
    }
    parts = {"Hrs": hourly, "Quantity": upfront}
    return [aws_row(Unit=unit, PricePerUnit=paid, **terms) for unit, paid in parts.items() if paid is not None]


def aws_csv(*rows: Mapping[str, str]) -> bytes:
    """An offer file: metadata lines, header, every non-empty field quoted and empty ones bare."""
    out = io.StringIO()
    out.write(_AWS_METADATA)
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(AWS_COLUMNS)
    for row in rows:
        cells = (row.get(column, "") for column in AWS_COLUMNS)
        out.write(",".join('"' + cell.replace('"', '""') + '"' if cell else "" for cell in cells) + "\n")
    return out.getvalue().encode()


def azure_item(**changes: Any) -> dict[str, Any]:
    """ND96isr_H100_v5 on demand in eastus, all fields of the API."""
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": 98.32,
        "unitPrice": 98.32,
        "armRegionName": "eastus",
        "location": "US East",
        "effectiveStartDate": "2024-01-01T00:00:00Z",
        "meterId": "m-h100",
        "meterName": "ND96isrH100v5",
        "productId": "DZH318Z0TEST",
        "skuId": "DZH318Z0TEST/0001",
        "productName": "Virtual Machines NDsr H100 v5 Series",
        "skuName": "ND96isrH100v5",
        "serviceName": "Virtual Machines",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": "Standard_ND96isr_H100_v5",
        **changes,
    }


def azure_page(items: list[Any], **changes: Any) -> dict[str, Any]:
    return {"BillingCurrency": "USD", "Items": items, "NextPageLink": None, "Count": len(items), **changes}


def oci_item(part: str = "B98415", value: Any = 10, **changes: Any) -> dict[str, Any]:
    """H100 by default."""
    return {
        "partNumber": part,
        "displayName": "Oracle Cloud Infrastructure - Compute - GPU - H100",
        "metricName": "GPU Per Hour",
        "serviceCategory": "Compute - GPU",
        "currencyCodeLocalizations": [{"currencyCode": "USD", "prices": [{"model": "PAY_AS_YOU_GO", "value": value}]}],
        **changes,
    }


def oci_list(*items: Any) -> dict[str, Any]:
    return {"lastUpdated": "2026-10-01T14:18:05.193Z", "items": list(items)}


def runpod_type(**changes: Any) -> dict[str, Any]:
    """H100 SXM with the flags and spot prices of a live answer."""
    return {
        "id": "NVIDIA H100 80GB HBM3",
        "displayName": "H100 SXM",
        "memoryInGb": 80,
        "secureCloud": True,
        "communityCloud": True,
        "securePrice": 3.49,
        "communityPrice": 2.69,
        "secureSpotPrice": 1.75,
        "communitySpotPrice": 1.5,
        **changes,
    }


def runpod_answer(*types: Any) -> dict[str, Any]:
    return {"data": {"gpuTypes": list(types)}}


@dataclass(frozen=True)
class Feed:
    """How a test serves one source: whole and good, and where its last answer comes from."""

    dataset: str
    serve: Callable[[FaultServer], None]
    last_path: str
    record_count: int
    good: bytes  # one payload as landed


def _serve_azure(server: FaultServer) -> None:
    server.serve_azure([azure_item(armSkuName=f"Standard_ND{n}", skuId=f"S/{n}") for n in range(5)], page_size=2)


FEEDS = {
    "aws": Feed(
        "ec2-us-east-1",
        lambda server: server.serve_aws("us-east-1", aws_csv(aws_row())) and None,
        "/offers/v1.0/aws/AmazonEC2/20261001000000/us-east-1/index.csv",
        1,
        aws_csv(aws_row()),
    ),
    "azure": Feed("eastus", _serve_azure, "/api/retail/prices", 5, json.dumps(azure_page([azure_item()])).encode()),
    "oci": Feed(
        "products",
        lambda server: server.serve_oci(oci_list(oci_item(), oci_item("B109479", 3.5))),
        "/pls/apex/cetools/api/v1/products/",
        2,
        json.dumps(oci_list(oci_item())).encode(),
    ),
    "runpod": Feed(
        "gpu-types",
        lambda server: server.serve_runpod(runpod_answer(runpod_type())),
        "/graphql",
        4,
        json.dumps(runpod_answer(runpod_type())).encode(),
    ),
}


def parse_bytes(source: str, landing: Landing, *bodies: bytes, directory: Path) -> ParsedSnapshot:
    """Land bodies as a replay, through the same path as a live answer, and parse what was landed."""
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / f"part{number}.txt" for number, _ in enumerate(bodies)]
    for file, body in zip(files, bodies, strict=True):
        file.write_bytes(body)
    entry = landing.land_files(source, FEEDS[source].dataset, files, RECORDED, Origin.REPLAY)
    return PRICE_SOURCES[source].parse(landing.open_snapshot(entry))


def dumps(value: object) -> bytes:
    return json.dumps(value).encode()
