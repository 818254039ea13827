"""AWS offer files as CSV and JSON, and the region index that names them."""

import csv
import io
from collections.abc import Mapping

from feeds import Feed
from tests.fault_server import Answer, FaultServer

AWS_INDEX_PATH = "/offers/v1.0/aws/AmazonEC2/current/region_index.json"
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


def serve_aws(server: FaultServer, region: str, offer_csv: bytes, *, version: str = "20261001000000") -> str:
    """Region index and the CSV twin of the file it lists; returns the path of the CSV."""
    folder = f"/offers/v1.0/aws/AmazonEC2/{version}/{region}"
    index = {"regions": {region: {"regionCode": region, "currentVersionUrl": f"{folder}/index.json"}}}
    server.add(AWS_INDEX_PATH, Answer.json(index))
    server.add(f"{folder}/index.csv", Answer(offer_csv))
    return f"{folder}/index.csv"


_OFFER_JSON = {
    "formatVersion": "v1.0",
    "offerCode": "AmazonEC2",
    "products": {
        "A": {
            "sku": "A",
            "attributes": {
                "instanceType": "p5.48xlarge",
                "regionCode": "us-east-1",
                "location": "US East (N. Virginia)",
                "tenancy": "Shared",
                "operatingSystem": "Linux",
                "capacitystatus": "Used",
                "preInstalledSw": "NA",
                "marketoption": "OnDemand",
                "usagetype": "BoxUsage:p5.48xlarge",
                "gpu": "8",
            },
        }
    },
    "terms": {
        "OnDemand": {
            "A": {
                "A.J": {
                    "offerTermCode": "J",
                    "effectiveDate": "2026-09-01T00:00:00Z",
                    "priceDimensions": {
                        "A.J.6": {"unit": "Hrs", "beginRange": "0", "pricePerUnit": {"USD": "55.0400000000"}}
                    },
                    "termAttributes": {},
                }
            }
        }
    },
}

FEED = Feed(
    dataset="ec2-us-east-1",
    serve=lambda server: serve_aws(server, "us-east-1", aws_csv(aws_row())),
    serve_newer=lambda server: serve_aws(server, "us-east-1", aws_csv(aws_row()), version="20261002000000"),
    last_path="/offers/v1.0/aws/AmazonEC2/20261001000000/us-east-1/index.csv",
    record_count=1,
    good=aws_csv(aws_row()),
    good_json=_OFFER_JSON,
)
