"""LiteLLM standard logging payloads."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from orchestration.serving_logs.fields import clean, count, digest, instant, is_count, leaf_type, project, short, tenant
from orchestration.serving_logs.files import (
    MAX_LINE_BYTES,
    UTF8_MARK,
    LogFile,
    by_compression,
    has_mark,
    literal,
    log_lines,
    open_log,
)
from orchestration.serving_logs.staging import by_file_where_it_fails, finish_files, list_files
from orchestration.settings import UsageSource

# A call that ends later than this after its start has a wrong clock, not a long answer. int_gateway_activity__hourly
# reads calls from this long before the run's window.
MAX_CALL_DAYS = 1


# The allow-list of a LiteLLM standard logging payload: nested names, each leaf read as text and cast in SQL.
LITELLM_FIELDS: Mapping[str, Any] = {
    "id": None,
    "litellm_call_id": None,
    "trace_id": None,
    "call_type": None,
    "status": None,
    "stream": None,
    "model": None,
    "model_group": None,
    "model_id": None,
    "startTime": None,
    "endTime": None,
    "completionStartTime": None,
    "prompt_tokens": None,
    "completion_tokens": None,
    "total_tokens": None,
    "response_cost": None,
    "metadata": {
        "user_api_key_team_id": None,
        "usage_object": {
            "prompt_tokens_details": {"cached_tokens": None},
            "completion_tokens_details": {"reasoning_tokens": None},
        },
    },
}


def insert_clean_litellm(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime
) -> None:
    """Reads LiteLLM payloads straight into `raw.requests`: the way of a day on which every line is usable.

    One pass and no second copy, at about half the time of `stage_litellm`. The caller holds the transaction.

    Raises:
        duckdb.Error: one line or file is not usable; nothing says which, so roll back and take `stage_litellm`.
    """
    list_files(con, source, files, now)
    query = f"""
        insert into raw.requests by name
        select * exclude (file_path, rejected) from ({_litellm_payloads(ignore_errors=False)})
        where case when rejected is null then true else error('a line is not usable') end
    """
    for compression, paths in by_compression(files).items():
        con.execute(query, _litellm_arguments(source, now, compression) | {"paths": [literal(path) for path in paths]})
    con.execute("""
        create or replace temp view staged_records as
        select * from raw.requests where file_id in (select file_id from input_files)
    """)
    con.execute("""
        create or replace temp table staged_rejects
        (file_id varchar, reason varchar, field varchar, first_location varchar, occurrences bigint)
    """)
    finish_files(con, source, now)


def stage_litellm(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime, work_dir: Path
) -> None:
    """Reads LiteLLM standard logging payloads (JSON Lines, plain, gzip or zstd) into the staging tables.

    A file DuckDB cannot read to its end (an archive cut short, a line that breaks the reader) is read again line by
    line up to the damage; only its allow-listed fields pass through a file in `work_dir`.
    """
    list_files(con, source, files, now)
    con.execute(
        "create or replace temp table parsed as "
        "select *, cast(null as varchar) as file_path, cast(null as varchar[]) as rejected "
        "from raw.requests limit 0"
    )
    query = f"insert into parsed by name {_litellm_payloads(ignore_errors=True)}"
    for file in files:
        if has_mark(file.path):
            con.execute("insert into failed_files values (?, null, false)", [str(file.path)])
    for compression, paths in by_compression(file for file in files if not has_mark(file.path)).items():
        by_file_where_it_fails(con, query, paths, _litellm_arguments(source, now, compression))
    for (path,) in con.execute("select file_path from failed_files").fetchall():
        work_dir.mkdir(parents=True, exist_ok=True)
        salvaged = work_dir / f"{hashlib.sha256(path.encode()).hexdigest()[:16]}.jsonl"
        try:
            reason = _salvage(Path(path), salvaged)
            arguments = _litellm_arguments(source, now, "none") | {"name": path, "paths": [literal(salvaged)]}
            con.execute(query, arguments)
            con.execute("update failed_files set reason = ?, is_partial = true where file_path = ?", [reason, path])
            if reason is None:
                con.execute("delete from failed_files where file_path = ?", [path])
        finally:
            salvaged.unlink(missing_ok=True)
    con.execute(
        "create or replace temp view staged_records as "
        "select * exclude (file_path, rejected) from parsed where rejected is null"
    )
    con.execute(
        """
        create or replace temp table staged_rejects as
        select file_id, rejected[1] as reason, rejected[2] as field,
            any_value(file_path) as first_location, count(*) as occurrences
        from parsed
        where rejected is not null
        group by all
        """
    )
    for row in con.execute("""
        select distinct parsed.file_id, parsed.file_path
        from parsed where parsed.rejected[1] = 'malformed_json'
    """).fetchall():
        _locate_malformed(con, *row)
    finish_files(con, source, now)


def _litellm_payloads(*, ignore_errors: bool) -> str:
    """SQL: the rows of raw.requests that `$paths` hold, with `file_path`, and `rejected` [reason, field].

    One pass from file to typed columns: the JSON scan is the limit, a second copy of its text would double the time.
    With `ignore_errors` a line that is no JSON becomes a rejected row, at a fifth more time.
    """
    columns = "{" + ", ".join(f"'{name}': '{leaf_type(leaf)}'" for name, leaf in LITELLM_FIELDS.items()) + "}"
    started_at = instant("startTime")
    details = "metadata.usage_object"
    return f"""
        with payloads as (
            select *, coalesce(cast($name as varchar), filename) as path
            from read_json(
                $paths, format = 'newline_delimited', columns = {columns}, ignore_errors = {ignore_errors},
                filename = true, compression = $compression, maximum_object_size = {MAX_LINE_BYTES}
            )
        )
        select
            $source as source_name, files.file_id, payloads.path as file_path,
            {digest("coalesce(nullif(id, ''), litellm_call_id)")} as request_id,
            {digest("litellm_call_id")} as call_id, {digest("trace_id")} as trace_id,
            {short("call_type")} as call_type, {short("status")} as status, try_cast(stream as boolean) as is_stream,
            case {clean("model")} end as model, case {clean("model_group")} end as model_group,
            case {clean("model_id")} end as model_id, {tenant("metadata.user_api_key_team_id")} as tenant,
            {started_at} as started_at,
            case
                when {instant("endTime")} between {started_at} and {started_at} + interval {MAX_CALL_DAYS} day
                    then {instant("endTime")}
            end as completed_at,
            {instant("completionStartTime")} as first_token_at,
            cast({started_at} as date) as usage_date,
            {count("prompt_tokens")} as prompt_tokens, {count("completion_tokens")} as completion_tokens,
            {count("total_tokens")} as total_tokens,
            {count(f"{details}.prompt_tokens_details.cached_tokens")} as cached_tokens,
            {count(f"{details}.completion_tokens_details.reasoning_tokens")} as reasoning_tokens,
            case when isfinite(try_cast(response_cost as double)) then try_cast(response_cost as double) end
                as reported_cost_usd,
            case
                when coalesce(id, litellm_call_id, startTime, status) is null then ['malformed_json', null]
                when coalesce(nullif(id, ''), nullif(litellm_call_id, '')) is null then ['missing_field', 'id']
                when startTime is null then ['missing_field', 'startTime']
                when {started_at} is null then ['not_an_instant', 'startTime']
                when {started_at} not between timestamptz '2020-01-01 00:00:00+00' and $latest
                    then ['instant_out_of_range', 'startTime']
                when not coalesce({is_count("prompt_tokens")}, true) then ['not_a_token_count', 'prompt_tokens']
                when not coalesce({is_count("completion_tokens")}, true)
                    then ['not_a_token_count', 'completion_tokens']
            end as rejected
        from payloads inner join input_files as files on payloads.path = files.file_path
    """


def _litellm_arguments(source: UsageSource, now: datetime, compression: str) -> dict[str, object]:
    """Arguments of `_litellm_payloads` but the paths. `name`: the file's own name where a copy of it is read."""
    # A day of clock skew is forgiven; anything later is a wrong unit or a wrong clock.
    return {"source": source.name, "latest": now + timedelta(days=1), "name": None, "compression": compression}


def _locate_malformed(con: duckdb.DuckDBPyConnection, file_id: str, file_path: str) -> None:
    """Adds the line number of the first malformed line, and tells a line cut by the end of the file from the rest."""
    count = 0
    first = 0
    last_bad = 0
    number = 0
    ends_with_newline = True
    try:
        with open_log(Path(file_path)) as stream:
            for number, line in enumerate(log_lines(stream), start=1):
                ends_with_newline = line.endswith(b"\n")
                if line.strip() and not _is_payload(line):
                    count, first, last_bad = count + 1, first or number, number
    except (OSError, EOFError, zlib.error):
        return  # a cut archive: already told as partial
    if not count:
        return
    cut = int(last_bad == number and not ends_with_newline)
    con.execute(
        """
        update staged_rejects set first_location = ?, occurrences = occurrences - ?
        where file_id = ? and reason = 'malformed_json'
        """,
        [f"{file_path}, line {first}", cut, file_id],
    )
    con.execute("delete from staged_rejects where file_id = ? and occurrences = 0", [file_id])
    if cut:
        con.execute(
            "insert into staged_rejects values (?, 'line_cut_short', null, ?, 1)",
            [file_id, f"{file_path}, line {number}"],
        )


def _salvage(path: Path, target: Path) -> str | None:
    """Copies the allow-listed fields of every whole line of a file; returns how it is damaged, None if it is not."""
    reason = None
    with target.open("w", encoding="utf-8") as out:
        try:
            with open_log(path) as stream:
                for line in log_lines(stream):
                    try:
                        content = json.loads(line.removeprefix(UTF8_MARK))
                    except (ValueError, RecursionError):
                        content = None
                    kept = project(content, LITELLM_FIELDS) if isinstance(content, dict) else None
                    # A bad line stays a bad line, so that the reader counts it; its text does not pass.
                    out.write((json.dumps(kept) if kept is not None else "x") + "\n")
        except EOFError:
            reason = "archive_cut_short"
        except (OSError, zlib.error):
            reason = "archive_damaged"
    return reason


def _is_payload(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
