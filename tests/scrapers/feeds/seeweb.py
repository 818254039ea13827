"""Seeweb's list of plans."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

SEEWEB_PATH = "/ecs/v2/plans"


def seeweb_plan(name: str = "ECS1GPU6", **changes: Any) -> dict[str, Any]:
    """One L4 in two regions; the price SkyPilot's catalogue carried for it in 2025."""
    return {
        "name": name,
        "cpu": "4",
        "ram": "32768",
        "disk": "300",
        "gpu": "1",
        "gpu_label": "L4 24GB",
        "hourly_price": 0.38,
        "available": True,
        "available_regions": [{"location": "it-fr2"}, {"location": "it-mi2"}],
        **changes,
    }


def seeweb_answer(*plans: Any, **changes: Any) -> dict[str, Any]:
    return {"status": "ok", "plans": list(plans), **changes}


def serve_seeweb(server: FaultServer, document: object) -> None:
    server.add(SEEWEB_PATH, Answer.json(document))


FEED = Feed(
    dataset="plans",
    serve=lambda server: serve_seeweb(server, seeweb_answer(seeweb_plan(), seeweb_plan("eCS4", gpu="0"))),
    last_path=SEEWEB_PATH,
    record_count=2,
    good=dumps(seeweb_answer(seeweb_plan())),
)
