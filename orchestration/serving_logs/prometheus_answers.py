"""Landed answers of a Prometheus server (`scrapers/usage/prometheus_api.py`)."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from orchestration.serving_logs.engine_names import PROCESS_START
from orchestration.serving_logs.fields import clean
from orchestration.serving_logs.files import Discovery, KnownFile, LogFile
from orchestration.serving_logs.metric_pages import MAX_COUNTER
from orchestration.serving_logs.staging import by_file_where_it_fails, finish_files, list_files
from orchestration.settings import Settings, UsageSource
from scrapers.usage.prometheus_api import COPY_LABELS, RANK_LABELS, VALUE_LABELS, landed_windows

# SQL: whether a series says when something began.
IS_START = f"(ends_with(metric_name, '_created') or metric_name = '{PROCESS_START}')"


def discover_answers(source: UsageSource, settings: Settings, known: Mapping[str, KnownFile]) -> Discovery:
    """Lists the landed windows of `source`, one file per window; a better answer takes the place of an earlier one."""
    changed = []
    unchanged_count = 0
    for window in landed_windows(settings.landing_dir, source.name):
        stat = window.path.stat()
        modified_at = datetime.fromtimestamp(stat.st_mtime_ns // 1_000 / 1_000_000, UTC)
        before = known.get(str(window.path))
        if before is not None and (before.size_bytes, before.modified_at) == (stat.st_size, modified_at):
            unchanged_count += 1
            continue
        file_id = hashlib.sha256(f"{source.name}|{window.start.isoformat()}".encode()).hexdigest()[:32]
        changed.append(LogFile(window.path, file_id, stat.st_size, modified_at))
    return Discovery(changed, [], unchanged_count)


def stage_answers(
    con: duckdb.DuckDBPyConnection, source: UsageSource, files: list[LogFile], now: datetime, work_dir: Path
) -> None:
    """Reads landed windows into the staging tables.

    A replica is a pod, else an instance. Of its samples one copy is read: that of the server of a pair, or of the job,
    that has the most of them in the window.
    """
    list_files(con, source, files, now)
    con.execute("""
        create or replace temp table answer_lines
        (file_path varchar, labels map(varchar, varchar), points varchar[][], is_series boolean)
    """)
    query = """
        insert into answer_lines
        select filename, metric, "values", asked is null and answered is null
        from read_json(
            $paths, format = 'newline_delimited', filename = true, compression = 'gzip', ignore_errors = true,
            maximum_object_size = 67108864, columns = {
                'metric': 'MAP(VARCHAR, VARCHAR)', 'values': 'VARCHAR[][]', 'asked': 'VARCHAR', 'answered': 'VARCHAR'
            }
        )
    """
    by_file_where_it_fails(con, query, [file.path for file in files], {})
    con.execute(
        f"""
        create or replace temp table answer_series as
        with labelled as (
            select
                lines.*, files.file_id, row_number() over () as series_number,
                nullif(labels['__name__'], '') as metric_name,
                coalesce({_label("model_name")}, {_label("model")}) as model_name,
                coalesce(
                    case when {_joined(RANK_LABELS)} is null then {_label("engine")} end,
                    {_joined(("engine", *RANK_LABELS), named=True)}
                ) as engine,
                {_joined(VALUE_LABELS)} as label_value,
                coalesce({_label("instance")}, '') as instance,
                coalesce({_joined(COPY_LABELS, named=True)}, '') as copy_name,
                {_replica_key(source.replica_label)} as replica_key
            from answer_lines as lines inner join input_files as files on lines.file_path = files.file_path
            where is_series
        )
        select
            file_path, file_id, series_number, metric_name, instance, copy_name, points,
            case {clean("model_name")} end as model_name, case {clean("engine")} end as engine,
            case {clean("label_value")} end as label_value, case {clean("replica_key")} end as replica_key,
            case
                when labels is null or points is null then ['malformed_json', null]
                when metric_name is null then ['missing_label', '__name__']
                when replica_key is null then ['missing_label', $replica_label]
            end as rejected
        from labelled
        """,
        {"replica_label": source.replica_label or "instance"},
    )
    _choose_series(con)
    # When a process or series began is said anew with each sample, half of all there are, and hardly ever changes.
    # Where it is one value for the whole window, it is joined by series and not by instant.
    con.execute(f"""
        create or replace temp table steady_starts as
        with starts as (
            select
                *, regexp_replace(metric_name, '_created$', '') as base_name,
                list_distinct(list_transform(points, lambda point: point[2])) as said,
                count(*) over (
                    partition by file_id, replica_key, instance, metric_name, engine, model_name, label_value
                ) as series_count
            from chosen_series
            where {IS_START}
        )
        select
            series_number, file_id, replica_key, instance, base_name, engine, model_name, label_value,
            to_timestamp(try_cast(said[1] as double)) as began_at,
            {_instant("points[1][1]")} as first_at, {_instant("points[-1][1]")} as last_at
        from starts
        where series_count = 1 and len(said) = 1 and try_cast(said[1] as double) between 1e9 and 1e10
    """)
    con.execute(f"""
        create or replace temp table answer_samples as
        with points as (
            select series_number, unnest(points) as point from chosen_series
            where series_number not in (select steady.series_number from steady_starts as steady)
        )
        select series_number, {_instant("point[1]")} as scraped_at, try_cast(point[2] as double) as value from points
    """)
    usable = f"scraped_at is not null and isfinite(value) and value between 0 and {MAX_COUNTER}"
    con.execute(
        f"""
        create or replace temp table samples as
        with readings as (
            select series.* exclude (points), samples.scraped_at, samples.value
            from chosen_series as series inner join answer_samples as samples
                on series.series_number = samples.series_number
            where {usable}
        ),
        moving_starts as (
            select
                file_id, replica_key, instance, scraped_at, engine, model_name, label_value,
                regexp_replace(metric_name, '_created$', '') as base_name, max(to_timestamp(value)) as began_at
            from readings
            where {IS_START} and value between 1e9 and 1e10
            group by all
        )
        select
            $source as source_name, readings.file_id, readings.replica_key, readings.scraped_at,
            cast(readings.scraped_at as date) as usage_date, readings.metric_name, readings.engine,
            readings.model_name, readings.label_value, readings.value,
            coalesce(steady_created.began_at, created.began_at) as series_created_at,
            coalesce(steady_started.began_at, started.began_at) as process_started_at
        from readings
        left join steady_starts as steady_created on {_of_series("steady_created")} and {_within("steady_created")}
        left join moving_starts as created on {_of_series("created")} and readings.scraped_at = created.scraped_at
        left join steady_starts as steady_started on {_of_process("steady_started")} and {_within("steady_started")}
        left join moving_starts as started on {_of_process("started")} and readings.scraped_at = started.scraped_at
        where not ({IS_START})
        """,
        {"source": source.name},
    )
    con.execute("create or replace temp view staged_records as from samples")
    con.execute(f"""
        create or replace temp table staged_rejects as
        select file_id, rejected[1] as reason, rejected[2] as field, min(file_path) as first_location,
            cast(sum(greatest(coalesce(len(points), 1), 1)) as bigint) as occurrences
        from answer_series
        where rejected is not null
        group by all
        union all
        select
            series.file_id,
            case
                when samples.scraped_at is null then 'not_an_instant'
                when samples.value is null or isnan(samples.value) then 'not_a_number'
                else 'value_not_a_count'
            end,
            series.metric_name, min(series.file_path), count(*)
        from answer_samples as samples inner join chosen_series as series
            on samples.series_number = series.series_number
        where not coalesce({usable}, false)
        group by 1, 2, 3
    """)
    finish_files(con, source, now)


def _choose_series(con: duckdb.DuckDBPyConnection) -> None:
    """Writes `chosen_series`: one copy of each series; what cannot be told apart is marked as rejected."""
    con.execute("""
        create or replace temp table spans as
        select
            * exclude (points, rejected), len(points) as sample_count,
            try_cast(points[1][1] as double) as first_at, try_cast(points[-1][1] as double) as last_at
        from answer_series
        where rejected is null and len(points) > 0
    """)
    # The copy with the most samples of a replica goes first, for all its families alike: samples of one scrape bear one
    # instant, and those of two copies would look like twice as many scrapes.
    con.execute("""
        create or replace temp table preferred_copies as
        with sizes as (
            select file_id, replica_key, instance, copy_name, sum(sample_count) as copy_size
            from spans
            group by all
        ),
        ranked as (
            select
                *, row_number() over (
                    partition by file_id, replica_key, instance order by copy_size desc, copy_name
                ) as copy_rank
            from sizes
        )
        select spans.file_id, spans.replica_key, spans.instance, spans.metric_name,
            arg_min(spans.copy_name, ranked.copy_rank) as copy_name
        from spans inner join ranked using (file_id, replica_key, instance, copy_name)
        group by all
    """)
    con.execute("""
        create or replace temp table chosen_spans as
        select spans.* from spans inner join preferred_copies
            using (file_id, replica_key, instance, metric_name, copy_name)
    """)
    # Two series of one key at one time: two engines behind one replica's name, which read as one would jump to and fro;
    # or parts of a counter, or copies of it, that differ in labels we do not keep: nobody can say which.
    con.execute("""
        update answer_series set rejected = rivals.rejected
        from (
            select
                one.series_number,
                case
                    when bool_or(one.instance <> other.instance)
                        then ['two_instances_of_one_replica', any_value(one.metric_name)]
                    else ['series_differ_in_other_labels', any_value(one.metric_name)]
                end as rejected
            from chosen_spans as one inner join chosen_spans as other
                on
                    one.file_id = other.file_id
                    and one.replica_key = other.replica_key
                    and one.metric_name = other.metric_name
                    and one.engine is not distinct from other.engine
                    and one.model_name is not distinct from other.model_name
                    and one.label_value is not distinct from other.label_value
                    and one.series_number <> other.series_number
                    and one.first_at <= other.last_at
                    and other.first_at <= one.last_at
            where one.metric_name <> 'process_start_time_seconds'
            group by one.series_number
        ) as rivals
        where answer_series.series_number = rivals.series_number
    """)
    con.execute("""
        create or replace temp table chosen_series as
        select answer_series.* from answer_series
        where rejected is null and series_number in (select chosen_spans.series_number from chosen_spans)
    """)


def _instant(seconds: str) -> str:
    """SQL: epoch seconds as an instant, to the millisecond as Prometheus keeps it."""
    return f"make_timestamptz(cast(round(try_cast({seconds} as double) * 1000) as bigint) * 1000)"


def _of_series(start: str) -> str:
    """SQL: whether a row of starts is about the series of a reading."""
    labels = " and ".join(
        f"readings.{label} is not distinct from {start}.{label}" for label in ("engine", "model_name", "label_value")
    )
    name = f"regexp_replace(readings.metric_name, '_(total|sum)$', '') = {start}.base_name"
    return f"{_of_target(start)} and {name} and {labels}"


def _of_process(start: str) -> str:
    """SQL: whether it is about the process."""
    return f"{_of_target(start)} and {start}.base_name = '{PROCESS_START}'"


def _of_target(start: str) -> str:
    return " and ".join(f"readings.{key} = {start}.{key}" for key in ("file_id", "replica_key", "instance"))


def _within(start: str) -> str:
    return f"readings.scraped_at between {start}.first_at and {start}.last_at"


def _label(name: str) -> str:
    """SQL: the value of a label; null for empty, which Prometheus does not tell from absent."""
    return f"nullif(labels['{name}'], '')"


def _joined(names: tuple[str, ...], *, named: bool = False, separator: str = ",") -> str:
    """SQL: the values of the labels that are there, as one text; null where none is."""
    values = ", ".join(f"'{name}=' || {_label(name)}" if named else _label(name) for name in names)
    return f"nullif(concat_ws('{separator}', {values}), '')"


def _replica_key(own_label: str | None) -> str:
    """SQL: what a replica is called. Names of pods are unique in a namespace, addresses in a cluster."""
    if own_label is not None:
        return _label(own_label)
    pod = _joined(("cluster", "namespace", "pod"), separator="/")
    instance = _joined(("cluster", "instance"), separator="/")
    return f"case when {_label('pod')} is not null then {pod} when {_label('instance')} is not null then {instance} end"
