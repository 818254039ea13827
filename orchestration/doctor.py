"""`inference-ledger doctor`: whether the ledger is well, from the outside. It reads, and repairs nothing.

Everything is looked at in what is on disk, so that it answers while a run is at work, and when none will start.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import typer
from rich.text import Text

from orchestration.command_options import ConfigOption, DataDirOption
from orchestration.pruning import size
from orchestration.settings import Settings, load_settings
from orchestration.usage_archive import UsageArchiveError, read_archive

# A run copies the warehouse's marts beside the files in force before it replaces them.
SPACE_PER_WAREHOUSE = 2
LEAST_FREE_BYTES = 1_000_000_000
LEAST_SHOWN_BYTES = 1_000_000
STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look gave; `remedy` is empty where all is well."""

    subject: str
    state: Literal["ok", "warning", "error"]
    text: str
    remedy: str = ""


def examine(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Yields a finding per thing looked at: disk, sizes, lock, archive, published files, age, sources, alerts, keys."""
    yield _space(settings)
    yield _sizes(settings)
    yield _lock(settings)
    try:
        if archive := read_archive(settings):
            yield Finding("archive", "ok", f"usage before {archive.archived_until}, whose records were pruned")
    except UsageArchiveError as error:
        yield Finding("archive", "error", str(error), "the folder of archived usage is its only copy")
    manifest = _manifest(settings)
    if isinstance(manifest, Finding):
        yield manifest
    else:
        files = _files(settings, manifest)
        yield files
        yield _age(manifest, now)
        if files.state == "ok":
            yield from _tables(settings)
        if manifest.get("report") is None:
            text = str(manifest.get("report_problem", "there is none"))
            yield Finding("report", "warning", text, "inference-ledger report makes it anew")
    for name, why in settings.skipped_price_sources().items():
        yield Finding(f"price source {name}", "warning", why, "set the variable, or take the source out of ledger.yaml")
    for channel in settings.ledger.alerts.channels:
        if channel.name not in settings.alert_addresses():
            text = f"{channel.url_env} is not set: it gets nothing"
            yield Finding(f"alert channel {channel.name}", "warning", text, f"set {channel.url_env}")


def doctor(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Look whether the ledger is well: disk, lock, published files, age, sources, alerts. Exit code 1 if it is not."""
    from orchestration.cli import out

    settings = load_settings(config, data_dir)
    out.print(Text(f"{settings.config_path} is valid"), soft_wrap=True)
    found = list(examine(settings, datetime.now(UTC)))
    longest = max(len(one.subject) for one in found)
    for one in found:
        line = Text(f"{one.state:<8}", STYLES[one.state]).append(f"{one.subject:<{longest}}  {one.text}", "default")
        out.print(line, soft_wrap=True)
        if one.remedy:
            out.print(Text(f"{'':<8}{'':<{longest}}  {one.remedy}", "dim"), soft_wrap=True)
    if any(one.state == "error" for one in found):
        raise typer.Exit(1)


def _space(settings: Settings) -> Finding:
    folder = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    size = settings.warehouse_path.stat().st_size if settings.warehouse_path.exists() else 0
    free, needed = shutil.disk_usage(folder).free, max(LEAST_FREE_BYTES, SPACE_PER_WAREHOUSE * size)
    text = f"{_gb(free)} free; the warehouse has {_gb(size)}"
    if free < needed:
        return Finding("disk", "error", text, f"make room: a run wants {_gb(needed)} free in {folder}")
    return Finding("disk", "ok", text)


def _sizes(settings: Settings) -> Finding:
    """What grows: each folder and file of the data folder, the largest first. A look at each file, and no more."""
    sizes: Counter[str] = Counter()
    for folder, _, names in os.walk(settings.data_dir):
        for path in (Path(folder, name) for name in names):
            with contextlib.suppress(FileNotFoundError):  # a run at work may have taken it away
                sizes[path.relative_to(settings.data_dir).parts[0]] += path.lstat().st_size
    shown = [f"{name} {size(count)}" for name, count in sizes.most_common() if count >= LEAST_SHOWN_BYTES]
    return Finding("data", "ok", ", ".join(shown) or f"less than {size(LEAST_SHOWN_BYTES)} each")


def _lock(settings: Settings) -> Finding:
    path = settings.data_dir / "run.lock"
    if not path.exists():
        return Finding("run", "warning", "none was ever started here", "inference-ledger run")
    with path.open() as lock:  # shared, for an instant: a run that would start in it says that another is at work
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            since = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            return Finding("run", "ok", f"one is at work since {since:%Y-%m-%d %H:%M} UTC")
    return Finding("run", "ok", "none is at work")


def _manifest(settings: Settings) -> dict[str, Any] | Finding:
    path = settings.published_dir / "manifest.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Finding(
            "published files", "error", f"there are none in {settings.published_dir}", "inference-ledger run"
        )
    except ValueError as error:
        return Finding("published files", "error", f"{path} is damaged: {error}", "inference-ledger run writes it anew")
    return dict(content)


def _files(settings: Settings, manifest: dict[str, Any]) -> Finding:
    from orchestration.publication import differing_files

    wrong = differing_files(settings, manifest)
    if wrong:
        return Finding("published files", "error", "; ".join(wrong), "inference-ledger run publishes them anew")
    return Finding("published files", "ok", "each as the manifest says")


def _age(manifest: dict[str, Any], now: datetime) -> Finding:
    day = datetime.fromisoformat(str(manifest["as_of_date"])).replace(tzinfo=UTC)
    text = f"up to {day:%Y-%m-%d}, published {str(manifest['published_at'])[:16].replace('T', ' ')} UTC"
    if now - day > timedelta(days=3):  # the day itself, a day to run in, and one to look into a failure
        return Finding("last day", "error", text, "look into data/logs; is the schedule on? (docs/operations.md)")
    return Finding("last day", "ok", text)


def _tables(settings: Settings) -> Iterator[Finding]:
    from orchestration.publication import open_published

    with open_published(settings) as con:
        stale = con.execute("select source from fct_source_freshness where status = 'stale' order by 1").fetchall()
        incidents = con.execute(
            # As `inference-ledger alerts` counts: what stands under an incident is told with it.
            "select severity, count(*) from fct_alerts where state in ('open', 'reopened') and coalesce("
            "parent_incident_id, '') not in (select incident_id from fct_alerts where state in ('open', 'reopened')) "
            "group by severity order by list_position(['page', 'warning', 'info'], severity)"
        ).fetchall()
        undelivered = con.execute(
            "select count(*), min(delivery_problem) from fct_alerts where delivery_problem is not null"
        ).fetchone()
    if stale:
        names = ", ".join(name for (name,) in stale)
        yield Finding("sources", "warning", f"stale: {names}", 'inference-ledger query "from fct_source_freshness"')
    else:
        yield Finding("sources", "ok", "none is stale")
    told = ", ".join(f"{count} {severity}" for severity, count in incidents)
    if any(severity == "page" for severity, _ in incidents):
        yield Finding("alerts", "warning", f"open: {told}", "inference-ledger alerts")
    else:
        yield Finding("alerts", "ok", f"open: {told}" if told else "none is open")
    if undelivered and undelivered[0]:
        text = f"{undelivered[0]} did not arrive: {undelivered[1]}"
        yield Finding("delivery", "error", text, "inference-ledger alerts test")


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
