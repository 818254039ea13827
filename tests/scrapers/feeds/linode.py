"""Linode's list of plans, in pages by number."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer, Request

LINODE_PATH = "/v4/linode/types"


def linode_type(plan_id: str = "g2-gpu-rtx4000a1-s", **changes: Any) -> dict[str, Any]:
    """One RTX 4000 Ada: the documented example of prices.md section 7, list price of 2026."""
    return {
        "id": plan_id,
        "label": "RTX4000 Ada x1 Small",
        "class": "gpu",
        "gpus": 1,
        "vcpus": 4,
        "memory": 16384,
        "disk": 524288,
        "transfer": 5000,
        "network_out": 5000,
        "accelerated_devices": 0,
        "price": {"hourly": 0.52, "monthly": 350.0},
        "region_prices": [],
        "addons": {},
        **changes,
    }


def linode_page(*types: Any, page: int = 1, pages: int = 1, results: int | None = None) -> dict[str, Any]:
    return {"data": list(types), "page": page, "pages": pages, "results": len(types) if results is None else results}


def serve_linode(server: FaultServer, types: list[Any], *, page_size: int = 500) -> None:
    def answer(request: Request) -> Answer:
        number = int(request.query.get("page", 1))
        shown = types[page_size * (number - 1) : page_size * number]
        return Answer.json(linode_page(*shown, page=number, pages=-(-len(types) // page_size), results=len(types)))

    server.respond(LINODE_PATH, answer)


FEED = Feed(
    dataset="types",
    serve=lambda server: serve_linode(
        server,
        [
            linode_type(),
            linode_type("g2-gpu-rtx4000a2-s", gpus=2, price={"hourly": 1.05, "monthly": 700.0}),
            linode_type("g1-gpu-rtx6000-1", region_prices=[{"id": "id-cgk", "hourly": 1.8, "monthly": 1200.0}]),
        ],
        page_size=2,
    ),
    last_path=LINODE_PATH,
    record_count=4,
    good=dumps(linode_page(linode_type(region_prices=[{"id": "id-cgk", "hourly": 0.62, "monthly": 420.0}]))),
)
