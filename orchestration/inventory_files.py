"""Readers of cluster snapshots: `kubectl get nodes|pods -o json`, and pages of the DCGM exporter.

As with serving logs, a reader knows field paths and types and nothing else, and what is not on an allow-list is never
parsed into a column: no environment, annotation, image, command or address of a pod reaches a table. `stage_snapshots`
fills three temporary tables of the connection, which `warehouse.load_inventory` moves into the raw room:

* `staged_records`: rows of the raw table of the kind (`orchestration/inventory_kinds.py`);
* `staged_snapshots`: one row per file, as `raw.inventory_snapshots`;
* `staged_rejects`: what could not be used, counted by file, reason and field; never a value.

A snapshot that is cut short is refused and not salvaged: half a list of pods would say that the other half is gone.
"""

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from orchestration.serving_logs.fields import clean, digest
from orchestration.serving_logs.files import (
    Discovery,
    LogFile,
    UnreadableFile,
    by_compression,
    compression,
    open_log,
    scrape_time,
)
from orchestration.serving_logs.staging import by_file_where_it_fails
from orchestration.settings import InventorySource, Ledger, Settings

# Labels of nodes that say where a node stands, which GPUs it has and how it is bought (reference: documentation of
# Kubernetes, GPU feature discovery, Karpenter, EKS, GKE and AKS). What they mean stands in the seeds.
NODE_LABELS = (
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/zone",
    "nvidia.com/gpu.product",
    "nvidia.com/gpu.count",
    "nvidia.com/gpu.memory",
    "nvidia.com/gpu.replicas",
    "nvidia.com/mig.strategy",
    "cloud.google.com/gke-accelerator",
    "cloud.google.com/gke-accelerator-count",
    "cloud.google.com/gke-nodepool",
    "cloud.google.com/gke-provisioning",
    "cloud.google.com/gke-spot",
    "cloud.google.com/gke-preemptible",
    "cloud.google.com/reservation-name",
    "karpenter.k8s.aws/instance-gpu-name",
    "karpenter.k8s.aws/instance-gpu-count",
    "karpenter.k8s.aws/instance-gpu-memory",
    "karpenter.k8s.aws/capacity-reservation-id",
    "karpenter.k8s.aws/capacity-reservation-type",
    "karpenter.sh/capacity-type",
    "karpenter.sh/nodepool",
    "eks.amazonaws.com/capacityType",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/scalesetpriority",
    "kubernetes.azure.com/agentpool",
    "kubernetes.azure.com/cluster",
    "node.kubernetes.io/lifecycle",
)
# Labels of pods that say which pods are one replica; a pod with one of them counts without a GPU of its own, for the
# head of a Ray cluster often has none and still exposes the tokens.
GROUP_LABELS = (
    "leaderworkerset.sigs.k8s.io/name",
    "leaderworkerset.sigs.k8s.io/group-index",
    "leaderworkerset.sigs.k8s.io/worker-index",
    "ray.io/cluster",
    "ray.io/node-type",
)
POD_LABELS = (
    *GROUP_LABELS,
    "app",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "model",
    "llm-d.ai/model",
    "llm-d.ai/role",
    "serving.kserve.io/inferenceservice",
)
# Resources that are a GPU, a share or a slice of one.
GPU_RESOURCES = r"^(nvidia\.com/(gpu(\.shared)?|mig-[0-9].*)|amd\.com/gpu|habana\.ai/gaudi|gpu\.intel\.com/(i915|xe))$"
# Column -> DCGM's field and the most it can say, in the field's own unit (dcgm-exporter documentation).
GPU_READINGS = {
    "gpu_utilization_percent": ("DCGM_FI_DEV_GPU_UTIL", 100),
    "sm_active_ratio": ("DCGM_FI_PROF_SM_ACTIVE", 1),
    "tensor_active_ratio": ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", 1),
    "power_watts": ("DCGM_FI_DEV_POWER_USAGE", 10_000),
    "energy_millijoules": ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 1e16),  # three centuries at a kilowatt
}
_READING = r"try_cast(regexp_extract(line, '\}[ \t]*(\S+)', 1) as double)"
# zstd does not tell its unpacked size; JSON of this kind packs to a twentieth.
ZSTD_RATIO = 60


@dataclass(frozen=True, slots=True)
class KnownSnapshot:
    """What raw.inventory_snapshots holds of a path."""

    size_bytes: int
    modified_at: datetime


def pod_label_keys(ledger: Ledger) -> tuple[str, ...]:
    """The allow-list of pod labels: our own, and those that ledger.yaml selects pods by."""
    selected = {key for entry in ledger.fleet if entry.pods is not None for key in entry.pods.labels}
    return (*POD_LABELS, *sorted(selected - set(POD_LABELS)))


def fields_digest(ledger: Ledger) -> str:
    """Which fields are read: a snapshot that was read for other ones is read again."""
    wanted = "|".join((GPU_RESOURCES, *NODE_LABELS, *pod_label_keys(ledger), *GPU_READINGS))
    return hashlib.sha256(wanted.encode()).hexdigest()[:16]


def discover_snapshots(
    source: InventorySource, settings: Settings, known: Mapping[str, KnownSnapshot], *, now: datetime
) -> Discovery:
    """Lists the snapshots of `source`; those whose size and modification time are `known` need no reading.

    A snapshot was taken at the instant in its file's name (`20261123T175427Z`, epoch seconds), else when the file was
    written.
    """
    base, pattern = settings.root, source.path
    if Path(pattern).is_absolute():
        base, pattern = Path(Path(pattern).anchor), str(Path(pattern).relative_to(Path(pattern).anchor))
    changed: dict[str, LogFile] = {}
    unreadable: list[UnreadableFile] = []
    unchanged = 0
    for path in sorted(base.glob(pattern)):
        if not path.is_file():
            continue
        stat = path.stat()
        modified_at = datetime.fromtimestamp(stat.st_mtime_ns // 1_000 / 1_000_000, UTC)
        if known.get(str(path)) == KnownSnapshot(stat.st_size, modified_at):
            unchanged += 1
            continue
        observed_at = scrape_time(path.name) or modified_at
        if observed_at > now + timedelta(days=1):
            unreadable.append(UnreadableFile(path, "instant_in_the_future"))
            continue
        # One exporter speaks of one node; a list speaks of all that its source lists.
        scope = path.parent.relative_to(base).as_posix() if source.kind == "dcgm" else ""
        identity = hashlib.sha256(f"{source.name}|{source.kind}|{scope}|{observed_at.isoformat()}|".encode())
        identity.update(hashlib.sha256(path.read_bytes()).digest())
        file_id = identity.hexdigest()[:32]
        changed[file_id] = LogFile(path, file_id, stat.st_size, modified_at, scope, observed_at)
    return Discovery(list(changed.values()), unreadable, unchanged)


def stage_snapshots(
    con: duckdb.DuckDBPyConnection, source: InventorySource, ledger: Ledger, files: list[LogFile], now: datetime
) -> None:
    """Reads `files` into the three staging tables."""
    _list_files(con, files)
    if source.kind == "dcgm":
        _stage_gpu_pages(con, source, files)
    elif source.kind == "kubernetes_nodes":
        _read_lists(con, files, _NODE)
        con.execute(f"create or replace temp table entries as {_node_entries()}", {"source": source.name})
    else:
        _read_lists(con, files, _pod_type(pod_label_keys(ledger)))
        con.execute(
            f"create or replace temp table entries as {_pod_entries(pod_label_keys(ledger))}", {"source": source.name}
        )
    con.execute(
        "create or replace temp view staged_records as "
        "select * exclude (file_path, position, is_skipped, rejected) from entries "
        "where rejected is null and not is_skipped"
    )
    con.execute(
        """
        create or replace temp table staged_rejects as
        select
            file_id, rejected[1] as reason, rejected[2] as field,
            file_path || coalesce(', entry ' || min(position), '') as first_location, count(*) as occurrences
        from entries
        where rejected is not null
        group by file_id, file_path, rejected[1], rejected[2]
        """
    )
    _finish(con, source, ledger, now)


def _list_files(con: duckdb.DuckDBPyConnection, files: list[LogFile]) -> None:
    con.execute(
        """
        create or replace temp table input_files as
        select
            unnest(?) as file_path, unnest(?) as file_id, unnest(?) as size_bytes,
            cast(unnest(?) as timestamptz) as modified_at, unnest(?) as scope,
            cast(unnest(?) as timestamptz) as observed_at
        """,
        [
            [str(file.path) for file in files],
            [file.file_id for file in files],
            [file.size_bytes for file in files],
            [file.modified_at for file in files],
            [file.replica_key for file in files],
            [file.scraped_at for file in files],
        ],
    )
    con.execute("create or replace temp table failed_files (file_path varchar, reason varchar, is_partial boolean)")


def _finish(con: duckdb.DuckDBPyConnection, source: InventorySource, ledger: Ledger, now: datetime) -> None:
    con.execute(
        """
        create or replace temp table staged_snapshots as
        with counts as (
            select
                file_id,
                count(*) filter (rejected is null and not is_skipped) as record_count,
                count(*) filter (rejected is not null) as rejected_count,
                count(*) filter (rejected is null and is_skipped) as skipped_count
            from entries
            group by file_id
        ),
        failed as (select file_path, min(reason) as reason from failed_files group by file_path)
        select
            files.file_id, $source as source_name, $kind as kind, files.scope, files.observed_at,
            cast(files.observed_at as date) as observed_date, files.file_path, files.size_bytes, files.modified_at,
            $fields as fields_digest, coalesce(counts.record_count, 0) as record_count,
            coalesce(counts.rejected_count, 0) as rejected_count, coalesce(counts.skipped_count, 0) as skipped_count,
            case when failed.file_path is null then 'loaded' else 'refused' end as status,
            failed.reason as message, cast($now as timestamptz) as loaded_at
        from input_files as files
        left join counts on files.file_id = counts.file_id
        left join failed on files.file_path = failed.file_path
        """,
        {"source": source.name, "kind": source.kind, "fields": fields_digest(ledger), "now": now},
    )


# --- lists of kubectl -----------------------------------------------------------------------------------------------


def _labels_type(keys: tuple[str, ...]) -> str:
    return "STRUCT(" + ", ".join(f'"{key}" VARCHAR' for key in keys) + ")"


_RESOURCES = "MAP(VARCHAR, VARCHAR)"
_NODE = (
    "STRUCT(kind VARCHAR, "
    f"metadata STRUCT(name VARCHAR, uid VARCHAR, creationTimestamp VARCHAR, labels {_labels_type(NODE_LABELS)}), "
    f"spec STRUCT(providerID VARCHAR), status STRUCT(capacity {_RESOURCES}))"
)


def _pod_type(label_keys: tuple[str, ...]) -> str:
    return (
        "STRUCT(kind VARCHAR, "
        "metadata STRUCT(name VARCHAR, uid VARCHAR, namespace VARCHAR, creationTimestamp VARCHAR, "
        f"ownerReferences STRUCT(kind VARCHAR, name VARCHAR)[], labels {_labels_type(label_keys)}), "
        "spec STRUCT(nodeName VARCHAR, hostNetwork BOOLEAN, resourceClaims STRUCT(name VARCHAR)[], "
        f"containers STRUCT(resources STRUCT(requests {_RESOURCES}, limits {_RESOURCES}))[]), "
        "status STRUCT(phase VARCHAR, startTime VARCHAR, podIP VARCHAR))"
    )


def _read_lists(con: duckdb.DuckDBPyConnection, files: list[LogFile], item_type: str) -> None:
    """Reads each file's list into `documents`; a file that holds no list, or several, is refused."""
    con.execute(f"create or replace temp table documents (file_path varchar, items {item_type}[])")
    for packing, paths in by_compression(files).items():
        query = f"""
            insert into documents
            select filename, items
            from read_json(
                $paths, format = 'unstructured', columns = {{'items': '{item_type}[]'}}, filename = true,
                compression = '{packing}', maximum_object_size = {max(_unpacked_size(path) for path in paths) + 16}
            )
        """
        by_file_where_it_fails(con, query, paths, {})
    con.execute(
        """
        insert into failed_files
        select files.file_path, 'holds_no_list', false
        from input_files as files left join documents on files.file_path = documents.file_path
        where files.file_path not in (select failed.file_path from failed_files as failed)
        group by files.file_path
        having count(documents.items) <> 1 or count(documents.file_path) <> 1
        """
    )
    con.execute(
        """
        create or replace temp table listed as
        select
            files.file_id, files.file_path, files.scope, files.observed_at,
            unnest(documents.items) as item, generate_subscripts(documents.items, 1) as position
        from documents inner join input_files as files on documents.file_path = files.file_path
        where documents.file_path not in (select failed.file_path from failed_files as failed)
        """
    )


def _unpacked_size(path: Path) -> int:
    packing = compression(path)
    if packing == "zstd":
        return path.stat().st_size * ZSTD_RATIO
    if packing == "none":
        return path.stat().st_size
    try:
        with open_log(path) as stream:
            size = 0
            while block := stream.read(1 << 20):
                size += len(block)
            return size
    except (OSError, EOFError, zlib.error, gzip.BadGzipFile):
        return path.stat().st_size  # damaged: its own reading fails


def _text(column: str) -> str:
    return f"case {clean(column)} end"


def _instant(column: str) -> str:
    return f"try_cast({column} as timestamptz)"


def _labels(keys: tuple[str, ...]) -> str:
    """SQL: the labels that are set, as the text of a JSON object with its keys in our order."""
    pairs = ", ".join(f"""{{'k': '{key}', 'v': {_text(f'item.metadata.labels."{key}"')}}}""" for key in keys)
    return f"""
        cast(to_json(map_from_entries(list_filter([{pairs}], lambda pair: pair.v is not null))) as varchar)
    """


def _node_entries() -> str:
    return f"""
        with read as (
            select
                *,
                list_sort(list_filter(
                    map_entries(coalesce(item.status.capacity, cast(map() as {_RESOURCES}))),
                    lambda pair: regexp_matches(pair.key, '{GPU_RESOURCES}')
                )) as gpus
            from listed
        )
        select
            $source as source_name, file_id, scope, observed_at,
            {_text("item.metadata.name")} as node_name, {_text("item.metadata.uid")} as node_uid,
            nullif(left(item.spec.providerID, 512), '') as provider_id,
            {_instant("item.metadata.creationTimestamp")} as created_at, {_labels(NODE_LABELS)} as labels,
            cast(to_json(map_from_entries(gpus)) as varchar) as gpu_capacity,
            file_path, position, false as is_skipped,
            case
                when item.kind <> 'Node' then ['wrong_kind', 'kind']
                when nullif(item.metadata.name, '') is null then ['missing_field', 'metadata.name']
                when nullif(item.metadata.uid, '') is null then ['missing_field', 'metadata.uid']
                when len(list_filter(gpus, lambda pair: not regexp_matches(pair.value, '^[0-9]{{1,6}}$'))) > 0
                    then ['not_a_count', 'status.capacity']
            end as rejected
        from read
    """


def _pod_entries(label_keys: tuple[str, ...]) -> str:
    grouped = " or ".join(f'item.metadata.labels."{key}" is not null' for key in GROUP_LABELS)
    selected = [key for key in label_keys if key not in POD_LABELS]
    grouped += "".join(f' or item.metadata.labels."{key}" is not null' for key in selected)
    none = f"cast(map() as {_RESOURCES})"
    return f"""
        with read as (
            select
                *,
                -- Kubernetes wants limit and request of a device alike; where only one is written, it is the one.
                list_filter(
                    flatten(list_transform(
                        coalesce(item.spec.containers, []),
                        lambda box: map_entries(map_concat(
                            coalesce(box.resources.limits, {none}), coalesce(box.resources.requests, {none})
                        ))
                    )),
                    lambda pair: regexp_matches(pair.key, '{GPU_RESOURCES}')
                ) as gpus
            from listed
        )
        select
            $source as source_name, file_id, scope, observed_at,
            {_text("item.metadata.namespace")} as namespace, {_text("item.metadata.name")} as pod_name,
            {_text("item.metadata.uid")} as pod_uid, {_text("item.spec.nodeName")} as node_name,
            {_instant("item.metadata.creationTimestamp")} as created_at,
            {_instant("item.status.startTime")} as started_at,
            {_text("item.metadata.ownerReferences[1].kind")} as owner_kind,
            {_text("item.metadata.ownerReferences[1].name")} as owner_name,
            case when item.spec.hostNetwork then null else {digest("item.status.podIP")} end as pod_ip_digest,
            {_labels(label_keys)} as labels,
            cast(to_json(map_from_entries(list_transform(
                list_sort(list_distinct(list_transform(gpus, lambda pair: pair.key))),
                lambda resource: {{'k': resource, 'v': cast(list_sum(list_transform(
                    list_filter(gpus, lambda pair: pair.key = resource),
                    lambda pair: try_cast(pair.value as integer)
                )) as varchar)}}
            ))) as varchar) as gpu_requests,
            coalesce(len(item.spec.resourceClaims), 0) > 0 as has_resource_claims,
            file_path, position,
            item.spec.nodeName is null
            or coalesce(item.status.phase, '') in ('Succeeded', 'Failed')
            or (len(gpus) = 0 and coalesce(len(item.spec.resourceClaims), 0) = 0 and not ({grouped})) as is_skipped,
            case
                when item.kind <> 'Pod' then ['wrong_kind', 'kind']
                when nullif(item.metadata.name, '') is null then ['missing_field', 'metadata.name']
                when nullif(item.metadata.namespace, '') is null then ['missing_field', 'metadata.namespace']
                when nullif(item.metadata.uid, '') is null then ['missing_field', 'metadata.uid']
                when len(list_filter(gpus, lambda pair: not regexp_matches(pair.value, '^[0-9]{{1,6}}$'))) > 0
                    then ['not_a_count', 'spec.containers.resources']
            end as rejected
        from read
    """


# --- pages of the DCGM exporter -------------------------------------------------------------------------------------


def _stage_gpu_pages(con: duckdb.DuckDBPyConnection, source: InventorySource, files: list[LogFile]) -> None:
    """One entry per GPU or MIG instance and pod that holds it, from the labels of whichever DCGM_FI series there are.

    The labels of the pod are exported_* where Prometheus renamed them, and pod_name in old releases. What the series
    say of load and power stands on the entry; a value out of its range (DCGM's "blank" is a large number) is unknown.
    """
    con.execute("create or replace temp table page_lines (file_path varchar, line varchar, is_cut boolean)")
    query = """
        insert into page_lines
        with pages as (
            select filename as file_path, content, right(content, 1) <> chr(10) as is_cut from read_text($paths)
        )
        select file_path, line, is_cut
        from (select file_path, is_cut, unnest(string_split(content, chr(10))) as line from pages) as lines
        where starts_with(line, 'DCGM_FI_') or is_cut
    """
    by_file_where_it_fails(con, query, [file.path for file in files], {})
    con.execute(
        """
        insert into failed_files
        select distinct file_path, 'page_cut_short', false from page_lines where is_cut
        union all
        select file_path, 'no_dcgm_series', false from input_files
        where
            file_path not in (select lines.file_path from page_lines as lines)
            and file_path not in (select failed.file_path from failed_files as failed)
        """
    )

    def label(name: str) -> str:
        return _text(f"nullif(regexp_extract(line, '[{{,]{name}=\"((?:[^\"\\\\]|\\\\.)*)\"', 1), '')")

    measures = ", ".join(
        f"max(case when starts_with(line, '{name}{{') and {_READING} between 0 and {most} then {_READING} end)"
        f" as {column}"
        for column, (name, most) in GPU_READINGS.items()
    )
    con.execute(
        f"""
        create or replace temp table entries as
        with read as (
            select
                files.file_id, files.file_path, files.scope, files.observed_at,
                {label("UUID")} as gpu_uuid, {label("GPU_I_ID")} as gpu_instance,
                {label("GPU_I_PROFILE")} as mig_profile, {label("modelName")} as gpu_name_raw,
                {label("exported_namespace")} as exported_namespace, {label("exported_pod")} as exported_pod,
                coalesce({label("namespace")}, {label("pod_namespace")}) as own_namespace,
                coalesce({label("pod")}, {label("pod_name")}) as own_pod, {measures}
            from page_lines as lines
            inner join input_files as files on lines.file_path = files.file_path
            where files.file_path not in (select failed.file_path from failed_files as failed)
            group by all
        ),
        held as (
            select
                * exclude (exported_namespace, exported_pod, own_namespace, own_pod),
                -- Where Prometheus renamed the labels, the plain ones name the exporter's own pod.
                case
                    when count(exported_pod) over (partition by file_path) > 0 then [exported_namespace, exported_pod]
                    else [own_namespace, own_pod]
                end as pod
            from read
        )
        select
            $source as source_name, * exclude (pod, {", ".join(GPU_READINGS)}),
            {", ".join(f"max({column}) as {column}" for column in GPU_READINGS)},
            case when pod[2] is not null then pod[1] end as namespace, pod[2] as pod_name,
            cast(null as bigint) as position, false as is_skipped,
            case when gpu_uuid is null then ['missing_label', 'UUID'] end as rejected
        from held
        group by all
        """,
        {"source": source.name},
    )
