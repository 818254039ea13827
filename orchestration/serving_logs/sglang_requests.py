"""SGLang's own record of each request: files of --export-metrics-to-file, and --log-requests in JSON."""

from orchestration.serving_logs.fields import Fields, instant
from orchestration.serving_logs.requests import RequestFormat
from orchestration.settings import UsageSource

# request_parameters and obj are not here: they hold the prompt.
_META: Fields = {
    "id": None,
    "finish_reason": {"type": None},
    "prompt_tokens": None,
    "completion_tokens": None,
    "cached_tokens": None,
    "reasoning_tokens": None,
    "dp_rank": None,
    "e2e_latency": None,
    "request_received_ts": None,
    "first_token_latency": None,
    "response_sent_to_client_ts": None,
    "request_finished_ts": None,
}
SGLANG_FIELDS: Fields = {**_META, "timestamp": None, "event": None, "rid": None, "out": {"meta_info": _META}}


def _meta(name: str) -> str:
    """SQL: a field of the record of one request, which the log nests and the exported file does not."""
    return f'coalesce("{name}", "out".meta_info."{name}")'


def _seconds(name: str) -> str:
    """SQL: an interval of at most a day."""
    seconds = f"try_cast({_meta(name)} as double)"
    return f"case when {seconds} between 0 and 86400 then to_microseconds(cast(round({seconds} * 1e6) as bigint)) end"


def sglang_requests(source: UsageSource) -> RequestFormat:
    """A record per finished request. The start is stated, or the log's own (local) stamp less the request's latency."""
    ended_at = f"coalesce({instant(_meta('request_finished_ts'))}, {instant(_meta('response_sent_to_client_ts'))})"
    logged_at = instant('"timestamp"', source.time_zone)
    received_at = instant(_meta("request_received_ts"))
    started_at = f"coalesce({received_at}, coalesce({ended_at}, {logged_at}) - {_seconds('e2e_latency')})"
    finish = """coalesce("finish_reason"."type", "out".meta_info."finish_reason"."type")"""
    return RequestFormat(
        fields=SGLANG_FIELDS,
        stated={
            "request_id": f"coalesce(nullif(rid, ''), nullif({_meta('id')}, ''))",
            "status": f"case when {finish} = 'abort' then 'failure' else 'success' end",
            # A rank, as a host's name is written.
            "replica_hint": f"'dp' || try_cast({_meta('dp_rank')} as bigint)",
            "prompt_tokens": _meta("prompt_tokens"),
            "completion_tokens": _meta("completion_tokens"),
            "cached_tokens": _meta("cached_tokens"),
            "reasoning_tokens": _meta("reasoning_tokens"),
            "started_at": started_at,
            "completed_at": f"coalesce({ended_at}, {received_at} + {_seconds('e2e_latency')}, {logged_at})",
            "first_token_at": f"{started_at} + {_seconds('first_token_latency')}",
        },
        named={"request_id": "id", "started_at": "request_received_ts"},
        marks=("event", "rid", _meta("id"), _meta("prompt_tokens"), _meta("completion_tokens")),
        time=f"coalesce({_meta('request_received_ts')}, {_meta('request_finished_ts')}, "
        f"""{_meta("response_sent_to_client_ts")}, "timestamp")""",
        passed_over="event is not null and event <> 'request.finished'",
        may_have_prefix=True,
    )
