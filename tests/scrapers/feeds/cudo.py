"""Cudo's machine types."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

CUDO_PATH = "/v1/vms/machine-types"


def cudo_type(**changes: Any) -> dict[str, Any]:
    """A type with an RTX A6000: at least 2 vCPUs for the GPU, and 1 to 4 GiB for a vCPU."""
    return {
        "dataCenterId": "se-example-1",
        "machineType": "epyc-rome-rtx-a6000",
        "cpuModel": "EPYC-Rome",
        "gpuModel": "RTX A6000",
        "gpuModelId": "nvidia-rtx-a6000",
        "minVcpuPerMemoryGib": 0.25,
        "maxVcpuPerMemoryGib": 1,
        "minVcpuPerGpu": 2,
        "maxVcpuPerGpu": 13,
        "vcpuPriceHr": {"value": "0.002500"},
        "memoryGibPriceHr": {"value": "0.004000"},
        "gpuPriceHr": {"value": "0.450000"},
        "minStorageGibPriceHr": {"value": "0.00013"},
        "ipv4PriceHr": {"value": "0.005500"},
        "maxGpuFree": 5,
        "totalGpuFree": 24,
        **changes,
    }


def cudo_answer(*types: Any) -> dict[str, Any]:
    return {"machineTypes": list(types)}


def serve_cudo(server: FaultServer, document: object) -> None:
    server.add(CUDO_PATH, Answer.json(document))


FEED = Feed(
    dataset="machine-types",
    serve=lambda server: serve_cudo(server, cudo_answer(cudo_type(), cudo_type(dataCenterId="no-example-1"))),
    last_path=CUDO_PATH,
    record_count=4,
    good=dumps(cudo_answer(cudo_type())),
)
