"""Hot Aisle's teams, and the machines a team can have."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer

TEAMS_PATH = "/api/teams/"
MACHINES_PATH = "/api/teams/ledger-team/virtual_machines/available/"


def hotaisle_team(handle: Any = "ledger-team", **changes: Any) -> dict[str, Any]:
    return {"handle": handle, "name": "Ledger", "roles": ["user"], "effective_roles": ["user"], **changes}


def hotaisle_machine(
    cents: Any = 199, gpus: int = 1, cores: Any = 13, gib: int = 224, **changes: Any
) -> dict[str, Any]:
    """The smallest machine with an MI300X."""
    return {
        "Quantity": 4,
        "MinimumReservationMinutes": 30,
        "OnDemandPrice": cents,
        "Specs": {
            "cpu_cores": cores,
            "ram_capacity": gib * 2**30,
            "disk_capacity": 12288 * 2**30,
            "cpus": {"count": 1, "manufacturer": "Intel", "model": "Xeon Platinum 8470", "cores": 13},
            "gpus": [{"count": gpus, "manufacturer": "AMD", "model": "MI300X"}],
        },
        **changes,
    }


def serve_hotaisle(server: FaultServer, machines: object, teams: object = None) -> None:
    server.add(TEAMS_PATH, Answer.json([hotaisle_team()] if teams is None else teams))
    server.add(MACHINES_PATH, Answer.json(machines))


FEED = Feed(
    dataset="virtual-machines",
    serve=lambda server: serve_hotaisle(server, [hotaisle_machine(), hotaisle_machine(398, 2, 26, 448)]),
    last_path=MACHINES_PATH,
    record_count=2,
    good=dumps([hotaisle_machine()]),
)
