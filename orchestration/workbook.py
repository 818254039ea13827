"""`inference-ledger export-workbook`: the published tables that finance asks for, as one XLSX file.

A sheet a table, newest rows first, typed: dates are dates, money is a number, and text stays text whatever it begins
with. Excel's numbers hold 15 digits; to the last cent of more than that go to Parquet or DuckDB.
"""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from orchestration.command_options import ConfigOption, DataDirOption
from orchestration.settings import Settings, load_settings

if TYPE_CHECKING:
    import duckdb

SHEETS = (
    "fct_unit_costs_daily",
    "fct_purchase_mix_daily",
    "fct_tenant_costs_daily",
    "fct_month_close",
    "fct_bill_reconciliation_daily",
    "fct_cost_drift_daily",
    "fct_api_comparison_daily",
    "fct_capacity_plan",
    "fct_price_anomalies",
    "fct_source_freshness",
)
MOST_ROWS = 100_000  # a sheet holds ten times as many, and nobody scrolls there
WIDEST = 60
# By the unit of the column (dim_published_columns); the first that the unit begins with.
NUMBER_FORMATS = {"USD per": "#,##0.0000", "USD": "#,##0.00", "ratio": "0.0%", "GPU-hours": "#,##0.00"}


def export_workbook(
    target: Annotated[Path, typer.Argument(help="File to write, such as ledger.xlsx; replaced whole.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write the published tables that finance asks for as one spreadsheet, a sheet a table."""
    from orchestration.cli import out
    from orchestration.publication import PublicationError

    try:
        counts = write_workbook(load_settings(config, data_dir), target)
    except PublicationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for name, (shown, total) in counts.items():
        cut = "" if shown == total else f" of {total:,}, the newest"
        out.print(Text(f"  {name}: {shown:,} rows{cut}"), soft_wrap=True)
    out.print(Text(f"wrote {target}"), soft_wrap=True)


def write_workbook(settings: Settings, target: Path) -> dict[str, tuple[int, int]]:
    """Writes the workbook to `target` and returns per sheet how many rows it shows and how many the table has.

    Raises:
        FileNotFoundError: nothing has been published yet, or `target` has no folder.
        PublicationError: what is published is of a release that had no dictionary of columns.
    """
    import xlsxwriter

    from orchestration.publication import PublicationError, open_published

    new_file = target.with_name(f".{target.name}.new")
    counts = {}
    with open_published(settings) as con:
        known = {name for (name,) in con.execute("select table_name from duckdb_tables()").fetchall()}
        if "dim_published_columns" not in known:
            raise PublicationError(f"{settings.published_dir} is of an older release; run `inference-ledger run` first")
        # Nothing that a name begins with makes it a formula or a link.
        harmless = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
        options = {**harmless, "nan_inf_to_errors": True, "constant_memory": True}
        with new_file.open("wb") as stream, xlsxwriter.Workbook(stream, options) as book:
            _write_contents(book, con)
            for name in SHEETS:
                if name in known:
                    counts[name] = _write_table(book, con, name)
            _write_columns(book, con)
    new_file.replace(target)
    return counts


def _write_contents(book: Any, con: "duckdb.DuckDBPyConnection") -> None:
    sheet, bold = book.add_worksheet("Contents"), book.add_format({"bold": True})
    sheet.set_column(0, 0, 34)
    sheet.set_column(1, 1, 120)
    run = con.execute("select as_of_date, published_at, run_id from ledger_run").fetchone()
    lines = [("Inference ledger", ""), ("", "")]
    if run:
        lines += [("Days to", f"{run[0]} (UTC)"), ("Published", f"{run[1]:%Y-%m-%d %H:%M} UTC"), ("Run", run[2])]
    lines += [("Empty cell", "not known; the column null_reason says why"), ("", "")]
    meanings = dict(con.execute("select distinct table_name, table_meaning from dim_published_columns").fetchall())
    lines += [(name, meanings[name]) for name in SHEETS if name in meanings]
    for number, (what, text) in enumerate(lines):
        sheet.write_string(number, 0, what, bold)
        sheet.write_string(number, 1, text)


def _write_columns(book: Any, con: "duckdb.DuckDBPyConnection") -> None:
    sheet = book.add_worksheet("Columns")
    head = book.add_format({"bold": True, "bottom": 1})
    for number, (name, width) in enumerate(
        (("table", 32), ("column", 44), ("type", 18), ("unit", 30), ("meaning", 120))
    ):
        sheet.set_column(number, number, width)
        sheet.write_string(0, number, name, head)
    sheet.freeze_panes(1, 0)
    rows = con.execute(
        "select table_name, column_name, data_type, coalesce(unit, ''), meaning from dim_published_columns "
        "where table_name in (select unnest(?)) order by list_position(?, table_name), column_number",
        [list(SHEETS), list(SHEETS)],
    ).fetchall()
    for number, row in enumerate(rows, start=1):
        for place, text in enumerate(row):
            sheet.write_string(number, place, text)


def _write_table(book: Any, con: "duckdb.DuckDBPyConnection", name: str) -> tuple[int, int]:
    """Row 1 has the names, row 2 the units; both stay in sight."""
    units = dict(
        con.execute(
            "select column_name, unit from dim_published_columns where table_name = ? and unit is not null", [name]
        ).fetchall()
    )
    (total,) = con.execute(f'select count(*) from "{name}"').fetchone() or (0,)
    described = con.execute(f'describe "{name}"').fetchall()
    names = [f'"{row[0]}"' for row in described]
    by_time = next((f'"{row[0]}"' for row in described if row[1] in {"DATE", "TIMESTAMP WITH TIME ZONE"}), names[0])
    order = ", ".join([f"{by_time} desc", *(column for column in names if column != by_time)])
    cursor = con.execute(f'select * from "{name}" order by {order} limit {MOST_ROWS}')
    sheet = book.add_worksheet(name)
    head, unit_format = book.add_format({"bold": True}), book.add_format({"italic": True, "bottom": 1})
    formats = []
    for place, (column, data_type, *_) in enumerate(described):
        unit = units.get(column, "")
        formats.append(book.add_format({"num_format": _number_format(data_type, unit)}))
        sheet.set_column(place, place, min(WIDEST, max(12, len(column) + 2)))
        sheet.write_string(0, place, column, head)
    for place, (column, *_) in enumerate(described):  # row by row: what was written before is on disk already
        sheet.write_string(1, place, units.get(column, ""), unit_format)
    sheet.freeze_panes(2, 0)
    shown = 0
    while rows := cursor.fetchmany(10_000):
        for row in rows:
            for place, value in enumerate(row):
                _write(sheet, shown + 2, place, value, formats[place])
            shown += 1
    sheet.autofilter(1, 0, shown + 1, len(described) - 1)
    return shown, total


def _number_format(data_type: str, unit: str) -> str:
    if data_type == "DATE":
        return "yyyy-mm-dd"
    if data_type.startswith("TIMESTAMP"):
        return "yyyy-mm-dd hh:mm:ss"
    for begins, number_format in NUMBER_FORMATS.items():
        if unit.startswith(begins):
            return number_format
    return "#,##0" if data_type in {"BIGINT", "INTEGER", "HUGEINT"} else "General"


def _write(sheet: Any, row: int, column: int, value: object, cell_format: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, int | float | Decimal):
        sheet.write_number(row, column, value, cell_format)
    elif isinstance(value, datetime):
        sheet.write_datetime(row, column, value.replace(tzinfo=None), cell_format)  # UTC, as the unit in row 2 says
    elif isinstance(value, date):
        sheet.write_datetime(row, column, datetime(value.year, value.month, value.day), cell_format)  # noqa: DTZ001 - a day has none
    else:
        sheet.write_string(row, column, str(value))
