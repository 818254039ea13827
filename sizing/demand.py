"""Demand for GPUs: from tokens per hour to GPUs per hour, as a load curve, and what the next weeks may ask for.

Pure arithmetic. A series holds one value per hour, in order; NaN where the hour is not known: unknown is not zero, such
hours are left out. docs/capacity.md says why the forecast is as it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOURS_PER_DAY = 24
HOURS_PER_WEEK = 168

# Weeks that the forecast looks back, and after how many a week counts half: round numbers; half-lives from two to five
# weeks do alike (docs/capacity.md).
WINDOW_WEEKS = 13
HALF_LIFE_WEEKS = 3.0


class DemandError(ValueError):
    """A demand that cannot be planned with, with the reason in words."""


def gpu_demand(
    tokens_per_hour: Sequence[float],
    *,
    tokens_per_second_per_gpu: float,
    target_utilization: float = 0.8,
    gpus_per_replica: int = 1,
    min_replicas: int = 0,
) -> list[float]:
    """GPUs that each hour's tokens need, in whole replicas; NaN stays NaN, no tokens need `min_replicas`.

    Args:
        tokens_per_hour: tokens of the kind the throughput counts (usually output, or input and output).
        tokens_per_second_per_gpu: throughput of one GPU at the planned batch, measured or estimated.
        target_utilization: most of the throughput to use on average over an hour; the rest is for bursts within it.
        gpus_per_replica: tensor x pipeline parallel size.
        min_replicas: kept warm in any hour.
    """
    if not (math.isfinite(tokens_per_second_per_gpu) and tokens_per_second_per_gpu > 0):
        raise DemandError(f"tokens_per_second_per_gpu is {tokens_per_second_per_gpu}; write a rate above 0")
    if not 0 < target_utilization <= 1:
        raise DemandError(f"target_utilization is {target_utilization}; write a share above 0, at most 1")
    if gpus_per_replica < 1 or min_replicas < 0:
        raise DemandError("gpus_per_replica is 1 or more, min_replicas 0 or more")
    tokens = _checked(tokens_per_hour)
    per_replica = 3600 * tokens_per_second_per_gpu * target_utilization * gpus_per_replica
    replicas = np.maximum(np.ceil(tokens / per_replica - 1e-9), min_replicas)
    result: list[float] = (replicas * gpus_per_replica).tolist()
    return result


@dataclass(frozen=True, slots=True)
class LoadCurve:
    """For how many hours how many GPUs are needed, the most first: what a commitment sees of a demand.

    Args:
        gpus: levels, falling, 0 or more.
        hours: weight of each level, above 0.
    """

    gpus: Floats
    hours: Floats

    @classmethod
    def of(cls, gpus_per_hour: Sequence[float] | Floats, hours: Sequence[float] | Floats | None = None) -> "LoadCurve":
        """The curve of a series; `hours` weighs its values, one hour each without it. Unknown hours are left out.

        Raises:
            DemandError: no hour is known, or a value is negative or infinite.
        """
        series = _checked(gpus_per_hour)
        weights = np.ones(len(series)) if hours is None else np.asarray(hours, dtype=np.float64)
        known = ~np.isnan(series) & (weights > 0)
        if not known.any():
            raise DemandError("no hour of the demand is known; give one value at least")
        levels, which = np.unique(series[known], return_inverse=True)
        summed: Floats = np.bincount(which, weights[known]).astype(np.float64)
        return cls(levels[::-1].copy(), summed[::-1].copy())

    @property
    def peak_gpus(self) -> float:
        """The highest level."""
        return float(self.gpus[0])

    @property
    def total_hours(self) -> float:
        """Sum of the weights."""
        return float(self.hours.sum())

    @property
    def gpu_hours(self) -> float:
        """Area under the curve."""
        return float(self.gpus @ self.hours)

    def hours_between(self, edges: Floats, *, of_share: float = 1.0) -> Floats:
        """GPU-hours of the demand that lie in each layer between two successive `edges`, in GPUs.

        With `of_share` those of a demand that is everywhere this share of it.
        """
        levels = self.gpus[::-1] * of_share  # rising
        weights = self.hours[::-1]
        # min(level, edge) summed over the hours: levels below the edge whole, the others cut at it.
        below = np.concatenate([[0.0], np.cumsum(levels * weights)])
        above = self.total_hours - np.concatenate([[0.0], np.cumsum(weights)])
        at = np.searchsorted(levels, edges, side="right")
        area: Floats = below[at] + above[at] * edges
        layers: Floats = np.maximum(np.diff(area), 0.0)
        return layers


def forecast(gpus_per_hour: Sequence[float] | Floats, *, horizon_weeks: int = 1) -> LoadCurve:
    """What an hour of the next weeks may need: a curve of as many hours as the horizon, made of the weeks there were.

    A week is its level (mean) times a shape. The next weeks have the last week's level, and the shape of any of the
    last WINDOW_WEEKS, recent ones weighing more. Growth is not extrapolated: docs/capacity.md has the trial. With less
    than two whole weeks the hours there are stand for those to come.

    Args:
        gpus_per_hour: the past, oldest first, ending with the present.
        horizon_weeks: how far ahead the plan must hold.

    Raises:
        DemandError: no known hour in it.
    """
    series = _checked(gpus_per_hour)
    hours = float(horizon_weeks * HOURS_PER_WEEK)
    count = min(len(series) // HOURS_PER_WEEK, WINDOW_WEEKS)
    weeks = series[len(series) - count * HOURS_PER_WEEK :].reshape(count, HOURS_PER_WEEK)
    weeks = weeks[~np.isnan(weeks).all(axis=1)]
    levels = np.nanmean(weeks, axis=1) if len(weeks) else np.zeros(0)
    if count < 2 or not levels.any():
        return _spread(LoadCurve.of(series), hours)
    used = levels > 0  # a week without load has no shape
    shapes = weeks[used] / levels[used, np.newaxis]
    ages = np.arange(len(levels))[::-1][used]
    return _spread(
        LoadCurve.of((shapes * levels[-1]).ravel(), np.repeat(0.5 ** (ages / HALF_LIFE_WEEKS), HOURS_PER_WEEK)), hours
    )


def _spread(curve: LoadCurve, hours: float) -> LoadCurve:
    """The same distribution over so many hours."""
    return LoadCurve(curve.gpus, curve.hours * (hours / curve.total_hours))


def _checked(values: Sequence[float] | Floats) -> Floats:
    series = np.asarray(values, dtype=np.float64)
    wrong = np.flatnonzero(np.isinf(series) | (series < 0))
    if len(wrong):
        raise DemandError(f"hour {wrong[0] + 1} of the demand is {series[wrong[0]]}; write 0 or more, or leave it out")
    return series
