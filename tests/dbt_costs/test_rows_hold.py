"""The data test that most tables have, on a table written by hand: each of its rules must be able to fail."""

from pathlib import Path

import duckdb
import pytest

from orchestration.dbt_runs import DbtError, run_dbt

GOOD = "('c1', timestamptz '2026-11-01 00:00+00', 2, 1, 1, 3, null)"


@pytest.mark.parametrize(
    ("rows", "failures"),
    [
        (GOOD, 0),
        (GOOD.replace("'c1'", "'c2'") + ", " + GOOD, 0),
        (GOOD + ", " + GOOD, 1),  # key
        (GOOD.replace("'c1'", "null"), 1),  # never_null
        (GOOD.replace("2, 1, 1", "2, -1, -1"), 2),  # never_negative, two columns
    ],
)
def test_each_rule_fails_and_only_it(rows: str, failures: int, tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(warehouse)) as con:
        con.execute(f"""
            create schema intermediate;
            create table intermediate.int_commitments__hourly as
            from (values {rows}) as t (
                commitment_id, hour_start_at, committed_gpu_hours, used_gpu_hours, unused_gpu_hours, used_cost_usd,
                modelled_unused_cost_usd
            )
        """)
    chosen = ("test", "--select", "int_commitments__hourly,test_name:rows_hold")
    if not failures:
        assert "ERROR=0" in run_dbt(*chosen, warehouse=warehouse, folder=tmp_path)
        return
    with pytest.raises(DbtError, match=f"Got {failures} result"):
        run_dbt(*chosen, warehouse=warehouse, folder=tmp_path)
