"""Vultr's two plan lists, in pages by cursor."""

from typing import Any

from feeds import Feed, dumps
from tests.fault_server import Answer, FaultServer, Request

VULTR_FIELDS = {"/v2/plans": "plans", "/v2/plans-metal": "plans_metal"}


def vultr_plan(plan_id: str = "vcg-a16-12c-128g-32vram", **changes: Any) -> dict[str, Any]:
    """Two A16 in sjc, with the fields and the price of 2026-09-28."""
    return {
        "id": plan_id,
        "vcpu_count": 12,
        "ram": 131072,
        "disk": 700,
        "disk_count": 1,
        "bandwidth": 6144,
        "monthly_cost": 688,
        "hourly_cost": 0.942,
        "hourly_cost_preemptible": 0.942,
        "type": "vcg",
        "locations": ["sjc"],
        "gpu_brand": "NVIDIA",
        "gpu_type": "NVIDIA_A16",
        "gpu_vram_gb": 32,
        "gpu_count": "2",
        "deploy_ondemand": True,
        "deploy_preemptible": False,
        "location_cost": {},
        **changes,
    }


def vultr_metal(plan_id: str = "vbm-112c-2048gb-8-a100-gpu", **changes: Any) -> dict[str, Any]:
    """Eight A100 SXM in ewr, preemptible only (2026-09-28); the GPU is in the id only."""
    return {
        "id": plan_id,
        "cpu_count": 112,
        "cpu_threads": 224,
        "ram": 2097152,
        "monthly_cost": 15052.8,
        "hourly_cost": 22.4,
        "hourly_cost_preemptible": 11.92,
        "type": "NVMe",
        "locations": ["ewr"],
        "deploy_ondemand": False,
        "deploy_preemptible": True,
        **changes,
    }


def vultr_page(plans: list[Any], *, field: str = "plans", following: str = "", total: int | None = None) -> Any:
    meta = {"total": len(plans) if total is None else total, "links": {"next": following, "prev": ""}}
    return {field: plans, "meta": meta}


def serve_vultr(server: FaultServer, plans: list[Any], *, path: str = "/v2/plans", page_size: int = 500) -> None:
    """The cursor is the number of the first plan of a page."""

    def page(request: Request) -> Answer:
        start = int(request.query.get("cursor", 0))
        end = start + page_size
        following = str(end) if end < len(plans) else ""
        return Answer.json(
            vultr_page(plans[start:end], field=VULTR_FIELDS[path], following=following, total=len(plans))
        )

    server.respond(path, page)


FEED = Feed(
    dataset="plans",
    serve=lambda server: serve_vultr(
        server,
        [
            vultr_plan(),
            vultr_plan("vcg-a16-2c-8g-2vram", hourly_cost=0.059, gpu_vram_gb=2, gpu_count="1/8", locations=["ewr"]),
            vultr_plan("vcg-a40-6c-30g-12vram", hourly_cost=0.432, gpu_type="NVIDIA_A40", gpu_count="1/4"),
        ],
        page_size=2,
    ),
    last_path="/v2/plans",
    record_count=3,
    good=dumps(vultr_page([vultr_plan()])),
)
