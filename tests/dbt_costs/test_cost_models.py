"""The cost models against an oracle in plain Python, against a recording, and against themselves when run again."""

import csv
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from cost_oracle import World, costs_hourly, fleet_parts, purchase_mix_daily, unit_costs_daily, usage_hourly
from cost_warehouse import PROJECT_ROOT, SELECTED, CostWarehouse, Row
from random_world import LLAMA, at, entry, make_sparse_world, make_world, price

from orchestration.warehouse import Warehouse, note_published

SEEDS = PROJECT_ROOT / "dbt" / "seeds"
SEED_OF_THE_WORLD = 20261001


@pytest.fixture(scope="module")
def target_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("target")


@pytest.fixture(scope="module")
def instance_types() -> dict[tuple[str, str], tuple[str, Decimal, str]]:
    with (SEEDS / "instance_types.csv").open() as stream:
        return {
            (row["provider"], row["instance_type"]): (row["gpu_model"], Decimal(row["gpu_count"]), row["price_key"])
            for row in csv.DictReader(stream)
        }


@pytest.fixture(scope="module")
def weights() -> dict[str, Decimal]:
    with (SEEDS / "token_cost_weights.csv").open() as stream:
        return {row["token_class"]: Decimal(row["cost_weight"]) for row in csv.DictReader(stream)}


def new_warehouse(path: Path, target_dir: Path, world: World) -> CostWarehouse:
    """A warehouse with the ledger and the price book of `world`, and no usage yet."""
    warehouse = CostWarehouse(path, target_dir)
    warehouse.create()
    write_inputs(warehouse, world)
    return warehouse


def write_inputs(warehouse: CostWarehouse, world: World) -> None:
    """The ledger, the bills and the price book."""
    warehouse.replace("raw.ledger_deployments", world.deployments)
    warehouse.replace("raw.ledger_commitments", world.commitments)
    warehouse.replace("raw.ledger_usage_routes", world.routes)
    warehouse.replace("raw.ledger_price_sources", world.price_sources)
    if world.bills:
        names = {bill["source_name"] for bill in world.bills}
        warehouse.replace("raw.ledger_billing_sources", [{"source_name": name, "kind": "focus"} for name in names])
        warehouse.replace("raw.billing_periods", world.bills)
        warehouse.replace("raw.billing_lines", world.bill_lines)
    warehouse.replace("intermediate.int_gpu_price_intervals", world.prices)


def run_facts(world: World, window_start: date) -> list[Row]:
    return [
        {
            "run_id": f"run-{window_start}",
            "started_at": datetime(2026, 10, 5, 4, tzinfo=UTC),
            "as_of_date": world.as_of_date,
            "window_start_date": window_start,
        }
    ]


@pytest.fixture(scope="module")
def world(instance_types: dict[tuple[str, str], tuple[str, Decimal, str]]) -> World:
    return make_world(SEED_OF_THE_WORLD, instance_types)


@pytest.fixture(scope="module")
def built(world: World, target_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> CostWarehouse:
    """The world's warehouse after one full build, whose data tests all passed."""
    warehouse = new_warehouse(tmp_path_factory.mktemp("world") / "w.duckdb", target_dir, world)
    warehouse.replace("raw.metric_samples", world.samples)
    warehouse.replace("raw.requests", world.requests)
    warehouse.replace("raw.ledger_run", run_facts(world, date(2026, 10, 1)))
    warehouse.build()
    return warehouse


def marts(warehouse: CostWarehouse) -> dict[str, list[dict[str, Any]]]:
    tables = (
        "fct_inference_costs_hourly",
        "fct_unit_costs_daily",
        "fct_purchase_mix_daily",
        "fct_tenant_costs_daily",
        "fct_bill_reconciliation_daily",
        "fct_api_comparison_daily",
        "dim_deployments",
        "fct_usage_hourly",
        "fct_usage_daily",
        "fct_reconciliation_daily",
        "fct_conflicting_calls",
    )
    return {table: warehouse.query(f"select * from marts.{table} order by all") for table in tables}


def assert_rows_equal(
    actual: dict[Any, dict[str, Any]], expected: dict[Any, dict[str, Any]], *, tolerance: Fraction = Fraction(0)
) -> None:
    """Every key is in both, and every expected column agrees; numbers within `tolerance`."""
    assert sorted(actual, key=str) == sorted(expected, key=str)
    wrong = []
    for key, row in expected.items():
        for column, wanted in row.items():
            got = actual[key][column]
            if isinstance(wanted, bool | str) or wanted is None or got is None:
                same = got == wanted
            else:
                same = abs(Fraction(got) - Fraction(wanted)) <= tolerance
            if not same:
                wrong.append((key, column, got, wanted))
    assert not wrong, f"{len(wrong)} differences, the first: {wrong[:5]}"


def test_the_world_contains_its_traps(world: World, built: CostWarehouse) -> None:
    """A world without restarts or unpriced hours would let a broken model pass."""
    bases = built.query("select delta_basis, count(*) as n from intermediate.int_counter_deltas group by 1")
    assert {row["delta_basis"] for row in bases} == {"increase", "reset", "first_scrape", "baseline"}
    assert built.query("select count(*) as n from intermediate.int_counter_deltas where is_gap")[0]["n"] > 0
    assert built.query("select count(*) as n from intermediate.int_counter_deltas where has_disagreeing_duplicates")[0][
        "n"
    ]
    rows = costs_hourly(world).values()
    assert {row["null_reason"] for row in rows} == {
        None,
        "no_usage_reported",
        "unknown_gpu_count",
        "no_spot_price",
        "no_on_demand_price",
        "no_reserved_price",
    }
    assert {row["rate_basis"] for row in rows} == {"billed", "contracted", "list", "none", "mixed"}
    assert {row["usage_basis"] for row in rows} == {"engine_counters", "gateway_requests", None}
    assert {row["is_price_carried_forward"] for row in rows} == {True, False}
    assert {row["is_rate_earliest_known"] for row in rows} == {True, False}
    assert {row["billing_status"] for row in rows} == {"provisional", "not_yet_billed", "no_bill"}
    assert {row["pricing_model"] for row in rows} == {"on_demand", "spot", "reserved", "savings_plan"}


def assert_usage_is_the_oracles(warehouse: CostWarehouse, world: World) -> None:
    actual = {
        (row["deployment"], row["usage_hour_at"]): row
        for row in warehouse.query("select * from intermediate.int_usage__hourly")
    }
    expected = {
        place: {
            "usage_basis": row["basis"],
            "input_tokens": row["input"],
            "cached_input_tokens": row["cached"],
            "output_tokens": row["output"],
            "request_count": row["requests"],
            "prefill_seconds": row["prefill"],
            "decode_seconds": row["decode"],
            "active_replica_seconds": row["active"],
            "observed_replica_seconds": row["observed"],
        }
        for place, row in usage_hourly(world).items()
    }
    assert_rows_equal(actual, expected)


def test_usage_by_hour_is_what_the_oracle_counts(world: World, built: CostWarehouse) -> None:
    assert_usage_is_the_oracles(built, world)


def test_hourly_costs_are_the_oracles_to_the_tenth_decimal(world: World, built: CostWarehouse) -> None:
    actual = {
        (row["deployment"], row["pricing_category"], row["hour_start_at"]): row
        for row in built.query("select * from marts.fct_inference_costs_hourly")
    }
    assert_rows_equal(actual, costs_hourly(world))


def test_commitments_by_hour_are_the_oracles(world: World, built: CostWarehouse) -> None:
    actual = {
        (row["commitment_id"], row["hour_start_at"]): row
        for row in built.query("select * from intermediate.int_commitments__hourly")
    }
    expected = {
        (row["commitment"]["commitment_id"], row["hour"]): {
            "committed_gpu_hours": row["committed"],
            "used_gpu_hours": row["used"],
            "unused_gpu_hours": row["unused"],
            "used_cost_usd": row["used_cost"],
            "modelled_unused_cost_usd": row["modelled_unused_cost"],
            "unused_cost_usd": row["unused_cost"],
        }
        for row in fleet_parts(world)[1]
    }
    assert_rows_equal(actual, expected)


def test_daily_unit_costs_are_the_oracles(world: World, built: CostWarehouse, weights: dict[str, Decimal]) -> None:
    actual = {
        (row["usage_date"], row["model"], row["gpu_model"], row["pricing_category"]): row
        for row in built.query("select * from marts.fct_unit_costs_daily")
    }
    assert_rows_equal(actual, unit_costs_daily(world, weights), tolerance=Fraction(1, 10**7))


def test_daily_purchase_mix_is_the_oracles(world: World, built: CostWarehouse) -> None:
    actual = {
        (row["usage_date"], row["provider"], row["gpu_model"], row["pricing_category"]): row
        for row in built.query("select * from marts.fct_purchase_mix_daily")
    }
    assert_rows_equal(actual, purchase_mix_daily(world))


def test_unit_tests_of_the_models_pass(built: CostWarehouse) -> None:
    done = re.search(r"PASS=(\d+) WARN=0 ERROR=0 SKIP=0", built.unit_test())
    assert done is not None
    assert int(done[1]) >= 25


def test_a_second_run_changes_nothing(built: CostWarehouse) -> None:
    """An append or a window deleted too narrowly would double or lose a day."""
    before = marts(built)
    built.build()
    assert marts(built) == before


def test_days_loaded_in_any_order_give_the_same_marts(
    world: World, built: CostWarehouse, target_dir: Path, tmp_path: Path
) -> None:
    """Late days arrive last: each run rebuilds from the earliest day it brought."""
    warehouse = new_warehouse(tmp_path / "w.duckdb", target_dir, world)
    for day in (date(2026, 10, 2), date(2026, 10, 4), date(2026, 10, 1), date(2026, 10, 3)):
        for table, rows in (("raw.metric_samples", world.samples), ("raw.requests", world.requests)):
            warehouse.replace(table, [row for row in rows if row["usage_date"] == day], f"usage_date = '{day}'")
        warehouse.replace("raw.ledger_run", run_facts(world, day))
        warehouse.build()
    assert marts(warehouse) == marts(built)


def test_the_ledger_prices_and_bills_open_the_window_of_costs(
    world: World, built: CostWarehouse, target_dir: Path, tmp_path: Path
) -> None:
    """They say of the past what they did not say before, and no usage is new: as if they always had."""
    early = replace(
        world,
        bills=[],
        bill_lines=[],
        deployments=[*world.deployments[1:-1], {**world.deployments[0], "replicas": 7}],
        commitments=world.commitments[:-1],
        prices=[row for row in world.prices if row["valid_from_at"] < at("2026-10-02T00:00")],
    )
    warehouse = new_warehouse(tmp_path / "w.duckdb", target_dir, early)
    warehouse.replace("raw.metric_samples", world.samples)
    warehouse.replace("raw.requests", world.requests)
    warehouse.replace("raw.ledger_run", run_facts(world, date(2026, 10, 1)))
    warehouse.dbt("build", "--select", *SELECTED, "--exclude-resource-type", "test", "unit_test")
    assert marts(warehouse) != marts(built)
    write_inputs(warehouse, world)
    warehouse.replace("raw.ledger_run", run_facts(world, date(2026, 10, 20)))
    warehouse.build()
    assert marts(warehouse) == marts(built)
    # Published, and nothing has changed since: eight days before the window of usage.
    with Warehouse(warehouse.path).connect() as con:
        note_published(con, "digest")
    warehouse.dbt("run", "--select", "int_cost_inputs", "int_costs_window")
    assert warehouse.query("select costs_window_start_at from intermediate.int_costs_window") == [
        {"costs_window_start_at": at("2026-10-12T00:00")}
    ]


def test_a_late_day_changes_the_hours_it_reaches_back_to(target_dir: Path, tmp_path: Path) -> None:
    """Scrapes days apart, calls of up to a day, days out of order, routes that change: as if all had come at once."""
    world = make_sparse_world(SEED_OF_THE_WORLD)
    warehouse = new_warehouse(tmp_path / "w.duckdb", target_dir, world)
    warehouse.dbt("seed", "--select", "usage_roles")
    loaded: set[date] = set()
    for first, last in ((8, 11), (15, 20), (1, 7), (12, 14)):
        loaded |= {date(2026, 10, day) for day in range(first, last + 1)}
        part = replace(
            world,
            samples=[row for row in world.samples if row["usage_date"] in loaded],
            requests=[row for row in world.requests if row["usage_date"] in loaded],
        )
        warehouse.replace("raw.metric_samples", part.samples)
        warehouse.replace("raw.requests", part.requests)
        warehouse.replace("raw.ledger_run", run_facts(world, date(2026, 10, first)))
        warehouse.dbt("build", "--select", "+int_usage__hourly", "--exclude-resource-type", "test", "unit_test")
        assert_usage_is_the_oracles(warehouse, part)

    world.routes[-1]["deployment"] = "chat"
    warehouse.replace("raw.ledger_usage_routes", world.routes)
    warehouse.replace("raw.ledger_run", run_facts(world, date(2026, 10, 1)))
    warehouse.dbt("build", "--select", "+int_usage__hourly", "--exclude-resource-type", "test", "unit_test")
    assert_usage_is_the_oracles(warehouse, world)


def test_recorded_scrapes_give_the_true_increase_over_a_restart(
    samples: Path, target_dir: Path, tmp_path: Path
) -> None:
    """vLLM 0.32.0 recorded on 2026-11-23, killed at 17:56:22Z: 51842 + 16926 prompt and 7629 + 2780 output tokens."""
    pages = sorted((samples / "usage/vllm/recorded_vllm_0.32.0_cpu/scrapes").glob("*.prom"))
    assert len(pages) == 33
    day = date(2026, 11, 23)
    world = World(
        as_of_date=day,
        deployments=[entry(0, "tiny", LLAMA, "aws", "p5.48xlarge", valid_from_at="2026-11-23T00:00")],
        routes=[
            {"source_name": "m", "kind": "metrics", "role": "engine_counters", "model_match": "*", "deployment": "tiny"}
        ],
        prices=[
            price("aws", "p5.48xlarge", "on_demand", "8", "16", "2026-11-01T00:00", last_seen_at="2026-11-24T00:00")
        ],
    )
    warehouse = new_warehouse(tmp_path / "w.duckdb", target_dir, world)
    warehouse.replace("raw.metric_samples", [row for page in pages for row in parse_page(page)])
    warehouse.replace("raw.ledger_run", run_facts(world, day))
    warehouse.build()

    (usage,) = warehouse.query("""
        select
            sum(input_tokens) as input_tokens, sum(cached_input_tokens) as cached_input_tokens,
            sum(output_tokens) as output_tokens, sum(request_count) as request_count, sum(reset_count) as reset_count,
            sum(unobserved_replica_seconds) as unobserved_seconds
        from intermediate.int_usage__hourly
    """)
    assert usage["cached_input_tokens"] == 37248 + 11776
    assert usage["input_tokens"] + usage["cached_input_tokens"] == 68768
    assert usage["output_tokens"] == 10409
    assert usage["request_count"] == 118 + 39
    assert usage["reset_count"] == 1
    # From the last scrape before the kill, 17:56:17, to the series' creation at 17:59:43.197.
    assert 206 <= usage["unobserved_seconds"] <= 206.3

    (cost,) = warehouse.query("""
        select sum(cost_usd) as cost_usd, sum(total_tokens) as total_tokens from marts.fct_inference_costs_hourly
    """)
    # 8 GPUs at 16 USD an hour together, for 24 hours.
    assert cost == {"cost_usd": Decimal(384), "total_tokens": 68768 + 10409}


def parse_page(page: Path) -> list[Row]:
    """The series of one recorded scrape that the pipeline keeps, as rows of raw.metric_samples."""
    scraped_at = datetime.strptime(page.stem, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    line = re.compile(r"^(?P<name>[\w:]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
    label = re.compile(r'(\w+)="([^"]*)"')
    read = []
    for text in page.read_text().splitlines():
        if found := line.match(text):
            read.append((found["name"], dict(label.findall(found["labels"] or "")), float(found["value"])))
    values = {(name, tuple(sorted(labels.items()))): value for name, labels, value in read}
    epoch = at("1970-01-01T00:00")
    wanted = (
        "prompt_tokens_total",
        "generation_tokens_total",
        "prompt_tokens_cached_total",
        "prefix_cache_hits_total",
        "request_success_total",
        "request_prefill_time_seconds_sum",
        "request_decode_time_seconds_sum",
    )
    rows = []
    for name, labels, value in read:
        if name.removeprefix("vllm:") in wanted:
            created = values[re.sub("_(total|sum)$", "_created", name), tuple(sorted(labels.items()))]
            rows.append(
                {
                    "source_name": "m",
                    "file_id": page.stem,
                    "replica_key": "r0",
                    "scraped_at": scraped_at,
                    "usage_date": scraped_at.date(),
                    "metric_name": name,
                    "engine": labels["engine"],
                    "model_name": labels["model_name"],
                    "label_value": labels.get("finished_reason"),
                    "value": value,
                    "series_created_at": epoch + timedelta(seconds=created),
                    "process_started_at": epoch + timedelta(seconds=values["process_start_time_seconds", ()]),
                }
            )
    return rows
