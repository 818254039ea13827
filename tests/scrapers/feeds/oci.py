"""Oracle's product list."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

OCI_PATH = "/pls/apex/cetools/api/v1/products/"


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


def serve_oci(server: FaultServer, document: object) -> None:
    server.add(OCI_PATH, Answer.json(document))


FEED = Feed(
    dataset="products",
    serve=lambda server: serve_oci(server, oci_list(oci_item(), oci_item("B109479", 3.5))),
    last_path=OCI_PATH,
    record_count=2,
    good=dumps(oci_list(oci_item())),
)
