"""What was published of a day stays known: versions, restatements and months closed, over a few runs on one ledger."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cost_warehouse import PROJECT_ROOT, CostWarehouse, Row

from orchestration.publication import publish, remember_published_costs
from orchestration.settings import Settings, load_settings
from orchestration.warehouse import Warehouse

HOURLY = """
    create schema if not exists marts;
    create schema if not exists intermediate;
    create table marts.fct_inference_costs_hourly (
        usage_date date, deployment varchar, pricing_category varchar, provider varchar, gpu_hours decimal(18, 6),
        cost_usd decimal(38, 10), rate_basis varchar, total_tokens bigint
    );
    create table intermediate.int_commitments__hourly (
        commitment_id varchar, provider varchar, hour_start_at timestamptz, unused_gpu_hours decimal(18, 6),
        unused_cost_usd decimal(38, 10), rate_basis varchar
    );
    create table intermediate.int_costs_window as select timestamptz '1970-01-01' as costs_window_start_at
"""
CLOSING = (
    "stg_ledger__run",
    "stg_ledger__published_costs",
    "path:models/intermediate/closing",
    "path:models/marts/closing",
)


def hour(day: int, deployment: str, cost: str | None, *, basis: str = "list", tokens: int = 100) -> Row:
    return {
        "usage_date": date(2026, 10, day),
        "deployment": deployment,
        "pricing_category": "Standard",
        "provider": "aws",
        "gpu_hours": Decimal(8),
        "cost_usd": None if cost is None else Decimal(cost),
        "rate_basis": basis,
        "total_tokens": tokens,
    }


def unused(day: int, cost: str) -> Row:
    return {
        "commitment_id": "p5-1y",
        "provider": "aws",
        "hour_start_at": datetime(2026, 10, day, 5, tzinfo=UTC),
        "unused_gpu_hours": Decimal(2),
        "unused_cost_usd": Decimal(cost),
        "rate_basis": "list",
    }


class Runs:
    """Daily runs on one data folder: costs are given, the closing models are real, and so is publication."""

    def __init__(self, folder: Path) -> None:
        (folder / "ledger.yaml").write_text("fleet: []\n", encoding="utf-8")
        self.settings: Settings = load_settings(folder / "ledger.yaml", folder / "data")
        self.warehouse = CostWarehouse(self.settings.warehouse_path, folder / "target")
        self.new_warehouse()

    def new_warehouse(self) -> None:
        self.settings.warehouse_path.unlink(missing_ok=True)
        with Warehouse(self.settings.warehouse_path).connect() as con:
            con.execute(HOURLY)

    def run(self, started_at: datetime, as_of: date, hours: list[Row], commitments: list[Row]) -> None:
        with Warehouse(self.settings.warehouse_path).connect() as con:
            remember_published_costs(con, self.settings)
        self.warehouse.replace("marts.fct_inference_costs_hourly", hours)
        self.warehouse.replace("intermediate.int_commitments__hourly", commitments)
        facts = {"run_id": f"{started_at:%m%d}", "started_at": started_at, "as_of_date": as_of, "close_after_days": 10}
        self.warehouse.replace("raw.ledger_run", [{**facts, "window_start_date": as_of}])
        self.warehouse.dbt("run", "--select", *CLOSING)
        publish(self.settings, run_id=f"{started_at:%m%d}", published_at=started_at)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.warehouse.query(sql)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Four runs. The bill of October comes after the month was closed; then the warehouse is lost, and b withdrawn."""
    assert (PROJECT_ROOT / "dbt").exists()
    runs = Runs(tmp_path_factory.mktemp("closing"))
    first = [hour(1, "a", "10"), hour(2, "a", "20"), hour(2, "b", "5")]
    runs.run(datetime(2026, 10, 3, 5, tzinfo=UTC), date(2026, 10, 2), first, [unused(1, "4")])
    # The same again, and one day more: 2 October stands, of which tokens came late.
    late = [hour(1, "a", "10"), hour(2, "a", "20", tokens=130), hour(2, "b", "5"), hour(31, "a", "7")]
    runs.run(datetime(2026, 11, 2, 5, tzinfo=UTC), date(2026, 10, 31), late, [unused(1, "4")])
    billed = [hour(1, "a", "12.5", basis="billed"), *late[1:], hour(31, "c", "3")]
    runs.run(datetime(2026, 11, 20, 5, tzinfo=UTC), date(2026, 11, 19), billed, [unused(1, "4")])
    runs.new_warehouse()
    without_b = [row for row in billed if row["deployment"] != "b"]
    runs.run(datetime(2026, 11, 21, 5, tzinfo=UTC), date(2026, 11, 20), without_b, [unused(1, "4")])
    runs.warehouse.dbt("test", "--select", *CLOSING, "--indirect-selection", "cautious", "--resource-type", "test")
    return runs


def test_each_change_of_a_published_figure_leaves_a_row(runs: Runs) -> None:
    rows = runs.rows(
        "select usage_date::varchar, name, cause, from_cost_usd, to_cost_usd, change_cost_usd, from_total_tokens, "
        "to_total_tokens, is_after_close, run_id "
        "from marts.fct_cost_restatements order by restated_at, usage_date, name"
    )
    assert rows == [
        ("2026-10-02", "a", "tokens", Decimal(20), Decimal(20), Decimal(0), 100, 130, False, "1102"),
        ("2026-10-01", "a", "rate_basis", Decimal(10), Decimal("12.5"), Decimal("2.5"), 100, 100, True, "1120"),
        ("2026-10-31", "c", "added", Decimal(0), Decimal(3), Decimal(3), None, 100, True, "1120"),
        ("2026-10-02", "b", "withdrawn", Decimal(5), Decimal(0), Decimal(-5), 100, None, True, "1121"),
    ]


def test_what_was_known_at_an_instant_can_be_asked(runs: Runs) -> None:
    """10 + 20 + 5 + 4 on 3 October; 7 more on 2 November; bill (2.5) and c (3) on the 20th; b (5) gone on the 21st."""
    for at, total in (("2026-10-03", 39), ("2026-11-15", 46), ("2026-11-20", "51.5"), ("2026-11-25", "46.5")):
        assert runs.rows(
            "select sum(cost_usd) from marts.fct_cost_versions where not is_withdrawn "
            f"and stated_at <= timestamptz '{at} 12:00+00' "
            f"and (superseded_at is null or superseded_at > timestamptz '{at} 12:00+00')"
        ) == [(Decimal(total),)]


def test_a_closed_month_keeps_its_figure_and_shows_what_came_after(runs: Runs) -> None:
    rows = runs.rows(
        "select name, scope, state, closes_at, cost_usd_at_close, cost_usd, restated_cost_usd "
        "from marts.fct_month_close order by name"
    )
    closed = datetime(2026, 11, 11, tzinfo=UTC)
    assert rows == [
        ("a", "deployment", "closed", closed, Decimal(37), Decimal("39.5"), Decimal("2.5")),
        ("b", "deployment", "closed", closed, Decimal(5), Decimal(0), Decimal(-5)),
        ("c", "deployment", "closed", closed, Decimal(0), Decimal(3), Decimal(3)),
        ("p5-1y", "unused_commitment", "closed", closed, Decimal(4), Decimal(4), Decimal(0)),
    ]


def test_a_run_that_says_the_same_adds_nothing(runs: Runs) -> None:
    assert runs.rows(
        "select name, max(version_number), count(*) from marts.fct_cost_versions group by all order by name"
    ) == [("a", 2, 5), ("b", 2, 2), ("c", 1, 1), ("p5-1y", 1, 1)]
