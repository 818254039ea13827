"""What moved a unit cost, as the dbt models say it, against Shapley values in plain Python; and planted causes.

One dbt run over many worlds. The oracle shares nothing with the SQL: it takes the worlds' own rows, and Shapley's value
where the SQL uses LMDI-I. The two split what factors do together in other ways, but agree on sign and size.
"""

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import combinations
from typing import Any

import duckdb
import pytest

from orchestration.drift_backtest import CAUSES, WorldRow, explain_worlds, planted_world

DAY = date(2026, 1, 5)  # the day that is explained; the reference are the four days before it
WORLDS = 96
FACTORS = (
    "model_mix",
    "gpu_mix",
    "purchase_mix",
    "request_size",
    "cache",
    "efficiency",
    "utilization",
    "price",
)
EFFECTS = (*FACTORS, "new_stopped")
MEASURES = ("cost_usd_per_million_tokens", "cost_usd_per_request")


def random_world(number: int, rng: random.Random) -> list[WorldRow]:
    """Several things move at once, by up to a fifth; some segments are new, some stop, some only idle."""
    rows = planted_world(number, "none", rng)
    moved = []
    for row in rows:
        if row.usage_date == DAY:
            is_kept = row.deployment.endswith("h100") and row.pricing_category == "Committed"
            fate = 1.0 if is_kept else rng.random()
            if fate < 0.08:
                continue  # stopped
            if fate < 0.14:  # held and served nothing
                moved.append(
                    replace(row, utilization_ratio=0.0, total_tokens=0, cached_input_tokens=0, request_count=0)
                )
                continue
            hours, dearer, more = (rng.uniform(0.85, 1.2) for _ in range(3))
            moved.append(
                replace(
                    row,
                    gpu_hours=round(row.gpu_hours * hours, 6),
                    cost_usd=round(row.cost_usd * hours * dearer, 8),
                    total_tokens=round(row.total_tokens * more),
                    cached_input_tokens=round(row.cached_input_tokens * more * rng.uniform(0.8, 1.1)),
                    request_count=round(row.request_count * rng.uniform(0.85, 1.2)),
                    utilization_ratio=round(min(1.0, row.utilization_ratio * rng.uniform(0.85, 1.2)), 8),
                )
            )
            if rng.random() < 0.08:
                moved.append(replace(moved[-1], pricing_category="Dynamic"))  # new
        else:
            moved.append(row)
    return moved


@pytest.fixture(scope="module")
def worlds() -> dict[str, list[WorldRow]]:
    rng = random.Random("drift worlds")
    planted = {f"world-{number}": planted_world(number, CAUSES[number % 6], rng) for number in range(WORLDS)}
    mixed = {f"world-{number}": random_world(number, rng) for number in range(WORLDS, 2 * WORLDS)}
    return planted | mixed


@pytest.fixture(scope="module")
def explained(
    worlds: dict[str, list[WorldRow]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[duckdb.DuckDBPyConnection]:
    rows = [row for world in worlds.values() for row in world]
    with duckdb.connect(str(explain_worlds(rows, tmp_path_factory.mktemp("drift"))), read_only=True) as con:
        yield con


def found_effects(con: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], dict[str, Any]]:
    result = con.execute("select * from marts.fct_cost_drift_daily where series_kind = 'model'")
    names = [column[0] for column in result.description]
    rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    return {(row["series"], row["measure"]): row for row in rows}


# --- the oracle -------------------------------------------------------------------------------------------------------

Side = dict[tuple[str, str], dict[str, float]]  # (deployment, pricing category): sums


def side(world: list[WorldRow], *, is_actual: bool) -> Side:
    sums: Side = defaultdict(lambda: defaultdict(float))
    for row in world:
        if (row.usage_date == DAY) == is_actual:
            part = sums[row.deployment, row.pricing_category]
            part["cost"] += row.cost_usd
            part["hours"] += row.gpu_hours
            part["active"] += row.gpu_hours * row.utilization_ratio
            part["tokens"] += row.total_tokens
            part["computed"] += row.total_tokens - row.cached_input_tokens
            part["requests"] += row.request_count
    return sums


def volume(part: dict[str, float], measure: str) -> float:
    return part["requests"] if measure.endswith("request") else part["tokens"] / 1e6


def factors(parts: Side, key: tuple[str, str], measure: str) -> dict[str, float] | None:
    """The factors whose product is the segment's cost per unit of the series; None where one is not above zero."""
    part = parts[key]
    own = volume(part, measure)
    place = sum(volume(other, measure) for name, other in parts.items() if name[0] == key[0])
    whole = sum(volume(other, measure) for other in parts.values())
    if min(own, part["active"], part["computed"], part["cost"]) <= 0:
        return None
    return {
        "model_mix": 1.0,  # one model a series
        "gpu_mix": place / whole,
        "purchase_mix": own / place,
        "request_size": part["tokens"] / 1e6 / own,
        "cache": part["computed"] / part["tokens"],
        "efficiency": part["active"] / (part["computed"] / 1e6),
        "utilization": part["hours"] / part["active"],
        "price": part["cost"] / part["hours"],
    }


def shapley(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """The mean, over all orders in which the factors may change, of what the change of each adds to the product."""
    moving = [name for name in before if before[name] != after[name]]
    still = math.prod(before[name] for name in before if name not in moving)
    count = len(moving)
    effects = dict.fromkeys(before, 0.0)
    for name in moving:
        others = [other for other in moving if other != name]
        for size in range(count):
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for changed in combinations(others, size):
                rest = math.prod(after[other] if other in changed else before[other] for other in others)
                effects[name] += weight * still * rest * (after[name] - before[name])
    return effects


def oracle(world: list[WorldRow], measure: str) -> tuple[dict[tuple[str, str], dict[str, float]], float]:
    """USD a day of each effect by segment, and the cost expected for the day's volume."""
    after, before = side(world, is_actual=True), side(world, is_actual=False)
    units = sum(volume(part, measure) for part in after.values())
    scale = units / sum(volume(part, measure) for part in before.values())
    segments = {}
    for key in after.keys() | before.keys():
        effects = segments[key] = dict.fromkeys(EFFECTS, 0.0)
        now = after[key]["cost"] if key in after else 0.0
        then = before[key]["cost"] * scale if key in before else 0.0
        if now == 0.0 or then == 0.0:
            effects["new_stopped"] = now - then
            continue
        new, old = factors(after, key, measure), factors(before, key, measure)
        if new is None or old is None:  # price and idleness are all that can be told apart
            prices = [part[key]["cost"] / part[key]["hours"] for part in (before, after)]
            pair = [{"price": prices[0], "rest": then / prices[0]}, {"price": prices[1], "rest": now / prices[1]}]
            split = shapley(*pair)
            effects["price"], effects["utilization"] = split["price"], split["rest"]
            continue
        for name, size in shapley(old, new).items():
            effects[name] = units * size
    return segments, sum(part["cost"] for part in before.values()) * scale


# --- what must hold ---------------------------------------------------------------------------------------------------


def test_effects_agree_with_shapley(explained: duckdb.DuckDBPyConnection, worlds: dict[str, list[WorldRow]]) -> None:
    found = found_effects(explained)
    assert len(found) == len(worlds) * len(MEASURES)
    drivers = {
        tuple(row): float(size)
        for *row, size in explained.execute(
            "select series, measure, deployment, pricing_category, effect, effect_usd_per_day "
            "from marts.fct_cost_drivers_daily where series_kind = 'model'"
        ).fetchall()
    }
    seen = set()
    for (series, measure), row in found.items():
        segments, expected_cost = oracle(worlds[series], measure)
        change = sum(size for effects in segments.values() for size in effects.values())
        assert change == pytest.approx(float(row["cost_usd"]) - expected_cost, rel=1e-6, abs=1e-6)
        assert float(row["impact_usd_per_day"]) == pytest.approx(change, rel=1e-6, abs=1e-6)
        for key, effects in segments.items():
            gross = sum(abs(size) for size in effects.values())
            for name, wanted in effects.items():
                effect = drivers.get((series, measure, *key, name), 0.0)
                assert effect == pytest.approx(wanted, rel=0.2, abs=0.02 * gross), (series, measure, key, name)
                if abs(wanted) > 0.05 * gross:
                    assert math.copysign(1, effect) == math.copysign(1, wanted)
                    seen.add(name)
    assert seen == set(EFFECTS) - {"model_mix"}


def test_effects_sum_to_the_change_to_the_last_digit(explained: duckdb.DuckDBPyConnection) -> None:
    for row in found_effects(explained).values():
        effects = sum((row[f"{name}_effect_usd"] for name in EFFECTS), Decimal(0))
        assert effects == row["impact_usd_per_day"]
    assert explained.execute(
        """
        select count(*) from marts.fct_cost_drift_daily as drift
        where impact_usd_per_day <> (
            select sum(effect_usd_per_day) from marts.fct_cost_drivers_daily as drivers
            where (drivers.series_kind, drivers.series, drivers.measure, drivers.usage_date)
                = (drift.series_kind, drift.series, drift.measure, drift.usage_date))
        """
    ).fetchall() == [(0,)]


def test_the_planted_cause_is_the_top_cause(explained: duckdb.DuckDBPyConnection) -> None:
    """The bar is 95 %; `inference-ledger backtest-drift` does 1,000 worlds."""
    found = found_effects(explained)
    right = [
        found[f"world-{number}", measure]["top_cause"] == CAUSES[number % 6]
        for number in range(WORLDS)
        for measure in MEASURES
    ]
    assert sum(right) / len(right) >= 0.95


def test_models_that_change_places_are_model_mix(explained: duckdb.DuckDBPyConnection) -> None:
    """Of the total, but for the series of one model, whose mix of models cannot move."""
    total = explained.execute(
        "select bool_or(model_mix_effect_usd <> 0) from marts.fct_cost_drift_daily where series_kind = 'total'"
    ).fetchall()
    assert total == [(True,)]
    assert explained.execute(
        "select count(*) from marts.fct_cost_drift_daily where series_kind = 'model' and model_mix_effect_usd <> 0"
    ).fetchall() == [(0,)]
