"""Text logs of serving engines: the few lines that count, whatever stands between them.

An engine's log holds prompts, tracebacks, progress bars and other programs' bytes. So it is searched in blocks for a
few marks, and only a line with a mark is looked at; what the log's reader does not take from it goes no further. One
way for all: plain or packed, damaged or whole, with the stamps that container runtimes and collectors put before it.
"""

import codecs
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BufferedIOBase
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb

from orchestration.serving_logs.files import MAX_LINE_BYTES, LogFile, open_log

BLOCK_BYTES = 1024 * 1024
TAIL_BYTES = 64 * 1024

# `\x1b[32m`, and as CloudWatch and some syslogs write it down (huggingface/text-generation-inference#1763).
_ANSI = re.compile(r"(?:\x1b|#033|\\x1b|\\u001b|\\033)\[[0-9;]*[A-Za-z]")

# Kubernetes (CRI) `<instant> stdout F `, journalctl -o short-iso `<instant> host unit[1]: `, docker logs -t.
_STAMPED = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)) "
    r"(?:(?:stdout|stderr) ([FP])(?::\S{1,20})? |[^\s()]{1,253} [\w.@-]{1,64}\[\d{1,9}\]: )?"
)
_PART = re.compile(rb"\d{4}-\d\d-\d\dT[^ ]{8,40} (stdout|stderr) ([FP])(?::[^ ]{1,20})? ")

# A collector's own prefix, in the local time of its host: `2026-04-19 13:22:58.684 | `.
_LOCALLY_STAMPED = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:[.,]\d{1,9})? \| ")


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line with a mark, without what its collector put around it.

    Attributes:
        number: of the line in its file, from 1, by line feeds.
        text: without escape sequences; of a progress bar that redraws itself, the part with the mark.
        stamped_at: the instant that a container runtime or collector stated.
        near: a stamp of a collector in a zone that it does not state: good for the year.
        is_whole: False for what stands behind the last line feed.
    """

    number: int
    text: str
    stamped_at: datetime | None
    near: datetime | None
    is_whole: bool


class TextLog:
    """The marked lines of one file, in their order. `line_count`, `damage` and `tail` are known at the end.

    `tail`: the last bytes of the whole lines, for readers that need to know how far the log goes.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, marks: Sequence[bytes]) -> None:
        self.line_count = 0
        self.damage: str | None = None
        self.tail = b""
        self._path = path
        self._marks = marks

    def __iter__(self) -> Iterator[TextLine]:
        rest = b""
        with open_log(self._path) as stream:
            blocks = _blocks(stream)
            while True:
                try:
                    block = next(blocks, None)
                except EOFError:
                    self.damage = "archive_cut_short"
                    return
                except (OSError, zlib.error):
                    self.damage = "archive_damaged"
                    return
                if block is None:
                    break
                rest += block
                end = rest.rfind(b"\n") + 1
                lines, rest = _joined(rest[:end], rest[end:], is_end=False)
                yield from self._marked(lines)
        end = rest.rfind(b"\n") + 1
        yield from self._marked(_joined(rest[:end], b"", is_end=True)[0])
        if rest[end:]:
            # What is cut is no line yet: it is told, and read when the file has grown.
            self.line_count += 1
            yield from self._lines(rest[end:], self.line_count, is_whole=False)

    def _marked(self, lines: bytes) -> Iterator[TextLine]:
        starts: dict[int, int] = {}
        for mark in self._marks:
            at = lines.find(mark)
            while at >= 0:
                end = lines.find(b"\n", at)
                starts[lines.rfind(b"\n", 0, at) + 1] = end
                at = lines.find(mark, end)
        counted = 0
        for start in sorted(starts):
            self.line_count += lines.count(b"\n", counted, start)
            counted = start
            yield from self._lines(lines[start : starts[start]], self.line_count + 1, is_whole=True)
        self.line_count += lines.count(b"\n", counted)
        self.tail = lines[-TAIL_BYTES:] or self.tail

    def _lines(self, line: bytes, number: int, *, is_whole: bool) -> Iterator[TextLine]:
        text = line.decode(errors="replace").removeprefix("\ufeff")
        stamped_at = near = None
        if text.startswith('{"log":'):
            entry = parsed_object(text)
            stamped_at = instant_of(entry.get("time"))
            logged = entry.get("log")
            text = logged if isinstance(logged, str) else ""
            is_whole = is_whole and text.endswith("\n")
        elif stamp := _STAMPED.match(text):
            stamped_at = instant_of(stamp[1])
            is_whole = is_whole and stamp[2] != "P"
            text = text[stamp.end() :]
        text = _ANSI.sub("", text)
        if outer := _LOCALLY_STAMPED.match(text):
            near = _naive(outer[1])
            text = text[outer.end() :]
        for part in re.split(r"[\r\n]", text):
            if any(mark.decode() in part for mark in self._marks):
                yield TextLine(number, part, stamped_at, near, is_whole)


def _blocks(stream: BufferedIOBase) -> Iterator[bytes]:
    """The file in UTF-8. Of a line beyond MAX_LINE_BYTES the end is left out. PowerShell redirects in UTF-16."""
    wide: codecs.IncrementalDecoder | None = None
    line_bytes = 0  # of the line that is open
    for number, read in enumerate(_pieces(stream)):
        block = read
        if number == 0 and block[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            wide = codecs.getincrementaldecoder("utf-16")("replace")
        if wide is not None:
            block = wide.decode(block).encode(errors="replace")
        start = block.find(b"\n")
        if line_bytes + (len(block) if start < 0 else start) > MAX_LINE_BYTES:
            line_bytes = MAX_LINE_BYTES
            block = block[start:] if start >= 0 else b""
        end = block.rfind(b"\n")
        line_bytes = line_bytes + len(block) if end < 0 else len(block) - end - 1
        yield block


def _pieces(stream: BufferedIOBase) -> Iterator[bytes]:
    """The file in blocks; of an archive that is cut, what came before the cut, and then its error."""
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := stream.read1(BLOCK_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size >= BLOCK_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
    except (OSError, EOFError, zlib.error):
        yield b"".join(pieces)
        raise
    yield b"".join(pieces)


def _joined(lines: bytes, rest: bytes, *, is_end: bool) -> tuple[bytes, bytes]:
    """Puts lines that Kubernetes cut in parts (`P` ... `F`) together again, each stream for itself.

    The whole line stands where its first part stood, and the others leave blank lines, so that numbers stay. What is
    still open goes back to the rest, unless this `is_end`. A continuation is never taken for a line: a prompt cut at
    the right place could pretend to be one.
    """
    if _PART.match(lines) is None:  # Kubernetes stamps every line, so the first one tells
        return lines, rest
    parts = lines.split(b"\n")
    open_parts: dict[bytes, tuple[int, int]] = {}  # stream -> which part, and where it says P
    for index, part in enumerate(parts):
        found = _PART.match(part)
        if found is None:
            continue
        stream, is_last = found[1], found[2] == b"F"
        begun, tag = open_parts.get(stream, (index, found.start(2)))
        if begun != index:
            parts[begun] += part[found.end() :] if len(parts[begun]) < MAX_LINE_BYTES else b""
            parts[index] = b""
        if is_last:
            parts[begun] = parts[begun][:tag] + b"F" + parts[begun][tag + 1 :]
            open_parts.pop(stream, None)
        else:
            open_parts[stream] = (begun, tag)
    if open_parts and not is_end:
        first = min(begun for begun, _ in open_parts.values())
        at = sum(len(part) + 1 for part in lines.split(b"\n")[:first])
        if len(lines) - at + len(rest) <= MAX_LINE_BYTES:
            return b"\n".join([*parts[:first], b""]), lines[at:] + rest
    return b"\n".join(parts), rest


def parsed_object(text: str) -> dict[str, object]:
    """The JSON object that a line is; an empty one where it is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def instant_of(text: object) -> datetime | None:
    """An instant with a zone; None for anything else."""
    if not isinstance(text, str) or len(text) > 40:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None


def _naive(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


# --- stamps without year and zone -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class YearlessStamp:
    """`11-23 17:54:36` as written. `turn`: in which year, counted from that of the file's first stamp."""

    month: int
    day: int
    hour: int
    minute: int
    second: int
    turn: int = 0

    def in_year(self, year: int) -> datetime:
        """Raises ValueError: that year has no such day, or no day is like this."""
        return datetime(  # noqa: DTZ001 - local time, its zone comes with the whole log
            year + self.turn, self.month, self.day, self.hour, self.minute, self.second
        )


def turns(stamps: Sequence[YearlessStamp]) -> list[int]:
    """For each stamp, the years since the first: a log goes on where it was, so of two readings the nearer one holds.

    December to January is the next year; a line of December among those of January belongs to the year before.
    """
    found: list[int] = []
    turn, before = 0, None
    for stamp in stamps:
        months = stamp.month - before if before is not None else 0
        turn += 1 if months < -6 else -1 if months > 6 else 0
        before = stamp.month
        found.append(turn)
    return found


def first_year(first: YearlessStamp, last: YearlessStamp, file: LogFile, year: int | None, zone: ZoneInfo) -> int:
    """The year of a file's first stamp.

    `year` of the ledger; else by the date in the file's name; else by when it was last written, which is not before its
    last line.
    """
    if year is not None:
        return year
    if named := re.search(r"(?<!\d)(20\d\d)-?(\d\d)-?(\d\d)(?!\d)", file.path.name):
        try:
            near = datetime.fromisoformat("".join(named.groups()))
        except ValueError:
            pass
        else:
            return _nearest(first, near).year
    written = file.modified_at.astimezone(zone).replace(tzinfo=None) + timedelta(days=1)
    for before in range(5):  # 29 February comes every four years
        try:
            if last.in_year(written.year - before - last.turn) <= written:
                return written.year - before - last.turn
        except ValueError:
            continue
    return written.year - last.turn


def near_instant(stamp: YearlessStamp, near: datetime) -> datetime:
    """The reading of a stamp that is nearest to another clock's, in whatever zone that is.

    Raises:
        ValueError: no day is like this.
    """
    return _nearest(stamp, near)


def _nearest(stamp: YearlessStamp, near: datetime) -> datetime:
    readings = []
    for year in (near.year - 1, near.year, near.year + 1):
        try:
            readings.append(replace(stamp, turn=0).in_year(year))
        except ValueError:
            continue
    if not readings:
        raise ValueError("no day is like this")
    return min(readings, key=lambda reading: abs(reading - near))


def utc_instants(local: Sequence[datetime | None], zone: ZoneInfo) -> list[datetime | None]:
    """Local times of a log, in its order, as instants.

    Of an hour that clocks show twice, a stamp is the earlier one as long as the log does not go back by it; then it is
    the later one. An hour that clocks skip is read as if they had not been put forward.
    """
    found: list[datetime | None] = []
    before: datetime | None = None
    for time in local:
        if time is None:
            found.append(None)
            continue
        instant = time.replace(tzinfo=zone).astimezone(UTC)
        later = time.replace(tzinfo=zone, fold=1).astimezone(UTC)
        if later > instant and before is not None and instant < before - timedelta(minutes=5):
            instant = later
        before = instant if before is None else max(before, instant)
        found.append(instant)
    return found


# --- into the staging tables ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LineReject:
    """A line that is of this log and cannot be used. Never holds its text."""

    number: int
    reason: str
    field: str | None = None


def note_read(
    con: duckdb.DuckDBPyConnection, file: LogFile, rejects: Sequence[LineReject], *, others: int, damage: str | None
) -> None:
    """Adds what became of a file's lines to `line_rejects`, `passed_over_lines` and the failed files."""
    if rejects:
        con.execute(
            "insert into line_rejects select ?, unnest(?), unnest(?), unnest(?)",
            [
                file.file_id,
                [reject.number for reject in rejects],
                [reject.reason for reject in rejects],
                [reject.field for reject in rejects],
            ],
        )
    con.execute("insert into passed_over_lines values (?, ?)", [file.file_id, others])
    if damage is not None:
        con.execute("insert into failed_files values (?, ?, true)", [str(file.path), damage])


def begin_read(con: duckdb.DuckDBPyConnection) -> None:
    """Makes the tables that `note_read` fills."""
    con.execute(
        "create or replace temp table line_rejects (file_id varchar, line_number bigint, reason varchar, field varchar)"
    )
    con.execute("create or replace temp table passed_over_lines (file_id varchar, passed_over_count bigint)")


REJECTS = """
    select
        line_rejects.file_id, line_rejects.reason, line_rejects.field,
        files.file_path || ', line ' || min(line_rejects.line_number) as first_location, count(*) as occurrences
    from line_rejects inner join input_files as files on line_rejects.file_id = files.file_id
    group by line_rejects.file_id, line_rejects.reason, line_rejects.field, files.file_path
"""
