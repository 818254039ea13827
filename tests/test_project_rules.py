"""Rules of the house that a reviewer would otherwise have to remember."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import jsonschema
import pytest
import yaml

from orchestration import data_dictionary, ledger_schema
from orchestration.definitions import defs, prepare_dbt
from orchestration.provider_docs import documents
from orchestration.settings import dbt_target_dir
from scrapers.prices.registry import PRICE_SOURCES

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    """dbt's own description of the project, made anew."""
    prepare_dbt()
    result: dict[str, Any] = json.loads((dbt_target_dir() / "manifest.json").read_text())
    return result


@pytest.fixture(scope="module")
def definitions(manifest: dict[str, Any]) -> dg.Definitions:
    result: dg.Definitions = defs()
    return result


def nodes(manifest: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [node for node in manifest["nodes"].values() if node["resource_type"] == kind]


def test_every_mart_states_contract_grain_types_and_units(manifest: dict[str, Any]) -> None:
    marts = [node for node in nodes(manifest, "model") if node["schema"] == "marts"]
    assert len(marts) >= 11
    for mart in marts:
        name = mart["name"]
        assert mart["config"]["contract"]["enforced"], name
        assert re.match(r"One row per |One row ", mart["description"]), f"{name}: the first sentence is the grain"
        for column in mart["columns"].values():
            where = f"{name}.{column['name']}"
            assert column["description"].strip(), f"{where} has no description"
            assert column["data_type"], f"{where} has no type"
            unit = column["name"].rsplit("_", 1)[-1]
            if unit == "at":
                assert "timestamp" in column["data_type"].lower(), where
                assert "UTC" in column["description"], f"{where}: say that it is UTC"
            if "usd" in column["name"].split("_"):
                assert "decimal" in column["data_type"].lower(), f"{where}: money is DECIMAL"


def test_every_source_table_and_model_is_described(manifest: dict[str, Any]) -> None:
    for node in [*nodes(manifest, "model"), *nodes(manifest, "seed"), *manifest["sources"].values()]:
        assert node["description"].strip(), f"{node['name']} has no description"


def test_raw_tables_are_the_ones_dbt_knows(manifest: dict[str, Any]) -> None:
    """Each column dbt describes exists, and each raw table that models read is described."""
    text = (ROOT / "orchestration" / "raw_schema.sql").read_text()
    tables = {
        match[1]: set(re.findall(r"^    (\w+) ", match[2], flags=re.MULTILINE))
        for match in re.finditer(r"create table if not exists raw\.(\w+) \((.*?)\n?\);", text, flags=re.DOTALL)
    }
    for source in manifest["sources"].values():
        assert source["name"] in tables, source["name"]
        unknown = set(source["columns"]) - tables[source["name"]]
        assert not unknown, f"{source['name']}: {unknown}"


def test_code_location_loads_with_every_part_of_the_day(definitions: dg.Definitions) -> None:
    keys = {"/".join(key.path) for key in definitions.resolve_asset_graph().get_all_asset_keys()}
    assert {f"landing/{name}_prices" for name in PRICE_SOURCES} <= keys
    assert {"raw/price_records", "raw/requests", "raw/metric_samples", "raw/ledger_run"} <= keys
    assert {"marts/fct_unit_costs_daily", "marts/fct_gpu_prices", "published/inference_ledger"} <= keys
    job = definitions.resolve_job_def("daily_job")
    assert {"dbt_build", "published__inference_ledger"} <= {node.name for node in job.nodes}
    schedule = definitions.resolve_schedule_def("daily_job_every_morning")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 5 * * *", "UTC")


def test_the_day_runs_in_order(definitions: dg.Definitions) -> None:
    """Publishing waits for every mart, the marts for every raw table, and the window for what was loaded."""
    graph = definitions.resolve_asset_graph()

    def upstream(*key: str) -> set[str]:
        found: set[str] = set()
        waiting = [dg.AssetKey(list(key))]
        while waiting:
            for parent in graph.get(waiting.pop()).parent_keys:
                if "/".join(parent.path) not in found:
                    found.add("/".join(parent.path))
                    waiting.append(parent)
        return found

    before_publishing = upstream("published", "inference_ledger")
    marts = {f"marts/{path.stem}" for path in (ROOT / "dbt" / "models" / "marts").rglob("*.sql")}
    assert marts <= before_publishing
    assert {"raw/price_records", "raw/metric_samples", "raw/requests", "raw/ledger_run"} <= before_publishing
    assert {f"landing/{name}_prices" for name in PRICE_SOURCES} <= upstream("raw", "price_records")
    assert {"raw/price_records", "raw/metric_samples", "raw/requests"} <= upstream("raw", "ledger_run")


def test_gates_and_data_tests_are_asset_checks(definitions: dg.Definitions) -> None:
    checks = {
        f"{'/'.join(key.asset_key.path)}:{key.name}" for key in definitions.resolve_asset_graph().asset_check_keys
    }
    for name in PRICE_SOURCES:
        assert f"raw/price_records:{name}_passes_gate" in checks
        assert f"landing/{name}_prices:answered_today" in checks
    assert {"raw/requests:files_pass_gate", "raw/metric_samples:files_pass_gate"} <= checks
    assert sum(check.startswith("marts/") for check in checks) >= 20


def test_every_asset_has_a_freshness_policy(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        assert spec.freshness_policy is not None, spec.key


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("dg", ["check", "defs"]),
        ("dg", ["check", "toml"]),
        ("dagster", ["definitions", "validate", "--workspace", "workspace.yaml"]),
    ],
)
def test_dg_and_dagster_load_the_project(command: str, arguments: list[str], manifest: dict[str, Any]) -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name(command), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_workspace_yaml_names_the_code_location_of_pyproject() -> None:
    import tomllib

    import yaml

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    (location,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert location["python_module"]["module_name"] == project["code_location_target_module"]
    assert location["python_module"]["location_name"] == project["code_location_name"]


def test_constraints_pin_versions_without_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text().split("\n")
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 100
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!+]*", line)] == []


def test_documented_commands_exist() -> None:
    """`inference-ledger <command>` and `make <target>` as the documents spell them."""
    help_text = subprocess.run(
        [Path(sys.executable).with_name("inference-ledger"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    makefile = (ROOT / "Makefile").read_text()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        for command in re.findall(r"inference-ledger ([a-z][a-z-]+)", text):
            assert re.search(rf"\b{command}\b", help_text), f"{path.name}: inference-ledger {command}"
        for target in re.findall(r"`make ([a-z]+)`", text):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{path.name}: make {target}"


@pytest.mark.parametrize("path", sorted(documents()))
def test_generated_documents_are_in_step(path: str) -> None:
    """Pages of the price sources, the coverage table and the count: `make docs` writes them."""
    file = ROOT / path
    assert file.exists(), f"{path} is missing: run `make docs`"
    assert file.read_text(encoding="utf-8") == documents()[path], f"{path} is out of step: run `make docs`"


def test_the_data_dictionary_is_in_step() -> None:
    assert data_dictionary.PAGE.read_text(encoding="utf-8") == data_dictionary.page(), "run `make docs`"


def test_editors_complete_the_ledger_by_its_schema() -> None:
    assert ledger_schema.SCHEMA.read_text(encoding="utf-8") == ledger_schema.ledger_schema(), "run `make docs`"
    schema = json.loads(ledger_schema.SCHEMA.read_text(encoding="utf-8"))
    text = (ROOT / "ledger.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=ledger.schema.json\n")
    ledger = json.loads(json.dumps(yaml.safe_load(text), default=str))
    jsonschema.validate(ledger, schema)
    ledger["fleet"][0]["purchase_option"] = "leased"
    with pytest.raises(jsonschema.ValidationError, match="leased"):
        jsonschema.validate(ledger, schema)


def test_the_data_dictionary_says_unit_and_origin() -> None:
    """Of tables whose descriptions and queries are read here, by eye."""
    text = data_dictionary.PAGE.read_text(encoding="utf-8")
    for line in (
        "| cost_usd_per_million_total_tokens | decimal(28,8) | USD per million total tokens | ",
        "| tokens_per_second_per_gpu | decimal(18,6) | tokens per second per GPU | ",
        "| utilization_ratio | decimal(9,8) | ratio, 1 is all | ",
        "| usage_date | date | day, UTC | ",
        "| power_watts | decimal(12,3) | W | ",
        "Made from `gpu_models`; in the end from `seeds.gpu_models`.",
        "Made from `int_alerts`; in the end from `raw.alert_incidents`.",
    ):
        assert line in text


def test_exposures_name_every_table_their_readers_name(manifest: dict[str, Any]) -> None:
    readers = {
        "run_summary": "cli.py",
        "sizing_answers": "sizing_answers.py",
        "capacity_plan": "capacity_report.py",
        "report": "report/data.py",
    }
    for name, file in readers.items():
        exposure = manifest["exposures"][f"exposure.inference_ledger.{name}"]
        named = set(re.findall(r"\b(?:fct|dim|focus)_[a-z_]+", (ROOT / "orchestration" / file).read_text()))
        assert {node.split(".")[-1] for node in exposure["depends_on"]["nodes"]} == named, file


def test_a_page_says_what_the_docstring_says() -> None:
    text = (ROOT / "docs" / "providers" / "oci.md").read_text(encoding="utf-8")
    assert "**Unit:** USD per GPU-hour, as stated by `metricName`.\n" in text
    assert "| API key | none |" in text
    assert "| purchase options | on_demand |" in text
    assert "Oracle Cloud list prices, per GPU-hour.\n" in text


def test_no_file_names_a_package_registry_or_a_path_of_a_machine() -> None:
    """The project speaks of itself alone; where packages come from is the user's affair."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is no git checkout, so there is no list of its files")
    words = (
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "registry.npm" + "js",
        "/ro" + "ot/",
        "/ho" + "me/",
        "/Us" + "ers/",
    )
    found = [
        f"{name}: {word}"
        for name in listed.stdout.decode().split("\0")
        if name and (ROOT / name).is_file()
        for word in words
        if word in (ROOT / name).read_text(encoding="utf-8", errors="replace")
    ]
    assert found == []
