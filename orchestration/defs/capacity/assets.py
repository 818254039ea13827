"""How many GPUs of each pool to commit to."""

import dagster as dg

from orchestration.capacity_plans import plan_capacity
from orchestration.settings import load_settings
from orchestration.warehouse import Warehouse


@dg.multi_asset(
    name="raw__capacity_plans",
    specs=[
        dg.AssetSpec(
            ["raw", table],
            group_name="raw",
            kinds={"python", "duckdb"},
            owners=["team:finance"],
            deps=[
                ["intermediate", "int_capacity_demand__hourly"],
                ["intermediate", "int_capacity_pools"],
                ["intermediate", "int_capacity_offers"],
                ["intermediate", "int_commitments__rated"],
                ["raw", "ledger_run"],
            ],
        )
        for table in ("capacity_plans", "capacity_plan_tiers")
    ],
)
def raw_capacity_plans(context: dg.AssetExecutionContext):
    """The plan of each pool for the run's day: demand by the hour against the price book's commitments."""
    settings = load_settings()
    with Warehouse(settings.warehouse_path).connect() as con:
        planned = plan_capacity(con, settings.ledger.capacity)
    yield dg.MaterializeResult(
        ["raw", "capacity_plans"], metadata={"pools": planned.pool_count, "planned": planned.planned_count}
    )
    yield dg.MaterializeResult(["raw", "capacity_plan_tiers"])
