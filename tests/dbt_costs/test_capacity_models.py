"""Capacity plans from raw tables to the mart: pools, offers and plans by hand, through the project's own dbt models."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cost_warehouse import SELECTED, CostWarehouse, Row
from random_world import LLAMA, SMALL, at, commitment, entry, price
from typer.testing import CliRunner

from orchestration.capacity_plans import needed_gpus, plan_capacity
from orchestration.cli import app
from orchestration.settings import CapacitySection

LAST_DAY = date(2026, 10, 4)
DAYS = 35  # five whole weeks, of which the last four are priced
FIRST = datetime(2026, 8, 31, tzinfo=UTC)
WEEK_END = "2026-10-05T00:00"


def deployments() -> list[Row]:
    """Four L40S always, two more for half of each day; three pools that cannot be planned; one without an offer."""
    start = {"valid_from_at": FIRST}
    rows = [
        entry(0, "chat", LLAMA, "aws", "g6e.xlarge", replicas=3, **start),
        entry(1, "chat", LLAMA, "aws", "g6e.xlarge", pricing_model="reserved", commitment_id="old", **start),
        # On Azure: on demand without a price, and hardware nobody knows.
        entry(90, "dark", SMALL, "azure", "Standard_ND96isr_H100_v5", **start),
        entry(91, "odd", SMALL, "azure", "Standard_Unheard_Of", **start),
        # Five days only, and no commitment on offer.
        entry(92, "young", SMALL, "aws", "p5.48xlarge", valid_from_at=FIRST + timedelta(days=30)),
        entry(93, "bare", SMALL, "aws", "g6.xlarge", replicas=2, **start),
    ]
    for day in range(DAYS):
        opens = FIRST + timedelta(days=day, hours=8)
        rows.append(
            entry(
                2 + day,
                "chat",
                LLAMA,
                "aws",
                "g6e.xlarge",
                replicas=2,
                valid_from_at=opens,
                valid_to_at=opens + timedelta(hours=12),
            )
        )
    return rows


def reserved(usd: str, months: int, payment: str = "no_upfront", since: str = "2026-08-01T00:00", **other: str) -> Row:
    terms = {"term_months": months, "payment_option": payment}
    return price("aws", "g6e.xlarge", "reserved", "1", usd, since, **terms, **other)


PRICES = [
    price("aws", "g6e.xlarge", "on_demand", "1", "2.00", "2026-08-01T00:00", region="us-east-1"),
    reserved("0.80", 36),
    reserved("1.20", 12),
    # Traps: another product; gone before the day; not yet on offer; another region.
    reserved("0.10", 36, offer_tier="convertible"),
    reserved("0.20", 36, "all_upfront", valid_to_at="2026-09-15T00:00"),
    reserved("0.30", 36, "partial_upfront", "2026-10-06T00:00"),
    reserved("0.40", 24, region="eu-west-1"),
    price("aws", "p5.48xlarge", "on_demand", "8", "55.04", "2026-08-01T00:00"),
    price("aws", "g6.xlarge", "on_demand", "1", "0.80", "2026-08-01T00:00"),
]
HELD = [
    commitment(
        "old", "aws", "g6e.xlarge", "2026-06-01T00:00", "2027-06-01T00:00", rate_usd_per_gpu_hour=Decimal("1.50")
    )
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> CostWarehouse:
    """One build, the plan, and the build of what reads it; all data tests pass."""
    folder = tmp_path_factory.mktemp("capacity")
    warehouse = CostWarehouse(folder / "warehouse.duckdb", folder / "target")
    warehouse.create()
    warehouse.replace("raw.ledger_deployments", deployments())
    warehouse.replace("raw.ledger_commitments", HELD)
    warehouse.replace(
        "raw.ledger_price_sources",
        [{"source": name, "is_enabled": True, "stale_after_hours": 48} for name in ("aws", "azure")],
    )
    warehouse.replace("intermediate.int_gpu_price_intervals", PRICES)
    warehouse.replace(
        "raw.ledger_run",
        [
            {
                "run_id": "run",
                "started_at": at("2026-10-05T04:00"),
                "as_of_date": LAST_DAY,
                "window_start_date": FIRST.date(),
            }
        ],
    )
    warehouse.dbt(
        "build",
        "--select",
        *SELECTED,
        "path:models/intermediate/capacity",
        "--exclude",
        "tag:after_capacity",
        "--exclude-resource-type",
        "unit_test",
        "--indirect-selection",
        "cautious",
    )
    with duckdb.connect(str(warehouse.path)) as con:
        con.execute("set timezone = 'UTC'")
        plan_capacity(con, CapacitySection())
    warehouse.dbt("build", "--select", "tag:after_capacity", "--indirect-selection", "cautious")
    return warehouse


def plans(warehouse: CostWarehouse, gpu_model: str) -> dict[str, dict[str, Any]]:
    rows = warehouse.query(f"select * from marts.fct_capacity_plan where gpu_model = '{gpu_model}'")
    return {row["purchase_option"]: row for row in rows}


def test_the_plan_is_the_one_worked_out_by_hand(built: CostWarehouse) -> None:
    """Six GPUs, two of them half the time: 0.80 of 2.00 pays from 40 % of the hours on, so all six are committed.

    672 hours: 1 held at 1.50, 5 new at 0.80. On demand for what is needed 4 x 672 + 2 x 336 GPU-hours at 2.00, at the
    peak 6 x 672. Paid was for three always and two half the time on demand, and for the one that is held.
    """
    best = plans(built, "L40S-48GB")["best_mix"]
    assert (best["reserved_gpus"], best["new_reserved_gpus"], best["held_gpus"]) == (6, 5, 1)
    assert best["demand_gpu_hours"] == 4 * 672 + 2 * 336
    assert best["cost_usd"] == Decimal("1.50") * 672 + Decimal("0.80") * 5 * 672
    assert best["baseline_name"] == "autoscaled_on_demand"
    assert best["baseline_cost_usd"] == 2 * (4 * 672 + 2 * 336)
    assert best["peak_on_demand_cost_usd"] == 2 * 6 * 672
    assert best["actual_cost_usd"] == 2 * (3 * 672 + 2 * 336) + Decimal("1.50") * 672
    assert best["savings_ratio"] == round(1 - Decimal(3696) / 6720, 8)
    assert best["savings_vs_peak_on_demand_ratio"] == round(1 - Decimal(3696) / 8064, 8)
    assert best["savings_vs_actual_ratio"] == round(1 - Decimal(3696) / 6384, 8)
    assert (best["backtest_weeks"], best["backtest_regret_ratio"]) == (3, 0)
    assert best["null_reason"] is None
    # 0.80 for three years or 1.20 a year: 1.20 x (1 + q + q^2) / 3 = 0.80 at q = 0.618, the golden ratio.
    assert best["break_even_decline_ratio"] == Decimal("0.38196601")


def test_each_option_is_priced_at_its_own_best(built: CostWarehouse) -> None:
    """At 1.20 of 2.00 half-used GPUs do not pay: 3 new beside the held one, 672 GPU-hours on demand."""
    options = plans(built, "L40S-48GB")
    assert set(options) == {"best_mix", "on_demand", "reserved_12m_no_upfront", "reserved_36m_no_upfront"}
    year = options["reserved_12m_no_upfront"]
    assert (year["reserved_gpus"], year["on_demand_gpu_hours"]) == (4, 672)
    assert year["cost_usd"] == Decimal("1.50") * 672 + Decimal("1.20") * 3 * 672 + 2 * 672
    none = options["on_demand"]
    assert (none["reserved_gpus"], none["new_reserved_gpus"]) == (1, 0)
    assert none["cost_usd"] == Decimal("1.50") * 672 + 2 * (3 * 672 + 672)
    ranks = sorted(options, key=lambda name: options[name]["cost_rank"])
    assert ranks == ["best_mix", "reserved_36m_no_upfront", "reserved_12m_no_upfront", "on_demand"]


def test_parts_of_a_plan_lie_on_each_other(built: CostWarehouse) -> None:
    tiers = built.query(
        "select tier_position, tier_kind, tier, gpus, new_gpus, used_gpu_hours from marts.fct_capacity_plan_tiers "
        "where gpu_model = 'L40S-48GB' and purchase_option = 'reserved_12m_no_upfront' order by tier_position"
    )
    assert [tuple(row.values()) for row in tiers] == [
        (1, "held", "old", 1, 0, 672),
        (2, "committed", "reserved_12m_no_upfront", 3, 3, 3 * 672),
        (3, "on_demand", "on_demand", None, 0, 672),
    ]


@pytest.mark.parametrize(
    ("gpu_model", "reason"),
    [
        ("H100-SXM-80GB@azure", "no_on_demand_price"),
        ("unknown@azure", "unknown_gpu_count"),
        ("H100-SXM-80GB@aws", "too_few_days"),
    ],
)
def test_a_pool_that_cannot_be_planned_says_why(built: CostWarehouse, gpu_model: str, reason: str) -> None:
    model, provider = gpu_model.split("@")
    (row,) = built.query(
        f"select * from marts.fct_capacity_plan where gpu_model = '{model}' and provider = '{provider}'"
    )
    assert (row["purchase_option"], row["null_reason"]) == ("best_mix", reason)
    assert row["cost_usd"] is row["reserved_gpus"] is row["savings_ratio"] is row["backtest_regret_ratio"] is None


def test_without_an_offer_the_plan_is_on_demand_and_says_so(built: CostWarehouse) -> None:
    best = plans(built, "L4-24GB")["best_mix"]
    assert (best["cost_usd"], best["new_reserved_gpus"]) == (Decimal("0.80") * 2 * 672, 0)
    assert (best["null_reason"], best["backtest_regret_ratio"]) == ("no_commitment_offer", None)


def test_needed_gpus_by_hand() -> None:
    """8 held, 4 active with a fifth to spare: 5. All active: 8, not 10. Two of which nobody speaks: whole."""
    import numpy as np

    held, active, unmeasured = np.array([8.0, 8, 8]), np.array([4.0, 8, 4]), np.array([0.0, 0, 2])
    assert needed_gpus(held, active, unmeasured, target_utilization=0.8).tolist() == [5, 8, 7]


def test_the_command_prints_the_published_plan(built: CostWarehouse, tmp_path: Path) -> None:
    """The marts as a published file: sentences, the drawing, JSON and SVG."""
    (tmp_path / "data" / "published").mkdir(parents=True)
    with duckdb.connect(str(tmp_path / "data" / "published" / "inference_ledger.duckdb")) as con:
        con.execute(f"attach '{built.path}' as w (read_only)")
        for table in ("fct_capacity_plan", "fct_capacity_plan_tiers", "fct_inference_costs_hourly"):
            con.execute(f"create table {table} as from w.marts.{table}")
    (tmp_path / "ledger.yaml").write_text("{}\n")
    place = ["--config", str(tmp_path / "ledger.yaml"), "--data-dir", str(tmp_path / "data")]
    shown = CliRunner().invoke(app, ["plan", "--gpu", "l40s", "--svg", str(tmp_path / "plan.svg"), *place])
    assert shown.exit_code == 0, shown.output
    assert "commit    5 of reserved_36m_no_upfront at 0.8000 USD per GPU-hour: 2,688.00 USD" in shown.output
    assert "saves     45.0% of 6,720.00 USD, on demand that scales perfectly" in shown.output
    assert "saves     54.2% of 8,064.00 USD, on demand sized for the peak" in shown.output
    # Half the hours need four of the six that are committed: the upper third of the right half is idle.
    drawn = [line.partition("│")[2] for line in shown.output.splitlines() if "│" in line]
    assert drawn[:4] == ["█" * 30 + "░" * 30] * 4
    assert drawn[4:] == ["█" * 60] * 8
    assert (tmp_path / "plan.svg").read_text().count("<rect") >= 400
    everything = CliRunner().invoke(app, ["plan", *place])
    assert "No plan: the price book has no on-demand price" in everything.output
    none = CliRunner().invoke(app, ["plan", "--gpu", "B200", *place])
    assert none.exit_code == 2
    assert "no pool of GPUs fits B200" in none.output
