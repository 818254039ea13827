"""dbt in this process, for what runs it again and again: backtests, benchmarks and tests.

A `dbt` command takes ten seconds before its first statement: imports, and parsing, as dbt keeps what it parsed for one
warehouse path alone. Here each process parses the project once. The daily run does not come here: Dagster starts dbt
by itself (defs/transform).
"""

import contextlib
import functools
import tempfile
from pathlib import Path
from typing import Any

from orchestration.settings import DBT_DIR, warehouse_environment

FILE_NAME = "warehouse.duckdb"  # dbt writes the name of the database, which is the file's, into what it parses


class DbtError(Exception):
    """A dbt command failed; the message is what dbt said."""


def run_dbt(*arguments: str, warehouse: Path, folder: Path) -> str:
    """Runs one dbt command, such as `run_dbt("build", "--select", "fct_gpu_prices", warehouse=..., folder=...)`.

    Args:
        arguments: the command and its options.
        warehouse: a file named warehouse.duckdb, which nothing else in this process has open.
        folder: where dbt writes the SQL it ran.

    Returns:
        What dbt reports, a line per event.

    Raises:
        DbtError: dbt refused the command, or a model or a test failed.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest

    if warehouse.name != FILE_NAME:
        raise ValueError(f"{warehouse} is not named {FILE_NAME}")
    said: list[str] = []

    def listen(event: Any) -> None:
        if event.info.level in ("info", "warn", "error"):
            said.append(event.info.msg)

    # A run leaves its traces in the manifest, so each gets a copy.
    manifest = Manifest.from_msgpack(_parsed_project())
    manifest.flat_graph = _flat_graph()
    try:
        with contextlib.chdir(DBT_DIR), warehouse_environment(warehouse):  # dbt changes the working folder
            result = dbtRunner(manifest=manifest, callbacks=[listen]).invoke([*arguments, *_options(folder)])
    finally:
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]  # dbt leaves it untyped
    if not result.success:
        raise DbtError("\n".join([*said, *([] if result.exception is None else [str(result.exception)])]))
    return "\n".join(said)


@functools.cache
def _parsed_project() -> bytes:
    """The project's manifest as dbt packs it."""
    from dbt.cli.main import dbtRunner

    with tempfile.TemporaryDirectory() as name, contextlib.chdir(DBT_DIR), warehouse_environment(Path(FILE_NAME)):
        result = dbtRunner().invoke(["parse", *_options(Path(name))])
        if not result.success:
            raise DbtError(f"the dbt project cannot be parsed: {result.exception}")
        return (Path(name) / "partial_parse.msgpack").read_bytes()


@functools.cache
def _flat_graph() -> dict[str, Any]:
    """What models read as `graph`; packing leaves it out."""
    from dbt.contracts.graph.manifest import Manifest

    manifest = Manifest.from_msgpack(_parsed_project())
    manifest.build_flat_graph()  # type: ignore[no-untyped-call]  # dbt leaves it untyped
    return manifest.flat_graph


def _options(folder: Path) -> list[str]:
    """Everything in its place, nothing printed but through the listener, and no manifest written, which takes 0.7 s."""
    places = {"--project-dir": DBT_DIR, "--profiles-dir": DBT_DIR, "--target-path": folder, "--log-path": folder}
    paths = [str(part) for place in places.items() for part in place]
    return [*paths, "--log-level", "none", "--log-level-file", "none", "--no-write-json"]
