"""Bills, savings plans and overlapping reservations against the oracle; and the public sample of FOCUS."""

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from cost_warehouse import CostWarehouse
from many_worlds import compare

from orchestration.settings import load_settings
from orchestration.warehouse import load_bills

WORLDS = 40  # `python tests/dbt_costs/many_worlds.py 1000` does more


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worlds")


def test_every_hourly_row_of_many_worlds_is_the_oracles(folder: Path) -> None:
    compared, wrong = compare(WORLDS, folder, folder / "target")
    assert compared > 10 * WORLDS
    assert wrong == []
    warehouse = CostWarehouse(folder / "warehouse.duckdb", folder / "target")
    seen = warehouse.query(
        "select distinct rate_basis, billing_status, pricing_model from marts.fct_inference_costs_hourly"
    )
    assert {row["pricing_model"] for row in seen} == {"on_demand", "spot", "reserved", "savings_plan"}
    assert {"billed", "contracted", "list", "none"} <= {row["rate_basis"] for row in seen}
    scopes = {row["scope"] for row in warehouse.query("select distinct scope from marts.fct_bill_deployments_daily")}
    assert scopes == {"deployment", "unknown_tag", "untagged", "unused_commitment"}
    assert {row["billing_status"] for row in seen} == {"final", "provisional", "not_yet_billed", "no_bill"}


def test_zero_effective_costs_of_the_public_sample_are_a_finding(samples: Path, folder: Path) -> None:
    """FOCUS-Sample-Data, FOCUS 1.0: eight lines are GPUs (g5.4xlarge); used, listed, and of no effective cost: 612."""
    sample = samples / "usage/focus/focus_1.0_sample.csv"
    (folder / "bill.csv").write_bytes(sample.read_bytes())
    (folder / "ledger.yaml").write_text("billing: [{name: sample, kind: focus, path: bill.csv}]\n")
    settings = load_settings(folder / "ledger.yaml", folder / "data")
    warehouse = CostWarehouse(folder / "warehouse.duckdb", folder / "target")
    with duckdb.connect(str(warehouse.path)) as con:
        con.execute("set timezone = 'UTC'")
        load_bills(con, settings.ledger.billing[0], settings, now=datetime(2026, 11, 24, tzinfo=UTC))
    warehouse.replace("raw.ledger_billing_sources", [{"source_name": "sample", "kind": "focus"}], "true")
    warehouse.dbt("seed", "--select", "instance_types")  # the worlds had types of their own
    warehouse.dbt(
        "run", "--select", "int_billing_lines", "int_billed_costs__hourly", "int_bill_findings", "fct_bill_findings"
    )
    with sample.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))

    def amount(line: dict[str, str], column: str) -> Decimal:
        return Decimal(0) if line[column] in ("", "NULL") else Decimal(line[column])

    missing = [
        line
        for line in lines
        if line["ChargeCategory"] == "Usage" and amount(line, "EffectiveCost") == 0 and amount(line, "ListCost") > 0
    ]
    found = {
        row["finding"]: row["occurrences"]
        for row in warehouse.query(
            "select finding, sum(occurrences) as occurrences from marts.fct_bill_findings group by 1"
        )
    }
    assert found["effective_cost_missing"] == len(missing) == 612
    assert found["negative_cost"] == sum(amount(line, "BilledCost") < 0 for line in lines) == 13
    # The billed cost stands in where the effective is missing: 2 + .480884264 + 2 + 1 + 2 + 2 + 2 + .492162944.
    (gpus,) = warehouse.query(
        "select sum(effective_cost_usd) as cost, min(instance_type) as type from intermediate.int_billed_costs__hourly "
        "where instance_type = 'g5.4xlarge'"
    )
    assert gpus == {"cost": Decimal("11.973047208"), "type": "g5.4xlarge"}
