"""Vast.ai's offers, answered by id."""

import json
from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer, Request

VASTAI_PATH = "/api/v0/bundles/"


def vastai_offer(number: int = 1, usd: float = 2.4, **changes: Any) -> dict[str, Any]:
    """A machine with one H100 SXM at 2.40 an hour, the fields of the API that are read."""
    return {
        "id": 20_000_000 + number,
        "machine_id": 50_000 + number,
        "gpu_name": "H100 SXM",
        "gpu_ram": 81559,
        "num_gpus": 1,
        "dph_base": usd,
        "dph_total": usd + 0.002,
        "min_bid": usd / 2,
        "is_bid": False,
        "rentable": True,
        "rented": False,
        "verification": "verified",
        "geolocation": "Texas, US",
        **changes,
    }


def vastai_answer(*offers: Any) -> dict[str, Any]:
    return {"offers": list(offers)}


def serve_vastai(server: FaultServer, offers: list[dict[str, Any]], *, cap: int = 64) -> None:
    """As the provider is said to: in the order and above the id asked for, never more than `cap` offers."""

    def answer(request: Request) -> Answer:
        after = json.loads(request.query["q"])["id"]["gt"]
        rest = sorted((offer for offer in offers if offer["id"] > after), key=lambda offer: offer["id"])
        return Answer.json(vastai_answer(*rest[:cap]))

    server.respond(VASTAI_PATH, answer)


_FIVE = [vastai_offer(number, 2 + number / 10) for number in range(1, 6)]

FEED = Feed(
    dataset="offers",
    serve=lambda server: serve_vastai(server, _FIVE, cap=2),
    last_path=VASTAI_PATH,
    record_count=6,
    good=dumps(vastai_answer(*_FIVE)),
)
