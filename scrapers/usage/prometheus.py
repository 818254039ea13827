"""One scrape of a serving engine's /metrics page, kept as the page was.

Endpoint   GET http(s)://<replica>/metrics, Prometheus text format 0.0.4 (vLLM 0.32 recorded 2026-11; SGLang alike) or
           OpenMetrics 1.0.
Auth       none in vLLM: --api-key guards /v1 only.
A file     one page: `<root>/metrics/<source>/<replica>/<YYYY-MM-DD>/<YYYYMMDDTHHMMSSZ>.prom`, the layout that
           `usage: {kind: metrics, path: ...}` reads. Counters are read as differences between pages, so a page
           is never changed and never cut: the format ends every line, also the last, with a line feed.
"""

import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from scrapers.errors import IncompleteSnapshotError, SchemaDriftError, one_line
from scrapers.http import HttpClient
from scrapers.snapshot import stamp

_PAGE_LIMIT_BYTES = 16 << 20
_NUMBER = rb"(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?Inf|NaN)"
# A value, perhaps its instant, and in OpenMetrics perhaps an exemplar.
_SAMPLE = re.compile(
    rb"[a-zA-Z_:][a-zA-Z0-9_:]*(?:[ \t]*\{.*\}[ \t]*|[ \t]+)" + _NUMBER + rb"(?:[ \t]+" + _NUMBER + rb")?"
    rb"(?:[ \t]+#[ \t].*)?[ \t]*"
)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


def scrape(url: str, *, client: HttpClient | None = None) -> bytes:
    """Fetch one page and make sure that it is a whole page of samples.

    Args:
        url: the replica's page. The ledger's owner names it, so it may be on a private network and without TLS.
        client: replaced in tests.

    Raises:
        SchemaDriftError: HTML, JSON, or anything else that is not Prometheus text.
        IncompleteSnapshotError: the page is empty or cut.
        TransientError, PermanentError: as HttpClient.
    """
    client = client or HttpClient(frozenset({urlsplit(url).hostname or ""}), private_network=True)
    answer = client.get(url, headers={"Accept": "text/plain"}, limit_bytes=_PAGE_LIMIT_BYTES)
    page, place = answer.body, answer.url
    if not page.endswith((b"\n", b"# EOF")):
        raise IncompleteSnapshotError(f"{place}: the page is {'cut' if page else 'empty'}; scrape again")
    samples = [line for line in page.splitlines() if line.strip() and not line.startswith(b"#")]
    for line in samples:
        if not _SAMPLE.fullmatch(line):
            # Only the metric name: label values could be anything.
            name = one_line(re.split(rb"[{ \t]", line)[0].decode("utf-8", "replace"), limit=60)
            raise SchemaDriftError(
                f"{place}: not Prometheus text at {name!r}. Point the ledger at the engine's /metrics page"
            )
    if not samples:
        raise IncompleteSnapshotError(f"{place}: the page holds no sample; the engine may still be starting")
    return page


def land_scrape(root: Path, source_name: str, replica_key: str, now: datetime, page: bytes) -> Path:
    """Write a page in one step and return its path. A second page of the same second replaces the first."""
    moment = now.astimezone(UTC)
    directory = root / "metrics" / _path_safe(source_name) / _path_safe(replica_key) / moment.date().isoformat()
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"{stamp(moment)}.prom"
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=directory)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _path_safe(name: str) -> str:
    """Return a name that is one harmless path component: "10.0.0.7:8000" becomes "10.0.0.7_8000"."""
    return _UNSAFE.sub("_", name).strip(".") or "_"
