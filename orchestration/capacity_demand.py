"""Reads a demand from a CSV file: any hourly series of GPUs or tokens, one or several."""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sizing.demand import DemandError, gpu_demand

TIME_COLUMNS = ("ts", "timestamp", "hour_start_at", "hour", "time")
SERIES_COLUMNS = ("series", "pool", "name")
GPU_COLUMNS = ("gpus", "gpu_hours")
TOKEN_COLUMNS = ("tokens", "total_tokens", "output_tokens")
# Without a throughput tokens are counted in hundredths of their busiest hour: what is asked of them is a ratio then.
NEUTRAL_PEAK_GPUS = 100
_HOUR_SECONDS = 3600
_MOST_HOURS = 200_000  # 22 years


@dataclass(frozen=True, slots=True)
class DemandSeries:
    """One series: a value per hour, NaN where the file has none.

    Args:
        name: of the series, or of the file.
        gpus: per hour from `first_hour` on.
        first_hour: start of the first hour, UTC; None where the file counts seconds.
        unit: what a GPU is here, in words.
    """

    name: str
    gpus: NDArray[np.float64]
    first_hour: datetime | None
    unit: str

    @property
    def missing_hours(self) -> int:
        """Hours between the first and the last of which the file says nothing."""
        return int(np.isnan(self.gpus).sum())


def read_demand(
    path: Path, *, tokens_per_second_per_gpu: float | None = None, target_utilization: float = 0.8
) -> list[DemandSeries]:
    """The series of a file, in the order they appear.

    Columns: a time (ts, timestamp, hour_start_at, hour or time; ISO 8601, UTC where no zone is said, or seconds), gpus
    or tokens, and where there are several series their name (series, pool or name). Of rows within one hour tokens are
    summed and GPUs averaged.

    Args:
        path: the CSV file.
        tokens_per_second_per_gpu: turns tokens into GPUs; without it the busiest hour counts as NEUTRAL_PEAK_GPUS.
        target_utilization: most of that throughput to use over an hour.

    Raises:
        DemandError: names file, line and column, and what would do.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = {name.strip().lower(): name for name in reader.fieldnames or [] if name}
            time = _column(path, columns, TIME_COLUMNS, "a time")
            value = _column(path, columns, (*GPU_COLUMNS, *TOKEN_COLUMNS), "a demand")
            series = next((columns[name] for name in SERIES_COLUMNS if name in columns), None)
            is_tokens = value.strip().lower() in TOKEN_COLUMNS
            hours: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
            are_dates: set[bool] = set()
            for row in reader:
                if not any(row.values()):
                    continue
                second, is_date = second_of(path, reader.line_num, time, row[time])
                are_dates.add(is_date)
                number = _number(path, reader.line_num, value, row[value])
                name = (row[series] or "").strip() if series else path.stem
                hours[name][second // _HOUR_SECONDS].append(number)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DemandError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    if not hours:
        raise DemandError(f"{path}: no row of data; write one per hour")
    if len(are_dates) > 1:
        raise DemandError(f"{path}, {time}: some are instants and some are seconds; write one or the other")
    found = []
    for name, known in hours.items():
        values = _spread(path, name, known, is_tokens=is_tokens)
        first = datetime.fromtimestamp(min(known) * _HOUR_SECONDS, UTC) if True in are_dates else None
        if not is_tokens:
            found.append(DemandSeries(name, values, first, "GPUs"))
        elif tokens_per_second_per_gpu is not None:
            gpus = gpu_demand(
                values.tolist(),
                tokens_per_second_per_gpu=tokens_per_second_per_gpu,
                target_utilization=target_utilization,
            )
            found.append(DemandSeries(name, np.array(gpus), first, "GPUs"))
        else:
            peak = float(np.nanmax(values))
            gpus_of_peak = np.ceil(values * (NEUTRAL_PEAK_GPUS / peak) - 1e-9) if peak else values
            unit = f"{NEUTRAL_PEAK_GPUS}ths of the busiest hour (no throughput given)"
            found.append(DemandSeries(name, gpus_of_peak, first, unit))
    return found


def _spread(path: Path, name: str, known: Mapping[int, list[float]], *, is_tokens: bool) -> NDArray[np.float64]:
    first, last = min(known), max(known)
    if last - first >= _MOST_HOURS:
        raise DemandError(
            f"{path}, series {name}: the times span {(last - first) / 8766:,.0f} years; one of them is wrong"
        )
    values = np.full(last - first + 1, np.nan)
    for hour, numbers in known.items():
        values[hour - first] = sum(numbers) if is_tokens else sum(numbers) / len(numbers)
    if np.isnan(values).mean() > 0.5:
        raise DemandError(
            f"{path}, series {name}: {len(known)} of {len(values)} hours have a value; write a row for every hour "
            "(0 where nothing ran)"
        )
    return values


def _column(path: Path, columns: Mapping[str, str], names: tuple[str, ...], what: str) -> str:
    for name in names:
        if name in columns:
            return columns[name]
    raise DemandError(
        f"{path}: no column with {what}; call one {' or '.join(names)} (there are {', '.join(columns) or 'none'})"
    )


def second_of(path: Path, line: int, column: str, text: str | None, *, seconds_per_unit: int = 1) -> tuple[int, bool]:
    """A time as seconds, since 1970 where it is an instant, and whether it is; a number counts `seconds_per_unit`.

    Raises:
        DemandError: names file, line and column.
    """
    try:
        seconds = float(text or "") * seconds_per_unit
    except ValueError:
        pass
    else:
        if not (math.isfinite(seconds) and abs(seconds) < 1e11):
            raise DemandError(f"{path}, line {line}, {column}: {text!r} is no number of seconds")
        return math.floor(seconds), False
    try:
        moment = datetime.fromisoformat((text or "").strip())
    except ValueError:
        raise DemandError(
            f"{path}, line {line}, {column}: {text!r} is no time; write 2026-11-01T00:00Z or a number of seconds"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1), True


def _number(path: Path, line: int, column: str, text: str | None) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise DemandError(f"{path}, line {line}, {column}: {text!r}; write a number of 0 or more, or leave the row out")
    return number
