"""Scores the cost series of the warehouse: reads `int_cost_series__daily`, writes `raw.cost_drift_scores`.

Only the days of the run's window are scored, from what was kept of the day before; see orchestration/drift.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from orchestration.drift import (
    NONE,
    DayScores,
    Detector,
    Ints,
    Method,
    Panel,
    State,
    Thresholds,
)
from orchestration.seeds import seed_rows

KEY = ["series_kind", "series", "measure"]
_DAYS = {  # column of the table: field of Carry
    "level_from_date": "level_from",
    "pool_from_date": "pool_from",
    "up_from_date": "up_from",
    "down_from_date": "down_from",
    "shift_from_date": "shift_from",
    "point_from_date": "point_from",
}
_NUMBERS = {
    "cusum_up": "cusum_up",
    "cusum_down": "cusum_down",
    "shift_z": "shift_z",
    "recovery": "recovery",
    "alarm_p_value": "p_value",
    "alarm_q_value": "q_value",
}


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """What a run scored."""

    series_count: int
    day_count: int
    drift_count: int  # series that drift on the last day
    restated_count: int


def read_thresholds() -> Thresholds:
    """The numbers of the seed `drift_thresholds` that detection needs."""
    rows = {row["threshold_id"]: float(row["value"]) for row in seed_rows("drift_thresholds")}
    values: dict[str, Any] = {
        each.name: int(rows[each.name]) if each.type is int else rows[each.name] for each in fields(Thresholds)
    }
    return Thresholds(**values)


def score_costs(con: duckdb.DuckDBPyConnection, *, rebuild: bool) -> ScoredRun:
    """Scores the days of the run's window, or with `rebuild` all days there are; one transaction."""
    thresholds = read_thresholds()
    window_start, as_of = con.execute("select window_start_date, as_of_date from raw.ledger_run").fetchall()[0]
    series = con.execute(
        f"""
        select {", ".join(KEY)}, usage_date, cast(cost_usd as double) as cost, cast(volume as double) as volume,
            cast(minimum_volume as double) as minimum_volume, is_complete
        from intermediate.int_cost_series__daily
        where usage_date <= ?
        order by all
        """,
        [as_of],
    ).df()
    first_day = as_of if series.empty else series["usage_date"].min().date()
    scored_from = first_day if rebuild else max(window_start, first_day)
    ledger = _Ledger(series, first_day, as_of, thresholds)
    if scored_from > first_day:
        ledger.resume(con, scored_from)
    days = list(ledger.detector.run(ledger.day(scored_from)))
    scores, references = ledger.rows(days)
    con.execute("begin")
    try:
        restated = _write(con, scores, references, date.min if rebuild else scored_from)
        con.execute("commit")
    except BaseException:
        con.execute("rollback")
        raise
    last = days[-1] if days else None
    return ScoredRun(
        series_count=len(ledger.keys),
        day_count=len(days),
        drift_count=int((last.state == State.DRIFT).sum()) if last else 0,
        restated_count=restated,
    )


class _Ledger:
    """The series as arrays, days counted from the first; and back."""

    def __init__(self, series: pd.DataFrame, first_day: date, as_of: date, thresholds: Thresholds) -> None:
        self.first_day = first_day
        self.keys = series[KEY].drop_duplicates().reset_index(drop=True)
        shape = (len(self.keys), (as_of - first_day).days + 1)
        rows, columns = self._places(series)
        panel = Panel(
            cost=np.zeros(shape),
            volume=np.zeros(shape),
            is_complete=np.zeros(shape, dtype=bool),
            is_present=np.zeros(shape, dtype=bool),
            minimum_volume=np.zeros(shape[0]),
        )
        panel.cost[rows, columns] = series["cost"]
        panel.volume[rows, columns] = series["volume"]
        panel.is_complete[rows, columns] = series["is_complete"]
        panel.is_present[rows, columns] = True
        panel.minimum_volume[rows] = series["minimum_volume"]
        self.detector = Detector(panel, thresholds)

    def day(self, value: date) -> int:
        """Column of a day."""
        return (value - self.first_day).days

    def _places(self, frame: pd.DataFrame) -> tuple[Ints, Ints]:
        index = pd.MultiIndex.from_frame(self.keys)
        return index.get_indexer(pd.MultiIndex.from_frame(frame[KEY])), self._columns(frame["usage_date"])

    def _columns(self, days: pd.Series) -> Ints:
        """Days as columns; NONE for none. A day before the first is beyond every window: a large negative column."""
        columns = (pd.to_datetime(days) - pd.Timestamp(self.first_day)).dt.days
        result: Ints = columns.fillna(NONE).astype(np.int64).to_numpy()
        return result

    def resume(self, con: duckdb.DuckDBPyConnection, scored_from: date) -> None:
        """Takes the days before `scored_from` as they were scored, and what the last of them handed on."""
        detector = self.detector
        look_back = scored_from - timedelta(days=detector.look_back)
        kept = con.execute(
            "select * from raw.cost_drift_scores where usage_date >= ? and usage_date < ? order by usage_date",
            [look_back, scored_from],
        ).df()
        rows, columns = self._places(kept)
        kept = kept[rows >= 0].reset_index(drop=True)  # a series that is no longer there is not carried on
        rows, columns = self._places(kept)
        codes = {state.name.lower(): int(state) for state in State}
        values = {
            "state": kept["state"].map(codes).to_numpy(dtype=np.int64),
            "since": self._columns(kept["since_date"]),
            "pooled_from": self._columns(kept["pooled_from_date"]),
            "level_from": self._columns(kept["level_from_date"]),
        }
        z_scores = kept["z_score"].to_numpy(dtype=np.float64)
        scales = kept["log_scale"].to_numpy(dtype=np.float64)
        bounds = np.searchsorted(columns, np.arange(self.day(scored_from) + 1))
        empty = {"state": int(State.ABSENT), "since": NONE, "pooled_from": NONE, "level_from": 0}
        for day in range(max(0, self.day(look_back)), self.day(scored_from)):
            part = slice(bounds[day], bounds[day + 1])
            noted = {name: np.full(len(self.keys), default) for name, default in empty.items()}
            for name, column in values.items():
                noted[name][rows[part]] = column[part]
            z, scale = np.full(len(self.keys), np.nan), np.full(len(self.keys), np.nan)
            z[rows[part]], scale[rows[part]] = z_scores[part], scales[part]
            detector.note(day, z=z, scale=scale, **noted)
        last = kept.groupby(KEY, sort=False).tail(1)
        rows, columns = self._places(last)
        carry = detector.carry
        for column, name in _DAYS.items():
            getattr(carry, name)[rows] = self._columns(last[column])
        for column, name in _NUMBERS.items():
            getattr(carry, name)[rows] = last[column].to_numpy(dtype=np.float64)
        carry.seen[rows] = columns

    def rows(self, days: Sequence[DayScores]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of the two tables, without the columns that come from the series itself."""
        if not days:
            return pd.DataFrame(), pd.DataFrame()
        state = np.stack([scored.state for scored in days])
        which, series = np.nonzero(state != State.ABSENT)

        def column(name: str, *, of_carry: bool = False) -> NDArray[Any]:
            values: NDArray[Any] = np.stack([getattr(day.carry if of_carry else day, name) for day in days])
            return values[which, series]

        number_of = np.array([scored.day for scored in days])
        scores = self.keys.iloc[series].assign(
            usage_date=self._dates(number_of[which]),
            state=np.array([each.name.lower() for each in State])[state[which, series]],
            method=np.array([None, *(each.name.lower() for each in Method if each)])[column("method")],
            is_alarm=column("is_alarm"),
            since_date=self._dates(column("since")),
            pooled_from_date=self._dates(column("pooled_from")),
            z_score=column("z"),
            log_scale=column("log_scale"),
            p_value=column("p_value"),
            q_value=column("q_value"),
            **{name: self._dates(column(field, of_carry=True)) for name, field in _DAYS.items()},
            **{name: column(field, of_carry=True) for name, field in _NUMBERS.items()},
        )
        which, series, offset = np.nonzero(np.stack([scored.reference for scored in days]))
        start = np.stack([scored.reference_start for scored in days])[which, series]
        references = self.keys.iloc[series].assign(
            usage_date=self._dates(number_of[which]), reference_date=self._dates(start + offset)
        )
        return scores, references

    def _dates(self, columns: Ints) -> NDArray[np.datetime64]:
        dates = np.datetime64(self.first_day, "D") + columns.astype("timedelta64[D]")
        return np.where(columns == NONE, np.datetime64("NaT"), dates).astype("datetime64[s]")


def _write(con: duckdb.DuckDBPyConnection, scores: pd.DataFrame, references: pd.DataFrame, scored_from: date) -> int:
    """Replaces the rows from `scored_from` on; returns how many days were restated.

    A day is restated when it was judged before, and cost or volume are other ones now. What it was first stays.
    """
    con.execute(
        "create or replace temp table judged_before as select * from raw.cost_drift_scores where usage_date >= ?",
        [scored_from],
    )
    con.execute("delete from raw.cost_drift_scores where usage_date >= ?", [scored_from])
    con.execute("delete from raw.cost_drift_references where usage_date >= ?", [scored_from])
    if scores.empty:
        return 0
    is_restated = (
        "before.restated_from_cost_usd is not null or (before.state in ('learning', 'ok', 'drift') "
        "and (before.cost_usd <> series.cost_usd or before.volume <> series.volume))"
    )
    con.register("scored", scores)
    con.register("referenced", references)
    con.execute(
        f"""
        insert into raw.cost_drift_scores by name
        select
            scored.*, series.cost_usd, series.volume, series.coverage_ratio, series.incomplete_reason,
            case when {is_restated} then coalesce(before.restated_from_cost_usd, before.cost_usd) end
                as restated_from_cost_usd,
            case when {is_restated} then coalesce(before.restated_from_volume, before.volume) end
                as restated_from_volume
        from scored
        inner join intermediate.int_cost_series__daily as series using ({", ".join(KEY)}, usage_date)
        left join judged_before as before using ({", ".join(KEY)}, usage_date)
        """
    )
    con.execute("insert into raw.cost_drift_references by name select * from referenced")
    con.unregister("scored")
    con.unregister("referenced")
    restated: int = con.execute(
        "select count(*) from raw.cost_drift_scores where usage_date >= ? and restated_from_cost_usd is not null",
        [scored_from],
    ).fetchall()[0][0]
    return restated
