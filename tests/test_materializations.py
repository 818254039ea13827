"""How dbt puts a table in the place of the one before (dbt/macros/materializations.sql)."""

from pathlib import Path

import duckdb
import pytest

from orchestration.dbt_runs import DbtError, run_dbt

DEPLOYMENT = """
    select
        {} as model, 'H100' as gpu_model, timestamptz '2026-11-01 00:00+00' as first_valid_from_at,
        2 as current_replicas, true as has_engine_counters, false as has_gateway_requests
"""


def run(folder: Path, before: str, deployment: str = DEPLOYMENT.format("'m'")) -> None:
    """Runs dim_models on one deployment after the statement `before`."""
    warehouse = folder / "warehouse.duckdb"
    with duckdb.connect(str(warehouse)) as con:
        con.execute("create schema if not exists intermediate; create schema if not exists marts")
        con.execute(f"create or replace table intermediate.int_deployments__described as {deployment}")
        con.execute(before)
    run_dbt("run", "--select", "dim_models", warehouse=warehouse, folder=folder)


def models(folder: Path) -> list[tuple[str, ...]]:
    with duckdb.connect(str(folder / "warehouse.duckdb")) as con:
        return con.execute("select table_name, model from marts.dim_models, duckdb_tables() "
                           "where schema_name = 'marts'").fetchall()  # fmt: skip


@pytest.mark.parametrize(
    "before",
    [
        "select 1",
        "create table marts.dim_models as select 'old' as model",
        "create view marts.dim_models as select 'old' as model",
    ],
    ids=["nothing", "a table of another shape", "a view"],
)
def test_a_table_takes_the_place_of_what_was_there(before: str, tmp_path: Path) -> None:
    run(tmp_path, before)
    assert models(tmp_path) == [("dim_models", "m")]
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as con:
        assert con.execute("select comment from duckdb_tables() where table_name = 'dim_models'").fetchall() == [
            ("One row per model of the ledger.",)
        ]
        assert con.execute(
            "select comment, data_type, is_nullable from duckdb_columns() "
            "where table_name = 'dim_models' and column_name = 'deployment_count'"
        ).fetchall() == [("Deployments that serve it.", "BIGINT", False)]


@pytest.mark.parametrize(
    ("model", "message"),
    [("null::varchar", "NOT NULL constraint failed"), ("7", "contract")],
    ids=["while rows are written", "before"],
)
def test_a_model_that_fails_leaves_the_table_as_it_was(model: str, message: str, tmp_path: Path) -> None:
    run(tmp_path, "select 1")
    with pytest.raises(DbtError, match=message):
        run(tmp_path, "select 1", DEPLOYMENT.format(model))
    assert models(tmp_path) == [("dim_models", "m")]
