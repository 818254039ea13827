"""What is kept longer than `retention` of ledger.yaml says, and taking it away: `inference-ledger prune`.

No published number changes by it. The bytes of old price lists go when what was read of them lies in their place
(`price_feeds.prune_answer`), calls and scrapes when what they add up to is archived (`usage_archive.archive_usage`).
So do the scrapes and answers of Prometheus that they were read from. The rest tells of runs. What cannot be had again
stays whatever the ledger says: what people said about alerts, override files. Logs of the user are theirs, and are
only read.
"""

import contextlib
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from stat import S_ISDIR
from typing import Annotated

import duckdb
import typer
from rich.table import Table
from rich.text import Text

from orchestration.command_options import ConfigOption, DataDirOption
from orchestration.price_feeds import ReadsOtherwiseError, landed_answers, prune_answer
from orchestration.settings import RetentionSection, Settings, duckdb_config, load_settings
from orchestration.usage_archive import TAIL_DAYS, archive_usage, existing_records, read_archive
from orchestration.warehouse import snapshots_in_force
from scrapers.errors import one_line
from scrapers.landing import LandedEntry

NAMED_PROBLEMS = 5
# A region of AWS takes 1.3 s to read again, and years may be due at first: a run does a part, the next ones go on.
SECONDS_OF_A_RUN = 300


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that is whole or gone: an answer, a log, a run, a month of calls.

    `remove` returns how many bytes of disk it freed; None: it stays, whatever its age.
    """

    day: date  # UTC; of several the last
    byte_count: int
    file_count: int
    remove: Callable[[], int] | None
    first_day: date | None = None  # of several


@dataclass(frozen=True, slots=True)
class Pile:
    """All things of one kind: those older than the limit, and what stays. `problem`: why it could not be looked at."""

    kind: str  # field of RetentionSection, without _days
    limit_days: int | None
    going: tuple[Thing, ...] = ()
    kept_count: int = 0
    kept_bytes: int = 0
    oldest_kept: date | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """What went of one kind; `problems` say what had to stay, and why."""

    kind: str
    count: int
    byte_count: int
    problems: tuple[str, ...]


@contextlib.contextmanager
def piles(
    settings: Settings, now: datetime, *, limited_only: bool = False, will_remove: bool = True
) -> Iterator[list[Pile]]:
    """What there is of each kind; the things can be removed for as long as the block is open.

    Call it with `run.lock` held: what a run works on is no leftover.

    Args:
        settings: from `load_settings`.
        now: a thing goes when its UTC day lies more than the limit's whole days before that of `now`.
        limited_only: leave out kinds that are kept for good.
        will_remove: else the warehouse is only read.
    """
    finders: dict[str, Callable[[Settings, datetime], AbstractContextManager[list[Thing]]]] = {
        "usage_records": partial(_usage_records, read_only=not will_remove),
        "usage_answers": _usage_answers,
        "price_answers": partial(_price_answers, read_only=not will_remove),
        "quarantine": _quarantine,
        "run_logs": _run_logs,
        "dagster": _dagster_runs,
        "leftovers": _leftovers,
    }
    with ExitStack() as stack:
        found = []
        for kind, finder in finders.items():
            limit: int | None = getattr(settings.ledger.retention, f"{kind}_days")
            if limit is None and limited_only:
                continue
            try:
                things = stack.enter_context(finder(settings, now))
            except Exception as error:  # noqa: BLE001 - whatever it is: the other kinds are looked at
                found.append(Pile(kind, limit, problem=one_line(error)))
            else:
                found.append(_pile(kind, limit, things, now))
        yield found


def remove(pile: Pile, *, until: float | None = None) -> Removed:
    """Takes away what is older than the limit; what cannot go stays and is named, and stops nothing.

    Args:
        pile: of `piles`, whose block is open.
        until: of `time.monotonic`, when to leave the rest to the next time; None: never.
    """
    count, freed = 0, 0
    problems = [] if pile.problem is None else [pile.problem]
    for place, thing in enumerate(pile.going):
        if until is not None and time.monotonic() > until:
            problems.append(f"{len(pile.going) - place} more wait for the next run, or `inference-ledger prune --yes`")
            break
        try:
            freed += thing.remove() if thing.remove else 0
            count += 1
        except Exception as error:  # noqa: BLE001 - whatever it is: it stays, and the others go
            problems.append(one_line(error))
    problems = list(dict.fromkeys(problems))
    if len(problems) > NAMED_PROBLEMS:
        problems = [*problems[:NAMED_PROBLEMS], f"and {len(problems) - NAMED_PROBLEMS} more"]
    return Removed(pile.kind, count, freed, tuple(problems))


def prune_after_run(settings: Settings, now: datetime) -> list[str]:
    """Removes what `retention` lets go, and says so in lines for the summary of a run; never fails."""
    until = time.monotonic() + SECONDS_OF_A_RUN
    try:
        with piles(settings, now, limited_only=True) as found:
            done = [remove(pile, until=until) for pile in found]
    except Exception as error:  # noqa: BLE001 - whatever it is: the day is published
        return [f"Nothing was pruned: {type(error).__name__}: {error}"]
    lines = [f"{words(one.kind)}: {problem}" for one in done for problem in one.problems]
    if gone := [f"{one.count} {words(one.kind)} ({size(one.byte_count)})" for one in done if one.count]:
        lines.insert(0, f"Pruned by retention of ledger.yaml: {', '.join(gone)}")
    return lines


def prune(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it. Without, nothing is touched.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output, one object per kind.")] = False,
) -> None:
    """Say what is older than `retention` in ledger.yaml lets it be, and with --yes remove it."""
    from orchestration.cli import only_run, out

    settings = load_settings(config, data_dir)
    with only_run(settings), piles(settings, datetime.now(UTC), will_remove=yes) as found:
        removed = {pile.kind: remove(pile) for pile in found} if yes else {}
    if as_json:
        json.dump([_as_json(pile, removed.get(pile.kind)) for pile in found], sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    out.print(_table(found))
    if not yes:
        for pile in found:
            if pile.problem:
                out.print(Text(f"  {words(pile.kind)}: ", "yellow").append(pile.problem), soft_wrap=True)
        goes = any(pile.going for pile in found)
        out.print("nothing was removed; --yes does it" if goes else "nothing is older than ledger.yaml lets it be")
        return
    for one in removed.values():
        for problem in one.problems:
            out.print(Text(f"  {words(one.kind)}: ", "yellow").append(problem), soft_wrap=True)
    out.print(
        f"removed {sum(one.count for one in removed.values())}, "
        f"{size(sum(one.byte_count for one in removed.values()))} are free again"
    )


def limits(retention: RetentionSection) -> str:
    """The limits in one line: `run logs 30 days, quarantine for good`."""
    return ", ".join(
        f"{words(name.removesuffix('_days'))} {'for good' if days is None else f'{days} days'}"
        for name, days in retention
    )


def words(kind: str) -> str:
    """A kind in words."""
    return {"dagster": "Dagster runs"}.get(kind, kind.replace("_", " "))


def size(byte_count: int) -> str:
    """Bytes for people, in units of a thousand."""
    return f"{byte_count / 1e9:,.1f} GB" if byte_count >= 1e9 else f"{byte_count / 1e6:,.1f} MB"


def _pile(kind: str, limit_days: int | None, things: list[Thing], now: datetime) -> Pile:
    first_kept = date.min if limit_days is None else now.astimezone(UTC).date() - timedelta(days=limit_days)
    goes = [thing.day < first_kept and thing.remove is not None for thing in things]
    kept = [thing for thing, gone in zip(things, goes, strict=True) if not gone]
    return Pile(
        kind,
        limit_days,
        going=tuple(thing for thing, gone in zip(things, goes, strict=True) if gone),
        kept_count=len(kept),
        kept_bytes=sum(thing.byte_count for thing in kept),
        oldest_kept=min((thing.first_day or thing.day for thing in kept), default=None),
    )


@contextlib.contextmanager
def _usage_records(settings: Settings, now: datetime, *, read_only: bool) -> Iterator[list[Thing]]:
    """Calls, scrapes and lines of engine logs in the warehouse, by month: it goes as a whole, and those before it."""
    if not settings.warehouse_path.exists():
        yield []
        return
    archive = read_archive(settings)
    byte_counts: Counter[date] = Counter()
    with duckdb.connect(str(settings.warehouse_path), read_only=read_only, config=duckdb_config()) as con:
        con.execute("set timezone = 'UTC'")
        for table, (day, byte_count) in existing_records(con).items():
            for month, count in con.execute(
                f"select cast(date_trunc('month', {day}) as date), count(*) from {table} where {day} >= ? group by 1",
                [archive.archived_until if archive else date.min],
            ).fetchall():
                byte_counts[month] += count * byte_count

        def gone(until: date, byte_count: int) -> int:
            archive_usage(con, settings, until)
            return byte_count

        ends = {month: (month + timedelta(days=31)).replace(day=1) for month in sorted(byte_counts)}
        yield [
            Thing(end - timedelta(days=1), byte_counts[month], 0, partial(gone, end, byte_counts[month]), month)
            for month, end in ends.items()
        ]


@contextlib.contextmanager
def _usage_answers(settings: Settings, now: datetime) -> Iterator[list[Thing]]:
    """Scraped pages and answers of Prometheus, a folder a day: those whose usage is archived may go.

    They lie further back than a server is ever asked again (`look_back_days` is 30 at most).
    """
    archive = read_archive(settings)
    first_read = archive.archived_until - timedelta(days=TAIL_DAYS) if archive else date.min
    folders = (path for pattern in ("metrics/*/*/*", "prometheus/*/*") for path in settings.landing_dir.glob(pattern))
    things = [_on_disk([folder], day=date.fromisoformat(folder.name)) for folder in folders]
    yield [thing if thing.day < first_read else replace(thing, remove=None) for thing in things]


@contextlib.contextmanager
def _price_answers(settings: Settings, now: datetime, *, read_only: bool) -> Iterator[list[Thing]]:
    """Bytes of price lists: those in force and no longer the newest may go. One that was refused waits for a person.

    The warehouse is only read.
    """

    def thing(entry: LandedEntry, gone: Callable[[], int] | None) -> Thing:
        return Thing(entry.fetched_at.date(), entry.stored_bytes, len(entry.payloads), gone)

    answers = landed_answers(settings)
    if settings.ledger.retention.price_answers_days is None or not settings.warehouse_path.exists():
        yield [thing(entry, None) for entry, _ in answers]
        return
    with duckdb.connect(str(settings.warehouse_path), read_only=read_only, config=duckdb_config()) as con:
        con.execute("set timezone = 'UTC'")
        in_force = snapshots_in_force(con)
        corrected: dict[str, ReadsOtherwiseError] = {}

        def gone(entry: LandedEntry) -> int:
            if entry.source in corrected:  # by whatever made the first of them read otherwise; parsing takes its time
                raise corrected[entry.source]
            try:
                return prune_answer(con, settings, entry, at=now)
            except ReadsOtherwiseError as error:
                corrected[entry.source] = error
                raise

        yield [
            thing(entry, partial(gone, entry) if entry.entry_id in in_force and not is_newest else None)
            for entry, is_newest in answers
        ]


@contextlib.contextmanager
def _quarantine(settings: Settings, now: datetime) -> Iterator[list[Thing]]:
    """Warehouses that were damaged and set aside, a folder each."""
    yield [_on_disk([path]) for path in (settings.data_dir / "quarantine").glob("*")]


@contextlib.contextmanager
def _run_logs(settings: Settings, now: datetime) -> Iterator[list[Thing]]:
    """What the libraries of each run printed."""
    yield [_on_disk([path]) for path in settings.logs_dir.glob("*.log")]


@contextlib.contextmanager
def _dagster_runs(settings: Settings, now: datetime) -> Iterator[list[Thing]]:
    """Past runs of the daily job in Dagster's own history."""
    if not settings.warehouse_path.exists():  # no run was ever started: Dagster would make its files first
        yield []
        return
    from orchestration.definitions import past_runs

    with past_runs(settings) as runs:
        yield [_on_disk(run.paths, day=run.started_on, gone=run.delete) for run in runs]


@contextlib.contextmanager
def _leftovers(settings: Settings, now: datetime) -> Iterator[list[Thing]]:
    """What killed runs left: records on their way to DuckDB, what DuckDB put aside, half-made copies."""
    data = settings.data_dir
    patterns = ("tmp/*", "*.duckdb.tmp", "landing/.staging/*", "published/.*.new*", "published/*/.*.new")
    yield [_on_disk([path]) for pattern in patterns for path in data.glob(pattern)]


def _on_disk(paths: Sequence[Path], *, day: date | None = None, gone: Callable[[], None] | None = None) -> Thing:
    """Files, or folders with all that is in them; their day is that of the last change where none is given.

    `gone` takes them away, if that is more than to delete them.
    """
    stats = [file.lstat() for path in paths for file in (path, *path.rglob("*"))]
    files = [stat for stat in stats if not S_ISDIR(stat.st_mode)]
    byte_count = sum(stat.st_size for stat in files)

    def remove_paths() -> int:
        if gone is not None:
            gone()
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        return byte_count

    last_change = max((stat.st_mtime for stat in files or stats), default=0)
    return Thing(day or datetime.fromtimestamp(last_change, UTC).date(), byte_count, len(files), remove_paths)


def _table(found: list[Pile]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("kind", "limit"):
        table.add_column(name, no_wrap=True)
    for name in ("goes", "files", "size", "stays", "size", "oldest that stays"):
        table.add_column(name, justify="right", no_wrap=True)
    for pile in found:
        table.add_row(
            words(pile.kind),
            "kept for good" if pile.limit_days is None else f"{pile.limit_days} days",
            str(len(pile.going)),
            str(sum(thing.file_count for thing in pile.going)),
            size(sum(thing.byte_count for thing in pile.going)),
            str(pile.kept_count),
            size(pile.kept_bytes),
            "–" if pile.oldest_kept is None else str(pile.oldest_kept),
        )
    return table


def _as_json(pile: Pile, removed: Removed | None) -> dict[str, object]:
    return {
        "kind": pile.kind,
        "limit_days": pile.limit_days,
        "going_count": len(pile.going),
        "going_files": sum(thing.file_count for thing in pile.going),
        "going_bytes": sum(thing.byte_count for thing in pile.going),
        "kept_count": pile.kept_count,
        "kept_bytes": pile.kept_bytes,
        "oldest_kept": None if pile.oldest_kept is None else str(pile.oldest_kept),
        "removed_count": None if removed is None else removed.count,
        "removed_bytes": None if removed is None else removed.byte_count,
        "problems": [pile.problem] if removed is None and pile.problem else list(removed.problems if removed else ()),
    }
