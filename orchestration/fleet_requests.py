"""Reads what a model is asked from a CSV file: sizes of requests and their rates, at one time or along a load curve."""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import multimode

from orchestration.capacity_demand import second_of
from sizing.choices import Demand
from sizing.demand import DemandError
from sizing.errors import SizingError
from sizing.throughput import Targets, Workload

_COLUMNS = ("input_tokens", "output_tokens", "requests_per_second")
# The first that is there; what a number in it counts, in seconds.
_TIME_COLUMNS = {"ts": 1, "hour": 3600}


@dataclass(frozen=True)
class RequestCurve:
    """What arrives, step by step.

    Args:
        demands: the sizes.
        rates: per step, size to requests per second; a size that is left out does not come in that step.
        step_seconds: length of a step; None where there is but one, which stands for all times.
        label: seconds from the first step on to the time in words.
    """

    demands: Sequence[Demand]
    rates: Sequence[dict[str, float]]
    step_seconds: int | None
    label: Callable[[int], str]

    @property
    def labels(self) -> list[str]:
        """The start of each step, in words."""
        return [self.label(step * (self.step_seconds or 0)) for step in range(len(self.rates))]

    @property
    def sizes(self) -> list[str]:
        """The sizes that arrive at all."""
        return [each.name for each in self.demands if any(step.get(each.name) for step in self.rates)]


def read_requests(path: Path, targets: Targets) -> RequestCurve:
    """Sizes of requests and how many a second arrive of each: input_tokens, output_tokens, requests_per_second.

    `bucket` names a size and `cached_input_tokens` says how much of the prompt a cache holds; both may be left out. So
    may a time, `ts` (ISO 8601, UTC where no zone is said, or seconds) or `hour` (the same, or a number of hours): then
    there is a row per step and size, and the steps follow each other evenly.

    Raises:
        DemandError: names file, line and what is wrong.
    """
    demands: dict[str, Demand] = {}
    steps: dict[int, dict[str, float]] = {}
    are_dates: set[bool] = set()
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or []
            missing = [name for name in _COLUMNS if name not in columns]
            if missing:
                raise DemandError(f"{path}: no column {', '.join(missing)}; needed are {', '.join(_COLUMNS)}")
            time = next((name for name in _TIME_COLUMNS if name in columns), None)
            for row in reader:
                demand, rate = _size(f"{path}, line {reader.line_num}", row, targets)
                second = 0
                if time is not None:
                    second, is_date = second_of(
                        path, reader.line_num, time, row[time], seconds_per_unit=_TIME_COLUMNS[time]
                    )
                    are_dates.add(is_date)
                step = steps.setdefault(second, {})
                if demand.name in step:
                    raise DemandError(
                        f"{path}, line {reader.line_num}: bucket {demand.name!r} is there already; add its rates up"
                    )
                if demands.setdefault(demand.name, demand) != demand:
                    raise DemandError(
                        f"{path}, line {reader.line_num}: bucket {demand.name!r} had another size in an earlier step; "
                        "give it another name"
                    )
                step[demand.name] = rate
    except (UnicodeDecodeError, csv.Error) as error:
        raise DemandError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    if len(are_dates) > 1:
        raise DemandError(f"{path}, {time}: some are instants and some are numbers; write one or the other")
    seconds = sorted(steps) or [0]

    def label(offset: int) -> str:
        return _words_of(seconds[0] + offset, time, is_date=True in are_dates)

    return RequestCurve(
        list(demands.values()),
        [steps.get(second, {}) for second in seconds],
        _step_seconds(path, seconds, label),
        label,
    )


def _size(place: str, row: dict[str, str], targets: Targets) -> tuple[Demand, float]:
    try:
        sizes = [float(row[name]) for name in _COLUMNS]
        workload = Workload(sizes[0], sizes[1], float(row.get("cached_input_tokens") or 0))
    except (TypeError, ValueError) as error:
        words = str(error) if isinstance(error, SizingError) else "a number is missing or is none"
        raise DemandError(f"{place}: {words}") from None
    if not (math.isfinite(sizes[2]) and sizes[2] >= 0):
        raise DemandError(f"{place}: {row['requests_per_second']} requests per second; write 0 or more")
    name = row.get("bucket") or f"{workload.input_tokens:g} + {workload.output_tokens:g}"
    return Demand(name, workload, targets), sizes[2]


def _step_seconds(path: Path, seconds: Sequence[int], label: Callable[[int], str]) -> int | None:
    """The distance of the steps, which is that of most of them; None for a single one."""
    if len(seconds) == 1:
        return None
    length = min(multimode(after - before for before, after in pairwise(seconds)))
    for before, after in pairwise(second - seconds[0] for second in seconds):
        if (after - before) % length:
            raise DemandError(
                f"{path}: the steps are not even: {label(after)} follows {label(before)}, while the others are "
                f"{length / 60:g} minutes apart"
            )
        if after - before > length:
            raise DemandError(
                f"{path}: the step {label(before + length)} is missing; write what arrives in it, one row with 0 "
                "requests_per_second where that is nothing"
            )
    return length


def _words_of(second: int, time: str | None, *, is_date: bool) -> str:
    if time is None:
        return "all times"
    if is_date:
        moment = datetime.fromtimestamp(second, UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S}" if moment.second else f"{moment:%Y-%m-%d %H:%M}"
    if time == "hour":
        return f"{second // 3600:02d}:{second % 3600 // 60:02d}" + (f":{second % 60:02d}" if second % 60 else "")
    return f"{second} s"
