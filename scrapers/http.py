"""One HTTP client for every source: polite, bounded, and deaf to redirects into the private network.

Retries live here and nowhere else: 408, 429, 5xx, broken connections and cut bodies, at most `max_attempts`
times, waiting as long as Retry-After says (never above five minutes) or with exponential back-off and jitter, all
within one deadline per client. Everything else fails at once: elsewhere one unretryable 405 was retried 5,363 times.

Bytes are taken as they come off the wire and decompressed here, because the limits have to hold *while* streaming: a
1.9 MB gzip can unpack to 2 GB. The environment is not read (`trust_env`): a .netrc would send its passwords to
whoever a host name resolves to.
"""

import email.utils
import ipaddress
import json
import logging
import re
import secrets
import socket
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from typing import Any, Generic, TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from scrapers import VERSION
from scrapers.errors import (
    IncompleteSnapshotError,
    PermanentError,
    SchemaDriftError,
    ScrapeError,
    TooLongError,
    TransientError,
    one_line,
)

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS = 10, 60
DEADLINE_SECONDS = 15 * 60
RETRY_AFTER_CAP_SECONDS = 300
BACKOFF_CAP_SECONDS = 60
PAGE_LIMIT_BYTES = 64 << 20
DOWNLOAD_LIMIT_BYTES = 4 << 30
RATIO_LIMIT, RATIO_CHECK_ABOVE_BYTES = 100, 1 << 20
_CHUNK_BYTES = 1 << 16
_MAX_REDIRECTS = 3
_KEPT_HEADERS = ("content-type", "content-encoding", "date", "etag", "last-modified")
# XML says in its first bytes what it is; the second half waits for bytes that have not arrived yet.
_MARKUP = re.compile(rb"\s*<(?!\?xml\s|\??x?m?l?\Z)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Response(Generic[_T]):
    """An answer with status 200 or one of `explained`. `url` has no query; `headers` are the few worth keeping."""

    url: str
    params: dict[str, str]
    status: int
    headers: dict[str, str]
    body: _T


class _RetryError(Exception):
    """One attempt failed in a way that the next may not. `error` is what to raise when there is no next."""

    def __init__(
        self, error: ScrapeError, *, wait_seconds: float | None = None, max_attempts: int | None = None
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait_seconds = wait_seconds
        self.max_attempts = max_attempts


@dataclass(slots=True)
class HttpClient:
    """Talks to a closed list of hosts over https, or plain http to this machine.

    Args:
        allowed_hosts: host names, without ports. Redirects and page links to any other are refused.
        private_network: the hosts were named by the ledger's owner as his own: plain http and private addresses are
            allowed. Link-local addresses (cloud metadata) never are.
        contact: mail or web address of the operator, told to the providers in the User-Agent.
        max_attempts: tries per request, 1 to 5.
        deadline_seconds: for everything this client does, counted from its first request.
        sleep: waits; replaced in tests.
        clock: monotonic seconds; replaced in tests.
        now: wall clock, for Retry-After given as a date.
    """

    allowed_hosts: frozenset[str]
    private_network: bool = False
    contact: str | None = None
    timeout_seconds: tuple[float, float] = (CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)
    max_attempts: int = 5
    deadline_seconds: float = DEADLINE_SECONDS
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    _deadline: float | None = field(default=None, init=False)
    _session: requests.Session = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= 5:
            raise ValueError("max_attempts is 1 to 5")
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["User-Agent"] = (
            f"inference-ledger/{VERSION} (daily GPU price ledger; contact: {self.contact or 'not given'})"
        )
        self._session.headers["Accept-Encoding"] = "gzip"
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _GuardedAdapter(private_network=self.private_network))

    def get(
        self,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        limit_bytes: int = PAGE_LIMIT_BYTES,
        explained: Collection[int] = (),
    ) -> Response[bytes]:
        """Return one page, held in memory. Markup where data is expected raises SchemaDriftError.

        Args:
            url: where.
            params: of the query.
            headers: credentials among them.
            limit_bytes: a longer page raises TooLongError.
            explained: statuses besides 200 that are returned, because the body says what was wrong.
        """
        return self._request(
            "GET", url, b"".join, params=params, headers=headers, limit_bytes=limit_bytes, explained=explained
        )

    def post_json(
        self,
        url: str,
        payload: object,
        *,
        headers: Mapping[str, str] | None = None,
        limit_bytes: int = PAGE_LIMIT_BYTES,
    ) -> Response[bytes]:
        """Post a JSON body to a read-only endpoint (it is retried like a GET) and return the answer."""
        return self._request("POST", url, b"".join, payload=payload, headers=headers, limit_bytes=limit_bytes)

    def download(self, url: str, consume: Callable[[Iterator[bytes]], _T], *, retry_404: bool = False) -> Response[_T]:
        """Stream a large body into `consume`, which starts over at each retry, and return its result as the body.

        Args:
            url: where.
            consume: takes the decompressed chunks. It sees the end of a body only if all of it arrived.
            retry_404: the address comes from an index that can run ahead of the files it lists.
        """
        return self._request("GET", url, consume, limit_bytes=DOWNLOAD_LIMIT_BYTES, retry_404=retry_404)

    def _request(
        self,
        method: str,
        url: str,
        consume: Callable[[Iterator[bytes]], _T],
        *,
        limit_bytes: int,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        payload: object = None,
        retry_404: bool = False,
        explained: Collection[int] = (),
    ) -> Response[_T]:
        if self._deadline is None:
            self._deadline = self.clock() + self.deadline_seconds
        for attempt in range(1, self.max_attempts + 1):
            try:
                return self._attempt(
                    method,
                    url,
                    consume,
                    limit_bytes=limit_bytes,
                    params=params,
                    headers=headers,
                    payload=payload,
                    retry_404=retry_404,
                    explained=explained,
                )
            except _RetryError as failure:
                wait = self._backoff(attempt) if failure.wait_seconds is None else failure.wait_seconds
                most = min(self.max_attempts, failure.max_attempts or self.max_attempts)
                if attempt >= most or self.clock() + wait > self._deadline:
                    error = type(failure.error)(f"{failure.error}; gave up after {attempt} of {most} tries")
                    raise error from failure.__cause__
                _log.info("try %d of %d: %s; next in %.1f s", attempt, self.max_attempts, failure.error, wait)
                self.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _attempt(
        self,
        method: str,
        url: str,
        consume: Callable[[Iterator[bytes]], _T],
        *,
        limit_bytes: int,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        payload: object,
        retry_404: bool,
        explained: Collection[int],
    ) -> Response[_T]:
        place = _place(url)
        self._check_address(url)
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                raw = self._session.request(
                    method,
                    url,
                    params=dict(params or {}),
                    headers=dict(headers or {}),
                    json=payload,
                    timeout=self.timeout_seconds,
                    allow_redirects=False,
                    stream=True,
                )
            except (requests.exceptions.InvalidHeader, UnicodeError):
                # Without the cause, whose text holds the header and so the key.
                raise PermanentError(f"{place}: the API key holds a character that no header can carry") from None
            except requests.RequestException as error:
                raise _RetryError(_connection_error(place, error)) from error
            with raw:
                if raw.is_redirect:
                    url = self._redirect(url, raw.headers["Location"])
                    params = None
                    continue
                chunks = self._body(raw, place, limit_bytes)
                if raw.status_code not in explained:
                    self._check_status(raw, place, retry_404=retry_404)
                    chunks = _no_markup(chunks, place)
                return Response(
                    url=_place(url),
                    params=dict(params or {}),
                    status=raw.status_code,
                    headers={name: raw.headers[name] for name in _KEPT_HEADERS if name in raw.headers},
                    body=consume(chunks),
                )
        raise PermanentError(f"{place} redirects more than {_MAX_REDIRECTS} times")

    def _check_address(self, url: str) -> None:
        """Refuse what must not be contacted, before anything is sent."""
        parts = urlsplit(url)
        place, host = _place(url), parts.hostname or ""
        if host not in self.allowed_hosts:
            raise PermanentError(f"{place}: host {one_line(host)!r} is not one of this source's hosts; refused")
        is_own = _is_loopback_name(host) or self.private_network
        if parts.scheme != "https" and not (parts.scheme == "http" and is_own):
            raise PermanentError(f"{place}: only https is used outside this machine; refused")
        if parts.username or parts.password:
            raise PermanentError(f"{place}: an address with a user name or password is refused")
        try:
            found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
        except ValueError as error:
            raise PermanentError(f"{place}: not a usable address ({one_line(error)})") from error
        except OSError as error:
            # Names that do not resolve are this machine's trouble far more often than a hiccup: without network, five
            # tries for each of five datasets would hold up the day by two minutes.
            unresolved = TransientError(f"{place}: the host name cannot be resolved; check the network and DNS")
            raise _RetryError(unresolved, max_attempts=2) from error
        for *_, address in found:
            _check_ip(str(address[0]), host, private_network=self.private_network)

    def _redirect(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        if _origin(target) != _origin(url):
            raise PermanentError(
                f"{_place(url)} redirects to {_place(target)}, another host or protocol; refused. If the service "
                "moved, set base_url for it in ledger.yaml"
            )
        return target

    def _check_status(self, raw: requests.Response, place: str, *, retry_404: bool) -> None:
        status = raw.status_code
        if status == 200:
            return
        if status in (408, 429) or status >= 500 or (status == 404 and retry_404):
            raise _RetryError(
                TransientError(f"{place} answered {status}; try again later"),
                wait_seconds=self._retry_after(raw.headers.get("Retry-After")),
            )
        remedy = {
            401: "an API key is missing or wrong",
            403: "access is refused: check the API key and the network's egress rules",
            404: "no such page: check the region, and base_url in ledger.yaml",
        }.get(status, "a retry cannot help")
        raise PermanentError(f"{place} answered {status}: {remedy}")

    def _retry_after(self, value: str | None) -> float | None:
        """Seconds to wait, None where the header is absent, junk or already past (the usual back-off applies)."""
        if value is None:
            return None
        if re.fullmatch(r"\d{1,9}", value.strip(), re.ASCII):
            return min(float(value), RETRY_AFTER_CAP_SECONDS)
        try:
            moment = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        moment = moment.replace(tzinfo=moment.tzinfo or UTC)
        seconds = (moment - self.now()).total_seconds()
        return min(seconds, RETRY_AFTER_CAP_SECONDS) if seconds > 0 else None

    def _backoff(self, attempt: int) -> float:
        longest: float = min(2.0**attempt, BACKOFF_CAP_SECONDS)
        return longest * (0.5 + secrets.randbelow(1000) / 2000)

    def _body(self, raw: requests.Response, place: str, limit_bytes: int) -> Iterator[bytes]:
        """Yield the decompressed body; ends normally only if all of it arrived (urllib3 counts Content-Length)."""
        encoding = raw.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "", "gzip"):
            raise SchemaDriftError(f"{place} answered in encoding {one_line(encoding)!r}, which was not asked for")
        gunzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        received = produced = 0
        try:
            while packed := raw.raw.read1(_CHUNK_BYTES, decode_content=False):
                received += len(packed)
                if self._deadline is not None and self.clock() > self._deadline:
                    raise TransientError(f"{place}: not finished after {self.deadline_seconds:.0f} s")
                while packed:
                    data = gunzip.decompress(packed, _CHUNK_BYTES) if gunzip else packed
                    packed = gunzip.unconsumed_tail if gunzip else b""
                    if gunzip and gunzip.eof and gunzip.unused_data:
                        packed, gunzip = (
                            gunzip.unused_data,
                            zlib.decompressobj(wbits=31),
                        )  # the next gzip member
                    produced += len(data)
                    if produced > limit_bytes or received > limit_bytes:
                        raise TooLongError(f"{place}: the answer is longer than {limit_bytes >> 20} MB; refused")
                    if produced > RATIO_CHECK_ABOVE_BYTES and produced > RATIO_LIMIT * received:
                        raise PermanentError(f"{place}: unpacks to more than {RATIO_LIMIT} times its size; refused")
                    if data:
                        yield data
        except zlib.error as error:
            raise _RetryError(IncompleteSnapshotError(f"{place}: the gzip body is damaged ({error})")) from error
        except urllib3.exceptions.ReadTimeoutError as error:
            raise _RetryError(TransientError(f"{place}: no data for {self.timeout_seconds[1]} s")) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _RetryError(_cut_error(place, received)) from error
        if gunzip and received and not gunzip.eof:
            raise _RetryError(IncompleteSnapshotError(f"{place}: the gzip body is cut after {received} bytes"))


def parse_json(data: bytes, *, place: str, parse_float: Callable[[str], Any] | None = None) -> Any:
    """Return a JSON answer with exact numbers: every fraction a Decimal, NaN and Infinity as such.

    Args:
        data: the text.
        place: what messages call it.
        parse_float: makes something else of fractions.

    Raises:
        IncompleteSnapshotError: the text ends before the value does.
        SchemaDriftError: not JSON.
    """
    try:
        return json.loads(data, parse_float=parse_float or _exact, parse_constant=Decimal)
    except json.JSONDecodeError as error:
        text = error.doc.strip()
        is_cut = error.pos >= len(error.doc.rstrip()) or text[-1:] not in ("}", "]")
        if not text or (text[0] in "{[" and is_cut):
            raise IncompleteSnapshotError(
                f"{place}: the JSON text ends too early, after {len(data)} bytes; fetch it again"
            ) from error
        raise SchemaDriftError(f"{place}: not JSON ({error.msg} at byte {error.pos})") from error
    except (ValueError, RecursionError) as error:
        raise SchemaDriftError(f"{place}: not readable JSON ({type(error).__name__})") from error


def _exact(number: str) -> Decimal:
    try:
        return Decimal(number)
    except DecimalException:  # an exponent beyond what Decimal can hold: a price check names it
        return Decimal("Infinity")


def _no_markup(chunks: Iterator[bytes], place: str) -> Iterator[bytes]:
    """Error pages come with status 200 too, and no feed we read starts with '<', unless it declares itself XML."""
    head = b""
    for chunk in chunks:
        if len(head) < 64:
            head += chunk[:64]
            if _MARKUP.match(head):
                raise SchemaDriftError(
                    f"{place} answered an HTML page where data is expected: a maintenance notice, a login page of the "
                    "network, or the address has changed. Open it in a browser"
                )
        yield chunk


def _place(url: str) -> str:
    """An address fit for messages and envelopes: no credentials, no query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return one_line(urlunsplit((parts.scheme, host, parts.path, "", "")))


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _is_loopback_name(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_ip(address: str, host: str, *, private_network: bool) -> None:
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if _is_loopback_name(host):
        allowed = ip.is_loopback
    elif private_network:
        allowed = not (ip.is_link_local or ip.is_multicast or ip.is_unspecified)
    else:
        allowed = ip.is_global and not ip.is_multicast
    if not allowed:
        raise PermanentError(f"host {one_line(host)!r} resolves to {ip}, which is not a public address; refused")


def _connection_error(place: str, error: requests.RequestException) -> ScrapeError:
    if isinstance(error, requests.exceptions.SSLError):
        return TransientError(f"{place}: the TLS certificate could not be verified")
    if isinstance(error, requests.exceptions.Timeout):
        return TransientError(f"{place}: no answer in time")
    return TransientError(f"{place}: the connection failed ({type(error).__name__})")


def _cut_error(place: str, received: int) -> IncompleteSnapshotError:
    return IncompleteSnapshotError(f"{place}: the body is cut or not as long as announced, {received} bytes arrived")


class _GuardedAdapter(HTTPAdapter):
    """Checks the address of every connection once it is open and before a byte is sent.

    The check before the request asks DNS; DNS may answer differently a moment later.
    """

    def __init__(self, *, private_network: bool) -> None:
        self._private_network = private_network
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **kwargs)
        private_network = self._private_network

        def check(connection: HTTPConnection, opened: socket.socket) -> socket.socket:
            try:
                _check_ip(opened.getpeername()[0], connection.host, private_network=private_network)
            except PermanentError:
                opened.close()
                raise
            return opened

        class GuardedHttp(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return check(self, super()._new_conn())

        class GuardedHttps(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return check(self, super()._new_conn())

        class HttpPool(HTTPConnectionPool):
            ConnectionCls = GuardedHttp

        class HttpsPool(HTTPSConnectionPool):
            ConnectionCls = GuardedHttps

        self.poolmanager.pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}
