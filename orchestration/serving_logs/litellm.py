"""LiteLLM: standard logging payloads, and exports of its table of spend logs."""

from orchestration.serving_logs.fields import Fields, JsonText, Scalar, instant
from orchestration.serving_logs.requests import RequestFormat
from orchestration.settings import UsageSource

# The allow-list of a LiteLLM standard logging payload.
LITELLM_FIELDS: Fields = {
    "id": None,
    "litellm_call_id": None,
    "trace_id": None,
    "cache_hit": None,
    "status": None,
    "model": None,
    "model_group": None,
    "model_id": None,
    # Not the token counts: DuckDB would take true for 1.
    "startTime": Scalar.NUMBER,
    "endTime": Scalar.NUMBER,
    "completionStartTime": Scalar.NUMBER,
    "prompt_tokens": None,
    "completion_tokens": None,
    "metadata": {
        "user_api_key_team_id": None,
        "usage_object": {
            "prompt_tokens_details": {"cached_tokens": None},
            "completion_tokens_details": {"reasoning_tokens": None},
        },
    },
}

_TIMES = {
    "started_at": instant('"startTime"'),
    "completed_at": instant('"endTime"'),
    "first_token_at": instant('"completionStartTime"'),
}

# A reply from the gateway's own cache: its tokens were counted once before, and no engine made them.
_FROM_CACHE = "case when lower(cache_hit) = 'true' then 'gateway_cache' end"

_USAGE = "metadata.usage_object"

_PAYLOADS = RequestFormat(
    fields=LITELLM_FIELDS,
    stated={
        "request_id": "coalesce(nullif(id, ''), nullif(litellm_call_id, ''))",
        "call_id": "litellm_call_id",
        "trace_id": "trace_id",
        "status": "status",
        "model": "model",
        "model_group": "model_group",
        "model_id": "model_id",
        "tenant": "metadata.user_api_key_team_id",
        "prompt_tokens": "prompt_tokens",
        "completion_tokens": "completion_tokens",
        "cached_tokens": f"{_USAGE}.prompt_tokens_details.cached_tokens",
        "reasoning_tokens": f"{_USAGE}.completion_tokens_details.reasoning_tokens",
        "token_basis": _FROM_CACHE,
        **_TIMES,
    },
    named={"request_id": "id", "started_at": "startTime"},
    marks=("id", "litellm_call_id", '"startTime"', "status"),
    time='"startTime"',
)

# The allow-list of a row of LiteLLM_SpendLogs, as JSON, CSV or Parquet. `metadata` is JSON in a text.
SPEND_LOG_FIELDS: Fields = {
    "request_id": None,
    "litellm_call_id": None,
    "cache_hit": None,
    "status": None,
    "model": None,
    "model_group": None,
    "model_id": None,
    "team_id": None,
    "startTime": None,
    "endTime": None,
    "completionStartTime": None,
    "prompt_tokens": None,
    "completion_tokens": None,
    "metadata": JsonText(
        {
            "user_api_key_team_id": None,
            "usage_object": {
                "prompt_tokens_details": {"cached_tokens": None},
                "completion_tokens_details": {"reasoning_tokens": None},
            },
        }
    ),
}


def _from_metadata(path: str) -> str:
    return f"case when json_valid(metadata) then json_extract_string(metadata, '$.{path}') end"


_SPEND_LOGS = RequestFormat(
    fields=SPEND_LOG_FIELDS,
    stated={
        "request_id": "coalesce(nullif(request_id, ''), nullif(litellm_call_id, ''))",
        # Without a call id (rows of 2025 have none) copies of a row are still told from another call by their start:
        # self-hosted servers repeat ids (BerriAI/litellm#28376).
        "call_id": """coalesce(nullif(litellm_call_id, ''), "startTime")""",
        "status": "status",
        "model": "model",
        "model_group": "model_group",
        "model_id": "model_id",
        "tenant": f"coalesce(nullif(team_id, ''), {_from_metadata('user_api_key_team_id')})",
        "prompt_tokens": "prompt_tokens",
        "completion_tokens": "completion_tokens",
        "cached_tokens": _from_metadata("usage_object.prompt_tokens_details.cached_tokens"),
        "reasoning_tokens": _from_metadata("usage_object.completion_tokens_details.reasoning_tokens"),
        "token_basis": _FROM_CACHE,
        **_TIMES,
    },
    named={"started_at": "startTime"},
    marks=("request_id", "litellm_call_id", '"startTime"'),
    time='"startTime"',
    is_table=True,
    required_columns={
        "request_id": "request_id",
        "startTime": "started_at",
        "prompt_tokens": "prompt_tokens",
        "completion_tokens": "completion_tokens",
    },
)


def litellm_payloads(source: UsageSource) -> RequestFormat:
    """Standard logging payloads, JSON lines."""
    return _PAYLOADS


def litellm_spend_logs(source: UsageSource) -> RequestFormat:
    """Rows of LiteLLM_SpendLogs: JSON lines, a JSON array, or a dump of the table as CSV or Parquet."""
    return _SPEND_LOGS
