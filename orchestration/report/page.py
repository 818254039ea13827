"""The page: data, style, program and the charts' library in one file that asks nobody for anything.

`script-src` names the page's own scripts by their digest and nothing else, `default-src 'none'` forbids every request:
a name that got in as markup in spite of all could neither run nor call home. Style is `unsafe-inline` because the
charts' library styles its tooltip so; with no source for images and fonts, style cannot call home either.
"""

import base64
import hashlib
import json
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from orchestration.report.data import report_data
from orchestration.settings import duckdb_config

FOLDER = Path(__file__).parent


def build_report(database: Path, target: Path) -> int:
    """Writes the report of a published file to `target` and returns its size in bytes.

    Args:
        database: the published DuckDB file; opened read-only.
        target: the page to write.

    Raises:
        duckdb.Error: the file lacks a table or column of the contract.
    """
    with duckdb.connect(str(database), read_only=True, config=duckdb_config()) as con:
        page = render(report_data(con))
    target.write_text(page, encoding="utf-8")
    return target.stat().st_size


def render(data: dict[str, Any]) -> str:
    """The page of what `report_data` returns."""
    library, program = _library(), (FOLDER / "report.js").read_text(encoding="utf-8")
    last = date.fromisoformat(data["run"]["as_of_date"])
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html").render(
        run=data["run"],
        last_day=f"{last.day} {last:%b %Y}",
        policy=f"default-src 'none'; script-src {_digest(library)} {_digest(program)}; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'",
        style=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        library=Markup(library),  # noqa: S704 - a pinned package's
        program=Markup(program),  # noqa: S704 - our own file
        data=Markup(script_json(data)),  # noqa: S704 - escaped there
    )


def script_json(data: object) -> str:
    """JSON that cannot end the script element it stands in, nor, by U+2028 and U+2029, a line of it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, which says when it is there: numbers do not wait for charts."""
    library: str = vl_convert.javascript_bundle(
        "window.vegaEmbed = vegaEmbed; window.dispatchEvent(new Event('charts'));"
    )
    if "</script" in library.lower() or "<!--" in library:
        raise ValueError("the charts' library cannot stand inside a page: it holds an end of a script")
    return library


def _digest(script: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"
