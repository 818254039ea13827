"""The dbt command line on the project's own profile."""

import dagster as dg
from dagster_dbt import DbtCliResource

from orchestration.settings import DBT_DIR


@dg.definitions
def dbt_resource() -> dg.Definitions:
    """`dbt`, as the assets of this folder ask for it."""
    return dg.Definitions(resources={"dbt": DbtCliResource(project_dir=str(DBT_DIR), profiles_dir=str(DBT_DIR))})
