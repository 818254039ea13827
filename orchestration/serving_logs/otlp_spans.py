"""OpenTelemetry spans of model calls, as the collector's file exporter writes them: one OTLP/JSON object a line."""

from orchestration.serving_logs.fields import Attributes, Fields, instant, literal_text
from orchestration.serving_logs.requests import RequestFormat
from orchestration.settings import UsageSource

# Names of today before those of yesterday: a span may carry both.
_INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
_CACHED = ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cached_tokens")
_CACHE_WRITE = (
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
)
_REASONING = ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens")
_FIRST_TOKEN = ("gen_ai.latency.time_to_first_token", "gen_ai.response.time_to_first_chunk")
_REPLICA = ("k8s.pod.name", "k8s.pod.uid", "service.instance.id")
_ID = ("gen_ai.request.id", "gen_ai.response.id")
_MODEL = ("gen_ai.response.model", "gen_ai.request.model")
# Spans of an agent carry the sums of the calls inside them (semantic conventions, GenAI agent spans).
_NO_CALL = ("create_agent", "invoke_agent", "invoke_workflow", "execute_tool")

_SPAN_KEYS = frozenset(
    {
        *_INPUT, *_OUTPUT, *_CACHED, *_CACHE_WRITE, *_REASONING, *_FIRST_TOKEN, *_ID, *_MODEL, "gen_ai.operation.name",
    }
)  # fmt: skip

OTLP_SPAN_FIELDS: Fields = {
    "resourceSpans": [
        {
            "resource": {"attributes": Attributes(frozenset({*_REPLICA, "service.name"}))},
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": None,
                            "spanId": None,
                            "name": None,
                            "kind": None,
                            "startTimeUnixNano": None,
                            "endTimeUnixNano": None,
                            "status": {"code": None},
                            "attributes": Attributes(_SPAN_KEYS),
                        }
                    ]
                }
            ],
        }
    ]
}


def _values(attributes: str) -> str:
    """SQL: the values of a list of attributes as text, in the order of its keys."""
    return (
        f'list_transform({attributes}, lambda a: coalesce(a.value."stringValue", a.value."intValue", '
        'a.value."doubleValue", a.value."boolValue"))'
    )


# A line without spans to read stays as one row, so that it is counted; one with an empty list has none.
_SPANS = f"""
    select
        file_path, record_number, is_malformed, span, list_transform(span.attributes, lambda a: a.key) as keys,
        {_values("span.attributes")} as vals,
        list_transform(resource_attributes, lambda a: a.key) as resource_keys,
        {_values("resource_attributes")} as resource_vals
    from (
        select
            file_path, record_number, is_malformed, resource_attributes,
            unnest(coalesce(scope_span.spans, [null])) as span
        from (
            select
                file_path, record_number, is_malformed, resource_span.resource.attributes as resource_attributes,
                unnest(coalesce(resource_span."scopeSpans", [null])) as scope_span
            from (
                select
                    file_path, record_number, "resourceSpans" is null as is_malformed,
                    unnest(coalesce("resourceSpans", [null])) as resource_span
                from lines
            )
        )
    )
    where is_malformed or span is not null
"""


def _first(names: tuple[str, ...], of: str = "") -> str:
    """SQL: the value of the first of these attributes that is there."""
    found = [f"{of}vals[list_position({of}keys, {literal_text(name)})]" for name in names]
    return f"coalesce({', '.join(found)})" if len(found) > 1 else found[0]


_STARTED_AT = instant('span."startTimeUnixNano"')
_HAS_TOKENS = f"{_first(_INPUT + _OUTPUT)} is not null"
# Enums are numbers, but some emitters write their names.
_IS_ENGINE_SPAN = "span.name = 'llm_request' and span.kind in ('2', 'SPAN_KIND_SERVER')"
_IS_CALL_SPAN = (
    "span.kind in ('1', '3', 'SPAN_KIND_INTERNAL', 'SPAN_KIND_CLIENT') "
    f"and coalesce({_first(('gen_ai.operation.name',))}, '') not in {_NO_CALL}"
)
# vLLM numbers the prompts of one completion request (cmpl-<id>-0, -1 ...); its caller is told cmpl-<id>.
_CALLERS_ID = f"regexp_replace({_first(_ID)}, '^(cmpl-.+)-[0-9]+$', '\\1')"


def otlp_spans(source: UsageSource) -> RequestFormat:
    """Spans with token counts: the engine's own (vLLM `llm_request`), or GenAI client spans as the ledger's role says.

    A span is known by its trace and its own id. `gen_ai.request.id` is the same for all n answers to a request. What
    belongs to one request of a caller shares `trace_id`: the id of the engine's reply, not the OpenTelemetry trace.
    """
    is_call = _IS_ENGINE_SPAN if source.speaks_as == "engine_requests" else _IS_CALL_SPAN
    return RequestFormat(
        fields=OTLP_SPAN_FIELDS,
        records=_SPANS,
        stated={
            "request_id": """nullif(lower(span."traceId"), '') || ':' || nullif(lower(span."spanId"), '')""",
            "call_id": _first(_ID),
            **({"trace_id": _CALLERS_ID} if source.speaks_as == "engine_requests" else {}),
            "status": "case when span.status.code in ('2', 'STATUS_CODE_ERROR') then 'failure' else 'success' end",
            "model": f"coalesce({_first(_MODEL)}, {_first(('service.name',), 'resource_')})",
            "model_group": _first(("gen_ai.request.model",)),
            "replica_hint": _first(_REPLICA, "resource_"),
            "prompt_tokens": _first(_INPUT),
            "completion_tokens": _first(_OUTPUT),
            "cached_tokens": _first(_CACHED),
            "cache_write_tokens": _first(_CACHE_WRITE),
            "reasoning_tokens": _first(_REASONING),
            "started_at": _STARTED_AT,
            "completed_at": instant('span."endTimeUnixNano"'),
            "first_token_at": f"{_STARTED_AT} + to_microseconds(cast(round("
            f"case when try_cast({_first(_FIRST_TOKEN)} as double) between 0 and 86400 "
            f"then try_cast({_first(_FIRST_TOKEN)} as double) end * 1e6) as bigint))",
        },
        named={
            "request_id": "spanId",
            "started_at": "startTimeUnixNano",
            "prompt_tokens": "gen_ai.usage.input_tokens",
            "completion_tokens": "gen_ai.usage.output_tokens",
        },
        marks=("case when not is_malformed then 1 end",),
        time='span."startTimeUnixNano"',
        passed_over=f"not coalesce({_HAS_TOKENS} and {is_call}, false)",
    )
