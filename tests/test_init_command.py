"""`inference-ledger init`: what it writes is a ledger that says what was asked for."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from orchestration.cli import app
from orchestration.settings import ConfigError, load_settings

FLAGS = {
    "deployment": "chat",
    "model": "Qwen/Qwen3-32B",
    "provider": "azure",
    "region": "eastus",
    "instance-type": "Standard_NC24ads_A100_v4",
    "metrics": "http://10.0.0.7:8000/metrics",
    "replicas": "2",
}


def init(target: Path, flags: dict[str, str]) -> Result:
    arguments = [part for name, value in flags.items() for part in (f"--{name}", value)]
    return CliRunner().invoke(app, ["init", str(target), *arguments])


def test_the_ledger_says_what_the_flags_said(tmp_path: Path) -> None:
    target = tmp_path / "ledger.yaml"
    done = init(target, FLAGS | {"purchase": "spot", "since": "2026-10-05", "gateway-log": "logs/*.jsonl"})
    assert done.exit_code == 0, done.output
    assert "note:" not in done.output
    ledger = load_settings(target, tmp_path / "data").ledger
    (entry,) = ledger.fleet
    assert (entry.deployment, entry.model, entry.provider) == ("chat", "Qwen/Qwen3-32B", "azure")
    assert (entry.region, entry.instance_type, entry.replicas) == ("eastus", "Standard_NC24ads_A100_v4", 2)
    assert entry.pricing.model == "spot"
    assert entry.from_ == datetime(2026, 10, 5, tzinfo=UTC)
    assert {source.name: source.kind for source in ledger.usage} == {"engine": "metrics", "gateway": "litellm"}
    assert list(ledger.prices.sources) == ["azure"]


@pytest.mark.parametrize(
    ("metrics", "kind"),
    [
        ("http://10.0.0.7:8000/metrics", "metrics"),
        ("https://prometheus.example.com", "prometheus"),
        ("scrapes/*/*.prom", "metrics"),
    ],
)
def test_counters_come_from_a_page_a_server_or_files(metrics: str, kind: str, tmp_path: Path) -> None:
    init(tmp_path / "ledger.yaml", FLAGS | {"metrics": metrics})
    (source,) = load_settings(tmp_path / "ledger.yaml", tmp_path / "data").ledger.usage
    assert source.kind == kind


def test_what_is_unknown_is_said_and_the_nearest_name_with_it(tmp_path: Path) -> None:
    said = init(tmp_path / "ledger.yaml", FLAGS | {"instance-type": "Standard_NC24ads_A100"}).output
    assert "did you mean Standard_NC24ads_A100_v4" in said
    said = init(tmp_path / "other.yaml", FLAGS | {"provider": "coreweave", "instance-type": "h100"}).output
    assert "no price list of coreweave can be read" in said
    assert "# gpus_per_replica" in (tmp_path / "other.yaml").read_text(encoding="utf-8")


def test_a_missing_flag_is_named_where_nobody_can_be_asked(tmp_path: Path) -> None:
    done = init(tmp_path / "ledger.yaml", {name: value for name, value in FLAGS.items() if name != "region"})
    assert done.exit_code == 2
    assert "--region is missing" in done.output
    assert not (tmp_path / "ledger.yaml").exists()


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    target = tmp_path / "ledger.yaml"
    target.write_text("mine", encoding="utf-8")
    assert init(target, FLAGS).exit_code == 2
    assert target.read_text(encoding="utf-8") == "mine"


def test_a_name_that_the_ledger_does_not_take_leaves_no_file(tmp_path: Path) -> None:
    done = init(tmp_path / "ledger.yaml", FLAGS | {"deployment": 'a: b"]}'})
    assert isinstance(done.exception, ConfigError)  # main() prints it and ends with 2
    assert "fleet[0].deployment" in str(done.exception)
    assert not (tmp_path / "ledger.yaml").exists()
