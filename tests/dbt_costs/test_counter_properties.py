"""Counter increases by hour against an oracle, for made-up scrapes: restarts, falls, jumps, gaps, copies.

dbt compiles and builds the models once; each example then runs the very statements it wrote, in a transaction that is
rolled back, so that hundreds of them take seconds.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cost_oracle import HOUR, TOKEN_COUNTERS, World, hour_of, seconds, start_up_pieces
from cost_warehouse import CostWarehouse
from counter_oracle import Hour, Reading, hours
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from random_world import LLAMA, entry

MODELS = ("int_counter_deltas", "int_counter_increases__hourly", "int_usage_anomalies", "int_start_ups__hourly")
METRICS = {
    "prompt_tokens": ("vllm:prompt_tokens_total", None),
    "output_tokens": ("ray_vllm_generation_tokens_total", None),
    "successful_requests": ("vllm:request_success_total", "stop"),
}
# Of the seed usage_rate_bounds, and the ledger below.
BOUNDS = {"prompt_tokens": 2_000_000, "output_tokens": 200_000}
GPUS = 2
BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
PAUSES = (15, 15, 15, 7, 60, 300, 3600, 4 * 3600, 3 * 86400, 8 * 86400)  # seconds between two scrapes


# A process that has served nothing yet, or something.
FIRST_VALUES = st.one_of(st.just(0), st.integers(0, 800))


@dataclass(frozen=True, slots=True)
class Statements:
    """What dbt runs for a model: the query of a full build and of a run, and what replaces the window."""

    full: str
    of_run: str
    temporary: str
    replace_window: str


@dataclass(frozen=True, slots=True)
class Models:
    """An open warehouse and the statements of `MODELS`."""

    con: duckdb.DuckDBPyConnection
    statements: dict[str, Statements]

    def build(self) -> None:
        """All of history at once."""
        for model, sql in self.statements.items():
            self.con.execute(f"delete from intermediate.{model}")
            self.con.execute(f"insert into intermediate.{model} by name {sql.full}")

    def run(self, window_start: date) -> None:
        """One run as the pipeline makes it."""
        self.con.execute("update raw.ledger_run set window_start_date = ?", [window_start])
        for sql in self.statements.values():
            self.con.execute(f"create or replace temp table {sql.temporary} as {sql.of_run}")
            self.con.execute(sql.replace_window)

    def load(self, readings: list[Reading]) -> None:
        """Adds samples, in this order."""
        columns = [
            [reading.replica for reading in readings],
            [reading.engine for reading in readings],
            [METRICS[reading.metric][0] for reading in readings],
            [METRICS[reading.metric][1] for reading in readings],
            [reading.scraped_at for reading in readings],
            [float(reading.value) for reading in readings],
            [reading.created_at for reading in readings],
            [reading.started_at for reading in readings],
        ]
        self.con.execute(
            "insert into raw.metric_samples by name select 'm' as source_name, 'f' as file_id, "
            "unnest(?) as replica_key, unnest(?) as engine, unnest(?) as metric_name, unnest(?) as label_value, "
            "unnest(?)::timestamptz as scraped_at, unnest(?) as value, unnest(?)::timestamptz as series_created_at, "
            "unnest(?)::timestamptz as process_started_at, scraped_at::date as usage_date, 'x' as model_name",
            columns,
        )

    def content(self) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of the models, in one order."""
        return {model: self.con.execute(f"from intermediate.{model} order by all").fetchall() for model in MODELS}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    folder = tmp_path_factory.mktemp("counters")
    warehouse = CostWarehouse(folder / "warehouse.duckdb", folder / "target")
    warehouse.create()
    world = World(as_of_date=date(2026, 12, 31))
    deployment = entry(0, "tiny", LLAMA, "aws", "p5.48xlarge", valid_from_at=BEGIN) | {"gpus_per_replica": GPUS}
    route = {"source_name": "m", "kind": "metrics", "role": "engine_counters", "model_match": "*", "deployment": "tiny"}
    warehouse.replace("raw.ledger_deployments", [deployment])
    warehouse.replace("raw.ledger_usage_routes", [route])
    run = {"run_id": "r", "started_at": BEGIN, "as_of_date": world.as_of_date, "window_start_date": BEGIN.date()}
    warehouse.replace("raw.ledger_run", [run])
    select = ("--select", *(f"+{model}" for model in MODELS))
    warehouse.dbt("build", *select, "--exclude-resource-type", "test", "unit_test")
    full = {model: compiled(folder, model) for model in MODELS}
    warehouse.dbt("run", *select)
    statements = {}
    for model in MODELS:
        window = next((folder / "target" / "run").rglob(f"{model}.sql")).read_text()
        (temporary,) = set(re.findall(rf'"{model}__dbt_tmp\w*"', window))
        window = re.sub(rf'("[^"]+"\.)*{re.escape(temporary)}', temporary, window)
        statements[model] = Statements(full[model], compiled(folder, model), temporary, window)
    with duckdb.connect(str(warehouse.path)) as con:
        con.execute("set timezone = 'UTC'")
        yield Models(con, statements)


def compiled(folder: Path, model: str) -> str:
    return next((folder / "target" / "compiled").rglob(f"{model}.sql")).read_text()


@st.composite
def replicas(draw: st.DrawFn) -> list[Reading]:
    """The scrapes of one to three replicas, of one or two engines each."""
    readings: list[Reading] = []
    for replica in range(draw(st.integers(1, 3))):
        engines = [str(engine) for engine in range(draw(st.integers(1, 2)))]
        has_created, has_started = draw(st.booleans()), draw(st.booleans())
        metrics = draw(st.sampled_from([tuple(METRICS), ("prompt_tokens",), ("output_tokens", "successful_requests")]))
        at = BEGIN + timedelta(seconds=draw(st.integers(0, 3 * 3600)), microseconds=draw(st.integers(0, 999_999)))
        began = at - timedelta(seconds=draw(st.sampled_from([-5, 0, 60, 3 * 3600, 3 * 3600 + 1, 10 * 3600])))
        values = {(engine, metric): Decimal(draw(FIRST_VALUES)) for engine in engines for metric in metrics}
        for _ in range(draw(st.integers(1, 9))):
            happening = draw(st.sampled_from(["grows"] * 6 + ["idle", "restarts", "falls", "jumps", "not scraped"]))
            pause = draw(st.sampled_from(PAUSES))
            if happening == "restarts":
                began = at + timedelta(seconds=pause * draw(st.sampled_from([0, 0.5, 1])))
            at += timedelta(seconds=pause)
            for key in values:
                match happening:
                    case "grows":
                        values[key] += draw(st.integers(0, 10_000))
                    case "restarts":
                        values[key] = Decimal(draw(FIRST_VALUES))
                    case "falls":
                        values[key] -= min(values[key], draw(st.integers(0, 50)))
                    case "jumps" if draw(st.booleans()):
                        values[key] += draw(st.sampled_from([6_000_000, 6_000_001, 60_000_000, 10**12]))
            if happening == "not scraped":
                continue
            page = [
                Reading(
                    f"r{replica}", engine, metric, at, value,
                    began + timedelta(seconds=30) if has_created and draw(st.integers(0, 9)) else None,
                    began if has_started else None,
                )
                for (engine, metric), value in values.items()
            ]  # fmt: skip
            readings += page
            if draw(st.integers(0, 9)) == 0:  # read twice, the second time perhaps what it was a moment before
                readings += [
                    replace(row, value=max(row.value - draw(st.sampled_from([0, 3])), Decimal(0))) for row in page
                ]
    return readings


def counted(con: duckdb.DuckDBPyConnection) -> dict[tuple[str, datetime], Hour]:
    cursor = con.execute("from intermediate.int_counter_increases__hourly")
    names = [column[0] for column in cursor.description or ()]
    found = {}
    for values in cursor.fetchall():
        row = dict(zip(names, values, strict=True))
        hour = Hour(
            {metric: row[metric] for metric in METRICS if row[metric] is not None},
            Fraction(row["observed_seconds"] or 0),
            Fraction(row["active_seconds"] or 0),
            row["window_count"],
            row["quarantined_count"],
        )
        if hour.tokens or hour.quarantined_count:  # else baselines only
            found[row["replica_key"], row["usage_hour_at"]] = hour
    return found


def started(readings: list[Reading]) -> dict[tuple[str, datetime], tuple[Fraction, Fraction]]:
    """Replica and hour -> seconds of starting up, and of which it is known, as the oracle of costs has it."""
    names = dict(zip(("prompt_tokens", "output_tokens"), TOKEN_COUNTERS, strict=True))
    samples = [
        {"source_name": "m", "replica_key": reading.replica, "metric_name": names[reading.metric],
         "scraped_at": reading.scraped_at, "value": reading.value, "series_created_at": reading.created_at,
         "process_started_at": reading.started_at}
        for reading in read_once(readings)
        if reading.metric in names
    ]  # fmt: skip
    found: dict[tuple[str, datetime], tuple[Fraction, Fraction]] = {}
    for _, replica, start, end, is_start_up in start_up_pieces(World(date(2026, 12, 31), samples=samples)):
        hour = hour_of(start)
        while hour < end:
            if length := seconds(max(start, hour), min(end, hour + HOUR)):
                quiet, known = found.get((replica, hour), (Fraction(0), Fraction(0)))
                found[replica, hour] = (quiet + length * is_start_up, known + length)
            hour += HOUR
    return found


def read_once(readings: list[Reading]) -> list[Reading]:
    """Of the readings of a series at one instant the largest: a counter only grows."""
    kept: dict[tuple[str, str, str, datetime], Reading] = {}
    for reading in readings:
        key = (reading.replica, reading.engine, reading.metric, reading.scraped_at)
        kept[key] = max(kept.get(key, reading), reading, key=lambda each: each.value)
    return list(kept.values())


# Shrinking a failure of nine scrapes takes minutes and tells little more.
EXAMPLES = settings(max_examples=120, deadline=None, derandomize=True, phases=[Phase.generate], print_blob=False)
FEWER_EXAMPLES = settings(EXAMPLES, max_examples=30)  # each of them is up to eleven runs


def test_hours_are_the_oracles_to_the_token(models: Models) -> None:
    """Examples without restarts or quarantine would let a broken model pass, so what they held is looked at."""
    seen: set[tuple[str, str | None]] = set()
    starts: list[Decimal] = []

    @EXAMPLES
    @given(readings=replicas(), seed=st.integers(0, 2**32))
    def look(readings: list[Reading], seed: int) -> None:
        random.Random(seed).shuffle(readings)
        models.con.begin()
        try:
            models.load(readings)
            models.build()
            found, expected = counted(models.con), hours(readings, BOUNDS, GPUS)
            places = {place for place in {*found, *expected} if found.get(place) != expected.get(place)}
            assert {place: (found.get(place), expected.get(place)) for place in places} == {}
            told = models.con.execute(
                "select replica_key, usage_hour_at, start_up_seconds, start_known_seconds "
                "from intermediate.int_start_ups__hourly"
            ).fetchall()
            assert {(replica, hour): tuple(map(Fraction, known)) for replica, hour, *known in told} == started(readings)
            starts.extend(quiet for _, _, quiet, _ in told)
            kinds = models.con.execute(
                "select distinct delta_basis, quarantine_reason, coalesce(delta < 0, false) "
                "from intermediate.int_counter_deltas"
            )
            for basis, reason, is_negative in kinds.fetchall():
                assert not is_negative
                seen.add((basis, reason))
        finally:
            models.con.rollback()

    look()
    assert {0, 3600} < set(starts)
    assert {basis for basis, _ in seen} == {"increase", "reset", "first_scrape", "decrease", "baseline"}
    assert {reason for _, reason in seen} == {
        None,
        "decreased_without_restart",
        "implausible_increase",
        "beside_implausible_increase",
    }


@FEWER_EXAMPLES
@given(readings=replicas(), seed=st.integers(0, 2**32))
def test_days_in_any_order_give_the_same_rows(models: Models, readings: list[Reading], seed: int) -> None:
    chance = random.Random(seed)
    days = sorted({reading.scraped_at.date() for reading in readings})
    batches = [[reading for reading in readings if reading.scraped_at.date() == day] for day in days]
    again = chance.choices(batches, k=min(2, len(batches)))
    order = [*chance.sample(batches, len(batches)), *again]
    models.con.begin()
    try:
        loaded: set[date] = set()
        for batch in order:
            day = batch[0].scraped_at.date()
            if day not in loaded:
                models.load(chance.sample(batch, len(batch)))
            loaded.add(day)
            models.run(day)
        found = models.content()
        models.build()
        assert models.content() == found
    finally:
        models.con.rollback()
