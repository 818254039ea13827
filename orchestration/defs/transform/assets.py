"""The dbt project as assets: one per seed and model, one check per data test; and between its two builds, drift.

`@dbt_assets` and not `DbtProjectComponent`: the component (dagster-dbt 0.29) runs a copy of the project that it took
when its state was last refreshed, so edited SQL goes on running in its old form. Unit tests are left out of the build:
they prove the SQL, not the data, and run in CI.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets

from orchestration.drift_scores import score_costs
from orchestration.settings import DBT_DIR, dbt_target_dir, load_settings
from orchestration.warehouse import Warehouse, is_transform_changed, transform_digest

project = DbtProject(project_dir=DBT_DIR, profiles_dir=DBT_DIR, target_path=dbt_target_dir())
project.prepare_if_dev()


class RoomTranslator(DagsterDbtTranslator):
    """Asset key [schema, table] is the default; the group is the room."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """`seeds`, `staging`, `intermediate` or `marts`."""
        return "seeds" if dbt_resource_props["resource_type"] == "seed" else dbt_resource_props["fqn"][1]


# Models that read what Python made of the first build's, and their tests.
AFTER_PYTHON = "tag:after_drift tag:after_sizing tag:after_capacity"


@dbt_assets(
    manifest=project.manifest_path,
    project=project,
    dagster_dbt_translator=RoomTranslator(),
    name="dbt_build",
    exclude=AFTER_PYTHON,
)
def dbt_build(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Seeds, models and data tests in one `dbt build`; a failed test stops what is downstream of it.

    After an upgrade or a corrected seed the past is built anew as well, once.
    """
    yield from _build(context, dbt)


@dg.multi_asset(
    name="raw__cost_drift",
    specs=[
        dg.AssetSpec(
            ["raw", table],
            group_name="raw",
            kinds={"python", "duckdb"},
            owners=["team:finance"],
            deps=[["intermediate", "int_cost_series__daily"], ["raw", "ledger_run"]],
        )
        for table in ("cost_drift_scores", "cost_drift_references")
    ],
)
def raw_cost_drift(context: dg.AssetExecutionContext):
    """Which cost series drifted; the days of the run's window, from what was kept of the day before."""
    with Warehouse(load_settings().warehouse_path).connect() as con:
        scored = score_costs(con, rebuild=is_transform_changed(con, transform_digest(DBT_DIR)))
    yield dg.MaterializeResult(
        ["raw", "cost_drift_scores"],
        metadata={
            "series": scored.series_count,
            "days": scored.day_count,
            "drifting": scored.drift_count,
            "restated": scored.restated_count,
        },
    )
    yield dg.MaterializeResult(["raw", "cost_drift_references"])


@dbt_assets(
    manifest=project.manifest_path,
    project=project,
    dagster_dbt_translator=RoomTranslator(),
    name="dbt_build_after_drift",
    select=AFTER_PYTHON,
)
def dbt_build_after_drift(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """The models that explain drift and price sizing and capacity plans, and their data tests."""
    yield from _build(context, dbt)


def _build(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    with Warehouse(load_settings().warehouse_path).connect() as con:
        rebuild = ["--full-refresh"] if is_transform_changed(con, transform_digest(DBT_DIR)) else []
    # No copy of the manifest for each build: it takes a second and 10 MB, and nobody reads it.
    build = ["build", "--exclude-resource-type", "unit_test", "--no-write-json", *rebuild]
    yield from dbt.cli(build, context=context).stream()
