"""A table or log of requests of any origin: the ledger says which column is which."""

from orchestration.serving_logs.fields import Fields, instant, number_instant, quoted, strptime_instant
from orchestration.serving_logs.requests import RequestFormat
from orchestration.settings import UsageSource

_TIMES = ("started_at", "completed_at", "first_token_at")
_DURATIONS_PER_SECOND = {"duration_seconds": 1, "duration_ms": 1_000}


def generic_requests(source: UsageSource) -> RequestFormat:
    """CSV, Parquet, JSON lines or a JSON array with the columns of `usage[].columns`.

    Without a column for request_id a request is known by its file and its position there.
    """
    theirs: dict[str, str] = {ours: name for ours, name in source.columns.items()}
    fields: Fields = dict.fromkeys(theirs.values())

    def stated(column: str) -> str:
        text = quoted(theirs[column])
        # Not as a list: DuckDB makes a join of a long one, at a third of the whole reading.
        absent = " ".join(f"when '{word}' then null" for word in ("", "-", "None", "NULL", "null", "NaN", "nan"))
        return f"case {text} {absent} else {text} end"

    def when(column: str) -> str:
        text = stated(column)
        if source.time_unit is not None:
            origin = source.time_origin
            return number_instant(text, source.time_unit, *([] if origin is None else [origin.isoformat()]))
        if source.time_format is not None:
            return strptime_instant(text, source.time_format, source.time_zone)
        return instant(text, source.time_zone)

    columns = {
        name: when(name) if name in _TIMES else stated(name) for name in theirs if name not in _DURATIONS_PER_SECOND
    }
    for name, per_second in _DURATIONS_PER_SECOND.items():
        if name in theirs and "completed_at" not in columns:
            seconds = f"try_cast({stated(name)} as double) / {per_second}"
            columns["completed_at"] = (
                f"{columns['started_at']} + case when {seconds} between 0 and 86400 "
                f"then to_microseconds(cast(round({seconds} * 1e6) as bigint)) end"
            )
    columns["status"] = _status(
        columns.get("status"), columns["completion_tokens"] if source.no_output_means_failure else None
    )
    return RequestFormat(
        fields=fields,
        stated=columns,
        marks=tuple(quoted(name) for name in fields),
        time=stated("started_at"),
        by_position="request_id" not in columns,
        is_table=True,
        required_columns={name: ours for ours, name in theirs.items()},
    )


def _status(status: str | None, output: str | None) -> str:
    """SQL: success or failure, from such a word or an HTTP status; unknown words stay."""
    if status is None:
        known = "cast('success' as varchar)"
    else:
        code = f"try_cast({status} as integer)"
        known = (
            f"case when {code} between 200 and 399 then 'success' when {code} is not null then 'failure' "
            f"when lower({status}) in ('failed', 'error', 'failure') then 'failure' "
            f"when lower({status}) in ('ok', 'succeeded', 'success') then 'success' else {status} end"
        )
    return known if output is None else f"case when try_cast({output} as double) = 0 then 'failure' else {known} end"
