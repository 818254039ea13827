"""Intervals of pods and nodes against an oracle in plain Python, and a small cluster worked out by hand."""

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cost_warehouse import CostWarehouse, Row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_world import at

from orchestration.settings import load_settings
from orchestration.warehouse import Warehouse, load_inventory, write_ledger

INTERVALS = ("+int_pod_intervals",)
MODELS = ("+path:models/marts/inventory", "+fct_unmapped_names", "+int_usage_models__resolved")


@pytest.fixture(scope="module")
def target_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("target")


def build(warehouse: CostWarehouse, selected: Iterable[str], *arguments: str) -> None:
    warehouse.dbt(
        "build",
        "--select",
        *selected,
        "--indirect-selection",
        "cautious",
        "--exclude-resource-type",
        "unit_test",
        *arguments,
    )


def run_facts(as_of: date, window_start: date) -> list[Row]:
    return [
        {
            "run_id": "run",
            "started_at": datetime(2026, 12, 1, 4, tzinfo=UTC),
            "as_of_date": as_of,
            "window_start_date": window_start,
        }
    ]


# --- intervals against an oracle ------------------------------------------------------------------------------------

State = tuple[str, str]  # node and label of a pod


@dataclass(frozen=True, slots=True)
class PodSource:
    """What the snapshots of one source show: instant -> uid -> state; and when each pod says that it began."""

    name: str
    snapshots: Mapping[datetime, Mapping[str, State]]
    began_at: Mapping[str, datetime | None]


def random_source(rng: random.Random, name: str) -> PodSource:
    """Pods that come, go, come back, move and change; some snapshots show none, and days are missing."""
    start = at("2026-11-01T00:00")
    instants = sorted(start + timedelta(hours=hour) for hour in rng.sample(range(240), rng.randint(1, 16)))
    shown: dict[datetime, dict[str, State]] = {}
    state: dict[str, State] = {}
    for instant in instants:
        for uid in "abcd":
            if rng.random() < 0.4:
                state.pop(uid, None)
            elif uid not in state or rng.random() < 0.2:
                state[uid] = (rng.choice(["n1", "n2"]), rng.choice(["x", "y"]))
        shown[instant] = {} if rng.random() < 0.1 else dict(state)
    first = {uid: next((i for i in instants if uid in shown[i]), start) for uid in "abcd"}
    began = {
        uid: rng.choice([None, first[uid] - timedelta(hours=3), first[uid] + timedelta(minutes=5)]) for uid in first
    }
    return PodSource(name, shown, began)


Interval = tuple[str, str, State, datetime, datetime, datetime, datetime | None]


def intervals_of(source: PodSource) -> set[Interval]:
    """(source, uid, state, valid from, first seen, last seen, valid to), one snapshot at a time."""
    found: set[Interval] = set()
    known: set[str] = set()
    running: dict[str, list[Any]] = {}  # uid -> [state, valid from, first seen, last seen]

    def end(uid: str, when: datetime | None) -> None:
        state, valid_from, first_seen, last_seen = running.pop(uid)
        found.add((source.name, uid, state, valid_from, first_seen, last_seen, when))

    for instant in sorted(source.snapshots):
        pods = source.snapshots[instant]
        for uid in list(running):
            if pods.get(uid) != running[uid][0]:
                end(uid, instant)
        for uid, state in pods.items():
            if uid in running:
                running[uid][3] = instant
                continue
            began = source.began_at[uid]
            valid_from = min(began, instant) if began is not None and uid not in known else instant
            running[uid] = [state, valid_from, instant, instant]
            known.add(uid)
    for uid in list(running):
        end(uid, None)
    return found


def pod_rows(source: PodSource, instants: Iterable[datetime]) -> list[Row]:
    return [
        {
            "source_name": source.name,
            "file_id": f"{source.name}-{instant:%d%H}",
            "scope": "",
            "observed_at": instant,
            "namespace": "llm",
            "pod_name": "chat-0",
            "pod_uid": uid,
            "node_name": node,
            "started_at": source.began_at[uid],
            "labels": json.dumps({"app": label}),
            "gpu_requests": "{}",
            "has_resource_claims": False,
        }
        for instant in instants
        for uid, (node, label) in source.snapshots[instant].items()
    ]


def snapshot_rows(source: PodSource, instants: Iterable[datetime]) -> list[Row]:
    return [snapshot_row(source.name, "kubernetes_pods", instant) for instant in instants]


def snapshot_row(source: str, kind: str, instant: datetime) -> Row:
    return {
        "file_id": f"{source}-{instant:%d%H}",
        "source_name": source,
        "kind": kind,
        "scope": "",
        "observed_at": instant,
        "observed_date": instant.date(),
        "file_path": f"{source}/{instant:%d%H}.json",
        "size_bytes": 1,
        "modified_at": instant,
        "fields_digest": "f",
        "record_count": 0,
        "rejected_count": 0,
        "skipped_count": 0,
        "status": "loaded",
        "loaded_at": instant,
    }


def found_intervals(warehouse: CostWarehouse) -> set[Interval]:
    return {
        (
            row["source_name"],
            row["pod_uid"],
            (row["node_name"], json.loads(row["labels"])["app"]),
            row["valid_from_at"],
            row["first_seen_at"],
            row["last_seen_at"],
            row["valid_to_at"],
        )
        for row in warehouse.query("select * from intermediate.int_pod_intervals")
    }


def append(warehouse: CostWarehouse, table: str, rows: list[Row]) -> None:
    warehouse.replace(table, rows, where="false")


@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_intervals_are_the_oracles_in_any_order_of_loading(
    seed: int, target_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Thirty random sources, loaded in batches of days in random order, each with the window that a run would have."""
    rng = random.Random(seed)
    sources = [random_source(rng, f"pods-{number}") for number in range(30)]
    expected = set().union(*(intervals_of(source) for source in sources))
    warehouse = CostWarehouse(tmp_path_factory.mktemp("intervals") / "warehouse.duckdb", target_dir)
    warehouse.create()
    warehouse.replace(
        "raw.ledger_inventory_sources",
        [{"source_name": source.name, "kind": "kubernetes_pods", "cluster": "c"} for source in sources],
    )
    batch_of = {day: rng.randrange(3) for day in (date(2026, 11, 1) + timedelta(days=n) for n in range(10))}
    batches = [batch for batch in rng.sample(range(3), 3) if batch in batch_of.values()]
    for batch in batches:
        days = [day for day, number in batch_of.items() if number == batch]
        seen = [(source, [instant for instant in source.snapshots if instant.date() in days]) for source in sources]
        append(warehouse, "raw.inventory_snapshots", [row for each in seen for row in snapshot_rows(*each)])
        append(warehouse, "raw.inventory_pods", [row for each in seen for row in pod_rows(*each)])
        # As warehouse.write_run: a day before the earliest day that changed.
        warehouse.replace("raw.ledger_run", run_facts(date(2026, 11, 10), min(days) - timedelta(days=1)))
        build(warehouse, INTERVALS)
    assert found_intervals(warehouse) == expected
    build(warehouse, INTERVALS)
    assert found_intervals(warehouse) == expected, "a second run changes something"


def test_closed_intervals_are_not_written_again(target_dir: Path, tmp_path: Path) -> None:
    """The snapshots of a closed past are not even there any more, and its intervals stand."""
    days = [at(f"2026-11-{day:02}T12:00") for day in range(1, 8)]
    pods = {day: {"a": ("n1", "x")} if day < days[3] else {"b": ("n1", "x")} for day in days}
    source = PodSource("pods", pods, {"a": None, "b": days[0]})
    warehouse = CostWarehouse(tmp_path / "warehouse.duckdb", target_dir)
    warehouse.create()
    warehouse.replace(
        "raw.ledger_inventory_sources", [{"source_name": "pods", "kind": "kubernetes_pods", "cluster": "c"}]
    )
    append(warehouse, "raw.inventory_snapshots", snapshot_rows(source, days[:-1]))
    append(warehouse, "raw.inventory_pods", pod_rows(source, days[:-1]))
    warehouse.replace("raw.ledger_run", run_facts(date(2026, 11, 6), date(2026, 11, 1)))
    build(warehouse, INTERVALS)
    warehouse.replace("raw.inventory_pods", [], where="observed_at < '2026-11-05'")
    append(warehouse, "raw.inventory_snapshots", snapshot_rows(source, days[-1:]))
    append(warehouse, "raw.inventory_pods", pod_rows(source, days[-1:]))
    warehouse.replace("raw.ledger_run", run_facts(date(2026, 11, 7), date(2026, 11, 6)))
    build(warehouse, INTERVALS)
    assert found_intervals(warehouse) == intervals_of(source)


def test_a_source_that_the_ledger_drops_is_forgotten(target_dir: Path, tmp_path: Path) -> None:
    noon = at("2026-11-01T12:00")
    source = PodSource("pods", {noon: {"a": ("n1", "x")}}, {"a": None})
    warehouse = CostWarehouse(tmp_path / "warehouse.duckdb", target_dir)
    warehouse.create()
    warehouse.replace(
        "raw.ledger_inventory_sources", [{"source_name": "pods", "kind": "kubernetes_pods", "cluster": "c"}]
    )
    append(warehouse, "raw.inventory_snapshots", snapshot_rows(source, [noon]))
    append(warehouse, "raw.inventory_pods", pod_rows(source, [noon]))
    warehouse.replace("raw.ledger_run", run_facts(date(2026, 11, 1), date(2026, 10, 31)))
    build(warehouse, INTERVALS)
    assert len(found_intervals(warehouse)) == 1
    warehouse.replace("raw.ledger_inventory_sources", [])
    build(warehouse, INTERVALS)
    assert found_intervals(warehouse) == set()


# --- a small cluster ------------------------------------------------------------------------------------------------

LEDGER = """\
fleet:
  - {deployment: chat, model: meta-llama/Llama-3.1-70B-Instruct, provider: aws, region: us-east-1,
     instance_type: p5.48xlarge, replicas: 1, pricing: {model: reserved, commitment: p5},
     pods: "llm/chat-*", from: 2026-11-01}
  - {deployment: rag, model: Qwen/Qwen3-32B, provider: azure, region: eastus,
     instance_type: Standard_NC24ads_A100_v4, replicas: 2, pricing: {model: spot},
     pods: {namespace: rag, labels: {tier: gold, app: rag}}, from: 2026-11-01}
commitments:
  - {id: p5, provider: aws, region: us-east-1, instance_type: p5.48xlarge, count: 1, term_months: 12,
     from: 2026-11-01}
usage:
  - {name: metrics, kind: metrics, path: "none/*/*.prom", deployments: {meta-llama/Llama-3.1-70B-Instruct: chat}}
  - {name: gateway, kind: litellm, path: "none/*.jsonl", deployments: {meta-llama/Llama-3.1-70B-Instruct: chat}}
inventory:
  - {name: nodes, kind: kubernetes_nodes, path: "nodes/*.json"}
  - {name: pods, kind: kubernetes_pods, path: "pods/*.json"}
  - {name: gpus, kind: dcgm, path: "dcgm/*/*.prom"}
models:
  - {name: meta-llama/Llama-3.1-70B-Instruct, aliases: [llama-70b], adapters: {support-v3: support}}
tenants:
  - {tenant: team-support, team: Support, cost_center: 4711, match: [sk-alias-support, "support-*"],
     namespaces: [llm]}
  - {tenant: jane, match: [jane.doe@example.com]}
  - {tenant: batch, model_groups: ["support_v*"]}
"""


def node(name: str, created: str, provider_id: str, instance_type: str, zone: str, gpus: str, **labels: str) -> Any:
    place = {
        "node.kubernetes.io/instance-type": instance_type,
        "topology.kubernetes.io/region": zone[:-1] if zone.startswith("us-") else zone.split("-")[0],
        "topology.kubernetes.io/zone": zone,
    }
    return {
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}-{created}",
            "creationTimestamp": created,
            "labels": place | labels,
        },
        "spec": {"providerID": provider_id},
        "status": {"capacity": {"cpu": "96", "nvidia.com/gpu": gpus}},
    }


def pod(name: str, uid: str, namespace: str, host: str, started: str, resources: dict[str, str], **labels: str) -> Any:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": uid, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": host, "containers": [{"resources": {"limits": resources, "requests": resources}}]},
        "status": {"phase": "Running", "startTime": started, "podIP": "10.1.2.3"},
    }


H100 = node(
    "h1", "2026-10-31T00:00:00Z", "aws:///us-east-1a/i-0abc", "p5.48xlarge", "us-east-1a", "8",
    **{"karpenter.sh/capacity-type": "on-demand", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
)  # fmt: skip
A100 = [
    node(
        f"a{number}", "2026-10-31T00:00:00Z", f"azure:///subscriptions/s/vm{number}", "Standard_NC24ads_A100_v4",
        "eastus-1", gpus,
        **{"kubernetes.azure.com/scalesetpriority": "spot", "kubernetes.azure.com/cluster": "mc", **more},
    )
    for number, gpus, more in (
        (1, "1", {"nvidia.com/gpu.product": "NVIDIA-A100-80GB-PCIe"}),
        (2, "4", {"nvidia.com/gpu.product": "NVIDIA-A100-80GB-PCIe-SHARED", "nvidia.com/gpu.replicas": "4"}),
    )
]  # fmt: skip
CHAT = pod("chat-0", "u1", "llm", "h1", "2026-11-01T06:00:00Z", {"nvidia.com/gpu": "8"}, app="chat")
CHAT_AGAIN = pod("chat-0", "u2", "llm", "h1", "2026-11-02T13:00:00Z", {"nvidia.com/gpu": "8"}, app="chat")
RAG = pod("rag-x", "u3", "rag", "a1", "2026-11-01T05:00:00Z", {"nvidia.com/mig-3g.40gb": "1"}, app="rag", tier="gold")
SHARED = pod("rag-y", "u4", "rag", "a2", "2026-11-01T05:00:00Z", {"nvidia.com/gpu": "2"}, app="rag", tier="iron")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, target_dir: Path) -> CostWarehouse:
    """Three days of a cluster, a snapshot every 12 hours from the last hour of October, read and built."""
    root = tmp_path_factory.mktemp("cluster")
    (root / "ledger.yaml").write_text(LEDGER, encoding="utf-8")
    instants = [at("2026-10-31T23:00") + timedelta(hours=12 * step) for step in range(8)]
    for folder in ("nodes", "pods", "dcgm/h1"):
        (root / folder).mkdir(parents=True)
    for step, instant in enumerate(instants):
        name = f"{instant:%Y%m%dT%H%M%SZ}"
        # The second A100 node was last seen on 2 November at 11:00 and is missing at 23:00.
        nodes = [H100, A100[0], *([A100[1]] if step <= 3 else [])]
        pods: list[Any] = []
        if step >= 1:
            pods = [CHAT if step <= 3 else CHAT_AGAIN, RAG, *([SHARED] if step <= 3 else [])]
        (root / "nodes" / f"{name}.json").write_text(json.dumps({"items": nodes}), encoding="utf-8")
        (root / "pods" / f"{name}.json").write_text(json.dumps({"items": pods}), encoding="utf-8")
        series = "".join(
            f'DCGM_FI_DEV_GPU_UTIL{{gpu="{n}",UUID="GPU-{n}",modelName="NVIDIA H100 80GB HBM3",namespace="llm",'
            f'pod="chat-0"}} 1\n'
            for n in range(8)
        )
        (root / "dcgm" / "h1" / f"{name}.prom").write_text(series, encoding="utf-8")
    loaded = load_settings(root / "ledger.yaml", root / "data")
    with Warehouse(loaded.warehouse_path).connect() as con:
        write_ledger(con, loaded)
        for source in loaded.ledger.inventory:
            result = load_inventory(con, source, loaded, now=at("2026-11-04T05:00"))
            assert (result.snapshot_count, result.rejected_count, result.problems) == (8, 0, [])
    warehouse = CostWarehouse(loaded.warehouse_path, target_dir)
    warehouse.create()
    warehouse.replace("raw.ledger_run", run_facts(date(2026, 11, 3), date(2026, 10, 30)))
    warehouse.replace("raw.metric_samples", [*scrapes("llm/chat-0", "llama-70b"), *scrapes("rag-y", "qwen")])
    warehouse.replace_calls([call(n, **more) for n, more in enumerate(CALLS)])
    build(warehouse, MODELS, "--exclude", "path:models/intermediate/prices", "assert_price_*")
    return warehouse


def scrapes(replica: str, model: str) -> list[Row]:
    """100 prompt and 10 output tokens between 10:00 and 10:30 on 2 November."""
    return [
        {
            "source_name": "metrics",
            "file_id": f"{replica}-{minute}",
            "replica_key": replica,
            "scraped_at": at(f"2026-11-02T10:{minute:02}"),
            "usage_date": date(2026, 11, 2),
            "metric_name": metric,
            "engine": "0",
            "model_name": model,
            "value": value * share,
        }
        for minute, share in ((0, 1), (30, 2))
        for metric, value in (("vllm:prompt_tokens_total", 100.0), ("vllm:generation_tokens_total", 10.0))
    ]


CALLS: tuple[dict[str, Any], ...] = (
    {"model_group": "support-v3", "model": "hosted_vllm/llama-70b", "tenant": "sk-alias-support"},
    {"model_group": "llama-70b", "model": "hosted_vllm/llama-70b", "tenant": "support-eu"},
    {"model_group": "llama-70b", "model": "hosted_vllm/llama-70b", "tenant": "sha256:86e0b9e56c17cc4d"},
    {"model_group": "support_v9", "model": "hosted_vllm/mystery", "tenant": None},
    {"model_group": "supportXv9", "model": "hosted_vllm/mystery", "tenant": None},
    {"model_group": "llama-70b", "model": "hosted_vllm/llama-70b", "tenant": "nobody"},
)


def call(number: int, **more: Any) -> Row:
    return {
        "source_name": "gateway",
        "file_id": "f",
        "request_id": f"00000000-0000-0000-0000-{number:012}",
        "status": "success",
        "started_at": at("2026-11-02T10:00"),
        "usage_date": date(2026, 11, 2),
        "prompt_tokens": 7,
        "completion_tokens": 3,
        **more,
    }


def test_each_pod_has_its_node_gpus_and_purchase_option_for_its_time(cluster: CostWarehouse) -> None:
    """First seen on 1 November at 11:00; u1, and the shared node with its pod, missing since 2 November at 23:00."""
    rows = cluster.query("select * from marts.dim_replicas order by pod_uid")
    assert [
        (row["pod_uid"], row["pod_name"], row["deployment"], row["valid_from_at"], row["valid_to_at"]) for row in rows
    ] == [
        ("u1", "chat-0", "chat", at("2026-11-01T06:00"), at("2026-11-02T23:00")),
        ("u2", "chat-0", "chat", at("2026-11-02T13:00"), None),
        ("u3", "rag-x", "rag", at("2026-11-01T05:00"), None),
        ("u4", "rag-y", None, at("2026-11-01T05:00"), at("2026-11-02T23:00")),
    ]
    assert [
        (row["provider"], row["region"], row["instance_type"], row["instance_id"], row["purchase_option"])
        for row in rows[1:]
    ] == [
        ("aws", "us-east-1", "p5.48xlarge", "i-0abc", "on_demand"),
        ("azure", "eastus", "Standard_NC24ads_A100_v4", "vm1", "spot"),
        ("azure", "eastus", "Standard_NC24ads_A100_v4", "vm2", "spot"),
    ]
    # 8 whole GPUs; 3 of 7 slices; 2 devices of a GPU that is given out 4 times.
    assert [(r["gpu_model"], r["device_count"], r["gpus"], r["mig_profile"], r["is_shared"]) for r in rows] == [
        ("H100-SXM-80GB", 8, Decimal(8), None, False),
        ("H100-SXM-80GB", 8, Decimal(8), None, False),
        ("A100-PCIE-80GB", 1, Decimal("0.428571"), "3g.40gb", False),
        ("A100-PCIE-80GB", 2, Decimal("0.5"), None, True),
    ]
    assert [row["seen_gpu_count"] for row in rows] == [8, 8, None, None]
    assert [(row["tenant"], row["team"], row["cost_center"]) for row in rows[1:3]] == [
        ("team-support", "Support", "4711"),
        (None, None, None),
    ]


def test_the_declared_fleet_is_compared_with_the_nodes(cluster: CostWarehouse) -> None:
    """By hand: 8 H100 all day, reserved in the ledger and on demand in the cluster, are no difference.

    Two A100 are declared, 48 GPU-hours a day. The second was seen until 2 November 11:00 and missed at 23:00: 47 hours
    that day, 12 of them uncertain, and none of it on the third, when one GPU-day is too many in the ledger.
    """
    rows = cluster.query("select * from marts.fct_fleet_observed_daily order by usage_date, provider")
    assert [
        (
            row["usage_date"].day,
            row["provider"],
            row["gpu_model"],
            row["purchase_class"],
            row["declared_gpu_hours"],
            row["observed_gpu_hours"],
            row["uncertain_gpu_hours"],
            row["status"],
        )
        for row in rows
        if row["usage_date"] >= date(2026, 11, 1)
    ] == [
        (2, "aws", "H100-SXM-80GB", "on_demand_or_reserved", 192, 192, 0, "agrees"),
        (2, "azure", "A100-PCIE-80GB", "spot", 48, 47, 12, "agrees"),
        (3, "aws", "H100-SXM-80GB", "on_demand_or_reserved", 192, 192, 0, "agrees"),
        (3, "azure", "A100-PCIE-80GB", "spot", 48, 24, 0, "more_in_ledger"),
    ]
    assert {row["declared_reserved_gpu_hours"] for row in rows if row["provider"] == "aws"} == {192}
    assert {row["observed_reserved_gpu_hours"] for row in rows if row["provider"] == "aws"} == {0}


def test_usage_of_pods_that_no_deployment_claims_is_listed(cluster: CostWarehouse) -> None:
    """chat-0 is claimed by the deployment that its tokens go to; rag-y has the label tier, but iron."""
    (row,) = cluster.query("select * from marts.fct_unmapped_replicas")
    assert (row["reason"], row["replica_key"], row["namespace"], row["pod_name"], row["total_tokens"]) == (
        "no_deployment",
        "rag-y",
        "rag",
        "rag-y",
        110,
    )


def test_names_mean_models_and_adapters(cluster: CostWarehouse) -> None:
    """A route for the model is one for its alias and its adapter; the public name tells the adapter."""
    rows = cluster.query(
        "select * from intermediate.int_usage_models__resolved order by source_name, model_group, model"
    )
    llama = "meta-llama/Llama-3.1-70B-Instruct"
    assert [
        (r["source_name"], r["model_group"], r["model"], r["adapter"], r["deployment"], r["model_basis"]) for r in rows
    ] == [
        ("gateway", "llama-70b", llama, None, "chat", "served_name"),
        ("gateway", "support-v3", llama, "support", "chat", "served_name"),
        ("gateway", "supportXv9", "hosted_vllm/mystery", None, None, "none"),
        ("gateway", "support_v9", "hosted_vllm/mystery", None, None, "none"),
        ("metrics", "", llama, None, "chat", "served_name"),
        ("metrics", "", "qwen", None, None, "none"),
    ]


def test_tenants_are_mapped_by_name_pattern_and_model_group(cluster: CostWarehouse) -> None:
    """`_` in a pattern is itself; the digest of an address that ledger.yaml names is that tenant."""
    rows = cluster.query("select * from intermediate.int_tenants__resolved order by tenant_raw, model_group")
    assert {(r["tenant_raw"], r["model_group"], r["tenant"], r["cost_center"], r["tenant_basis"]) for r in rows} == {
        ("sk-alias-support", "support-v3", "team-support", "4711", "tenant"),
        ("support-eu", "llama-70b", "team-support", "4711", "tenant"),
        ("sha256:86e0b9e56c17cc4d", "llama-70b", "jane", None, "tenant"),
        ("unknown", "support_v9", "batch", None, "model_group"),
        ("unknown", "supportXv9", "unknown", None, "none"),
        ("nobody", "llama-70b", "nobody", None, "none"),
    }


def test_names_that_the_ledger_does_not_know_are_listed(cluster: CostWarehouse) -> None:
    rows = cluster.query("select * from marts.fct_unmapped_names order by kind, name")
    assert [(r["kind"], r["source_name"], r["name"], r["request_count"], r["total_tokens"]) for r in rows] == [
        ("model", "gateway", "hosted_vllm/mystery", 2, 20),
        ("model", "metrics", "qwen", None, 110),
        ("tenant", "gateway", "nobody", 1, 10),
        ("tenant", "gateway", "unknown", 1, 10),
    ]
