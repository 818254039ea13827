"""Scrapes the engines of a ledger as a run does, has dbt take the differences, and prints what the counters say.

python -m examples.tiny_vllm.read_counters LEDGER DATA_FOLDER
"""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from orchestration.metric_scrapes import scrape_all
from orchestration.settings import DBT_DIR, dbt_environment, load_settings
from orchestration.warehouse import Warehouse, load_usage, write_ledger, write_run


def main(config_path: Path, data_dir: Path) -> None:
    """Scrapes once and prints all differences between the scrapes so far."""
    settings = load_settings(config_path, data_dir)
    now = datetime.now(UTC)
    print(scrape_all(settings, now=now))
    with Warehouse(settings.warehouse_path).connect() as con:
        write_ledger(con, settings)
        for source in settings.ledger.usage:
            print(load_usage(con, source, settings, now=now, work_dir=settings.data_dir / "tmp"))
        write_run(con, run_id="try", started_at=now, as_of_date=now.date())
    subprocess.run(  # noqa: S603 - a constant command; the environment puts our own dbt first
        [
            *("dbt", "--quiet", "build", "--profiles-dir", "."),
            *("--select", "+int_counter_deltas", "--exclude-resource-type", "test", "unit_test"),
        ],
        cwd=DBT_DIR,
        env=dbt_environment(settings.warehouse_path, settings.data_dir / "dbt"),
        check=True,
    )
    with Warehouse(settings.warehouse_path).connect() as con:
        found = con.execute("""
            select scraped_at, usage_metric, label_value, delta_basis, delta from intermediate.int_counter_deltas
            where delta > 0 order by scraped_at, usage_metric, label_value
        """).fetchall()
    for scraped_at, *row in found:
        print(f"{scraped_at:%H:%M:%S}", *row)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
