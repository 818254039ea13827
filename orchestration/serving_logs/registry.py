"""Which reader reads which kind of usage source: one line a kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeAlias

import duckdb

from orchestration.serving_logs.envoy_ai_gateway import envoy_ai_gateway
from orchestration.serving_logs.files import Discovery, KnownFile, LogFile, discover
from orchestration.serving_logs.generic_requests import generic_requests
from orchestration.serving_logs.litellm import litellm_payloads, litellm_spend_logs
from orchestration.serving_logs.llama_cpp_log import LLAMA_CPP_LOG
from orchestration.serving_logs.metric_pages import stage_metric_pages
from orchestration.serving_logs.ollama import ollama_replies
from orchestration.serving_logs.otlp_spans import otlp_spans
from orchestration.serving_logs.prometheus_answers import discover_answers, stage_answers
from orchestration.serving_logs.requests import RequestFormat, RequestReader
from orchestration.serving_logs.sglang_requests import sglang_requests
from orchestration.serving_logs.tgi_log import TGI_LOG
from orchestration.serving_logs.vllm_log import stage_vllm_log
from orchestration.settings import Settings, UsageSource

Load: TypeAlias = Callable[[duckdb.DuckDBPyConnection, UsageSource, list[LogFile], datetime], None]


class InsertClean(Protocol):
    """`RequestReader.insert_clean`."""

    def __call__(  # noqa: D102 - said there
        self,
        con: duckdb.DuckDBPyConnection,
        source: UsageSource,
        files: list[LogFile],
        now: datetime,
        *,
        is_plain: bool,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Reader:
    """How the files of one kind are read.

    `stage` writes the three staging tables of the package's contract; it may put allow-listed fields into its folder on
    the way. `insert_clean` reads straight into the raw table and raises where a line is not usable: the fast way of a
    day without faults, for formats that have one; they also tell which files are not `unclean`. `discover` lists the
    files, where they are not found by a pattern.
    """

    stage: Callable[[duckdb.DuckDBPyConnection, UsageSource, list[LogFile], datetime, Path], None]
    insert_clean: InsertClean | None = None
    unclean: Callable[[duckdb.DuckDBPyConnection, UsageSource, list[LogFile], datetime], set[str]] | None = None
    discover: Callable[[UsageSource, Settings, Mapping[str, KnownFile]], Discovery] = discover


def _requests(format_of: Callable[[UsageSource], RequestFormat], *, only_calls: bool) -> Reader:
    """Of a request-level log. `only_calls`: each record is a call, so that none has to be counted as passed over."""
    reader = RequestReader(format_of)
    return Reader(reader.stage, reader.insert_clean, reader.unclean) if only_calls else Reader(reader.stage)


READERS = {
    "metrics": Reader(stage_metric_pages),
    "prometheus": Reader(stage_answers, discover=discover_answers),
    "litellm": _requests(litellm_payloads, only_calls=True),
    "litellm_spend_logs": _requests(litellm_spend_logs, only_calls=True),
    "otlp_spans": _requests(otlp_spans, only_calls=False),
    "sglang_requests": _requests(sglang_requests, only_calls=False),
    "envoy_ai_gateway": _requests(envoy_ai_gateway, only_calls=False),
    "ollama": _requests(ollama_replies, only_calls=False),
    "vllm_log": Reader(stage_vllm_log),
    "tgi_log": Reader(TGI_LOG.stage),
    "llama_cpp_log": Reader(LLAMA_CPP_LOG.stage),
    "requests": _requests(generic_requests, only_calls=True),
}
