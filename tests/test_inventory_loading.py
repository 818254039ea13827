"""Snapshots of clusters into the raw room: fields by allow-list, damaged files, repeated and late ones."""

import gzip
import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.settings import Settings, load_settings
from orchestration.warehouse import InventoryResult, Warehouse, load_inventory, write_ledger

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
CANARY = "CANARY-7f3a"
KINDS = {"kubernetes_nodes": "nodes", "kubernetes_pods": "pods", "dcgm": "gpus"}


def settings_for(root: Path, kind: str, path: str, more: str = "") -> Settings:
    text = f"inventory:\n  - {{name: src, kind: {kind}, path: '{path}'}}\n{more}"
    (root / "ledger.yaml").write_text(text, encoding="utf-8")
    return load_settings(root / "ledger.yaml", root / "data")


def load(settings: Settings) -> InventoryResult:
    with Warehouse(settings.warehouse_path).connect() as con:
        return load_inventory(con, settings.ledger.inventory[0], settings, now=NOW)


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.warehouse_path)) as con:
        con.execute("set timezone = 'UTC'")
        return con.execute(sql).fetchall()


def pod(name: str, requests: list[dict[str, str]], **changes: Any) -> dict[str, Any]:
    """A pod of `kubectl get pods -A -o json`, with a canary in every field that must not be read."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "llm",
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-11-20T10:00:00Z",
            "labels": {"app": "chat", "owner-email": CANARY},
            "annotations": {"prompt": CANARY},
            "ownerReferences": [{"kind": "StatefulSet", "name": "chat", "uid": "x"}],
        },
        "spec": {
            "nodeName": "n1",
            "containers": [
                {
                    "image": CANARY,
                    "args": [CANARY],
                    "env": [{"name": "API_KEY", "value": CANARY}],
                    "resources": {"requests": {"cpu": "4", **request}, "limits": request},
                }
                for request in requests
            ],
        },
        "status": {"phase": "Running", "startTime": "2026-11-20T10:05:00Z", "podIP": "10.44.55.66", "hostIP": CANARY},
        **changes,
    }


def write(path: Path, items: list[Any]) -> None:
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2), encoding="utf-8")


def test_pods_are_read_field_by_field(tmp_path: Path) -> None:
    """GPUs are summed over containers; what ended, is not placed or asks for none is skipped and counted."""
    ray_head = pod("head", [{}])
    ray_head["metadata"]["labels"] = {"ray.io/cluster": "r", "ray.io/node-type": "head"}
    claims = pod("claims", [{}])
    claims["spec"]["resourceClaims"] = [{"name": "gpu"}]
    host = pod("host", [{"amd.com/gpu": "1"}])
    host["spec"]["hostNetwork"] = True
    waiting = pod("waiting", [{"nvidia.com/gpu": "1"}])
    del waiting["spec"]["nodeName"]
    items = [
        pod("a", [{"nvidia.com/gpu": "2"}, {"nvidia.com/gpu": "1", "nvidia.com/mig-1g.10gb": "1"}]),
        ray_head,
        claims,
        host,
        waiting,
        pod("done", [{"nvidia.com/gpu": "1"}], status={"phase": "Succeeded"}),
        pod("cpu", [{}]),
    ]
    write(tmp_path / "20261120T110000Z.json", items)
    settings = settings_for(tmp_path, "kubernetes_pods", "*.json")
    result = load(settings)
    assert (result.snapshot_count, result.record_count, result.rejected_count) == (1, 4, 0)
    assert rows(settings, "select skipped_count, observed_at from raw.inventory_snapshots") == [
        (3, datetime(2026, 11, 20, 11, tzinfo=UTC))
    ]
    found = rows(
        settings,
        "select pod_name, gpu_requests, labels, has_resource_claims, pod_ip_digest is null "
        "from raw.inventory_pods order by pod_name",
    )
    assert found == [
        ("a", '{"nvidia.com/gpu":"3","nvidia.com/mig-1g.10gb":"1"}', '{"app":"chat"}', False, False),
        ("claims", "{}", '{"app":"chat"}', True, False),
        ("head", "{}", '{"ray.io/cluster":"r","ray.io/node-type":"head"}', False, False),
        ("host", '{"amd.com/gpu":"1"}', '{"app":"chat"}', False, True),
    ]
    assert rows(settings, "select distinct node_name, owner_kind, started_at from raw.inventory_pods") == [
        ("n1", "StatefulSet", datetime(2026, 11, 20, 10, 5, tzinfo=UTC))
    ]


def test_nothing_but_allow_listed_fields_reaches_disk(tmp_path: Path) -> None:
    write(tmp_path / "20261120T110000Z.json", [pod("a", [{"nvidia.com/gpu": "1"}]), {"kind": CANARY}])
    whole = json.dumps({"items": [pod("b", [{"nvidia.com/gpu": "1"}])]})
    (tmp_path / "20261120T120000Z.json").write_text(whole[:-30], encoding="utf-8")
    settings = settings_for(tmp_path, "kubernetes_pods", "*.json")
    result = load(settings)
    assert (result.record_count, result.rejected_count, result.refused_snapshot_count) == (1, 1, 1)
    assert CANARY not in str(result)
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert CANARY.encode() not in content, path
            assert b"10.44.55.66" not in content, path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"items": [{"kind": "Pod"', "unreadable"),
        ('{"kind": "Status", "status": "Failure"}', "holds_no_list"),
        ('{"items": []}{"items": []}', "holds_no_list"),
        ("", "holds_no_list"),
    ],
)
def test_half_a_list_is_no_snapshot(tmp_path: Path, content: str, message: str) -> None:
    """What a cut list does not show has not ended; the others go on."""
    write(tmp_path / "20261120T110000Z.json", [pod("a", [{"nvidia.com/gpu": "1"}])])
    (tmp_path / "20261120T120000Z.json").write_text(content, encoding="utf-8")
    settings = settings_for(tmp_path, "kubernetes_pods", "*.json")
    result = load(settings)
    assert (result.record_count, result.refused_snapshot_count) == (1, 1)
    assert message in result.problems[0]
    assert rows(settings, "select message from raw.inventory_snapshots where status = 'refused'") == [(message,)]


def test_an_empty_list_is_a_snapshot(tmp_path: Path) -> None:
    write(tmp_path / "20261120T110000Z.json", [])
    settings = settings_for(tmp_path, "kubernetes_pods", "*.json")
    assert load(settings).refused_snapshot_count == 0
    assert rows(settings, "select status, record_count from raw.inventory_snapshots") == [("loaded", 0)]


def test_rejects_are_counted_with_the_place_of_the_first(tmp_path: Path) -> None:
    broken = pod("b", [{"nvidia.com/gpu": "some"}])
    nameless = pod("c", [{"nvidia.com/gpu": "1"}])
    del nameless["metadata"]["uid"]
    write(
        tmp_path / "20261120T110000Z.json",
        [pod(name, [{"nvidia.com/gpu": "1"}]) for name in "adef"] + [broken, nameless],
    )
    settings = settings_for(tmp_path, "kubernetes_pods", "*.json")
    assert load(settings).record_count == 4
    path = tmp_path / "20261120T110000Z.json"
    assert rows(settings, "select reason, field, first_location, occurrences from raw.rejected_records order by 1") == [
        ("missing_field", "metadata.uid", f"{path}, entry 6", 1),
        ("not_a_count", "spec.containers.resources", f"{path}, entry 5", 1),
    ]


def test_a_list_of_something_else_does_not_pass_the_gate(tmp_path: Path) -> None:
    write(tmp_path / "20261120T110000Z.json", [pod("a", [{"nvidia.com/gpu": "1"}])])
    settings = settings_for(tmp_path, "kubernetes_nodes", "*.json")
    result = load(settings)
    assert "1 unusable entries beside 0 good ones (wrong_kind)" in result.failures[0]
    assert rows(settings, "select status, message from raw.inventory_snapshots") == [("refused", "gate")]


def test_unchanged_snapshots_are_not_read_again_and_changed_ones_replace(tmp_path: Path) -> None:
    path = tmp_path / "20261120T110000Z.json"
    write(path, [pod("a", [{"nvidia.com/gpu": "1"}])])
    settings = settings_for(tmp_path, "kubernetes_pods", "*.json*")
    load(settings)
    again = load(settings)
    assert (again.snapshot_count, again.unchanged_snapshot_count) == (0, 1)
    path.write_text("{", encoding="utf-8")  # damaged now: what it said stays
    assert load(settings).refused_snapshot_count == 1
    assert rows(settings, "select pod_name from raw.inventory_pods") == [("a",)]
    write(path, [pod("b", [{"nvidia.com/gpu": "1"}])])
    load(settings)
    assert rows(settings, "select pod_name from raw.inventory_pods") == [("b",)]
    assert rows(settings, "select status from raw.inventory_snapshots") == [("loaded",)]
    path.with_suffix(".json.gz").write_bytes(gzip.compress(path.read_bytes()))
    load(settings)
    assert rows(settings, "select count(*), count(distinct observed_at) from raw.inventory_pods") == [(2, 1)]
    assert rows(settings, "select distinct usage_date from raw.pending_usage_days") == [(date(2026, 11, 20),)]


def test_a_file_without_a_time_in_its_name_was_taken_when_it_was_written(tmp_path: Path) -> None:
    """Written over each time, it leaves a snapshot each time."""
    path = tmp_path / "latest.json"
    settings = settings_for(tmp_path, "kubernetes_pods", "*.json")
    for epoch, name in ((1795300000, "a"), (1795303600, "b")):
        write(path, [pod(name, [{"nvidia.com/gpu": "1"}])])
        os.utime(path, (epoch, epoch))
        load(settings)
    assert rows(settings, "select epoch(observed_at), pod_name from raw.inventory_pods order by 1") == [
        (1795300000.0, "a"),
        (1795303600.0, "b"),
    ]


def test_labels_that_the_ledger_selects_by_are_read_and_old_snapshots_again(tmp_path: Path) -> None:
    labelled = pod("a", [{}])
    labelled["metadata"]["labels"]["tier"] = "gold"
    write(tmp_path / "20261120T110000Z.json", [labelled])
    settings = settings_for(tmp_path, "kubernetes_pods", "*.json")
    assert load(settings).record_count == 0
    fleet = (
        "fleet:\n  - {deployment: d, model: m, provider: aws, region: r, instance_type: t, replicas: 1,\n"
        "     pricing: {model: on_demand}, from: 2026-01-01, pods: {labels: {tier: gold}}}\n"
    )
    settings = settings_for(tmp_path, "kubernetes_pods", "*.json", fleet)
    assert load(settings).record_count == 1
    assert rows(settings, "select labels from raw.inventory_pods") == [('{"app":"chat","tier":"gold"}',)]


def test_nodes_are_read_field_by_field(tmp_path: Path) -> None:
    node = {
        "kind": "Node",
        "metadata": {
            "name": "n1",
            "uid": "u1",
            "creationTimestamp": "2026-11-20T10:00:00Z",
            "labels": {"karpenter.sh/capacity-type": "spot", "eks.amazonaws.com/capacityType": "SPOT", "who": CANARY},
        },
        "spec": {"providerID": "aws:///us-east-1a/i-0abc"},
        "status": {
            "capacity": {"cpu": "96", "nvidia.com/gpu": "0", "nvidia.com/mig-1g.10gb": "7"},
            "addresses": [{"type": "InternalIP", "address": CANARY}],
        },
    }
    write(tmp_path / "20261120T110000Z.json", [node])
    settings = settings_for(tmp_path, "kubernetes_nodes", "*.json")
    load(settings)
    assert rows(settings, "select node_name, node_uid, provider_id, labels, gpu_capacity from raw.inventory_nodes") == [
        (
            "n1",
            "u1",
            "aws:///us-east-1a/i-0abc",
            '{"karpenter.sh/capacity-type":"spot","eks.amazonaws.com/capacityType":"SPOT"}',
            '{"nvidia.com/gpu":"0","nvidia.com/mig-1g.10gb":"7"}',
        )
    ]


def series(uuid: str, **labels: str) -> str:
    text = ",".join(f'{key}="{value}"' for key, value in {"gpu": "0", "UUID": uuid, **labels}.items())
    return f"DCGM_FI_DEV_GPU_UTIL{{{text}}} 3\nDCGM_FI_DEV_FB_USED{{{text}}} 7\n"


def test_gpus_are_read_from_the_labels_of_any_series(tmp_path: Path) -> None:
    """One entry per GPU or MIG instance and pod; renamed pod labels win over those of the exporter itself."""
    (tmp_path / "n1").mkdir()
    (tmp_path / "n2").mkdir()
    page = series("GPU-1", modelName="NVIDIA H100 80GB HBM3", namespace="llm", pod="chat-0")
    page += series("GPU-2", GPU_I_ID="3", GPU_I_PROFILE="4g.40gb", modelName="NVIDIA H100 80GB HBM3", pod="")
    (tmp_path / "n1" / "20261120T110000Z.prom").write_text(page + 'DCGM_FI_DEV_X{gpu="1"} 0\n', encoding="utf-8")
    renamed = series("GPU-3", namespace="gpu", pod="exporter", exported_namespace="llm", exported_pod="chat-1")
    renamed += series("GPU-4", namespace="gpu", pod="exporter")
    (tmp_path / "n2" / "20261120T110000Z.prom").write_text(renamed, encoding="utf-8")
    (tmp_path / "n2" / "20261120T120000Z.prom").write_text(renamed.rstrip(), encoding="utf-8")  # cut
    settings = settings_for(tmp_path, "dcgm", "*/*.prom")
    result = load(settings)
    assert (result.record_count, result.rejected_count, result.refused_snapshot_count) == (4, 1, 1)
    assert rows(
        settings,
        "select scope, gpu_uuid, gpu_instance, mig_profile, namespace, pod_name from raw.inventory_gpus order by 2",
    ) == [
        ("n1", "GPU-1", None, None, "llm", "chat-0"),
        ("n1", "GPU-2", "3", "4g.40gb", None, None),
        ("n2", "GPU-3", None, None, "llm", "chat-1"),
        ("n2", "GPU-4", None, None, None, None),
    ]


def test_the_recorded_page_of_a_t4_is_one_idle_gpu(samples: Path, tmp_path: Path) -> None:
    """DCGM exporter page of a Tesla T4 (DataDog/integrations-core, see the samples' INDEX.md)."""
    (tmp_path / "n1").mkdir()
    page = (samples / "usage" / "dcgm" / "dcgm_exporter_t4.excerpt.prom").read_text(encoding="utf-8")
    (tmp_path / "n1" / "20261120T110000Z.prom").write_text(page, encoding="utf-8")
    settings = settings_for(tmp_path, "dcgm", "*/*.prom")
    assert load(settings).rejected_count == 0
    assert rows(settings, "select gpu_uuid, gpu_name_raw, pod_name from raw.inventory_gpus") == [
        ("GPU-20c56d28-0da5-6d26-a36a-e7af1ce2586e", "Tesla T4", None)
    ]
    # 8.969 W, 128,996,013 mJ since the driver was loaded, no profiling fields.
    assert rows(
        settings,
        "select gpu_utilization_percent, sm_active_ratio, tensor_active_ratio, power_watts, energy_millijoules "
        "from raw.inventory_gpus",
    ) == [(0.0, None, None, 8.969, 128996013.0)]


def test_other_inventory_sources_open_the_window_to_the_first_snapshot(tmp_path: Path) -> None:
    write(tmp_path / "20261120T110000Z.json", [])
    settings = settings_for(tmp_path, "kubernetes_pods", "*.json")
    with Warehouse(settings.warehouse_path).connect() as con:
        write_ledger(con, settings)
        load_inventory(con, settings.ledger.inventory[0], settings, now=NOW)
        con.execute("delete from raw.pending_usage_days")
        write_ledger(con, settings)
        assert con.execute("from raw.pending_usage_days").fetchall() == []
        con.execute("update raw.ledger_inventory_sources set source_name = 'old'")
        write_ledger(con, settings)
        assert con.execute("from raw.pending_usage_days").fetchall() == [(date(2026, 11, 20),)]
