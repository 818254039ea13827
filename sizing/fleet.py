"""The cheapest fleet of GPU types for a mix of request sizes, and how few GPUs a load can possibly be served with.

The integer program of Melange (Griggs et al., arXiv 2404.14527): requests are bucketed by input and output length; of
each bucket every GPU type serves so many per second within the latency target; each bucket's rate is cut into equal
slices, each of which one type serves; as many GPUs of a type are rented as their load, rounded up. Pure arithmetic on
top of HiGHS.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

Floats = NDArray[np.float64]

# HiGHS takes a row as kept that is broken by less: 1e-6 of a GPU are 4 ms an hour.
_TOLERANCE = 1e-6


class NoFleetError(ValueError):
    """No fleet of these types serves the load, with the reason in words."""


@dataclass(frozen=True, slots=True)
class GpuOption:
    """One rentable unit: a GPU, or the GPUs and machines of one replica.

    Args:
        name: such as L40S or 4xH100.
        usd_per_hour: price of one unit.
        max_requests_per_second: per bucket, what one unit serves within the latency target; 0 or absent: it cannot.
        stock: most units that can be had; None for any number.
    """

    name: str
    usd_per_hour: Decimal
    max_requests_per_second: Mapping[str, float]
    stock: int | None = None

    def __post_init__(self) -> None:
        if not (self.usd_per_hour.is_finite() and self.usd_per_hour >= 0):
            raise ValueError(f"{self.name}: usd_per_hour is {self.usd_per_hour}; write a price of 0 or more")
        if self.stock is not None and self.stock < 0:
            raise ValueError(f"{self.name}: stock is {self.stock}; write 0 or more, or leave it out")
        for bucket, rate in self.max_requests_per_second.items():
            if not (math.isfinite(rate) and rate >= 0):
                raise ValueError(f"{self.name}, bucket {bucket}: {rate} requests per second; write 0 or more")


@dataclass(frozen=True, slots=True)
class Fleet:
    """What to rent and who serves what.

    Args:
        units: GPU type to number of units; types that are not used are left out.
        shares: bucket to GPU type to share of the bucket's requests, summing to 1.
        usd_per_hour: price of all units.
        bound_usd_per_hour: no fleet that serves these slices is cheaper (proven by the solver).
        fluid_bound_usd_per_hour: no fleet at all is cheaper, however requests are divided: GPUs in fractions.
        gap_ratio: how far the price may be above the bound, relative to the price; 0 is proven optimal.
    """

    units: Mapping[str, int] = field(default_factory=dict)
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    usd_per_hour: Decimal = Decimal(0)
    bound_usd_per_hour: float = 0.0
    fluid_bound_usd_per_hour: float = 0.0
    gap_ratio: float = 0.0


def cheapest_fleet(
    requests_per_second: Mapping[str, float],
    options: Sequence[GpuOption],
    *,
    slices: int = 4,
    max_gap_ratio: float = 1e-4,
    time_limit_seconds: float = 4.0,
) -> Fleet:
    """The cheapest units that serve all buckets, types mixed as is best.

    Slices of a bucket are alike, so the program counts how many of them each type serves (an integer from 0 to
    `slices`) instead of a yes or no for each: exactly the same fleets, `slices` times fewer unknowns and no symmetry to
    search.

    Args:
        requests_per_second: bucket to rate; 0 is allowed.
        options: the types; a type that cannot keep the latency target for a bucket does not serve it.
        slices: equal parts into which each bucket's requests may be divided between types. 4 is Melange's choice.
        max_gap_ratio: stop when no fleet can be cheaper by more than this share; what was reached is in the result.
        time_limit_seconds: stop then with the best fleet so far.

    Raises:
        NoFleetError: a bucket that no type serves, or too little stock.
        ValueError: a rate that is negative or not a number.
    """
    if slices < 1:
        raise ValueError(f"slices is {slices}; write 1 or more")
    _require_unique([option.name for option in options])
    buckets = _buckets_in_use(requests_per_second)
    if not buckets:
        return Fleet()
    loads = _loads(requests_per_second, buckets, options)
    _require_served(buckets, loads)
    types, count = len(options), len(buckets)
    prices = np.array([float(option.usd_per_hour) for option in options])
    stock = np.array([np.inf if option.stock is None else option.stock for option in options])

    # Unknowns: slices of bucket b served by type g (b by b), then units of type g. In units of one slice.
    forbidden = np.isinf(loads)
    per_slice = np.where(forbidden, 0.0, loads) / slices
    all_served = np.hstack([np.kron(np.eye(count), np.ones(types)), np.zeros((count, types))])
    within_units = np.hstack([np.hstack([np.diag(row) for row in per_slice]), -np.eye(types)])
    constraints = [
        LinearConstraint(all_served, slices, slices),
        LinearConstraint(within_units, -np.inf, 0.0),
    ]
    bounds = Bounds(
        np.zeros((count + 1) * types), np.concatenate([np.where(forbidden, 0.0, float(slices)).ravel(), stock])
    )
    cost = np.concatenate([np.zeros(count * types), prices])
    fluid = milp(cost, constraints=constraints, bounds=bounds)
    solved = milp(
        cost,
        constraints=constraints,
        bounds=bounds,
        integrality=np.ones_like(cost),
        options={"mip_rel_gap": max_gap_ratio, "time_limit": time_limit_seconds},
    )
    if solved.x is None:
        if solved.status == 1:
            raise NoFleetError(
                f"no fleet was found in {time_limit_seconds:g} s; allow more time, fewer slices or fewer buckets"
            )
        raise NoFleetError(_too_little_stock(options))
    units = np.rint(solved.x[count * types :]).astype(int)
    assigned = np.rint(solved.x[: count * types]).reshape(count, types)
    total = sum((option.usd_per_hour * int(number) for option, number in zip(options, units, strict=True)), Decimal(0))
    return Fleet(
        units={option.name: int(number) for option, number in zip(options, units, strict=True) if number},
        shares={
            bucket: {options[which].name: part / slices for which, part in enumerate(parts) if part}
            for bucket, parts in zip(buckets, assigned.tolist(), strict=True)
        },
        usd_per_hour=total,
        bound_usd_per_hour=float(solved.mip_dual_bound),
        fluid_bound_usd_per_hour=float(fluid.fun),
        gap_ratio=max(0.0, (float(total) - float(solved.mip_dual_bound)) / float(total)) if total else 0.0,
    )


@dataclass(frozen=True, slots=True)
class SingleType:
    """The fleet of one type alone; `units` and `usd_per_hour` are None where it cannot serve, with the reason."""

    name: str
    units: int | None
    usd_per_hour: Decimal | None
    reason: str | None = None


def single_type_fleets(requests_per_second: Mapping[str, float], options: Sequence[GpuOption]) -> list[SingleType]:
    """Each type alone, the cheapest first, those that cannot last. What a mixed fleet is compared with."""
    buckets = _buckets_in_use(requests_per_second)
    loads = _loads(requests_per_second, buckets, options)
    found = []
    for which, option in enumerate(options):
        missed = [bucket for bucket, row in zip(buckets, loads, strict=True) if math.isinf(row[which])]
        if missed:
            reason = f"cannot keep the latency target for {', '.join(missed[:3])}" + (
                f" and {len(missed) - 3} more buckets" if len(missed) > 3 else ""
            )
            found.append(SingleType(option.name, None, None, reason))
            continue
        units = math.ceil(float(loads[:, which].sum()) - _TOLERANCE)
        if option.stock is not None and units > option.stock:
            found.append(SingleType(option.name, None, None, f"needs {units}, {option.stock} can be had"))
            continue
        found.append(SingleType(option.name, units, option.usd_per_hour * units))
    return sorted(found, key=lambda fleet: (fleet.usd_per_hour is None, fleet.usd_per_hour or 0, fleet.name))


def least_gpus(work_gpu_seconds: Sequence[float], *, step_seconds: float, max_delay_seconds: float) -> int:
    """GPUs with which no schedule, however clever, finishes a trace in time with one fewer.

    What arrives between two instants must be done `max_delay_seconds` after the second at the latest, so N GPUs have
    their distance plus the delay to do it: N >= work(a, b) / (b - a + delay) for each a < b.

    Args:
        work_gpu_seconds: per step of the trace, GPU-seconds that its requests take at full throughput.
        step_seconds: length of a step.
        max_delay_seconds: from arrival to last token, the most that is allowed.
    """
    work = np.asarray(work_gpu_seconds, dtype=np.float64)
    if not (step_seconds > 0 and max_delay_seconds >= 0):
        raise ValueError("step_seconds is above 0 and max_delay_seconds 0 or more")
    if not (np.isfinite(work).all() and (work >= 0).all()):
        raise ValueError("work_gpu_seconds holds a value that is negative or not a number")
    until = np.concatenate([[0.0], np.cumsum(work)])
    steps = np.arange(1, len(work) + 1)
    # The most work of any stretch of so many steps.
    most = np.array([(until[length:] - until[:-length]).max() for length in steps])
    needed = most / (steps * step_seconds + max_delay_seconds)
    return math.ceil(float(needed.max(initial=0.0)) - _TOLERANCE)


def _buckets_in_use(requests_per_second: Mapping[str, float]) -> list[str]:
    for bucket, rate in requests_per_second.items():
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"bucket {bucket}: {rate} requests per second; write 0 or more")
    return [bucket for bucket, rate in requests_per_second.items() if rate > 0]


def _loads(requests_per_second: Mapping[str, float], buckets: Sequence[str], options: Sequence[GpuOption]) -> Floats:
    """Units of each type (columns) that each bucket (rows) keeps busy; infinite where the type cannot serve it."""
    served = np.array(
        [[option.max_requests_per_second.get(bucket, 0.0) for option in options] for bucket in buckets]
    ).reshape(len(buckets), len(options))
    rates = np.array([requests_per_second[bucket] for bucket in buckets]).reshape(-1, 1)
    with np.errstate(divide="ignore"):
        loads: Floats = rates / served
    return loads


def _require_unique(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)}: named twice; each GPU type is one option")


def _require_served(buckets: Sequence[str], loads: Floats) -> None:
    lost = [bucket for bucket, row in zip(buckets, loads, strict=True) if not np.isfinite(row).any()]
    if lost:
        raise NoFleetError(
            f"no GPU type keeps the latency target for {', '.join(lost[:3])}"
            + (f" and {len(lost) - 3} more buckets" if len(lost) > 3 else "")
            + "; loosen it or add a faster type"
        )


def _too_little_stock(options: Sequence[GpuOption]) -> str:
    stocks = ", ".join(f"{option.stock} {option.name}" for option in options if option.stock is not None)
    return f"the stock ({stocks}) is too small for the load; more of one of these, or a type without limit, would do"
