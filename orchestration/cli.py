"""The command line: `inference-ledger run`, `query`, `report`, `alerts`, `check-config`, `replay` and others.

Errors a user can act on are printed as sentences, without a traceback. Exit codes: 0 published, 1 nothing could be
published (or the command failed), 2 wrong usage or a wrong ledger.yaml.
"""

import contextlib
import csv
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestration.alerts.commands import alerts_app, delivery_lines
from orchestration.alerts.findings import RunFailures
from orchestration.capacity_commands import capacity_app
from orchestration.claims_command import claims
from orchestration.command_options import ConfigOption, DataDirOption
from orchestration.doctor import doctor
from orchestration.init_command import init
from orchestration.pruning import limits, prune, prune_after_run
from orchestration.run_lock import RunInProgressError, run_lock
from orchestration.seeds import seed_rows
from orchestration.settings import PROJECT_ROOT, ConfigError, Settings, apply_environment, load_settings
from orchestration.sizing_command import size
from orchestration.warehouse import Warehouse, WarehouseUnusableError
from orchestration.workbook import export_workbook
from scrapers.prices.registry import PRICE_SOURCES

if TYPE_CHECKING:
    import duckdb

    from orchestration.alerts.delivery import Delivery
    from orchestration.definitions import Event, RunOutcome

app = typer.Typer(
    name="inference-ledger",
    help="What a token costs on each GPU you rent: prices, usage and commitments joined into one daily ledger.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(alerts_app, name="alerts")
app.add_typer(capacity_app)  # plan, backtest-capacity
app.command()(size)
app.command()(claims)
app.command()(doctor)
app.command()(init)
app.command()(prune)
app.command()(export_workbook)
# Bound to the streams the program started with: while the day runs, both descriptors lead to a log file instead.
_WIDTH = None if sys.stdout.isatty() else 110
out = Console(file=os.fdopen(os.dup(1), "w", encoding="utf-8"), highlight=False, width=_WIDTH)
err = Console(file=os.fdopen(os.dup(2), "w", encoding="utf-8"), highlight=False, width=_WIDTH)

# Whatever `retention` says: a service manager tries a run that fails again and again, and only a published one prunes.
MOST_LOGS = 400
INTERRUPTED = "Interrupted. What was published stays; the next run takes up what is missing."
EARLIEST_YEAR = 2015  # before any GPU price of the kind existed


STEP_TITLES = {
    "raw__ledger": "ledger.yaml",
    "raw__price_records": "Check and load prices",
    "landing__override_prices": "Price overrides",
    "landing__ecb_exchange_rates": "Exchange rates (ECB)",
    "raw__exchange_rates": "Check and load exchange rates",
    "raw__vllm_samples": "Read vLLM scrapes",
    "raw__litellm_requests": "Read LiteLLM logs",
    "raw__ledger_run": "Window of the run",
    "landing__metrics": "Scrape metric endpoints",
    "landing__prometheus": "Ask Prometheus servers",
    "dbt_build": "Transform and test (dbt)",
    "raw__cost_drift": "Judge unit costs for drift",
    "raw__gpu_sizing": "Size models on GPUs",
    "raw__capacity_plans": "Plan commitments",
    "dbt_build_after_drift": "Explain drift, price sizing and plans (dbt)",
    "alerts__incidents": "Take up findings",
    "published__inference_ledger": "Publish",
    "published__inference_ledger_published_file_opens": "Open what was published",
    "published__inference_ledger_report_is_made": "Look at the report",
}


def main() -> None:
    """Entry point of the console script: what goes wrong ends in a sentence."""
    try:
        app()
    except ConfigError as error:
        err.print(Text(str(error)), soft_wrap=True)
        sys.exit(2)
    except (OSError, WarehouseUnusableError) as error:
        err.print(Text(str(error), "red"), soft_wrap=True)
        sys.exit(1)


@app.command()
def run(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    day: Annotated[
        str | None,
        typer.Option("--date", metavar="YYYY-MM-DD", help="Last UTC day of the ledger.  [default: yesterday]"),
    ] = None,
    accept_smaller: Annotated[
        list[str] | None,
        typer.Option("--accept-smaller", metavar="SOURCE", help="Take this source's snapshot though it shrank."),
    ] = None,
) -> None:
    """Run the day: pull prices, read usage, compute costs, check everything, publish."""
    as_of = _date(day)
    settings = load_settings(config, data_dir)
    apply_environment(settings)
    before = _published_run(settings)
    progress = _Progress()
    outcome: RunOutcome | None = None
    pruned: list[str] = []
    log = settings.logs_dir / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.log"
    with only_run(settings):
        with Warehouse(settings.warehouse_path).connect():
            pass  # a warehouse that cannot be opened is told once, before anything starts
        try:
            with progress, _output_to(log):
                from orchestration.definitions import run_daily_job

                outcome = run_daily_job(
                    settings, as_of=as_of, accept_smaller=tuple(accept_smaller or ()), listener=progress.show
                )
                if outcome.is_published:  # what tells of a day that failed stays
                    pruned = prune_after_run(settings, datetime.now(UTC))
        except BaseException as error:
            if not isinstance(error, Exception):  # Ctrl-C, in the words of Python or of Dagster
                _fail(INTERRUPTED)
            with log.open("a", encoding="utf-8") as stream:
                traceback.print_exception(error, file=stream)
            progress.failures.append(("the run", f"{type(error).__name__}: {error}"))
    if any("ExecutionInterrupted" in text for _, text in progress.failures):
        _fail(INTERRUPTED)
    published = _published_run(settings)
    is_published = published is not None and published != before
    failures = RunFailures(tuple(progress.failures)) if outcome is None else outcome.failures
    delivery = _take_up_run(settings, failures, is_published=is_published, day=as_of)
    if not is_published:
        err.print(
            "\n[bold red]Nothing was published.[/]",
            *([] if before is None else ["Yesterday's files stay in force."]),
        )
        for name, text in progress.failures:
            err.print(Text(f"  {name}: {_first_sentence(text, 2000)}"), soft_wrap=True)
        err.print(f"  everything that was printed: {_short(log)}", markup=False, soft_wrap=True)
        _print_alerts(settings, delivery)
        raise typer.Exit(1)
    print_summary(settings, delivery, pruned)
    if outcome is None or not outcome.success:
        err.print("[yellow]Published, but a step after it failed; see above.[/]")


@app.command()
def replay(
    source: Annotated[str, typer.Argument(help=f"Price source: {', '.join(PRICE_SOURCES)}.")],
    files: Annotated[list[Path], typer.Argument(help="The recorded answer; several files for several pages.")],
    fetched_at: Annotated[str, typer.Option("--fetched-at", help="When it was fetched, such as 2026-10-01T06:00Z.")],
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Needed where the source has several, such as ec2-us-east-1."),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    accept_smaller: Annotated[bool, typer.Option("--accept-smaller", help="Take it though it shrank.")] = False,
) -> None:
    """Land a recorded answer through the same path as a live one, and load it."""
    settings = load_settings(config, data_dir)
    apply_environment(settings)
    from orchestration.price_feeds import land_replay, load_landed
    from scrapers.errors import ScrapeError
    from scrapers.prices.base import SourceOptions

    if source not in PRICE_SOURCES:
        _fail(f"no price source {source!r}; known: {', '.join(PRICE_SOURCES)}", code=2)
    options = settings.source_options(source) if source in settings.ledger.prices.sources else SourceOptions()
    datasets = PRICE_SOURCES[source].datasets(options)
    if dataset is None and len(datasets) != 1:
        _fail(f"{source} has several datasets; add --dataset with one such as {', '.join(datasets)}", code=2)
    # Regions that the ledger does not ask for may be replayed too: the source says how it names them.
    region = PRICE_SOURCES[source].region(dataset or "")
    if dataset is not None and dataset not in PRICE_SOURCES[source].datasets(SourceOptions(regions=(region,))):
        _fail(f"{source} has no dataset {dataset!r}; one is called {datasets[0]}", code=2)
    for path in files:
        if not path.is_file():
            _fail(f"no file {path}", code=2)
    try:
        moment = datetime.fromisoformat(fetched_at)
    except ValueError:
        _fail(f"--fetched-at {fetched_at!r} is not an instant; write 2026-10-01T06:00Z", code=2)
    if moment.tzinfo is None:
        _fail(f"--fetched-at {fetched_at!r} has no time zone; add Z for UTC", code=2)
    if moment.year < EARLIEST_YEAR:
        _fail(f"--fetched-at {fetched_at!r} lies before {EARLIEST_YEAR}", code=2)
    if moment > datetime.now(UTC):
        _fail(f"--fetched-at {fetched_at!r} lies in the future", code=2)
    try:
        entry = land_replay(settings, source, dataset or datasets[0], files, moment)
    except ScrapeError as error:
        _fail(str(error))
    out.print(f"landed {entry.entry_id}")
    with Warehouse(settings.warehouse_path).connect() as con:
        results = load_landed(con, settings, source, accept_smaller=accept_smaller)
        rejected = con.execute(
            "select reason, field, occurrences, first_location, detail from raw.rejected_records "
            "where batch_id = ? order by occurrences desc",
            [entry.entry_id],
        ).fetchall()
    mine = next((result for result in results if result.fetch_id == entry.entry_id), None)
    if mine is None:
        out.print("the same answer was loaded before; nothing changed")
        return
    out.print(f"{mine.outcome}: {mine.record_count} prices, {mine.rejected_count} rejected")
    for reason, field, occurrences, location, detail in rejected:
        out.print(
            f"  {occurrences} x {reason} in {field or 'row'}, first at {location}" + (f": {detail}" if detail else ""),
            markup=False,
        )
    if mine.outcome == "refused":
        _fail(f"{mine.message}. What was in force stays in force.")
    out.print("run `inference-ledger run` to bring it into the published tables")


@app.command()
def reparse(
    source: Annotated[str | None, typer.Argument(help="Price source.  [default: all]", show_default=False)] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="YYYY-MM-DD", help="First UTC day of fetching.  [default: all days]"),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    accept_smaller: Annotated[
        bool, typer.Option("--accept-smaller", help="Take snapshots though they shrank.")
    ] = False,
) -> None:
    """Parse the landed snapshots again with today's parsers, and load those that say something else now."""
    settings = load_settings(config, data_dir)
    apply_environment(settings)
    from orchestration.price_feeds import PRICE_PARSERS, reparse_landed

    if source is not None and source not in PRICE_PARSERS:
        _fail(f"no price source {source!r}; known: {', '.join(PRICE_PARSERS)}", code=2)
    try:
        first_day = None if since is None else date.fromisoformat(since)
    except ValueError:
        _fail(f"--since {since!r} is not a date; write YYYY-MM-DD", code=2)
    changed = 0
    with only_run(settings), Warehouse(settings.warehouse_path).connect() as con, out.status("") as status:
        for name in PRICE_PARSERS if source is None else [source]:

            def tell(done: int, total: int, name: str = name) -> None:
                status.update(f"{name}: {done} of {total} snapshots")

            found = reparse_landed(con, settings, name, since=first_day, accept_smaller=accept_smaller, progress=tell)
            if source is None and not found.snapshot_count and not found.problems:
                continue
            changed += found.restated_count + found.accepted_count
            out.print(
                f"{name}: {found.snapshot_count} snapshots read, {found.restated_count} restated, "
                f"{found.accepted_count} accepted that were refused; "
                f"{found.added_count} records added, {found.removed_count} removed",
                soft_wrap=True,
            )
            for problem in found.problems:
                out.print(Text("  left as it was: ", "yellow").append(problem), soft_wrap=True)
    if changed:
        out.print("run `inference-ledger run` to bring it into the published tables")
    else:
        out.print("nothing changed")


@app.command("check-config")
def check_config(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Validate ledger.yaml and say what it describes."""
    from orchestration.price_feeds import read_overrides

    settings = load_settings(config, data_dir)
    ledger = settings.ledger
    deployments = {entry.deployment for entry in ledger.fleet}
    out.print(f"{settings.config_path} is valid", markup=False)
    out.print(f"  price sources  {', '.join(settings.enabled_price_sources()) or 'none'}")
    out.print(f"  deployments    {len(deployments)} in {len(ledger.fleet)} entries")
    out.print(f"  commitments    {len(ledger.commitments)}")
    out.print(f"  usage sources  {', '.join(source.name for source in ledger.usage) or 'none'}")
    out.print(f"  kept           {limits(ledger.retention)}", soft_wrap=True)
    for name, why in settings.skipped_price_sources().items():
        out.print(f"  note: price source {name} is {why}", soft_wrap=True)
    for channel in ledger.alerts.channels:
        if channel.name not in settings.alert_addresses():
            out.print(f"  note: alert channel {channel.name} gets nothing as long as {channel.url_env} is not set")
    if ledger.prices.overrides:
        overrides, problems = read_overrides(settings, at=datetime.now(UTC))
        out.print(f"  overrides      {sum(len(parsed.records) for parsed in overrides)} prices")
        for problem in problems:
            out.print(Text(f"  note: override {problem}"), soft_wrap=True)
    for source in ledger.usage:
        for name in settings.usage_headers(source)[1]:
            out.print(f"  note: usage source {source.name} is not asked as long as {name} is not set", soft_wrap=True)
    unseen = deployments - {name for source in ledger.usage for name in source.routes().values()}
    for name in sorted(unseen):
        out.print(f"  note: no usage source names deployment {name}: its tokens will be unknown, not zero")
    hardware = {(row["provider"], row["instance_type"]) for row in seed_rows("instance_types")}
    for kind in sorted({(entry.provider, entry.instance_type) for entry in ledger.fleet} - hardware):
        out.print(
            f"  note: {kind[0]} {kind[1]} is not in dbt/seeds/instance_types.csv: its hours cost nothing known unless "
            "gpus_per_replica and a contracted rate are given",
            soft_wrap=True,
        )


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="A query over the published tables, such as 'from fct_unit_costs_daily'.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    limit: Annotated[int, typer.Option("--limit", help="Rows to show.", min=1)] = 50,
    as_csv: Annotated[bool, typer.Option("--csv", help="All rows as CSV on standard output.")] = False,
) -> None:
    """Query the published file, read-only."""
    settings = load_settings(config, data_dir)
    import duckdb

    from orchestration.publication import open_published

    try:
        with open_published(settings) as con:
            result = con.execute(sql) if sql.strip(" ;\n\t") else None
            columns = [str(column[0]) for column in (result.description if result else None) or []]
            rows = [] if not columns else con.fetchall() if as_csv else con.fetchmany(limit + 1)
    except FileNotFoundError as error:
        _fail(str(error))
    except duckdb.Error as error:
        _fail(str(error).strip(), code=2)
    if as_csv:
        _print_csv(columns, rows)
        return
    if not columns:
        _fail("that is no query; write one such as: from fct_unit_costs_daily", code=2)
    _print_rows(columns, [[_cell(value) for value in row] for row in rows[:limit]])
    if len(rows) > limit:
        out.print(f"… more rows; raise --limit (now {limit})")


@app.command()
def report(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Make the report of the published tables anew, such as after an upgrade, and say where it is."""
    settings = load_settings(config, data_dir)
    from orchestration.publication import ReportError, write_report

    try:
        with only_run(settings):
            path = write_report(settings)
    except FileNotFoundError as error:
        _fail(str(error))
    except ReportError as error:
        _fail(f"the report could not be made: {error}")
    out.print(f"{_short(path)}, {path.stat().st_size / 1e6:.1f} MB; opens in any browser", markup=False, soft_wrap=True)


@app.command("export-focus")
def export_focus(
    target: Annotated[Path, typer.Argument(help="File to write: Parquet where it ends in .parquet, else CSV.")],
    month: Annotated[
        str | None,
        typer.Option("--month", help="Billing period, such as 2026-10.  [default: all]", show_default=False),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write what inference cost as FOCUS 1.2 rows, for a FinOps tool or a charge-back."""
    settings = load_settings(config, data_dir)
    from orchestration.publication import export_focus as export

    try:
        period = None if month is None else datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        _fail(f"--month {month}: write a month such as 2026-10", code=2)
    if not target.parent.is_dir():
        _fail(f"there is no folder {target.parent}", code=2)
    try:
        count = export(settings, target, month=period)
    except FileNotFoundError as error:
        _fail(str(error))
    out.print(f"{count:,} rows written to {target}")


@app.command("backtest-price-checks")
def backtest_price_checks(
    history: Annotated[
        Path | None,
        typer.Option(
            "--history",
            help="Price history, Parquet or CSV: docs/price-checks.md lists its columns.  [default: the shared sample]",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", help="Rows known to be wrong, Parquet or CSV.  [default: labelled_wrong_prices*.csv* beside it]"
        ),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", help="Faults injected per kind; 0 for none.", min=0)] = 50,
    seed: Annotated[int, typer.Option("--seed", help="The same seed injects the same faults.")] = 1,
) -> None:
    """Replay a price history through gate and price rules, then break it on purpose: what is found, what is not."""
    from orchestration.price_backtest import HistoryError, backtest_history, report_history, report_trials, run_trials

    path = history or PROJECT_ROOT.parent / "shared" / "samples" / "anomaly" / "gpu_price_history.parquet"
    if not path.is_file():
        _fail(f"no price history at {path}; give one with --history", code=2)
    if labels is not None and not labels.is_file():
        _fail(f"no file {labels}", code=2)
    known = labels or next(iter(sorted(path.parent.glob("labelled_wrong_prices*.csv*"))), None)
    try:
        for line in report_history(backtest_history(path, known)):
            out.print(line, markup=False, soft_wrap=True)
        if trials:
            done = run_trials(
                path,
                known,
                trials=trials,
                seed=seed,
                progress=lambda count, total: err.print(f"  trial {count} of {total}", markup=False),
            )
            for line in report_trials(*done, seed=seed):
                out.print(line, markup=False, soft_wrap=True)
    except HistoryError as error:
        _fail(str(error))


@app.command("backtest-drift")
def backtest_drift(
    nab: Annotated[
        Path | None,
        typer.Option("--nab", help="Folder with NAB's data and labels.  [default: the shared sample, if it is there]"),
    ] = None,
    series: Annotated[int, typer.Option("--series", help="Simulated series of each kind.", min=10)] = 150,
    worlds: Annotated[int, typer.Option("--worlds", help="Worlds with one planted cause; 0 for none.", min=0)] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same series and worlds.")] = 1,
) -> None:
    """Judge simulated unit costs, NAB's series and planted causes: found how soon, cried in vain how often."""
    from orchestration.drift_backtest import BacktestError, report

    sample = PROJECT_ROOT.parent / "shared" / "samples" / "anomaly" / "nab"
    if nab is None and sample.is_dir():
        nab = sample
    try:
        for line in report(series=series, worlds=worlds, seed=seed, nab=nab):
            out.print(line, markup=False, soft_wrap=True)
    except BacktestError as error:
        _fail(str(error), code=2)


@app.command()
def dev(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    port: Annotated[int, typer.Option("--port", help="Port of the web page.")] = 3000,
) -> None:
    """Open the Dagster web page on this ledger: assets, checks, runs, schedule."""
    settings = load_settings(config, data_dir)
    apply_environment(settings)
    dg = shutil.which("dg") or _fail("the web page is an extra: pip install 'inference-ledger[ui]'")
    with contextlib.suppress(KeyboardInterrupt):
        command = [dg, "dev", "--port", str(port)]
        raise typer.Exit(subprocess.call(command, cwd=PROJECT_ROOT))  # noqa: S603 - our own program, and a number


def _print_tenants(con: "duckdb.DuckDBPyConnection", day: date | None) -> None:
    """The five largest tenants of the day, what is nobody's, and sources that disagree without a reason."""
    tenants = con.execute(
        """
        select tenant, max(team), max(cost_center), sum(request_count), sum(input_tokens), sum(cached_input_tokens),
            sum(output_tokens), sum(total_tokens), sum(total_tokens) / nullif(sum(sum(total_tokens)) over (), 0)
        from fct_usage_daily
        where usage_date = ?
        group by tenant
        order by tenant = 'unattributed', sum(total_tokens) desc nulls last, tenant
        """,
        [day],
    ).fetchall()
    if any(tenant != "unattributed" for tenant, *_ in tenants):
        named = [row for row in tenants if row[0] != "unattributed"]
        table = _table(
            "Tenants (M tokens" + (f"; the first 5 of {len(named)})" if len(named) > 5 else ")"),
            ("tenant", "team", "cost center"),
            ("requests", "input", "cached", "output", "total", "share"),
        )
        for tenant, team, cost_center, requests, *tokens, share in named[:5] + tenants[len(named) :]:
            table.add_row(
                tenant,
                team or "",
                cost_center or "",
                _number(requests, 0),
                *(_number(None if count is None else count / 1_000_000, 3) for count in tokens),
                _percent(share),
            )
        out.print()
        out.print(table)
    outside = con.execute(
        """
        select deployment, left_role, right_role, measure, unexplained_difference
        from fct_reconciliation_daily
        where usage_date = ? and not is_within_tolerance
        order by abs(unexplained_difference) desc
        """,
        [day],
    ).fetchall()
    for deployment, left, right, measure, unexplained in outside[:5]:
        line = Text("Sources disagree: ", "yellow").append(
            f"{deployment}: {left} less {right}: {_number(unexplained, 0)} {measure} unexplained"
        )
        out.print(line.append(" (fct_reconciliation_daily)"))
    if len(outside) > 5:
        out.print(f"  … and {len(outside) - 5} more")


def _take_up_run(
    settings: Settings, failures: RunFailures, *, is_published: bool, day: date | None
) -> "Delivery | None":
    """What the run itself has to tell, and delivery; None where the alert ledger cannot be written. Never fails."""
    from orchestration.alerts.day import deliver_alerts, look_at_run

    now = datetime.now(UTC)
    day = day or now.date() - timedelta(days=1)
    try:
        look_at_run(settings, failures, is_published=is_published, day=day, now=now)
        return deliver_alerts(settings)
    except (sqlite3.Error, OSError, WarehouseUnusableError) as error:
        err.print(Text(f"Alerts were not told: {error} ({_short(settings.alerts_dir)})", "red"), soft_wrap=True)
        return None


def _print_alerts(settings: Settings, delivery: "Delivery | None") -> None:
    """Open incidents, the loudest first, and what was told to whom."""
    from orchestration.alerts.day import open_roots
    from orchestration.alerts.ledger import AlertLedger
    from orchestration.alerts.messages import counted, plain

    if delivery is None:
        return
    ledger = AlertLedger(settings.alerts_dir)
    found = open_roots(ledger.incidents())
    out.print(f"\n[bold]Alerts[/] {counted(found)} (fct_alerts; inference-ledger alerts show ID)")
    loud = [one for one in found if one.severity]
    for one in loud[:5]:
        line = Text("  ").append(one.severity.word, "red" if one.severity.word == "page" else "yellow")
        more = f" (+{len(one.children)})" if one.children else ""
        state = "" if one.state == "open" else f" [{one.state}]"
        out.print(line.append(f" {one.fingerprint[:8]} {plain(one.finding.headline, 200)}{more}{state}"))
    if len(loud) > 5:
        out.print(f"  … and {len(loud) - 5} more")
    if settings.ledger.alerts.channels:
        for line in delivery_lines(delivery, ledger.waiting_count()):
            out.print(line)


def print_summary(settings: Settings, delivery: "Delivery | None" = None, pruned: Sequence[str] = ()) -> None:
    """What the last published run says: cost per token by GPU type, purchase mix, findings, stale sources, alerts.

    `pruned`: lines of what retention took away after it.
    """
    from orchestration.publication import open_published

    with open_published(settings) as con:
        as_of = con.execute("select as_of_date from ledger_run").fetchone()
        day = as_of[0] if as_of else None
        out.print(f"\n[bold]Inference ledger, {day} UTC[/]")

        units = con.execute(
            """
            select gpu_model, model, gpu_hours, cost_usd, total_tokens, cost_usd_per_million_total_tokens,
                cost_usd_per_million_input_tokens, cost_usd_per_million_output_tokens, utilization_ratio
            from fct_unit_costs_daily
            where usage_date = ? and pricing_category = 'all'
            order by cost_usd desc nulls last
            """,
            [day],
        ).fetchall()
        table = _table(
            "Cost per million tokens (USD, idle time included)",
            ("GPU", "model"),
            ("GPU-hours", "cost", "M tokens", "per M", "input", "output", "busy"),
        )
        for gpu, model, hours, cost, tokens, total, input_, output, busy in units:
            table.add_row(
                gpu or "unknown",
                model.rpartition("/")[2][:28],
                _number(hours, 1),
                _number(cost, 2),
                _number(tokens and tokens / 1_000_000, 1),
                _number(total, 4),
                _number(input_, 4),
                _number(output, 4),
                _percent(busy),
            )
        out.print(table if units else "no deployment had a priced hour with tokens on this day")

        mix = con.execute(
            """
            select provider, gpu_model, pricing_category, gpu_hours, share_ratio, effective_cost_usd,
                unused_commitment_cost_usd, savings_usd
            from fct_purchase_mix_daily
            where usage_date = ?
            order by provider, gpu_model, pricing_category
            """,
            [day],
        ).fetchall()
        words = {"Committed": "reserved", "Standard": "on demand", "Dynamic": "spot"}
        table = _table(
            "Purchase mix (USD; saved: against on demand, after unused commitments)",
            ("provider", "GPU", "bought"),
            ("GPU-hours", "share", "cost", "unused", "saved"),
        )
        for provider, gpu, category, hours, share, cost, unused, saved in mix:
            table.add_row(
                provider,
                gpu or "unknown",
                words.get(category, category),
                _number(hours, 1),
                _percent(share),
                _number(cost, 2),
                _number(unused, 2),
                _number(saved, 2),
            )
        out.print()
        out.print(table if mix else "no fleet hours on this day")

        unpriced = con.execute(
            "select count(*) from fct_purchase_mix_daily where usage_date = ? and not is_fully_priced", [day]
        ).fetchone()
        if unpriced and unpriced[0]:
            out.print("[yellow]Some of these hours have no price and are not in the cost[/]: null_reason says why.")
        lost = con.execute(
            "select coalesce(nullif(model, ''), deployment), reason, sum(total_tokens) from fct_unmapped_usage "
            "group by all order by 3 desc nulls last"
        ).fetchall()
        for name, reason, tokens in lost[:5]:
            where = "no deployment in ledger.yaml" if reason == "no_route" else "hours outside its fleet entries"
            line = Text("Tokens without a cost: ", "yellow").append(f"{_number(tokens, 0)} of {name}, {where}")
            out.print(line.append(" (fct_unmapped_usage)"))

        _print_tenants(con, day)

        findings = con.execute(
            """
            select severity, provider, coalesce(likely_cause, ''), details
            from fct_price_anomalies
            where severity in ('error', 'warning')
            order by severity = 'warning', first_seen_at desc
            """
        ).fetchall()
        out.print(f"\n[bold]Price findings[/] {len(findings)} (fct_price_anomalies)")
        for severity, provider, cause, details in findings[:5]:
            line = Text("  ").append(severity, "red" if severity == "error" else "yellow")
            out.print(line.append(f" {provider} {details}" + (f" Likely cause: {cause}." if cause else "")))
        if len(findings) > 5:
            out.print(f"  … and {len(findings) - 5} more")

        _print_drift(con, day)

        stale = con.execute(
            "select source, status, age_hours, message from fct_source_freshness "
            "where status <> 'fresh' order by source"
        ).fetchall()
        if stale:
            out.print("\n[bold]Stale sources[/] (last good values stay in force)")
        for source, status, age, message in stale:
            line = Text("  ").append(source, "yellow").append(f" {status}")
            line.append(f", {_age(age)} old" if age is not None else "")
            out.print(line.append(f": {_without_addresses(message)}" if message else ""))
    _print_alerts(settings, delivery)
    for name, why in settings.skipped_price_sources().items():
        out.print(Text("Price source ").append(name, "yellow").append(f" {why}"), soft_wrap=True)
    for said in pruned:
        out.print(said, markup=False, soft_wrap=True)
    out.print(
        f"\nPublished to {_short(settings.published_dir)}: inference_ledger.duckdb, parquet/, manifest.json\n"
        f"Open in a browser: {_short(settings.report_file)}\n"
        'Look further:  inference-ledger query "from fct_unit_costs_daily"   ·   inference-ledger dev'
    )


def _print_drift(con: "duckdb.DuckDBPyConnection", day: date | None) -> None:
    """One line per drift: of the series that the same effect in the same deployment moved, the narrowest."""
    effects = [
        name
        for (name,) in con.execute(
            "select column_name from duckdb_columns() where table_name = 'fct_cost_drift_daily' "
            "and column_name like '%\\_effect\\_usd' escape '\\' order by column_index"
        ).fetchall()
    ]
    found = con.execute(
        f"""
        select
            drift.series, drift.series_kind, drift.measure, drift.actual_usd_per_unit, drift.expected_usd_per_unit,
            drift.change_ratio, drift.impact_usd_per_day, drift.since_date, drivers.deployment,
            count(*) over alike - 1 as others, {", ".join(f"drift.{name}" for name in effects)}
        from fct_cost_drift_daily as drift
        inner join fct_cost_drivers_daily as drivers using (usage_date, series_kind, series, measure)
        where drift.is_drift and drift.usage_date = ? and drivers.driver_rank = 1
        window alike as (partition by drivers.deployment, drivers.effect)
        qualify row_number() over (
            partition by drivers.deployment, drivers.effect
            order by
                list_position(['deployment', 'model', 'gpu_model', 'provider', 'total'], drift.series_kind),
                drift.measure, drift.series
        ) = 1
        order by abs(drift.impact_usd_per_day) desc
        """,
        [day],
    ).fetchall()
    if not found:
        return
    out.print(f"\n[bold]Drift[/] {len(found)} (fct_cost_drift_daily, fct_cost_drivers_daily)")
    for series, kind, measure, actual, expected, change, impact, since, deployment, others, *sizes in found[:5]:
        causes = sorted(zip(effects, sizes, strict=True), key=lambda each: -abs(each[1]))[:3]
        line = Text("  ").append(f"{kind.replace('_', ' ')} {series}", "yellow")
        line.append(
            f": {_number(actual, 4)} {measure.removeprefix('cost_usd_').replace('_', ' ')}, expected "
            f"{_number(expected, 4)} ({change:+.0%}), {impact:+,.2f} USD a day since {since}: "
        )
        line.append(
            ", ".join(
                f"{name.removesuffix('_effect_usd').replace('_', ' ')} {size:+,.2f}"
                for name, size in causes
                if abs(size) >= abs(impact) / 100
            )
        )
        also = [f"most of it in {deployment}"] if kind != "deployment" else []
        also += [f"{others} other series moved by it"] if others else []
        out.print(line.append(f" ({'; '.join(also)})" if also else ""), soft_wrap=True)
    if len(found) > 5:
        out.print(f"  … and {len(found) - 5} more")


def _table(title: str, words: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in words:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


class _Progress:
    """Steps as they happen: one line per step, a running clock on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []
        self._started: dict[str, float] = {}
        self._tables = 0
        self._status: Any = None

    def __enter__(self) -> "_Progress":
        if out.is_terminal:
            self._status = out.status("Starting")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, event: "Event") -> None:
        """Prints one event of the run."""
        title = _step_title(event.name)
        if event.kind == "step_started":
            self._started[event.name] = time.monotonic()
            self._tables = 0
            self._tell(title)
        elif event.kind == "table_built" and self._status is not None:
            self._tables += 1
            self._tell(f"{title if self._tables == 1 else ''} {event.name}")
        elif event.kind == "step_done":
            took = time.monotonic() - self._started.get(event.name, time.monotonic())
            out.print(f"[green]✓[/] {title:<34} {took:6.1f} s")
        elif event.kind == "step_failed":
            self.failures.append((title, event.text))
            out.print(f"[red]✗[/] {title}")
        elif event.kind == "check_failed":
            out.print(Text("  ").append("!", "yellow").append(f" {event.name}: {_without_addresses(event.text)}"))

    def _tell(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text.strip())


def _step_title(name: str) -> str:
    if name in STEP_TITLES:
        return STEP_TITLES[name]
    if name.startswith("landing__"):
        return f"Prices: {name.removeprefix('landing__').removesuffix('_prices')}"
    return name


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Sends what Dagster, dbt and other libraries print into `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    for old in sorted(log.parent.glob("*.log"))[: -(MOST_LOGS - 1)]:
        old.unlink()
    streams = [(stream, os.dup(stream.fileno())) for stream in (sys.stdout, sys.stderr)]
    with log.open("a", encoding="utf-8") as target:
        try:
            for stream, _ in streams:
                stream.flush()
                os.dup2(target.fileno(), stream.fileno())
            yield
        finally:
            for stream, original in streams:
                stream.flush()
                os.dup2(original, stream.fileno())
                os.close(original)


def _published_run(settings: Settings) -> bytes | None:
    manifest = settings.published_dir / "manifest.json"
    return manifest.read_bytes() if manifest.exists() else None


def _date(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        _fail(f"--date {text!r} is not a date; write YYYY-MM-DD", code=2)
    if day.year < EARLIEST_YEAR:
        _fail(f"--date {text} lies before {EARLIEST_YEAR}", code=2)
    if day >= datetime.now(UTC).date():
        _fail(
            f"--date {text} is not over yet in UTC; the last whole day is the latest that can be computed",
            code=2,
        )
    return day


def _fail(message: str, *, code: int = 1) -> Any:
    err.print(message, markup=False, style="red")
    raise typer.Exit(code)


def _number(value: Decimal | float | None, places: int) -> str:
    return "–" if value is None else f"{value:,.{places}f}"


def _percent(value: Decimal | float | None) -> str:
    return "–" if value is None else f"{value * 100:.0f} %"


def _age(hours: Decimal | float) -> str:
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours"


def _first_sentence(text: str, longest: int = 160) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _without_addresses(message: str) -> str:
    """A failure in one line; addresses and the number of tries stand in fct_source_freshness."""
    return _first_sentence(re.sub(r"(?:\b\w+: )?https?://\S+ ?|; gave up after \d of \d tries", "", message))


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _short(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _print_rows(columns: list[str], rows: list[list[str]]) -> None:
    """A table where it fits the screen, else one block a row: a cut column tells nothing."""
    widths = [max(len(row[index]) for row in [columns, *rows]) + 2 for index in range(len(columns))]
    if sum(widths) <= out.width:
        table = _table("", tuple(columns), ())
        for row in rows:
            table.add_row(*(Text(value) for value in row))
        table.title = None
        out.print(table)
        return
    longest = max(map(len, columns))
    for number, row in enumerate(rows, start=1):
        out.print(Text(f"-- {number}", "bold"))
        for name, value in zip(columns, row, strict=True):
            out.print(Text(f"{name:<{longest}}  {value}"), soft_wrap=True)


@contextlib.contextmanager
def only_run(settings: Settings) -> Iterator[None]:
    """`run_lock`, for a command: it ends with a sentence where another run is at work."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(run_lock(settings))
        except RunInProgressError as error:
            _fail(str(error))
        yield


def _print_csv(columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    """CSV that a spreadsheet cannot mistake for formulas (OWASP ASVS 1.2.10): numbers stay numbers."""
    writer = csv.writer(sys.stdout)
    writer.writerow(columns)
    for row in rows:
        writer.writerow(
            "'" + value if isinstance(value, str) and value[:1] in "=+-@\t\r\0" and value else value for value in row
        )
