"""Together's two hardware lists."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

TOGETHER_PATH = "/v2/public/inference-instance-types"
TOGETHER_OLD_PATH = "/v1/hardware"


def together_type(hardware: str = "1xnvidia-h100-80gb", cents: Any = 549, **changes: Any) -> dict[str, Any]:
    """One H100 of the list of 2026, in the fields of the provider's SDK."""
    return {
        "id": hardware,
        "name": "1x H100 80GB",
        "description": "One GPU",
        "gpuType": "H100",
        "gpuCount": 1,
        "gpuMemoryGib": 80,
        "priceCentsPerHour": cents,
        "regions": [{"name": "us-east", "headroom": {"relation": "RELATION_GTE", "value": 4}}],
        **changes,
    }


def together_hardware(
    hardware: str = "1x_nvidia_h100_80gb_sxm", cents: Any = 9, count: Any = 1, memory: Any = 80, **changes: Any
) -> dict[str, Any]:
    """One H100 of the old list, in the fields of the documentation."""
    return {
        "object": "hardware",
        "id": hardware,
        "pricing": {"cents_per_minute": cents},
        "specs": {"gpu_type": "h100", "gpu_link": "sxm", "gpu_memory": memory, "gpu_count": count},
        "updated_at": "2026-10-01T05:31:56Z",
        **changes,
    }


def together_answer(*hardware: Any) -> dict[str, Any]:
    return {"object": "list", "data": list(hardware), "next_cursor": None}


def serve_together(server: FaultServer, document: object, *, path: str = TOGETHER_PATH) -> None:
    server.add(path, Answer.json(document))


FEED = Feed(
    dataset="hardware",
    serve=lambda server: serve_together(
        server, together_answer(together_type(), together_type("2xnvidia-h100-80gb", 1098, gpuCount=2))
    ),
    last_path=TOGETHER_PATH,
    fallback_path=TOGETHER_OLD_PATH,
    record_count=2,
    good=dumps(together_answer(together_type())),
)
