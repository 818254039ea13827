"""The files in deploy/: systemd takes the units, and what they start exists."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from orchestration.definitions import prepare_dbt

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
INSTALLED = "/opt/inference-ledger"


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed here")
    for unit in (*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")):
        # It looks whether the program is there: this checkout stands in for the installed one.
        text = unit.read_text(encoding="utf-8").replace(f"{INSTALLED}/.venv/bin", str(Path(sys.executable).parent))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    units = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert (done.returncode, complaints) == (0, [])


def test_a_mistake_in_a_unit_is_found(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed here")
    unit = tmp_path / "broken.service"
    unit.write_text("[Service]\nType=oneshot\nExecStart=/nowhere/inference-ledger run\n", encoding="utf-8")
    assert subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, check=False).returncode != 0


def test_every_path_of_the_project_that_they_name_exists() -> None:
    for path in DEPLOY.iterdir():
        text = path.read_text(encoding="utf-8")
        for named in re.findall(rf"{INSTALLED}/((?!\.venv)[\w./-]+)", text):
            assert (ROOT / named).exists(), f"{path.name}: {named}"
    for line in re.findall(r"^COPY (.+)$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE):
        for named in line.split()[:-1]:
            assert (ROOT / named).exists(), f"Dockerfile: {named}"


def test_compose_starts_what_is_there() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert set(services) == {"daemon", "webserver", "postgres"}
    for name in ("daemon", "webserver"):
        assert shutil.which(services[name]["command"][0], path=str(Path(sys.executable).parent)), name
        # SQLAlchemy 2.1 takes the bare scheme for psycopg 3, in whose words dagster-postgres 0.29 does not speak.
        assert services[name]["environment"]["DAGSTER_POSTGRES_URL"].startswith("postgresql+psycopg2://")


def test_the_daemon_and_the_web_server_load_the_definitions_of_a_new_machine_together(tmp_path: Path) -> None:
    """A new volume holds no manifest of the dbt project: the first to come makes it, the other waits."""
    command = [Path(sys.executable).with_name("dagster"), "definitions", "validate", "--workspace", "workspace.yaml"]
    shared = {name: str(tmp_path / name) for name in ("DBT_TARGET_PATH", "DBT_LOG_PATH", "LEDGER_WAREHOUSE")}
    both = []
    for name in ("daemon", "webserver"):
        home = tmp_path / name  # apart: making its SQLite files is Dagster's own race
        home.mkdir()
        environment = {**os.environ, **shared, "DAGSTER_HOME": str(home)}
        both.append(
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    for one in both:
        printed, _ = one.communicate()
        assert one.returncode == 0, printed[-2000:]
        assert "All code locations passed validation" in printed


def test_a_manifest_that_an_earlier_version_left_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is younger than the files: an image is built before the old one's last run on the volume."""
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path))
    monkeypatch.setenv("DBT_LOG_PATH", str(tmp_path))
    manifest = tmp_path / "manifest.json"
    manifest.write_text("{}", encoding="utf-8")
    (tmp_path / "manifest.digest").write_text("of other files", encoding="utf-8")
    prepare_dbt()
    made = manifest.read_bytes()
    assert "model.inference_ledger.fct_unit_costs_daily" in json.loads(made)["nodes"]
    manifest.write_bytes(made + b" ")
    prepare_dbt()
    assert manifest.read_bytes() == made + b" ", "the same files need no other one"
