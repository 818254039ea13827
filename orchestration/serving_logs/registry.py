"""Which reader reads which kind of usage source: one line a kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from orchestration.serving_logs.files import Discovery, KnownFile, LogFile, discover
from orchestration.serving_logs.litellm import insert_clean_litellm, stage_litellm
from orchestration.serving_logs.metric_pages import stage_metric_pages
from orchestration.serving_logs.prometheus_answers import discover_answers, stage_answers
from orchestration.settings import Settings, UsageSource


@dataclass(frozen=True, slots=True)
class Reader:
    """How the files of one kind are read.

    `stage` writes the three staging tables of the package's contract; it may put allow-listed fields into its folder on
    the way. `insert_clean` reads straight into the raw table and raises where a line is not usable: the fast way of a
    day without faults, for formats that have one. `discover` lists the files, where they are not found by a pattern.
    """

    stage: Callable[[duckdb.DuckDBPyConnection, UsageSource, list[LogFile], datetime, Path], None]
    insert_clean: Callable[[duckdb.DuckDBPyConnection, UsageSource, list[LogFile], datetime], None] | None = None
    discover: Callable[[UsageSource, Settings, Mapping[str, KnownFile]], Discovery] = discover


READERS = {
    "metrics": Reader(stage_metric_pages),
    "prometheus": Reader(stage_answers, discover=discover_answers),
    "litellm": Reader(stage_litellm, insert_clean_litellm),
}
