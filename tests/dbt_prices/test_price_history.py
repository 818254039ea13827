"""A price book that goes on from what it said the day before says the same as one that is made at once.

A hundred days of made-up feeds with what happens to feeds: moves, slips of a whole feed, prices that are wrong for a
day or for weeks, offers that vanish alone or with many others and come back, pulls that fail, say nothing new or come
twice a day, a feed that rests.
"""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from orchestration.warehouse import note_published, write_run

from .conftest import PRICE_MODELS, RawRoom

BEGIN = datetime(2026, 1, 1, 6, tzinfo=UTC)
DAYS = 100
BUILT_ON = (40, 84, 85, 87, DAYS - 1)  # the last runs look back on some of it only
TABLES = ("fct_gpu_prices", "fct_price_anomalies", "fct_unmapped_prices", "fct_gpu_prices_daily")
ON_DEMAND = {
    "p5.48xlarge": "55.04",
    "p4d.24xlarge": "21.96",
    "p4de.24xlarge": "27.4",
    "g6.xlarge": "0.8048",
    "g6e.xlarge": "1.861",
    "g5.xlarge": "1.006",
    "p9.48xlarge": "80",  # no seed knows it
}
FEEDS = {("aws", "ec2-us-east-1"): "us-east-1", ("aws", "ec2-us-west-2"): "us-west-2", ("override", "euros"): "de"}


class World:
    """Prices that change from pull to pull; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.prices = {
            (*feed, instance_type, model): Decimal(amount) * (1 if model == "on_demand" else Decimal("0.5"))
            for feed in FEEDS
            for instance_type, amount in ON_DEMAND.items()
            for model in ("on_demand", "spot")
        }
        self.gone: dict[tuple[str, ...], datetime] = {}
        self.wrong: dict[tuple[str, ...], tuple[datetime, Decimal]] = {}
        self.slipped: dict[tuple[str, str], tuple[datetime, Decimal]] = {}

    def happens(self, probability: float) -> bool:
        return self.random.random() < probability

    def days(self, *numbers: int) -> timedelta:
        return timedelta(days=self.random.choice(numbers))

    def next_pull(self, feed: tuple[str, str], at: datetime) -> list[Mapping[str, object]]:
        """The records of the feed as it stands at `at`."""
        for key in [key for key in self.prices if key[:2] == feed]:
            if key[3] == "spot" and self.happens(0.3):
                self.prices[key] *= Decimal(self.random.choice(["0.96", "1.03", "1.05"]))
            if self.happens(0.01):
                self.prices[key] *= Decimal(self.random.choice(["0.6", "0.8", "0.97", "1.2", "1.5"]))
            if self.happens(0.01):
                self.gone.setdefault(key, at + self.days(1, 3, 20, 40))
            if self.happens(0.01):
                factor = Decimal(self.random.choice(["0", "100", "0.1", "2"]))
                self.wrong.setdefault(key, (at + self.days(1, 3, 10, 38), factor))
        if self.happens(0.02):
            factor = Decimal(self.random.choice(["730", "8", "0.92", "1.37"]))
            self.slipped.setdefault(feed, (at + self.days(1, 4, 20), factor))
        if self.happens(0.06):
            for key in [key for key in self.prices if key[:2] == feed and key[2].startswith("p")]:
                self.gone[key] = at + self.days(2, 10)
        return [self.record(key, at) for key in self.prices if key[:2] == feed and self.gone.get(key, at) <= at]

    def record(self, key: tuple[str, ...], at: datetime) -> dict[str, object]:
        source, dataset, instance_type, model = key
        amount = self.prices[key]
        for until, factor in filter(None, (self.wrong.get(key), self.slipped.get((source, dataset)))):
            amount *= factor if until > at else 1
        record: dict[str, object] = {
            "sku_id": f"{instance_type}-{model}",
            "instance_type": instance_type,
            "region_raw": FEEDS[source, dataset],
            "price_amount": str(round(amount, 6)),
        }
        if source == "override":
            return record | {
                "provider_raw": "aws",
                "pricing_model_raw": model,
                "price_unit_raw": "hour",
                "price_currency": "EUR",
            }
        return record | {
            # The source's own date may lie before the first pull.
            "effective_at": BEGIN - timedelta(days=200) if instance_type.startswith("g") else None,
            "pricing_model_raw": "OnDemand",
            "price_unit_raw": "Hrs",
            "operating_system_raw": "Linux",
            "tenancy_raw": "Shared",
        }


def pull(
    world: World, rooms: tuple[RawRoom, ...], feed: tuple[str, str], at: datetime, last: dict[object, str]
) -> None:
    """One pull of a feed into all rooms: failed, unchanged or with prices."""
    if world.happens(0.04):
        outcome: dict[str, object] = {"outcome": "failed", "message": "HTTP 503"}
    elif feed in last and world.happens(0.2):
        outcome = {"outcome": "unchanged", "snapshot_id": last[feed]}
    else:
        outcome = {"records": world.next_pull(feed, at)}
    for room in rooms:
        snapshot_id = room.fetch(*feed, at, **outcome)  # type: ignore[arg-type]
    if "records" in outcome:
        last[feed] = str(snapshot_id)


def fix_rate(world: World, rooms: tuple[RawRoom, ...], at: datetime) -> None:
    """The euro's rate of the day."""
    rate = str(Decimal("1.1") + Decimal(world.random.randrange(-30, 30)) / 1000)
    for room in rooms:
        with room.connect() as con:
            con.execute(
                "insert into raw.exchange_rates by name "
                "select ? as snapshot_id, ? as fetched_at, ? as rate_date, 'USD' as currency, ? as units_per_eur",
                [f"ecb/{at:%Y%m%d}", at, at.date(), rate],
            )
            con.execute("insert into raw.pending_price_changes values (?, null)", [at.replace(hour=0)])


def build(room: RawRoom, at: datetime, *, with_tests: bool = True) -> None:
    """What a run does after it has loaded: its window, dbt, and the note that all is published."""
    left_out = ("unit_test",) if with_tests else ("unit_test", "test")
    with room.connect() as con:
        write_run(con, run_id=f"run-{at:%Y%m%d}", started_at=at, as_of_date=at.date())
    room.dbt(
        *("build", "--exclude-resource-type", *left_out, "--indirect-selection", "buildable"),
        *("--select", PRICE_MODELS),
    )
    with room.connect() as con:
        note_published(con, "the same SQL")


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> tuple[RawRoom, RawRoom]:
    """One room built on some of the days, and one built at the end."""
    world = World(seed=7)
    daily, whole = rooms = tuple(
        RawRoom(tmp_path_factory.mktemp(name) / "warehouse.duckdb") for name in ("daily", "whole")
    )
    last: dict[tuple[str, str], str] = {}
    for before, built_on in pairwise((-1, *BUILT_ON)):
        with daily.connect(), whole.connect():  # kept open: to open a file for each pull takes a fifth of this test
            for number in range(before + 1, built_on + 1):
                at = BEGIN + timedelta(days=number)
                fix_rate(world, rooms, at - timedelta(hours=2))
                for feed in FEEDS:
                    if feed == ("aws", "ec2-us-west-2") and 8 <= number < 86:
                        continue  # it rests for longer than a run looks back
                    pull(world, rooms, feed, at, last)
                    if world.happens(0.1):
                        pull(world, rooms, feed, at + timedelta(hours=world.random.choice([1, 8])), last)
        build(daily, at + timedelta(hours=17), with_tests=built_on == BUILT_ON[-1])
    build(whole, at + timedelta(hours=17))
    return daily, whole


@pytest.mark.parametrize("table", TABLES)
def test_day_by_day_says_what_all_at_once_says(rooms: tuple[RawRoom, RawRoom], table: str) -> None:
    daily, whole = (room.query(f"select * from marts.{table} order by all") for room in rooms)
    assert len(whole) > 0
    assert daily == whole


def test_the_world_has_what_it_is_about(rooms: tuple[RawRoom, RawRoom]) -> None:
    """Findings of every layer, offers that went and prices that were held back: else the comparison shows little."""
    room = rooms[1]
    layers = {row[0] for row in room.query("select layer from marts.fct_price_anomalies")}
    assert {"L0", "L1", "L3", "L3b", "coverage"} <= layers
    assert room.query("select count(*) > 5 from marts.fct_gpu_prices where valid_to_at is not null") == [(True,)]
    assert room.query(
        "select max(last_seen_at) - min(first_seen_at) > interval 30 day from marts.fct_price_anomalies "
        "where action = 'quarantined' and series_count = 1 group by finding_id order by 1 desc limit 1"
    ) == [(True,)]


def test_a_run_looks_at_the_last_weeks_only(rooms: tuple[RawRoom, RawRoom]) -> None:
    """Of a hundred days the last run read some seventy, and of the feed that rested its last five pulls as well."""
    daily, whole = (
        room.query("select dataset, count(*) from intermediate.int_price_snapshots group by dataset order by dataset")
        for room in rooms
    )
    assert all(few < many for (_, few), (_, many) in zip(daily, whole, strict=True))
