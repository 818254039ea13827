"""A private warehouse for the cost models: raw tables by the contract, a price book, and the dbt command.

The price book (`int_gpu_price_intervals`) is written as a table, by the columns the cost models rely on, so that these
tests fix the prices and leave the price models to their own tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from orchestration.dbt_runs import run_dbt

PROJECT_ROOT = Path(__file__).parents[2]
SELECTED = (
    "token_cost_weights",
    "llm_api_prices",
    "usage_roles",
    "reconciliation_tolerances",
    "instance_types",
    "engine_metrics",
    "engine_metric_prefixes",
    "usage_rate_bounds",
    "stg_prices__sources",
    "billing_provider_names",
    "path:models/staging/ledger",
    "path:models/staging/usage",
    "path:models/staging/billing",
    "path:models/intermediate/usage",
    "path:models/intermediate/billing",
    "path:models/intermediate/fleet",
    "path:models/intermediate/costs",
    "path:models/marts/costs",
    "path:models/marts/focus",
    "path:models/marts/usage",
)
PRICE_BOOK = """
    create schema if not exists intermediate;
    create table if not exists intermediate.int_gpu_price_intervals (
        series_id varchar, source varchar, provider varchar, sku_id varchar, price_key varchar, instance_type varchar,
        region varchar, zone_name varchar, gpu_model varchar, gpu_count decimal(18, 6), pricing_category varchar,
        pricing_model varchar,
        offer_tier varchar, term_months integer, payment_option varchar, price_usd_per_gpu_hour decimal(18, 8),
        price_usd_per_instance_hour decimal(18, 8), upfront_usd_per_instance decimal(18, 2),
        recurring_usd_per_instance_hour decimal(18, 8), valid_from_at timestamptz, valid_to_at timestamptz,
        first_seen_at timestamptz, last_seen_at timestamptz, fetched_at timestamptz, snapshot_id varchar,
        source_url varchar, source_rank integer default 1
    );
    create table if not exists intermediate.int_exchange_rates (
        currency varchar, rate_date date, usd_per_unit decimal(18, 10), valid_until_date date
    )
"""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CostWarehouse:
    """A warehouse file with the raw tables, and the folder dbt compiles into (shared, so that parsing is done once)."""

    path: Path
    target_dir: Path

    def create(self) -> None:
        """Creates the raw tables and an empty price book."""
        with duckdb.connect(str(self.path)) as con:
            con.execute((PROJECT_ROOT / "orchestration" / "raw_schema.sql").read_text())
            con.execute(PRICE_BOOK)

    def replace(self, table: str, rows: Sequence[Row], where: str = "true") -> None:
        """Deletes the rows of `table` that match `where` and inserts `rows`; absent columns become null."""
        with duckdb.connect(str(self.path)) as con:
            con.execute("set timezone = 'UTC'")
            con.begin()
            con.execute(f"delete from {table} where {where}")
            if rows:
                columns = list(dict.fromkeys(column for row in rows for column in row))
                # A list a column, in one statement: `executemany` took 20 s for 34,000 scrapes, this takes 0.4.
                con.execute(
                    f"insert into {table} ({', '.join(columns)}) select {', '.join(['unnest(?)'] * len(columns))}",
                    [[row.get(column) for row in rows] for column in columns],
                )
            con.commit()

    def replace_calls(self, rows: Sequence[Row], where: str = "true") -> None:
        """As `replace` raw.requests, of rows that name their source and file: the files are listed too."""
        files = sorted({(row["source_name"], row["file_id"]) for row in rows})
        with duckdb.connect(str(self.path)) as con:
            for source, name in files:
                con.execute(
                    "insert or ignore into raw.usage_files by name select ? as source_name, ? as file_id, "
                    "(select count(*) + 1 from raw.usage_files) as file_number, 'litellm' as kind, '' as file_path, "
                    "0 as size_bytes, now() as modified_at, 0 as record_count, 0 as rejected_count, "
                    "'loaded' as status, now() as loaded_at",
                    [source, f"{source} {name}"],
                )
            numbers = dict(con.execute("select file_id, file_number from raw.usage_files").fetchall())
        calls = [row | {"file_number": numbers[f"{row['source_name']} {row['file_id']}"]} for row in rows]
        named = ("source_name", "file_id")
        self.replace("raw.requests", [{k: v for k, v in call.items() if k not in named} for call in calls], where)

    def dbt(self, *arguments: str) -> str:
        """Runs dbt and returns what it said; raises DbtError with it when dbt fails."""
        return run_dbt(*arguments, warehouse=self.path, folder=self.target_dir)

    def build(self, *, with_tests: bool = True) -> str:
        """Builds the cost models, with their data tests, which include the identities."""
        left_out = ("unit_test",) if with_tests else ("unit_test", "test")
        selected = ("--select", *SELECTED, "--indirect-selection", "cautious")
        return self.dbt("build", *selected, "--exclude-resource-type", *left_out)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query as dictionaries, instants in UTC, decimals exact."""
        with duckdb.connect(str(self.path), read_only=True) as con:
            con.execute("set timezone = 'UTC'")
            cursor = con.execute(sql)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def focus_rows(self) -> dict[tuple[Any, ...], dict[str, Any]]:
        """The FOCUS charges by day, deployment, category, commitment, purchase, tenant, model, adapter and class."""
        rows = self.query("""
            select
                cast(ChargePeriodStart as date), ResourceId, PricingCategory, CommitmentDiscountId,
                case when x_TokenClass = 'unused' then 'unused' else split_part(SkuPriceId, '/', -1) end,
                SubAccountId, x_Model, x_Adapter, x_TokenClass, EffectiveCost, BilledCost, PricingQuantity,
                ListUnitPrice, ListCost, ContractedUnitPrice, ContractedCost, ConsumedQuantity, ConsumedUnit
            from marts.focus_cost_and_usage
        """)
        found = {tuple(row.values())[:9]: dict(list(row.items())[9:]) for row in rows}
        assert len(found) == len(rows)
        return found
