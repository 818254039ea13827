"""The cost models against an oracle in plain Python, against a recording, and against themselves when run again."""

import csv
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cost_oracle import (
    CLASSES,
    World,
    bill_deployments_daily,
    borne_costs,
    costs_hourly,
    fleet_parts,
    focus_rows,
    hours,
    purchase_mix_daily,
    rounded,
    start_up_pieces,
    tenant_costs_daily,
    token_costs_daily,
    unit_costs_daily,
    usage_hourly,
)
from cost_warehouse import PROJECT_ROOT, SELECTED, CostWarehouse, Row
from random_world import LLAMA, at, entry, make_sparse_world, make_world, price

from orchestration.warehouse import Warehouse, note_published

SEEDS = PROJECT_ROOT / "dbt" / "seeds"
SEED_OF_THE_WORLD = 20261001
# A part is rounded to 10 decimals, and so is what is left for the next one.
LAST_DIGITS = Fraction(3, 10**10)


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
    warehouse.replace(
        "raw.ledger_tenants",
        [
            {"position": 0, "match_on": "deployment", "pattern": deployment, "tenant": owner}
            for deployment, owner in world.owners.items()
        ],
    )
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
    warehouse = new_warehouse(tmp_path_factory.mktemp("world") / "warehouse.duckdb", target_dir, world)
    warehouse.replace("raw.metric_samples", world.samples)
    warehouse.replace_calls(world.requests)
    warehouse.replace("raw.ledger_run", run_facts(world, date(2026, 10, 1)))
    warehouse.build()
    return warehouse


def marts(warehouse: CostWarehouse) -> dict[str, list[dict[str, Any]]]:
    tables = (
        "fct_inference_costs_hourly",
        "fct_unit_costs_daily",
        "fct_purchase_mix_daily",
        "fct_bill_reconciliation_daily",
        "fct_bill_deployments_daily",
        "dim_deployments",
        "fct_tenant_costs_daily",
        "fct_api_comparison_daily",
        "focus_cost_and_usage",
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
    attempted = {(row["request_count"] is None, row["attempted_request_count"] is None) for row in rows}
    assert attempted == {(False, False), (False, True), (True, True)}
    start_ups = [row["start_up_cost_usd"] for row in rows if row["idle_cost_usd"] is not None]
    assert None in start_ups  # of m-shape, whose pages say no start
    assert Decimal(0) in start_ups
    assert sum(cost or 0 for cost in start_ups) > 100
    # A process that served nobody for longer than three hours, and one that has not served yet at midnight.
    quiet = [p for p in start_up_pieces(world) if p[4]]
    assert any(before[3] == after[2] and before[2].date() < after[3].date() for before, after in pairwise(quiet))
    assert any(
        s["value"] == 0 and s["process_started_at"] and s["scraped_at"] - s["process_started_at"] > timedelta(hours=3)
        for s in world.samples
        if s["metric_name"] == "vllm:prompt_tokens_total"
    )
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


def test_each_class_of_tokens_bears_what_the_oracle_says(
    world: World, built: CostWarehouse, weights: dict[str, Decimal]
) -> None:
    actual = {
        (row["usage_date"], row["deployment"], row["pricing_category"]): row
        for row in built.query("select * from intermediate.int_token_costs__daily")
    }
    expected = {
        key: {basis: row[basis] for basis in ("cost_usd", "active_cost_usd", "split_basis")}
        | {
            f"{name}_{basis}": row["split"][basis][name] if row["split"] else None
            for name in CLASSES
            for basis in ("cost_usd", "active_cost_usd")
        }
        for key, row in token_costs_daily(world, weights).items()
    }
    assert {row["split_basis"] for row in expected.values()} == {"measured_phase_seconds", "default_weights", None}
    assert_rows_equal(actual, expected, tolerance=LAST_DIGITS)


def whose_tokens(warehouse: CostWarehouse) -> list[dict[str, Any]]:
    """Whose the tokens of a day are, as published; test_calls_counted_once.py holds these against the calls."""
    return warehouse.query("select * from marts.fct_usage_daily")


def test_tenants_bear_what_the_oracle_says_and_sum_to_the_deployment(
    world: World, built: CostWarehouse, weights: dict[str, Decimal]
) -> None:
    rows = built.query("select * from marts.fct_tenant_costs_daily")
    actual = {(row["usage_date"], row["deployment"], row["tenant"], row["model"], row["adapter"]): row for row in rows}
    expected = tenant_costs_daily(world, weights, whose_tokens(built))
    assert {key[2] for key in expected} == {"acme", "beta", "gamma", "unknown", "unattributed"}
    # A tenant's cost is a sum of nine such parts: three classes, bought in three ways.
    assert_rows_equal(actual, expected, tolerance=9 * LAST_DIGITS)

    days = [row for row in token_costs_daily(world, weights).values() if row["cost_usd"] is not None]
    assert sum(row["cost_usd"] for row in rows) == sum(row["cost_usd"] for row in days)
    # A day without tokens is the owner's, or nobody's, whole.
    idle = sum(row["cost_usd"] for row in days if row["split"] is None)
    without_class = built.query(
        "select sum(cost_usd) as c from intermediate.int_tenant_costs__daily where token_class = 'none'"
    )
    assert without_class == [{"c": idle}]
    assert idle > 0


def test_focus_charges_are_the_oracles_and_sum_to_the_fleet(
    world: World, built: CostWarehouse, weights: dict[str, Decimal]
) -> None:
    found = built.focus_rows()
    expected = focus_rows(world, weights, whose_tokens(built))
    assert {key[8] for key in expected} == {*CLASSES, "start_up", "idle", "unused"}
    assert_rows_equal(
        {key: {"EffectiveCost": row["EffectiveCost"]} for key, row in found.items()},
        {key: {"EffectiveCost": row["EffectiveCost"]} for key, row in expected.items()},
        tolerance=LAST_DIGITS,
    )
    # Hours have 6 decimals and prices 8; a charge of so little that its last digit counts has as few hours.
    for name, tolerance in (("PricingQuantity", Fraction(2, 10**6)), ("ListUnitPrice", Fraction(1, 10**8))):
        assert_rows_equal(
            found, {key: {name: row[name]} if name in row else {} for key, row in expected.items()}, tolerance=tolerance
        )
    for row in found.values():
        assert row["ListCost"] == rounded(row["PricingQuantity"] * row["ListUnitPrice"], 10)
        assert row["ContractedCost"] == rounded(row["PricingQuantity"] * row["ContractedUnitPrice"], 10)
        assert row["BilledCost"] == row["EffectiveCost"]

    parts, held = fleet_parts(world)
    unpriced = {(part["deployment"], part["category"], part["hour"]) for part in parts if part["cost"] is None}
    for day in {part["hour"].date() for part in parts}:
        fleet = sum(
            part["cost"]
            for part in parts
            if part["hour"].date() == day and (part["deployment"], part["category"], part["hour"]) not in unpriced
        )
        unused = sum(row["unused_cost"] or 0 for row in held if row["hour"].date() == day)
        assert sum(row["EffectiveCost"] for key, row in found.items() if key[0] == day) == fleet + unused
    tokens = sum(part["tokens"] or 0 for part in borne_costs(world, weights, whose_tokens(built)))
    assert sum(row["ConsumedQuantity"] for row in found.values() if row["ConsumedUnit"] == "Tokens") == tokens > 0


def test_bills_by_deployment_are_the_oracles(world: World, built: CostWarehouse) -> None:
    actual = {
        (row["usage_date"], row["provider"], row["scope"], row["deployment"]): row
        for row in built.query("select * from marts.fct_bill_deployments_daily")
    }
    expected = bill_deployments_daily(world, set(hours(world)))
    assert {key[2] for key in expected} == {"deployment", "unknown_tag", "untagged", "unused_commitment"}
    assert_rows_equal(actual, expected)


def test_daily_purchase_mix_is_the_oracles(world: World, built: CostWarehouse) -> None:
    actual = {
        (row["usage_date"], row["provider"], row["gpu_model"], row["pricing_category"]): row
        for row in built.query("select * from marts.fct_purchase_mix_daily")
    }
    assert_rows_equal(actual, purchase_mix_daily(world))


def test_a_second_run_changes_nothing(built: CostWarehouse) -> None:
    """An append or a window deleted too narrowly would double or lose a day."""
    before = marts(built)
    built.build()
    assert marts(built) == before


def test_days_loaded_in_any_order_give_the_same_marts(
    world: World, built: CostWarehouse, target_dir: Path, tmp_path: Path
) -> None:
    """Late days arrive last: each run rebuilds from the earliest day it brought."""
    warehouse = new_warehouse(tmp_path / "warehouse.duckdb", target_dir, world)
    days = (date(2026, 10, 2), date(2026, 10, 4), date(2026, 10, 1), date(2026, 10, 3))
    for day in days:
        of_day = f"usage_date = '{day}'"
        warehouse.replace("raw.metric_samples", [row for row in world.samples if row["usage_date"] == day], of_day)
        warehouse.replace_calls([row for row in world.requests if row["usage_date"] == day], of_day)
        warehouse.replace("raw.ledger_run", run_facts(world, day))
        warehouse.build(with_tests=day == days[-1])
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
    warehouse = new_warehouse(tmp_path / "warehouse.duckdb", target_dir, early)
    warehouse.replace("raw.metric_samples", world.samples)
    warehouse.replace_calls(world.requests)
    warehouse.replace("raw.ledger_run", run_facts(world, date(2026, 10, 1)))
    warehouse.build(with_tests=False)
    assert marts(warehouse) != marts(built)
    write_inputs(warehouse, world)
    warehouse.replace("raw.ledger_run", run_facts(world, date(2026, 10, 20)))
    warehouse.build()
    assert marts(warehouse) == marts(built)
    # Published, and nothing has changed since: eight days before the window of usage.
    with Warehouse(warehouse.path).connect() as con:
        note_published(con, "digest")
    warehouse.dbt("run", "--select", "int_usage_classes", "int_usage_window", "int_cost_inputs", "int_costs_window")
    assert warehouse.query("select costs_window_start_at from intermediate.int_costs_window") == [
        {"costs_window_start_at": at("2026-10-12T00:00")}
    ]


def test_a_late_day_changes_the_hours_it_reaches_back_to(target_dir: Path, tmp_path: Path) -> None:
    """Scrapes days apart, calls of up to a day, days out of order, routes that change: as if all had come at once."""
    world = make_sparse_world(SEED_OF_THE_WORLD)
    warehouse = new_warehouse(tmp_path / "warehouse.duckdb", target_dir, world)
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
        warehouse.replace_calls(part.requests)
        warehouse.replace("raw.ledger_run", run_facts(world, date(2026, 10, first)))
        warehouse.dbt("build", "--select", "+int_usage__hourly", "--exclude-resource-type", "test", "unit_test")
        assert_usage_is_the_oracles(warehouse, part)

    world.routes[-1]["deployment"] = "chat"
    warehouse.replace("raw.ledger_usage_routes", world.routes)
    warehouse.replace("raw.ledger_run", run_facts(world, date(2026, 10, 1)))
    warehouse.dbt("build", "--select", "+int_usage__hourly", "--exclude-resource-type", "test", "unit_test")
    assert_usage_is_the_oracles(warehouse, world)


def pages(replica: str, days: Iterable[int], every_hours: int = 6, **counters: int) -> list[Row]:
    """Scrapes of a replica on days of October, of usage source `m-<replica>`, with what each counter gains an hour."""
    names = {"failed": ("request_success_total", "abort")}
    hours = [24 * (day - 1) + hour for day in days for hour in range(0, 24, every_hours)]
    return [
        {
            "source_name": f"m-{replica}",
            "file_id": "f",
            "replica_key": replica,
            "scraped_at": at("2026-10-01T00:00") + timedelta(hours=hour),
            "usage_date": date(2026, 10, 1 + hour // 24),
            "metric_name": f"vllm:{names.get(name, (name,))[0]}",
            "engine": "0",
            "model_name": "served",
            "label_value": names.get(name, (None, None))[1],
            "value": float(gain * hour),
            "series_created_at": None,
            "process_started_at": None,
        }
        for hour in hours
        for name, gain in counters.items()
    ]


def test_late_pages_change_hours_of_weeks_ago(target_dir: Path, tmp_path: Path) -> None:
    """Hours between two that count failures count 0 of them; those of a replica with prompt counters all have prompts.

    The pages of 1 October count failures, and those of the 21st again. These are withdrawn, with a run about the 15th,
    and come a second time. So does a page of the 12th, which tells of the seven days before it, in which calls spoke.
    """
    metrics = {"kind": "metrics", "role": "engine_counters", "model_match": "*"}
    world = World(
        as_of_date=date(2026, 10, 22),
        routes=[
            {"source_name": "m-a", **metrics, "deployment": "chat"},
            {"source_name": "m-b", **metrics, "deployment": "chat"},
            {"source_name": "m-c", **metrics, "deployment": "rag"},
            {"source_name": "gw", "kind": "litellm", "role": "gateway", "model_match": "*", "deployment": "rag"},
        ],
    )
    warehouse = new_warehouse(tmp_path / "warehouse.duckdb", target_dir, world)
    warehouse.replace_calls(
        [
            {
                "source_name": "gw",
                "file_id": "f",
                "request_id": UUID(int=day),
                "status": "success",
                "model": "served",
                "tenant": "acme",
                "started_at": at(f"2026-10-{day:02}T12:00"),
                "completed_at": at(f"2026-10-{day:02}T12:01"),
                "usage_date": date(2026, 10, day),
                "prompt_tokens": 10,
                "completion_tokens": 5,
            }
            for day in (5, 6, 20)
        ],
    )
    tokens = {"prompt_tokens_total": 100, "generation_tokens_total": 10}
    early = [
        *pages("a", [1], **tokens, failed=1),
        *pages("a", range(2, 21), **tokens),
        *pages("b", range(1, 21), generation_tokens_total=10),
        *pages("c", [5, 18], 24, **tokens),
    ]
    late = [*pages("a", [21], **tokens, failed=1), *pages("b", [21], **tokens)]
    page_of_the_12th = pages("c", [12], 24, **tokens)

    tables = ("int_engine_usage__hourly", "int_usage__hourly", "int_tenant_usage__hourly", "int_reconciliation__daily")
    select = ("--select", *(f"+{table}" for table in tables))
    warehouse.dbt("seed", *select)

    def run(samples: list[Row], window_start: int, as_of: int = 22) -> list[list[dict[str, Any]]]:
        warehouse.replace("raw.metric_samples", samples)
        facts = run_facts(replace(world, as_of_date=date(2026, 10, as_of)), date(2026, 10, window_start))
        warehouse.replace("raw.ledger_run", facts)
        warehouse.dbt("run", *select)
        return [warehouse.query(f"select * from intermediate.{table} order by all") for table in tables]

    def known_before_the_20th() -> list[tuple[Any, ...]]:
        """Of replicas a and b: hours, those of them that count failures, failures, and hours that count prompts."""
        rows = warehouse.query("""
            select
                replica_key, count(*), count(unsuccessful_request_count), sum(unsuccessful_request_count),
                count(prompt_tokens)
            from intermediate.int_engine_usage__hourly
            where deployment = 'chat' and usage_hour_at < '2026-10-20 00:00+00'
            group by replica_key order by replica_key
        """)
        return [tuple(row.values()) for row in rows]

    def who_speaks_for_rag() -> list[tuple[Any, ...]]:
        rows = warehouse.query("""
            select usage_hour_at, usage_basis from intermediate.int_usage__hourly
            where deployment = 'rag' order by usage_hour_at
        """)
        return [tuple(row.values()) for row in rows]

    def publish() -> None:
        with Warehouse(warehouse.path).connect() as con:
            note_published(con, "digest")

    # Four scrapes a day. The first of all has no increase; that of midnight on the 20th has its own on the 19th.
    without, with_late = [("a", 76, 3, 18, 76), ("b", 76, 0, None, 0)], [("a", 76, 76, 18, 76), ("b", 76, 0, None, 76)]
    calls = [(at(f"2026-10-{day:02}T12:00"), "gateway_requests") for day in (5, 6, 20)]
    # From midnight of the 5th to that of the 12th, and to that of the 18th: the middle.
    counted = [(at("2026-10-08T12:00"), "engine_counters"), (at("2026-10-15T00:00"), "engine_counters")]

    made_at_once = run([*early, *late, *page_of_the_12th], 1)
    assert known_before_the_20th() == with_late
    assert who_speaks_for_rag() == [*counted, calls[-1]]
    # Not published in between. No hour after the day that the run is about is spoken of.
    run(early, 12, as_of=15)
    assert known_before_the_20th() == without
    assert who_speaks_for_rag() == calls[:2]
    publish()
    run([*early, *page_of_the_12th], 12)
    assert known_before_the_20th() == without
    assert who_speaks_for_rag() == [*counted, calls[-1]]
    publish()
    assert run([*early, *late, *page_of_the_12th], 20) == made_at_once


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
    warehouse = new_warehouse(tmp_path / "warehouse.duckdb", target_dir, world)
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


def counters(source: str, hours: int, **totals: float) -> list[Row]:
    """Hourly scrapes of one replica from 2026-10-01 on, whose counters grow evenly from 0 to their totals."""
    start = at("2026-10-01T00:00")
    return [
        {
            "source_name": source,
            "file_id": "f",
            "replica_key": source,
            "scraped_at": start + timedelta(hours=hour),
            "usage_date": (start + timedelta(hours=hour)).date(),
            "metric_name": f"vllm:{name}",
            "engine": "0",
            "model_name": "served",
            "label_value": None,
            "value": float(int(total * hour / hours)),
            "series_created_at": None,
            "process_started_at": start - timedelta(minutes=5),
        }
        for hour in range(hours + 1)
        for name, total in totals.items()
    ]


@pytest.fixture(scope="module")
def published_examples(target_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Model -> its row of fct_unit_costs_daily: OpenCost's example, DeepSeek's day as one fleet and as two pools."""
    # Nodes that work off the day at the published rates per node: 73.7k input and 14.8k output tokens a second.
    prefill_nodes, decode_nodes = 608e9 / 73_700 / 86_400, 168e9 / 14_800 / 86_400
    day, usd = {"valid_from_at": "2026-10-01T00:00", "valid_to_at": "2026-10-02T00:00"}, Decimal(2)
    rented = {
        # One GPU-hour of $0.213 and a million tokens.
        "opencost": ("opencost", 1.0, Decimal("0.213"), day | {"valid_to_at": "2026-10-01T01:00"}),
        "fleet": ("deepseek", 226.75 * 8, usd, day),
        "prefill": ("deepseek-pools", prefill_nodes * 8, usd, day),
        "decode": ("deepseek-pools", decode_nodes * 8, usd, day),
    }
    world = World(
        as_of_date=date(2026, 10, 1),
        deployments=[
            entry(number, name, model, "corp", "rack", gpus_per_replica=round(Decimal(gpus), 6),
                  rate_usd_per_gpu_hour=rate, **times)
            for number, (name, (model, gpus, rate, times)) in enumerate(rented.items())
        ],
        routes=[
            {"source_name": name, "kind": "metrics", "role": "engine_counters", "model_match": "*", "deployment": name}
            for name in rented
        ],
        samples=[
            *counters(
                "opencost", 1, prompt_tokens_total=820_000, generation_tokens_total=180_000,
                request_prefill_time_seconds_sum=5_500, request_decode_time_seconds_sum=4_500,
            ),
            *counters("fleet", 24, prompt_tokens_total=608e9, generation_tokens_total=168e9),
            *counters("prefill", 24, prompt_tokens_total=608e9, generation_tokens_total=0),
            *counters("decode", 24, prompt_tokens_total=0, generation_tokens_total=168e9),
        ],
    )  # fmt: skip
    warehouse = new_warehouse(tmp_path_factory.mktemp("examples") / "warehouse.duckdb", target_dir, world)
    warehouse.replace("raw.metric_samples", world.samples)
    warehouse.replace("raw.ledger_run", run_facts(world, world.as_of_date))
    warehouse.dbt("build", "--select", *SELECTED, "--exclude-resource-type", "test", "unit_test")
    rows = warehouse.query("select * from marts.fct_unit_costs_daily where pricing_category = 'all'")
    return {row["model"]: row for row in rows}


def test_opencosts_worked_example(published_examples: dict[str, dict[str, Any]]) -> None:
    """$0.213 a million tokens, $0.143 input, $0.533 output: OpenCost 1.121's worked example (2026-07).

    The three figures imply 82 input tokens to 18 of output, and 55 seconds of prefill to 45 of decode.
    """
    row = published_examples["opencost"]
    assert row["split_basis"] == "measured_phase_seconds"
    assert rounded(row["cost_usd_per_million_total_tokens"], 3) == Decimal("0.213")
    assert rounded(row["cost_usd_per_million_input_tokens"], 3) == Decimal("0.143")
    assert rounded(row["cost_usd_per_million_output_tokens"], 3) == Decimal("0.533")


def test_deepseeks_published_day(published_examples: dict[str, dict[str, Any]]) -> None:
    """27-28 Feb 2025: 608 billion input and 168 billion output tokens on 226.75 nodes of 8 H800 at $2: $87,072.

    Source: DeepSeek, open-infra-index, "DeepSeek-V3/R1 Inference System Overview" (2025-03-01), which also gives 73.7k
    input and 14.8k output tokens a second and node. With a pool for each: $16 / 73.7k/s and $16 / 14.8k/s.
    """
    fleet, pools = published_examples["deepseek"], published_examples["deepseek-pools"]
    assert fleet["cost_usd"] == 87_072
    assert rounded(fleet["cost_usd_per_million_total_tokens"], 4) == Decimal("0.1122")
    assert rounded(Fraction(fleet["cost_usd"]) * 10**6 / fleet["output_tokens"], 3) == Decimal("0.518")
    assert rounded(pools["cost_usd_per_million_input_tokens"], 4) == Decimal("0.0603")
    assert rounded(pools["cost_usd_per_million_output_tokens"], 4) == Decimal("0.3003")
    assert rounded(Fraction(pools["gpu_hours"]) / 24 / 8, 2) == Decimal("226.86")
    assert rounded((pools["cost_usd"] / fleet["cost_usd"] - 1) * 100, 2) == Decimal("0.05")
