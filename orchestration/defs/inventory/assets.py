"""Snapshots of clusters: nodes, pods and which GPU a pod holds."""

from datetime import UTC, datetime

import dagster as dg

from orchestration.inventory_kinds import INVENTORY_KINDS
from orchestration.settings import load_settings
from orchestration.warehouse import Warehouse, load_inventory

SNAPSHOTS = dg.AssetKey(["raw", "inventory_snapshots"])
_ROWS = {
    "inventory_nodes": "Nodes of each snapshot, with the labels that say what they are and how they are bought.",
    "inventory_pods": "Scheduled pods of each snapshot that may hold a GPU.",
    "inventory_gpus": "GPUs of each snapshot and the pods that hold them, from DCGM.",
}


@dg.multi_asset(
    name="raw__inventory",
    specs=[
        dg.AssetSpec(
            SNAPSHOTS,
            description="One row per snapshot of a cluster that was read.",
            group_name="raw",
            kinds={"python", "duckdb"},
            owners=["team:platform"],
        ),
        *(
            dg.AssetSpec(
                ["raw", table],
                description=f"{_ROWS[table]} The new and changed snapshots are read, each as a whole.",
                group_name="raw",
                kinds={"python", "duckdb"},
                owners=["team:platform"],
            )
            for table in INVENTORY_KINDS.values()
        ),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "snapshots_pass_gate",
            asset=SNAPSHOTS,
            description="Each new snapshot was read whole and passed Great Expectations; a refused one is left out.",
        )
    ],
)
def raw_inventory(context: dg.AssetExecutionContext):
    """One load per inventory source of ledger.yaml; one that cannot be read stops nothing."""
    settings = load_settings()
    now = datetime.now(UTC)
    with Warehouse(settings.warehouse_path).connect() as con:
        results = {
            source.name: (source, load_inventory(con, source, settings, now=now))
            for source in settings.ledger.inventory
        }
    for name, (_, result) in results.items():
        context.log.info(
            f"{name}: {result.record_count} rows from {result.snapshot_count} new or changed snapshots, "
            f"{result.rejected_count} rejected"
        )
    loaded = [result for _, result in results.values()]
    yield dg.MaterializeResult(
        SNAPSHOTS,
        metadata={
            "snapshots": sum(result.snapshot_count for result in loaded),
            "unchanged_snapshots": sum(result.unchanged_snapshot_count for result in loaded),
            "refused_snapshots": sum(result.refused_snapshot_count for result in loaded),
            "rejected": sum(result.rejected_count for result in loaded),
        },
    )
    for kind, table in INVENTORY_KINDS.items():
        yield dg.MaterializeResult(
            ["raw", table],
            metadata={"records": sum(r.record_count for source, r in results.values() if source.kind == kind)},
        )
    failures = [failure for result in loaded for failure in result.failures]
    problems = [problem for result in loaded for problem in result.problems]
    yield dg.AssetCheckResult(
        asset_key=SNAPSHOTS,
        check_name="snapshots_pass_gate",
        passed=not failures and not problems,
        severity=dg.AssetCheckSeverity.ERROR if failures else dg.AssetCheckSeverity.WARN,
        description="; ".join(failures + problems) or "every new snapshot is in",
    )
