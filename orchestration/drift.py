"""Which daily unit costs drifted: expected value, band, point test and level-shift test, many series at once.

Pure arithmetic on arrays of series x days; the database is drift_scores.py's. It stands here and not in SQL because it
is sequential (a CUSUM that restarts, a shift that is held until it is gone or the new normal) and because its limits
come from a bootstrap. docs/drift.md says in words what each step does and shows the backtest.

A day is judged by earlier days and by the state that the day before left. So scoring the days since a window's start,
from the state kept of the day before, gives what scoring all of history gives.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NONE = -1_000_000  # no day
MAD_TO_SD = 1.4826  # of a normal distribution
SLOTS = {"weekday": 7, "hour": 24}  # slots of a period

REPLICATES = 256
REPLICATE_PERIODS = 10
CALIBRATED_AT_ONCE = 64  # series; bounds memory, 64 x 256 x 70 values
EULER_GAMMA = 0.5772156649
# Mean log of a normal score beyond the tenth that lies farthest out, over that border of 1.645.
NORMAL_TAIL_SPREAD = 0.212
TAIL_PRIOR_DAYS = 10


class State(IntEnum):
    """What became of a day of a series."""

    ABSENT = 0  # the series has no row that day
    INCOMPLETE = 1
    NO_TOKENS = 2
    LOW_TRAFFIC = 3  # waits until enough is pooled
    LEARNING = 4
    OK = 5
    DRIFT = 6


class Method(IntEnum):
    """Which test speaks."""

    NONE = 0
    POINT = 1
    LEVEL_SHIFT = 2


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The numbers of the seed `drift_thresholds`, which gives the reason of each. A period is a week of days."""

    reference_periods: int
    reference_minimum: int
    fallback_periods: int
    scale_floor: float
    point_z: float
    point_change: float
    impact_usd: float
    impact_share: float
    cusum_k: float
    cusum_floor: float
    history_periods: int
    independence_days: int
    independence_z: float
    dependence_factor: float
    winsor_z: float
    point_alarm_days: float
    shift_alarm_days: float
    hold_periods: int
    recovery_evidence: float
    false_discovery_rate: float
    low_traffic_share: float
    low_traffic_days: int
    learning_days: int
    learning_range: float
    learning_wide_days: int
    learning_wide_ranges: float


@dataclass(slots=True)
class Panel:
    """Series x days. Nothing is known of a day where `is_present` is false; cost and volume of others are finite."""

    cost: Floats  # USD
    volume: Floats  # in the unit of the measure
    is_complete: Bools
    is_present: Bools
    minimum_volume: Floats  # per series, same unit: less is pooled with the days after

    @property
    def shape(self) -> tuple[int, int]:
        """Number of series and of days."""
        return self.cost.shape[0], self.cost.shape[1]


@dataclass(slots=True)
class Carry:
    """What a day hands to the next, one value per series; days are columns of the panel."""

    level_from: Ints  # earlier days are no reference: another level held
    pool_from: Ints  # first day of what is pooled, NONE
    cusum_up: Floats
    cusum_down: Floats
    up_from: Ints  # since when the sum is above zero
    down_from: Ints
    shift_from: Ints  # first day of the shift that is held, NONE
    shift_z: Floats  # its size in scales
    recovery: Floats  # evidence that it is gone
    point_from: Ints  # first of consecutive point anomalies, NONE
    p_value: Floats  # of the alarm
    q_value: Floats
    seen: Ints  # last day with a row, NONE

    @classmethod
    def fresh(cls, series: int) -> "Carry":
        """Of series that were never seen."""
        none, zero, nan = np.full(series, NONE), np.zeros(series), np.full(series, np.nan)
        return cls(
            level_from=np.zeros(series, dtype=np.int64),
            pool_from=none.copy(),
            cusum_up=zero.copy(),
            cusum_down=zero.copy(),
            up_from=none.copy(),
            down_from=none.copy(),
            shift_from=none.copy(),
            shift_z=zero.copy(),
            recovery=zero.copy(),
            point_from=none.copy(),
            p_value=nan.copy(),
            q_value=nan.copy(),
            seen=none.copy(),
        )


@dataclass(slots=True)
class DayScores:
    """One day of all series; NaN and NONE where there is nothing to say."""

    day: int
    state: Ints
    method: Ints
    since: Ints
    is_alarm: Bools  # a drift that was none the day before
    log_expected: Floats
    log_scale: Floats
    z: Floats
    p_value: Floats
    q_value: Floats
    pooled_from: Ints  # first day of what was judged: the day itself, or earlier where traffic is low
    reference: Bools = field(repr=False)  # series x window: the days the expected value is made of
    reference_start: Ints = field(repr=False)  # day of the window's first column
    carry: Carry = field(repr=False)  # what it hands to the next day


class Detector:
    """Scores day after day; call `note` for days that were scored before, `score` for the days to score."""

    def __init__(self, panel: Panel, thresholds: Thresholds, *, slots: int = 7, carry: Carry | None = None) -> None:
        self.panel = panel
        self.limits = thresholds
        self.slots = slots
        self.window = thresholds.reference_periods * slots
        self.hold = thresholds.hold_periods * slots
        self.history = thresholds.history_periods * slots
        self.look_back = max(self.window + self.hold, self.history + slots) + slots
        series, days = panel.shape
        self.carry = carry if carry is not None else Carry.fresh(series)
        # As judged: a day of low traffic holds what was pooled up to it, a day not judged NaN. Days before the panel
        # begins are padding, so that every window is whole.
        self._pad = max(self.window + self.hold, self.history + slots) + slots
        shape = (series, self._pad + days)
        self._cost, self._volume, self._log, self._change, self._z = (np.full(shape, np.nan) for _ in range(5))
        self._excluded = np.zeros(shape, dtype=bool)
        self._rows = np.arange(series)[:, None]
        self._series = np.arange(series)

    # --- days that were scored before ---------------------------------------------------------------------------------

    def note(
        self, day: int, *, state: Ints, since: Ints, pooled_from: Ints, level_from: Ints, z: Floats, scale: Floats
    ) -> None:
        """Takes a day as it was scored: what later days need of it is whether and how it is a reference."""
        level_from = np.where(state != State.ABSENT, level_from, self.carry.level_from)
        self._lift(level_from > self.carry.level_from, level_from, day)
        self.carry.level_from = level_from
        judged = state >= State.LEARNING
        cost, volume = self._pooled(pooled_from, day)
        self._keep(day, judged, cost, volume)
        self._keep_scores(day, state == State.OK, z, z * scale)
        self._exclude(state == State.DRIFT, since, day)
        self._doubt((state == State.OK) & self._is_large(z, z * scale, cost), day)

    # --- days to score ------------------------------------------------------------------------------------------------

    def score(self, day: int) -> DayScores:
        """Scores `day` and carries the state on."""
        panel, carry = self.panel, self.carry
        present = panel.is_present[:, day]
        self._forget(present & (carry.seen != NONE) & (day - carry.seen > self.look_back))
        self._accept(day)

        has_tokens = present & (panel.volume[:, day] > 0)
        usable = has_tokens & panel.is_complete[:, day] & (panel.cost[:, day] > 0)
        judged, cost, volume, pooled_from = self._pool(day, usable)
        state = np.select(
            [~present, ~panel.is_complete[:, day], ~has_tokens, judged],
            [State.ABSENT, State.INCOMPLETE, State.NO_TOKENS, State.OK],
            State.LOW_TRAFFIC,
        ).astype(np.int64)

        is_held = carry.shift_from != NONE
        window_end = np.where(is_held, carry.shift_from, day)
        reference = self._reference(day, window_end)
        with np.errstate(divide="ignore", invalid="ignore"):
            actual = np.log(cost / volume)
            thin = np.sqrt(np.maximum(1.0, reference.volume / volume))
        judged = judged & np.isfinite(actual)
        scale = reference.scale * thin
        z = np.where(judged, (actual - reference.log_expected) / scale, np.nan)
        change = actual - reference.log_expected

        has_reference = judged & np.isfinite(z)
        mature = has_reference & reference.is_mature & ~is_held
        self._change[:, self._pad + day] = z * scale
        learning = judged & ~reference.is_mature & ~is_held
        self._sum_up(day, mature, z)
        p_point, p_shift, shift_change = self._evidence(day, mature, z, reference.residuals)
        p_value = np.where(mature, np.minimum(1.0, 2.0 * np.minimum(p_point, p_shift)), np.nan)
        q_value = benjamini_hochberg(p_value)
        passes = q_value <= self.limits.false_discovery_rate

        large = self._is_large(z, change, cost)
        point = mature & passes & large & (p_point <= 1.0 / self.limits.point_alarm_days)
        shift = mature & passes & (p_shift <= 1.0 / self.limits.shift_alarm_days)
        shift &= self._is_worth_it(shift_change, cost)
        early = learning & has_reference & self._stands_out(reference, actual)
        early &= (np.abs(np.expm1(change)) >= self.limits.point_change) & self._is_worth_it(change, cost)

        recovered = self._recover(is_held & has_reference, z)
        still_held = is_held & ~recovered
        self._begin_shift(day, shift, early, z, shift_change / reference.scale, p_value, q_value)
        point &= ~shift
        carry.point_from = np.where(
            judged, np.where(point, np.where(carry.point_from == NONE, day, carry.point_from), NONE), carry.point_from
        )

        held_now = (still_held & judged) | shift | early
        drift = held_now | point
        state[learning] = State.LEARNING
        state[drift] = State.DRIFT
        since = np.where(held_now, carry.shift_from, np.where(point, carry.point_from, NONE))
        method = np.where(held_now & ~early, Method.LEVEL_SHIFT, np.where(point | early, Method.POINT, Method.NONE))
        self._keep(day, judged, cost, volume)
        self._keep_scores(day, state == State.OK, z, z * scale)
        self._exclude(drift, since, day)
        self._doubt((state == State.OK) & large, day)
        carry.seen = np.where(present, day, carry.seen)
        return DayScores(
            day=day,
            state=state,
            method=method.astype(np.int64),
            since=since,
            is_alarm=shift | early | (point & (carry.point_from == day)),
            log_expected=np.where(judged, reference.log_expected, np.nan),
            log_scale=np.where(judged, scale, np.nan),
            z=z,
            p_value=np.where(still_held, carry.p_value, p_value),
            q_value=np.where(still_held, carry.q_value, q_value),
            pooled_from=np.where(judged, pooled_from, NONE),
            reference=reference.selected & judged[:, None],
            reference_start=window_end - self.window,
            carry=replace(carry, **{name: getattr(carry, name).copy() for name in Carry.__slots__}),
        )

    def run(self, first: int = 0) -> Iterator[DayScores]:
        """Scores every day of the panel from `first` on."""
        for day in range(first, self.panel.shape[1]):
            yield self.score(day)

    # --- traffic ------------------------------------------------------------------------------------------------------

    def _pool(self, day: int, usable: Bools) -> tuple[Bools, Floats, Floats, Ints]:
        """Adds the day to what waits; judged is what reaches the least volume."""
        carry, limits = self.carry, self.limits
        too_old = (carry.pool_from != NONE) & (day - carry.pool_from >= limits.low_traffic_days)
        carry.pool_from = np.where(too_old, NONE, carry.pool_from)
        pooled_from = np.where(carry.pool_from == NONE, day, carry.pool_from)
        cost, volume = self._pooled(pooled_from, day)
        recent = self._volume[:, self._pad + day - limits.fallback_periods * self.slots : self._pad + day]
        typical = _nan_median(recent)
        least = np.fmax(self.panel.minimum_volume, limits.low_traffic_share * typical)
        judged = usable & (volume >= least)
        carry.pool_from = np.where(judged, NONE, np.where(usable, pooled_from, carry.pool_from))
        return judged, np.where(judged, cost, np.nan), np.where(judged, volume, np.nan), pooled_from

    def _pooled(self, pooled_from: Ints, day: int) -> tuple[Floats, Floats]:
        """Cost and volume of the usable days from `pooled_from` to `day`."""
        panel = self.panel
        begin = max(0, day - self.limits.low_traffic_days)
        days = np.arange(begin, day + 1)
        inside = (days[None, :] >= pooled_from[:, None]) & (pooled_from[:, None] != NONE)
        part = (slice(None), slice(begin, day + 1))
        inside &= panel.is_complete[part] & (panel.volume[part] > 0) & panel.is_present[part]
        return (
            np.where(inside, panel.cost[part], 0.0).sum(axis=1),
            np.where(inside, panel.volume[part], 0.0).sum(axis=1),
        )

    def _keep(self, day: int, judged: Bools, cost: Floats, volume: Floats) -> None:
        column = self._pad + day
        self._cost[judged, column] = cost[judged]
        self._volume[judged, column] = volume[judged]
        with np.errstate(divide="ignore", invalid="ignore"):
            self._log[judged, column] = np.log(cost[judged] / volume[judged])

    def _keep_scores(self, day: int, is_ok: Bools, z: Floats, change: Floats) -> None:
        """Scores of days that are no drift calibrate the limits; changes of all days say how large a shift is."""
        column = self._pad + day
        self._change[:, column] = change
        self._z[:, column] = np.where(is_ok, z, np.nan)

    # --- what is expected ---------------------------------------------------------------------------------------------

    def _reference(self, day: int, window_end: Ints) -> "_Reference":
        """The middle half of the same weekdays, else of the last days; see docs/drift.md."""
        limits, slots = self.limits, self.slots
        columns = self._pad + window_end[:, None] - self.window + np.arange(self.window)[None, :]
        logs = self._log[self._rows, columns]
        is_out = self._excluded[self._rows, columns] | (columns - self._pad < self.carry.level_from[:, None])
        logs = np.where(is_out, np.nan, logs)
        cost, volume = self._cost[self._rows, columns], self._volume[self._rows, columns]

        by_slot = (len(logs), limits.reference_periods, slots)
        profile, count, middle = _middle(logs.reshape(by_slot), cost.reshape(by_slot), volume.reshape(by_slot))
        slot = (day - window_end) % slots
        own, own_count = profile[self._series, slot], count[self._series, slot]
        is_mature = own_count >= limits.reference_minimum

        recent = limits.fallback_periods * slots
        last, _, last_middle = _middle(logs[:, -recent:, None], cost[:, -recent:, None], volume[:, -recent:, None])
        selected = np.zeros(logs.shape, dtype=bool)
        own_middle = (middle & (np.arange(slots) == slot[:, None])[:, None, :]).reshape(logs.shape)
        selected[is_mature] = own_middle[is_mature]
        selected[~is_mature, -recent:] = last_middle[~is_mature, :, 0]
        days = np.maximum(selected.sum(axis=1), 1)

        residuals = logs.reshape(by_slot) - profile[:, None, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            # A mean of n days is off by 1/n of their variance, and they lie closer to their own mean by as much.
            residuals = residuals * np.sqrt((count + 1.0) / (count - 1.0))[:, None, :]
        residuals[~np.isfinite(residuals)] = np.nan
        around_last = logs[:, -recent:] - last
        spread = np.where(is_mature, _spread(residuals.reshape(logs.shape)), _spread(around_last))
        history = np.isfinite(logs)
        with np.errstate(invalid="ignore"):
            high = np.where(history, logs, -np.inf).max(axis=1)
            low = np.where(history, logs, np.inf).min(axis=1)
        scale = np.fmax(spread, limits.scale_floor)
        return _Reference(
            log_expected=np.where(is_mature, own, last[:, 0]),
            scale=scale,
            volume=np.where(selected, volume, 0.0).sum(axis=1) / days,
            is_mature=is_mature,
            selected=selected,
            residuals=residuals / scale[:, None, None],
            days=history.sum(axis=1),
            low=low,
            high=high,
        )

    def _stands_out(self, reference: "_Reference", actual: Floats) -> Bools:
        """Whether a young series left all it has ever been: at once where it was constant, else by a wide margin."""
        limits = self.limits
        width = np.where(reference.days > 0, reference.high - reference.low, np.inf)
        beyond = np.maximum(actual - reference.high, reference.low - actual)
        constant = (reference.days >= limits.learning_days) & (width <= limits.learning_range)
        wide = (reference.days >= limits.learning_wide_days) & (beyond > limits.learning_wide_ranges * width)
        return (constant & (beyond > limits.learning_range)) | wide

    def _is_large(self, z: Floats, change: Floats, cost: Floats) -> Bools:
        """What a point anomaly has to be, but for how rare it is."""
        with np.errstate(invalid="ignore"):
            far = (np.abs(z) > self.limits.point_z) & (np.abs(np.expm1(change)) > self.limits.point_change)
        return far & self._is_worth_it(change, cost)

    def _is_worth_it(self, change: Floats, cost: Floats) -> Bools:
        """Whether a log change is enough money a day."""
        with np.errstate(invalid="ignore"):
            impact = np.abs(cost * -np.expm1(-change))
            return impact > np.maximum(self.limits.impact_usd, self.limits.impact_share * cost)

    # --- level shifts -------------------------------------------------------------------------------------------------

    def _sum_up(self, day: int, mature: Bools, z: Floats) -> None:
        carry, k = self.carry, self.limits.cusum_k
        step = np.clip(np.where(mature, z, 0.0), -self.limits.winsor_z, self.limits.winsor_z)
        up = np.maximum(0.0, carry.cusum_up + step - k)
        down = np.maximum(0.0, carry.cusum_down - step - k)
        carry.up_from = np.where(
            mature, np.where(up > 0, np.where(carry.cusum_up > 0, carry.up_from, day), NONE), carry.up_from
        )
        carry.down_from = np.where(
            mature, np.where(down > 0, np.where(carry.cusum_down > 0, carry.down_from, day), NONE), carry.down_from
        )
        carry.cusum_up = np.where(mature, up, carry.cusum_up)
        carry.cusum_down = np.where(mature, down, carry.cusum_down)

    def _evidence(self, day: int, mature: Bools, z: Floats, residuals: Floats) -> tuple[Floats, Floats, Floats]:
        """How rare, by the series' own history, is the score of the day, and how rare the sum; and the shift's size.

        The first two as rates of false alarms a day, 1 where the value is nowhere near an alarm; the size as the median
        log change of the days since the sum left zero.
        """
        carry, limits = self.carry, self.limits
        is_up = carry.cusum_up >= carry.cusum_down
        height = np.where(is_up, carry.cusum_up, carry.cusum_down)
        began = np.where(is_up, carry.up_from, carry.down_from)
        change = np.zeros(len(height))
        is_high = mature & (height >= limits.cusum_floor)
        is_far = mature & (np.abs(np.nan_to_num(z)) > limits.point_z)
        p_point, p_shift = np.ones(len(height)), np.ones(len(height))
        (candidates,) = np.nonzero(is_high | is_far)
        for start in range(0, len(candidates), CALIBRATED_AT_ONCE):
            chosen = candidates[start : start + CALIBRATED_AT_ONCE]
            history = self._history(chosen, day, residuals[chosen])
            run_length = np.exp(self.log_run_length(history, height[chosen]))
            p_shift[chosen] = np.where(is_high[chosen], np.minimum(1.0, 1.0 / run_length), 1.0)
            p_point[chosen] = np.where(is_far[chosen], tail_probability(history, z[chosen]), 1.0)
        for series in np.nonzero(is_high)[0]:
            changes = self._change[series, self._pad + began[series] : self._pad + day + 1]
            change[series] = np.nanmedian(changes)
        return p_point, p_shift, change

    def _history(self, chosen: Ints, day: int, residuals: Floats) -> Floats:
        """The scores of the last half year where there are enough, else the residuals of the reference.

        The last period is left out: a shift among the scores would raise the limit that it is to pass.
        """
        end = self._pad + day - self.slots
        scores = self._z[chosen, end - self.history : end]
        young = np.full(scores.shape, np.nan)
        young[:, -self.window :] = residuals.reshape(len(chosen), -1)
        is_long = np.isfinite(scores).sum(axis=1) >= self.limits.independence_days
        history: Floats = np.where(is_long[:, None], scores, young)
        return history

    def log_run_length(self, history: Floats, height: Floats) -> Floats:
        """Log of the mean days until a sum of a series that does not shift first reaches `height`.

        Bootstrap: blocks of the series' own scores, drawn anew, make futures of ten periods. A second draw as long as
        the reference plays the reference: its mean is how far the expected value is off. The highest sums of the
        futures follow a Gumbel law, which carries on to run lengths beyond the futures. Blocks are single days where a
        long history shows no dependence between days: longer ones would only add noise to the limit. Else they are
        whole periods, and as these cut what reaches further, the run length is divided by `dependence_factor`.

        Args:
            history: series x days, in scales, a whole number of periods, the latest last; NaN where there is no score.
            height: per series.
        """
        limits, slots = self.limits, self.slots
        steps = np.clip(history, -limits.winsor_z, limits.winsor_z)
        steps = steps - np.nanmean(steps, axis=1, keepdims=True)
        is_long = np.isfinite(steps).sum(axis=1) >= limits.independence_days
        independent = is_long & (np.abs(autocorrelation_z(steps)) < limits.independence_z)
        rng = np.random.default_rng(20_261_101)
        run_length = np.empty(len(steps))
        for group, block, factor in ((independent, 1, 1.0), (~independent, slots, limits.dependence_factor)):
            if not group.any():
                continue
            blocks = _filled(steps[group].reshape(int(group.sum()), -1, block))
            # As many days in each draw, whatever the block.
            future = rng.integers(blocks.shape[1], size=(REPLICATES, REPLICATE_PERIODS * slots // block))
            past = rng.integers(blocks.shape[1], size=(REPLICATES, limits.reference_periods * slots // block))
            off = blocks.mean(axis=2)[:, past].mean(axis=2)
            paths = blocks[:, future].reshape(len(blocks), REPLICATES, -1) - off[:, :, None]
            highest = np.zeros(paths.shape[:2])
            for side in (1.0, -1.0):
                sums = np.cumsum(side * paths - limits.cusum_k, axis=2)
                floor = np.minimum(np.minimum.accumulate(sums, axis=2), 0.0)
                highest = np.maximum(highest, (sums - floor).max(axis=2))
            spread = np.maximum(highest.std(axis=1) * math.sqrt(6.0) / math.pi, 0.05)
            location = highest.mean(axis=1) - EULER_GAMMA * spread
            run_length[group] = math.log(paths.shape[2] / factor) + (height[group] - location) / spread
        return run_length

    def _begin_shift(
        self, day: int, shift: Bools, early: Bools, z: Floats, shift_z: Floats, p_value: Floats, q_value: Floats
    ) -> None:
        carry = self.carry
        began = np.where(carry.cusum_up >= carry.cusum_down, carry.up_from, carry.down_from)
        carry.shift_from = np.where(shift, began, np.where(early, day, carry.shift_from))
        carry.shift_z = np.where(shift, shift_z, np.where(early, z, carry.shift_z))
        carry.p_value = np.where(shift, p_value, np.where(early, np.nan, carry.p_value))
        carry.q_value = np.where(shift, q_value, np.where(early, np.nan, carry.q_value))
        self._restart(shift | early)

    def _restart(self, which: Bools) -> None:
        carry = self.carry
        for sums in (carry.cusum_up, carry.cusum_down, carry.recovery):
            sums[which] = 0.0
        for begins in (carry.up_from, carry.down_from):
            begins[which] = NONE

    def _recover(self, held: Bools, z: Floats) -> Bools:
        """Ends shifts that are gone: a sum of the log-likelihood ratio of the old level against the shifted one."""
        carry, winsor = self.carry, self.limits.winsor_z
        size = np.clip(carry.shift_z, -winsor, winsor)
        seen = np.clip(np.where(held, z, 0.0), -winsor, winsor)
        carry.recovery = np.where(held, np.maximum(0.0, carry.recovery + size * (size / 2 - seen)), carry.recovery)
        gone: Bools = held & (carry.recovery > self.limits.recovery_evidence)
        carry.shift_from[gone] = NONE
        self._restart(gone)
        return gone

    def _accept(self, day: int) -> None:
        """A shift that held long enough is the new normal: from now on only days since it began are references."""
        carry = self.carry
        accepted = (carry.shift_from != NONE) & (day - carry.shift_from >= self.hold)
        self._lift(accepted, carry.shift_from, day)
        carry.level_from = np.where(accepted, carry.shift_from, carry.level_from)
        carry.shift_from[accepted] = NONE
        self._restart(accepted)

    # --- days that are no reference -----------------------------------------------------------------------------------

    def _exclude(self, which: Bools, since: Ints, day: int) -> None:
        for series in np.nonzero(which)[0]:
            days = slice(max(0, self._pad + since[series]), self._pad + day + 1)
            self._excluded[series, days] = True
            self._z[series, days] = np.nan

    def _doubt(self, which: Bools, day: int) -> None:
        """A day that is large and not rare is no reference; as a score it shows how far the series goes by itself."""
        self._excluded[which, self._pad + day] = True

    def _lift(self, which: Bools, since: Ints, day: int) -> None:
        for series in np.nonzero(which)[0]:
            self._excluded[series, max(0, self._pad + since[series]) : self._pad + day] = False

    def _forget(self, which: Bools) -> None:
        """A series that was away for longer than a run looks back begins anew."""
        if which.any():
            fresh = Carry.fresh(len(which))
            for name in Carry.__slots__:
                getattr(self.carry, name)[which] = getattr(fresh, name)[which]


@dataclass(slots=True)
class _Reference:
    log_expected: Floats
    scale: Floats
    volume: Floats  # per reference day
    is_mature: Bools
    selected: Bools  # series x window
    residuals: Floats  # series x periods x slots, in scales
    days: Ints
    low: Floats
    high: Floats


def _middle(logs: Floats, cost: Floats, volume: Floats) -> tuple[Floats, Ints, Bools]:
    """Log unit cost of the middle half along axis 1, pooled: how it is, of how many days, and which those are.

    A quarter of the days, rounded down, is left out at either end. NaN where there is no day.
    """
    order = np.argsort(logs, axis=1, kind="stable")  # NaN last
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(logs.shape[1])[None, :, None], axis=1)
    count = np.isfinite(logs).sum(axis=1)
    cut = count // 4
    inside = (rank >= cut[:, None]) & (rank < (count - cut)[:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = np.log(np.where(inside, cost, 0.0).sum(axis=1) / np.where(inside, volume, 0.0).sum(axis=1))
    return pooled, count, inside


def _nan_median(values: Floats) -> Floats:
    """Median along axis 1 of what is finite; NaN where nothing is (without numpy's warning)."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    rows = np.arange(len(ordered))
    low, high = np.maximum((count - 1) // 2, 0), count // 2
    high = np.minimum(high, ordered.shape[1] - 1)
    return np.where(count > 0, (ordered[rows, low] + ordered[rows, high]) / 2, np.nan)


def _filled(blocks: Floats) -> Floats:
    """Series x blocks x days with copies of blocks that hold scores in place of those that hold none.

    A draw from the copies is a draw from the originals. A single missing score in a block stands for none either way.
    """
    empty = ~np.isfinite(blocks).any(axis=2)
    first = np.argsort(empty, axis=1, kind="stable")
    held = np.maximum((~empty).sum(axis=1), 1)
    chosen = np.take_along_axis(first, np.arange(blocks.shape[1])[None, :] % held[:, None], axis=1)
    return np.nan_to_num(np.take_along_axis(blocks, chosen[:, :, None], axis=1))


def _spread(residuals: Floats) -> Floats:
    """Standard deviation along axis 1 without what is wild: of the median deviation, and where tails are heavy of more.

    The larger of 1.4826 x MAD and of the root mean square of residuals cut at four times that.
    """
    robust = MAD_TO_SD * _nan_median(np.abs(residuals))
    cut = 4.0 * robust[:, None]
    count = np.maximum(np.isfinite(residuals).sum(axis=1), 1)
    square = np.nan_to_num(np.minimum(np.abs(residuals), cut)) ** 2
    result: Floats = np.fmax(robust, np.sqrt(square.sum(axis=1) / count))
    return result


def autocorrelation_z(steps: Floats) -> Floats:
    """Autocorrelation at one day, in its standard errors under independence; 0 where it cannot be said."""
    before, after = steps[:, :-1], steps[:, 1:]
    both = np.isfinite(before) & np.isfinite(after)
    pairs = both.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = np.where(both, before * after, 0.0).sum(axis=1) / pairs
        z = covariance / np.nanmean(steps**2, axis=1) * np.sqrt(pairs)
    result: Floats = np.where(np.isfinite(z), z, 0.0)
    return result


def tail_probability(history: Floats, z: Floats) -> Floats:
    """How often a score as far out as `z` comes, either side: the normal tail, or the series' own, heavier one.

    Its own: the tenth of the history that lies farthest out follows a power law, with Hill's exponent (1975). Of a few
    days that exponent is noise, so it is drawn towards the one that normal scores show beyond their tenth, as if that
    had been seen on TAIL_PRIOR_DAYS. A power law is too heavy for normal scores, on purpose: a false alarm costs more
    than a single day that is not called.
    """
    size = np.sort(np.abs(history), axis=1)  # NaN last
    count = np.isfinite(size).sum(axis=1)
    far = np.maximum(count // 10, 1)
    rows = np.arange(len(size))
    border = size[rows, np.maximum(count - far - 1, 0)]
    rank = np.arange(size.shape[1])[None, :]
    beyond = (rank >= (count - far)[:, None]) & (rank < count[:, None])
    reach = np.abs(z)
    with np.errstate(divide="ignore", invalid="ignore"):
        reached = np.where(beyond, np.log(size / border[:, None]), 0.0).sum(axis=1)
        spread = (reached + TAIL_PRIOR_DAYS * NORMAL_TAIL_SPREAD) / (far + TAIL_PRIOR_DAYS)
        own = far / count * (reach / border) ** (-1.0 / spread)
    own = np.where(np.isfinite(own), own, 0.0)
    normal = np.array([math.erfc(value / math.sqrt(2.0)) for value in reach])
    result: Floats = np.fmax(normal, np.where(reach > border, own, 1.0))
    return result


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Adjusted p-values of one run: rejecting those up to 0.05 keeps the expected share of false ones at 5 %.

    Benjamini and Hochberg 1995. NaN stays NaN and counts as no test.
    """
    adjusted = np.full(p_values.shape, np.nan)
    (tested,) = np.nonzero(np.isfinite(p_values))
    if len(tested):
        order = tested[np.argsort(p_values[tested], kind="stable")]
        ranked = p_values[order] * len(order) / np.arange(1, len(order) + 1)
        adjusted[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return adjusted
