"""The code location Dagster loads, and the daily job run in this process."""

import contextlib
import fcntl
import logging
import re
import shutil
import subprocess
import textwrap
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite import sqlite_event_log

from orchestration.alerts.findings import RunFailures
from orchestration.event_log import light_event_log
from orchestration.exchange_rates import currencies_to_convert
from orchestration.settings import DBT_DIR, Settings, apply_environment, dbt_target_dir, put_own_commands_first
from orchestration.warehouse import transform_digest
from scrapers.landing import Landing
from scrapers.overrides import OVERRIDES
from scrapers.prices.registry import PRICE_SOURCES

# Each dbt run under Dagster leaves a folder with its manifest; this many are kept for looking into.
KEPT_DBT_RUNS = 5
REASON_LENGTH = 600  # characters of why a step failed: some ten lines in a terminal, and what a chat message takes

PUBLISHED = dg.AssetKey(["published", "inference_ledger"])

daily_job = dg.define_asset_job(
    "daily_job",
    selection=dg.AssetSelection.all(),
    description="Prices, usage and ledger.yaml in; checked, transformed and published out.",
    executor_def=dg.in_process_executor,  # one DuckDB file has one writer
)
# Published by 06:00 UTC. In UTC, for schedules in local time lose or repeat a day when clocks change.
daily_schedule = dg.ScheduleDefinition(
    name="daily_job_every_morning", job=daily_job, cron_schedule="0 5 * * *", execution_timezone="UTC"
)
freshness = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))


@dataclass(frozen=True, slots=True)
class Event:
    """One line of progress."""

    kind: str  # step_started | step_done | step_failed | table_built | check_failed | message
    name: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a daily run ended."""

    success: bool
    run_id: str
    failures: RunFailures
    is_published: bool


class _Progress(logging.Handler):
    """Hands the events of a run to the listener of `run_daily_job`; silent for runs that Dagster started itself."""

    listener: Callable[[Event], None] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.listener is None:
            return
        meta: dict[str, Any] = getattr(record, "dagster_meta", {})
        event: dg.DagsterEvent | None = meta.get("dagster_event")
        step = str(meta.get("step_key") or "")
        if event is None:
            if record.levelno >= logging.INFO and step:
                self.listener(Event("message", step, str(meta.get("orig_message", ""))))
        elif event.event_type is dg.DagsterEventType.STEP_START:
            self.listener(Event("step_started", step))
        elif event.event_type is dg.DagsterEventType.STEP_SUCCESS:
            self.listener(Event("step_done", step))
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
            self.listener(Event("step_failed", step, _reason(event)))
        elif event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key:
            self.listener(Event("table_built", "/".join(event.asset_key.path)))
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                name = f"{'/'.join(check.asset_key.path)}: {check.check_name}"
                self.listener(Event("check_failed", name, check.description or ""))


_progress = _Progress()


def _progress_logger(_: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("inference_ledger.progress")
    logger.addHandler(_progress)
    return logger


@dg.definitions
def defs() -> dg.Definitions:
    """All assets, checks, the daily job and its schedule."""
    prepare_dbt()
    found = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    own = dg.Definitions(
        jobs=[daily_job],
        schedules=[daily_schedule],
        executor=dg.in_process_executor,
        loggers={"progress": dg.LoggerDefinition(_progress_logger), "console": dg.colored_console_logger},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # or the daemon's log says it at each load
        return dg.Definitions.merge(found, own).map_asset_specs(
            func=lambda spec: spec.replace_attributes(freshness_policy=freshness)
        )


def run_daily_job(
    settings: Settings,
    *,
    as_of: date | None = None,
    accept_smaller: tuple[str, ...] = (),
    listener: Callable[[Event], None] | None = None,
) -> RunOutcome:
    """Runs `daily_job` in this process on the folders of `settings`.

    Args:
        settings: from `load_settings`.
        as_of: last UTC day of the marts; None for yesterday.
        accept_smaller: price sources whose next snapshot may be much smaller than the last one.
        listener: called with each event, for progress on screen.
    """
    apply_environment(settings)
    job = defs().get_repository_def().get_job("daily_job")
    idle = idle_assets(settings)
    _progress.listener = listener
    try:
        with light_event_log(sqlite_event_log), dg.DagsterInstance.get() as instance:
            result = job.execute_in_process(
                instance=instance,
                raise_on_error=False,
                asset_selection=[key for key in job.asset_layer.selected_asset_keys if key not in idle],
                run_config={
                    "loggers": {"progress": {"config": {}}, "console": {"config": {"log_level": "DEBUG"}}},
                    "ops": {
                        "raw__price_records": {"config": {"accept_smaller": list(accept_smaller)}},
                        "raw__ledger_run": {"config": {"date": as_of.isoformat() if as_of else ""}},
                    },
                },
            )
    finally:
        _progress.listener = None
        remove_old_dbt_runs()
    failures, is_published = failures_of(result.all_events)
    return RunOutcome(result.success, result.run_id, failures, is_published)


def failures_of(events: Iterable[dg.DagsterEvent]) -> tuple[RunFailures, bool]:
    """What failed in a run, and whether it published."""
    steps, checks, is_published = [], [], False
    for event in events:
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            steps.append((str(event.step_key), _reason(event)))
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                checks.append((f"{'/'.join(check.asset_key.path)}: {check.check_name}", check.description or ""))
        elif event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key == PUBLISHED:
            is_published = True
    return RunFailures(tuple(steps), tuple(checks)), is_published


def idle_assets(settings: Settings) -> set[dg.AssetKey]:
    """Returns the price assets with which this ledger has nothing to do. Under Dagster they are there, and say so."""
    names = set(PRICE_SOURCES) - set(settings.enabled_price_sources())
    if not settings.ledger.prices.overrides and not Landing(settings.landing_dir).entries(OVERRIDES.name, damaged=[]):
        names.add(OVERRIDES.name)
    idle = {dg.AssetKey(["landing", f"{name}_prices"]) for name in names}
    if not currencies_to_convert(settings, now=datetime.now(UTC)):
        idle |= {dg.AssetKey(["landing", "ecb_exchange_rates"]), dg.AssetKey(["raw", "exchange_rates"])}
    return idle


def prepare_dbt() -> None:
    """Parses the dbt project when its manifest is missing or of other project files: Dagster loads the manifest.

    By content, not by time: the files of a new image may be older than the manifest that the old one left on the
    volume. One process at a time: on a new machine the daemon and the web server load their definitions together.
    """
    put_own_commands_first()
    manifest = dbt_target_dir() / "manifest.json"
    parsed = manifest.with_name("manifest.digest")
    digest = transform_digest(DBT_DIR, ("models", "macros", "seeds", "tests", "dbt_project.yml", "profiles.yml"))
    manifest.parent.mkdir(parents=True, exist_ok=True)
    with (manifest.parent / "parse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not manifest.exists() or not parsed.exists() or parsed.read_text() != digest:
            command = ["dbt", "--quiet", "parse", "--profiles-dir", "."]
            subprocess.run(command, cwd=DBT_DIR, check=True)  # noqa: S603 - a constant command
            parsed.write_text(digest)


def remove_old_dbt_runs() -> None:
    """Keeps the folders of the last few dbt runs; each holds some megabytes."""
    runs = sorted(
        (path for path in dbt_target_dir().glob("*-*") if path.is_dir()),
        key=lambda path: path.stat().st_mtime,
    )
    for path in runs[:-KEPT_DBT_RUNS]:
        if time.time() - path.stat().st_mtime > timedelta(hours=1).total_seconds():
            shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run of the daily job or of pruning in Dagster's history; `delete` takes it out. `paths`: files of its own."""

    run_id: str
    started_on: date
    paths: tuple[Path, ...]
    delete: Callable[[], None]


@contextlib.contextmanager
def past_runs(settings: Settings) -> Iterator[list[PastRun]]:
    """The runs of the daily job and of pruning but for the newest of each; they can be deleted in the block.

    Runs of other jobs are not among them: others may use the same Dagster. SQLite keeps the space of deleted rows for
    new ones; the log of each run is a file of its own.
    """
    apply_environment(settings)
    # Without light_event_log, which would hold the files that go.
    with dg.DagsterInstance.get() as instance:
        events = instance.event_log_storage

        def paths(run_id: str) -> tuple[Path, ...]:
            own = [Path(instance.storage_directory()) / run_id]
            if isinstance(events, sqlite_event_log.SqliteEventLogStorage):
                own += [Path(events.path_for_shard(run_id) + ending) for ending in ("", "-wal", "-shm")]
            return tuple(path for path in own if path.exists())

        def delete(run_id: str) -> None:
            instance.delete_run(run_id)
            if isinstance(events, SqlEventLogStorage):  # Dagster leaves these: a row per check and run
                with events.index_connection() as con:
                    con.execute(AssetCheckExecutionsTable.delete().where(AssetCheckExecutionsTable.c.run_id == run_id))

        found = [
            (record.dagster_run.run_id, record.create_timestamp.date())
            for name in (daily_job.name, "prune_job")
            for record in instance.get_run_records(dg.RunsFilter(job_name=name))[1:]
        ]
        yield [PastRun(run_id, day, paths(run_id), partial(delete, run_id)) for run_id, day in found]


def _reason(event: dg.DagsterEvent) -> str:
    """Why a step failed, in one line: the cause at the bottom, and of dbt what dbt itself says."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    message = error.message.strip() if error else ""
    _, found, dbt_errors = message.partition("Errors parsed from dbt logs:")
    if found:
        plain = re.sub(r"\x1b?\[\d+m", "", dbt_errors)
        message = "dbt: " + plain
    return textwrap.shorten(message, REASON_LENGTH, placeholder=" … (the log has the rest)")
