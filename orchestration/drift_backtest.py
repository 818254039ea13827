"""The drift detector and its explanation on worlds whose truth is known: what is found how soon, what is cried in vain.

Detection runs on simulated series and on the realKnownCause files of NAB, with the thresholds of the daily run. The
explanation runs through the project's own dbt models on worlds with one planted cause. docs/drift.md shows the output.
"""

import csv
import json
import math
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np

from orchestration.dbt_runs import DbtError, run_dbt
from orchestration.drift import SLOTS, Detector, Floats, Panel, State, Thresholds
from orchestration.drift_scores import read_thresholds
from orchestration.warehouse import Warehouse, write_run

# Log ratios by weekday: weekends with less traffic on the same GPUs are a quarter to a third dearer.
SEASON = np.array([0.0, 0.02, -0.01, 0.0, 0.03, 0.25, 0.30])
NOISE_KINDS = {
    "independent, normal": (0.0, None),
    "independent, heavy tails (t5)": (0.0, 5.0),
    "autocorrelation 0.3": (0.3, None),
    "autocorrelation 0.5": (0.5, None),
}
NOISE_SD = 0.03  # log ratio, day to day
SPEND_USD = 10_000.0
WARM_UP_DAYS = 210  # half a year of scores after five weeks of learning
WATCHED_DAYS = 500
STEP_SD = {"+1 sd": 1.0, "+10 %": math.log(1.10) / NOISE_SD}
SHIFTS = ("+1 sd", "+10 %", "+1 % a day")
LATEST_DAYS = {"+1 sd": 14, "+10 %": 3, "+1 % a day": 12}
LEAST_RUN_LENGTH_DAYS = 1000
WATCHED_FOR_SHIFT_DAYS = 60

CAUSES = ("price", "purchase_mix", "gpu_mix", "utilization", "efficiency", "cache")
WORLD_DAYS = 5  # four of reference and the day


class BacktestError(Exception):
    """The backtest cannot run, with the reason in words."""


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Alarms of series in which nothing happens."""

    noise: str
    alarms: int
    series_days: int

    @property
    def run_length_days(self) -> float:
        """Mean time between alarms per series."""
        return self.series_days / max(self.alarms, 1)


@dataclass(frozen=True, slots=True)
class Detection:
    """Days until a shift is found; a shift not found in WATCHED_FOR_SHIFT_DAYS counts as found on the last of them."""

    noise: str
    shift: str
    trials: int
    median_days: float
    mean_days: float
    found_in_time: float  # share of trials within LATEST_DAYS


# --- simulated series -------------------------------------------------------------------------------------------------


def noise(kind: str, series: int, days: int, rng: np.random.Generator) -> Floats:
    """Series of unit variance."""
    autocorrelation, degrees = NOISE_KINDS[kind]
    draws: Floats = rng.standard_normal((series, days))
    if degrees is not None:
        draws = np.asarray(rng.standard_t(degrees, (series, days)) / math.sqrt(degrees / (degrees - 2)))
    if autocorrelation:
        draws[:, 1:] *= math.sqrt(1 - autocorrelation**2)
        for day in range(1, days):
            draws[:, day] += autocorrelation * draws[:, day - 1]
    return draws


def seasonal(kind: str, series: int, days: int, rng: np.random.Generator, sd: float = NOISE_SD) -> Floats:
    """Log unit costs with a weekly season."""
    logs: Floats = sd * noise(kind, series, days, rng) + SEASON[np.arange(days) % 7]
    return logs


def panel_of(logs: Floats) -> Panel:
    """Complete days of one unit of volume at SPEND_USD times the unit cost."""
    return Panel(
        cost=SPEND_USD * np.exp(logs),
        volume=np.full(logs.shape, SPEND_USD),
        is_complete=np.ones(logs.shape, dtype=bool),
        is_present=np.ones(logs.shape, dtype=bool),
        minimum_volume=np.ones(len(logs)),
    )


def alone(thresholds: Thresholds) -> Thresholds:
    """Each simulated series stands for a ledger of its own: nothing is corrected for the others."""
    return replace(thresholds, false_discovery_rate=1.0)


def false_alarms(kind: str, *, series: int, seed: int, thresholds: Thresholds) -> FalseAlarms:
    """Alarms a series gives while nothing happens, after half a year of learning."""
    rng = np.random.default_rng(seed)
    logs = seasonal(kind, series, WARM_UP_DAYS + WATCHED_DAYS, rng)
    alarms = days = 0
    for scored in Detector(panel_of(logs), alone(thresholds)).run():
        if scored.day >= WARM_UP_DAYS:
            alarms += int(scored.is_alarm.sum())
            days += int(((scored.state == State.OK) | scored.is_alarm).sum())
    return FalseAlarms(kind, alarms, days)


def detection(kind: str, shift: str, *, series: int, seed: int, thresholds: Thresholds) -> Detection:
    """Days from the first shifted one to the first called drift, both included."""
    rng = np.random.default_rng(seed + 1)
    days = WARM_UP_DAYS + WATCHED_FOR_SHIFT_DAYS
    logs = seasonal(kind, series, days, rng)
    since = np.maximum(np.arange(days) - WARM_UP_DAYS + 1, 0)
    logs = (
        logs
        + {
            "+1 sd": NOISE_SD * (since > 0),
            "+10 %": math.log(1.10) * (since > 0),
            "+1 % a day": math.log(1.01) * since,
        }[shift]
    )
    found = np.full(series, WATCHED_FOR_SHIFT_DAYS)
    was_drifting = np.zeros(series, dtype=bool)
    for scored in Detector(panel_of(logs), alone(thresholds)).run():
        drifts = scored.state == State.DRIFT
        if scored.day == WARM_UP_DAYS - 1:
            was_drifting = drifts
        elif scored.day >= WARM_UP_DAYS:
            found = np.where(drifts, np.minimum(found, scored.day - WARM_UP_DAYS + 1), found)
    found = found[~was_drifting]
    return Detection(
        noise=kind,
        shift=shift,
        trials=len(found),
        median_days=float(np.median(found)),
        mean_days=float(found.mean()),
        found_in_time=float((found <= LATEST_DAYS[shift]).mean()),
    )


def constant_step(thresholds: Thresholds, *, step: float = 0.10) -> dict[int, bool]:
    """Whether a step of a constant series is found on the very day, by that day's number in the series."""
    found = {}
    for day in range(2, 11):
        logs = np.zeros((1, day))
        logs[0, -1] = math.log1p(step)
        last = list(Detector(panel_of(logs), thresholds).run())[-1]
        found[day] = bool(last.state[0] == State.DRIFT)
    return found


def least_detection_days(kind: str, shift_sd: float) -> float:
    """About what no detector can beat on average for a step of so many sd at the run length asked for.

    ln(run length) by the information of a day (Lorden 1971, for long run lengths), which is sd^2 / 2 x (1 - r) / (1
    + r) at autocorrelation r. Means of this backtest can lie below: delays are cut at WATCHED_FOR_SHIFT_DAYS.
    """
    autocorrelation, _ = NOISE_KINDS[kind]
    information = shift_sd**2 / 2 * (1 - autocorrelation) / (1 + autocorrelation)
    return math.log(LEAST_RUN_LENGTH_DAYS) / information


# --- NAB --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NabScore:
    """Score over the files by profile, and the detections."""

    scores: dict[str, float]
    windows: int
    windows_found: int
    detections: int
    files: int


def score_nab(folder: Path, thresholds: Thresholds) -> NabScore:
    """Scores the files of `folder`/data/realKnownCause by hour, with the thresholds as they are.

    The values are no money, so the least impact in USD falls away; a period is a day of 24 hours; a detection is an
    alarm, and after one a day passes without another. Scoring as NAB documents it.

    Raises:
        BacktestError: the folder does not hold NAB's files.
    """
    try:
        windows = json.loads((folder / "labels" / "combined_windows.json").read_bytes())
        profiles = json.loads((folder / "labels" / "profiles.json").read_bytes())
    except (OSError, ValueError) as error:
        raise BacktestError(f"{folder} holds no NAB labels: {error}") from None
    files = sorted((folder / "data" / "realKnownCause").glob("*.csv"))
    if not files:
        raise BacktestError(f"{folder} holds no data/realKnownCause/*.csv")
    totals: dict[str, float] = dict.fromkeys(profiles, 0.0)
    found = count = detected = 0
    for path in files:
        stamps, values = _read_nab(path)
        labelled = [
            (_position(stamps, begin), _position(stamps, end))
            for begin, end in windows.get(f"realKnownCause/{path.name}", [])
        ]
        hits = _nab_detections(stamps, values, thresholds)
        probation = min(int(0.15 * len(stamps)), 750)
        hits = [hit for hit in hits if hit >= probation]
        detected += len(hits)
        count += len(labelled)
        found += sum(any(begin <= hit <= end for hit in hits) for begin, end in labelled)
        for name, profile in profiles.items():
            totals[name] += nab_file_score(hits, labelled, profile["CostMatrix"])
    return NabScore(
        scores={
            name: 100.0
            * (totals[name] + profile["CostMatrix"]["fnWeight"] * count)
            / (count * (profile["CostMatrix"]["tpWeight"] + profile["CostMatrix"]["fnWeight"]))
            for name, profile in profiles.items()
        },
        windows=count,
        windows_found=found,
        detections=detected,
        files=len(files),
    )


def nab_file_score(hits: Sequence[int], windows: Sequence[tuple[int, int]], weights: dict[str, float]) -> float:
    """NAB's raw score of one file: rows detected, windows by their first and last row, weights of a profile."""
    score = 0.0
    for begin, end in windows:
        width = end - begin + 1
        inside = [_sigmoid(-(end - hit + 1) / width) for hit in hits if begin <= hit <= end]
        score += max(inside) / _sigmoid(-1.0) * weights["tpWeight"] if inside else -weights["fnWeight"]
    for hit in hits:
        if any(begin <= hit <= end for begin, end in windows):
            continue
        before = [(begin, end) for begin, end in windows if end < hit]
        if before:
            begin, end = before[-1]
            score += _sigmoid((hit - end) / max(end - begin, 1)) * weights["fpWeight"]
        else:
            score -= weights["fpWeight"]
    return score


def _sigmoid(position: float) -> float:
    """NAB's scaled sigmoid: 1 long before the end of a window, 0 at its end, -1 long after."""
    return -1.0 if position > 3.0 else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def _read_nab(path: Path) -> tuple[list[datetime], list[float]]:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [datetime.fromisoformat(row["timestamp"]) for row in rows], [float(row["value"]) for row in rows]


def _position(stamps: Sequence[datetime], text: str) -> int:
    return stamps.index(datetime.fromisoformat(text).replace(microsecond=0))


def _nab_detections(stamps: Sequence[datetime], values: Sequence[float], thresholds: Thresholds) -> list[int]:
    """Rows at which an alarm is known: the last row of its hour."""
    first = stamps[0].replace(minute=0, second=0, microsecond=0)
    hours = [int((stamp - first).total_seconds() // 3600) for stamp in stamps]
    shape = (1, hours[-1] + 1)
    total, rows = np.zeros(shape), np.zeros(shape)
    last_row: dict[int, int] = {}
    for row, (hour, value) in enumerate(zip(hours, values, strict=True)):
        total[0, hour] += value
        rows[0, hour] += 1
        last_row[hour] = row
    panel = Panel(cost=total, volume=rows, is_complete=total > 0, is_present=rows > 0, minimum_volume=np.zeros(1))
    limits = replace(
        alone(thresholds),
        impact_usd=0.0,
        impact_share=0.0,
        # As long a time between false alarms, in steps of an hour.
        point_alarm_days=thresholds.point_alarm_days * SLOTS["hour"],
        shift_alarm_days=thresholds.shift_alarm_days * SLOTS["hour"],
    )
    hits: list[int] = []
    quiet_until = 0
    for scored in Detector(panel, limits, slots=SLOTS["hour"]).run():
        if scored.is_alarm[0] and scored.day >= quiet_until:
            hits.append(last_row[scored.day])
            quiet_until = scored.day + SLOTS["hour"]
    return hits


# --- worlds with one cause --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CauseLine:
    """Worlds with one planted cause."""

    cause: str
    measures: int
    right: int
    mistaken_for: Counter[str]


@dataclass(frozen=True, slots=True)
class CauseReport:
    """How often the top cause is the planted one, and the largest difference between effects and change."""

    lines: list[CauseLine]
    largest_residual_usd: float


@dataclass(frozen=True, slots=True)
class WorldRow:
    """A day of a segment, in the columns of fct_inference_costs_hourly that drift reads."""

    usage_date: date
    deployment: str
    model: str
    provider: str
    gpu_model: str
    pricing_category: str
    gpu_hours: float
    utilization_ratio: float
    cost_usd: float
    total_tokens: int
    cached_input_tokens: int
    request_count: int


PLACES = (("h100", "aws", "H100-SXM-80GB", 5.0, 1.0), ("l40s", "gcp", "L40S-48GB", 1.6, 0.17))
RATE_SHARES = {"Committed": 0.55, "Standard": 1.0}


def planted_world(number: int, cause: str, rng: random.Random) -> list[WorldRow]:
    """Five days of a model on two GPU types bought in two ways; on the last one `cause` moves, by 15 % to 60 %.

    All other things waver by 1 %. The world is made of what happens (requests, cache hits, speed, idle time, prices),
    not of the factors of the explanation.
    """

    def waver() -> float:
        return math.exp(rng.gauss(0.0, 0.01))

    direction = rng.choice((1.0, -1.0))
    factor = math.exp(direction * rng.uniform(math.log(1.15), math.log(1.6)))
    cached, shift = rng.uniform(0.35, 0.5), direction * rng.uniform(0.2, 0.3)
    committed, on_first = rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.6)
    busy, requests = rng.uniform(0.4, 0.55), rng.uniform(2e5, 2e6)
    rows = []
    for day in range(WORLD_DAYS):
        is_last = day == WORLD_DAYS - 1

        def moved(value: float, name: str, *, by: float = factor, is_last: bool = is_last) -> float:
            return value * waver() * (by if is_last and cause == name else 1.0)

        share = on_first + (shift if is_last and cause == "gpu_mix" else 0.0)
        bought = committed + (shift if is_last and cause == "purchase_mix" else 0.0)
        hit = cached + (shift if is_last and cause == "cache" else 0.0)
        for place, (name, provider, gpu, rate, speed) in enumerate(PLACES):
            calls = requests * waver() * (share if place == 0 else 1.0 - share)
            tokens = 1_500.0 * calls * waver()
            used = moved(busy, "utilization")
            computed_per_hour = moved(4e6 * speed, "efficiency")
            gpu_hours = tokens * (1.0 - hit) / computed_per_hour / used
            for category, rate_share in RATE_SHARES.items():
                part = bought if category == "Committed" else 1.0 - bought
                rows.append(
                    WorldRow(
                        usage_date=date(2026, 1, 1) + timedelta(days=day),
                        deployment=f"world-{number}-{name}",
                        model=f"world-{number}",
                        provider=provider,
                        gpu_model=gpu,
                        pricing_category=category,
                        gpu_hours=round(gpu_hours * part, 6),
                        utilization_ratio=round(used, 8),
                        cost_usd=round(gpu_hours * part * moved(rate * rate_share, "price"), 8),
                        total_tokens=round(tokens * part),
                        cached_input_tokens=round(tokens * part * hit),
                        request_count=round(calls * part),
                    )
                )
    return rows


def explain_worlds(rows: Sequence[WorldRow], folder: Path) -> Path:
    """Runs the project's own models over worlds whose last day is to be explained by the others.

    Returns:
        The warehouse in `folder`, with fct_cost_drift_daily and fct_cost_drivers_daily.

    Raises:
        BacktestError: dbt failed.
    """
    warehouse = folder / "warehouse.duckdb"
    first, last = min(row.usage_date for row in rows), max(row.usage_date for row in rows)
    columns = list(WorldRow.__slots__)
    file = folder / "worlds.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([getattr(row, column) for column in columns] for row in rows)
    with Warehouse(warehouse).connect() as con:
        write_run(con, run_id="backtest", started_at=datetime.now(UTC), as_of_date=last)
        con.execute("create schema marts")
        con.execute(
            """
            create table marts.fct_inference_costs_hourly as
            select
                deployment, model, provider, 'r' as region, gpu_model, pricing_category,
                cast(usage_date as timestamptz) as hour_start_at, cast(usage_date as date) as usage_date,
                cast(gpu_hours as decimal(18, 6)) as gpu_hours, cast(cost_usd as decimal(38, 10)) as cost_usd,
                cast(utilization_ratio as decimal(9, 8)) as utilization_ratio, total_tokens, cached_input_tokens,
                request_count, 'engine_counters' as usage_basis, cast(1 as decimal(9, 8)) as usage_coverage_ratio
            from read_csv(?)
            """,
            [str(file)],
        )
    _dbt(folder, warehouse, "drift_thresholds", "stg_ledger__run", "int_cost_segments__daily", "int_cost_series__daily")
    with Warehouse(warehouse).connect() as con:
        con.execute(
            """
            insert into raw.cost_drift_scores by name
            select
                series_kind, series, measure, usage_date, cost_usd, volume, coverage_ratio, 'drift' as state,
                'level_shift' as method, true as is_alarm, usage_date as since_date, usage_date as pooled_from_date,
                0.01 as log_scale, 0 as cusum_up, 0 as cusum_down, 0 as shift_z, 0 as recovery
            from intermediate.int_cost_series__daily
            where usage_date = ? and volume > 0
            """,
            [last],
        )
        con.execute(
            """
            insert into raw.cost_drift_references
            select series_kind, series, measure, ?, usage_date
            from intermediate.int_cost_series__daily
            where usage_date < ? and usage_date >= ?
            """,
            [last, last, first],
        )
    rooms = ("staging", "intermediate", "marts")
    _dbt(folder, warehouse, *(f"path:models/{room}/drift,tag:after_drift" for room in rooms))
    return warehouse


def _dbt(folder: Path, warehouse: Path, *selected: str) -> None:
    build = ["build", "--full-refresh", "--resource-type", "model", "--resource-type", "seed", "--select", *selected]
    try:
        run_dbt(*build, warehouse=warehouse, folder=folder / "target")
    except DbtError as error:
        raise BacktestError(f"dbt failed: {str(error)[-4000:]}") from None


def backtest_causes(*, worlds: int, seed: int) -> CauseReport:
    """Explains worlds with one planted cause each, by token and by request."""
    rng = random.Random(f"{seed}/causes")  # noqa: S311 - no secret
    planted = {f"world-{number}": CAUSES[number % len(CAUSES)] for number in range(worlds)}
    rows = [row for number in range(worlds) for row in planted_world(number, planted[f"world-{number}"], rng)]
    with tempfile.TemporaryDirectory(prefix="drift-backtest-") as name:
        warehouse = explain_worlds(rows, Path(name))
        with duckdb.connect(str(warehouse), read_only=True) as con:
            named = con.execute(
                "select series, top_cause from marts.fct_cost_drift_daily where series_kind = 'model'"
            ).fetchall()
            ((residual,),) = con.execute(
                """
                select max(abs(drift.impact_usd_per_day - drivers.effect_usd_per_day))
                from marts.fct_cost_drift_daily as drift
                left join (
                    select series_kind, series, measure, sum(effect_usd_per_day) as effect_usd_per_day
                    from marts.fct_cost_drivers_daily
                    group by all
                ) as drivers using (series_kind, series, measure)
                """
            ).fetchall()
    lines = []
    for cause in CAUSES:
        answers = [top for series, top in named if planted[series] == cause]
        lines.append(
            CauseLine(
                cause=cause,
                measures=len(answers),
                right=answers.count(cause),
                mistaken_for=Counter(str(top) for top in answers if top != cause),
            )
        )
    return CauseReport(lines, float(residual))


# --- report -----------------------------------------------------------------------------------------------------------


def report(*, series: int, worlds: int, seed: int, nab: Path | None) -> Iterator[str]:
    """Runs everything and yields the lines as they are known."""
    thresholds = read_thresholds()
    yield f"Drift backtest, seed {seed}: {series} series of each kind, noise {NOISE_SD:.0%}, weekends a third dearer"
    yield f"False alarms (at least {LEAST_RUN_LENGTH_DAYS:,} days between two of a series)"
    for kind in NOISE_KINDS:
        quiet = false_alarms(kind, series=series, seed=seed, thresholds=thresholds)
        yield (
            f"  {kind:<30} {quiet.alarms:>4} alarms in {quiet.series_days:,} days: "
            f"{quiet.run_length_days:,.0f} days  {_bar(quiet.run_length_days >= LEAST_RUN_LENGTH_DAYS)}"
        )
    yield "Shifts found (days, the first shifted one included; bar: the median)"
    for shift in SHIFTS:
        for kind in NOISE_KINDS:
            found = detection(kind, shift, series=series, seed=seed, thresholds=thresholds)
            latest = LATEST_DAYS[shift]
            line = (
                f"  {shift:<10} {kind:<30} median {found.median_days:>4.0f}  mean {found.mean_days:>5.1f}  "
                f"within {latest}: {found.found_in_time:.0%}  {_bar(found.median_days <= latest)}"
            )
            if shift in STEP_SD and NOISE_KINDS[kind][0]:
                line += f" (best possible: {least_detection_days(kind, STEP_SD[shift]):.1f} on average)"
            yield line
    steps = constant_step(thresholds)
    yield f"+10 % on a constant series: found on the day itself from day {min(d for d, ok in steps.items() if ok)} on"
    if nab is not None:
        score = score_nab(nab, thresholds)
        words = ", ".join(f"{name} {value:.1f}" for name, value in score.scores.items())
        yield (
            f"NAB realKnownCause, {score.files} files by hour: {words}; "
            f"{score.windows_found} of {score.windows} windows, {score.detections} detections"
        )
    if worlds:
        explained = backtest_causes(worlds=worlds, seed=seed)
        total = sum(line.measures for line in explained.lines)
        right = sum(line.right for line in explained.lines)
        yield f"Top cause in {worlds:,} worlds with one planted cause, by token and by request"
        for cause in explained.lines:
            wrong = ", ".join(f"{count} as {name}" for name, count in cause.mistaken_for.most_common())
            yield f"  {cause.cause:<13} {cause.right} of {cause.measures}" + (f" ({wrong})" if wrong else "")
        yield f"  together {right / total:.1%}  {_bar(right / total >= 0.95)}"
        yield f"  largest difference between effects and change: {explained.largest_residual_usd:.10f} USD"


def _bar(holds: bool) -> str:
    return "holds" if holds else "does not hold"
