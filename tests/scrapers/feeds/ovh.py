"""OVH's catalogue of one subsidiary."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

OVH_PATH = "/1.0/order/catalog/public/cloud"


def ovh_addon(code: str = "h100-380.consumption", price: Any = 280_000_000, **changes: Any) -> dict[str, Any]:
    """One H100 by the hour, 2.80 euros: FR catalogue, 2026-08-22."""
    return {
        "planCode": code,
        "invoiceName": code.partition(".")[0],
        "product": "publiccloud-instance",
        "pricingType": "consumption",
        "pricings": [{"price": price, "interval": 1, "intervalUnit": "hour", "type": "consumption"}],
        "blobs": {
            "commercial": {"brick": "gpu"},
            "tags": ["active"],
            "technical": {
                "gpu": {"model": "H100", "number": 1, "memory": {"size": 80}},
                "os": {"family": "linux"},
                "name": "h100-380",
            },
        },
        **changes,
    }


def ovh_monthly(
    code: str = "h100-380.monthly.postpaid", price: Any = 194_000_000_000, **changes: Any
) -> dict[str, Any]:
    """The same by the month, 1940.00 euros."""
    pricings = [{"price": price, "interval": 1, "intervalUnit": "month", "type": "consumption"}]
    return ovh_addon(code, **{"pricings": pricings, "product": "publiccloud-instance-monthly", **changes})


def ovh_catalogue(*addons: Any, **locale: Any) -> dict[str, Any]:
    return {
        "catalogId": 1,
        "locale": {"currencyCode": "EUR", "subsidiary": "FR", "taxRate": 20, **locale},
        "plans": [],
        "addons": list(addons),
    }


def serve_ovh(server: FaultServer, document: object) -> None:
    server.add(OVH_PATH, Answer.json(document))


FEED = Feed(
    dataset="fr",
    serve=lambda server: serve_ovh(server, ovh_catalogue(ovh_addon(), ovh_monthly())),
    last_path=OVH_PATH,
    record_count=2,
    good=dumps(ovh_catalogue(ovh_addon())),
)
