-- What a difference is made of sums to it, and it has parts where it is known, and a reason where it is not.
{%- set parts = [
    "aborted", "crash_tail", "repeated_prompts", "missing_usage", "failed_calls", "duplicates",
    "gateway_cache", "counted_differently", "not_in_log", "not_in_engine_records",
    "hours_without_counters", "unexplained",
] %}
select
    usage_date,
    deployment,
    left_role,
    right_role,
    measure
from {{ ref("fct_reconciliation_daily") }}
where
    difference is distinct from left_value - right_value
    or difference is distinct from (
        {%- for part in parts %}
            {{ part }}_difference{% if not loop.last %} +{% endif %}
        {%- endfor %}
    )
    or (difference is null) <> (null_reason is not null)
    or (difference is null) <> (is_within_tolerance is null)
