"""Sends the calls of a short day to a vLLM on this machine and adds up what the replies say of their tokens."""

import json
from collections import Counter
from http.client import HTTPConnection, HTTPResponse
from typing import Any

told: Counter[str] = Counter()


def post(**body: object) -> HTTPResponse:
    """The reply to one completion request; closing it while tokens still come aborts the call."""
    payload = {"model": "tiny-llama", "temperature": 1.0, "seed": 7, "ignore_eos": True, **body}
    connection = HTTPConnection("127.0.0.1", 18123, timeout=300)
    connection.request("POST", "/v1/completions", json.dumps(payload), {"Content-Type": "application/json"})
    return connection.getresponse()


def note(usage: dict[str, Any]) -> None:
    """Adds up what a reply says."""
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    told.update(calls=1, prompt=usage["prompt_tokens"], completion=usage["completion_tokens"], cached=cached)


def plain(number: int, **more: object) -> None:
    """A call answered at once."""
    note(json.load(post(prompt=f"call {number} " + "lorem ipsum " * 20, max_tokens=20, **more))["usage"])


def stream(number: int, *, max_tokens: int = 20, leave_after: int | None = None, **more: object) -> None:
    """A call answered in chunks; the client may leave after some."""
    reply = post(prompt=f"stream {number} " + "dolor sit " * 20, max_tokens=max_tokens, stream=True, **more)
    chunks = 0
    for line in reply:
        if line.startswith(b"data: {"):
            chunks += 1
            if usage := json.loads(line[6:]).get("usage"):
                note(usage)
            if chunks == leave_after:
                break
    reply.close()


def main() -> None:
    """The calls of docs/usage/try-vllm.md."""
    with_usage = {"stream_options": {"include_usage": True}}
    for number in range(10):
        plain(number)
    print("10 plain calls", dict(told))
    for number in range(5):
        stream(number, **with_usage)
    print("5 streams with include_usage", dict(told))
    for number in range(5):
        stream(100 + number)
    print("5 streams without", dict(told))
    for number in range(3):
        plain(200 + number, n=2)
    print("3 calls with n=2", dict(told))
    stream(300, max_tokens=1500, leave_after=5, **with_usage)
    print("a stream left after 5 chunks", dict(told))


if __name__ == "__main__":
    main()
