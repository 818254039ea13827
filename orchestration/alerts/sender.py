"""Sends the messages of one channel through apprise. A program of its own, run by `delivery.py`.

A process, because it can be ended when a service hangs, and because whatever apprise or a library below it logs (an
address is a secret, and some log it) goes nowhere. Reads one JSON document from standard input: `url`, and `messages`
of `key`, `incident`, `severity`, `title`, `body`. Writes a line per message: `key` and `problem`, null when accepted.
"""

import json
import logging
import re
import sys

TYPES = {"page": "failure", "warning": "warning", "info": "info"}


def main() -> None:
    """Answers line by line, so that a receipt is kept even if the next message hangs."""
    order = json.load(sys.stdin)
    try:
        import apprise
    except ImportError:
        _say_all(order, "the package apprise is not installed")
        return
    # Nothing of a channel goes to disk, not even a token that a service gave for a while.
    asset = apprise.AppriseAsset(
        app_id="Inference ledger", app_desc="Inference ledger", app_url="", storage_mode="memory", secure_logging=True
    )
    address = apprise.Apprise(asset=asset)
    if not address.add(order["url"]) or len(address) != 1:
        _say_all(order, "apprise does not understand the address; see docs/alerts.md for examples")
        return
    log = _Codes()
    logger = logging.getLogger("apprise")
    logger.handlers = [log]
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    for message in order["messages"]:
        log.codes.clear()
        for service in address:
            if hasattr(service, "dedup") and message["incident"]:  # PagerDuty: one of its incidents for one of ours
                service.dedup = message["incident"]
        try:
            is_sent = bool(
                address.notify(
                    title=message["title"],
                    body=message["body"],
                    body_format="text",
                    notify_type=TYPES[message["severity"]],
                    interpret_escapes=False,
                )
            )
            problem = None if is_sent else f"HTTP {log.codes[-1]}" if log.codes else "no answer"
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything, and its text may hold the address
            problem = f"failed with {type(error).__name__}"
        _say(message["key"], problem)


class _Codes(logging.Handler):
    """Keeps the HTTP codes that apprise tells of, and nothing else of what it logs."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.codes += re.findall(r"error=([1-5]\d\d)\b", record.getMessage())


def _say_all(order: dict[str, list[dict[str, str]]], problem: str) -> None:
    for message in order["messages"]:
        _say(message["key"], problem)


def _say(key: str, problem: str | None) -> None:
    sys.stdout.write(json.dumps({"key": key, "problem": problem}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
