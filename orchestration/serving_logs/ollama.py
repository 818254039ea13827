"""Replies of Ollama's own API (/api/chat, /api/generate), kept as JSON lines by whoever called it."""

from orchestration.serving_logs.fields import Fields, instant
from orchestration.serving_logs.requests import RequestFormat
from orchestration.settings import UsageSource

OLLAMA_FIELDS: Fields = {
    "model": None,
    "created_at": None,
    "done": None,
    "done_reason": None,
    "total_duration": None,
    "prompt_eval_count": None,
    "eval_count": None,
    "eval_duration": None,
}

_COMPLETED_AT = instant("created_at")


def _nanoseconds(name: str) -> str:
    """SQL: an interval of at most a day."""
    number = f"try_cast({name} as bigint)"
    return f"case when {number} between 0 and 86400000000000 then to_microseconds({number} // 1000) end"


_REPLIES = RequestFormat(
    fields=OLLAMA_FIELDS,
    stated={
        "status": "'success'",
        "model": "model",
        # Absent where the prompt was found in the cache: unknown, not zero.
        "prompt_tokens": "prompt_eval_count",
        "completion_tokens": "eval_count",
        # created_at is when the reply ended.
        "started_at": f"{_COMPLETED_AT} - {_nanoseconds('total_duration')}",
        "completed_at": _COMPLETED_AT,
        "first_token_at": f"{_COMPLETED_AT} - {_nanoseconds('eval_duration')}",
    },
    named={"started_at": "created_at", "prompt_tokens": "prompt_eval_count", "completion_tokens": "eval_count"},
    marks=("model", "created_at", "done"),
    time="case when total_duration is not null then created_at end",
    # The chunks of a stream, and models loaded or unloaded without a prompt.
    passed_over="coalesce(lower(done), 'false') <> 'true' or coalesce(done_reason, '') in ('load', 'unload')",
    by_position=True,
)


def ollama_replies(source: UsageSource) -> RequestFormat:
    """The last object of each reply, which carries the counts. A reply has no id: it is known by its place."""
    return _REPLIES
