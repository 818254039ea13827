"""The demo world in the words of vLLM 0.32 (`/metrics`) and LiteLLM 1.109 (standard logging payload).

Line and key order, labels, number format and quirks follow recordings of both programs (2026-11-23). A page holds
the families a ledger needs and some neighbours, without their HELP lines; of each histogram only the `+Inf` bucket.
"""

import hashlib
import json
import re
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

from examples.world import (
    DEPLOYMENTS,
    HOUR,
    BillLine,
    Call,
    Deployment,
    Incarnation,
    Load,
    Outcome,
    iso,
    utc_date,
)

_LAST_BUCKET = 'le="+Inf"'
_PYTHON = '{implementation="CPython",major="3",minor="12",patchlevel="11",version="3.12.11"}'
# Family, type, and of each series its extra label and the value it shows; of a histogram its count and its sum.
_FAMILIES: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("num_requests_running", "gauge", (("", "running"),)),
    ("num_requests_waiting", "gauge", (("", "zero"),)),
    ("kv_cache_usage_perc", "gauge", (("", "kv_usage"),)),
    ("prefix_cache_queries", "counter", (("", "prompt"),)),
    ("prefix_cache_hits", "counter", (("", "cached"),)),
    ("prompt_tokens", "counter", (("", "prompt"),)),
    (
        "prompt_tokens_by_source",
        "counter",
        (
            ('source="local_compute"', "computed"),
            ('source="local_cache_hit"', "cached"),
            ('source="external_kv_transfer"', "zero"),
        ),
    ),
    ("prompt_tokens_cached", "counter", (("", "cached"),)),
    ("generation_tokens", "counter", (("", "output"),)),
    (
        "request_success",
        "counter",
        (
            ('finished_reason="stop"', "stop"),
            ('finished_reason="length"', "length"),
            ('finished_reason="abort"', "zero"),
            ('finished_reason="error"', "zero"),
            ('finished_reason="repetition"', "zero"),
        ),
    ),
    # A histogram whose name ends in _total: a trap for whoever takes the suffix for a counter.
    ("iteration_tokens_total", "histogram", (("steps", "engine"),)),
    ("time_to_first_token_seconds", "histogram", (("requests", "ttft"),)),
    ("inter_token_latency_seconds", "histogram", (("gaps", "decode"),)),
    ("request_prefill_time_seconds", "histogram", (("requests", "prefill"),)),
    ("request_decode_time_seconds", "histogram", (("requests", "decode"),)),
)


def go_float(value: float) -> str:
    """Returns `value` as the Prometheus client writes it: Python's repr, with an exponent from a million on."""
    text = repr(float(value))
    point = text.find(".")
    if value > 0 and point > 6:
        mantissa = f"{text[0]}.{text[1:point]}{text[point + 1 :]}".rstrip("0.")
        return f"{mantissa}e+0{point - 1}"
    return text


def vllm_page(incarnation: Incarnation, counters: Load, last_hour: Load, scraped_at: int) -> str:
    """Returns the page of one vLLM process.

    Args:
        incarnation: the process.
        counters: work since the process began.
        last_hour: work of the hour before the scrape, for the gauges.
        scraped_at: epoch seconds.
    """
    finished = counters.stop + counters.length
    busy_seconds = (last_hour.prefill_us + last_hour.decode_us) / 1_000_000
    running = round(busy_seconds / HOUR)
    values: dict[str, float] = {
        "zero": 0,
        "running": running,
        "kv_usage": min(running, 400) / 512,
        "prompt": counters.computed + counters.cached,
        "computed": counters.computed,
        "cached": counters.cached,
        "output": counters.output,
        "stop": counters.stop,
        "length": counters.length,
        "requests": finished,
        "gaps": max(counters.output - finished, 0),
        "steps": counters.output // 24,
        "engine": counters.computed + counters.output,
        "ttft": (counters.prefill_us + finished * 18_000) / 1_000_000,
        "prefill": counters.prefill_us / 1_000_000,
        "decode": counters.decode_us / 1_000_000,
        "memory": 6_499_450_880 + finished % 4_096 * 4_096,
        "cpu": round((scraped_at - incarnation.started_at) * 0.31, 2),
    }
    return _page_template(incarnation) % {name: go_float(value) for name, value in values.items()}


@cache
def _page_template(incarnation: Incarnation) -> str:
    """The page with everything but the changing values filled in."""
    model = DEPLOYMENTS[incarnation.replica.deployment].model
    created = go_float(incarnation.created_at)
    process = (
        (f"python_info{_PYTHON}", "gauge", "1.0"),
        ("process_resident_memory_bytes", "gauge", "%(memory)s"),
        ("process_start_time_seconds", "gauge", go_float(incarnation.started_at)),
        ("process_cpu_seconds_total", "counter", "%(cpu)s"),
    )
    lines: list[str] = []
    for series, kind, value in process:
        lines += [f"# TYPE {series.partition('{')[0]} {kind}", f"{series} {value}"]
    for family, kind, values in _FAMILIES:
        name = f"vllm:{family}_total" if kind == "counter" else f"vllm:{family}"
        lines.append(f"# TYPE {name} {kind}")
        labels = [_labels(model, extra if kind == "counter" else "") for extra, _ in values]
        if kind == "histogram":
            count, total = values[0]
            lines.append(f"{name}_bucket{_labels(model, _LAST_BUCKET)} %({count})s")
            lines.append(f"{name}_count{labels[0]} %({count})s")
            lines.append(f"{name}_sum{labels[0]} %({total})s")
        else:
            lines += [f"{name}{label} %({value})s" for label, (_, value) in zip(labels, values, strict=True)]
        if kind != "gauge":
            lines.append(f"# TYPE vllm:{family}_created gauge")
            lines += [f"vllm:{family}_created{label} {created}" for label in labels]
    return "\n".join(lines) + "\n"


def _labels(model: str, extra: str) -> str:
    """Label set in alphabetical order, as the client writes it."""
    labels = sorted(filter(None, ['engine="0"', extra, f'model_name="{model}"']))
    return "{" + ",".join(labels) + "}"


# Nano-dollars per token by which the gateway states its own opinion of cost; the ledger does not use it.
_OPINION_INPUT, _OPINION_OUTPUT = 600, 2_400
_ERROR = (
    "litellm.InternalServerError: InternalServerError: Hosted_vllmException - "
    '{"object":"error","message":"EngineCore encountered an issue","type":"InternalServerError","code":500}'
)


def litellm_line(call: Call) -> str:
    """Returns one line of the gateway's log, without the line feed."""
    replica = call.segment.incarnation.replica
    is_success = call.outcome is Outcome.SUCCESS
    prompt, output, cached = (call.prompt, call.output, call.cached) if is_success else (0, 0, 0)
    input_cost, output_cost = prompt * _OPINION_INPUT, output * _OPINION_OUTPUT
    call_id = _uuid(call.call_bits)
    return _line_template(replica.deployment, call.outcome, call.is_stream, call.is_cached_stated, call.tenant) % {
        "id": call_id if call.outcome is Outcome.FAILURE else f"chatcmpl-{call.request_bits:032x}",
        "call_id": call_id,
        "trace_id": _uuid(call.trace_bits),
        "started": _seconds(call.started_us),
        "ended": _seconds(call.ended_us),
        "first_token": _seconds(call.first_token_us),
        "response_time": _seconds(call.first_token_us - call.started_us),
        "prompt": prompt,
        "output": output,
        "cached": cached,
        "total": prompt + output,
        "cost": (input_cost + output_cost) / 10**9,
        "input_cost": input_cost / 10**9,
        "output_cost": output_cost / 10**9,
        "cache_cost": cached * _OPINION_INPUT / 10**9,
        "replica": replica.name,
        "attempt": call.attempt,
        "overhead": f"{call.call_bits % 900_000 / 10_000 + 1:.4f}",
    }


def _seconds(microseconds: int) -> str:
    return f"{microseconds // 1_000_000}.{microseconds % 1_000_000:06d}"


def _uuid(bits: int) -> str:
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


@cache
def _line_template(
    deployment_name: str, outcome: Outcome, is_stream: bool, is_cached_stated: bool, tenant: str | None
) -> str:
    """The payload as JSON text; a value written `<name>` in the payload is left open, as a number or inside text."""
    payload = _payload(DEPLOYMENTS[deployment_name], outcome, is_stream, is_cached_stated, tenant)
    text = json.dumps(payload).replace("%", "%%")
    text = re.sub(r'"<#(\w+)>"', r"%(\1)s", text)
    return re.sub(r"<(\w+)>", r"%(\1)s", text)


def _payload(
    deployment: Deployment, outcome: Outcome, is_stream: bool, is_cached_stated: bool, tenant: str | None
) -> dict[str, Any]:
    is_failure = outcome is Outcome.FAILURE
    model = f"hosted_vllm/{deployment.model}"
    api_base = "http://<replica>.serving.internal:8000/v1"
    error = _ERROR if is_failure else ""
    usage: dict[str, Any] = {}
    if not is_failure:
        usage = {
            "completion_tokens": "<#output>",
            "prompt_tokens": "<#prompt>",
            "total_tokens": "<#total>",
            "completion_tokens_details": None,
            "prompt_tokens_details": {"cached_tokens": "<#cached>"} if is_cached_stated else None,
        }
    if is_stream:
        usage["completion_tokens_details"] = {
            "accepted_prediction_tokens": None,
            "audio_tokens": None,
            "reasoning_tokens": 0,
            "rejected_prediction_tokens": None,
            "text_tokens": "<#output>",
            "image_tokens": None,
            "video_tokens": None,
        }
        usage["prompt_tokens_details"] = (
            {
                "audio_tokens": None,
                "cached_tokens": "<#cached>",
                "text_tokens": None,
                "image_tokens": None,
                "video_tokens": None,
            }
            if outcome is Outcome.SUCCESS
            else None
        )
    asks_for_usage = {"stream_options": {"include_usage": True}} if outcome is Outcome.SUCCESS else {}
    return {
        "id": "<id>",
        "litellm_call_id": "<call_id>",
        "trace_id": "<trace_id>",
        "session_id": "",
        "call_type": "acompletion",
        "cache_hit": False if is_stream or is_failure else None,
        "stream": True if is_stream else None,
        "status": "failure" if is_failure else "success",
        "status_fields": {"llm_api_status": "failure" if is_failure else "success", "guardrail_status": "not_run"},
        "custom_llm_provider": "hosted_vllm",
        "saved_cache_cost": 0.0,
        "startTime": "<#started>",
        "endTime": "<#ended>",
        "completionStartTime": "<#first_token>",
        "response_time": "<#response_time>",
        "model": model,
        "metadata": {
            "user_api_key_hash": hashlib.sha256(f"demo {tenant}".encode()).hexdigest(),
            "user_api_key_alias": None,
            "user_api_key_spend": None,
            "user_api_key_max_budget": None,
            "user_api_key_budget_reset_at": None,
            "user_api_key_user_spend": None,
            "user_api_key_user_max_budget": None,
            "user_api_key_team_spend": None,
            "user_api_key_team_max_budget": None,
            "user_api_key_team_id": tenant,
            "user_api_key_org_id": None,
            "user_api_key_org_alias": None,
            "user_api_key_project_id": None,
            "user_api_key_project_alias": None,
            "user_api_key_user_id": None,
            "user_api_key_team_alias": None,
            "user_api_key_user_email": None,
            "user_api_key_end_user_id": None,
            "user_api_key_request_route": None,
            "spend_logs_metadata": None,
            "requester_ip_address": None,
            "user_agent": None,
            "requester_metadata": None,
            "prompt_management_metadata": None,
            "applied_guardrails": [],
            "mcp_tool_call_metadata": None,
            "vector_store_request_metadata": None,
            "routing_decision": None,
            "usage_object": usage,
            "requester_custom_headers": None,
            "cold_storage_object_key": None,
            "user_api_key_auth_metadata": None,
            "team_alias": None,
            "team_id": None,
            "used_client_oauth_token": None,
        },
        "cache_key": None,
        "response_cost": "<#cost>",
        "cost_breakdown": None
        if is_failure
        else {
            "input_cost": "<#input_cost>",
            "output_cost": "<#output_cost>",
            "total_cost": "<#cost>",
            "tool_usage_cost": 0.0,
            "service_tier": None,
            "data_residency": None,
            "vertex_location": None,
            "cache_read_cost": "<#cache_cost>",
            "original_cost": "<#cost>",
            "discount_percent": 0.0,
            "discount_amount": 0.0,
            "margin_percent": 0.0,
            "margin_fixed_amount": 0.0,
            "margin_total_amount": 0.0,
        },
        "autorouter_savings": None,
        "autorouter_savings_estimate": None,
        "autorouter_baseline_observation": None,
        "total_tokens": "<#total>",
        "prompt_tokens": "<#prompt>",
        "completion_tokens": "<#output>",
        "request_tags": ["env:prod"],
        "request_model_access_groups": [],
        "end_user": None,
        "api_base": f"{api_base}/chat/completions",
        "model_group": deployment.gateway_model,
        "model_id": "<replica>",
        "requester_ip_address": None,
        "user_agent": None,
        "messages": "redacted-by-litellm",
        "response": "redacted-by-litellm",
        "model_parameters": {"stream": True, **asks_for_usage} if is_stream else {"stream": False},
        "hidden_params": {
            "model_id": None if is_failure else "<replica>",
            "cache_key": None,
            "api_base": None if is_failure else api_base,
            "response_cost": "<#cost>",
            "additional_headers": {
                "llm_provider-server": "uvicorn",
                "x-litellm-model-group": deployment.gateway_model,
                "x-litellm-attempted-retries": "<#attempt>",
                "x-litellm-attempted-fallbacks": 0,
            },
            "litellm_overhead_time_ms": "<#overhead>",
            "batch_models": None,
            "batch_successful_requests": None,
            "batch_failed_requests": None,
            "litellm_model_name": model,
            "usage_object": None,
        },
        "model_map_information": {"model_map_key": model, "model_map_value": None},
        "error_str": error or None,
        "error_information": {
            "error_code": "500" if is_failure else "",
            "error_class": "InternalServerError" if is_failure else "",
            "llm_provider": "hosted_vllm" if is_failure else "",
            "traceback": "",
            "error_message": error,
            "error_provider_request_id": None,
            "error_rate_limit_category": None,
            "error_rate_limit_type": None,
            "error_budget_entity_type": None,
            "error_budget_entity_id": None,
            "error_budget_limit": None,
            "error_budget_spend": None,
            "normalized_error": "500_PROVIDER_INTERNAL_ERROR" if is_failure else None,
        },
        "response_cost_failure_debug_info": None,
        "zero_cost_diagnostic": None,
        "guardrail_information": None,
        "standard_built_in_tools_params": {"web_search_options": None, "file_search": None},
    }


FOCUS_COLUMNS = (
    "BilledCost",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountStatus",
    "ContractedCost",
    "EffectiveCost",
    "ListCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "RegionId",
    "SkuPriceDetails",
)


def focus_header() -> str:
    """The first line of a FOCUS 1.1 file."""
    return ",".join(FOCUS_COLUMNS) + "\n"


def focus_line(line: BillLine, hour: int) -> str:
    """One hour of instances as FOCUS 1.1 has it: what a commitment pays for is billed at nothing."""
    covered = line.commitment is not None
    listed = line.instance_hours * line.list_usd_per_hour
    words = "Linux/UNIX reserved" if covered else "On Demand Linux"
    return _focus_row(
        hour,
        {
            "BilledCost": "0" if covered else f"{line.effective_usd:f}",
            "ChargeCategory": "Usage",
            "ChargeDescription": f"${line.effective_usd_per_hour} per {words} {line.instance_type} Instance Hour",
            "ChargeFrequency": "Usage-Based",
            "CommitmentDiscountCategory": "Usage" if covered else "",
            "CommitmentDiscountId": f"arn:aws:ec2:{line.region}:reserved-instances/{line.commitment}"
            if covered
            else "",
            "CommitmentDiscountStatus": ("Unused" if line.is_unused else "Used") if covered else "",
            "ContractedCost": f"{listed:f}",
            "EffectiveCost": f"{line.effective_usd:f}",
            "ListCost": f"{listed:f}",
            "PricingCategory": "Committed" if covered else "Standard",
            "PricingQuantity": f"{line.instance_hours:f}",
            "PricingUnit": "Hours",
            "RegionId": line.region,
            "SkuPriceDetails": json.dumps({"InstanceType": line.instance_type}),
        },
    )


def focus_credit(usd: Decimal, hour: int) -> str:
    """A credit on p5.48xlarge, as it comes with the invoice."""
    return _focus_row(
        hour,
        {
            "BilledCost": f"{-usd:f}",
            "ChargeCategory": "Credit",
            "ChargeDescription": "Service credit for p5.48xlarge",
            "ChargeFrequency": "One-Time",
            "EffectiveCost": f"{-usd:f}",
            "PricingCategory": "Standard",
            "RegionId": "us-east-1",
        },
    )


def _focus_row(hour: int, values: dict[str, str]) -> str:
    day = utc_date(hour)
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    values = {
        "BillingCurrency": "USD",
        "BillingPeriodStart": f"{day.replace(day=1)}T00:00:00Z",
        "BillingPeriodEnd": f"{following}T00:00:00Z",
        "ChargePeriodStart": iso(hour),
        "ChargePeriodEnd": iso(hour + HOUR),
        "ProviderName": "AWS",
    } | values
    fields = (values.get(column, "") for column in FOCUS_COLUMNS)
    return (
        ",".join('"' + field.replace('"', '""') + '"' if {'"', ","} & set(field) else field for field in fields) + "\n"
    )
