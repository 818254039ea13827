"""Compute Engine SKUs of the Cloud Billing Catalog, in pages by token."""

from decimal import Decimal
from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer, Request

GCP_PATH = "/v1/services/6F81-5844-456A/skus"
_GROUPS = {"GiBy.h": "RAM", "GBy.h": "RAM", "GiBy.mo": "LocalSSD"}


def gcp_sku(description: str, amount: str, unit: str | None = None, **changes: Any) -> dict[str, Any]:
    """A SKU whose unit follows from its description; changes: sku_id, regions, group, usage, currency."""
    if unit is None:
        unit = "GiBy.h" if " Ram" in description else "GiBy.mo" if "Local S" in description else "h"
    units, _, fraction = amount.partition(".")
    group = "GPU" if "GPU" in description or "gpu" in description.lower() or "RTX" in description else "CPU"
    expression = {
        "usageUnit": unit,
        "displayQuantity": 1,
        "tieredRates": [
            {
                "startUsageAmount": 0,
                "unitPrice": {
                    "currencyCode": changes.get("currency", "USD"),
                    "units": units,
                    "nanos": int(Decimal("0." + (fraction or "0")).scaleb(9)),
                },
            }
        ],
    }
    return {
        "skuId": changes.get("sku_id", "SKU:" + description.replace(" ", "-")[:40]),
        "description": description,
        "category": {
            "serviceDisplayName": "Compute Engine",
            "resourceFamily": "Storage" if unit == "GiBy.mo" else "Compute",
            "resourceGroup": changes.get("group", _GROUPS.get(unit, group)),
            "usageType": changes.get("usage", "OnDemand"),
        },
        "serviceRegions": changes.get("regions", ["us-central1"]),
        "pricingInfo": [{"summary": "", "pricingExpression": expression, "effectiveTime": "2026-11-22T20:00:00Z"}],
    }


# G2 in us-central1 on 2026-07-30, solved from the published 0.706832255 (4 cores) and 0.853624271 (8): a core and four
# GiB are a quarter of the difference, 0.036698004; the GPU is twice the first less the second, 0.560040239.
GCP_G2 = [
    gcp_sku("G2 Instance Core running in Americas", "0.024990004"),
    gcp_sku("G2 Instance Ram running in Americas", "0.002927"),
    gcp_sku("Nvidia L4 GPU running in Americas", "0.560040239"),
]


def gcp_page(*skus: Any, token: str = "") -> dict[str, Any]:
    return {"skus": list(skus), "nextPageToken": token}


def serve_gcp(server: FaultServer, skus: list[Any], *, page_size: int = 5000) -> None:
    """Pages by token; without the key in its header, what Google answers: 403."""

    def page(request: Request) -> Answer:
        if not request.headers.get("x-goog-api-key"):
            return Answer(status=403)
        token = request.query.get("pageToken", "")
        start = int(token.removeprefix("after-") or 0)
        rest = start + page_size
        return Answer.json(gcp_page(*skus[start:rest], token=f"after-{rest}" if rest < len(skus) else ""))

    server.respond(GCP_PATH, page)


FEED = Feed(
    dataset="compute-engine",
    serve=lambda server: serve_gcp(server, GCP_G2, page_size=1),
    last_path=GCP_PATH,
    record_count=8,  # g2-standard-4 to -96
    good=dumps(gcp_page(*GCP_G2)),
)
