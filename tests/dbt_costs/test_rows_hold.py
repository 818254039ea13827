"""The data test that most tables have, on a table written by hand: each of its rules must be able to fail."""

from pathlib import Path

import duckdb
import pytest

from orchestration.dbt_runs import DbtError, run_dbt

COMMITMENTS = (
    "int_commitments__hourly",
    "commitment_id, hour_start_at, committed_gpu_hours, used_gpu_hours, unused_gpu_hours, used_cost_usd, "
    "modelled_unused_cost_usd",
)
GOOD = "('c1', timestamptz '2026-11-01 00:00+00', 2, 1, 1, 3, null)"
UNMAPPED = (
    "int_usage_unmapped",
    "reason, source_name, model_group, model, deployment, first_usage_date, last_usage_date",
)
KNOWN = "('no_route', 'gateway', '', 'm', '', date '2026-11-01', date '2026-11-02')"


@pytest.mark.parametrize(
    ("table", "rows", "failures"),
    [
        (COMMITMENTS, GOOD, 0),
        (COMMITMENTS, GOOD.replace("'c1'", "'c2'") + ", " + GOOD, 0),
        (COMMITMENTS, GOOD + ", " + GOOD, 1),  # key
        (COMMITMENTS, GOOD.replace("'c1'", "null"), 1),  # never_null
        (COMMITMENTS, GOOD.replace("2, 1, 1", "2, -1, -1"), 2),  # never_negative, two columns
        (UNMAPPED, KNOWN, 0),
        (UNMAPPED, KNOWN.replace("'no_route'", "'mislaid'"), 1),  # accepted_values
        (UNMAPPED, KNOWN.replace("'no_route'", "null"), 1),  # never_null alone
    ],
)
def test_each_rule_fails_and_only_it(table: tuple[str, str], rows: str, failures: int, tmp_path: Path) -> None:
    name, columns = table
    warehouse = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(warehouse)) as con:
        con.execute("create schema intermediate")
        con.execute(f"create table intermediate.{name} as from (values {rows}) as t ({columns})")
    chosen = ("test", "--select", f"{name},test_name:rows_hold")
    if not failures:
        assert "ERROR=0" in run_dbt(*chosen, warehouse=warehouse, folder=tmp_path)
        return
    with pytest.raises(DbtError, match=f"Got {failures} result"):
        run_dbt(*chosen, warehouse=warehouse, folder=tmp_path)
