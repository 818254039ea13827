"""Verda's instance types."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer, Request

VERDA_PATH = "/v1/instance-types"
VERDA_AVAILABILITY_PATH = "/v1/instance-availability"


def verda_type(**changes: Any) -> dict[str, Any]:
    """Four A100 at the rates of 2026 (1.29 for one), in the fields of a recorded answer; the id is made up."""
    return {
        "id": "00000000-0000-4000-8000-000000000000",
        "instance_type": "4A100.88V",
        "name": "A100 SXM4 80GB",
        "model": "A100 80GB",
        "description": "Dedicated Hardware Instance",
        "cpu": {"description": "88 CPU", "number_of_cores": 88},
        "gpu": {"description": "4x A100 SXM4 80GB", "number_of_gpus": 4},
        "gpu_memory": {"description": "320GB GPU RAM", "size_in_gigabytes": 320},
        "memory": {"description": "480GB RAM", "size_in_gigabytes": 480},
        "price_per_hour": "5.16",
        "spot_price": "1.806",
        "currency": "usd",
        **changes,
    }


def serve_verda(server: FaultServer, document: object, *, on_demand: object = None, spot: object = None) -> None:
    """The list, and what is available where it is given; else that is refused."""
    stocks = {"false": on_demand, "true": spot}

    def stock(request: Request) -> Answer:
        asked = stocks[request.query["is_spot"]]
        return Answer(status=403) if asked is None else Answer.json(asked)

    server.add(VERDA_PATH, Answer.json(document))
    server.respond(VERDA_AVAILABILITY_PATH, stock)


FEED = Feed(
    dataset="instance-types",
    serve=lambda server: serve_verda(server, [verda_type()]),
    last_path=VERDA_PATH,
    record_count=2,
    good=dumps([verda_type()]),
)
