"""The kinds of usage source that ledger.yaml can name: which raw table their rows go to, and who is speaking.

A kind is one format. How it is read stands in `orchestration/serving_logs`.
"""

from dataclasses import dataclass
from typing import Literal

RawTable = Literal["metric_samples", "requests", "engine_log_windows"]
Role = Literal["engine_counters", "engine_requests", "engine_log", "gateway", "client"]


@dataclass(frozen=True, slots=True)
class UsageKind:
    """Where the rows of a kind go, and who is speaking: the role decides whose tokens are counted (docs/usage)."""

    table: RawTable
    role: Role


USAGE_KINDS = {
    "metrics": UsageKind("metric_samples", "engine_counters"),
    "prometheus": UsageKind("metric_samples", "engine_counters"),
    "litellm": UsageKind("requests", "gateway"),
}
# Names of earlier releases.
USAGE_KIND_ALIASES = {"vllm_metrics": "metrics"}
USAGE_TABLES: tuple[RawTable, ...] = ("metric_samples", "requests", "engine_log_windows")
