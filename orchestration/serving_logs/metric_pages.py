"""Scraped /metrics pages of serving engines."""

import re
from datetime import datetime
from pathlib import Path

import duckdb

from orchestration.serving_logs.fields import clean
from orchestration.serving_logs.files import LogFile
from orchestration.serving_logs.staging import by_file_where_it_fails, finish_files, list_files
from orchestration.settings import UsageSource

MAX_COUNTER = 1e15  # a replica at a million tokens a second gets here after thirty years


# Series kept from a /metrics page (reference: vLLM 0.6 to 0.33). Everything else on the page is passed over.
VLLM_COUNTERS = (
    "prompt_tokens",
    "generation_tokens",
    "prompt_tokens_cached",
    "prefix_cache_hits",  # stands in for prompt_tokens_cached before it existed
    "request_success",
)


VLLM_SUMS = ("request_prefill_time_seconds", "request_decode_time_seconds")


def stage_metric_pages(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime, work_dir: Path
) -> None:
    """Reads scraped vLLM pages into the staging tables. A line cut by the end of the file is dropped and counted."""
    list_files(con, source, files, now)
    names = [f"vllm:{name}_total" for name in VLLM_COUNTERS] + [f"vllm:{name}_sum" for name in VLLM_SUMS]
    created = [f"vllm:{name}_created" for name in (*VLLM_COUNTERS, *VLLM_SUMS)]
    wanted = "^(" + "|".join(re.escape(name) for name in names + created) + r")\{|^process_start_time_seconds "
    con.execute("""
        create or replace temp table page_lines
        (file_path varchar, line varchar, is_cut boolean)
    """)
    query = """
        insert into page_lines
        with pages as (
            select filename as file_path, content, right(content, 1) <> chr(10) as is_cut from read_text($paths)
        ),
        lines as (
            select file_path, is_cut, unnest(string_split(regexp_replace(content, '[^\n]*$', ''), chr(10))) as line
            from pages
        )
        select file_path, line, false from lines where regexp_matches(line, $wanted)
        union all
        select file_path, null, true from pages where is_cut
    """
    by_file_where_it_fails(con, query, [file.path for file in files], {"wanted": wanted})
    con.execute(
        r"""
        create or replace temp table page_series as
        select
            file_path,
            regexp_extract(line, '^([^ {]+)', 1) as metric_name,
            nullif(regexp_extract(line, '[{,]engine="((?:[^"\\]|\\.)*)"', 1), '') as engine,
            nullif(regexp_extract(line, '[{,]model_name="((?:[^"\\]|\\.)*)"', 1), '') as model_name,
            nullif(regexp_extract(line, '[{,]finished_reason="((?:[^"\\]|\\.)*)"', 1), '') as label_value,
            try_cast(regexp_extract(line, '^[^ {]+(?:\{.*\})? +(\S+)', 1) as double) as value
        from page_lines
        where not is_cut
        """
    )
    con.execute(
        f"""
        create or replace temp table samples as
        with created as (
            select file_path, metric_name, engine, model_name, label_value, to_timestamp(max(value)) as created_at
            from page_series
            where metric_name like '%\\_created' escape '\\' and value between 1e9 and 1e10
            group by all
        ),
        started as (
            select file_path, to_timestamp(max(value)) as started_at
            from page_series
            where metric_name = 'process_start_time_seconds' and value between 1e9 and 1e10
            group by file_path
        )
        select
            ? as source_name, files.file_id, files.replica_key, files.scraped_at,
            cast(files.scraped_at as date) as usage_date,
            series.metric_name, case {clean("series.engine")} end as engine,
            case {clean("series.model_name")} end as model_name,
            case {clean("series.label_value")} end as label_value, series.value,
            created.created_at as series_created_at, started.started_at as process_started_at
        from page_series as series
        inner join input_files as files on series.file_path = files.file_path
        left join created
            on
                series.file_path = created.file_path
                and regexp_replace(series.metric_name, '_(total|sum)$', '_created') = created.metric_name
                and series.engine is not distinct from created.engine
                and series.model_name is not distinct from created.model_name
                and series.label_value is not distinct from created.label_value
        left join started on series.file_path = started.file_path
        where
            series.metric_name in (select unnest(?))
            and series.model_name is not null
            and series.value between 0 and {MAX_COUNTER}
        """,
        [source.name, names],
    )
    con.execute("create or replace temp view staged_records as from samples")
    con.execute(
        f"""
        create or replace temp table staged_rejects as
        select files.file_id, 'line_cut_short' as reason, cast(null as varchar) as field,
            files.file_path || ', last line' as first_location, 1 as occurrences
        from page_lines inner join input_files as files on page_lines.file_path = files.file_path
        where is_cut
        union all
        select
            files.file_id,
            case when series.model_name is null then 'missing_label' else 'value_not_a_count' end,
            case when series.model_name is null then 'model_name' else series.metric_name end,
            min(files.file_path), count(*)
        from page_series as series inner join input_files as files on series.file_path = files.file_path
        where
            series.metric_name in (select unnest(?))
            and (series.model_name is null or coalesce(series.value not between 0 and {MAX_COUNTER}, true))
        group by 1, 2, 3
        union all
        select files.file_id, 'no_vllm_series', null, files.file_path, 1
        from input_files as files
        where
            files.file_id not in (select staged.file_id from staged_records as staged)
            and files.file_path not in (select failed.file_path from failed_files as failed)
        """,
        [names],
    )
    finish_files(con, source, now)
