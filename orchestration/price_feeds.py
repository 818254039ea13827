"""From price sources to the raw room: land what is bundled, pull what is live, load what is landed.

Each step can be repeated: landing keeps a snapshot once, and loading takes only entries the warehouse does not have,
oldest first. So a killed run is finished by the next one, and an emptied warehouse is filled again from landing.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb

from orchestration.expectations import OVERRIDE_RULES, PRICE_RULES
from orchestration.price_versions import stage_price_records, staged_changes
from orchestration.seeds import declared_currency
from orchestration.settings import Settings
from orchestration.warehouse import LoadResult, known_fetches, load_price_entry
from scrapers import VERSION
from scrapers.errors import DamagedLandingError, PermanentError, ScrapeError
from scrapers.http import HttpClient
from scrapers.kept_records import read_records, records_as_bytes
from scrapers.landing import EntryKind, LandedEntry, Landing
from scrapers.overrides import EMPTY_FILE, OVERRIDES, parse_file, turning_points
from scrapers.prices.base import Parser, parse_snapshot, pull_dataset
from scrapers.prices.registry import PRICE_SOURCES
from scrapers.records import ParsedSnapshot
from scrapers.snapshot import Origin

logger = logging.getLogger(__name__)

# Everything whose snapshots hold prices: what is pulled, and what is written by hand.
PRICE_PARSERS: Mapping[str, Parser[ParsedSnapshot]] = {**PRICE_SOURCES, OVERRIDES.name: OVERRIDES}

_FILE_TIME = "%Y%m%dT%H%M%SZ"


def land_bundled(settings: Settings, name: str) -> int:
    """Lands the dated snapshots of source `name` from the ledger's `prices.bundled` folders; returns how many are new.

    A bundled file is `<folder>/<source>/<dataset>/<YYYYMMDDTHHMMSSZ>.<ext>`: its name says when the prices were true.
    """
    landing = Landing(settings.landing_dir)
    known = {
        (entry.dataset, entry.fetched_at)
        for entry in landing.entries(name, damaged=[])
        if entry.origin is Origin.BUNDLED
    }
    new = 0
    for folder in settings.ledger.prices.bundled:
        for path in sorted((settings.root / folder / name).glob("*/*")):
            fetched_at = _file_time(path)
            if fetched_at is None or (path.parent.name, fetched_at) in known:
                continue
            try:
                landing.land_files(name, path.parent.name, [path], fetched_at, Origin.BUNDLED)
            except ScrapeError as error:
                logger.warning("bundled snapshot passed over: %s", error)
                continue
            new += 1
    return new


def pull_live(settings: Settings, name: str, *, now: datetime) -> list[LandedEntry]:
    """Asks source `name` for each of its datasets; a dataset that fails lands as a failure and stops nothing.

    A source that needs a key and has none is not asked, and nothing lands: that is no failure of the source.
    """
    if why := settings.why_skipped(name):
        logger.info("%s %s", name, why)
        return []
    landing = Landing(settings.landing_dir)
    landing.remove_leftovers()
    options = settings.source_options(name)
    source = PRICE_SOURCES[name]
    client = HttpClient(source.hosts(options), contact=settings.ledger.prices.contact)
    return [
        pull_dataset(source, dataset, options, landing, now=now, client=client) for dataset in source.datasets(options)
    ]


def land_overrides(settings: Settings, *, now: datetime) -> list[LandedEntry]:
    """Lands each override file of `ledger.yaml` as it is now; one that cannot be read lands as a failure.

    The same bytes are landed anew when a line began or ceased to hold since. A file that was taken out of `ledger.yaml`
    is landed once more as an empty one, so that its prices end.
    """
    landing = Landing(settings.landing_dir)
    now = now.replace(microsecond=0)
    files = {_override_dataset(path): settings.root / path for path in settings.ledger.prices.overrides}
    landed = {entry.dataset for entry in landing.entries(OVERRIDES.name, damaged=[])}
    return [_land_override(landing, dataset, files.get(dataset), now=now) for dataset in sorted(landed | files.keys())]


def _land_override(landing: Landing, dataset: str, path: Path | None, *, now: datetime) -> LandedEntry:
    name = path.name if path else "no longer in ledger.yaml"
    with landing.stage(OVERRIDES.name, dataset, fetched_at=now, origin=Origin.BUNDLED) as stage:
        try:
            body = path.read_bytes() if path else EMPTY_FILE
            passed = turning_points(body, place=name)
            previous = landing.latest_snapshot(OVERRIDES.name, dataset)
        except OSError as error:
            return stage.commit_failed(PermanentError(f"{path} cannot be read: {error.strerror}", source="override"))
        except ScrapeError as error:
            error.source = OVERRIDES.name
            return stage.commit_failed(error)
        stage.keep(name, body, url=f"file:{name}")
        is_same = previous is not None and previous.entry_id.endswith(f"/{stage.content}")
        if previous and is_same and not any(previous.fetched_at < moment <= now for moment in passed):
            return stage.commit_unchanged(previous)
        return stage.commit()


def _override_dataset(path: Path) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower(), flags=re.ASCII).strip("._-") or "unnamed"


def read_overrides(settings: Settings, *, at: datetime) -> tuple[list[ParsedSnapshot], list[str]]:
    """Returns what the override files say at an instant, and the problems: file, line, field, reason and value."""
    read: list[ParsedSnapshot] = []
    problems: list[str] = []
    for path in settings.ledger.prices.overrides:
        try:
            parsed = parse_file((settings.root / path).read_bytes(), place=path.name, at=at)
        except OSError as error:
            problems.append(f"{path} cannot be read: {error.strerror}")
        except ScrapeError as error:
            problems.append(str(error))
        else:
            read.append(parsed)
            problems += [
                f"{rejection.location}, {rejection.field or 'line'}: {rejection.reason}"
                + (f" ({rejection.detail})" if rejection.detail else "")
                for rejection in parsed.rejections
            ]
    return read, problems


def land_replay(settings: Settings, name: str, dataset: str, files: list[Path], fetched_at: datetime) -> LandedEntry:
    """Lands a recorded answer as if it had been fetched at `fetched_at`."""
    return Landing(settings.landing_dir).land_files(name, dataset, files, fetched_at, Origin.REPLAY)


def load_landed(
    con: duckdb.DuckDBPyConnection, settings: Settings, name: str, *, accept_smaller: bool = False
) -> list[LoadResult]:
    """Loads the landed entries of source `name` that the warehouse does not hold yet, oldest first."""
    landing = Landing(settings.landing_dir)
    known = known_fetches(con, name)
    damaged: list[DamagedLandingError] = []
    entries = landing.entries(name, damaged=damaged)
    results = [LoadResult.damaged(name, error) for error in damaged]
    results += [
        _load_entry(con, settings, landing, entry, accept_smaller=accept_smaller)
        for entry in entries
        if entry.entry_id not in known
    ]
    return results


@dataclass(slots=True)
class Reparsed:
    """What today's parser made of the landed snapshots of one source."""

    snapshot_count: int = 0
    restated_count: int = 0  # loaded before, with other records
    accepted_count: int = 0  # refused before
    added_count: int = 0
    removed_count: int = 0
    problems: list[str] = field(default_factory=list)  # refused and damaged ones: what was in force stays


def reparse_landed(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    name: str,
    *,
    since: date | None = None,
    accept_smaller: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Reparsed:
    """Parses the landed snapshots of source `name` again, oldest first, and loads those whose records differ.

    Those whose bytes were pruned stay as they were read; one sentence of the problems says how many they are.

    Args:
        con: from `Warehouse.connect`.
        settings: from `load_settings`.
        name: the source.
        since: first UTC day of fetching; None for all.
        accept_smaller: take a snapshot that is much shorter than the one before.
        progress: called after each snapshot with how many are done, and of how many.
    """
    landing = Landing(settings.landing_dir)
    known = known_fetches(con, name)  # what was never loaded is left to the next run
    damaged: list[DamagedLandingError] = []
    entries = [
        entry
        for entry in landing.entries(name, damaged=damaged)
        if entry.entry_id in known and (since is None or entry.fetched_at.date() >= since)
    ]
    done = Reparsed(problems=[str(error) for error in damaged])
    if pruned := [entry for entry in entries if entry.pruned is not None]:
        done.problems.append(
            f"{name}: {len(pruned)} snapshots up to {pruned[-1].fetched_at:%Y-%m-%d}, whose bytes were pruned"
        )
        entries = [entry for entry in entries if entry.pruned is None]
    total = sum(entry.kind is EntryKind.SNAPSHOT for entry in entries)
    accepted: set[str | None] = set()
    for entry in entries:
        # A pull that confirmed a refused snapshot was no success; of one that is accepted now it is.
        if entry.kind is not EntryKind.SNAPSHOT and entry.snapshot_id not in accepted:
            continue
        result = _load_entry(
            con, settings, landing, entry, accept_smaller=accept_smaller, why=f"reparse by scrapers {VERSION}"
        )
        if entry.kind is not EntryKind.SNAPSHOT:
            continue
        done.snapshot_count += 1
        if result.outcome == "refused":
            done.problems.append(f"{entry.entry_id}: {result.message}")
        elif result.changes is None:
            accepted.add(entry.snapshot_id)
            done.accepted_count += 1
            done.added_count += result.record_count
        elif result.changes:
            done.restated_count += 1
            done.added_count += result.changes.added_count
            done.removed_count += result.changes.removed_count
        if progress is not None:
            progress(done.snapshot_count, total)
    return done


class NotPrunedError(Exception):
    """The bytes of a snapshot stay; says why."""


class ReadsOtherwiseError(NotPrunedError):
    """Today's parser reads something else of it than what is in force, as it may of others of its source."""


def landed_answers(settings: Settings) -> list[tuple[LandedEntry, bool]]:
    """The landed answers of price sources that hold their bytes, oldest first, and which are the newest of a dataset.

    Override files and exchange rates are not among them: they are small.
    """
    found: list[LandedEntry] = []
    for name in PRICE_SOURCES:
        found += [entry for entry in Landing(settings.landing_dir).entries(name, damaged=[]) if entry.stored_bytes]
    newest = {(entry.source, entry.dataset): entry.entry_id for entry in found}
    found.sort(key=lambda entry: entry.fetched_at)
    return [(entry, newest[entry.source, entry.dataset] == entry.entry_id) for entry in found]


def prune_answer(con: duckdb.DuckDBPyConnection, settings: Settings, entry: LandedEntry, *, at: datetime) -> int:
    """Puts what was read of a landed answer in the place of its bytes, and returns how many bytes of disk that freed.

    Only where today's parser reads of it exactly what is in force, so that a warehouse filled again says the same.

    Args:
        con: a connection to the warehouse, which may be read-only.
        settings: from `load_settings`.
        entry: of `landed_answers`.
        at: what the envelope says of when it was pruned.

    Raises:
        NotPrunedError: it cannot be read.
        ReadsOtherwiseError: it reads otherwise.
    """
    landing = Landing(settings.landing_dir)
    parsed, unreadable = _parse(landing, entry)
    if parsed is None:
        raise NotPrunedError(f"{entry.entry_id} cannot be read, and stays: {unreadable}")
    stage_price_records(con, parsed.records, settings.data_dir / "tmp", source_url=entry.source_url)
    changes = staged_changes(con, entry.entry_id)
    if changes is None or changes:
        raise ReadsOtherwiseError(
            f"{entry.entry_id} reads otherwise than when it was loaded; nothing of {entry.source} is pruned until "
            f"`inference-ledger reparse {entry.source}` has taken it up"
        )
    return landing.prune(entry, records_as_bytes(parsed), at=at)


def _load_entry(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    landing: Landing,
    entry: LandedEntry,
    *,
    accept_smaller: bool,
    why: str = "loaded again",
) -> LoadResult:
    parsed, unreadable = _parse(landing, entry)
    return load_price_entry(
        con,
        entry,
        parsed,
        work_dir=settings.data_dir / "tmp",
        landing_path=entry.path.relative_to(settings.data_dir).as_posix(),
        unreadable=unreadable,
        accept_smaller=accept_smaller,
        rules=OVERRIDE_RULES if entry.source == OVERRIDES.name else PRICE_RULES,
        currency=declared_currency(entry.source),
        why=why,
    )


def _parse(landing: Landing, entry: LandedEntry) -> tuple[ParsedSnapshot | None, str | None]:
    if entry.kind is not EntryKind.SNAPSHOT:
        return None, None
    try:
        if entry.pruned is not None:
            return read_records(entry.pruned.records), None
        return parse_snapshot(PRICE_PARSERS[entry.source], landing.open_snapshot(entry)), None
    except ScrapeError as error:
        return None, str(error)


def _file_time(path: Path) -> datetime | None:
    try:
        return datetime.strptime(path.name.split(".", 1)[0], _FILE_TIME).replace(tzinfo=UTC)
    except ValueError:
        logger.warning("%s: a bundled snapshot is named by its UTC time, such as 20261001T000000Z.json", path)
        return None
