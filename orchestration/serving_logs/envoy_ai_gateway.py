"""The JSON access log of Envoy AI Gateway, whose field names are the operator's own."""

from orchestration.serving_logs.fields import Fields, instant, quoted
from orchestration.serving_logs.requests import RequestFormat
from orchestration.settings import UsageSource

# As the project's documentation names them (2025-08-30); `fields` of the ledger renames them.
ENVOY_FIELDS = {
    "request_id": "x-request-id",
    "start_time": "start_time",
    "duration": "duration",
    "response_code": "response_code",
    "model_name": "genai_model_name",
    "model_name_override": "genai_model_name_override",
    "upstream_host": "upstream_host",
    "input_tokens": "genai_tokens_input",
    "cached_input_tokens": "genai_tokens_cached_input",
    "output_tokens": "genai_tokens_output",
    "total_tokens": "genai_tokens_total",
}


def envoy_ai_gateway(source: UsageSource) -> RequestFormat:
    """A line per request through the gateway; lines without a model and without tokens are no calls of a model."""
    names: dict[str, str] = ENVOY_FIELDS | {ours: name for ours, name in source.fields.items()}
    fields: Fields = dict.fromkeys(names.values())

    def stated(name: str) -> str:
        # "-" is how Envoy writes what it does not know.
        return f"nullif(nullif({quoted(names[name])}, '-'), '')" if name in names else "cast(null as varchar)"

    started_at = instant(stated("start_time"))
    duration_ms = f"try_cast({stated('duration')} as double)"
    code = f"try_cast({stated('response_code')} as integer)"
    return RequestFormat(
        fields=fields,
        stated={
            "request_id": stated("request_id"),
            # Callers may choose the id and repeat it: another attempt has another start, a copy of the line the same.
            "call_id": f"{stated('request_id')} || '|' || {stated('start_time')}",
            # 0: no reply was sent.
            "status": f"case when {code} between 200 and 399 then 'success' when {code} is not null then 'failure' end",
            "model": f"coalesce({stated('model_name_override')}, {stated('model_name')})",
            "model_group": stated("model_name"),
            "tenant": stated("tenant"),
            "replica_hint": stated("upstream_host"),
            "prompt_tokens": stated("input_tokens"),
            "completion_tokens": stated("output_tokens"),
            "cached_tokens": stated("cached_input_tokens"),
            "started_at": started_at,
            "completed_at": f"{started_at} + case when {duration_ms} between 0 and 86400000 "
            f"then to_microseconds(cast(round({duration_ms} * 1e3) as bigint)) end",
        },
        named={
            "request_id": "request_id",
            "started_at": "start_time",
            "prompt_tokens": "input_tokens",
            "completion_tokens": "output_tokens",
        },
        marks=tuple(quoted(name) for name in fields),
        time=stated("start_time"),
        passed_over=f"coalesce({stated('model_name')}, {stated('model_name_override')}, {stated('input_tokens')}, "
        f"{stated('output_tokens')}, {stated('total_tokens')}) is null",
    )
