"""The EC2 API, asked through boto3 (extra `aws`) as every other source is asked through `http.py`.

Retries, proxies, redirects and the judgement of a status are ours; boto3 signs the question and reads the XML. It is
imported when a source is asked, and by nobody else.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

from scrapers.errors import (
    IncompleteSnapshotError,
    PermanentError,
    SchemaDriftError,
    ScrapeError,
    TransientError,
    one_line,
)
from scrapers.http import CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS, RETRY_AFTER_CAP_SECONDS
from scrapers.prices.base import Pull, drift

_HTML = re.compile(rb"\s*<(?:!doctype html|html)", re.IGNORECASE)
_ERROR_CODE = re.compile(rb"<Code>([\w.]{1,80})</Code>")
_TRIES = 3


def unready() -> str | None:
    """Return which of extra and credentials is missing, and the remedy; None if nothing."""
    if find_spec("boto3") is None:
        return "it needs boto3; install it, or this package with its extra aws"
    if not has_credentials():
        return "it needs AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    return None


@cache
def has_credentials() -> bool:
    """Whether boto3 finds credentials. Kept for the run: asking the machine for its role can take seconds."""
    import boto3

    return boto3.Session().get_credentials() is not None


def ec2_client(pull: Pull, operation: str) -> Any:
    """Return an EC2 client for one operation, such as DescribeSpotPriceHistory, that leaves retries to us."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        proxies={},
    )
    try:
        ec2 = boto3.Session().client("ec2", region_name=pull.region, endpoint_url=pull.options.base_url, config=config)
    except (BotoCoreError, ValueError) as error:
        raise PermanentError(f"{pull.dataset}: {one_line(error)}: check the regions of this source") from None
    ec2.meta.events.register(f"before-parse.ec2.{operation}", _checker(ec2.meta.endpoint_url, operation))
    return ec2


class QuestionRefusedError(PermanentError):
    """EC2 takes no such question: a value in it means nothing in this region."""


class _TryAgainError(Exception):
    """An answer that another try may better."""

    def __init__(self, error: ScrapeError, retry_after: str = "") -> None:
        super().__init__(str(error))
        self.error = error
        seconds = float(retry_after) if re.fullmatch(r"\d{1,9}", retry_after, re.ASCII) else None
        self.wait_seconds = None if seconds is None else min(seconds, RETRY_AFTER_CAP_SECONDS)


def _checker(place: str, operation: str) -> Callable[..., None]:
    """Return what looks at an answer before boto3 parses it, which asks for XML whatever the status says."""

    def check(response_dict: Mapping[str, Any], **_: object) -> None:
        status, headers, body = (response_dict[name] for name in ("status_code", "headers", "body"))
        code = _ERROR_CODE.search(body)
        said = f"{place} answered {status}" + (f" {code[1].decode()}" if code else "")
        if status in (408, 429) or status >= 500:
            raise _TryAgainError(TransientError(f"{said}; try again later"), str(headers.get("Retry-After", "")))
        if 300 <= status < 400:
            raise PermanentError(f"{said}: a redirect to another host; refused")
        if status == 400 and code and code[1].startswith((b"Invalid", b"Unsupported")):
            raise QuestionRefusedError(f"{said}: not a question for this region")
        if status != 200:
            raise PermanentError(
                f"{said}: the credentials are wrong or lack ec2:{operation}, or the account has not opted in to this "
                "region"
            )
        if int(headers.get("Content-Length", len(body))) != len(body):  # boto3 takes what came for the whole
            raise _TryAgainError(IncompleteSnapshotError(f"{place}: the body is cut, {len(body)} bytes arrived"))
        if not body or _HTML.match(body):
            raise SchemaDriftError(f"{place} does not begin as an answer of EC2: an HTML page where data is expected?")

    return check


def ask_ec2(pull: Pull, ask: Callable[..., Mapping[str, Any]], place: str, **question: Any) -> Mapping[str, Any]:
    """Return one page of what a method of the client answers; retried as every other source is."""
    from botocore import exceptions
    from botocore.parsers import ResponseParserError

    attempt = 1
    while True:
        wait: float | None = None
        try:
            answer = ask(**question)
        except _TryAgainError as failure:
            error, wait = failure.error, failure.wait_seconds
        except exceptions.ConnectionClosedError:
            error = IncompleteSnapshotError(f"{place}: the connection broke or the body is cut")
        except (exceptions.HTTPClientError, exceptions.ConnectionError) as failure:
            error = TransientError(f"{place}: no connection or no answer in time ({type(failure).__name__})")
        except ResponseParserError:
            raise drift(place, "the answer does not begin as the XML of EC2, as was expected") from None
        except (exceptions.BotoCoreError, exceptions.ClientError) as failure:
            # Without the cause: its text may name the access key.
            raise PermanentError(f"{place}: {type(failure).__name__}; check the credentials") from None
        else:
            return answer
        if attempt == _TRIES:
            raise type(error)(f"{error}; gave up after {attempt} tries")
        pull.client.sleep(2.0**attempt if wait is None else wait)
        attempt += 1
