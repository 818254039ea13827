"""The choice of commitments on weeks it did not know: a demand in a file, and the demand shapes of recorded traces.

The traces are shorter than a week, so weeks are made of them: `demand_shapes` says how. The output: docs/capacity.md.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestration.capacity_demand import NEUTRAL_PEAK_GPUS, DemandSeries
from sizing.commitments import Backtest, Market, Offer, backtest
from sizing.demand import DemandError

Floats = NDArray[np.float64]

MOST_REGRET = Decimal("0.05")
# The rates of the reference calculation (docs/capacity.md): 60 and 40 % off.
ON_DEMAND_USD = Decimal(4)
COMMITTED_USD = (Decimal("1.6"), Decimal("2.4"))
KEPT_WEEKS = 4

# How weeks are made of a recorded day. A client's level wanders from day to day and hours vary; weekends are quieter.
WEEKS = 26
_LEVEL_MEMORY = 0.9
_LEVEL_SD = 0.15  # a day, in logs: in the long run a client is within a third of its mean
_HOUR_SD = 0.15
_WEEKEND = 0.75
_LARGEST_CLIENTS = 8


@dataclass(frozen=True, slots=True)
class Trial:
    """One series at one rate."""

    series: str
    committed_usd: Decimal
    weekly: Backtest
    kept: Backtest | None  # each choice kept for KEPT_WEEKS; None where the series is too short

    @property
    def worst_ratio(self) -> Decimal:
        """Regret of the worst stretch."""
        return max(
            (each.cost_usd / each.foresight_usd - 1 for each in self.weekly.stretches if each.foresight_usd),
            default=Decimal(0),
        )


def run_trial(series: DemandSeries, committed_usd: Decimal, on_demand_usd: Decimal) -> Trial:
    """The backtest of a series, decided weekly, and with choices that are kept."""
    market = Market(on_demand_usd, [Offer("committed", 12, committed_usd)])
    weekly = backtest(series.gpus, market)
    kept = None
    if weekly.is_by_week and len(weekly.stretches) >= KEPT_WEEKS:
        kept = backtest(series.gpus, market, horizon_weeks=KEPT_WEEKS)
    return Trial(series.name, committed_usd, weekly, kept)


def report(
    demands: Mapping[str, Sequence[DemandSeries]], *, committed_usd: Sequence[Decimal], on_demand_usd: Decimal
) -> Iterator[str]:
    """Lines per series, and over the series of each source together; `demands` is source to series."""
    yield (
        f"Capacity backtest: on demand {on_demand_usd} USD per GPU-hour; each choice knows only the hours before it; "
        f"bar: regret of {MOST_REGRET:.0%} at most"
    )
    for rate in committed_usd:
        if rate > on_demand_usd:
            raise DemandError(
                f"the committed rate {rate} is above the on-demand rate {on_demand_usd}: nothing to choose"
            )
        for source, found in demands.items():
            yield f"{source}, committed at {rate} USD per GPU-hour ({1 - rate / on_demand_usd:.0%} off)"
            trials = []
            for series in found:
                try:
                    trials.append(run_trial(series, rate, on_demand_usd))
                except DemandError as error:
                    yield f"  {series.name:<28} {error}"
                else:
                    yield _line(trials[-1], series)
            if len(trials) > 1:
                yield _together(trials)


def _line(trial: Trial, series: DemandSeries) -> str:
    weekly = trial.weekly
    if weekly.regret_ratio is None:
        return f"  {trial.series:<28} no GPU was needed in what was held out"
    last = weekly.stretches[-1]
    kept = trial.kept.regret_ratio if trial.kept else None
    return (
        f"  {trial.series:<28} {len(weekly.stretches):>2} {'weeks' if weekly.is_by_week else 'days'} held out, "
        f"last commitment {last.committed_gpus} (best {last.foresight_gpus}), cost {weekly.cost_usd:,.2f}, "
        f"with foresight {weekly.foresight_usd:,.2f}, regret {weekly.regret_ratio:.1%} (worst {trial.worst_ratio:.1%}"
        + (f"; kept {KEPT_WEEKS} weeks {kept:.1%}" if kept is not None else "")
        + f")  {_bar(weekly.regret_ratio)}"
        + (f"; {series.missing_hours} hours unknown" if series.missing_hours else "")
    )


def _together(trials: Sequence[Trial]) -> str:
    cost = sum((trial.weekly.cost_usd for trial in trials), Decimal(0))
    foresight = sum((trial.weekly.foresight_usd for trial in trials), Decimal(0))
    regret = cost / foresight - 1 if foresight else Decimal(0)
    return f"  {'together':<28} regret {regret:.2%} of {foresight:,.2f}  {_bar(regret)}"


def _bar(regret: Decimal) -> str:
    return "holds" if regret <= MOST_REGRET else "does not hold"


# --- shapes of recorded traces ----------------------------------------------------------------------------------------


def demand_shapes(samples: Path, *, seed: int = 1) -> dict[str, list[DemandSeries]]:
    """Half a year of hours made of each recorded trace, the busiest hour counted as NEUTRAL_PEAK_GPUS.

    ServeGen (DeepSeek-R1, one day, 73 clients, requests per ten minutes): each client repeats its day at a level that
    wanders, and the demand is their sum: as it is, growing, shrinking, with a launch and with a loss; and the largest
    clients each alone. Azure (code completion, 57 minutes, prompt tokens per minute): its minutes, in stretches of six,
    stand for hours: as they come, and on a day with a night; the trace has no longer pattern.

    Args:
        samples: folder with usage/servegen and usage/azure-llm.
        seed: of the random numbers.

    Raises:
        DemandError: a folder is missing.
    """
    clients = read_servegen(samples / "usage" / "servegen" / "reason-deepseek-r1")
    minutes = read_azure(samples / "usage" / "azure-llm" / "AzureLLMInferenceTrace_code.csv")
    rng = np.random.default_rng(seed)
    largest = sorted(clients, key=lambda name: -clients[name].sum())[:_LARGEST_CLIENTS]
    everyone = np.array(list(clients.values()))
    weeks = np.arange(WEEKS * 7) / 7
    trends = {
        "all clients": np.ones(len(weeks)),
        "all, growing 3 % a week": 1.03**weeks,
        "all, growing 10 % a week": 1.10**weeks,
        "all, shrinking 3 % a week": 0.97**weeks,
        "all, half as much more once": np.where(weeks < WEEKS / 2, 1.0, 1.5),
        "all, half is lost once": np.where(weeks < WEEKS / 2, 1.0, 0.5),
    }
    servegen = {name: _wandering(everyone, trend, rng) for name, trend in trends.items()}
    servegen |= {
        f"client {name}": _wandering(clients[name][np.newaxis], trends["all clients"], rng) for name in largest
    }
    night = (np.sin((np.arange(24) - 9) / 24 * 2 * np.pi) + 1.2) / 2.2
    azure = {
        "minutes as hours": _resampled(minutes, np.ones(24), 1.0, rng),
        "with a night": _resampled(minutes, night, 1.0, rng),
        "with a night, growing 3 %": _resampled(minutes, night, 1.03, rng),
    }
    return {
        source: [DemandSeries(name, _scaled(values), None, "GPUs") for name, values in found.items()]
        for source, found in (("ServeGen", servegen), ("Azure", azure))
    }


def read_servegen(folder: Path) -> dict[str, Floats]:
    """Requests per hour of a day, 24 values per client, from its trace of ten-minute windows."""
    files = sorted(folder.glob("chunk-*-trace.csv"))
    if not files:
        raise DemandError(f"{folder}: no chunk-*-trace.csv of ServeGen")
    clients = {}
    for path in files:
        hours = np.zeros(24)
        with path.open(newline="", encoding="utf-8") as stream:
            for start_second, rate, *_ in csv.reader(stream):
                hours[int(float(start_second)) // 3600] += float(rate) * 600
        clients[path.name.split("-")[1]] = hours
    return clients


def read_azure(path: Path) -> Floats:
    """Prompt tokens per whole minute of the trace."""
    if not path.is_file():
        raise DemandError(f"{path}: no trace of Azure")
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [
            (datetime.fromisoformat(row["TIMESTAMP"][:26]), float(row["ContextTokens"]))  # noqa: DTZ007 - differences only
            for row in csv.DictReader(stream)
        ]
    first = rows[0][0]
    minutes = np.array([(moment - first).total_seconds() // 60 for moment, _ in rows], dtype=np.intp)
    tokens: Floats = np.bincount(minutes, [count for _, count in rows]).astype(np.float64)
    return tokens[:-1]


def _wandering(days: Floats, trend: Floats, rng: np.random.Generator) -> Floats:
    """`trend` has a value per day; `days` is clients x 24 hours."""
    level = np.zeros(len(days))
    hours = []
    for day, factor in enumerate(trend):
        level = _LEVEL_MEMORY * level + rng.normal(0, _LEVEL_SD, len(days))
        weekday = _WEEKEND if day % 7 >= 5 else 1.0
        noise = np.exp(rng.normal(0, _HOUR_SD, days.shape))
        hours.append((days * np.exp(level)[:, np.newaxis] * noise).sum(axis=0) * weekday * factor)
    return np.concatenate(hours)


def _resampled(minutes: Floats, day_shape: Floats, growth: float, rng: np.random.Generator) -> Floats:
    hours = []
    for day in range(WEEKS * 7):
        starts = rng.integers(0, len(minutes), 4)
        drawn = np.concatenate([np.take(minutes, range(start, start + 6), mode="wrap") for start in starts])
        weekday = _WEEKEND if day % 7 >= 5 else 1.0
        hours.append(drawn * day_shape * weekday * growth ** (day / 7) * np.exp(rng.normal(0, _LEVEL_SD)))
    return np.concatenate(hours)


def _scaled(values: Floats) -> Floats:
    gpus: Floats = np.ceil(values / values.max() * NEUTRAL_PEAK_GPUS)
    return gpus
