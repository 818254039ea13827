"""The kinds of usage source that ledger.yaml can name: which raw table their rows go to, and who is speaking.

A kind is one format. How it is read stands in `orchestration/serving_logs`.
"""

from dataclasses import dataclass
from typing import Literal

RawTable = Literal["metric_samples", "requests", "engine_log_windows"]
Role = Literal["engine_counters", "engine_requests", "engine_log", "gateway", "client"]


@dataclass(frozen=True, slots=True)
class UsageKind:
    """Where the rows of a kind go, and who is speaking: the role decides whose tokens are counted (docs/usage).

    `other_roles` are what a ledger may say instead, `options` what else it may say of a source of this kind.
    `is_table`: the file may be CSV, Parquet or one JSON array.
    """

    table: RawTable
    role: Role
    other_roles: tuple[Role, ...] = ()
    options: tuple[str, ...] = ()
    is_table: bool = False


USAGE_KINDS = {
    "metrics": UsageKind("metric_samples", "engine_counters"),
    "prometheus": UsageKind(
        "metric_samples",
        "engine_counters",
        options=(
            "match",
            "token_env",
            "user_env",
            "password_env",
            "headers_env",
            "step_seconds",
            "look_back_days",
            "replica_label",
        ),
    ),
    "litellm": UsageKind("requests", "gateway"),
    "litellm_spend_logs": UsageKind("requests", "gateway", is_table=True),
    "otlp_spans": UsageKind("requests", "engine_requests", other_roles=("gateway", "client")),
    "sglang_requests": UsageKind("requests", "engine_requests", options=("time_zone",)),
    "envoy_ai_gateway": UsageKind("requests", "gateway", options=("fields",)),
    "ollama": UsageKind("requests", "client", other_roles=("engine_requests", "gateway")),
    "vllm_log": UsageKind("engine_log_windows", "engine_log", options=("time_zone", "year", "log_interval_seconds")),
    "tgi_log": UsageKind("requests", "engine_requests"),
    "llama_cpp_log": UsageKind("requests", "engine_requests", options=("clock",)),
    "requests": UsageKind(
        "requests",
        "client",
        other_roles=("engine_requests", "gateway"),
        options=("columns", "time_zone", "time_format", "time_unit", "time_origin", "no_output_means_failure"),
        is_table=True,
    ),
}
# Names of earlier releases.
USAGE_KIND_ALIASES = {"vllm_metrics": "metrics"}
USAGE_TABLES: tuple[RawTable, ...] = ("metric_samples", "requests", "engine_log_windows")
