"""Lambda's instance types."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

LAMBDA_PATH = "/api/v1/instance-types"


def lambda_type(
    cents: Any = 429, gpu: str = "H100 (80 GB SXM5)", gpus: Any = 1, regions: Any = (), **changes: Any
) -> dict[str, Any]:
    """gpu_1x_h100_sxm5 as documented on 2026-08-15: sold out everywhere."""
    return {
        "instance_type": {
            "name": "gpu_1x_h100_sxm5",
            "description": f"{gpus}x {gpu}",
            "gpu_description": gpu,
            "price_cents_per_hour": cents,
            "architecture": "x86_64",
            "specs": {"vcpus": 26, "memory_gib": 225, "storage_gib": 1024, "gpus": gpus},
            **changes,
        },
        "regions_with_capacity_available": [{"name": name, "description": name} for name in regions],
    }


def lambda_answer(**types: Any) -> dict[str, Any]:
    return {"data": types}


def serve_lambda(server: FaultServer, document: object) -> None:
    server.add(LAMBDA_PATH, Answer.json(document))


FEED = Feed(
    dataset="instance-types",
    serve=lambda server: serve_lambda(
        server, lambda_answer(gpu_1x_h100_sxm5=lambda_type(), gpu_1x_gh200=lambda_type(229, "GH200 (96 GB)"))
    ),
    last_path=LAMBDA_PATH,
    record_count=2,
    good=dumps(lambda_answer(gpu_1x_h100_sxm5=lambda_type())),
)
