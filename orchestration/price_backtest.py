"""The price checks against a recorded price history: as it was published, and broken on purpose.

The history is loaded snapshot by snapshot, as a source of its own, into a private warehouse; the gate and the dbt
models are the ones of the daily run. Nothing here knows a rule or a threshold. What a snapshot is blamed for rests on
that snapshot and earlier ones, so that one dbt run over all snapshots says what each day would have said.

Injection trials take a snapshot of the last 180 days (a random dozen of its regions), repeat it a day later with one
fault and once more without: three pulls of a dataset of its own. Many trials share one dbt run.
"""

import logging
import math
import random
import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from orchestration.dbt_runs import DbtError, run_dbt
from orchestration.expectations import PRICE_RULES, check_batch, failing_rows
from orchestration.price_versions import load_price_history
from orchestration.warehouse import Warehouse, price_measures, write_run

logger = logging.getLogger(__name__)

SOURCE_PREFIX = "history_"
# Commitments of the history are per month for the whole machine; providers count a year as 12 x 730 hours.
HOURS_PER_MONTH = 730
OPTIONS = (
    # column, pricing_model_raw, term_raw, pricing_model, pricing_category, months, hours that the amount covers
    ("on_demand", "OnDemand", None, "on_demand", "Standard", None, 1),
    ("spot", "Spot", None, "spot", "Dynamic", None, 1),
    ("commit_1y_month", "Commitment", "1yr", "reserved", "Committed", 12, HOURS_PER_MONTH),
    ("commit_3y_month", "Commitment", "3yr", "reserved", "Committed", 36, HOURS_PER_MONTH),
)
COLUMNS = (
    "ts",
    "provider",
    "region",
    "instance_type",
    "gpu",
    "gpu_count",
    *(option[0] for option in OPTIONS),
    "commit",
)
REQUIRED_COLUMNS = ("ts", "provider", "instance_type", "on_demand")
NUMBERS = ("gpu_count", *(option[0] for option in OPTIONS))
LABEL_COLUMNS = ("ts", "instance_type", "label")
EVERYWHERE = "global"

TRIAL_DAYS = 180
TRIAL_REGIONS = 12
TRIALS_PER_BUILD = 300
DROPPED_SHARE = 0.05
# Google's spot prices pause for weeks: seven quiet days are no fault there. The trial feed pauses four days at most.
FREEZE_DAYS = 7
FREEZE_MOVES = 8
FREEZE_PAUSE_DAYS = 4

# What the fault is called in likely_cause, or a part of it. Factors are wrong price over right price.
FACTORS: dict[str, tuple[float, str]] = {
    "x1000": (1000, "thousands"),
    "/1000": (1 / 1000, "thousands"),
    "x730": (730, "a month of 730 hours"),
    "x24": (24, "a daily one"),
    "x8": (8, "8 GPUs"),
    "/8": (1 / 8, "8 GPUs"),
    "x100": (100, "cents"),
    "x10": (10, "digit"),
    "CNY x7.1": (7.1, "prices in CNY"),
    "EUR x0.92": (0.92, "prices in EUR"),
}
SCOPES = ("one SKU", "one region", "whole provider")
OTHER_KINDS: dict[str, tuple[str, str]] = {
    "regions swapped": ("one region", "two regions swapped"),
    "region dropped": ("one region", "region_missing"),
    "5 % of rows dropped": ("whole provider", "offers_missing"),
    "conflicting duplicate": ("one SKU", "keys with different prices"),
    "7-day freeze": ("whole provider", "a cache"),
}


class HistoryError(Exception):
    """The history cannot be used, with the reason in words."""


@dataclass(slots=True)
class Episode:
    """One labelled error of the history and what became of it."""

    label: str
    wrong_rows: int = 0
    flagged_rows: int = 0
    first_rows: int = 0  # rows at the first snapshot at which their machine and region were wrong
    first_flagged_rows: int = 0
    first_seen_at: datetime | None = None
    first_flagged_at: datetime | None = None
    last_seen_at: datetime | None = None
    rules: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Move:
    """Prices that moved in one snapshot between rows that nobody calls wrong."""

    moved_at: datetime
    pricing_model: str
    price_count: int
    lowest_ratio: float
    highest_ratio: float
    held_count: int
    findings: dict[str, int]


@dataclass(slots=True)
class HistoryReport:
    """What the checks said about the history as it was published."""

    snapshot_count: int
    row_count: int
    years: float
    refused: list[str]
    episodes: list[Episode]
    error_rows: int
    unlabelled_error_rows: int
    corrected_error_rows: int  # unlabelled, but the source itself moved the price away by half or more later
    false_rows: Counter[str]  # by year: neither labelled nor corrected
    confirmed_rows: int  # of these: steps that waited, and were accepted when a later pull agreed
    unlabelled_by_rule: Counter[str]
    zero_prices: int
    zero_prices_flagged: int
    missing_prices: int
    findings: list[tuple[str, str, int, int]]  # rule, severity, findings, series
    moves: list[Move]
    has_labels: bool
    seconds: float


@dataclass(slots=True)
class Trial:
    """One fault in one snapshot of one provider."""

    dataset: str
    provider: str
    kind: str
    scope: str
    base_at: datetime
    regions: list[str]
    target_region: str = ""
    other_region: str = ""
    target_type: str = ""
    factor: float = 1.0
    cause: str = ""
    dropped: list[tuple[str, str]] = field(default_factory=list)
    pull_days: list[int] = field(default_factory=list)  # of a freeze: the days on which a price moved
    is_found: bool = False
    is_cause_right: bool = False
    parent_count: int = 0


@dataclass(slots=True)
class TrialLine:
    """The trials of one kind and scope."""

    kind: str
    scope: str
    trials: int
    found: int
    cause_right: int
    parents: int
    most_parents: int


# --- history ----------------------------------------------------------------------------------------------------------


def backtest_history(history: Path, labels: Path | None) -> HistoryReport:
    """Replays the whole history through gate and models.

    Args:
        history: Parquet or CSV with REQUIRED_COLUMNS and any others of COLUMNS (docs/price-checks.md).
        labels: the same with LABEL_COLUMNS (label: names parted by ";") and, as the history, region and commit.

    Raises:
        HistoryError: the file cannot be used.
    """
    started = time.monotonic()
    with _private_warehouse(history) as room:
        con = room.connect()
        try:
            has_labels = _load_labels(con, labels)
            _stage_history(con)
            refused = _load(con)
            row_count, snapshot_count, first, last = con.execute(
                "select count(*), count(distinct snapshot_at), min(snapshot_at), max(snapshot_at) from backtest.history"
            ).fetchall()[0]
        finally:
            con.close()
        room.run_models()
        con = room.connect()
        try:
            _flag_rows(con)
            report = HistoryReport(
                snapshot_count=snapshot_count,
                row_count=row_count,
                years=(last - first).days / 365.25,
                refused=refused,
                episodes=_episodes(con),
                has_labels=has_labels,
                moves=_moves(con),
                findings=con.execute(
                    "select rule_id, severity, count(*), cast(sum(series_count) as bigint) "
                    "from marts.fct_price_anomalies group by all order by severity, rule_id"
                ).fetchall(),
                **_false_rows(con),
                seconds=0,
            )
        finally:
            con.close()
    report.seconds = time.monotonic() - started
    return report


class _Room:
    """A private warehouse with the seeds, the history as a table and a way to run the price models."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "warehouse.duckdb"

    def connect(self) -> duckdb.DuckDBPyConnection:
        con = duckdb.connect(str(self.path))
        con.execute("set timezone = 'UTC'; set preserve_insertion_order = false; set enable_progress_bar = false")
        return con

    def dbt(self, *arguments: str) -> None:
        try:
            run_dbt(*arguments, warehouse=self.path, folder=self.folder / "target")
        except DbtError as error:
            raise HistoryError(f"dbt failed: {str(error)[-4000:]}") from None

    def run_models(self) -> None:
        self.dbt("run", "--select", "+fct_price_anomalies")


@contextmanager
def _private_warehouse(history: Path) -> Iterator[_Room]:
    with tempfile.TemporaryDirectory(prefix="price-backtest-") as name:
        room = _Room(Path(name))
        with Warehouse(room.path).connect() as con:  # with the raw schema
            _read_history(con, history)
            write_run(con, run_id="backtest", started_at=datetime.now(UTC), as_of_date=datetime.now(UTC).date())
        room.dbt("seed")
        con = room.connect()
        try:
            _describe_sources(con)
        finally:
            con.close()
        yield room


def _read_history(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Reads the file into backtest.history; columns that it does not have are null, and a region "global".

    Rows that say the same are one; two prices for one machine are left for the gate to refuse.
    """
    con.execute("create schema if not exists backtest")
    present = _read_rows(con, path, REQUIRED_COLUMNS, COLUMNS)
    _check_values(con, path, present.intersection(NUMBERS), "double", "a number (empty where there is none)")
    columns = {
        "snapshot_at": "cast(ts as timestamptz)",
        "version": _text("commit", present, "''"),
        "provider": "cast(provider as varchar)",
        "region": _text("region", present, f"'{EVERYWHERE}'"),
        "instance_type": "cast(instance_type as varchar)",
        "gpu": _text("gpu", present, "null"),
        "gpu_count": _number("gpu_count", 6, present),
        **{name: _number(name, 12, present) for name, *_ in OPTIONS},
    }
    con.execute(
        "create or replace table backtest.history as select distinct "
        + ", ".join(f"{expression} as {name}" for name, expression in columns.items())
        + " from rows_read"
    )
    is_priced = " or ".join(f"{name} is not null" for name, *_ in OPTIONS)
    if not con.execute(f"select count(*) from backtest.history where {is_priced}").fetchall()[0][0]:
        raise HistoryError(f"{path} holds no rows with a price")


def _read_rows(
    con: duckdb.DuckDBPyConnection, path: Path, required: tuple[str, ...], known: tuple[str, ...]
) -> set[str]:
    """Reads a Parquet or CSV file as it is into `rows_read` and returns its columns.

    Raises:
        HistoryError: it cannot be read, lacks a required column or a value in one, or has no time in `ts`.
    """
    # As text, so that a value that is none is reported with its column and not as a fault of a guessed type.
    reader = "read_parquet(?)" if path.suffix == ".parquet" else "read_csv(?, all_varchar = true, header = true)"
    try:
        con.execute(f"create or replace temp table rows_read as select * from {reader}", [str(path)])
    except duckdb.Error as error:
        raise HistoryError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    present = {row[0] for row in con.execute("describe rows_read").fetchall()}
    if missing := [name for name in required if name not in present]:
        others = ", ".join(name for name in known if name not in required)
        raise HistoryError(
            f"{path} has no column {', '.join(missing)}; needed: {', '.join(required)}; used where present: {others}"
        )
    for name in required:
        empty = con.execute(f"select count(*) from rows_read where {name} is null").fetchall()[0][0]
        if empty and name not in NUMBERS:
            raise HistoryError(f"{path}: column {name} is empty in {empty:,} rows; each row needs one")
    _check_values(con, path, {"ts"}, "timestamptz", "a time such as 2026-10-01 06:00:00+00")
    return present


def _check_values(con: duckdb.DuckDBPyConnection, path: Path, names: set[str], data_type: str, wanted: str) -> None:
    for name in sorted(names):
        found = con.execute(
            f"select {name} from rows_read where {name} is not null and try_cast({name} as {data_type}) is null limit 1"
        ).fetchone()
        if found:
            raise HistoryError(f"{path}: column {name} has {str(found[0])!r}, which is not {wanted}")


def _text(name: str, present: set[str], default: str) -> str:
    return f"coalesce(cast({name} as varchar), {default})" if name in present else f"cast({default} as varchar)"


def _number(name: str, scale: int, present: set[str]) -> str:
    """A decimal of a column that may be absent; NaN, as pandas writes what is missing, is null."""
    if name not in present:
        return f"cast(null as decimal(28, {scale}))"
    number = f"cast({name} as double)"
    return f"case when not isnan({number}) then cast({name} as decimal(28, {scale})) end"


def _describe_sources(con: duckdb.DuckDBPyConnection) -> None:
    """Tells the private copies of the seeds what the words of the history mean; the project's own stay as they are."""
    providers = [row[0] for row in con.execute("select distinct provider from backtest.history").fetchall()]
    for provider in providers:
        source = SOURCE_PREFIX + provider
        con.execute(
            "insert into seeds.price_sources by name select ? as source, ? as provider, ? as title, "
            "'USD' as declared_currency, 'instance_type' as price_key_from, '' as docs_url, "
            "coalesce(bool_or(is_market), false) as is_market from seeds.price_sources where provider = ?",
            [source, provider, f"history of {provider}", provider],
        )
        for _, words, term, model, category, months, _ in OPTIONS:
            con.execute(
                "insert into seeds.pricing_terms by name select ? as source, ? as pricing_model_raw, ? as term_raw, "
                "? as pricing_model, ? as pricing_category, cast(null as varchar) as market_tier, "
                "cast(? as integer) as term_months",
                [source, words, term, model, category, months],
            )
        for words in sorted({option[1] for option in OPTIONS}):
            con.execute(
                "insert into seeds.price_units by name select ? as source, ? as pricing_model_raw, "
                "'hour' as price_unit_raw, 'instance_hour' as price_basis",
                [source, words],
            )
    models = [row[0] for row in con.execute("select gpu_model from seeds.gpu_models").fetchall()]
    known = {
        row[0] for row in con.execute("select raw_value from seeds.gpu_model_aliases where source = '*'").fetchall()
    }
    named = con.execute(
        "select distinct gpu from backtest.history anti join seeds.instance_types using (provider, instance_type) "
        "where gpu is not null order by gpu"
    ).fetchall()
    for (name,) in named:
        canonical = canonical_gpu(name, models)
        if canonical is None:
            logger.warning("GPU %s is in no seed: its machines are checked without absolute bounds", name)
        elif name not in known:
            for provider in providers:
                con.execute(
                    "insert into seeds.gpu_model_aliases by name "
                    "select ? as source, 'gpu_name' as match_on, ? as raw_value, ? as gpu_model",
                    [SOURCE_PREFIX + provider, name, canonical],
                )


def canonical_gpu(name: str, models: list[str]) -> str | None:
    """The canonical model of a short name: L4 is L4-24GB, A100-40GB the SXM form, which is what clouds rent.

    None where no model or several of the SXM form fit.
    """
    if name in models:
        return name
    parts = re.split("[-_ ]+", name.upper())
    fitting = [model for model in models if _holds(model.upper().split("-"), parts)]
    if len(fitting) > 1:
        fitting = [model for model in fitting if "SXM" in model]
    return fitting[0] if len(fitting) == 1 else None


def _holds(model: list[str], name: list[str]) -> bool:
    return model[0] == name[0] and set(name) <= set(model)


def _load_labels(con: duckdb.DuckDBPyConnection, path: Path | None) -> bool:
    """Finds the labelled rows of the history and returns whether there are any; without a commit they are of all."""
    con.execute(
        "create or replace table backtest.labels "
        "(snapshot_at timestamptz, version varchar, region varchar, instance_type varchar, label varchar)"
    )
    if path is None:
        return False
    present = _read_rows(con, path, LABEL_COLUMNS, (*LABEL_COLUMNS, "region", "commit"))
    con.execute(
        f"""
        create or replace temp table labels_read as
        select
            cast(ts as timestamptz) as snapshot_at, {_text("commit", present, "null")} as label_version,
            {_text("region", present, f"'{EVERYWHERE}'")} as region, cast(instance_type as varchar) as instance_type,
            string_agg(distinct label, ';') as label
        from rows_read
        group by all
        """
    )
    con.execute(
        """
        insert into backtest.labels
        select distinct snapshot_at, version, region, instance_type, label
        from backtest.history
        inner join labels_read using (snapshot_at, region, instance_type)
        where coalesce(label_version, version) = version
        """
    )
    read, used = con.execute(
        "select (select count(*) from labels_read), (select count(*) from backtest.labels)"
    ).fetchall()[0]
    if used < read:
        logger.warning(
            "%s of %s labels are no row of the history: ts, region, instance_type and commit must agree",
            f"{read - used:,}",
            f"{read:,}",
        )
    return bool(used)


def _record_columns(amount: str) -> str:
    """The columns of a raw record that are the same in history and trials; `amount` is the price of the option."""
    return f"""
        instance_type as sku_id, instance_type as offer_id, instance_type, region as region_raw, gpu as gpu_name_raw,
        cast(null as varchar) as zone_raw, cast(null as varchar) as payment_option_raw, gpu_count as gpu_count_raw,
        pricing_model_raw, term_raw, {amount} as price_amount,
        'USD' as price_currency, 'hour' as price_unit_raw, 'file://history' as source_url
    """


def _long_history(con: duckdb.DuckDBPyConnection) -> None:
    """One row per price instead of one per machine, in USD per hour."""
    parts = " union all by name ".join(
        f"select * exclude ({', '.join(option[0] for option in OPTIONS)}), '{words}' as pricing_model_raw, "
        f"{'null' if term is None else repr(term)} as term_raw, "
        f"cast({column} / {hours} as decimal(28, 12)) as price_amount from backtest.history where {column} is not null"
        for column, words, term, _, _, _, hours in OPTIONS
    )
    con.execute(f"create or replace table backtest.prices as {parts}")


def _stage_history(con: duckdb.DuckDBPyConnection) -> None:
    _long_history(con)
    con.execute(
        f"""
        create or replace table backtest.records as
        select
            concat_ws('/', '{SOURCE_PREFIX}' || provider, 'prices', strftime(snapshot_at, '%Y%m%dT%H%M%SZ'), version)
                as snapshot_id,
            '{SOURCE_PREFIX}' || provider as source, 'prices' as dataset, snapshot_at as fetched_at,
            {_record_columns("price_amount")}
        from backtest.prices
        """
    )


def _load(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Brings backtest.records through the gate into the raw room; returns the sentences of what was refused."""
    frame = con.execute(
        f"""
        select measures.*, snapshots.source, snapshots.dataset, snapshots.fetched_at
        from ({price_measures("backtest.records", "USD")}) as measures
        inner join (select distinct snapshot_id, source, dataset, fetched_at from backtest.records) as snapshots
            using (snapshot_id)
        order by snapshots.source, snapshots.dataset, snapshots.fetched_at
        """
    ).df()
    frame["rejected_count"], frame["rejected_share"], frame["top_reason"] = 0.0, 0.0, "none"
    previous: dict[tuple[str, str], float] = {}
    shares, counts, refused = [], [], set()
    for row in frame.to_dict("records"):
        last = previous.get((row["source"], row["dataset"]))
        counts.append(math.nan if last is None else last)
        shares.append(math.nan if last is None else row["record_count"] / last)
        judged = frame[frame["snapshot_id"] == row["snapshot_id"]].assign(share_of_previous=shares[-1])
        if failing_rows(judged, PRICE_RULES, "snapshot_id"):
            refused.add(row["snapshot_id"])
        else:
            previous[row["source"], row["dataset"]] = row["record_count"]
    frame["share_of_previous"], frame["previous_count"] = shares, counts
    is_refused = frame["snapshot_id"].isin(refused)
    if failures := check_batch(frame[~is_refused], PRICE_RULES):
        raise HistoryError(f"the gate contradicts itself: {failures}")
    messages = {
        row["snapshot_id"]: "; ".join(check_batch(frame[frame["snapshot_id"] == row["snapshot_id"]], PRICE_RULES))
        for row in frame[is_refused].to_dict("records")
    }
    con.execute("create or replace table backtest.refused (snapshot_id varchar, message varchar)")
    if messages:
        con.executemany("insert into backtest.refused values (?, ?)", [list(pair) for pair in messages.items()])
    con.execute(
        """
        insert into raw.source_fetches by name
        select
            snapshot_id as fetch_id, source, dataset, fetched_at,
            case when message is null then 'loaded' else 'refused' end as outcome, snapshot_id, 'replay' as origin,
            count(*) as record_count, 0 as rejected_count, 0 as skipped_count, message
        from backtest.records
        left join backtest.refused using (snapshot_id)
        group by all
        """
    )
    con.execute(
        """
        create or replace temp table accepted_records as
        select
            * exclude (message),
            row_number() over (
                partition by snapshot_id order by sku_id, region_raw, pricing_model_raw, term_raw, price_amount
            ) as record_number
        from backtest.records
        left join backtest.refused using (snapshot_id)
        where message is null
        """
    )
    load_price_history(con, "accepted_records")
    return [f"{name}: {text}" for name, text in messages.items()]


def _flag_rows(con: duckdb.DuckDBPyConnection) -> None:
    """One row per price of the history with the rule that held it back, and per row of the history with its label."""
    con.execute(
        """
        create or replace table backtest.judged as
        select
            records.fetched_at as snapshot_at, split_part(records.snapshot_id, '/', 4) as version, offers.provider,
            offers.region, offers.instance_type, offers.pricing_model, offers.term_months, observations.series_id,
            observations.period_number, observations.quarantine_rule_id, observations.accepted_from_at,
            records.price_amount
        from intermediate.int_price_observations as observations
        inner join intermediate.int_price_offers as offers using (snapshot_id, series_id)
        inner join backtest.records as records
            on offers.snapshot_id = records.snapshot_id and offers.instance_type = records.instance_type
            and offers.region = records.region_raw and offers.pricing_model_raw = records.pricing_model_raw
            and offers.term_raw is not distinct from records.term_raw
        """
    )
    con.execute(
        """
        create or replace table backtest.rows as
        select
            history.snapshot_at, history.version, history.provider, history.region, history.instance_type,
            labels.label,
            max(judged.quarantine_rule_id) filter (judged.pricing_model = 'on_demand') as list_rule_id,
            max(judged.quarantine_rule_id) as any_rule_id
        from backtest.history
        left join backtest.labels using (snapshot_at, version, region, instance_type)
        left join backtest.judged using (snapshot_at, version, provider, region, instance_type)
        group by all
        """
    )


def _episodes(con: duckdb.DuckDBPyConnection) -> list[Episode]:
    """An episode's row counts as flagged when its on-demand price was held back, whatever became of the others."""
    rows = con.execute(
        "select label, provider || region || instance_type, snapshot_at, list_rule_id from backtest.rows "
        "where label is not null order by snapshot_at"
    ).fetchall()
    episodes: dict[str, Episode] = {}
    seen: set[tuple[str, str]] = set()
    for labels, machine, snapshot_at, rule in rows:
        for label in filter(None, labels.split(";")):
            episode = episodes.setdefault(label, Episode(label))
            episode.wrong_rows += 1
            episode.first_seen_at = episode.first_seen_at or snapshot_at
            episode.last_seen_at = snapshot_at
            is_first = (label, machine) not in seen
            seen.add((label, machine))
            episode.first_rows += is_first
            if rule is not None:
                episode.flagged_rows += 1
                episode.first_flagged_rows += is_first
                episode.first_flagged_at = episode.first_flagged_at or snapshot_at
                episode.rules[rule] += 1
    return [episodes[name] for name in sorted(episodes)]


def _false_rows(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Error rows that no label explains; those whose source itself moved the price away later are told apart."""
    con.execute(
        """
        create or replace table backtest.unlabelled as
        with runs as (
            select
                *,
                sum(case when price_amount is distinct from last_amount then 1 else 0 end) over (
                    partition by series_id order by period_number
                ) as run_number
            from (
                select *, lag(price_amount) over (partition by series_id order by period_number) as last_amount
                from backtest.judged
            )
        ),
        next_prices as (
            select
                series_id, run_number, min(price_amount) as price_amount, min(accepted_from_at) as accepted_from_at,
                lead(min(price_amount)) over (partition by series_id order by run_number) as next_amount
            from runs
            group by series_id, run_number
        )
        select
            runs.snapshot_at, runs.version, runs.provider, runs.region, runs.instance_type, runs.quarantine_rule_id,
            runs.price_amount = 0
            or coalesce(
                abs(ln(cast(next_amount as double) / nullif(cast(runs.price_amount as double), 0))) > ln(1.5), false
            ) as is_corrected,
            runs.quarantine_rule_id in ('list_price_step_unconfirmed', 'spot_price_step_unconfirmed')
            and next_prices.accepted_from_at is not null as is_confirmed
        from runs
        inner join next_prices using (series_id, run_number)
        left join backtest.labels using (snapshot_at, version, region, instance_type)
        where runs.quarantine_rule_id is not null and labels.label is null
        """
    )
    machine = "snapshot_at, version, provider, region, instance_type"
    per_row = con.execute(
        f"select year(snapshot_at), bool_and(is_corrected), bool_and(is_corrected or is_confirmed) "
        f"from backtest.unlabelled group by {machine}"
    ).fetchall()
    counts = con.execute(
        """
        select
            (select count(*) from backtest.rows where any_rule_id is not null),
            count(*) filter (price_amount = 0),
            count(*) filter (price_amount = 0 and quarantine_rule_id = 'price_not_positive')
        from backtest.judged
        """
    ).fetchall()[0]
    missing = con.execute("select count(*) from backtest.history where on_demand is null").fetchall()[0][0]
    return {
        "error_rows": counts[0],
        "zero_prices": counts[1],
        "zero_prices_flagged": counts[2],
        "missing_prices": missing,
        "unlabelled_error_rows": len(per_row),
        "corrected_error_rows": sum(is_corrected for _, is_corrected, _ in per_row),
        "confirmed_rows": sum(is_waiting and not is_corrected for _, is_corrected, is_waiting in per_row),
        "false_rows": Counter(str(year) for year, is_corrected, _ in per_row if not is_corrected),
        "unlabelled_by_rule": Counter(
            dict(con.execute("select quarantine_rule_id, count(*) from backtest.unlabelled group by 1").fetchall())
        ),
    }


def _moves(con: duckdb.DuckDBPyConnection) -> list[Move]:
    """Moves of more than 2 % between prices of which neither is labelled."""
    rows = con.execute(
        """
        with steps as (
            select
                judged.*, labels.label,
                lag(price_amount) over series as last_amount, lag(labels.label) over series as last_label
            from backtest.judged
            left join backtest.labels using (snapshot_at, version, region, instance_type)
            window series as (partition by series_id order by period_number)
        )
        select
            snapshot_at, case when pricing_model = 'reserved' then 'commitment' else pricing_model end as kind,
            count(*), min(price_amount / last_amount), max(price_amount / last_amount),
            count(*) filter (quarantine_rule_id is not null)
        from steps
        where label is null and last_label is null and last_amount > 0 and price_amount > 0
            and abs(price_amount / last_amount - 1) > 0.02
        group by all
        order by all
        """
    ).fetchall()
    findings: dict[datetime, dict[str, int]] = defaultdict(dict)
    for first_seen_at, severity, count in con.execute(
        "select first_seen_at, severity, count(*) from marts.fct_price_anomalies "
        "where rule_id in ('list_price_changed', 'list_price_jumped', 'spot_price_jumped') group by all order by all"
    ).fetchall():
        findings[first_seen_at][severity] = count
    return [
        Move(moved_at, kind, count, float(lowest), float(highest), held, findings[moved_at])
        for moved_at, kind, count, lowest, highest, held in rows
    ]


# --- trials -----------------------------------------------------------------------------------------------------------


def run_trials(
    history: Path, labels: Path | None, *, trials: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> tuple[list[TrialLine], float]:
    """Injects faults and asks what was found; returns one line per kind and scope, and the seconds it took.

    Args:
        history: as in `backtest_history`.
        labels: rows that are wrong already are no target.
        trials: how many per kind; a factor's are dealt to the scopes in turn.
        seed: the same seed makes the same trials.
        progress: called with the trials done and the trials in all after each dbt run.
    """
    started = time.monotonic()
    with _private_warehouse(history) as room:
        con = room.connect()
        try:
            _load_labels(con, labels)
            _long_history(con)
            planned = _plan(con, trials, random.Random(seed))  # noqa: S311 - repeatable, not secret
        finally:
            con.close()
        for start in range(0, len(planned), TRIALS_PER_BUILD):
            batch = planned[start : start + TRIALS_PER_BUILD]
            con = room.connect()
            try:
                _inject(con, batch)
                _load(con)
            finally:
                con.close()
            room.run_models()
            con = room.connect()
            try:
                _judge(con, batch)
            finally:
                con.close()
            if progress is not None:
                progress(start + len(batch), len(planned))
    lines: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in planned:
        lines[trial.kind, trial.scope].append(trial)
    return [
        TrialLine(
            kind,
            scope,
            trials=len(group),
            found=sum(trial.is_found for trial in group),
            cause_right=sum(trial.is_cause_right for trial in group),
            parents=sum(trial.parent_count for trial in group),
            most_parents=max(trial.parent_count for trial in group),
        )
        for (kind, scope), group in lines.items()
    ], time.monotonic() - started


def _plan(con: duckdb.DuckDBPyConnection, trials: int, rng: random.Random) -> list[Trial]:
    last = con.execute("select max(snapshot_at) from backtest.prices").fetchall()[0][0]
    right = con.execute(
        """
        select snapshot_at, region, instance_type, provider from backtest.history
        anti join backtest.labels using (snapshot_at, version, region, instance_type)
        where snapshot_at >= ? order by all
        """,
        [last - timedelta(days=TRIAL_DAYS)],
    ).fetchall()
    machines: dict[tuple[datetime, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for snapshot_at, region, instance_type, provider in right:
        machines[snapshot_at, provider][region].append(instance_type)
    snapshots = [snapshot for snapshot, regions in machines.items() if len(regions) >= 4]
    if not snapshots:
        raise HistoryError(
            "no faults were injected: the last 180 days of the history have no snapshot with four regions of one "
            "provider. --trials 0 replays the history alone"
        )
    prices = {
        (row[0], row[1], row[2], row[3]): row[4]
        for row in con.execute(
            "select snapshot_at, provider, region, instance_type, min(price_amount) from backtest.prices "
            "where pricing_model_raw = 'OnDemand' group by all"
        ).fetchall()
    }
    planned: list[Trial] = []

    def plan(kind: str, scope: str, cause: str, factor: float = 1.0) -> None:
        at = rng.choice(snapshots)
        regions = sorted(rng.sample(sorted(machines[at]), min(TRIAL_REGIONS, len(machines[at]))))
        trial = Trial(f"trial-{len(planned):06}", at[1], kind, scope, at[0], regions, factor=factor, cause=cause)
        trial.target_region = rng.choice(regions)
        trial.target_type = rng.choice(machines[at][trial.target_region])
        if kind == "regions swapped":
            # Many regions have the same prices by nature: a swap of those is none.
            others = [
                region
                for region in regions
                if sum(
                    prices.get((*at, region, name)) not in (None, prices.get((*at, trial.target_region, name)))
                    for name in machines[at][trial.target_region]
                )
                >= 3
            ]
            if not others:
                plan(kind, scope, cause)
                return
            trial.other_region = rng.choice(others)
        if kind == "5 % of rows dropped":
            pairs = [(region, name) for region in regions for name in machines[at][region]]
            trial.dropped = rng.sample(pairs, math.ceil(DROPPED_SHARE * len(pairs)))
        if kind == "7-day freeze":
            days = [0]
            for _ in range(FREEZE_MOVES):
                days.append(days[-1] + rng.randint(1, FREEZE_PAUSE_DAYS))
            trial.pull_days = days
        planned.append(trial)

    for kind, (factor, cause) in FACTORS.items():
        for number in range(trials):
            plan(kind, SCOPES[number % len(SCOPES)], cause, factor)
    for kind, (scope, cause) in OTHER_KINDS.items():
        for _ in range(trials):
            plan(kind, scope, cause)
    return planned


def _inject(con: duckdb.DuckDBPyConnection, batch: list[Trial]) -> None:
    """Stages the three pulls of each trial; the second one has the fault."""
    for table in ("price_records", "price_loads", "source_fetches"):
        con.execute(f"delete from raw.{table}")
    con.execute(
        "create or replace table backtest.trials (dataset varchar, provider varchar, kind varchar, scope varchar, "
        "base_at timestamptz, target_region varchar, other_region varchar, target_type varchar, factor double)"
    )
    con.executemany(
        "insert into backtest.trials values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            [
                t.dataset,
                t.provider,
                t.kind,
                t.scope,
                t.base_at,
                t.target_region,
                t.other_region,
                t.target_type,
                t.factor,
            ]
            for t in batch
        ],
    )
    con.execute("create or replace table backtest.trial_regions (dataset varchar, region varchar)")
    con.executemany(
        "insert into backtest.trial_regions values (?, ?)", [[t.dataset, region] for t in batch for region in t.regions]
    )
    con.execute("create or replace table backtest.dropped (dataset varchar, region varchar, instance_type varchar)")
    if dropped := [[t.dataset, *pair] for t in batch for pair in t.dropped]:
        con.executemany("insert into backtest.dropped values (?, ?, ?)", dropped)
    con.execute(
        """
        create or replace table backtest.trial_prices as
        select prices.* exclude (snapshot_at, version, provider), trials.*
        from backtest.trials
        inner join backtest.trial_regions using (dataset)
        inner join backtest.prices
            on trials.base_at = prices.snapshot_at and trials.provider = prices.provider
            and trial_regions.region = prices.region
        where trials.kind <> '7-day freeze'
        """
    )
    con.execute(
        f"""
        create or replace table backtest.records as
        with pulls as (
            -- The first and the last pull are right.
            select *, unnest([0, 2]) as day, price_amount as amount from backtest.trial_prices
            union all by name
            select
                * exclude (region), 1 as day,
                case
                    when kind <> 'regions swapped' then region
                    when region = target_region then other_region
                    when region = other_region then target_region
                    else region
                end as region,
                case
                    when scope = 'whole provider'
                        or region = target_region and (scope = 'one region' or instance_type = target_type)
                        then cast(price_amount * factor as decimal(28, 12))
                    else price_amount
                end as amount
            from backtest.trial_prices
            where not (kind = 'region dropped' and region = target_region)
            union all by name
            -- The same offer once more, a tenth dearer.
            select *, 1 as day, cast(price_amount * 1.1 as decimal(28, 12)) as amount
            from backtest.trial_prices
            where
                kind = 'conflicting duplicate' and region = target_region and instance_type = target_type
                and pricing_model_raw = 'OnDemand'
        )
        select
            '{SOURCE_PREFIX}' || provider || '/' || dataset || '/' || day as snapshot_id,
            '{SOURCE_PREFIX}' || provider as source, dataset, base_at + to_days(cast(day as integer)) as fetched_at,
            {_record_columns("amount")}
        from pulls
        where not (
            day = 1
            and exists (
                select 1 from backtest.dropped
                where dropped.dataset = pulls.dataset and dropped.region = pulls.region
                    and dropped.instance_type = pulls.instance_type
            )
        )
        """
    )
    if freezes := [trial for trial in batch if trial.pull_days]:
        _inject_freezes(con, freezes)


def _inject_freezes(con: duckdb.DuckDBPyConnection, batch: list[Trial]) -> None:
    """Spot prices of the history that move a little on each pull, and then stand still."""
    con.execute("create or replace table backtest.freeze_pulls (dataset varchar, day integer, is_moved boolean)")
    con.executemany(
        "insert into backtest.freeze_pulls values (?, ?, ?)",
        [
            [trial.dataset, day, number % 2 == 1]
            for trial in batch
            for number, day in [
                *enumerate(trial.pull_days),
                (len(trial.pull_days) - 1, trial.pull_days[-1] + FREEZE_DAYS),
            ]
        ],
    )
    con.execute(
        f"""
        insert into backtest.records by name
        with pulls as (
            select
                prices.*, trials.dataset, trials.base_at, freeze_pulls.day,
                -- The moved state: every third price 5 % lower, the step to which Google caps its own.
                case
                    when is_moved and hash(prices.region || prices.instance_type) % 3 = 0
                        then cast(price_amount * 0.95 as decimal(28, 12))
                    else price_amount
                end as amount
            from backtest.trials
            inner join backtest.freeze_pulls using (dataset)
            inner join backtest.trial_regions using (dataset)
            inner join backtest.prices
            on trials.base_at = prices.snapshot_at and trials.provider = prices.provider
            and trial_regions.region = prices.region
            where prices.pricing_model_raw = 'Spot'
        )
        select
            '{SOURCE_PREFIX}' || provider || '/' || dataset || '/' || day as snapshot_id,
            '{SOURCE_PREFIX}' || provider as source, dataset, base_at + to_days(day) as fetched_at,
            {_record_columns("amount")}
        from pulls
        """
    )


def _judge(con: duckdb.DuckDBPyConnection, batch: list[Trial]) -> None:
    trials = {trial.dataset: trial for trial in batch}
    for dataset, rule_id, cause in con.execute(
        """
        select findings.dataset, rule_id, coalesce(likely_cause, '')
        from marts.fct_price_anomalies as findings
        inner join backtest.trials using (dataset)
        where first_seen_at > base_at
            and (severity = 'error' and kind <> '7-day freeze' or rule_id = 'spot_prices_frozen')
        """
    ).fetchall():
        trial = trials[dataset]
        trial.parent_count += 1
        trial.is_found = True
        trial.is_cause_right |= trial.cause in cause or trial.cause == rule_id
    for dataset, message in con.execute(
        "select dataset, message from raw.source_fetches where outcome = 'refused'"
    ).fetchall():
        trial = trials[dataset]
        trial.parent_count += 1
        trial.is_found = True
        trial.is_cause_right |= trial.cause in message


# --- reports ----------------------------------------------------------------------------------------------------------


def report_history(report: HistoryReport) -> list[str]:
    """The report as lines of text."""
    lines = [
        f"Price checks on {report.row_count:,} rows in {report.snapshot_count} snapshots, {report.years:.1f} years "
        f"({report.seconds:.0f} s)",
        f"Refused by the gate: {len(report.refused)}",
        *(f"  {text}" for text in report.refused),
    ]
    if report.episodes:
        lines.append("Labelled episodes (a row is flagged when its on-demand price is held back)")
        lines.append(
            f"  {'':4}{'wrong rows':>11}{'flagged':>9}  {'first seen':12}{'flagged at':12}"
            f"{'at first snapshot':>18}  rules"
        )
        for episode in report.episodes:
            flagged_at = "never" if episode.first_flagged_at is None else f"{episode.first_flagged_at:%Y-%m-%d}"
            rules = ", ".join(f"{rule} {count:,}" for rule, count in episode.rules.most_common())
            lines.append(
                f"  {episode.label:4}{episode.wrong_rows:>11,}{episode.flagged_rows:>9,}  "
                f"{episode.first_seen_at:%Y-%m-%d}  {flagged_at:12}"
                f"{episode.first_flagged_rows:>7,} of {episode.first_rows:>3,} "
                f"{episode.first_flagged_rows / episode.first_rows:>4.0%}  {rules or '-'}"
            )
        if missed := [e.label for e in report.episodes if e.first_flagged_rows < 0.5 * e.first_rows]:
            lines.append(
                f"  {' and '.join(missed)}: not seen from inside one catalogue. Errors of a few percent (under 16 % in "
                "the sample) need a second source"
            )
    elif not report.has_labels:
        lines.append("No labels: every error row below is counted as unlabelled")
    left = sum(report.false_rows.values())
    rules = ", ".join(f"{rule} {count}" for rule, count in report.unlabelled_by_rule.most_common())
    lines += [
        f"Zero prices: {report.zero_prices_flagged} of {report.zero_prices} are error rows; "
        f"{report.missing_prices} machines without an on-demand price",
        f"Error rows (machine, region and snapshot with any price held back): {report.error_rows:,}",
        f"  outside the labels: {report.unlabelled_error_rows}" + (f" (prices: {rules})" if rules else ""),
        f"  of these zero, or moved by half or more by the source itself afterwards: {report.corrected_error_rows}",
        f"  left as false error rows: {left}, {left / max(report.years, 1e-9):.1f} a year"
        + (f" ({report.confirmed_rows} waited until a later pull confirmed the step)" if report.confirmed_rows else "")
        + "".join(f"; {year}: {count}" for year, count in sorted(report.false_rows.items())),
        "Moves of more than 2 % between rows that nobody calls wrong",
    ]
    for move in report.moves:
        findings = ", ".join(f"{count} {severity}" for severity, count in move.findings.items()) or "no finding"
        lines.append(
            f"  {move.moved_at:%Y-%m-%d} {move.pricing_model:10} {move.price_count:>4} prices "
            f"x{move.lowest_ratio:.2f} to x{move.highest_ratio:.2f}: {move.held_count} held back; "
            f"findings of the day: {findings}"
        )
    lines.append("Findings (one per incident) and the prices in them")
    for rule, severity, count, series in report.findings:
        lines.append(f"  {severity:8}{rule:32}{count:>4}{series:>7,}")
    return lines


def report_trials(lines: list[TrialLine], seconds: float, *, seed: int) -> list[str]:
    """The trials as lines of text."""
    total = sum(line.trials for line in lines)
    text = [
        f"Injected faults: {total:,} trials, seed {seed} ({seconds:.0f} s); parents: findings of fault and recovery",
        f"  {'fault':24}{'where':16}{'trials':>7}{'found':>8}{'cause named':>13}{'parents each':>14}{'most':>6}",
    ]
    for line in lines:
        named = f"{line.cause_right / line.found:.1%}" if line.found else "-"
        parents = f"{line.parents / line.found:.2f}" if line.found else "-"
        text.append(
            f"  {line.kind:24}{line.scope:16}{line.trials:>7,}{line.found / line.trials:>8.1%}{named:>13}{parents:>14}"
            f"{line.most_parents:>6}"
        )
    found = sum(line.found for line in lines)
    named_count = sum(line.cause_right for line in lines)
    text.append(f"  cause named right in {named_count / max(found, 1):.1%} of {found:,} found")
    return text
