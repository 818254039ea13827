"""Together's hardware list."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

TOGETHER_PATH = "/v1/hardware"


def together_hardware(
    hardware: str = "1x_nvidia_h100_80gb_sxm", cents: Any = 9, count: Any = 1, memory: Any = 80, **changes: Any
) -> dict[str, Any]:
    """One H100, in the fields of the documentation."""
    return {
        "object": "hardware",
        "id": hardware,
        "pricing": {"cents_per_minute": cents},
        "specs": {"gpu_type": "h100", "gpu_link": "sxm", "gpu_memory": memory, "gpu_count": count},
        "updated_at": "2026-10-01T05:31:56Z",
        **changes,
    }


def together_answer(*hardware: Any) -> dict[str, Any]:
    return {"object": "list", "data": list(hardware)}


def serve_together(server: FaultServer, document: object) -> None:
    server.add(TOGETHER_PATH, Answer.json(document))


FEED = Feed(
    dataset="hardware",
    serve=lambda server: serve_together(
        server, together_answer(together_hardware(), together_hardware("2x_nvidia_h100_80gb_sxm", 18, 2))
    ),
    last_path=TOGETHER_PATH,
    record_count=2,
    good=dumps(together_answer(together_hardware())),
)
