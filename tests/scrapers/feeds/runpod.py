"""RunPod's GraphQL answer."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer


def runpod_type(**changes: Any) -> dict[str, Any]:
    """H100 SXM with the flags and spot prices of a live answer."""
    return {
        "id": "NVIDIA H100 80GB HBM3",
        "displayName": "H100 SXM",
        "memoryInGb": 80,
        "secureCloud": True,
        "communityCloud": True,
        "securePrice": 3.49,
        "communityPrice": 2.69,
        "secureSpotPrice": 1.75,
        "communitySpotPrice": 1.5,
        **changes,
    }


def runpod_answer(*types: Any) -> dict[str, Any]:
    return {"data": {"gpuTypes": list(types)}}


def serve_runpod(server: FaultServer, document: object) -> None:
    server.add("/graphql", Answer.json(document))


FEED = Feed(
    dataset="gpu-types",
    serve=lambda server: serve_runpod(server, runpod_answer(runpod_type())),
    last_path="/graphql",
    record_count=4,
    good=dumps(runpod_answer(runpod_type())),
)
