"""Plans the commitments of each pool of the warehouse: reads `int_capacity_*`, writes `raw.capacity_plans`.

A pool is provider, region and GPU model. The choice is arithmetic of sizing/commitments.py; the money is dbt's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from orchestration.settings import CapacitySection
from sizing.commitments import Held, Market, Offer, Outlook, Plan, Spot, backtest, break_even_decline, make_plan
from sizing.demand import HOURS_PER_DAY, HOURS_PER_WEEK, LoadCurve, forecast

Floats = NDArray[np.float64]

POOL = ("provider", "region", "gpu_model")
# What is priced: whole weeks, and long enough that one odd week is not the plan.
WINDOW_DAYS = 28
# A plan from less has not seen a weekend.
LEAST_DAYS = 7
BEST_MIX = "best_mix"
ON_DEMAND = "on_demand"


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What a run planned."""

    pool_count: int
    planned_count: int


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool as the warehouse has it at the end of a day.

    Args:
        needed: GPUs needed per hour, the last hour of the day last; NaN where the number of GPUs is unknown.
        on_spot: GPU-hours bought on spot in each of these hours.
        costs_usd: of each hour in which something was held; None where a part of it has no price.
    """

    key: tuple[str, str, str]
    instance_type: str | None
    step_gpus: int
    on_demand_usd: Decimal | None
    spot_usd: Decimal | None
    needed: Floats
    on_spot: Floats
    costs_usd: Sequence[Decimal | None]
    offers: Sequence[Offer]
    held: Sequence[Held]
    unrated_held: frozenset[str]
    is_held_known: bool


def needed_gpus(gpu_hours: Floats, active: Floats, unmeasured: Floats, *, target_utilization: float) -> Floats:
    """GPUs an hour needs: its active GPU-hours with room for bursts, at most what was held, for that served them.

    What no usage source speaks of counts as needed whole: it is unknown whether it was idle. Arrays of one length.
    """
    needed: Floats = np.minimum(np.nan_to_num(active) / target_utilization, gpu_hours - unmeasured) + unmeasured
    return np.maximum(needed, 0.0)


def plan_capacity(con: duckdb.DuckDBPyConnection, settings: CapacitySection) -> PlannedRun:
    """Plans every pool for the run's day, and replaces the plans there were; one transaction.

    Plans of earlier days are not kept: an emptied warehouse could not give them again. `run --date` makes them anew.
    """
    (as_of,) = con.execute("select as_of_date from raw.ledger_run").fetchall()[0]
    pools = read_pools(con, settings, as_of=as_of)
    plans: list[list[Any]] = []
    tiers: list[list[Any]] = []
    for pool in pools:
        for row, parts in _rows(pool, settings, as_of):
            plans.append(row)
            tiers.extend(parts)
    con.execute("begin")
    try:
        for table, rows in (("capacity_plans", plans), ("capacity_plan_tiers", tiers)):
            con.execute(f"delete from raw.{table}")
            if rows:
                con.executemany(f"insert into raw.{table} values ({', '.join('?' * len(rows[0]))})", rows)
        con.execute("commit")
    except BaseException:
        con.execute("rollback")
        raise
    return PlannedRun(len(pools), len({tuple(row[1:4]) for row in tiers}))


def read_pools(con: duckdb.DuckDBPyConnection, settings: CapacitySection, *, as_of: date) -> list[Pool]:
    """The pools of the warehouse, in the order of their names."""
    end = datetime.combine(as_of + timedelta(days=1), datetime.min.time())
    pools = con.execute(
        f"""
        select {", ".join(POOL)}, instance_type, gpus_per_instance, on_demand_usd_per_gpu_hour, spot_usd_per_gpu_hour
        from intermediate.int_capacity_pools
        order by all
        """
    ).fetchall()
    found = []
    for *name, instance_type, gpus_per_instance, on_demand, spot in pools:
        key = (name[0], name[1], name[2])
        where = "provider = ? and region = ? and gpu_model = ?"
        # UTC, as the session of the warehouse is.
        hours = con.execute(
            f"""
            select
                cast(date_diff('hour', hour_start_at, cast(? as timestamptz)) as integer), cast(gpu_hours as double),
                cast(active_gpu_hours as double), cast(unmeasured_gpu_hours as double),
                cast(spot_gpu_hours as double), cost_usd
            from intermediate.int_capacity_demand__hourly
            where {where} and hour_start_at < cast(? as timestamptz)
            order by hour_start_at
            """,
            [f"{end}+00", *key, f"{end}+00"],
        ).fetchall()
        if not hours:
            continue
        offers = con.execute(
            f"select offer, term_months, rate_usd_per_gpu_hour from intermediate.int_capacity_offers "
            f"where {where} order by offer",
            key,
        ).fetchall()
        held = con.execute(
            f"""
            select
                commitment_id, instance_count * gpus_per_instance, rate_usd_per_gpu_hour,
                date_diff('second', cast(? as timestamptz), valid_to_at) / 3600
            from intermediate.int_commitments__rated
            where {where} and usd_per_hour is null
                and valid_from_at < cast(? as timestamptz) and valid_to_at > cast(? as timestamptz)
            order by commitment_id
            """,
            [f"{end}+00", *key, f"{end}+00", f"{end}+00"],
        ).fetchall()
        # From the first hour in which something was held: where nothing is held later, nothing was needed.
        length = hours[0][0]
        columns = np.zeros((4, length))
        for back, *values, _ in hours:
            columns[:, length - back] = [math.nan if value is None else value for value in values]
        gpu_hours, active, unmeasured, on_spot = columns
        found.append(
            Pool(
                key=key,
                instance_type=instance_type,
                step_gpus=max(1, round(float(gpus_per_instance or 1))),
                on_demand_usd=on_demand,
                spot_usd=spot,
                needed=needed_gpus(
                    gpu_hours, active, unmeasured, target_utilization=float(settings.target_utilization)
                ),
                on_spot=on_spot,
                costs_usd=[row[5] for row in hours if row[0] <= WINDOW_DAYS * HOURS_PER_DAY],
                offers=[Offer(offer, term, rate) for offer, term, rate in offers],
                held=[
                    Held(name, round(float(gpus or 0)), rate if rate is not None else Decimal(0), float(hours_left))
                    for name, gpus, rate, hours_left in held
                ],
                unrated_held=frozenset(name for name, _, rate, _ in held if rate is None),
                is_held_known=all(gpus is not None for _, gpus, _, _ in held),
            )
        )
    return found


def market_of(pool: Pool, settings: CapacitySection) -> Market:
    """The prices of a pool. Spot up to the share of its GPU-hours that ran on it: the work that can be interrupted."""
    if pool.on_demand_usd is None:
        raise ValueError(f"{pool.key}: no on-demand price")
    window = slice(-WINDOW_DAYS * HOURS_PER_DAY, None)
    total = float(np.nansum(pool.needed[window]))
    share = min(1.0, float(np.nansum(pool.on_spot[window])) / total) if total else 0.0
    spot = None
    if pool.spot_usd is not None and share > 0:
        spot = Spot(
            pool.spot_usd,
            share,
            float(settings.spot_interruptions_per_gpu_hour),
            float(settings.spot_recovery_hours),
        )
    outlook = Outlook(
        float(settings.price_decline_per_year),
        float(settings.new_generation_per_year),
        float(settings.new_generation_gain),
    )
    return Market(pool.on_demand_usd, pool.offers, spot, outlook, pool.step_gpus)


def plan_pool(pool: Pool, market: Market) -> dict[str, Plan]:
    """Purchase option to plan: nothing new, each offer alone, and the best mix; chosen by the forecast."""
    load = LoadCurve.of(pool.needed[-WINDOW_DAYS * HOURS_PER_DAY :])
    expected = forecast(pool.needed, horizon_weeks=WINDOW_DAYS * HOURS_PER_DAY // HOURS_PER_WEEK)
    markets = {
        ON_DEMAND: market.only(),
        **{offer.name: market.only(offer) for offer in market.offers},
        BEST_MIX: market,
    }
    return {name: make_plan(load, each, held=pool.held, expected=expected) for name, each in markets.items()}


def _rows(pool: Pool, settings: CapacitySection, as_of: date) -> list[tuple[list[Any], list[list[Any]]]]:
    """One row of `raw.capacity_plans` per purchase option, each with its rows of `raw.capacity_plan_tiers`."""
    window = pool.needed[-WINDOW_DAYS * HOURS_PER_DAY :]
    is_known = pool.is_held_known and not np.isnan(window).any()
    window_hours = len(window)
    peak = float(window.max()) if is_known else None
    actual = None
    if all(cost is not None for cost in pool.costs_usd):
        actual = sum((cost for cost in pool.costs_usd if cost is not None), Decimal(0))
    facts = {
        "start": as_of - timedelta(days=window_hours // HOURS_PER_DAY - 1),
        "peak_instance_gpus": None if peak is None else math.ceil(peak / pool.step_gpus - 1e-9) * pool.step_gpus,
        "held": sum(each.gpus for each in pool.held),
    }

    def row(
        option: str, gpu_hours: Decimal | None, backtested: tuple[int, float | None], reason: str | None
    ) -> list[Any]:
        return [
            as_of,
            *pool.key,
            option,
            facts["start"],
            window_hours,
            gpu_hours,
            None if peak is None else Decimal(repr(peak)).quantize(Decimal("0.000001")),
            facts["peak_instance_gpus"],
            pool.instance_type,
            pool.step_gpus,
            facts["held"],
            pool.on_demand_usd,
            actual,
            *backtested,
            _break_even(pool.offers),
            reason,
        ]

    if not is_known:
        return [(row(BEST_MIX, None, (0, None), "unknown_gpu_count"), [])]
    needed = Decimal(repr(float(window.sum()))).quantize(Decimal("0.000001"))
    if pool.on_demand_usd is None:
        return [(row(BEST_MIX, needed, (0, None), "no_on_demand_price"), [])]
    if window_hours < LEAST_DAYS * HOURS_PER_DAY:
        return [(row(BEST_MIX, needed, (0, None), "too_few_days"), [])]
    market = market_of(pool, settings)
    found = []
    weeks, regret, reason = _backtested(pool, market)
    for option, plan in plan_pool(pool, market).items():
        new = {**plan.buy_gpus}
        parts = [
            [
                as_of,
                *pool.key,
                option,
                position,
                tier.kind,
                tier.name,
                tier.gpus,
                new.get(tier.name, 0) if tier.kind == "committed" else 0,
                tier.paid_gpu_hours,
                tier.used_gpu_hours,
                None if tier.kind == "held" and tier.name in pool.unrated_held else tier.usd_per_gpu_hour,
            ]
            for position, tier in enumerate(plan.tiers, start=1)
        ]
        found.append((row(option, needed, (weeks, regret), "no_demand" if not needed else reason), parts))
    return found


def _backtested(pool: Pool, market: Market) -> tuple[int, float | None, str | None]:
    """Weeks held out, regret over them, and why there is none."""
    if not market.offers:
        return 0, None, "no_commitment_offer"
    if len(pool.needed) < 2 * HOURS_PER_WEEK:
        return 0, None, "too_few_weeks"
    found = backtest(pool.needed, market)
    regret = found.regret_ratio
    return len(found.stretches), None if regret is None else float(regret), "no_demand" if regret is None else None


def _break_even(offers: Sequence[Offer]) -> float | None:
    terms = sorted({offer.term_months for offer in offers})
    if len(terms) < 2:
        return None
    shortest, longest = (
        min((offer for offer in offers if offer.term_months == term), key=lambda offer: offer.fixed_usd_per_gpu_hour)
        for term in (terms[0], terms[-1])
    )
    return break_even_decline(longest, shortest)
