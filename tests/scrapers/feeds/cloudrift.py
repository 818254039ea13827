"""CloudRift's instance types."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

CLOUDRIFT_PATH = "/api/v1/instance-types/list"


def cloudrift_variant(gpus: int = 1, cents: Any = 65, **changes: Any) -> dict[str, Any]:
    """The 1-GPU machine by default: RTX 5090 was 0.62 to 0.65 in the public catalogue of 2026-10-06."""
    return {
        "name": f"rtx59-16c-nr.{gpus}",
        "cost_per_hour": cents,
        "gpu_count": gpus,
        "vram": 34359738368,
        "cpu_count": 16 * gpus,
        "dram": 68719476736 * gpus,
        "disk": 214748364800,
        "nodes_per_dc": {"us-east-example-1": 2},
        "available_nodes": 2,
        **changes,
    }


def cloudrift_type(*variants: Any, **changes: Any) -> dict[str, Any]:
    return {"name": "rtx59-16c-nr", "brand_short": "RTX 5090", "variants": list(variants), **changes}


def cloudrift_answer(*types: Any) -> dict[str, Any]:
    return {"version": "2025-01-29", "data": {"instance_types": list(types)}}


def serve_cloudrift(server: FaultServer, document: object) -> None:
    server.add(CLOUDRIFT_PATH, Answer.json(document))


_GOOD = cloudrift_answer(cloudrift_type(cloudrift_variant(), cloudrift_variant(2, 130)))

FEED = Feed(
    dataset="instance-types",
    serve=lambda server: serve_cloudrift(server, _GOOD),
    last_path=CLOUDRIFT_PATH,
    record_count=2,
    good=dumps(_GOOD),
)
