"""The drift detector on series whose answer is known beforehand, and its bars on simulated ones."""

import math
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.drift import DayScores, Detector, Method, Panel, State, benjamini_hochberg
from orchestration.drift_backtest import (
    LEAST_RUN_LENGTH_DAYS,
    BacktestError,
    constant_step,
    detection,
    false_alarms,
    nab_file_score,
    panel_of,
    score_nab,
    seasonal,
)
from orchestration.drift_scores import read_thresholds, score_costs
from orchestration.warehouse import Warehouse, write_run

LIMITS = read_thresholds()
NORMAL = "independent, normal"


def scores_of(panel: Panel) -> list[DayScores]:
    return list(Detector(panel, LIMITS).run())


def states(scores: list[DayScores], series: int = 0) -> list[State]:
    return [State(int(scored.state[series])) for scored in scores]


def quiet(days: int, seed: int = 5) -> np.ndarray:
    return seasonal(NORMAL, 1, days, np.random.default_rng(seed))


# --- young series -----------------------------------------------------------------------------------------------------


def test_a_tenth_more_on_a_constant_series_is_found_from_the_fourth_day_on() -> None:
    assert constant_step(LIMITS) == {2: False, 3: False} | dict.fromkeys(range(4, 11), True)
    assert not any(constant_step(LIMITS, step=0.09).values())  # less than point_change, 10 %


def test_a_constant_series_that_stays_so_never_drifts() -> None:
    assert set(states(scores_of(panel_of(np.zeros((1, 200)))))) == {State.LEARNING, State.OK}


def test_a_young_seasonal_series_does_not_call_its_first_weekend_a_drift() -> None:
    found = states(scores_of(panel_of(quiet(84))))
    assert set(found[:35]) == {State.LEARNING}
    assert set(found[35:]) == {State.OK}


# --- days that are no unit cost ---------------------------------------------------------------------------------------


def test_days_without_tokens_and_incomplete_days_wait_and_do_not_count() -> None:
    logs = quiet(120)
    panel = panel_of(logs)
    panel.volume[0, 100] = 0.0  # the GPUs cost as much as ever
    panel.cost[0, 101] *= 3
    panel.is_complete[0, 101] = False
    found = scores_of(panel)
    assert states(found)[99:103] == [State.OK, State.NO_TOKENS, State.INCOMPLETE, State.OK]
    assert math.isnan(found[100].z[0])
    assert math.isnan(found[101].z[0])
    plain = scores_of(panel_of(logs))
    assert found[102].log_expected[0] == plain[102].log_expected[0]
    assert found[107].log_expected[0] == pytest.approx(plain[107].log_expected[0], abs=0.02)  # a week after the first


def test_low_traffic_is_pooled_until_it_is_enough() -> None:
    """Four tenths of the least volume a day: 0.4, 0.8, then 1.2 is enough; and again."""
    panel = panel_of(np.zeros((1, 46)))
    panel.minimum_volume[:] = 1_000.0
    panel.volume[0, 40:] = panel.cost[0, 40:] = 400.0
    found = scores_of(panel)
    waiting = [State.LOW_TRAFFIC, State.LOW_TRAFFIC, State.OK]
    assert states(found)[40:] == waiting * 2
    assert [int(found[day].pooled_from[0]) for day in (42, 45)] == [40, 43]


def test_fewer_tokens_widen_the_band_by_the_root_of_the_ratio() -> None:
    panel = panel_of(quiet(120))
    panel.volume[0, 119] /= 4
    panel.cost[0, 119] /= 4
    thin, full = scores_of(panel)[119], scores_of(panel_of(quiet(120)))[119]
    assert thin.log_scale[0] == pytest.approx(2 * full.log_scale[0])


# --- one shift --------------------------------------------------------------------------------------------------------


def test_one_shift_is_one_alarm_is_held_and_becomes_the_new_normal() -> None:
    logs = quiet(300)
    logs[0, 200:] += math.log(1.2)
    found = scores_of(panel_of(logs))
    alarms = [scored.day for scored in found if scored.is_alarm[0] and scored.method[0] == Method.LEVEL_SHIFT]
    assert len(alarms) == 1
    began = int(found[alarms[0]].since[0])
    assert 197 <= began <= 200 <= alarms[0] <= 202
    held = {scored.day for scored in found if scored.state[0] == State.DRIFT}
    assert set(range(alarms[0], began + 35)) <= held  # five weeks
    assert states(found)[began + 35 :] == [State.OK] * (300 - began - 35)
    # What is expected rises with the acceptance, and only then.
    assert found[began + 34].log_expected[0] == pytest.approx(logs[0, began - 7 * 16 - 1 : began : 7].mean(), abs=0.05)
    assert found[began + 41].log_expected[0] == pytest.approx(found[began + 34].log_expected[0] + 0.18, abs=0.05)


def test_a_shift_that_goes_away_ends_and_is_no_reference() -> None:
    logs = quiet(300)
    logs[0, 200:212] += math.log(1.2)
    found = scores_of(panel_of(logs))
    last = max(scored.day for scored in found if scored.state[0] == State.DRIFT)
    assert 211 <= last <= 214
    assert sum(int(scored.is_alarm[0]) for scored in found) <= 2  # the day itself, and the level
    before, after = found[199].log_expected[0], found[227].log_expected[0]  # the same weekday
    assert after == pytest.approx(before, abs=0.02)


def test_one_wild_day_is_a_point_and_no_level() -> None:
    logs = quiet(230)
    logs[0, 210] += math.log(1.6)
    found = scores_of(panel_of(logs))
    drifts = [(scored.day, scored.method[0], scored.since[0]) for scored in found if scored.state[0] == State.DRIFT]
    assert drifts == [(210, Method.POINT, 210)]


def test_little_money_is_no_finding() -> None:
    logs = quiet(230)
    logs[0, 210:] += math.log(1.5)
    panel = panel_of(logs)
    panel.cost /= 500.0  # 20 USD a day: half more is 10 USD, below 25
    panel.volume /= 500.0
    assert State.DRIFT not in states(scores_of(panel))


def test_a_series_that_was_away_for_long_begins_anew() -> None:
    panel = panel_of(quiet(320))
    panel.is_present[0, 60:310] = False
    found = states(scores_of(panel))
    assert set(found[60:310]) == {State.ABSENT}
    assert set(found[310:]) == {State.LEARNING}


# --- many series ------------------------------------------------------------------------------------------------------


def test_benjamini_hochberg_by_hand() -> None:
    """Ranks 1 to 4 of 4: 0.005 x 4, 0.01 x 4 / 2, 0.03 x 4 / 3, 0.04; each no more than what follows."""
    found = benjamini_hochberg(np.array([0.01, np.nan, 0.04, 0.03, 0.005]))
    assert found == pytest.approx([0.02, np.nan, 0.04, 0.04, 0.02], nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusting_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    p = np.array(p_values)
    q = benjamini_hochberg(p)
    assert (q >= p * (1 - 1e-12)).all()
    assert (q <= 1).all()
    assert (np.diff(q[np.argsort(p, kind="stable")]) >= 0).all()


def test_a_finding_among_many_series_has_to_be_rarer() -> None:
    """The same series, alone and among 100 in which nothing happens."""
    rng = np.random.default_rng(3)
    logs = seasonal(NORMAL, 101, 230, rng)
    logs[0, 215:] += 0.06
    among = scores_of(panel_of(logs))
    apart = scores_of(panel_of(logs[:1]))
    first = [next(s.day for s in scores if s.state[0] == State.DRIFT and s.day >= 210) for scores in (apart, among)]
    assert first[0] <= first[1]
    assert among[first[0]].q_value[0] > apart[first[0]].q_value[0]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.floats(1.0, 1000.0))
def test_units_and_order_of_the_series_do_not_matter(seed: int, factor: float) -> None:
    """Another unit of volume scales unit costs and nothing else; series do not know of each other's place."""
    logs = seasonal(NORMAL, 4, 90, np.random.default_rng(seed))
    plain, scaled = panel_of(logs), panel_of(logs)
    scaled.volume *= factor
    order = np.array([2, 0, 3, 1])
    turned = panel_of(logs[order])
    for one, other, moved in zip(scores_of(plain), scores_of(scaled), scores_of(turned), strict=True):
        assert (one.state == other.state).all()
        np.testing.assert_allclose(one.z, other.z, atol=1e-8)
        assert (one.state[order] == moved.state).all()


# --- the bars ---------------------------------------------------------------------------------------------------------


def test_false_alarms_are_rare_and_shifts_are_found_in_time() -> None:
    """A small edition of `inference-ledger backtest-drift`, which prints the bars on more series and other noise."""
    alarms = false_alarms(NORMAL, series=40, seed=1, thresholds=LIMITS)
    assert alarms.series_days > 15_000
    assert alarms.run_length_days >= LEAST_RUN_LENGTH_DAYS
    for shift, latest in (("+1 sd", 14), ("+10 %", 3), ("+1 % a day", 12)):
        found = detection(NORMAL, shift, series=60, seed=1, thresholds=LIMITS)
        assert found.trials > 50
        assert found.median_days <= latest, shift


def test_nab_scoring_by_hand() -> None:
    """NAB's documents: 0.848 in the middle of a window, 0 at its end, -0.11 for noise, -1 for a miss."""
    weights = {"tpWeight": 1.0, "fnWeight": 1.0, "fpWeight": 0.11}
    window = [(100, 199)]
    assert nab_file_score([100], window, weights) == pytest.approx(1.0)
    assert nab_file_score([150], window, weights) == pytest.approx(0.848 / 0.987, abs=1e-3)
    assert nab_file_score([150, 190], window, weights) == pytest.approx(0.848 / 0.987, abs=1e-3)  # the earliest
    assert nab_file_score([], window, weights) == -1.0
    assert nab_file_score([10], window, weights) == pytest.approx(-1.11)
    assert nab_file_score([199 + 99 * 4], window, weights) == pytest.approx(-1.11)  # long after
    assert -1.11 < nab_file_score([200], window, weights) < -1.0  # just after


def test_nab_files_are_scored_with_the_thresholds_as_they_are(samples: Path, tmp_path: Path) -> None:
    """The shortest file of realKnownCause: two weeks of request latency, three labelled windows."""
    sample = samples / "anomaly" / "nab"
    shutil.copytree(sample / "labels", tmp_path / "labels")
    data = tmp_path / "data" / "realKnownCause"
    data.mkdir(parents=True)
    shutil.copy(sample / "data" / "realKnownCause" / "ec2_request_latency_system_failure.csv", data)
    found = score_nab(tmp_path, LIMITS)
    assert (found.files, found.windows) == (1, 3)
    assert set(found.scores) == {"standard", "reward_low_FP_rate", "reward_low_FN_rate"}
    assert all(value <= 100 for value in found.scores.values())
    with pytest.raises(BacktestError, match="NAB"):
        score_nab(tmp_path / "nowhere", LIMITS)


# --- in the warehouse -------------------------------------------------------------------------------------------------

FIRST = date(2026, 3, 2)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb")


def fill(con: duckdb.DuckDBPyConnection, panel: Panel, *, until: int | None = None) -> None:
    """`int_cost_series__daily` as dbt would leave it, up to day `until`; the last of several series stops at 80."""
    con.execute("create schema if not exists intermediate")
    con.execute(
        """
        create or replace table intermediate.int_cost_series__daily (
            series_kind varchar, series varchar, measure varchar, usage_date date, cost_usd decimal(38, 10),
            volume decimal(28, 6), minimum_volume decimal(18, 6), coverage_ratio decimal(9, 8), is_complete boolean,
            incomplete_reason varchar)
        """
    )
    series, days = panel.shape
    rows = [
        (
            "model",
            f"m{number}",
            "cost_usd_per_request",
            FIRST + timedelta(days=day),
            round(panel.cost[number, day], 6),
            round(panel.volume[number, day], 6),
            1000,
            1,
            bool(panel.is_complete[number, day]),
            None,
        )
        for number in range(series)
        for day in range(days if until is None else until)
        if not (series > 1 and number == series - 1 and day > 80)
    ]
    if rows:
        con.executemany(f"insert into intermediate.int_cost_series__daily values ({', '.join('?' * 10)})", rows)


def run_day(con: duckdb.DuckDBPyConnection, day: int, *, rebuild: bool = False) -> Any:
    con.execute("delete from raw.ledger_run") if rebuild else None
    as_of = FIRST + timedelta(days=day)
    write_run(con, run_id=str(day), started_at=datetime(2026, 12, 1, tzinfo=UTC), as_of_date=as_of)
    return score_costs(con, rebuild=rebuild)


def written(con: duckdb.DuckDBPyConnection) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    skipped = "level_from_date, restated_from_cost_usd, restated_from_volume"  # counted from the first day looked at
    return (
        con.execute(f"select * exclude ({skipped}) from raw.cost_drift_scores order by all").fetchall(),
        con.execute("select * from raw.cost_drift_references order by all").fetchall(),
    )


def eventful(days: int) -> Panel:
    """Shifts, wild days, missing and idle days, low traffic: whatever is carried from day to day."""
    logs = seasonal(NORMAL, 5, days, np.random.default_rng(11))
    logs[0, 60:] += 0.2  # held, then accepted
    logs[1, 70:80] += 0.15  # held, then gone
    logs[2, 75] += 0.6
    panel = panel_of(np.round(logs, 6))
    panel.volume[3, 50:54] = 0
    panel.is_complete[3, 64:67] = False
    panel.volume[3, 90:110] = 600.0
    panel.cost[3, 90:110] = 600.0
    return panel


def test_day_by_day_gives_what_all_at_once_gives(warehouse: Warehouse) -> None:
    panel = eventful(112)
    with warehouse.connect() as con:
        fill(con, panel)
        run_day(con, 111, rebuild=True)
        whole = written(con)
        run_day(con, 111, rebuild=True)
        assert written(con) == whole
        con.execute("delete from raw.cost_drift_scores; delete from raw.cost_drift_references")
        run_day(con, 55, rebuild=True)
        for day in range(56, 112):
            run_day(con, day)
        stepped = written(con)
    assert [row[:8] for row in stepped[0]] == [row[:8] for row in whole[0]]
    for one, other in zip(stepped[0], whole[0], strict=True):
        for left, right in zip(one, other, strict=True):
            assert left == (pytest.approx(right, nan_ok=True) if isinstance(right, float) else right), (one, other)
    assert stepped[1] == whole[1]
    assert {row[8] for row in whole[0]} == {"incomplete", "no_tokens", "low_traffic", "learning", "ok", "drift"}


def test_a_day_that_late_data_changed_is_scored_again_and_says_so(warehouse: Warehouse) -> None:
    panel = panel_of(quiet(60))
    late = replace(panel, cost=panel.cost.copy())
    late.cost[0, 58] *= 1.5
    restated = (
        "select usage_date, restated_from_cost_usd, state from raw.cost_drift_scores where restated_from_volume > 0"
    )
    with warehouse.connect() as con:
        fill(con, panel, until=59)
        run_day(con, 58, rebuild=True)
        assert con.execute(restated).fetchall() == []
        fill(con, late)
        assert run_day(con, 59).restated_count == 1
        before = round(float(panel.cost[0, 58]), 6)
        ((day, was, state),) = con.execute(restated).fetchall()
        assert (day, float(was), state) == (FIRST + timedelta(days=58), pytest.approx(before), "drift")
        run_day(con, 59)
        assert len(con.execute(restated).fetchall()) == 1  # it stays


def test_no_series_at_all_is_no_failure(warehouse: Warehouse) -> None:
    with warehouse.connect() as con:
        fill(con, panel_of(quiet(5)), until=0)
        found = run_day(con, 4, rebuild=True)
        assert (found.series_count, found.drift_count) == (0, 0)


def test_the_state_is_looked_back_for_no_further_than_the_models_read() -> None:
    from orchestration.settings import DBT_DIR

    macro = (DBT_DIR / "macros" / "drift.sql").read_text(encoding="utf-8")
    assert "26 * 7 + 5 * 7 + 28" in macro
    assert Detector(panel_of(np.zeros((1, 1))), LIMITS).look_back <= 26 * 7 + 5 * 7 + 28
