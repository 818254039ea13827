"""JarvisLabs' server pools."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

JARVISLABS_PATH = "/misc/server_meta"


def jarvislabs_pool(**changes: Any) -> dict[str, Any]:
    """H100 as a container, prices of 2026-08-17."""
    return {
        "gpu_type": "H100",
        "region": "india-noida-01",
        "num_free_devices": 0,
        "effective_num_free_devices": 8,
        "spot_num_free_devices": 0,
        "price_per_hour": 2.69,
        "spot_price": 1.19,
        "price_per_week": 238,
        "price_per_month": 238,
        "vram": "80",
        "cpus_per_gpu": 24,
        "ram_per_gpu": 200,
        "workload_type": "container",
        "num_gpus": "8",
        **changes,
    }


def jarvislabs_answer(*pools: Any, **changes: Any) -> dict[str, Any]:
    return {"currency": "USD", "server_meta": list(pools), "cpu_meta": {"combinations": []}, **changes}


def serve_jarvislabs(server: FaultServer, document: object) -> None:
    server.add(JARVISLABS_PATH, Answer.json(document))


_GOOD = jarvislabs_answer(jarvislabs_pool(), jarvislabs_pool(workload_type="vm"))

FEED = Feed(
    dataset="server-meta",
    serve=lambda server: serve_jarvislabs(server, _GOOD),
    last_path=JARVISLABS_PATH,
    record_count=3,
    good=dumps(_GOOD),
)
