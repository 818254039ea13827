"""What one more day of prices costs after 10, 100 and 1,000 days of history: dbt's time must not grow with it.

    python -m benchmarks.price_history [--regions 3] [--days 10 100 1000] [--turns 3]

Fills warehouses with snapshots made in SQL (1,540 prices a region and day, of which 5 % of the spot prices and 0.05 %
of the others move from day to day), builds them, adds a day to each and builds again, three times in turns. Prints the
seconds of the fastest of these builds by dbt's own account, with tests, and their ratios. `--regions 80 --days 40` is
a day of 120,000 prices with all of the look-back; the limit for it is 60 s.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from orchestration.price_versions import load_price_history, load_staged_prices, stage_price_rows
from orchestration.settings import PROJECT_ROOT
from orchestration.warehouse import Warehouse, note_published, write_run

FIRST = datetime(2024, 1, 1, 6, tzinfo=UTC)
URL = "https://prices.test"
# What is bought, as a share of the on-demand price for so many hours.
OPTIONS = """
values
    ('aws', 'OnDemand', null, null, null, 'Hrs', 1.00, 1),
    ('aws', 'Reserved', '1yr', 'standard', 'No Upfront', 'Hrs', 0.63, 1),
    ('aws', 'Reserved', '1yr', 'standard', 'Partial Upfront', 'Hrs', 0.30, 1),
    ('aws', 'Reserved', '1yr', 'standard', 'Partial Upfront', 'Quantity', 0.30, 8760),
    ('aws', 'Reserved', '1yr', 'standard', 'All Upfront', 'Quantity', 0.59, 8760),
    ('aws', 'Reserved', '3yr', 'standard', 'No Upfront', 'Hrs', 0.43, 1),
    ('aws', 'Reserved', '3yr', 'standard', 'Partial Upfront', 'Hrs', 0.20, 1),
    ('aws', 'Reserved', '3yr', 'standard', 'Partial Upfront', 'Quantity', 0.20, 26280),
    ('aws', 'Reserved', '3yr', 'standard', 'All Upfront', 'Quantity', 0.38, 26280),
    ('aws', 'Reserved', '1yr', 'convertible', 'No Upfront', 'Hrs', 0.70, 1),
    ('aws', 'Reserved', '1yr', 'convertible', 'All Upfront', 'Quantity', 0.65, 8760),
    ('aws', 'Reserved', '3yr', 'convertible', 'No Upfront', 'Hrs', 0.50, 1),
    ('aws', 'Reserved', '3yr', 'convertible', 'All Upfront', 'Quantity', 0.45, 26280),
    ('aws_spot', 'Spot', null, null, 'a', 'Hour', 0.50, 1),
    ('aws_spot', 'Spot', null, null, 'b', 'Hour', 0.45, 1),
    ('aws_spot', 'Spot', null, null, 'c', 'Hour', 0.40, 1),
    ('azure', 'Consumption', null, null, null, '1 Hour', 1.00, 1),
    ('azure', 'Spot', null, null, null, '1 Hour', 0.40, 1),
    ('azure', 'SavingsPlan', '1 Year', null, null, '1 Hour', 0.80, 1),
    ('azure', 'SavingsPlan', '3 Years', null, null, '1 Hour', 0.60, 1),
    ('azure', 'Reservation', '1 Year', null, null, '1 Hour', 0.70, 8760),
    ('azure', 'Reservation', '3 Years', null, null, '1 Hour', 0.50, 26280)
"""
SERIES = """
create or replace temp table series as
select
    options.*, instance_type, 'r' || region as region_raw, md5(concat_ws('|', source, instance_type, region)) as sku_id,
    reference_price_usd_per_gpu_hour * gpu_count * (1 + 0.01 * (region % 20)) * share * hours as amount,
    -- Parts of one offer and the terms of one machine move together, zones apart.
    md5_number(concat_ws('|', source, instance_type, region, case when model = 'Spot' then part end)) % 100000 / 1e5
        as phase,
    row_number() over (partition by source, region order by instance_type, model, term, class, part, unit)
        as record_number
from ({options}) as options (source, model, term, class, part, unit, share, hours)
inner join read_csv('{seeds}/instance_types.csv') as types on types.provider = split_part(source, '_', 1)
inner join read_csv('{seeds}/gpu_models.csv') using (gpu_model)
cross join range($regions) as regions (region)
where reference_price_usd_per_gpu_hour is not null
"""
RECORDS = """
create or replace temp table given as
select
    concat_ws('/', source, region_raw, day) as snapshot_id, source, region_raw as dataset,
    $first::timestamptz + to_days(day::integer) as fetched_at, record_number, sku_id,
    concat_ws('.', sku_id, term, class, part) as offer_id, instance_type, region_raw, model as pricing_model_raw,
    case when source = 'aws_spot' then part end as zone_raw, term as term_raw, class as offering_class_raw,
    case when source = 'aws' then part end as payment_option_raw, 'Linux' as operating_system_raw,
    'Shared' as tenancy_raw, 'USD' as price_currency, unit as price_unit_raw, $url as source_url,
    round(amount * (1 + 0.003 * (floor(phase + day * if(model = 'Spot', 0.05, 0.0005)) % 10)), 6) as price_amount
from series, range($from_day, $to_day) as days (day)
"""
FETCHES = """
insert into raw.source_fetches
select snapshot_id, source, dataset, fetched_at, 'loaded', snapshot_id, 'live', count(*), 0, 0, $url, null, null
from given group by snapshot_id, source, dataset, fetched_at
"""


def add(con: duckdb.DuckDBPyConnection, from_day: int, to_day: int) -> None:
    """Loads the snapshots of some days: of many into an empty warehouse, or of one day as the pipeline loads them."""
    con.execute(RECORDS, {"first": FIRST, "url": URL, "from_day": from_day, "to_day": to_day})
    con.execute("begin")
    con.execute(FETCHES, {"url": URL})
    if from_day == 0:
        load_price_history(con, "given")
    else:
        for source, dataset, snapshot_id, at in con.execute(
            "select distinct source, dataset, snapshot_id, fetched_at from given"
        ).fetchall():
            rows = (
                "select * exclude (snapshot_id, source, dataset, fetched_at) from given where snapshot_id = $snapshot"
            )
            stage_price_rows(con, rows, {"snapshot": snapshot_id}, source_url=URL)
            load_staged_prices(
                con,
                source=source,
                dataset=dataset,
                snapshot_id=snapshot_id,
                fetched_at=at,
                source_url=URL,
                why="",
            )
            con.execute("insert into raw.pending_price_changes values (?, ?)", [at, snapshot_id])
    con.execute("commit")


def build(root: Path, day: int) -> float:
    """Builds and tests the price models as a run of that day does; returns dbt's seconds."""
    at = FIRST + timedelta(days=day)
    with Warehouse(root / "warehouse.duckdb").connect() as con:
        write_run(con, run_id=f"run-{day}", started_at=at + timedelta(hours=1), as_of_date=at.date())
    subprocess.run(
        [Path(sys.executable).with_name("dbt"), "--quiet", "build", "--profiles-dir", "."]
        + ["--exclude-resource-type", "unit_test", "--indirect-selection", "buildable"]
        + ["--select", "+path:models/marts/prices"],
        cwd=PROJECT_ROOT / "dbt",
        env={
            **os.environ,
            "LEDGER_WAREHOUSE": str(root / "warehouse.duckdb"),
            "DBT_TARGET_PATH": str(root / "target"),
            "DBT_LOG_PATH": str(root / "logs"),
        },
        check=True,
    )
    with Warehouse(root / "warehouse.duckdb").connect() as con:
        note_published(con, "one and the same SQL")
    return float(json.loads((root / "target" / "run_results.json").read_text())["elapsed_time"])


def main() -> None:
    """Runs the comparison once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=3)
    parser.add_argument("--days", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found: dict[int, list[float]] = {days: [] for days in options.days}
        for turn in range(options.turns + 1):
            for days, seconds in found.items():
                root = Path(folder, str(days))
                root.mkdir(exist_ok=True)
                with Warehouse(root / "warehouse.duckdb").connect() as con:
                    series = SERIES.format(options=OPTIONS, seeds=PROJECT_ROOT / "dbt" / "seeds")
                    con.execute(series, {"regions": options.regions})
                    start = time.perf_counter()
                    add(con, *((days + turn - 1, days + turn) if turn else (0, days)))
                    loaded = time.perf_counter() - start
                    prices, versions = con.execute(
                        "select (select count(*) from series), (select count(*) from raw.price_records)"
                    ).fetchall()[0]
                built = build(root, days + turn - 1)
                if turn:
                    seconds.append(built)
                else:
                    print(
                        f"{days:5} days of {prices:,} prices: {versions:,} versions, "
                        f"loaded in {loaded:.0f} s, built at once in {built:.0f} s",
                        flush=True,
                    )
    shortest = min(found[options.days[0]])
    for days, seconds in found.items():
        print(f"one more day after {days:5} days  {min(seconds):6.1f} s  {min(seconds) / shortest:5.2f} x")


if __name__ == "__main__":
    main()
