"""`plan` and `backtest-capacity` on files: what they print, and the sentences for what cannot be answered."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from orchestration.capacity_backtest import demand_shapes, read_azure, read_servegen, run_trial
from orchestration.capacity_demand import read_demand
from orchestration.cli import app
from sizing.demand import DemandError

# sizing.md 7.4
DAY = [4, 4, 4, 4, 4, 4, 6, 8, 10, 12, 14, 16, 16, 16, 14, 14, 12, 12, 10, 10, 8, 6, 6, 4]
PRICES = ["--on-demand-usd", "4", "--committed", "12=2.4", "--committed", "36=1.6"]


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture
def weeks(tmp_path: Path) -> Path:
    """The reference day for eight weeks, and a second series that is zero."""
    path = tmp_path / "demand.csv"
    start = datetime(2026, 9, 1)  # noqa: DTZ001 - written without a zone on purpose: UTC is meant
    lines = ["ts,series,gpus"]
    for hour in range(24 * 56):
        moment = (start + timedelta(hours=hour)).isoformat()
        lines += [f"{moment},busy,{DAY[hour % 24]}", f"{moment},idle,0"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_plan_of_a_file_is_the_reference(weeks: Path) -> None:
    code, output = run("plan", "--demand", str(weeks), *PRICES)
    assert code == 0
    # 28 reference days: 528 each.
    assert "commit    10 of committed_36m at 1.6000 USD per GPU-hour: 10,752.00 USD" in output
    assert "cost      14,784.00 USD" in output
    assert "saves     39.4% of 24,416.00 USD, on demand that scales perfectly" in output
    assert "saves     65.6% of 43,008.00 USD, on demand sized for the peak" in output
    assert "backtest  4 stretches held out: 0.0% dearer" in output
    assert "committed_12m pays for a GPU that is busy in 60% of the hours or more." in output
    assert "No GPU was needed in any hour: there is nothing to commit to." in output


def test_plan_as_json(weeks: Path) -> None:
    code, output = run("plan", "--demand", str(weeks), *PRICES, "--json")
    busy, idle = json.loads(output)
    assert (code, busy["name"], Decimal(busy["cost_usd"])) == (0, "busy", 14784)
    assert busy["savings"][0]["savings_ratio"] == pytest.approx(1 - 528 / 872)
    assert idle["savings"][0]["savings_ratio"] is None


def test_upfront_is_counted_over_the_term(weeks: Path) -> None:
    """7,008 dollars for 8,760 hours are 0.80 an hour: with 0.80 recurring again 1.60."""
    _, output = run("plan", "--demand", str(weeks), "--on-demand-usd", "4", "--committed", "12=0.8+7008")
    assert "10 of committed_12m at 1.6000 USD per GPU-hour" in output


def test_backtest_of_a_file(weeks: Path) -> None:
    code, output = run("backtest-capacity", str(weeks))
    assert code == 0
    assert "demand.csv, committed at 1.6 USD per GPU-hour (60% off)" in output
    # Four weeks of 7 x 528 (7 x 697.60) with nothing to regret.
    assert "cost 14,784.00, with foresight 14,784.00, regret 0.0% (worst 0.0%" in output
    assert "cost 19,532.80, with foresight 19,532.80, regret 0.0%" in output
    assert "no GPU was needed in what was held out" in output


def test_tokens_become_gpus_with_a_throughput_and_hundredths_without(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text("timestamp,tokens\n0,1440000\n1800,1440000\n3600,5760000\n")
    with_rate = read_demand(path, tokens_per_second_per_gpu=1000)
    assert [series.gpus.tolist() for series in with_rate] == [[1, 2]]  # 2.88 and 5.76 M; 2.88 M a GPU at 80 %
    (without,) = read_demand(path)
    assert without.gpus.tolist() == [50, 100]
    assert "100ths of the busiest hour" in without.unit


def test_gpus_within_an_hour_are_averaged_and_missing_hours_unknown(tmp_path: Path) -> None:
    path = tmp_path / "gpus.csv"
    path.write_text("hour,gpus\n2026-11-01T00:00Z,2\n2026-11-01T00:30Z,4\n2026-11-01T02:00+00:00,6\n")
    (series,) = read_demand(path)
    assert series.gpus.tolist() == pytest.approx([3, float("nan"), 6], nan_ok=True)
    assert series.missing_hours == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column with a time"),
        ("ts,load\n0,1\n", "no column with a demand; call one gpus or gpu_hours or tokens"),
        ("ts,gpus\n", "no row of data"),
        ("ts,gpus\nyesterday,1\n", "line 2, ts: 'yesterday' is no time"),
        ("ts,gpus\n0,1\n3600,-1\n", "line 3, gpus: '-1'; write a number of 0 or more"),
        ("ts,gpus\n0,1\n3600,\n", "line 3, gpus: ''"),
        ("ts,gpus\n0,1\n3600,nan\n", "line 3, gpus: 'nan'"),
        ("ts,gpus\n0,1\n2026-11-01T00:00Z,1\n", "some are instants and some are seconds"),
        ("ts,gpus\n0,1\n86400,1\n", "2 of 25 hours have a value"),
        ("ts,gpus\n0,1\n9e10,1\n", "one of them is wrong"),
        ("ts,gpus\n\udcff,1\n", "not a CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_no_demand_is_told(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DemandError, match=words.replace("(", r"\(")):
        read_demand(path)
    code, output = run("plan", "--demand", str(path), *PRICES)
    assert code == 2
    assert "Traceback" not in output
    assert str(path) in output.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--demand", "{demand}"], "say what a GPU-hour costs"),
        (["plan", "--demand", "{demand}", "--on-demand-usd", "four"], "write USD per GPU-hour, such as 2.40"),
        (["plan", "--demand", "{demand}", "--on-demand-usd", "0"], "a price is above 0"),
        (["plan", "--demand", "{demand}", "--on-demand-usd", "4", "--committed", "2.4"], "write months=USD"),
        (["plan", "--on-demand-usd", "4"], "go with --demand"),
        (["backtest-capacity", "{demand}", "--committed-usd", "5"], "above the on-demand rate 4: nothing to choose"),
    ],
)
def test_wrong_usage_is_told(weeks: Path, arguments: list[str], words: str) -> None:
    code, output = run(*(argument.format(demand=weeks) for argument in arguments))
    assert code == 2
    assert words in output.replace("\n", " ")


def test_cheapest_fleet_of_a_profile(tmp_path: Path) -> None:
    """Melange's example at 30 requests a second (sizing.md 7.5), in four slices: 2 A10G and 1 A100."""
    path = tmp_path / "profile.csv"
    rows = ["bucket,requests_per_second,gpu,max_requests_per_second,usd_per_hour"]
    for bucket, rate, small, large in (("ss", 6, 2, 20), ("sl", 3, 1, 20), ("ls", 15, 5, 40), ("ll", 6, 2, 20)):
        rows += [f"{bucket},{rate},A10G,{small},1.01", f"{bucket},{rate},A100,{large},3.67"]
    path.write_text("\n".join(rows) + "\n")
    code, output = run("plan", "--fleet", str(path))
    assert code == 0
    assert "Cheapest fleet: 2 A10G + 1 A100\n  5.69 USD per hour" in output
    assert "2 A100 alone: 7.34 USD per hour, the mix saves 22.5%" in output
    assert json.loads(run("plan", "--fleet", str(path), "--json")[1])["units"] == {"A10G": 2, "A100": 1}
    path.write_text("\n".join([rows[0], "ss,6,A10G,0,1.01"]) + "\n")
    code, output = run("plan", "--fleet", str(path))
    assert (code, "no GPU type keeps the latency target for ss" in output) == (2, True)


# --- the recorded traces ----------------------------------------------------------------------------------------------


def test_traces_are_read_whole(samples: Path) -> None:
    """INDEX.md of the samples: 73 clients and 1.384 M requests a day; 18.06 M prompt tokens in 57 minutes."""
    clients = read_servegen(samples / "usage" / "servegen" / "reason-deepseek-r1")
    assert len(clients) == 73
    assert sum(hours.sum() for hours in clients.values()) == pytest.approx(1.384e6, rel=0.001)
    minutes = read_azure(samples / "usage" / "azure-llm" / "AzureLLMInferenceTrace_code.csv")
    assert len(minutes) == 57
    assert minutes.sum() == pytest.approx(18.06e6, rel=0.03)  # without the last, broken minute


def test_regret_on_the_shapes_of_the_traces_is_within_five_percent(samples: Path) -> None:
    """Over the series of each source together, at both rates of the reference, for weeks that were not known."""
    for source, found in demand_shapes(samples, seed=1).items():
        for rate in (Decimal("1.6"), Decimal("2.4")):
            trials = [run_trial(series, rate, Decimal(4)) for series in found]
            assert all(len(trial.weekly.stretches) == 22 for trial in trials)
            cost = sum(trial.weekly.cost_usd for trial in trials)
            foresight = sum(trial.weekly.foresight_usd for trial in trials)
            assert cost / foresight - 1 <= Decimal("0.05"), source
            within = [trial for trial in trials if (trial.weekly.regret_ratio or 0) <= Decimal("0.05")]
            assert len(within) >= len(trials) - 1, source


def test_the_same_seed_makes_the_same_weeks(samples: Path) -> None:
    one, same, other = (demand_shapes(samples, seed=seed)["Azure"][0].gpus for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
