"""Any mixture of copies, answers, attempts and sources, against an oracle in plain Python that shares no SQL with it.

The models' compiled SQL runs on tables in memory, so that hundreds of mixtures take seconds.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import duckdb
import pytest
from cost_warehouse import PROJECT_ROOT
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestration.dbt_runs import run_dbt

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
# Source: role and the deployments that the ledger sends it to.
SOURCES = {
    "gw": ("gateway", ("chat", "rag")),
    "gw-table": ("gateway", ("chat", "rag")),
    "gw-other": ("gateway", ("chat",)),
    "spans": ("engine_requests", ("chat",)),
    "told": ("client", ("rag",)),
}
BASES = {"engine_requests": "engine_requests", "gateway": "gateway_requests", "client": "client_requests"}
COUNTED_HOURS = {("chat", BEGIN + timedelta(hours=1))}
MODELS = (
    "int_usage_source_roles",
    "int_calls__repeated",
    "int_calls__deduplicated",
    "int_request_usage__hourly",
    "int_usage__hourly",
)

Row = dict[str, Any]

rows_of_logs = st.lists(
    st.fixed_dictionaries(
        {
            "source": st.sampled_from(sorted(SOURCES)),
            "deployment": st.sampled_from(["chat", "rag"]),
            "request": st.integers(1, 3),
            "call": st.sampled_from([None, 1, 2]),
            "sub": st.sampled_from([None, 0, 1]),
            "second": st.sampled_from([0, 0.25, 1, 3600, 3600.75, 86_399.5, 86_400]),
            "kind": st.sampled_from(["engine_reported", "estimated", "missing", "failed", "gateway_cache"]),
            "prompt": st.integers(0, 50),
            "cached": st.sampled_from([None, 0, 7]),
            "output": st.integers(0, 9),
        }
    ),
    max_size=14,
)


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory with the models as views over tables of the columns they read."""
    target = tmp_path_factory.mktemp("compiled")
    run_dbt("compile", "--select", *MODELS, warehouse=target / "warehouse.duckdb", folder=target)
    con = duckdb.connect()
    con.execute("attach ':memory:' as warehouse; use warehouse")
    con.execute("set timezone = 'UTC'")
    con.execute("""
        create schema staging; create schema intermediate; create schema seeds;
        create table staging.stg_usage__requests (
            source_name varchar, file_id varchar, request_id uuid, call_id uuid, trace_id uuid, sub_index bigint,
            model_group varchar, model varchar, adapter varchar, tenant varchar, token_source varchar,
            prompt_tokens bigint, input_tokens bigint, cached_input_tokens bigint, output_tokens bigint,
            reasoning_tokens bigint, cache_write_tokens bigint, started_at timestamptz, completed_at timestamptz,
            usage_date date
        );
        create table staging.stg_ledger__usage_routes (source_name varchar, role varchar, deployment varchar);
        create table staging.stg_ledger__run as
        select date '2026-10-01' as window_start_date, timestamptz '2026-10-01 00:00+00' as window_start_at,
            date '1970-01-01' as usage_archived_until_date,
            timestamptz '1970-01-01 00:00+00' as usage_archived_until_at,
            timestamptz '2026-10-04 00:00+00' as as_of_end_at;
        create table intermediate.int_usage_routes__resolved (
            source_name varchar, model_group varchar, model varchar, deployment varchar, role varchar
        );
        create table intermediate.int_request_activity__hourly (
            deployment varchar, role varchar, usage_hour_at timestamptz, replica_count bigint,
            active_seconds decimal(18, 6)
        );
        create table intermediate.int_engine_usage__hourly (
            deployment varchar, usage_hour_at timestamptz, prompt_tokens bigint, cached_tokens bigint,
            output_tokens bigint, request_count bigint, unsuccessful_request_count bigint,
            prefill_seconds decimal(28, 6), decode_seconds decimal(28, 6),
            active_seconds decimal(18, 6), observed_seconds decimal(18, 6), reset_count bigint, has_gap boolean,
            unobserved_seconds decimal(18, 6), covered_from_at timestamptz, covered_to_at timestamptz
        );
        create table intermediate.int_start_ups__hourly (
            source_name varchar, replica_key varchar, model_name varchar, usage_hour_at timestamptz,
            start_up_seconds decimal(18, 6), start_known_seconds decimal(18, 6)
        );
        create table intermediate.int_engine_log_usage__hourly (
            source_name varchar, replica_key varchar, model_name varchar, usage_hour_at timestamptz,
            estimated_prompt_tokens bigint, estimated_output_tokens bigint, active_seconds decimal(18, 6),
            observed_seconds decimal(18, 6)
        );
    """)
    con.execute(f"create table seeds.usage_roles as from '{PROJECT_ROOT / 'dbt' / 'seeds' / 'usage_roles.csv'}'")
    for source, (role, deployments) in SOURCES.items():
        for deployment in deployments:
            con.execute("insert into staging.stg_ledger__usage_routes values (?, ?, ?)", [source, role, deployment])
            con.execute(
                "insert into intermediate.int_usage_routes__resolved values (?, '', ?, ?, ?)",
                [source, deployment, deployment, role],
            )
    for deployment, hour in COUNTED_HOURS:
        con.execute(
            "insert into intermediate.int_engine_usage__hourly by name select ? as deployment, ? as usage_hour_at, "
            "1000 as prompt_tokens, 1 as output_tokens, 5 as request_count, 0 as reset_count, false as has_gap",
            [deployment, hour],
        )
    for model in MODELS:
        (path,) = target.rglob(f"compiled/**/{model}.sql")
        con.execute(f"create view intermediate.{model} as {path.read_text()}")
    yield con
    con.close()


def fill(con: duckdb.DuckDBPyConnection, rows: list[Row]) -> None:
    con.execute("delete from staging.stg_usage__requests")
    for number, row in enumerate(rows):
        started = BEGIN + timedelta(seconds=row["second"])
        prompt, cached, output = tokens(row)
        con.execute(
            "insert into staging.stg_usage__requests values "
            "(?, ?, ?, ?, null, ?, '', ?, '', 'unknown', ?, ?, ?, ?, ?, null, null, ?, null, ?)",
            [
                row["source"],
                f"{number:03}",
                UUID(int=row["request"]),
                row["call"] and UUID(int=row["call"]),
                row["sub"],
                row["deployment"],
                row["kind"],
                prompt,
                None if prompt is None else prompt - (cached or 0),
                cached,
                output,
                started,
                started.date(),
            ],
        )


def tokens(row: Row) -> tuple[int | None, int | None, int | None]:
    """Prompt, cached and output as staging has them: a success without tokens states none, cached is in the prompt."""
    if row["kind"] == "missing":
        return None, None, None
    return row["prompt"], None if row["cached"] is None else min(row["cached"], row["prompt"]), row["output"]


def counted_once(rows: list[Row]) -> list[Row]:
    """The rows that count: the first of a call in a source, of sources with one role and reach the first by name."""
    first: dict[tuple[Any, ...], tuple[float, int, Row]] = {}
    for number, row in enumerate(rows):
        key = (row["source"], row["second"] // 86_400, row["request"], row["call"], row["sub"])
        candidate = (row["second"], number, row)
        if key not in first or candidate[:2] < first[key][:2]:
            first[key] = candidate
    of_role: dict[tuple[Any, ...], Row] = {}
    for _, _, row in sorted(first.values(), key=lambda kept: kept[2]["source"]):
        key = (SOURCES[row["source"]], int(row["second"]), row["request"], row["call"], row["sub"])
        of_role.setdefault(key, row)
    return list(of_role.values())


def expected_usage(rows: list[Row]) -> dict[tuple[str, datetime], tuple[Any, ...]]:
    """Deployment and hour -> basis, prompt less cached, cached, output, requests."""
    by_role: dict[tuple[str, str, datetime], list[Row]] = defaultdict(list)
    for row in counted_once(rows):
        role, deployments = SOURCES[row["source"]]
        if row["deployment"] in deployments:
            by_role[row["deployment"], role, BEGIN + timedelta(hours=row["second"] // 3600)].append(row)
    usage: dict[tuple[str, datetime], tuple[Any, ...]] = {}
    for role in ("client", "gateway", "engine_requests"):  # who comes later speaks first
        for (deployment, of, hour), calls in by_role.items():
            if of != role:
                continue
            served = [row for row in calls if row["kind"] != "gateway_cache"]
            sums: list[int | None] = []
            for part in (0, 1, 2):
                values = [tokens(row)[part] for row in served]
                known = [
                    0 if row["kind"] == "failed" and role != "engine_requests" else value
                    for row, value in zip(served, values, strict=True)
                    if value is not None
                ]
                sums.append(sum(known) if known else None)
            prompt, cached, output = sums
            requests = sum(row["kind"] != "failed" for row in served)
            usage[deployment, hour] = (
                BASES[role],
                None if prompt is None else prompt - (cached or 0),
                cached,
                output,
                requests,
            )
    return usage | {place: ("engine_counters", 1000, None, 1, 5) for place in COUNTED_HOURS}


# A copy that another deployment's route would have counted: of that deployment it says nothing, not zero.
_CALL = {"source": "gw", "deployment": "chat", "request": 1, "call": None, "sub": None, "second": 0,
         "kind": "engine_reported", "prompt": 5, "cached": None, "output": 1}  # fmt: skip
ROUTED_APART = [_CALL, _CALL | {"source": "gw-table", "deployment": "rag"}]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(ROUTED_APART)
@given(rows_of_logs)
def test_every_call_is_counted_once_by_the_first_role_that_covers_the_hour(
    con: duckdb.DuckDBPyConnection, rows: list[Row]
) -> None:
    fill(con, rows)
    found = {
        (deployment, hour): tuple(values)
        for deployment, hour, *values in con.execute("""
            select deployment, usage_hour_at, usage_basis, input_tokens, cached_input_tokens, output_tokens,
                request_count
            from intermediate.int_usage__hourly
        """).fetchall()
    }
    assert found == expected_usage(rows)
    ((calls, dropped),) = con.execute("""
        select coalesce(sum(call_count), 0), coalesce(sum(dropped_duplicate_count), 0)
        from intermediate.int_request_usage__hourly
    """).fetchall()
    assert (calls, calls + dropped) == (len(counted_once(rows)), len(rows))
