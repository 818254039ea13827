"""A local HTTP server that misbehaves on purpose. Real sockets on 127.0.0.1; nothing is mocked.

with FaultServer() as server:
    server.add("/prices", Answer(status=503), Answer.json({"items": []}))   # the last answer repeats
    client.get(server.url + "/prices")
    assert len(server.requests) == 2
"""

import contextlib
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """One answer and what is wrong with it."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_length: int | None = None  # announced instead of the true length
    chunked: bool = False  # no Content-Length; with cut_after the last chunk never comes
    cut_after: int | None = None  # close the connection after so many bytes of the body
    reset: bool = False  # with cut_after: RST instead of FIN
    delay_seconds: float = 0  # before the headers
    seconds_per_byte: float = 0
    endless: bool = False  # the body repeats until the client hangs up

    @classmethod
    def json(cls, value: object, **changes: Any) -> "Answer":
        """A JSON document."""
        return cls(json.dumps(value).encode(), headers={"Content-Type": "application/json"}, **changes)

    @classmethod
    def html(cls) -> "Answer":
        """The page a login portal or a maintenance window answers with, status 200."""
        return cls(b"\n<!DOCTYPE html><html><body>Sorry</body></html>", headers={"Content-Type": "text/html"})

    @classmethod
    def bomb(cls, megabytes: int = 64) -> "Answer":
        """Zeros, packed about 1000:1."""
        return cls(b"[" + b"0" * (megabytes << 20)).gzipped()

    @classmethod
    def redirect(cls, location: str) -> "Answer":
        return cls(status=302, headers={"Location": location})

    def gzipped(self) -> "Answer":
        return replace(self, body=gzip.compress(self.body), headers={**self.headers, "Content-Encoding": "gzip"})

    def but(self, **changes: Any) -> "Answer":
        return replace(self, **changes)


Responder = Callable[[Request], Answer]


class FaultServer:
    """Serves scripted answers by path, and remembers every request. Unknown paths are 404."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._scripts: dict[str, list[Answer] | Responder] = {}
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _QuietServer(("127.0.0.1", 0), handler)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, path: str, *answers: Answer) -> None:
        """Serve these answers in turn; the last one repeats."""
        self._scripts[path] = list(answers)

    def respond(self, path: str, responder: Responder) -> None:
        """Let a function answer."""
        self._scripts[path] = responder

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            script = self._scripts.get(request.path)
            if script is None:
                return Answer(status=404)
            if callable(script):
                return script(request)
            return script.pop(0) if len(script) > 1 else script[0]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up in the middle are the point of the exercise."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for the client's delayed ACK
    owner: FaultServer

    def do_GET(self) -> None:  # noqa: N802 - the name http.server looks for
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        answer = self.owner.answer(
            Request(
                method=self.command,
                path=parts.path,
                query={name: ",".join(values) for name, values in parse_qs(parts.query).items()},
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(length),
            )
        )
        with contextlib.suppress(OSError):  # the client may hang up at any time: that is what is tested
            self._send(answer)

    do_POST = do_GET  # noqa: N815 - the name http.server looks for

    def _send(self, answer: Answer) -> None:
        time.sleep(answer.delay_seconds)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.chunked or answer.endless:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            length = len(answer.body) if answer.content_length is None else answer.content_length
            self.send_header("Content-Length", str(length))
        self.end_headers()
        body = answer.body if answer.cut_after is None else answer.body[: answer.cut_after]
        while answer.endless:
            self._write_chunk(body)
        if answer.chunked:
            self._write_chunk(body)
            if answer.cut_after is None:
                self.wfile.write(b"0\r\n\r\n")
        elif answer.seconds_per_byte:
            for byte in body:
                self.wfile.write(bytes([byte]))
                time.sleep(answer.seconds_per_byte)
        else:
            self.wfile.write(body)
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if answer.cut_after is not None or answer.content_length is not None:
            self.close_connection = True

    def _write_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, format: str, *args: object) -> None:
        """Silence: requests are kept in `FaultServer.requests`."""
