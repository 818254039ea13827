"""Shadeform's list of instance types."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

SHADEFORM_PATH = "/v1/instances/types"


def shadeform_type(**changes: Any) -> dict[str, Any]:
    """Eight H100 SXM at Lambda, 31.92 USD an hour, to be had in one of two regions."""
    return {
        "cloud": "lambdalabs",
        "shade_instance_type": "H100x8",
        "cloud_instance_type": "gpu_8x_h100_sxm5",
        "configuration": {
            "memory_in_gb": 1800,
            "storage_in_gb": 22000,
            "vcpus": 208,
            "num_gpus": 8,
            "gpu_type": "H100",
            "interconnect": "sxm5",
            "vram_per_gpu_in_gb": 80,
        },
        "hourly_price": 3192,
        "deployment_type": "vm",
        "availability": [
            {"region": "us-east-1", "available": True, "display_name": "Virginia, USA"},
            {"region": "us-west-2", "available": False, "display_name": "Arizona, USA"},
        ],
        **changes,
    }


def shadeform_answer(*types: Any) -> dict[str, Any]:
    return {"instance_types": list(types)}


def serve_shadeform(server: FaultServer, document: object) -> None:
    server.add(SHADEFORM_PATH, Answer.json(document))


FEED = Feed(
    dataset="instance-types",
    serve=lambda server: serve_shadeform(server, shadeform_answer(shadeform_type())),
    last_path=SHADEFORM_PATH,
    record_count=2,
    good=dumps(shadeform_answer(shadeform_type())),
)
