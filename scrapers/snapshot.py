"""What was fetched at one moment from one dataset of one source: exact bytes, and where they came from.

Parsers take a `Snapshot` and nothing else, so that a live pull, a bundled file and a replay of the landing room go
through the same code.
"""

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, cast

from isal import isal_zlib

from scrapers.errors import DamagedLandingError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_READ_BYTES = 1 << 20
# Python hands the interpreter over every 5 ms only: a batch must keep the hashing thread busy for longer.
_HASH_BYTES = 1 << 23
_GUNZIP_ERROR = cast("type[Exception]", isal_zlib.error)  # the package's stub declares an instance


class Origin(StrEnum):
    """How the bytes came to us."""

    LIVE = "live"
    BUNDLED = "bundled"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class Payload:
    """One response body as landed. `params` and `headers` are what is safe and useful to keep, never credentials."""

    name: str
    url: str
    params: dict[str, str]
    status: int | None  # None for a file
    headers: dict[str, str]
    sha256: str  # of the exact bytes, uncompressed
    byte_count: int
    path: Path  # gzip file

    def open(self) -> io.BufferedReader:
        """Return a stream of the exact bytes. Reading to its end proves them: damage raises DamagedLandingError."""
        return io.BufferedReader(_VerifiedStream(self), _READ_BYTES)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All payloads of one fetch of one dataset, whole."""

    source: str
    dataset: str
    fetched_at: datetime
    origin: Origin
    payloads: tuple[Payload, ...]
    change_key: str | None = None  # the source's own word for "this version"

    @property
    def snapshot_id(self) -> str:
        """`<source>/<dataset>/<fetched_at>/<12 hex of the content>`."""
        return entry_id(self.source, self.dataset, self.fetched_at, content_key(self.payloads))


def entry_id(source: str, dataset: str, fetched_at: datetime, content: str) -> str:
    """Return the name of one landed entry; it sorts by time inside a dataset."""
    return f"{source}/{dataset}/{stamp(fetched_at)}/{content}"


def stamp(moment: datetime) -> str:
    """Return a UTC instant in basic ISO form, whole seconds: 20261123T060000Z."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def content_key(payloads: Sequence[Payload]) -> str:
    """Return 12 hex digits of the SHA-256 over the payload hashes: equal bytes, equal key."""
    return hashlib.sha256("\n".join(p.sha256 for p in payloads).encode()).hexdigest()[:12]


class BackgroundSha256:
    """SHA-256 on a core of its own: of all that is done to the 450 MB of an AWS offer file, hashing takes longest."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._last: Future[None] | None = None
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0

    def update(self, data: bytes) -> None:
        """Hash `data` while the caller goes on; waits for the batch before it, so that memory stays bounded."""
        self._pieces.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= _HASH_BYTES:
            self._submit()

    def hexdigest(self) -> str:
        """Return the digest of all pieces; none can follow."""
        self.close()
        self._hash.update(self._batch())
        return self._hash.hexdigest()

    def close(self) -> None:
        """Wait for the batch at work and end the worker."""
        self._worker.shutdown()

    def _submit(self) -> None:
        if self._last:
            self._last.result()
        self._last = self._worker.submit(self._hash.update, self._batch())

    def _batch(self) -> bytes:
        batch = b"".join(self._pieces)
        self._pieces, self._waiting_bytes = [], 0
        return batch


class _VerifiedStream(io.RawIOBase):
    """Decompresses a landed file and compares length and hash when its end is reached.

    One pass, because the AWS offer file is some 450 MB: checking it before parsing would read it twice.
    """

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        try:
            self._file = payload.path.open("rb")
        except OSError as error:
            raise self._damaged(f"cannot be opened ({error.strerror})") from error
        self._gunzip = isal_zlib.decompressobj(wbits=31)
        self._hash = BackgroundSha256()
        self._count = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._file.close()
            self._hash.close()
        super().close()

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        data = b""
        try:
            while not data and not self._gunzip.eof:
                packed = self._gunzip.unconsumed_tail or self._file.read(_READ_BYTES)
                if not packed:
                    raise self._damaged("ends too early")
                data = self._gunzip.decompress(packed, len(view))
        except _GUNZIP_ERROR as error:
            raise self._damaged(f"is not readable gzip ({error})") from error
        if not data:
            self._verify()
            return 0
        self._hash.update(data)
        self._count += len(data)
        view[: len(data)] = data
        return len(data)

    def _verify(self) -> None:
        trailing = self._gunzip.unused_data or self._file.read(1)
        if self._count != self._payload.byte_count or self._hash.hexdigest() != self._payload.sha256 or trailing:
            raise self._damaged("does not have the length and SHA-256 of its envelope")

    def _damaged(self, what: str) -> DamagedLandingError:
        place = "/".join(self._payload.path.parts[-5:])
        return DamagedLandingError(
            f"landed file {place} {what}. Its bytes changed after landing: restore it from a backup, or remove its "
            "directory so that the next pull replaces it"
        )
