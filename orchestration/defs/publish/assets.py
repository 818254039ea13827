"""The published copy: what finance, BI and the report open."""

import hashlib
import json
from datetime import UTC, datetime

import dagster as dg

from orchestration.publication import publish, remember_published_costs
from orchestration.settings import DBT_DIR, PROJECT_ROOT, load_settings
from orchestration.warehouse import Warehouse, note_published, transform_digest

PUBLISHED = dg.AssetKey(["published", "inference_ledger"])
MARTS = sorted(path.stem for path in (PROJECT_ROOT / "dbt" / "models" / "marts").rglob("*.sql"))


@dg.asset(key=["raw", "published_costs"], group_name="raw", kinds={"python", "duckdb"}, owners=["team:finance"])
def raw__published_costs(context: dg.AssetExecutionContext):
    """What was published of each day's cost before this run: a figure that changes leaves a trail."""
    settings = load_settings()
    with Warehouse(settings.warehouse_path).connect() as con:
        count = remember_published_costs(con, settings)
    return dg.MaterializeResult(metadata={"dagster/row_count": count})


@dg.asset(
    key=PUBLISHED,
    group_name="published",
    kinds={"duckdb", "parquet", "html"},
    owners=["team:finance"],
    deps=[*(dg.AssetKey(["marts", name]) for name in MARTS), dg.AssetKey(["alerts", "incidents"])],
)
def published_inference_ledger(context: dg.AssetExecutionContext):
    """The marts as a read-only DuckDB file, Parquet and a report; replaced only when the copy equals the marts."""
    settings = load_settings()
    manifest = publish(settings, run_id=context.run_id, published_at=datetime.now(UTC))
    with Warehouse(settings.warehouse_path).connect() as con:
        note_published(con, transform_digest(DBT_DIR))
    return dg.MaterializeResult(
        metadata={
            "as_of_date": manifest["as_of_date"],
            "tables": {table["name"]: table["row_count"] for table in manifest["tables"]},
            "database_sha256": manifest["database"]["sha256"],
            "path": str(settings.published_database),
            "report": str(settings.report_file) if manifest["report"] else str(manifest["report_problem"]),
        }
    )


@dg.asset_check(asset=PUBLISHED, description="The published file opens read-only and holds the run its manifest names.")
def published_file_opens() -> dg.AssetCheckResult:
    """Opens what a reader opens."""
    from orchestration.publication import open_published

    settings = load_settings()
    with open_published(settings) as con:
        run_id, tables = con.execute(
            "select any_value(run_id), (select count(*) from information_schema.tables) from ledger_run"
        ).fetchone()
    return dg.AssetCheckResult(passed=tables == len(MARTS) + 1, metadata={"run_id": run_id, "tables": tables})


@dg.asset_check(asset=PUBLISHED, description="The report is that of the published tables.")
def report_is_made() -> dg.AssetCheckResult:
    """Says why where it could not be made: the tables are published all the same."""
    settings = load_settings()
    manifest = json.loads((settings.published_dir / "manifest.json").read_text())
    if manifest["report"] is None:
        return dg.AssetCheckResult(
            passed=False,
            description=f"the report could not be made, the one published before stays: {manifest['report_problem']}",
        )
    found = hashlib.sha256(settings.report_file.read_bytes()).hexdigest()
    return dg.AssetCheckResult(
        passed=found == manifest["report"]["sha256"],
        description="report/index.html has the digest that the manifest names",
        metadata={"size_bytes": manifest["report"]["size_bytes"], "path": str(settings.report_file)},
    )
