"""What counter increases must say, in plain Python: one series after the other, no SQL.

Written from the meaning: scrapes of a series are put in order, each is compared with the one before, and what it says
is counted in the hour of the middle of the time between.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

HOUR = timedelta(hours=1)
LOOK_BACK = timedelta(days=7)
YOUNG = timedelta(hours=3)
SECOND = timedelta(seconds=1)
LEAST_JUDGED = 15


@dataclass(frozen=True, slots=True)
class Reading:
    """A sample of one series. `metric` is the ledger's own name of what it counts."""

    replica: str
    engine: str
    metric: str
    scraped_at: datetime
    value: Decimal
    created_at: datetime | None
    started_at: datetime | None


@dataclass(slots=True)
class Hour:
    """What one replica counted in an hour; None: nothing was counted."""

    tokens: dict[str, Decimal]
    observed_seconds: Fraction = Fraction(0)
    active_seconds: Fraction = Fraction(0)
    window_count: int = 0
    quarantined_count: int = 0


@dataclass(frozen=True, slots=True)
class _Change:
    reading: Reading
    began_at: datetime
    amount: Decimal
    limit: Fraction | None  # what the GPUs could have made
    fell: bool

    @property
    def hour(self) -> datetime:
        middle = self.began_at + (self.reading.scraped_at - self.began_at) / 2
        return middle.replace(minute=0, second=0, microsecond=0)


def hours(
    readings: Iterable[Reading], tokens_per_second_per_gpu: dict[str, int], gpus: int
) -> dict[tuple[str, datetime], Hour]:
    """(replica, hour) -> what was counted in it."""
    changes = [change for series in _series(readings) for change in _changes(series, tokens_per_second_per_gpu, gpus)]
    unbelievable = {
        (change.reading.replica, change.reading.engine, change.reading.scraped_at)
        for change in changes
        if change.limit is not None and change.amount > change.limit
    }
    found: dict[tuple[str, datetime], Hour] = defaultdict(lambda: Hour({}))
    windows: dict[tuple[str, datetime, datetime], tuple[Fraction, bool]] = {}
    for change in changes:
        reading = change.reading
        hour = found[reading.replica, change.hour]
        if change.fell or (reading.replica, reading.engine, reading.scraped_at) in unbelievable:
            hour.quarantined_count += 1
            continue
        hour.tokens[reading.metric] = hour.tokens.get(reading.metric, Decimal(0)) + change.amount
        if reading.metric in ("prompt_tokens", "output_tokens"):
            place = (reading.replica, change.hour, reading.scraped_at)
            length, active = windows.get(place, (Fraction(0), False))
            seconds = Fraction((reading.scraped_at - change.began_at) // timedelta(microseconds=1), 1_000_000)
            windows[place] = (max(length, seconds), active or change.amount > 0)
    for (replica, at, _), (length, active) in windows.items():
        hour = found[replica, at]
        hour.window_count += 1
        hour.observed_seconds += length
        hour.active_seconds += length if active else 0
    return found


def _series(readings: Iterable[Reading]) -> Iterable[list[Reading]]:
    """The series in order of time; of readings of one instant the largest, for a counter only grows."""
    by_series: dict[tuple[str, str, str], dict[datetime, Reading]] = defaultdict(dict)
    for reading in readings:
        series = by_series[reading.replica, reading.engine, reading.metric]
        other = series.get(reading.scraped_at)
        if other is None or other.value < reading.value:
            series[reading.scraped_at] = reading
    for series in by_series.values():
        yield [series[at] for at in sorted(series)]


def _changes(series: list[Reading], bounds: dict[str, int], gpus: int) -> Iterable[_Change]:
    before: Reading | None = None
    for now in series:
        previous, before = before, now
        began = now.created_at or now.started_at
        if previous is not None and now.scraped_at - previous.scraped_at > LOOK_BACK:
            previous = None
        fell = False
        if previous is None:
            if began is None or now.scraped_at - began > YOUNG:
                continue  # how much of it is new nobody knows
            amount, since = now.value, min(began, now.scraped_at)
            judged_since = since
        else:
            judged_since = previous.scraped_at
            verdicts = [
                abs(mine - theirs) > SECOND
                for mine, theirs in ((now.created_at, previous.created_at), (now.started_at, previous.started_at))
                if mine is not None and theirs is not None
            ]
            if any(verdicts) or (now.value < previous.value and not verdicts):
                amount, since = now.value, previous.scraped_at
                if began is not None and began > since:
                    since = min(began, now.scraped_at)
            else:
                amount, since = now.value - previous.value, previous.scraped_at
                fell = amount < 0
        limit = None
        if now.metric in bounds:
            seconds = max(Fraction((now.scraped_at - judged_since) / SECOND), Fraction(LEAST_JUDGED))
            limit = bounds[now.metric] * gpus * seconds
        yield _Change(now, since, amount, limit, fell)
