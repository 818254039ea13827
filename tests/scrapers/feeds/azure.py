"""Azure's retail price items, in pages."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer, Request

AZURE_PATH = "/api/retail/prices"


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


def serve_azure(server: FaultServer, items: list[dict[str, Any]], *, page_size: int = 1000) -> None:
    """`$skip` paging with absolute links, null at the end."""

    def page(request: Request) -> Answer:
        skip = int(request.query.get("$skip", 0))
        following = skip + page_size
        link = f"{server.url}{AZURE_PATH}?$skip={following}" if following < len(items) else None
        return Answer.json(azure_page(items[skip:following], NextPageLink=link))

    server.respond(AZURE_PATH, page)


FEED = Feed(
    dataset="eastus",
    serve=lambda server: serve_azure(
        server, [azure_item(armSkuName=f"Standard_ND{n}", skuId=f"S/{n}") for n in range(5)], page_size=2
    ),
    last_path=AZURE_PATH,
    record_count=5,
    good=dumps(azure_page([azure_item()])),
)
