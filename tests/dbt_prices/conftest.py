"""A raw room filled by hand and the price models built on it, once for all tests of this folder."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from orchestration.dbt_runs import run_dbt
from orchestration.price_versions import FIELDS, load_staged_prices, stage_price_rows

ROOT = Path(__file__).resolve().parents[2]
PRICE_MODELS = "+path:models/marts/prices"


def day(number: int, hour: int = 6) -> datetime:
    """An instant, UTC; days are counted from 2026-11-01, which is day 1."""
    return datetime(2026, 11, 1, hour, tzinfo=UTC) + timedelta(days=number - 1)


class RawRoom:
    """Writes rows of the raw room of one warehouse file and builds the price models on them.

    Args:
        path: the warehouse file; created with the raw schema if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.connect() as con:
            con.execute((ROOT / "orchestration/raw_schema.sql").read_text())

    def connect(self) -> duckdb.DuckDBPyConnection:
        con = duckdb.connect(str(self.path))
        con.execute("set TimeZone = 'UTC'")
        return con

    def query(self, sql: str, *arguments: object) -> list[tuple[object, ...]]:
        with self.connect() as con:
            return con.execute(sql, list(arguments)).fetchall()

    def fetch(
        self,
        source: str,
        dataset: str,
        at: datetime,
        *,
        outcome: str = "loaded",
        records: list[Mapping[str, object]] | None = None,
        snapshot_id: str | None = None,
        message: str | None = None,
    ) -> str | None:
        """One attempt to pull a dataset; a loaded one brings its records. Returns the snapshot it is about."""
        fetch_id = f"{source}/{dataset}/{at:%Y%m%dT%H%M%SZ}"
        snapshot_id = fetch_id if outcome in ("loaded", "refused") else snapshot_id
        with self.connect() as con:
            con.execute(
                "insert into raw.source_fetches "
                "values (?, ?, ?, ?, ?, ?, 'live', ?, 0, 0, 'https://prices.test', null, ?)",
                [fetch_id, source, dataset, at, outcome, snapshot_id, len(records or []) or None, message],
            )
            con.execute("insert into raw.pending_price_changes values (?, ?)", [at, snapshot_id])
            if outcome == "loaded":
                self.load(con, source, dataset, at, snapshot_id=str(snapshot_id), records=records or [])
        return snapshot_id

    def load(
        self,
        con: duckdb.DuckDBPyConnection,
        source: str,
        dataset: str,
        at: datetime,
        *,
        snapshot_id: str,
        records: list[dict[str, object]] | list[Mapping[str, object]],
        why: str = "loaded again",
    ) -> None:
        """The records of one snapshot, as the loader stores them."""
        fields = ", ".join(FIELDS)
        con.execute(
            f"create or replace temp table given as select record_number, {fields} from raw.price_records where false"
        )
        rows = [
            {
                "record_number": number,
                "offer_id": record["sku_id"],
                "price_currency": "USD",
                "source_url": "https://prices.test",
                **record,
            }
            for number, record in enumerate(records, start=1)
        ]
        if rows:
            columns = list(dict.fromkeys(column for row in rows for column in row))
            con.execute(
                f"insert into given ({', '.join(columns)}) select {', '.join(['unnest(?)'] * len(columns))}",
                [[row.get(column) for row in rows] for column in columns],
            )
        stage_price_rows(con, "from given", source_url="https://prices.test")
        con.execute("begin")
        load_staged_prices(
            con,
            source=source,
            dataset=dataset,
            snapshot_id=snapshot_id,
            fetched_at=at,
            source_url="https://prices.test",
            why=why,
        )
        con.execute("commit")

    def run_facts(
        self, *, started_at: datetime, as_of: int, window_start: int, prices_settled_until_at: datetime | None = None
    ) -> None:
        with self.connect() as con:
            con.execute("delete from raw.ledger_run")
            con.execute(
                "insert into raw.ledger_run by name select 'r' as run_id, ? as started_at, ? as as_of_date, "
                "? as window_start_date, ? as prices_settled_until_at",
                [started_at, day(as_of).date(), day(window_start).date(), prices_settled_until_at],
            )

    def dbt(self, *arguments: str) -> None:
        """Runs dbt on this warehouse; fails the test with dbt's own words."""
        run_dbt(*arguments, warehouse=self.path, folder=self.path.parent / "target")


def aws(sku: str, instance_type: str, amount: str, **extra: object) -> dict[str, object]:
    """An on-demand price in us-east-1; pass other columns to make it another offer."""
    return {
        "sku_id": sku,
        "instance_type": instance_type,
        "region_raw": "us-east-1",
        "pricing_model_raw": "OnDemand",
        "price_amount": amount,
        "price_unit_raw": "Hrs",
        "operating_system_raw": "Linux",
        "tenancy_raw": "Shared",
        **extra,
    }


def aws_reserved(
    sku: str, instance_type: str, amount: str, *, pay: str, term: str = "3yr", unit: str = "Hrs"
) -> dict[str, object]:
    return aws(
        sku,
        instance_type,
        amount,
        offer_id=f"{sku}.{term}.{pay}",
        pricing_model_raw="Reserved",
        term_raw=term,
        offering_class_raw="standard",
        payment_option_raw=pay,
        price_unit_raw=unit,
    )


def azure(
    sku: str, size: str, amount: str, *, model: str = "Consumption", term: str | None = None
) -> dict[str, object]:
    return {
        "sku_id": sku,
        "instance_type": size,
        "region_raw": "eastus",
        "pricing_model_raw": model,
        "term_raw": term,
        "price_amount": amount,
        "price_unit_raw": "1 Hour",
    }


def oci(part: str, amount: str, name: str = "Compute - GPU") -> dict[str, object]:
    return {
        "sku_id": part,
        "gpu_name_raw": name,
        "region_raw": "global",
        "pricing_model_raw": "PAY_AS_YOU_GO",
        "price_amount": amount,
        "price_unit_raw": "GPU Per Hour",
    }


def runpod(gpu: str, tier: str, amount: str) -> dict[str, object]:
    return {
        "sku_id": f"{gpu}/{tier}",
        "gpu_name_raw": gpu,
        "region_raw": "global",
        "pricing_model_raw": tier,
        "price_amount": amount,
        "price_unit_raw": "GPU Per Hour",
    }


def aws_records(number: int) -> list[Mapping[str, object]]:
    """What AWS lists on a day of November: golden figures of us-east-1 with one accident or move per instance type."""
    records = [
        # A hundredfold slip on day 4 only.
        aws("P5", "p5.48xlarge", "5504.00" if number == 4 else "55.04", effective_at=datetime(2026, 6, 1, tzinfo=UTC)),
        aws_reserved("P5", "p5.48xlarge", "23.7773", pay="No Upfront"),
        # 10 an hour and 262,800 for 26,280 hours: 20 an hour.
        aws_reserved("P5", "p5.48xlarge", "10", pay="Partial Upfront"),
        aws_reserved("P5", "p5.48xlarge", "262800", pay="Partial Upfront", unit="Quantity"),
        # The upfront part of this one is missing from the feed.
        aws_reserved("P5", "p5.48xlarge", "10", pay="Partial Upfront", term="1yr"),
        # The price of 2024-05 and that of 2026-10: a true cut by a third, on day 3.
        aws("P4D", "p4d.24xlarge", "32.7726" if number < 3 else "21.957642"),
        # Doubles on day 4 and is back on day 5.
        aws("G6", "g6.xlarge", "1.6096" if number == 4 else ".8048"),
        # Rises by 61 % on day 4 and stays there.
        aws("G6E", "g6e.xlarge", "1.861" if number < 4 else "3"),
        aws("G6F", "g6f.large", "0.2", gpu_count_raw=1),
        aws("P9", "p9.48xlarge", "200", gpu_count_raw=8),
        aws("CB", "p5.4xlarge", "6.88", pricing_model_raw="CapacityBlock"),
        aws("CNY", "p5e.48xlarge", "500", price_currency="CNY"),
    ]
    # Sold until day 4.
    return records if number > 4 else [*records, aws("G6E12", "g6e.12xlarge", "10.49264")]


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> RawRoom:
    """Six days of four sources, built with every data test of the price models."""
    room = RawRoom(tmp_path_factory.mktemp("prices") / "warehouse.duckdb")
    with room.connect() as con:
        con.execute(
            "insert into raw.ledger_price_sources values "
            "('aws', true, 48), ('azure', true, 48), ('oci', true, 48), ('runpod', true, 48), ('off', false, 48)"
        )
        con.execute(
            "insert into raw.ledger_usage_routes "
            "values ('gateway', 'litellm', '*', 'chat', 'gateway'), ('idle', 'litellm', '*', 'chat', 'gateway')"
        )
        con.execute(
            "insert into raw.usage_files by name select 'f1' as file_id, 'gateway' as source_name, 'litellm' as kind, "
            "'a.jsonl' as file_path, 10 as size_bytes, ? as modified_at, 7 as record_count, 2 as rejected_count, "
            "'partial' as status, 'cut after line 9' as message, ? as loaded_at, 0 as passed_over_count",
            [day(6, 3), day(7, 2)],
        )
    for number in range(1, 7):
        room.fetch("aws", "ec2-us-east-1", day(number), records=aws_records(number))
    azure_snapshot = room.fetch(
        "azure",
        "eastus",
        day(1),
        records=[
            azure("H100", "Standard_ND96isr_H100_v5", "98.32"),
            azure("NC40", "Standard_NC40ads_H100_v5", "6.98"),
            azure("NC40", "Standard_NC40ads_H100_v5", "5.8067", model="SavingsPlan", term="1 Year"),
            azure("NC40", "Standard_NC40ads_H100_v5", "4.306", model="SavingsPlan", term="3 Years"),
            # 3.5 an hour for three years, with the unit "1 Hour".
            azure("NC40R", "Standard_NC40ads_H100_v5", "91980", model="Reservation", term="3 Years"),
            azure("H200", "Standard_ND96isr_H200_v5", "84.8"),
            azure("H200S", "Standard_ND96isr_H200_v5", "84.8", model="Spot"),
            azure("MI", "Standard_ND96isr_MI300X_v5", "57.6"),
            azure("MIS", "Standard_ND96isr_MI300X_v5", "60", model="Spot"),
        ],
    )
    room.fetch("azure", "eastus", day(2), outcome="unchanged", snapshot_id=azure_snapshot)
    room.fetch("azure", "eastus", day(3), outcome="refused", message="12 records, 9 % of the snapshot before")
    room.fetch("azure", "eastus", day(4), outcome="failed", message="HTTP 503")
    for number in range(1, 4):
        # Tax is added to the whole list on day 2.
        factor = 110 if number == 2 else 100
        prices = {"B109479": 350, "B98415": 1000, "B110519": 1000, "B109485": 600, "B95907": 400, "B95909": 200}
        room.fetch(
            "oci",
            "products",
            day(number),
            records=[
                *(oci(part, str(cents * factor / 10000)) for part, cents in prices.items()),
                oci("B999999", "3", "Compute - GPU - X1"),
            ],
        )
    room.fetch(
        "runpod",
        "gpu-types",
        day(6),
        records=[
            runpod("NVIDIA H100 80GB HBM3", "secure", "3.49"),
            runpod("NVIDIA H100 80GB HBM3", "community", "2.69"),
            # Dearer than community on demand, cheaper than secure: each tier has its own yardstick.
            runpod("NVIDIA H100 80GB HBM3", "secure_spot", "2.79"),
            runpod("NVIDIA X1", "secure", "1"),
        ],
    )
    room.run_facts(started_at=day(7, 3), as_of=6, window_start=4)
    room.dbt(
        "build", "--select", PRICE_MODELS, "--indirect-selection", "cautious", "--exclude-resource-type", "unit_test"
    )
    return room
