"""The workbook, read by another library than the one that writes it."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
import typer

from orchestration.publication import publish
from orchestration.settings import Settings, load_settings
from orchestration.warehouse import Warehouse
from orchestration.workbook import export_workbook, write_workbook

NOW = datetime(2026, 11, 24, 5, 30, tzinfo=UTC)
# What a spreadsheet could take for a formula, a link or a number.
NAMES = ["=1+1", "+1", "-2", "@sum(a1)", "http://example.com", "007", "<b>&", "‮x"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "ledger.yaml").write_text("fleet: []\n", encoding="utf-8")
    settings = load_settings(tmp_path / "ledger.yaml", tmp_path / "data")
    with Warehouse(settings.warehouse_path).connect() as con:
        con.execute("create schema if not exists marts")
        con.execute(
            "create table marts.fct_tenant_costs_daily as select date '2026-11-01' + i::integer as usage_date, "
            "unnest(?::varchar[]) as tenant, true as is_known, timestamptz '2026-11-02 03:04:05+00' as seen_at, "
            "cast(i + 0.25 as decimal(38, 10)) as cost_usd, null::decimal(18, 8) as cost_usd_per_request, "
            "cast(0.5 as decimal(9, 8)) as share_ratio from range(3) t(i)",
            [NAMES],
        )
        con.execute("""
            create table marts.dim_published_columns as
            select 'fct_tenant_costs_daily' as table_name, 'One row per tenant.' as table_meaning, *
            from (values
                (1, 'usage_date', 'date', 'day, UTC', 'Day.'), (2, 'tenant', 'varchar', null, 'Who.'),
                (3, 'is_known', 'boolean', null, 'Whether.'), (4, 'seen_at', 'timestamp', 'instant, UTC', 'When.'),
                (5, 'cost_usd', 'decimal', 'USD', 'Money.'),
                (6, 'cost_usd_per_request', 'decimal', 'USD per request', 'x'),
                (7, 'share_ratio', 'decimal', 'ratio, 1 is all', 'Share.')
            ) as t (column_number, column_name, data_type, unit, meaning)
        """)
        con.execute(
            "insert into raw.ledger_run by name select 'run' as run_id, ? as started_at, "
            "date '2026-11-23' as as_of_date, date '2026-11-21' as window_start_date",
            [NOW],
        )
    publish(settings, run_id="run-1", published_at=NOW)
    return settings


def test_cells_are_typed_headed_and_harmless(settings: Settings, tmp_path: Path) -> None:
    counts = write_workbook(settings, tmp_path / "ledger.xlsx")
    assert counts == {"fct_tenant_costs_daily": (24, 24)}
    book = openpyxl.load_workbook(tmp_path / "ledger.xlsx")
    assert book.sheetnames == ["Contents", "fct_tenant_costs_daily", "Columns"]
    sheet = book["fct_tenant_costs_daily"]
    assert sheet.freeze_panes == "A3"
    assert [cell.value for cell in sheet[1]][:2] == ["usage_date", "tenant"]
    assert [cell.value for cell in sheet[2]][4:] == ["USD", "USD per request", "ratio, 1 is all"]
    rows = list(sheet.iter_rows(min_row=3))
    assert rows[0][0].value == datetime(2026, 11, 3)  # noqa: DTZ001 - the newest first
    assert rows[0][0].number_format == "yyyy-mm-dd"
    assert {row[1].value for row in rows} == set(NAMES)
    assert {row[1].data_type for row in rows} == {"s"}, "text, no formula"
    assert rows[0][2].value is True
    assert rows[0][3].value == datetime(2026, 11, 2, 3, 4, 5)  # noqa: DTZ001 - a spreadsheet knows no zone
    assert sum(Decimal(str(row[4].value)) for row in rows) == 8 * Decimal("3.75")  # 8 x (0.25 + 1.25 + 2.25)
    assert rows[0][4].number_format == "#,##0.00"
    assert {row[5].value for row in rows} == {None}, "unknown is empty, not zero"
    assert rows[0][6].number_format == "0.0%"
    assert {row[1].hyperlink for row in rows} == {None}
    assert [cell.value for cell in book["Columns"][6]] == [
        "fct_tenant_costs_daily",
        "cost_usd",
        "decimal",
        "USD",
        "Money.",
    ]
    assert book["Contents"]["B3"].value == f"{date(2026, 11, 23)} (UTC)"


def test_a_workbook_that_is_there_is_replaced_whole(settings: Settings, tmp_path: Path) -> None:
    target = tmp_path / "ledger.xlsx"
    target.write_text("old", encoding="utf-8")
    write_workbook(settings, target)
    assert openpyxl.load_workbook(target)
    assert [path.name for path in tmp_path.glob("*.new")] == []


def test_without_a_publication_there_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "ledger.yaml").write_text("fleet: []\n", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="nothing is published"):
        write_workbook(load_settings(tmp_path / "ledger.yaml", tmp_path / "data"), tmp_path / "x.xlsx")


def test_a_place_that_is_not_there_and_an_older_publication_end_in_sentences(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FileNotFoundError):  # main() prints it
        write_workbook(settings, tmp_path / "nowhere" / "ledger.xlsx")
    with Warehouse(settings.warehouse_path).connect() as con:
        con.execute("drop table marts.dim_published_columns")
    publish(settings, run_id="run-0", published_at=NOW)
    with pytest.raises(typer.Exit):
        export_workbook(tmp_path / "ledger.xlsx", settings.config_path, settings.data_dir)
    assert "older release" in capsys.readouterr().err
    assert not (tmp_path / "ledger.xlsx").exists()
