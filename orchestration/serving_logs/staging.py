"""What every reader does with its files: lists them, reads them in bulk, and says what became of each."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import duckdb

from orchestration.serving_logs.files import LogFile, literal
from orchestration.settings import UsageSource


def list_files(con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime) -> None:
    """Writes the temporary table of the files to read, and an empty one of those that cannot be read.

    A file that was read before keeps its number.
    """
    con.execute("""
        create or replace temp table input_files
        (file_path varchar, file_id varchar, size_bytes bigint, modified_at timestamptz, replica_key varchar,
        scraped_at timestamptz, content_digest varchar, file_number bigint)
    """)
    con.execute("create or replace temp table failed_files (file_path varchar, reason varchar, is_partial boolean)")
    con.execute(
        """
        insert into input_files
        select
            files.*,
            coalesce(
                known.file_number,
                (select coalesce(max(file_number), 0) from raw.usage_files)
                + row_number() over (order by known.file_number is not null, files.file_id)
            )
        from (select unnest(?), unnest(?) as file_id, unnest(?), unnest(?), unnest(?), unnest(?), unnest(?)) as files
        left join raw.usage_files as known on files.file_id = known.file_id
        """,
        [
            [str(file.path) for file in files],
            [file.file_id for file in files],
            [file.size_bytes for file in files],
            [file.modified_at for file in files],
            [file.replica_key for file in files],
            [file.scraped_at for file in files],
            [file.content_digest for file in files],
        ],
    )


def by_file_where_it_fails(
    con: duckdb.DuckDBPyConnection, query: str, paths: list[Path], arguments: Mapping[str, object]
) -> None:
    """Runs `query` over all `paths` at once; when one breaks it, halves the list until the broken ones stand alone.

    DuckDB's message may quote the line it failed on, so it is never kept.
    """
    if not paths:
        return
    try:
        con.execute(query, {**arguments, "paths": [literal(path) for path in paths]})
    except duckdb.Error:
        if len(paths) == 1:
            con.execute("insert into failed_files values (?, 'unreadable', false)", [str(paths[0])])
            return
        half = len(paths) // 2
        by_file_where_it_fails(con, query, paths[:half], arguments)
        by_file_where_it_fails(con, query, paths[half:], arguments)


def finish_files(
    con: duckdb.DuckDBPyConnection, source: UsageSource, now: datetime, *, passed_over: str | None = None
) -> None:
    """Writes `staged_files` from `staged_records`, `staged_rejects` and the files that could not be read.

    Args:
        con: holds the staging tables.
        source: whose files they are.
        now: when they were read.
        passed_over: SQL query of `file_id` and `passed_over_count`, for formats that hold more than calls.
    """
    passed_over_count = "null" if passed_over is None else "coalesce(passed_over.passed_over_count, 0)"
    passed_over = passed_over or "select null as file_id where false"
    con.execute(
        f"""
        create or replace temp table staged_files as
        with records as (
            select file_id, count(*) as record_count, min(usage_date) as first_date, max(usage_date) as last_date
            from staged_records group by file_id
        ),
        rejects as (select file_id, sum(occurrences) as rejected_count from staged_rejects group by file_id),
        passed_over as ({passed_over})
        select
            files.file_id, files.file_number, ? as source_name, ? as kind, files.file_path, files.size_bytes,
            files.modified_at,
            records.first_date as first_usage_date, records.last_date as last_usage_date,
            coalesce(records.record_count, 0) as record_count,
            cast(coalesce(rejects.rejected_count, 0) as bigint) as rejected_count,
            case when failed.file_path is null then 'loaded' when failed.is_partial then 'partial' else 'refused' end
                as status,
            failed.reason as message, cast(? as timestamptz) as loaded_at,
            cast({passed_over_count} as bigint) as passed_over_count, files.content_digest
        from input_files as files
        left join records on files.file_id = records.file_id
        left join rejects on files.file_id = rejects.file_id
        left join failed_files as failed on files.file_path = failed.file_path
        left join passed_over on files.file_id = passed_over.file_id
        """,
        [source.name, source.kind, now],
    )
