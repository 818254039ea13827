"""AWS savings plan files and the region index that names them."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

SP_INDEX_PATH = "/savingsPlan/v1.0/aws/AWSComputeSavingsPlan/current/region_index.json"
_VERSION = "20260925195803"


def sp_plan(
    sku: str, kind: str = "ComputeSavingsPlans", term: str = "1yr", option: str = "No Upfront"
) -> dict[str, Any]:
    """A plan, as in the list of products."""
    return {
        "sku": sku,
        "productFamily": kind,
        "serviceCode": "ComputeSavingsPlans",
        "usageType": f"ComputeSP:{term}{option.replace(' ', '')}",
        "operation": "",
        "attributes": {
            "purchaseOption": option,
            "granularity": "hourly",
            "purchaseTerm": term,
            "location": "Any",
        },
    }


def sp_rate(plan: str, amount: str = "34.6752", **changes: Any) -> dict[str, Any]:
    """p5.48xlarge in us-east-1 under a plan; its one-year rate of 2026-09-25 by default."""
    return {
        "discountedSku": "3D4V8UAYEMB38GU2",
        "discountedUsageType": "BoxUsage:p5.48xlarge",
        "discountedOperation": "RunInstances",
        "discountedServiceCode": "AmazonEC2",
        "rateCode": f"{plan}.{changes.get('discountedSku', '3D4V8UAYEMB38GU2')}",
        "unit": "Hrs",
        "discountedRate": {"price": amount, "currency": "USD"},
        "discountedRegionCode": "us-east-1",
        "discountedInstanceType": "p5.48xlarge",
        **changes,
    }


def sp_file(plans: list[Any], rates: dict[str, list[Any]]) -> dict[str, Any]:
    """A region's file: plans, and the rates of each by its SKU."""
    terms = [
        {
            "sku": sku,
            "description": "1 year No Upfront Compute Savings Plan",
            "effectiveDate": "2026-09-25T19:58:03Z",
            "leaseContractLength": {"duration": 1, "unit": "year"},
            "rates": listed,
        }
        for sku, listed in rates.items()
    ]
    return {
        "version": _VERSION,
        "publicationDate": "2026-09-25T19:58:03Z",
        "regionCode": "us-east-1",
        "products": plans,
        "terms": {"savingsPlan": terms},
    }


def serve_sp(server: FaultServer, document: object, *, version: str = _VERSION, region: str = "us-east-1") -> str:
    """Region index and the file it lists; returns the path of the file."""
    path = f"/savingsPlan/v1.0/aws/AWSComputeSavingsPlan/{version}/{region}/index.json"
    server.add(SP_INDEX_PATH, Answer.json({"regions": [{"regionCode": region, "versionUrl": path}]}))
    server.add(path, Answer.json(document))
    return path


_GOOD = sp_file(
    [sp_plan("PLAN1"), sp_plan("PLAN3", "EC2InstanceSavingsPlans", "3yr", "All Upfront")],
    {"PLAN1": [sp_rate("PLAN1")], "PLAN3": [sp_rate("PLAN3", "22.1")]},
)

FEED = Feed(
    dataset="sp-us-east-1",
    serve=lambda server: serve_sp(server, _GOOD),
    serve_newer=lambda server: serve_sp(server, _GOOD, version="20260926000000"),
    last_path=f"/savingsPlan/v1.0/aws/AWSComputeSavingsPlan/{_VERSION}/us-east-1/index.json",
    record_count=2,
    good=dumps(_GOOD),
)
