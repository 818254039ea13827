"""Hyperstack's price book."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

HYPERSTACK_PATH = "/v1/pricebook"


def hyperstack_entry(name: str = "H100-80G-SXM5", usd: Any = 3.2, **changes: Any) -> dict[str, Any]:
    """H100 SXM by default, all fields of the documented schema; figures of the price page of 2026-08-26."""
    return {
        "id": 10,
        "name": name,
        "value": usd,
        "original_value": usd,
        "discount_applied": False,
        "start_time": None,
        "end_time": None,
        **changes,
    }


def serve_hyperstack(server: FaultServer, document: object) -> None:
    server.add(HYPERSTACK_PATH, Answer.json(document))


_GOOD = [
    hyperstack_entry(),
    hyperstack_entry("H100-80G-PCIe", 2.5, id=11),
    hyperstack_entry("H100-80G-PCIe-spot", 2.0, id=12),
    hyperstack_entry("vCPU (cpu-only-flavors)", 0.05, id=13),
]

FEED = Feed(
    dataset="pricebook",
    serve=lambda server: serve_hyperstack(server, _GOOD),
    last_path=HYPERSTACK_PATH,
    record_count=3,
    good=dumps(_GOOD),
)
