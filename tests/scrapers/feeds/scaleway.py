"""Scaleway's Instance types of one zone, in pages by number."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer, Request

SCALEWAY_PATH = "/instance/v1/zones/fr-par-2/products/servers"


def scaleway_type(**changes: Any) -> dict[str, Any]:
    """H100-1-80G: the documented example of prices.md section 7, list price of 2026."""
    return {
        "ncpus": 24,
        "ram": 257698037760,
        "arch": "x86_64",
        "gpu": 1,
        "gpu_info": {"gpu_manufacturer": "NVIDIA", "gpu_name": "H100-PCIe", "gpu_memory": 80000000000},
        "mig_profile": None,
        "hourly_price": 2.8665,
        "monthly_price": 2092.545,
        "end_of_service": False,
        **changes,
    }


def scaleway_gpu(name: str, gib: int) -> dict[str, Any]:
    return {"gpu_manufacturer": "NVIDIA", "gpu_name": name, "gpu_memory": gib * 2**30}


def scaleway_page(servers: object) -> dict[str, Any]:
    return {"servers": servers}


def serve_scaleway(server: FaultServer, servers: dict[str, Any]) -> None:
    """100 types a page, as asked for; past the end an empty page."""

    def answer(request: Request) -> Answer:
        size, number = int(request.query["per_page"]), int(request.query["page"])
        return Answer.json(scaleway_page(dict(list(servers.items())[size * (number - 1) : size * number])))

    server.respond(SCALEWAY_PATH, answer)


def cpu_types(count: int) -> dict[str, Any]:
    return {f"POP2-{number}C": scaleway_type(gpu=0, gpu_info=None, ncpus=number) for number in range(1, count + 1)}


FEED = Feed(
    dataset="fr-par-2",
    serve=lambda server: serve_scaleway(
        server,
        {
            **cpu_types(99),
            "H100-1-80G": scaleway_type(),
            "H100-SXM-8-80G": scaleway_type(gpu=8, gpu_info=scaleway_gpu("H100-SXM", 80), hourly_price=25.3308),
        },
    ),
    last_path=SCALEWAY_PATH,
    record_count=2,
    good=dumps(scaleway_page({"H100-1-80G": scaleway_type()})),
)
