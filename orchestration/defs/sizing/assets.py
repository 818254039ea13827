"""The physics of sizing as an asset: between the two builds of dbt, which hands it telemetry and prices its answer."""

import dagster as dg

from orchestration.settings import load_settings
from orchestration.sizing_grid import write_sizing
from orchestration.warehouse import Warehouse


@dg.asset(
    key=["raw", "gpu_sizing"],
    group_name="raw",
    kinds={"python", "duckdb"},
    owners=["team:platform"],
    deps=[["marts", "fct_serving_points_hourly"], ["raw", "ledger_run"]],
    check_specs=[
        dg.AssetCheckSpec(
            "models_are_sized",
            asset=["raw", "gpu_sizing"],
            description="Every model and GPU of the section sizing could be sized.",
        )
    ],
)
def raw__gpu_sizing(context: dg.AssetExecutionContext):
    """One row per model, GPU, tensor parallelism, precision, engine and workload of ledger.yaml; replaced whole."""
    settings = load_settings()
    with Warehouse(settings.warehouse_path).connect() as con:
        sized = write_sizing(con, settings)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sized.row_count,
            "models": sized.model_count,
            "calibrated": sized.measured_count,
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="models_are_sized",
                passed=not sized.problems,
                severity=dg.AssetCheckSeverity.WARN,
                description="; ".join(sized.problems),
            )
        ],
    )
