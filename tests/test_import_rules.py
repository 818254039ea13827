"""The rooms know of each other only what docs/architecture.md allows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARIES_OF_OTHER_ROOMS = {"dagster", "dagster_dbt", "dbt", "duckdb", "pandas", "great_expectations", "orchestration"}


def imports(path: Path) -> set[str]:
    """Every module a file imports anywhere, functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def python_files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def test_every_room_has_files() -> None:
    assert len(python_files("scrapers")) > 10
    assert len(python_files("orchestration")) > 10
    assert len(python_files("sizing")) > 5


@pytest.mark.parametrize("path", python_files("scrapers") + python_files("sizing"), ids=str)
def test_outer_rooms_know_no_database_and_no_orchestrator(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & LIBRARIES_OF_OTHER_ROOMS


def test_only_definitions_and_defs_import_dagster() -> None:
    allowed = {ROOT / "orchestration" / "definitions.py", *python_files("orchestration/defs")}
    users = {
        path
        for path in python_files("orchestration")
        if {name.split(".")[0] for name in imports(path)} & {"dagster", "dagster_dbt"}
    }
    assert users <= allowed
    assert users, "the rule is tested on code that uses dagster"


def test_nobody_imports_from_defs() -> None:
    users = [
        path
        for room in ("scrapers", "orchestration", "sizing", "examples", "benchmarks")
        for path in python_files(room)
        if any(name.startswith("orchestration.defs") for name in imports(path)) and "defs" not in path.parts
    ]
    assert users == []


def test_only_expectations_talks_to_great_expectations() -> None:
    users = {path.name for path in python_files("orchestration") if "great_expectations" in imports(path)}
    assert users == {"expectations.py"}


def test_only_settings_reads_the_environment() -> None:
    users = set()
    for room in ("scrapers", "orchestration"):
        for path in python_files(room):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}:
                    users.add(path.relative_to(ROOT).as_posix())
    assert users == {"orchestration/settings.py"}


@pytest.mark.parametrize(
    "modules",
    [
        "scrapers.prices.registry, scrapers.usage.prometheus",
        "sizing.aiconfigurator, sizing.calibration, sizing.choices, sizing.claims",
    ],
)
def test_importing_the_outer_rooms_loads_no_heavy_library(modules: str) -> None:
    """The indirect imports too, which the syntax of one file does not show."""
    program = (
        f"import sys, {modules}\n"
        f"loaded = {LIBRARIES_OF_OTHER_ROOMS!r} & {{name.split('.')[0] for name in sys.modules}}\n"
        "sys.exit(', '.join(sorted(loaded)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_dbt_folder_holds_no_python() -> None:
    """Its name merges with dbt's own package: a module in it would shadow dbt's."""
    assert [path for path in (ROOT / "dbt").rglob("*.py") if "target" not in path.parts] == []


@pytest.mark.parametrize("folder", ["intermediate", "marts"])
def test_only_staging_reads_sources(folder: str) -> None:
    users = [p for p in (ROOT / "dbt" / "models" / folder).rglob("*.sql") if "source(" in p.read_text(encoding="utf-8")]
    assert users == []


def test_marts_never_read_staging() -> None:
    marts = sorted((ROOT / "dbt" / "models" / "marts").rglob("*.sql"))
    assert marts
    assert [path for path in marts if re.search(r"""ref\(["']stg_""", path.read_text(encoding="utf-8"))] == []
