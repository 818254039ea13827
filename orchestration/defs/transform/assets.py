"""The dbt project as assets: one per seed and model, one check per data test.

`@dbt_assets` and not `DbtProjectComponent`: the component (dagster-dbt 0.29) runs a copy of the project that it took
when its state was last refreshed, so edited SQL goes on running in its old form. Unit tests are left out of the build:
they prove the SQL, not the data, and run in CI.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets

from orchestration.settings import DBT_DIR, load_settings
from orchestration.warehouse import Warehouse, is_transform_changed, transform_digest

project = DbtProject(project_dir=DBT_DIR, profiles_dir=DBT_DIR)
project.prepare_if_dev()


class RoomTranslator(DagsterDbtTranslator):
    """Asset key [schema, table] is the default; the group is the room."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """`seeds`, `staging`, `intermediate` or `marts`."""
        return "seeds" if dbt_resource_props["resource_type"] == "seed" else dbt_resource_props["fqn"][1]


@dbt_assets(manifest=project.manifest_path, project=project, dagster_dbt_translator=RoomTranslator(), name="dbt_build")
def dbt_build(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Seeds, models and data tests in one `dbt build`; a failed test stops what is downstream of it.

    After an upgrade or a corrected seed the past is built anew as well, once.
    """
    with Warehouse(load_settings().warehouse_path).connect() as con:
        rebuild = ["--full-refresh"] if is_transform_changed(con, transform_digest(DBT_DIR)) else []
    yield from dbt.cli(["build", "--exclude-resource-type", "unit_test", *rebuild], context=context).stream()
