"""TensorDock's locations."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

TENSORDOCK_PATH = "/api/v2/locations"


def tensordock_gpu(name: str = "h100-sxm5-80gb", usd: Any = 2.2, **changes: Any) -> dict[str, Any]:
    """The GPU of the documented example."""
    return {
        "v0Name": name,
        "displayName": "H100 SXM5 80GB",
        "max_count": 8,
        "price_per_hr": usd,
        "resources": {"max_vcpus": 128, "max_ram_gb": 300, "max_storage_gb": 1000},
        "pricing": {"per_vcpu_hr": 0.003, "per_gb_ram_hr": 0.002, "per_gb_storage_hr": 0.00005},
        **changes,
    }


def tensordock_location(*gpus: Any, **changes: Any) -> dict[str, Any]:
    return {
        "id": "location-1",
        "city": "Austin",
        "stateprovince": "Texas",
        "country": "United States",
        "tier": 3,
        "gpus": list(gpus),
        **changes,
    }


def tensordock_answer(*locations: Any) -> dict[str, Any]:
    return {"data": {"locations": list(locations)}}


def serve_tensordock(server: FaultServer, document: object) -> None:
    server.add(TENSORDOCK_PATH, Answer.json(document))


_GOOD = tensordock_answer(
    tensordock_location(
        tensordock_gpu(), tensordock_gpu("geforcertx4090-pcie-24gb", 0.35, displayName="GeForce RTX 4090 24GB")
    )
)

FEED = Feed(
    dataset="locations",
    serve=lambda server: serve_tensordock(server, _GOOD),
    last_path=TENSORDOCK_PATH,
    record_count=2,
    good=dumps(_GOOD),
)
