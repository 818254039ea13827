"""The landing room: exact bytes of every price fetch, immutable, a whole snapshot or nothing.

    <root>/<source>/<dataset>/<YYYY-MM-DD>/<YYYYMMDDTHHMMSSZ>__<12 hex of the content>/
        envelope.json      what was asked, when, by which version; hash and length of each payload
        000.json.gz ...    the bytes of each response, gzip, in the order of the envelope

An attempt that changed nothing (`unchanged`) or failed (`failed`) leaves an envelope without payloads, so that the
whole fetch history can be rebuilt from these files alone. Serving logs never land here: they hold prompts.

Where `ledger.yaml` limits how long bytes are kept, those of an old snapshot are pruned: its envelope says when, its
hashes stay, and `records.json.gz` beside it holds what was read of it, so that the history of prices stays whole.

Everything is written below `<root>/.staging`, flushed to disk, and renamed into place in one step.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from isal import isal_zlib

from scrapers import VERSION
from scrapers.errors import DamagedLandingError, IncompleteSnapshotError, PermanentError, one_line
from scrapers.snapshot import BackgroundSha256, Origin, Payload, Snapshot, content_key, entry_id, stamp

_STAGING = ".staging"
_ENVELOPE = "envelope.json"
_RECORDS = "records.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)
_ENTRY = re.compile(r"\d{8}T\d{6}Z__[0-9a-f]{12}", re.ASCII)
_COPY_BYTES = 1 << 20


class EntryKind(StrEnum):
    """What an attempt led to."""

    SNAPSHOT = "snapshot"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Pruned:
    """When the bytes of a snapshot were pruned, and what was read of it before."""

    at: datetime
    records: Payload


@dataclass(frozen=True, slots=True)
class LandedEntry:
    """One attempt to obtain one dataset, as its envelope tells it."""

    kind: EntryKind
    source: str
    dataset: str
    fetched_at: datetime
    origin: Origin
    entry_id: str  # unique; equals snapshot_id for a snapshot
    snapshot_id: str | None  # what was landed, or confirmed when unchanged; None when failed
    change_key: str | None
    error: str | None  # class name, when failed
    message: str | None  # when failed
    payloads: tuple[Payload, ...]
    path: Path
    pruned: Pruned | None = None

    @property
    def stored_bytes(self) -> int:
        """Size on disk of the payloads that are there, packed."""
        return sum(payload.path.stat().st_size for payload in self.payloads if payload.path.exists())

    @property
    def source_url(self) -> str | None:
        """Address of the first payload, without parameters."""
        return self.payloads[0].url if self.payloads else None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Bytes already compressed into a stage, not yet part of it."""

    path: Path
    sha256: str
    byte_count: int


class Stage:
    """One snapshot being written. Leaving the `with` block without a commit leaves no trace."""

    def __init__(self, root: Path, source: str, dataset: str, *, fetched_at: datetime, origin: Origin) -> None:
        for name in (source, dataset):
            if not _NAME.fullmatch(name):
                raise PermanentError(f"{one_line(name)!r} cannot be a name in the landing room: use a-z 0-9 . _ -")
        if fetched_at.tzinfo is None:
            raise ValueError("fetched_at needs a time zone")
        self._root = root
        self._source = source
        self._dataset = dataset
        self._fetched_at = fetched_at.astimezone(UTC).replace(microsecond=0)
        self._origin = origin
        self._payloads: list[Payload] = []
        staging = root / _STAGING
        staging.mkdir(parents=True, exist_ok=True)
        self._directory = Path(tempfile.mkdtemp(prefix=f"{source}-{dataset}-", dir=staging))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def content(self) -> str:
        """Twelve hex digits that name the bytes staged so far."""
        return content_key(self._payloads)

    def write(self, name: str, chunks: Iterable[bytes]) -> StoredFile:
        """Compress a body of any size into the stage; writing again (a retry) replaces it.

        With ISA-L, because the 450 MB offer file takes zlib eight times as long for more bytes.
        """
        path = self._directory / f"{len(self._payloads):03}{Path(name).suffix or '.bin'}.gz"
        packer = isal_zlib.compressobj(wbits=31)  # gzip without name or time: equal bytes, equal file
        digest, count = BackgroundSha256(), 0
        with path.open("wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                count += len(chunk)
                file.write(packer.compress(chunk))
            file.write(packer.flush())
        return StoredFile(path, digest.hexdigest(), count)

    def keep(
        self,
        name: str,
        body: bytes | StoredFile,
        *,
        url: str,
        params: Mapping[str, str] | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Make a body part of the snapshot."""
        stored = body if isinstance(body, StoredFile) else self.write(name, [body])
        self._payloads.append(
            Payload(
                name=name,
                url=url,
                params=dict(params or {}),
                status=status,
                headers=dict(headers or {}),
                sha256=stored.sha256,
                byte_count=stored.byte_count,
                path=stored.path,
            )
        )

    def commit(self, *, change_key: str | None = None) -> LandedEntry:
        """Land the snapshot. Landing the same bytes at the same `fetched_at` again changes nothing."""
        if not self._payloads:
            raise ValueError("a snapshot without payloads cannot be landed")
        return self._land(EntryKind.SNAPSHOT, self.content, change_key=change_key)

    def commit_unchanged(self, same_as: LandedEntry, *, change_key: str | None = None) -> LandedEntry:
        """Land the fact that the source still says what `same_as` holds."""
        self._payloads.clear()
        facts = {"change_key": change_key or same_as.change_key, "same_as": same_as.snapshot_id}
        return self._land(EntryKind.UNCHANGED, _digest(facts), **facts)

    def commit_failed(self, error: Exception) -> LandedEntry:
        """Land the fact that the attempt failed; nothing that was staged is kept."""
        self._payloads.clear()
        facts = {"error": type(error).__name__, "message": one_line(error, limit=1000)}
        return self._land(EntryKind.FAILED, _digest(facts), **facts)

    def _land(self, kind: EntryKind, content: str, **facts: str | None) -> LandedEntry:
        envelope = {
            "kind": kind,
            "source": self._source,
            "dataset": self._dataset,
            "origin": self._origin,
            "fetched_at": self._fetched_at.isoformat(),
            "scraper_version": VERSION,
            **facts,
            "payloads": [
                {
                    "file": payload.path.name,
                    "name": payload.name,
                    "url": payload.url,
                    "params": payload.params,
                    "status": payload.status,
                    "headers": payload.headers,
                    "sha256": payload.sha256,
                    "byte_count": payload.byte_count,
                }
                for payload in self._payloads
            ],
        }
        for leftover in set(self._directory.iterdir()) - {payload.path for payload in self._payloads}:
            leftover.unlink()
        text = json.dumps(envelope, indent=1, ensure_ascii=False)
        (self._directory / _ENVELOPE).write_text(text, encoding="utf-8")
        target = (
            self._root
            / self._source
            / self._dataset
            / self._fetched_at.date().isoformat()
            / f"{stamp(self._fetched_at)}__{content}"
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        for file in self._directory.iterdir():
            _sync(file)
        _sync(self._directory)
        try:
            self._directory.rename(target)
        except OSError:
            if not target.is_dir():  # else: the same content was landed before
                raise
        for directory in (target.parent, *target.parent.parents[:3]):  # date, dataset, source, root
            _sync(directory)
        return _read_entry(target)


class Landing:
    """The landing room below one directory. One run works on it at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def stage(self, source: str, dataset: str, *, fetched_at: datetime, origin: Origin = Origin.LIVE) -> Stage:
        """Return an empty stage, to be used as a context manager."""
        return Stage(self.root, source, dataset, fetched_at=fetched_at, origin=origin)

    def entries(
        self, source: str, dataset: str | None = None, *, damaged: list[DamagedLandingError] | None = None
    ) -> list[LandedEntry]:
        """Return all attempts of a source, oldest first.

        A directory that cannot be read raises, unless `damaged` is given: then it is noted there and passed over.
        """
        found = []
        for path in self._paths(source, dataset):
            try:
                found.append(_read_entry(path))
            except DamagedLandingError as error:
                if damaged is None:
                    raise
                damaged.append(error)
        return sorted(found, key=lambda entry: (entry.fetched_at, entry.entry_id))

    def latest_snapshot(self, source: str, dataset: str) -> LandedEntry | None:
        """Return the newest landed snapshot."""
        return self._newest(source, dataset, {EntryKind.SNAPSHOT})

    def latest_confirmed(self, source: str, dataset: str) -> LandedEntry | None:
        """Return the newest attempt that succeeded; its `snapshot_id` names the bytes that hold."""
        return self._newest(source, dataset, {EntryKind.SNAPSHOT, EntryKind.UNCHANGED})

    def open_snapshot(self, entry: LandedEntry) -> Snapshot:
        """Return a landed snapshot for parsing. Its payloads are verified while they are read.

        Raises:
            PermanentError: its bytes were pruned.
        """
        if entry.kind is not EntryKind.SNAPSHOT:
            raise ValueError(f"{entry.entry_id} is {entry.kind}: it holds no bytes")
        if entry.pruned is not None:
            raise PermanentError(f"{entry.entry_id}: its bytes were pruned on {entry.pruned.at:%Y-%m-%d}")
        return Snapshot(
            source=entry.source,
            dataset=entry.dataset,
            fetched_at=entry.fetched_at,
            origin=entry.origin,
            payloads=entry.payloads,
            change_key=entry.change_key,
        )

    def land_files(
        self, source: str, dataset: str, files: Sequence[Path], fetched_at: datetime, origin: Origin
    ) -> LandedEntry:
        """Land files as one snapshot, as if they had been fetched at `fetched_at`; `.gz` files are unpacked.

        Raises:
            IncompleteSnapshotError: a gzip file is cut or damaged.
            PermanentError: a file cannot be read.
        """
        with self.stage(source, dataset, fetched_at=fetched_at, origin=origin) as stage:
            for file in files:
                name = file.name.removesuffix(".gz")
                try:
                    stored = stage.write(name, _file_chunks(file))
                except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                    raise IncompleteSnapshotError(
                        f"{file.name} is not a whole gzip file ({error}): copy it again", source=source
                    ) from error
                except OSError as error:
                    raise PermanentError(f"{file.name} cannot be landed: {error.strerror}", source=source) from error
                # The bare name: where a file lay on somebody's disk says nothing about the price.
                stage.keep(name, stored, url=f"file:{name}")
            return stage.commit()

    def prune(self, entry: LandedEntry, records: bytes, *, at: datetime) -> int:
        """Put what was read of a snapshot in the place of its bytes, and return how many bytes of disk that freed.

        First the records are on disk, then the envelope says so, then the payloads go: killed in between, it is made
        good by being called again.
        """
        before = entry.stored_bytes
        if entry.pruned is None:
            self._keep_records(entry, records, at=at.astimezone(UTC).replace(microsecond=0))
            before -= (entry.path / f"{_RECORDS}.gz").stat().st_size
        for payload in entry.payloads:
            payload.path.unlink(missing_ok=True)
        _sync(entry.path)
        return max(before, 0)  # of an answer of a few lines, what was read may be as long

    def _keep_records(self, entry: LandedEntry, records: bytes, *, at: datetime) -> None:
        packed = gzip.compress(records, mtime=0)
        _write_durably(entry.path / f"{_RECORDS}.gz", packed)
        envelope: dict[str, Any] = json.loads((entry.path / _ENVELOPE).read_text(encoding="utf-8"))
        envelope["pruned"] = {
            "at": at.isoformat(),
            "file": f"{_RECORDS}.gz",
            "sha256": hashlib.sha256(records).hexdigest(),
            "byte_count": len(records),
        }
        text = json.dumps(envelope, indent=1, ensure_ascii=False)
        _write_durably(entry.path / _ENVELOPE, text.encode())

    def remove_leftovers(self) -> int:
        """Remove what killed runs left half-written, and return how many. Call before the first pull of a run."""
        staging = self.root / _STAGING
        leftovers = list(staging.iterdir()) if staging.is_dir() else []
        for leftover in leftovers:
            shutil.rmtree(leftover)
        return len(leftovers)

    def _paths(self, source: str, dataset: str | None) -> Iterator[Path]:
        for path in self.root.glob(f"{source}/{dataset or '*'}/*/*"):
            if _ENTRY.fullmatch(path.name):
                yield path

    def _newest(self, source: str, dataset: str, kinds: set[EntryKind]) -> LandedEntry | None:
        newest_first = sorted(self._paths(source, dataset), key=lambda path: path.name, reverse=True)
        return next((entry for entry in map(_read_entry, newest_first) if entry.kind in kinds), None)


def _read_entry(path: Path) -> LandedEntry:
    try:
        envelope: dict[str, Any] = json.loads((path / _ENVELOPE).read_text(encoding="utf-8"))
        kind = EntryKind(envelope["kind"])
        source, dataset = str(envelope["source"]), str(envelope["dataset"])
        fetched_at = datetime.fromisoformat(envelope["fetched_at"])
        payloads = tuple(
            Payload(
                name=item["name"],
                url=item["url"],
                params=item["params"],
                status=item["status"],
                headers=item["headers"],
                sha256=item["sha256"],
                byte_count=item["byte_count"],
                path=path / item["file"],
            )
            for item in envelope["payloads"]
        )
        content = path.name.rpartition("__")[2]
        identity = entry_id(source, dataset, fetched_at, content)
        entry = LandedEntry(
            kind=kind,
            source=source,
            dataset=dataset,
            fetched_at=fetched_at,
            origin=Origin(envelope["origin"]),
            entry_id=identity,
            snapshot_id=identity if kind is EntryKind.SNAPSHOT else envelope.get("same_as"),
            change_key=envelope.get("change_key"),
            error=envelope.get("error"),
            message=envelope.get("message"),
            payloads=payloads,
            path=path,
            pruned=_read_pruned(path, envelope.get("pruned")),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        place = "/".join(path.parts[-4:])
        raise DamagedLandingError(
            f"landed entry {place} has no readable {_ENVELOPE} ({type(error).__name__}: {one_line(error)}). "
            "Restore the directory from a backup, or remove it"
        ) from error
    if kind is EntryKind.SNAPSHOT and content_key(payloads) != content:
        raise DamagedLandingError(
            f"landed entry {identity}: the payload hashes of its {_ENVELOPE} do not give its name. Restore the "
            "directory from a backup, or remove it"
        )
    return entry


def _read_pruned(path: Path, stated: dict[str, Any] | None) -> Pruned | None:
    if stated is None:
        return None
    records = Payload(
        name=_RECORDS,
        url="",
        params={},
        status=None,
        headers={},
        sha256=stated["sha256"],
        byte_count=stated["byte_count"],
        path=path / stated["file"],
    )
    return Pruned(datetime.fromisoformat(stated["at"]), records)


def _file_chunks(file: Path) -> Iterator[bytes]:
    with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as stream:
        while chunk := stream.read(_COPY_BYTES):
            yield chunk


def _digest(facts: Mapping[str, str | None]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _write_durably(path: Path, content: bytes) -> None:
    """Replace a file in one step, on disk before it is in its place."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    _sync(new)
    new.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
