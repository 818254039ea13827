"""DigitalOcean's list of Droplet sizes, in pages by absolute links."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer, Request

DIGITALOCEAN_PATH = "/v2/sizes"


def digitalocean_size(slug: str = "gpu-mi325x8-2048gb", **changes: Any) -> dict[str, Any]:
    """Eight MI325X in two regions, list price of 2026-10-08."""
    return {
        "slug": slug,
        "memory": 1310720,
        "vcpus": 160,
        "disk": 2046,
        "transfer": 60.0,
        "price_monthly": 22617.6,
        "price_hourly": 30.4,
        "regions": ["nyc2", "tor1"],
        "available": True,
        "description": "AMD MI325X - 8X",
        "gpu_info": {"count": 8, "vram": {"amount": 2048, "unit": "gib"}, "model": "amd_mi325x"},
        "disk_info": [],
        **changes,
    }


def digitalocean_page(*sizes: Any, following: str | None = None, total: int | None = None) -> dict[str, Any]:
    links = {"pages": {"next": following, "last": following}} if following else {}
    return {"sizes": list(sizes), "links": links, "meta": {"total": len(sizes) if total is None else total}}


def serve_digitalocean(server: FaultServer, sizes: list[Any], *, page_size: int = 200) -> None:
    def answer(request: Request) -> Answer:
        number = int(request.query.get("page", 1))
        end = page_size * number
        link = f"{server.url}{DIGITALOCEAN_PATH}?page={number + 1}&per_page=200" if end < len(sizes) else None
        return Answer.json(digitalocean_page(*sizes[end - page_size : end], following=link, total=len(sizes)))

    server.respond(DIGITALOCEAN_PATH, answer)


FEED = Feed(
    dataset="sizes",
    serve=lambda server: serve_digitalocean(
        server,
        [
            digitalocean_size(),
            digitalocean_size("gpu-mi355x1-288gb-spot", price_hourly=2.97, regions=["mem1"]),
            digitalocean_size("s-1vcpu-512mb-10gb", price_hourly=0.00595, gpu_info=None),
        ],
        page_size=2,
    ),
    last_path=DIGITALOCEAN_PATH,
    record_count=3,
    good=dumps(digitalocean_page(digitalocean_size())),
)
