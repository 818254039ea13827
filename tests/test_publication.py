"""What readers open: whole, unchanged under a reader, readable by older clients, never half-built."""

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from orchestration import publication
from orchestration.defs.publish.assets import report_is_made
from orchestration.publication import PublicationError, ReportError, open_published, publish, write_report
from orchestration.settings import Settings, load_settings
from orchestration.warehouse import Warehouse
from tests.report import worlds

NOW = datetime(2026, 11, 24, 5, 30, tzinfo=UTC)
OLDEST_READER = Path(__file__).parents[1] / ".venv" / "oldest-reader"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "ledger.yaml").write_text("fleet: []\n", encoding="utf-8")
    settings = load_settings(tmp_path / "ledger.yaml", tmp_path / "data")
    fill(settings, "1.10")
    return settings


def fill(settings: Settings, cost: str) -> None:
    """Two small marts with one money column."""
    with Warehouse(settings.warehouse_path).connect() as con:
        con.execute("create schema if not exists marts")
        con.execute(
            f"create or replace table marts.fct_a as select i as n, cast({cost} as decimal(38, 10)) as cost_usd "
            "from range(3) t(i)"
        )
        con.execute("comment on table marts.fct_a is 'One row per n. It''s a test.'")
        con.execute("comment on column marts.fct_a.cost_usd is 'USD'")
        con.execute("create or replace table marts.dim_b as select timestamptz '2026-11-23 00:00:00+00' as seen_at")
        con.execute("delete from raw.ledger_run")
        con.execute(
            "insert into raw.ledger_run by name select 'run' as run_id, ? as started_at, "
            "date '2026-11-23' as as_of_date, date '2026-11-21' as window_start_date",
            [NOW],
        )


def test_published_files_hold_the_marts_and_the_manifest_says_so(settings: Settings) -> None:
    publish(settings, run_id="run-1", published_at=NOW)
    folder = settings.published_dir
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["as_of_date"] == "2026-11-23"
    assert {table["name"]: (table["row_count"], table["cost_usd"]) for table in manifest["tables"]} == {
        "dim_b": (1, {}),
        "fct_a": (3, {"cost_usd": "3.3000000000"}),
    }
    stored = (folder / "inference_ledger.duckdb").read_bytes()
    assert manifest["database"]["sha256"] == hashlib.sha256(stored).hexdigest()
    with open_published(settings) as con:
        assert con.execute("select sum(cost_usd) from fct_a").fetchone() == (Decimal("3.3000000000"),)
        assert con.execute("select run_id, as_of_date::varchar from ledger_run").fetchall() == [("run-1", "2026-11-23")]
        comments = con.execute("select comment from duckdb_tables() where table_name = 'fct_a'").fetchall()
        assert comments == [("One row per n. It's a test.",)]
    parquet = duckdb.sql(f"select sum(cost_usd) from '{folder / 'parquet' / 'fct_a.parquet'}'").fetchall()
    assert parquet == [(Decimal("3.3000000000"),)]
    assert [path.name for path in folder.rglob("*.new")] == []


def test_a_reader_keeps_the_file_it_opened(settings: Settings) -> None:
    """A new process sees the new file; the open one is not disturbed."""
    publish(settings, run_id="run-1", published_at=NOW)
    with open_published(settings) as reader:
        fill(settings, "2.20")
        publish(settings, run_id="run-2", published_at=NOW)
        assert reader.execute("select sum(cost_usd) from fct_a").fetchone() == (Decimal("3.3000000000"),)
    program = (
        "import duckdb, sys\n"
        "print(duckdb.connect(sys.argv[1], read_only=True).execute('select sum(cost_usd) from fct_a').fetchone()[0])"
    )
    fresh = subprocess.run(
        [sys.executable, "-c", program, str(settings.published_database)], capture_output=True, text=True, check=True
    )
    assert Decimal(fresh.stdout.strip()) == Decimal("6.60")


def test_a_copy_that_differs_is_not_published(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(settings, run_id="run-1", published_at=NOW)
    before = {path.name: path.read_bytes() for path in settings.published_dir.rglob("*") if path.is_file()}
    fill(settings, "9.99")
    calls = iter(range(100))
    real = publication._totals
    # The copy of the second table loses a row, as a disk error would.
    monkeypatch.setattr(
        publication, "_totals", lambda con, table: (real(con, table)[0] - (next(calls) == 3), real(con, table)[1])
    )
    with pytest.raises(PublicationError, match="differs between the warehouse and its published copy"):
        publish(settings, run_id="run-2", published_at=NOW)
    after = {
        path.name: path.read_bytes()
        for path in settings.published_dir.rglob("*")
        if path.is_file() and not path.name.endswith(".new")
    }
    assert after == before
    monkeypatch.undo()
    publish(settings, run_id="run-3", published_at=NOW)
    assert [path.name for path in settings.published_dir.rglob("*.new*")] == []


def fill_by_the_contract(settings: Settings) -> None:
    """The marts that the report reads, as tests/report/worlds.py writes them."""
    with Warehouse(settings.warehouse_path).connect() as con:
        con.execute("set schema = 'marts'")
        worlds.fill(con, worlds.SMALL)
        con.execute(
            "insert into dim_published_columns by name "
            "select table_name, column_name from duckdb_columns() where schema_name = 'marts'"
        )


def test_the_report_is_published_with_the_tables(settings: Settings) -> None:
    fill_by_the_contract(settings)
    manifest = publish(settings, run_id="run-7", published_at=NOW)
    stored = settings.report_file.read_bytes()
    assert manifest["report_problem"] is None
    assert manifest["report"] == {
        "file": "report/index.html",
        "sha256": hashlib.sha256(stored).hexdigest(),
        "size_bytes": len(stored),
    }
    # It is that of this run, made before anything was renamed into place, and leaves nothing beside itself.
    assert b"<code>run-7</code>" in stored
    assert [path.name for path in settings.report_file.parent.iterdir()] == ["index.html"]


def test_a_report_that_fails_does_not_hold_back_the_tables(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of the day before stays; manifest and check say that it is none of this run's."""
    monkeypatch.setenv("LEDGER_CONFIG", str(settings.config_path))
    monkeypatch.setenv("LEDGER_DATA_DIR", str(settings.data_dir))
    fill_by_the_contract(settings)
    publish(settings, run_id="run-1", published_at=NOW)
    assert report_is_made().passed
    before = settings.report_file.read_bytes()
    fill(settings, "2.20")
    with Warehouse(settings.warehouse_path).connect() as con:
        con.execute("drop table marts.fct_gpu_sizing")
    manifest = publish(settings, run_id="run-2", published_at=NOW)
    assert manifest["report"] is None
    assert "fct_gpu_sizing does not exist" in str(manifest["report_problem"])
    assert settings.report_file.read_bytes() == before
    check = report_is_made()
    assert not check.passed
    assert "fct_gpu_sizing does not exist" in str(check.description)
    assert [path.name for path in settings.report_file.parent.iterdir()] == ["index.html"]
    with open_published(settings) as con:
        assert con.execute("select sum(cost_usd) from fct_a").fetchone() == (Decimal("6.60"),)
    with pytest.raises(ReportError, match="fct_gpu_sizing"):
        write_report(settings)


def test_the_report_can_be_made_anew(settings: Settings) -> None:
    with pytest.raises(FileNotFoundError, match="inference-ledger run"):
        write_report(settings)
    fill_by_the_contract(settings)
    first = publish(settings, run_id="run-1", published_at=NOW)
    settings.report_file.unlink()
    assert write_report(settings) == settings.report_file
    manifest = json.loads((settings.published_dir / "manifest.json").read_text())
    assert manifest == first  # the same page of the same tables


def test_a_table_that_is_gone_leaves_no_stale_parquet(settings: Settings) -> None:
    publish(settings, run_id="run-1", published_at=NOW)
    with Warehouse(settings.warehouse_path).connect() as con:
        con.execute("drop table marts.dim_b")
    publish(settings, run_id="run-2", published_at=NOW)
    assert [path.name for path in (settings.published_dir / "parquet").iterdir()] == ["fct_a.parquet"]


def test_what_no_model_makes_any_more_is_not_published(settings: Settings) -> None:
    with Warehouse(settings.warehouse_path).connect() as con:
        con.execute("create table marts.fct_of_an_earlier_version as select 1 as n")
        con.execute("create table marts.fct_a__dbt_backup as from marts.fct_a")
        con.execute(
            "create table marts.dim_published_columns as "
            "select unnest(['dim_published_columns', 'fct_a', 'fct_a', 'dim_b']) as table_name, 'n' as column_name"
        )
    publish(settings, run_id="run-1", published_at=NOW)
    with open_published(settings) as con:
        names = con.execute("select table_name from duckdb_tables() order by 1").fetchall()
    assert names == [("dim_b",), ("dim_published_columns",), ("fct_a",), ("ledger_run",)]


def test_an_empty_warehouse_publishes_nothing(settings: Settings) -> None:
    with Warehouse(settings.warehouse_path).connect() as con:
        con.execute("drop schema marts cascade")
    with pytest.raises(PublicationError, match="no mart to publish"):
        publish(settings, run_id="run-1", published_at=NOW)
    assert not settings.published_database.exists()
    with pytest.raises(FileNotFoundError, match="inference-ledger run"):
        open_published(settings)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from 'http://169.254.169.254/latest'",
        "attach '/tmp/other.duckdb'",
        "copy fct_a to '/tmp/out.csv'",
        "set enable_external_access = true",
        "create table x (a integer)",
        "delete from fct_a",
    ],
)
def test_a_query_can_reach_and_change_nothing_else(settings: Settings, sql: str) -> None:
    publish(settings, run_id="run-1", published_at=NOW)
    with open_published(settings) as con, pytest.raises(duckdb.Error):
        con.execute(sql).fetchall()


def test_oldest_supported_client_reads_the_file(settings: Settings) -> None:
    """DuckDB 2.0 writes files no 1.x opens, unless told otherwise. `make test` installs the old client aside."""
    if not OLDEST_READER.is_dir():
        pytest.skip("the old DuckDB client is not installed; `make test` does that")
    publish(settings, run_id="run-1", published_at=NOW)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import duckdb\n"
        "con = duckdb.connect(sys.argv[2], read_only=True)\n"
        "print(duckdb.__version__, con.execute('select sum(cost_usd) from fct_a').fetchone()[0])"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", program, str(OLDEST_READER), str(settings.published_database)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.split() == ["1.2.2", "3.3000000000"], result.stderr
