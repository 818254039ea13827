"""Scraped /metrics pages of serving engines, in Prometheus text or OpenMetrics, plain or packed."""

import zlib
from datetime import datetime
from pathlib import Path

import duckdb

from orchestration.serving_logs.engine_names import PROCESS_START, counter_names, created_names
from orchestration.serving_logs.fields import clean
from orchestration.serving_logs.files import LogFile, by_compression, open_log
from orchestration.serving_logs.staging import by_file_where_it_fails, finish_files, list_files
from orchestration.settings import UsageSource
from scrapers.usage.prometheus_api import RANK_LABELS, VALUE_LABELS

MAX_COUNTER = 1e15  # a replica at a million tokens a second gets here after thirty years
PAGES_AT_ONCE = 500  # packed ones are unpacked here, some 60 KB each

# A sample: name, labels, value. What may follow is passed over: an instant (the file's own counts), an exemplar.
_LABELS = r'\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\}'
_SAMPLE = rf"^([a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]*({_LABELS})?[ \t]*(\S+)"


def stage_metric_pages(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime, work_dir: Path
) -> None:
    """Reads scraped pages into the staging tables. A line cut by the end of the file is dropped and counted.

    The parts of a counter that differ only in labels of an operator's own (SGLang's custom labels) are added up.
    """
    list_files(con, source, files, now)
    _read_lines(con, files)
    con.execute(
        """
        create or replace temp table page_series as
        with matched as (
            select file_path, unnest(regexp_extract(line, $sample, ['metric_name', 'labels', 'value'])) from page_lines
            where not is_cut
        )
        select file_path, metric_name, labels, try_cast(value as double) as value from matched
        where metric_name <> ''
        """,
        {"sample": _SAMPLE},
    )
    con.execute(
        f"""
        create or replace temp table label_sets as
        with texts as (select distinct labels from page_series),
        read as (
            select
                labels, coalesce({_label("model_name")}, {_label("model")}) as model_name,
                coalesce(
                    case when {_joined(RANK_LABELS)} is null then {_label("engine")} end,
                    {_joined(("engine", *RANK_LABELS), named=True)}
                ) as engine,
                {_joined(VALUE_LABELS)} as label_value
            from texts
        )
        select
            labels, case {clean("model_name")} end as model_name, case {clean("engine")} end as engine,
            case {clean("label_value")} end as label_value
        from read
        """
    )
    names = counter_names()
    con.execute(
        rf"""
        create or replace temp table samples as
        with created as (
            select file_path, metric_name, labels, max(to_timestamp(value)) as created_at
            from page_series
            where metric_name like '%\_created' escape '\' and value between 1e9 and 1e10
            group by all
        ),
        started as (
            select file_path, max(to_timestamp(value)) as started_at
            from page_series
            where metric_name = '{PROCESS_START}' and labels = '' and value between 1e9 and 1e10
            group by file_path
        ),
        parts as (
            select file_path, metric_name, labels, max(value) as value
            from page_series
            where metric_name in (select unnest($names)) and value between 0 and {MAX_COUNTER}
            group by all
        ),
        series as (
            select
                parts.file_path, parts.metric_name, label_sets.engine, label_sets.model_name, label_sets.label_value,
                sum(parts.value) as value, max(created.created_at) as created_at
            from parts
            inner join label_sets on parts.labels = label_sets.labels
            left join created
                on
                    parts.file_path = created.file_path
                    and regexp_replace(parts.metric_name, '_(total|sum)$', '_created') = created.metric_name
                    and parts.labels = created.labels
            group by all
        )
        select
            $source as source_name, files.file_id, files.replica_key, files.scraped_at,
            cast(files.scraped_at as date) as usage_date, series.metric_name, series.engine, series.model_name,
            series.label_value, series.value, series.created_at as series_created_at,
            started.started_at as process_started_at
        from series
        inner join input_files as files on series.file_path = files.file_path
        left join started on series.file_path = started.file_path
        """,
        {"source": source.name, "names": names},
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
            -- Where an engine has nothing to say it exposes -1 or NaN.
            case when value = -1 or isnan(value) then 'value_unknown' else 'value_not_a_count' end,
            series.metric_name, min(files.file_path), count(*)
        from page_series as series inner join input_files as files on series.file_path = files.file_path
        where
            series.metric_name in (select unnest(?))
            and coalesce(series.value not between 0 and {MAX_COUNTER}, true)
        group by 1, 2, 3
        union all
        select files.file_id, 'no_engine_series', null, files.file_path, 1
        from input_files as files
        where
            files.file_id not in (select staged.file_id from staged_records as staged)
            and files.file_path not in (select failed.file_path from failed_files as failed)
        """,
        [names],
    )
    finish_files(con, source, now)


def _read_lines(con: duckdb.DuckDBPyConnection, files: list[LogFile]) -> None:
    """Writes `page_lines`: the lines with a wanted name, and one for each page whose last line is cut."""
    names = counter_names()
    wanted = rf"(?m)^(?:{'|'.join([*names, *created_names(names), PROCESS_START])})[ \t]*[{{ \t].*$"
    con.execute("create or replace temp table page_lines (file_path varchar, line varchar, is_cut boolean)")

    def query(pages: str) -> str:
        return f"""
            insert into page_lines
            with pages as ({pages}),
            whole as (
                select *, right(content, 1) <> chr(10) and not ends_with(content, '# EOF') as is_cut from pages
            ),
            lines as (
                select
                    file_path,
                    unnest(regexp_extract_all(
                        case when is_cut then regexp_replace(content, '[^\n]*$', '') else content end, $wanted
                    )) as line
                from whole
            )
            select file_path, line, false from lines
            union all
            select file_path, null, true from whole where is_cut
        """

    plain = query("select filename as file_path, content from read_text($paths)")
    unpacked = query("select unnest($files) as file_path, unnest($contents) as content")
    for packing, paths in by_compression(files).items():
        if packing == "none":
            by_file_where_it_fails(con, plain, paths, {"wanted": wanted})
            continue
        for first in range(0, len(paths), PAGES_AT_ONCE):
            contents = {path: _unpacked(path) for path in paths[first : first + PAGES_AT_ONCE]}
            read = {str(path): content for path, content in contents.items() if content is not None}
            con.execute(unpacked, {"files": list(read), "contents": list(read.values()), "wanted": wanted})
            con.execute(
                "insert into failed_files select unnest(?), 'unreadable', false",
                [[str(path) for path, content in contents.items() if content is None]],
            )


def _unpacked(path: Path) -> str | None:
    """The page; None where the archive is damaged or cut, or holds no text."""
    try:
        with open_log(path) as stream:
            return stream.read().decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return None


def _label(name: str) -> str:
    """SQL: the value of a label; null for empty, which Prometheus does not tell from absent."""
    return rf"""nullif(regexp_extract(labels, '[{{,]\s*{name}="((?:[^"\\]|\\.)*)"', 1), '')"""


def _joined(names: tuple[str, ...], *, named: bool = False) -> str:
    """SQL: the values of the labels that are there, as one text; null where none is."""
    values = ", ".join(f"'{name}=' || {_label(name)}" if named else _label(name) for name in names)
    return f"nullif(concat_ws(',', {values}), '')"
