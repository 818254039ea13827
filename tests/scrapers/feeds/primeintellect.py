"""Prime Intellect's paged list of offers."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

PRIME_PATH = "/api/v1/availability/gpus"


def prime_offer(**changes: Any) -> dict[str, Any]:
    """One H100 PCIe of RunPod, 2.69 USD an hour."""
    return {
        "cloudId": "NVIDIA H100 PCIe",
        "gpuType": "H100_80GB",
        "socket": "PCIe",
        "provider": "runpod",
        "region": "united_states",
        "dataCenter": "US-KS-2",
        "country": "US",
        "gpuCount": 1,
        "gpuMemory": 80,
        "stockStatus": "Low",
        "security": "secure_cloud",
        "prices": {"onDemand": 2.69, "communityPrice": None, "currency": "USD"},
        **changes,
    }


def prime_page(*offers: Any, total: Any = None) -> dict[str, Any]:
    return {"items": list(offers), "totalCount": len(offers) if total is None else total}


def prime_offers(count: int) -> list[dict[str, Any]]:
    return [prime_offer(cloudId=f"type {number}") for number in range(count)]


def serve_prime(server: FaultServer, *pages: object) -> None:
    server.respond(PRIME_PATH, lambda request: Answer.json(pages[int(request.query["page"]) - 1]))


FEED = Feed(
    dataset="gpus",
    serve=lambda server: serve_prime(
        server, prime_page(*prime_offers(100), total=102), prime_page(prime_offer(), prime_offer(gpuCount=8), total=102)
    ),
    last_path=PRIME_PATH,
    record_count=102,
    good=dumps(prime_page(prime_offer())),
)
