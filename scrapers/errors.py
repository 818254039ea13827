"""What can go wrong between us and a source, in four kinds that ask for four different reactions.

Only `scrapers` raises these. A message says which source, what was attempted, which page or field, and what to
do; it never holds a secret or a query string (requests' own messages hold both, so they are not passed on).
"""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class ScrapeError(Exception):
    """A source could not be read. `source` is its registry name, filled in by who asks the source."""

    def __init__(self, message: str, *, source: str | None = None) -> None:
        super().__init__(message)
        self.source = source

    def __str__(self) -> str:
        message = str(self.args[0])
        return f"{self.source}: {message}" if self.source else message


class TransientError(ScrapeError):
    """All retries are used up or the deadline is over; the same request may work later."""


class PermanentError(ScrapeError):
    """A retry cannot help: 401, 403, 404, a refused host, an impossible option."""


class TooLongError(PermanentError):
    """The answer is longer than the limit; asking for less of it may help."""


class SchemaDriftError(ScrapeError):
    """The answer does not have the expected shape; the message names payload and field."""


class IncompleteSnapshotError(ScrapeError):
    """Part of the answer is missing: a cut body, a lost or repeated page, a count that does not match."""


class DamagedLandingError(ScrapeError):
    """Landed bytes are not the bytes that were landed: fetch again, or restore them from a backup."""


def one_line(text: object, *, limit: int = 300) -> str:
    """Return foreign text made safe for a message or a log line: no control characters, bounded length."""
    clean = _CONTROL.sub(" ", str(text)).strip()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
