"""The files a usage source holds: which are new, what is known of them, and how they are opened."""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from typing import Any

import duckdb

from orchestration.settings import Settings, UsageSource
from orchestration.usage_kinds import USAGE_KINDS

GZIP_MAGIC = b"\x1f\x8b"


ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


UTF8_MARK = b"\xef\xbb\xbf"


PARQUET_MAGIC = b"PAR1"


MAX_LINE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file to read. `file_id` survives a rename; `replica_key`: who wrote it; `scraped_at`: of scrapes only.

    `content_digest` is taken of a log that has the size it was read with and another time: written anew, or touched?
    """

    path: Path
    file_id: str
    size_bytes: int
    modified_at: datetime
    replica_key: str | None = None
    scraped_at: datetime | None = None
    content_digest: str | None = None


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What raw.usage_files holds of a path."""

    file_id: str
    size_bytes: int
    modified_at: datetime
    content_digest: str | None = None


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that could not even be opened or named; listed among the rejects."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a usage source holds: new or changed files, unreadable ones, and how many were as before.

    `moved`: those of the latter that have another name or time now.
    """

    changed: list[LogFile]
    unreadable: list[UnreadableFile]
    unchanged_count: int
    moved: list[LogFile] = field(default_factory=list)


def discover(source: UsageSource, settings: Settings, known: Mapping[str, KnownFile]) -> Discovery:
    """Lists the files of `source`; those whose size and modification time are `known` need no reading.

    Nor does a log that was renamed, or whose time alone is another than when it was read last; of that it takes two
    readings to tell, since only the second takes the digest of all of the file.

    Args:
        source: an entry of the ledger's usage section.
        settings: gives the folder relative paths start from, and where scraped pages land.
        known: file path as stored in raw.usage_files -> what is known of it.
    """
    if source.url is not None:
        base, pattern = settings.landing_dir, f"metrics/{source.name}/**/*.prom"
    else:
        base, pattern = settings.root, source.path or ""
        if Path(pattern).is_absolute():
            base, pattern = Path(Path(pattern).anchor), str(Path(pattern).relative_to(Path(pattern).anchor))
    chosen: dict[str, LogFile] = {}
    changed: list[LogFile] = []
    unreadable: list[UnreadableFile] = []
    for path in sorted(base.glob(pattern)):
        stat = _stat_of_log(path)
        if stat is None:
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(base.resolve()):
            unreadable.append(UnreadableFile(path, "link_leads_out_of_the_folder"))
            continue
        modified_at = datetime.fromtimestamp(stat.st_mtime_ns // 1_000 / 1_000_000, UTC)
        before = known.get(str(path))
        if before is not None and (before.size_bytes, before.modified_at) == (stat.st_size, modified_at):
            chosen[before.file_id] = LogFile(path, before.file_id, stat.st_size, modified_at)
        elif source.kind == "metrics":
            scraped_at = scrape_time(path.name)
            if scraped_at is None:
                unreadable.append(UnreadableFile(path, "file_name_has_no_utc_time_or_epoch"))
                continue
            replica = path.parents[1].name if source.url is not None else path.parent.relative_to(base).as_posix()
            file_id = _scrape_identity(path, source.name, replica, scraped_at)
            changed.append(LogFile(path, file_id, stat.st_size, modified_at, replica, scraped_at))
        else:
            log_id = _log_identity(path, source, before)
            if log_id is not None:
                changed.append(LogFile(path, log_id, stat.st_size, modified_at, _log_replica(path, base)))
            elif stat.st_size:
                unreadable.append(UnreadableFile(path, "no_readable_first_line"))
    moved: list[LogFile] = []
    to_read: dict[str, LogFile] = {}
    by_id = {entry.file_id: entry for entry in known.values()} if USAGE_KINDS[source.kind].table == "requests" else {}
    for found in changed:
        file = found
        before = by_id.get(file.file_id)
        if file.file_id not in chosen and before is not None and before.size_bytes == file.size_bytes:
            if before.modified_at != file.modified_at:
                file = replace(file, content_digest=_content_digest(file.path))
            if before.modified_at == file.modified_at or before.content_digest == file.content_digest:
                chosen[file.file_id] = file  # renamed by a rotation, or copied here anew
                moved.append(file)
                continue
        other = to_read.get(file.file_id) or chosen.get(file.file_id)
        relation = _relation(file, other) if other is not None else Relation.LONGER
        if relation is Relation.DIFFERENT:  # they only begin alike, as at-least-once shipping makes them
            own_id = hashlib.sha256(f"{file.file_id}|{file.path}".encode()).hexdigest()[:32]
            to_read[own_id] = replace(file, file_id=own_id)
        elif relation is Relation.LONGER:
            to_read[file.file_id] = file
    return Discovery(list(to_read.values()), unreadable, len(chosen), moved)


def _scrape_identity(path: Path, source_name: str, replica: str, scraped_at: datetime) -> str:
    """A page is known by its content, which names the start of its process: so a renamed folder counts once.

    A page that exposes no start (before vLLM V1) is known by its folder and time.
    """
    try:
        with open_log(path) as stream:
            content = stream.read()
    except (OSError, EOFError, zlib.error):
        content = path.read_bytes()  # damaged: known by its bytes, refused when it is read
    own = hashlib.sha256(content).hexdigest()
    if b"process_start_time_seconds " not in content and b"_created{" not in content:
        own = replica
    return hashlib.sha256(f"{source_name}|{scraped_at.isoformat()}|{own}".encode()).hexdigest()[:32]


def _log_replica(path: Path, base: Path) -> str:
    """Who wrote a log: `namespace/pod` where the kubelet named the path, else its folder and its name without endings.

    The endings go because rotation and packing change them.
    """
    if pod := re.search(r"/([a-z0-9.-]+)_([a-z0-9.-]+)_[0-9a-f-]{32,36}/[^/]+/[^/]+$", path.as_posix()):
        return f"{pod[1]}/{pod[2]}"
    return (path.parent.relative_to(base) / (path.name.split(".")[0] or path.name)).as_posix()


def _stat_of_log(path: Path) -> os.stat_result | None:
    """None for what is no file (a FIFO or folder that happens to match), or no longer there: rotated away meanwhile."""
    try:
        return path.stat() if path.is_file() else None
    except OSError:
        return None


def _log_identity(path: Path, source: UsageSource, before: KnownFile | None) -> str | None:
    """A log that grows is known by its first record, with its header line where it has one; None without a record.

    Parquet and JSON arrays are written whole: a new one under a known name replaces what that name held, a new name
    is known by its content.
    """
    lines = first_lines(path, 2)
    if lines is None:
        return None
    content = lines[0]
    if USAGE_KINDS[source.kind].is_table and not content.lstrip().startswith(b"{"):
        if content.startswith(PARQUET_MAGIC) or content.lstrip().startswith(b"["):
            if before is not None:
                return before.file_id
            try:
                with path.open("rb") as stream:
                    content = hashlib.file_digest(stream, "sha256").digest()
            except OSError:
                return None
        else:
            content = b"".join(lines)
    elif source.kind == "llama_cpp_log":
        content += _first_marked_line(path, b"eval time")  # every run of a build begins with the same line
    return hashlib.sha256(source.name.encode() + b"|" + content).hexdigest()[:32]


def _content_digest(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


class Relation(StrEnum):
    """How the content of a file relates to that of another with the same identity."""

    CONTAINED = "contained"  # the other holds all of it: a copy, or what a rotation left behind
    LONGER = "longer"
    DIFFERENT = "different"


def _relation(file: LogFile, other: LogFile) -> Relation:
    if file.scraped_at is not None:
        return Relation.CONTAINED  # the same page under two names
    try:
        with open_log(file.path) as mine, open_log(other.path) as theirs:
            while True:
                left, right = mine.read(1 << 20), theirs.read(1 << 20)
                common = min(len(left), len(right))
                if left[:common] != right[:common]:
                    return Relation.DIFFERENT
                if len(left) != len(right) or not left:
                    return Relation.LONGER if len(left) > len(right) else Relation.CONTAINED
    except (OSError, EOFError, zlib.error):
        return Relation.DIFFERENT  # one is damaged: both are read, and staging drops what they share


def scrape_time(file_name: str) -> datetime | None:
    """The instant in a scrape's file name: `20261123T175427Z` or epoch seconds or milliseconds; None without one."""
    if match := re.search(r"(\d{8}T\d{6})(?:\.\d+)?Z", file_name):
        try:
            return datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return None
    if match := re.search(r"(?<!\d)(1\d{9})(\d{3})?(?!\d)", file_name):
        return datetime.fromtimestamp(int(match[1]) + int(match[2] or 0) / 1000, UTC)
    return None


def by_compression(files: Iterable[LogFile]) -> dict[str, list[Path]]:
    """The paths by how they are packed, for readers that take one packing at a time."""
    paths: dict[str, list[Path]] = {}
    for file in files:
        paths.setdefault(compression(file.path), []).append(file.path)
    return paths


def literal(path: Path) -> str:
    """The path as DuckDB's readers take it: `[`, `*` and `?` in a file's own name are no pattern."""
    return re.sub(r"([\[*?])", r"[\1]", str(path))


def has_mark(path: Path) -> bool:
    """Whether the file begins with a byte order mark, which would spoil its first record."""
    with open_log(path) as stream:
        try:
            return stream.read(3) == UTF8_MARK
        except (OSError, EOFError, zlib.error):
            return False


def ends_with_newline(path: Path) -> bool:
    """Whether the last line of the file is whole. Of zstd it cannot be told, and is taken not to be."""
    last = b""
    packing = compression(path)
    with open_log(path) as stream:
        if packing == "zstd":
            return False
        if packing == "none":
            stream.seek(max(path.stat().st_size - 1, 0))
        while block := stream.read(1 << 20):
            last = block[-1:]
    return last == b"\n"


def compression(path: Path) -> str:
    """How a file is packed, by its first bytes: gzip, zstd or none. Names lie after a rotation."""
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic.startswith(GZIP_MAGIC):
        return "gzip"
    return "zstd" if magic == ZSTD_MAGIC else "none"


def open_log(path: Path) -> BufferedIOBase:
    """The file unpacked."""
    match compression(path):
        case "gzip":
            return gzip.open(path)
        case "zstd":
            return BufferedReader(_ZstdLines(path), 1 << 20)
        case _:
            return path.open("rb")


class _ZstdLines(RawIOBase):
    """The lines of a zstd file, unpacked by DuckDB: Python reads no zstd before 3.14. Each gets a line feed.

    What cannot be unpacked or is no UTF-8 ends the file with an OSError.
    """

    def __init__(self, path: Path) -> None:
        self._con = duckdb.connect()
        self._block = memoryview(b"")
        try:
            self._con.execute(f"select line from {text_lines()}", {"paths": [literal(path)], "compression": "zstd"})
        except duckdb.Error:
            self._con.close()
            raise OSError("the zstd file cannot be unpacked") from None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._block:
            try:
                lines = self._con.fetchmany(1000)
            except duckdb.Error:
                raise OSError("the zstd file cannot be unpacked") from None
            self._block = memoryview(b"".join((line or "").encode() + b"\n" for (line,) in lines))
        taken = self._block[: len(buffer)]
        buffer[: len(taken)] = taken
        self._block = self._block[len(taken) :]
        return len(taken)

    def close(self) -> None:
        self._con.close()
        super().close()


def log_lines(stream: BufferedIOBase) -> Iterator[bytes]:
    """Lines of at most MAX_LINE_BYTES; a longer one comes as one empty object, its rest passed over."""
    while line := stream.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            line = b"x\n"
        yield line


def first_lines(path: Path, count: int) -> list[bytes] | None:
    """The first lines that are not blank, decompressed; None when there are none or the file cannot be read.

    The first without its byte order mark, and each with a line feed, written or not: the last line of a file that
    grows gets one later.
    """
    lines: list[bytes] = []
    try:
        with open_log(path) as stream:
            while len(lines) < count and (line := stream.readline(MAX_LINE_BYTES)):
                if line.strip():
                    lines.append(line if line.endswith(b"\n") else line + b"\n")
    except (OSError, EOFError, zlib.error):
        pass  # damaged or not ours to read: what came before counts
    if lines:
        lines[0] = lines[0].removeprefix(UTF8_MARK)
    return lines or None


def _first_marked_line(path: Path, mark: bytes) -> bytes:
    """The first line with `mark` in the first megabyte of a file; empty where there is none yet."""
    try:
        with open_log(path) as stream:
            return next((line for line in stream.read(1 << 20).splitlines(keepends=True) if mark in line), b"")
    except (OSError, EOFError, zlib.error):
        return b""


def text_lines() -> str:
    """SQL: the lines of `$paths` as they stand, packed as `$compression` says; blank ones are null.

    A line cannot hold the delimiter: JSON has no bare control characters.
    """
    return (
        "read_csv($paths, auto_detect = false, header = false, columns = {'line': 'VARCHAR'}, delim = '\x01\x02', "
        "quote = '', escape = '', strict_mode = false, compression = $compression, "
        f"max_line_size = {MAX_LINE_BYTES}, buffer_size = {4 * MAX_LINE_BYTES})"
    )
