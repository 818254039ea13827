"""Ten claims: verdicts follow the figures, and figures of the reference come out."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli import app
from orchestration.sizing_inputs import known_gpus, read_model
from sizing.claims import DIURNAL, Commitment, Evidence, Price, best_reservation, judge_claims

CONFIG_FILES = Path(__file__).parents[2] / "examples" / "model_configs"


def judged(prices: dict[str, float], commitments: tuple[Commitment, ...] = ()) -> dict:
    evidence = Evidence(
        large=read_model(CONFIG_FILES / "meta-llama--Llama-3.1-70B-Instruct.json"),
        small=read_model(CONFIG_FILES / "meta-llama--Llama-3.1-8B-Instruct.json"),
        gpus=known_gpus(),
        prices={(gpu, "on_demand"): Price(usd, "here", "2026-11-28") for gpu, usd in prices.items()},
        commitments=commitments,
    )
    return {one.number: one for one in judge_claims(evidence)}


TODAY = {"L40S-48GB": 0.87, "A100-SXM-40GB": 1.35, "A100-SXM-80GB": 1.5, "H100-SXM-80GB": 2.25}  # December 2025


def figures(one) -> dict[str, float]:
    return {figure.name: figure.value for figure in one.numbers}


def test_verdicts_of_the_reference() -> None:
    """Section 6: what it found with the prices of December 2025."""
    found = judged(TODAY)
    assert [found[number].verdict for number in (1, 2, 3, 5, 6, 7)] == [
        "true", "depends", "false", "depends", "false", "depends",
    ]  # fmt: skip
    assert figures(found[1])["parameters x 16 bits"] == pytest.approx(141.107, abs=0.001)
    assert figures(found[1])["weights as awq"] == pytest.approx(39.8, abs=0.05)
    assert figures(found[2])["hourly price of L40S over A100-40, on demand"] == pytest.approx(0.87 / 1.35)
    # Measured 2.0 for Mistral-7B: 2.0 x 0.87 / 2.25.
    assert figures(found[3])["Mistral-7B, low (measured): cost of L40S over equal H100"] == pytest.approx(
        0.773, abs=0.001
    )
    assert all(figure.source or figure.value > 0 for one in found.values() for figure in one.numbers)


def test_verdicts_follow_prices() -> None:
    """An L40S at a twentieth of an H100 is the bargain that was claimed; without prices there is no verdict on cost."""
    assert judged({**TODAY, "L40S-48GB": 0.10})[3].verdict == "true"
    assert judged({**TODAY, "H100-SXM-80GB": 20.0})[4].verdict == "depends"
    assert judged({**TODAY, "H100-SXM-80GB": 0.1})[4].verdict == "false"
    nothing = judged({})
    assert [nothing[number].verdict for number in (2, 3, 4, 8, 9)] == ["unknown"] * 5
    assert [nothing[number].verdict for number in (1, 6)] == ["true", "false"]


@pytest.mark.parametrize(("reserved", "level", "cost"), [(1.6, 10, 528.0), (2.4, 6, 697.6)])
def test_reservation_of_the_reference(reserved: float, level: int, cost: float) -> None:
    assert (sum(DIURNAL), max(DIURNAL)) == (218, 16)
    units, total = best_reservation(DIURNAL, reserved, 4.0)
    assert units == level
    assert total == pytest.approx(cost)


def test_savings_name_their_baseline() -> None:
    """Price ratio 0.4: 39 % against on demand that follows the load, 66 % against on demand sized for the peak."""
    found = judged(TODAY, (Commitment("H100-SXM-80GB", "reserved_36m", "aws", 1.6, 4.0),))[9]
    values = figures(found)
    assert values["H100-SXM-80GB reserved_36m, aws: saved against on demand that follows the load"] == pytest.approx(
        1 - 528 / 872
    )
    assert values["H100-SXM-80GB reserved_36m, aws: saved against on demand sized for the peak"] == pytest.approx(
        1 - 528 / 1536
    )
    assert found.verdict == "depends"
    assert "name the baseline" in found.why


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["claims", "--json"])
    assert done.exit_code == 0
    answer = json.loads(done.stdout)
    assert [claim["number"] for claim in answer["claims"]] == list(range(1, 11))
    assert answer["price_note"].startswith("no ledger.yaml here")
    one = CliRunner().invoke(app, ["claims", "6"])
    assert "6. TensorRT-LLM is 2 to 4 times as fast: false" in one.stdout
    assert "1. A 70B" not in one.stdout
