"""The method `measured`: the roofline's factors fitted to the user's own points.

Maximum a posteriori with few points: each factor may leave 1 as far as its prior allows, so that three points suffice
and one odd point does not carry all of it away. How well it does: docs/sizing.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sizing.errors import SizingError
from sizing.throughput import Deployment, Factors, Floats, Roofline, Step, Workload, step_of

LEAST_POINTS = 3
# How far (in logarithms) the factors of memory, prefill, layers and sequences may leave 1, and how far one measurement
# lies off its deployment's curve: round values, chosen on silicon_sample.csv (2026-11-29). Between 0.7 and 1.4 times
# these the error after calibration moves by less than one percentage point.
_PRIOR_SD = np.array([0.3, 0.7, 0.5, 1.0])
_NOISE_SD = 0.12
_TTFT_PRIOR_SD = 1.0
_TTFT_NOISE_SD = 0.3
_ITERATIONS = 60


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: requests of one size at one concurrency."""

    workload: Workload
    concurrency: float
    tpot_ms: float
    ttft_ms: float | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot have been measured."""
        if not (self.concurrency > 0 and self.tpot_ms > 0 and (self.ttft_ms is None or self.ttft_ms > 0)):
            raise SizingError("a measured point needs a concurrency, tpot_ms and ttft_ms above 0")


def calibrate(deployment: Deployment, points: Sequence[Point]) -> Roofline:
    """Returns the estimator `measured` for one deployment.

    Raises:
        SizingError: fewer than three points.
    """
    if len(points) < LEAST_POINTS:
        raise SizingError(f"calibration needs {LEAST_POINTS} measured points or more; there are {len(points)}")
    steps = [step_of(deployment, point.workload, np.array([max(point.concurrency, 1.0)])) for point in points]
    parts = np.array([_parts(step) for step in steps])
    logs = _fit(parts, np.log(np.array([point.tpot_ms for point in points]) / 1e3))
    memory, prefill, layers, sequences = (float(value) for value in np.exp(logs))
    factors = Factors(memory, prefill, layers, sequences)
    return Roofline(
        Factors(memory, prefill, layers, sequences, _ttft_factor(deployment, points, factors)), method="measured"
    )


def _parts(step: Step) -> list[float]:
    return [float(part[0]) for part in (step.memory_and_compute, step.prefill, step.layers, step.sequences)]


def _fit(parts: Floats, measured_logs: Floats) -> Floats:
    """Minimises sum(soft((log(parts·e^x) - measured) / noise)²) + sum((x/prior)²) by damped Gauss-Newton; x are logs.

    soft(r) is r when small and grows like its root beyond 1: one odd point among three does not carry the rest away.
    """
    x = np.zeros(parts.shape[1])

    def residuals(at: Floats) -> Floats:
        gaps = (np.log(parts @ np.exp(at)) - measured_logs) / _NOISE_SD
        return np.concatenate([_soft(gaps), at / _PRIOR_SD])

    damping, now = 1e-3, residuals(x)
    for _ in range(_ITERATIONS):
        scaled = parts * np.exp(x)
        total = scaled.sum(axis=1, keepdims=True)
        gaps = (np.log(total[:, 0]) - measured_logs) / _NOISE_SD
        slopes = np.vstack([scaled / total * (_soft_slope(gaps) / _NOISE_SD)[:, None], np.diag(1 / _PRIOR_SD)])
        square = slopes.T @ slopes
        change = np.linalg.solve(square + damping * np.diag(np.diag(square)), -slopes.T @ now)
        trial = residuals(x + change)
        if trial @ trial < now @ now:
            x, now, damping = x + change, trial, damping / 3
        else:
            damping *= 5
        if np.abs(change).max() < 1e-6:
            break
    return x


def _soft(gaps: Floats) -> Floats:
    return np.asarray(np.sign(gaps) * np.sqrt(2 * (np.sqrt(1 + gaps**2) - 1)))


def _soft_slope(gaps: Floats) -> Floats:
    size = np.maximum(np.abs(gaps), 1e-9)
    return np.asarray(size / (np.sqrt(1 + size**2) * np.abs(_soft(size))))


def _ttft_factor(deployment: Deployment, points: Sequence[Point], factors: Factors) -> float:
    """One factor on the TTFT, drawn to 1 as far as its prior is narrower than what the points say."""
    uncorrected = Roofline(factors)
    gaps = []
    for point in points:
        if point.ttft_ms is None:
            continue
        curve = uncorrected.curve(deployment, point.workload, np.array([max(point.concurrency, 1.0)]))
        gaps.append(math.log(point.ttft_ms / float(curve.ttft_ms[0])))
    if not gaps:
        return 1.0
    weight = len(gaps) / _TTFT_NOISE_SD**2
    return math.exp(float(np.median(gaps)) * weight / (weight + 1 / _TTFT_PRIOR_SD**2))
