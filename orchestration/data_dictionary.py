"""docs/tables.md: every published table and column, as the mart `dim_published_columns` says it.

`make docs` (`python -m orchestration.data_dictionary`) writes it; a test fails while it differs.
"""

import itertools
import tempfile
from pathlib import Path

import duckdb

from orchestration.dbt_runs import FILE_NAME, run_dbt
from orchestration.settings import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "tables.md"
_INTRODUCTION = """# Published tables

<!-- Written from the descriptions in dbt/models/marts by `make docs`; edit those. -->

What `data/published/inference_ledger.duckdb` and `data/published/parquet/` hold. The first sentence of a table is its
grain. The same as a table: `dim_published_columns`; a client that shows comments shows each beside its column. How the
figures come about: [unit-costs.md](unit-costs.md), [billing.md](billing.md), [closing.md](closing.md),
[drift.md](drift.md), [sizing.md](sizing.md), [capacity.md](capacity.md), [price-checks.md](price-checks.md),
[usage](usage/README.md).
"""


def page() -> str:
    """Returns the text of docs/tables.md; builds the mart in a warehouse of its own."""
    with tempfile.TemporaryDirectory() as name:
        warehouse = Path(name) / FILE_NAME
        run_dbt("run", "--select", "dim_published_columns", warehouse=warehouse, folder=Path(name) / "target")
        with duckdb.connect(str(warehouse), read_only=True) as con:
            rows = con.execute(
                "select subject, table_name, table_meaning, made_from, origins, column_name, data_type, "
                "coalesce(unit, ''), meaning "
                "from marts.dim_published_columns order by subject, table_name, column_number"
            ).fetchall()
    index, tables = [], []
    for subject, of_subject in itertools.groupby(rows, key=lambda row: row[0]):
        names = []
        for table, columns in itertools.groupby(of_subject, key=lambda row: row[1]):
            names.append(f"[{table}](#{table})")
            tables.append(_table(table, list(columns)))
        index.append(f"- **{subject}**: {', '.join(names)}")
    return "\n".join([_INTRODUCTION, *index, "", *tables])


def _table(name: str, rows: list[tuple[str, ...]]) -> str:
    _, _, meaning, made_from, origins, *_ = rows[0]
    lines = [f"## {name}", "", meaning.replace("<", "&lt;"), ""]
    if origins:
        lines += [f"Made from {_code(made_from)}; in the end from {_code(origins)}.", ""]
    lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
    lines += [
        f"| {column} | {data_type.lower()} | {unit} | {text.replace('|', '&#124;').replace('<', '&lt;')} |"
        for *_, column, data_type, unit, text in rows
    ]
    return "\n".join([*lines, ""])


def _code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", "))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
