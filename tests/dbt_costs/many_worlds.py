"""Many small random worlds in one warehouse, each with a provider of its own, against the oracle.

    python tests/dbt_costs/many_worlds.py 1000

prints how many hourly rows of the cost models were compared, and how many differ.
"""

import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from cost_oracle import (
    Row,
    World,
    bill_deployments_daily,
    costs_hourly,
    fleet_parts,
    focus_rows,
    hours,
    known_sum,
    tenant_costs_daily,
    unit_costs_daily,
)
from cost_warehouse import SELECTED, CostWarehouse
from random_world import H, at, bill_line, commitment, entry, plan, price

FIRST_HOUR = at("2026-10-01T20:00")
GPUS = {"a.8x": Decimal(8), "b.1x": Decimal(1), "a.half": Decimal("0.5")}


def instant(rng: random.Random) -> str:
    """Some second of the four hours."""
    return (FIRST_HOUR + timedelta(seconds=rng.choice([0, 3600, rng.randrange(4 * 3600)]))).isoformat()[:19]


def small_world(number: int) -> World:
    """Four hours of one provider: overlapping reservations, plans that run out, terms that end, a bill of its own."""
    rng = random.Random(f"world {number}")
    provider = f"w{number}"
    world = World(
        as_of_date=date(2026, 10, 1),
        instance_types={(provider, name): (f"G-{name}", gpus, name) for name, gpus in GPUS.items()},
        price_sources=[{"source": provider, "is_enabled": True, "stale_after_hours": 48}],
    )
    types = list(GPUS)
    for name, gpus in GPUS.items():
        base = Decimal(rng.randrange(100, 900)) / 100 * gpus
        options: list[tuple[str, str, str]] = [("on_demand", "", "1"), ("spot", "", "0.4"), ("reserved", "", "0.63")]
        options += [("savings_plan", "", f"0.{rng.randrange(55, 99)}")]
        for model, tier, factor in options:
            if rng.random() < 0.9:
                term = (
                    {"term_months": 12, "payment_option": "no_upfront"} if model in ("reserved", "savings_plan") else {}
                )
                world.prices.append(
                    price(
                        provider,
                        name,
                        model,
                        str(gpus),
                        f"{base * Decimal(factor):.8f}",
                        "2026-09-01T00:00",
                        offer_tier=tier,
                        **term,
                    )  # fmt: skip
                )
    for index in range(rng.randrange(3)):
        begins = at(instant(rng))
        kind = rng.choice(["matching", "matching", "named"])
        world.commitments.append(
            commitment(f"{provider}-ri{index}", "aws", rng.choice(types), "2026-10-01T20:00", "2027-10-01T20:00")
            | {
                "provider": provider,
                "region": rng.choice(["east", "west"]),
                "instance_count": rng.randrange(1, 4),
                "applies_to": kind,
                "valid_from_at": begins,
                "valid_to_at": begins + timedelta(seconds=rng.choice([2_000, 9_000, 90_000])),
                "rate_usd_per_gpu_hour": rng.choice([None, Decimal("1.23456789")]),
                "kind": "reservation",
            }
        )
    for index in range(rng.randrange(4)):
        family: dict[str, Any] = rng.choice(
            [{}, {"region": "east"}, {"instance_type": "a"}, {"instance_type": "b.1x", "region": "west"}]
        )
        world.commitments.append(
            plan(f"{provider}-sp{index}", provider, f"{rng.randrange(1, 60)}.{rng.randrange(10**8):08d}", instant(rng))
            | family
            | {"kind": "savings_plan"}
        )
    named = [c for c in world.commitments if c["commitment_id"].startswith(f"{provider}-ri")]
    for index in range(rng.randrange(2, 6)):
        of: Row | None = rng.choice(named) if named and rng.random() < 0.4 else None
        option = rng.choice(["on_demand", "on_demand", "on_demand", "spot"])
        instance = of["instance_type"] if of else rng.choice(types)
        begins = instant(rng)
        ends = rng.choice([None, None, at(begins) + timedelta(seconds=rng.randrange(1, 9_000))])
        rate = Decimal(rng.randrange(1, 700)) / 100 if not of and rng.random() < 0.25 else None
        world.deployments.append(
            entry(
                index,
                f"{provider}-d{index}",
                "m",
                provider,
                instance,
                region=of["region"] if of else rng.choice(["east", "west"]),
                replicas=rng.randrange(1, 4),
                instances_per_replica=rng.choice([1, 1, 2]),
                pricing_model="reserved" if of else option,
                commitment_id=of["commitment_id"] if of else None,
                rate_usd_per_gpu_hour=rate,
                valid_from_at=at(begins),
                valid_to_at=ends,
            )
        )
    if rng.random() < 0.5:
        bill(world, rng, provider)
    return world


def bill(world: World, rng: random.Random, provider: str) -> None:
    """A bill of the first hours: rates of its own, charges of several hours, a line of an instance nobody knows of."""
    reach = rng.randrange(1, 5)
    own = {"provider_raw": provider, "source_name": provider}
    tags = random.Random(f"tags of {provider}")
    for hour in range(reach):
        for name in GPUS:
            for category in ("Standard", "Dynamic", "Committed"):
                if rng.random() < 0.5:
                    continue
                paid_by = f"{provider}-ri0" if rng.random() < 0.5 else f"{provider}-arn"
                world.bill_lines.append(
                    bill_line(
                        FIRST_HOUR + hour * H,
                        name,
                        f"{rng.randrange(1, 5)}.{rng.randrange(100):02d}",
                        f"{rng.randrange(50)}.{rng.randrange(10**10):010d}",
                        region_raw=rng.choice(["east", "west"]),
                        pricing_category_raw=category,
                        commitment_id=paid_by if category == "Committed" else None,
                        deployment_tag=tags.choice([None, "nobody", *(e["deployment"] for e in world.deployments)]),
                        **own,
                    )
                )
    world.bill_lines.append(
        bill_line(
            FIRST_HOUR,
            "b.1x",
            "7",
            "17.7777777777",
            region_raw="east",
            charge_to_at=FIRST_HOUR + timedelta(seconds=reach * 3600),
            **own,
        )
    )
    world.bills.append(
        {
            "source_name": provider,
            "billing_period": date(2026, 10, 1),
            "format_version": "FOCUS 1.0",
            "line_count": len(world.bill_lines),
            "delivery_digest": "d",
            "delivered_at": at(rng.choice(["2026-10-02T05:00", "2026-11-07T00:00"])),
            "loaded_at": at("2026-11-08T00:00"),
        }
    )


def compare(count: int, folder: Path, target_dir: Path) -> tuple[int, list[Any]]:
    """Builds `count` worlds at once; returns the number of rows compared, and what differs."""
    worlds = [small_world(number) for number in range(count)]
    warehouse = CostWarehouse(folder / "warehouse.duckdb", target_dir)
    warehouse.create()

    def of_all(name: str) -> list[Row]:
        return [row for world in worlds for row in getattr(world, name)]

    warehouse.replace("raw.ledger_deployments", of_all("deployments"))
    warehouse.replace("raw.ledger_commitments", of_all("commitments"))
    warehouse.replace("raw.ledger_price_sources", of_all("price_sources"))
    warehouse.replace("intermediate.int_gpu_price_intervals", of_all("prices"))
    warehouse.replace("raw.billing_lines", of_all("bill_lines"))
    warehouse.replace("raw.billing_periods", of_all("bills"))
    warehouse.replace(
        "raw.ledger_billing_sources", [{"source_name": b["source_name"], "kind": "focus"} for b in of_all("bills")]
    )
    warehouse.replace(
        "raw.ledger_run",
        [{"run_id": "r", "started_at": at("2026-10-02T04:00"), "as_of_date": date(2026, 10, 1),
          "window_start_date": date(2026, 9, 30)}],
    )  # fmt: skip
    warehouse.dbt("seed", "--select", *(name for name in SELECTED if not name.startswith(("path:", "stg_"))))
    warehouse.replace(
        "seeds.instance_types",
        [
            {"provider": key[0], "instance_type": key[1], "gpu_model": value[0], "gpu_count": value[1],
             "price_key": value[2]}
            for world in worlds
            for key, value in world.instance_types.items()
        ],
    )  # fmt: skip
    warehouse.dbt("run", "--select", *(name for name in SELECTED if "/" in name or name.startswith("stg_")))
    warehouse.dbt("test", "--select", "assert_bill_residuals_sum_to_difference", "assert_bill_hours_sum_to_lines",
                  "assert_cost_active_plus_idle_is_cost", "assert_cost_parts_hold_all_gpu_hours",
                  "assert_cost_fleet_parts_sum_to_entry", "assert_cost_hourly_plus_unused_is_fleet_cost",
                  "assert_cost_tenants_sum_to_deployments", "assert_cost_unit_parts_sum_to_cost",
                  "assert_cost_focus_is_fleet_cost", "assert_bill_deployments_sum_to_reconciliation")  # fmt: skip
    compared, wrong = 0, []
    for found, expected in differences(warehouse, worlds):
        compared += len(expected)
        wrong += [(key, found.get(key), expected.get(key)) for key in found.keys() ^ expected.keys()]
        for key in found.keys() & expected.keys():
            wrong += [
                (key, column, found[key][column], value)
                for column, value in expected[key].items()
                if not is_same(found[key][column], value)
            ]
    return compared, wrong


def is_same(found: Any, wanted: Any) -> bool:
    """Equal; where the oracle has an exact fraction, to the tenth decimal and two units."""
    if isinstance(wanted, Fraction) and found is not None:
        return abs(Fraction(found) - wanted) <= Fraction(3, 10**10)
    return bool(found == wanted)


def differences(warehouse: CostWarehouse, worlds: list[World]) -> Iterator[tuple[dict[Any, Row], dict[Any, Row]]]:
    """What the models say and what the oracle says: hourly costs, hours of commitments, tenants, FOCUS, unit costs."""
    columns = ("gpu_hours", "cost_usd", "on_demand_equivalent_cost_usd", "rate_basis", "billing_status",
               "pricing_model", "null_reason")  # fmt: skip
    found = {
        (row["deployment"], row["pricing_category"], row["hour_start_at"]): row
        for row in warehouse.query("select * from marts.fct_inference_costs_hourly")
    }
    expected = {
        key: {column: row[column] for column in columns} for world in worlds for key, row in costs_hourly(world).items()
    }
    yield found, expected
    held = {
        (row["commitment_id"], row["hour_start_at"]): row
        for row in warehouse.query("select * from intermediate.int_commitments__hourly")
    }
    yield (
        held,
        {
            (row["commitment"]["commitment_id"], row["hour"]): {
                "used_gpu_hours": row["used"],
                "unused_gpu_hours": row["unused"],
                "used_cost_usd": row["used_cost"],
                "modelled_unused_cost_usd": row["modelled_unused_cost"],
                "unused_cost_usd": row["unused_cost"],
            }
            for world in worlds
            for row in fleet_parts(world)[1]
        },
    )

    brought_home = {
        (row["usage_date"], row["provider"], row["scope"], row["deployment"]): row
        for row in warehouse.query("select * from marts.fct_bill_deployments_daily")
    }
    spanned = {hour for world in worlds for hour in hours(world)}  # the worlds share a ledger
    yield (
        brought_home,
        {key: row for world in worlds for key, row in bill_deployments_daily(world, spanned).items()},
    )

    # No world has usage, so what the fleet costs is nobody's, and idle.
    weights: dict[str, Decimal] = {}
    of_worlds: dict[Any, list[Any]] = defaultdict(list)  # the GPUs have the same names in all worlds
    for world in worlds:
        for key, row in unit_costs_daily(world, weights).items():
            of_worlds[key].append(row["cost_usd"])
    units = {
        (row["usage_date"], row["model"], row["gpu_model"], row["pricing_category"]): row
        for row in warehouse.query("select * from marts.fct_unit_costs_daily")
    }
    yield (
        units,
        {key: {"cost_usd": known_sum(costs), "output_cost_usd": None} for key, costs in of_worlds.items()},
    )
    tenants = {
        (row["usage_date"], row["deployment"], row["tenant"], row["model"], row["adapter"]): row
        for row in warehouse.query("select * from marts.fct_tenant_costs_daily")
    }
    yield (
        tenants,
        {key: row for world in worlds for key, row in tenant_costs_daily(world, weights, []).items()},
    )
    yield (
        warehouse.focus_rows(),
        {
            key: {"EffectiveCost": row["EffectiveCost"]}
            for world in worlds
            for key, row in focus_rows(world, weights, []).items()
        },
    )


def main() -> None:
    """Command line."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        compared, wrong = compare(count, Path(folder), Path(folder) / "target")
    print(f"{count} worlds, {compared} hourly rows compared, {len(wrong)} differ ({time.monotonic() - started:.0f} s)")
    for each in wrong[:10]:
        print(each)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
