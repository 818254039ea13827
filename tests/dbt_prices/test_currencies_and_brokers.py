"""Prices in other currencies, prices of other providers, and what a GPU is, on hand-made raw rows.

November 2026: the 6th is a Friday, the 9th a Monday.
"""

import random
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest

from .conftest import PRICE_MODELS, RawRoom, day, runpod

# day of November -> units for one euro
RATES = {
    6: {"USD": "1.25", "GBP": "0.8"},
    9: {"USD": "1.2", "GBP": "0.8"},
    10: {"USD": "1.2", "GBP": "0.8"},
}
RANDOM_CASES = 60
# About what these cost in euros: nothing but the rate gives reason to look at them.
FEED = {"p5.48xlarge": "44", "p4d.24xlarge": "17.6", "p4de.24xlarge": "22", "g6.xlarge": "0.64", "g6e.xlarge": "1.5"}


def override(amount: str, currency: str, **extra: object) -> dict[str, object]:
    """An instance of eight H100 at AWS by default."""
    return {
        "sku_id": f"aws/p5.48xlarge/{currency}",
        "provider_raw": "aws",
        "instance_type": "p5.48xlarge",
        "region_raw": "eu-central-1",
        "pricing_model_raw": "on_demand",
        "price_amount": amount,
        "price_currency": currency,
        "price_unit_raw": "instance_hour",
        **extra,
    }


def broker(cloud: str, gpu: str, amount: str, **extra: object) -> dict[str, object]:
    return {
        "sku_id": f"{cloud}/{gpu}",
        "provider_raw": cloud,
        "instance_type": f"{gpu}x1",
        "gpu_name_raw": gpu,
        "gpu_count_raw": 1,
        "region_raw": "us-central-1",
        "pricing_model_raw": "vm",
        "price_amount": amount,
        "price_unit_raw": "Instance Hour (stated in cents)",
        **extra,
    }


def random_rates() -> dict[date, dict[str, Decimal]]:
    """Two months of a year before, with holes as weekends and holidays make them."""
    rng = random.Random(7)
    days = [date(2025, 9, 1) + timedelta(days=n) for n in range(60)]
    return {
        day: {
            "USD": Decimal(rng.randint(9000, 13000)) / 10000,
            "GBP": Decimal(rng.randint(80000, 90000)) / 100000,
            "JPY": Decimal(rng.randint(15000, 19000)) / 100,
        }
        for day in days
        if rng.random() < 0.3
    }


def random_cases() -> list[tuple[date, str, Decimal]]:
    rng = random.Random(8)
    return [
        (
            date(2025, 9, 1) + timedelta(days=rng.randrange(75)),
            rng.choice(["EUR", "GBP", "JPY"]),
            Decimal(rng.randint(1, 99_999_999)) / 10**4,
        )
        for _ in range(RANDOM_CASES)
    ]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> RawRoom:
    room = RawRoom(tmp_path_factory.mktemp("currencies") / "warehouse.duckdb")
    rows: list[tuple[object, ...]] = [
        (f"ecb/daily/{number}", day(number, 15), date(2026, 11, number), currency, rate)
        for number, rates in RATES.items()
        for currency, rate in rates.items()
    ]
    # The history states day 6 too, fetched earlier and corrected since.
    rows.append(("ecb/history-90d/0", day(6, 14), date(2026, 11, 6), "USD", "1.3"))
    rows += [
        ("ecb/history-90d/random", day(6, 14), rate_date, currency, rate)
        for rate_date, rates in random_rates().items()
        for currency, rate in rates.items()
    ]
    with room.connect() as con:
        con.executemany("insert into raw.exchange_rates values (?, ?, ?, ?, ?)", rows)
        con.execute(
            "insert into raw.ledger_price_sources values ('override', true, 48), ('shadeform', true, 48), "
            "('primeintellect', true, 48), ('runpod', true, 48), ('ecb', true, 48)"
        )
    # 8 EUR for eight GPUs: a euro an hour each. The file stands from Friday to Monday and says 9 EUR on Tuesday.
    friday = room.fetch("override", "contracts", day(6), records=[override("8", "EUR")])
    for number in (7, 8, 9):
        room.fetch("override", "contracts", day(number), outcome="unchanged", snapshot_id=friday)
    room.fetch("override", "contracts", day(10), records=[override("9", "EUR")])
    room.fetch(
        "override",
        "pounds",
        day(7),
        records=[
            override("10", "GBP"),
            override("1000", "JPY"),
            override(
                "10000",
                "EUR",
                sku_id="reserved",
                pricing_model_raw="reserved",
                term_raw="12",
                payment_option_raw="partial_upfront",
                price_unit_raw="instance_upfront",
                offer_id="reserved",
            ),
            override(
                "8",
                "EUR",
                sku_id="reserved",
                pricing_model_raw="reserved",
                term_raw="12",
                payment_option_raw="partial_upfront",
            ),
        ],
    )
    # A whole feed in euros, fetched anew on Friday and on Monday, when the euro is worth 4 % less.
    for number in (6, 9):
        room.fetch(
            "override",
            "feed",
            day(number),
            records=[
                override(
                    amount,
                    "EUR",
                    sku_id=f"feed/{instance_type}/{model}",
                    instance_type=instance_type,
                    pricing_model_raw=model,
                )
                for instance_type, amount in FEED.items()
                for model in ("on_demand", "spot")
            ],
        )
    room.fetch("override", "late", day(17), records=[override("8", "EUR")])  # the rate of the 10th is seven days old
    room.fetch("override", "too-late", day(18), records=[override("8", "EUR")])
    for number, (fetched, currency, amount) in enumerate(random_cases()):
        room.fetch(
            "override",
            f"random-{number}",
            day(1).replace(year=fetched.year, month=fetched.month, day=fetched.day),
            records=[override(str(amount), currency)],
        )
    room.fetch(
        "runpod",
        "gpu-types",
        day(6),
        records=[
            runpod("NVIDIA H100 80GB HBM3", "secure", "3.49") | {"gpu_memory_gb_raw": "80"},
            runpod("NVIDIA B300 SXM6 AC", "secure", "7.89") | {"gpu_memory_gb_raw": "262.5"},
            runpod("A100 SXM4", "secure", "1.5") | {"gpu_memory_gb_raw": "81920"},
            runpod("A100 SXM4", "community", "1.2") | {"gpu_memory_gb_raw": "40960"},
            runpod("NVIDIA L40S", "secure", "1.09") | {"gpu_memory_gb_raw": "384"},
            runpod("NVIDIA X9", "secure", "5") | {"gpu_memory_gb_raw": "81559"},
            runpod("NVIDIA A40", "secure", "0.49"),
        ],
    )
    room.fetch(
        "shadeform",
        "types",
        day(6),
        records=[
            broker("runpod", "NVIDIA H100 80GB HBM3", "3.6"),
            broker("crusoe", "NVIDIA L40S", "1.5", gpu_count_raw=1),
            broker("lambdalabs", "NVIDIA L40S", "1.6"),
            broker("newcloud", "NVIDIA L40S", "1.7", region_raw="Kansas City, US"),
        ],
    )
    room.fetch(
        "primeintellect",
        "gpus",
        day(6),
        records=[
            broker(
                "crusoecloud", "NVIDIA L40S", "1.55", pricing_model_raw="secure_cloud", price_unit_raw="Instance Hour"
            )
        ],
    )
    room.run_facts(started_at=day(19, 3), as_of=18, window_start=1)
    room.dbt(
        "build", "--select", PRICE_MODELS, "--indirect-selection", "cautious", "--exclude-resource-type", "unit_test"
    )
    return room


PRICE = "price_usd_per_instance_hour, price_usd_per_gpu_hour, fx_rate_usd, fx_rate_date"


def test_a_price_that_stands_is_worth_other_dollars_when_the_rate_moves(room: RawRoom) -> None:
    """8 EUR are 10.00 USD from Friday over the weekend and 9.60 on Monday; 9 EUR are 10.80 on Tuesday."""
    rows = room.query(
        f"select price_amount, price_currency, {PRICE}, valid_from_at, valid_to_at, last_seen_at "
        "from marts.fct_gpu_prices where dataset = 'contracts' order by valid_from_at"
    )
    friday, monday, tuesday = date(2026, 11, 6), date(2026, 11, 9), date(2026, 11, 10)
    assert rows == [
        (8, "EUR", 10, Decimal("1.25"), Decimal("1.25"), friday, day(6), day(9), day(8)),
        (8, "EUR", Decimal("9.6"), Decimal("1.2"), Decimal("1.2"), monday, day(9), day(10), day(9)),
        (9, "EUR", Decimal("10.8"), Decimal("1.35"), Decimal("1.2"), tuesday, day(10), None, day(10)),
    ]


def test_what_the_rate_did_is_no_move_of_the_provider(room: RawRoom) -> None:
    """Monday's fall by 4 % is the dollar's. Tuesday's 9 for 8 is the provider's: 12.5 %, told at Friday's rate."""
    rows = room.query(
        "select rule_id, observed, expected, ratio, first_seen_at from marts.fct_price_anomalies "
        "where dataset = 'contracts'"
    )
    assert rows == [("list_price_jumped", Decimal("11.25"), Decimal(10), Decimal("1.125"), day(10))]


def test_a_feed_that_follows_the_rate_as_a_whole_is_no_slip(room: RawRoom) -> None:
    """Ten prices fall by one same factor of 0.96 on Monday: the euro's, and not another currency in the feed."""
    assert room.query(
        "select count(*), min(ratio), max(ratio) from ("
        "select price_usd_per_instance_hour / lag(price_usd_per_instance_hour) over (partition by series_id "
        "order by valid_from_at) as ratio from marts.fct_gpu_prices where dataset = 'feed')"
    ) == [(20, pytest.approx(0.96), pytest.approx(0.96))]
    rules = {row[0] for row in room.query("select rule_id from marts.fct_price_anomalies where dataset = 'feed'")}
    assert rules <= {"spot_without_discount"}  # spot costs as much as on demand here


def test_other_currencies_go_over_the_euro(room: RawRoom) -> None:
    """1.25 USD / 0.8 GBP = 1.5625 USD for a pound."""
    rows = room.query(f"select {PRICE} from marts.fct_gpu_prices where dataset = 'pounds' and price_currency = 'GBP'")
    assert rows == [(Decimal("15.625"), Decimal("1.953125"), Decimal("1.5625"), date(2026, 11, 6))]


def test_the_parts_of_a_commitment_are_converted_alike(room: RawRoom) -> None:
    """10000 EUR / 8760 h = 1.14155251 EUR, and 8 EUR: 9.14155251 EUR, at 1.25 = 11.42694064 USD."""
    rows = room.query(
        "select price_usd_per_instance_hour, upfront_usd_per_instance, recurring_usd_per_instance_hour "
        "from marts.fct_gpu_prices where dataset = 'pounds' and pricing_model = 'reserved'"
    )
    assert rows == [(Decimal("11.42694064"), Decimal(12500), Decimal(10))]


@pytest.mark.parametrize("where", ["dataset = 'too-late'", "dataset = 'pounds' and price_currency = 'JPY'"])
def test_without_a_rate_there_is_no_price_and_a_reason(room: RawRoom, where: str) -> None:
    rows = room.query(
        f"select {PRICE}, price_null_reason, price_amount is null from marts.fct_gpu_prices where {where}"
    )
    assert rows == [(None, None, None, None, "no_exchange_rate", False)]


def test_a_missing_rate_is_a_finding(room: RawRoom) -> None:
    rows = room.query(
        "select action, details from marts.fct_price_anomalies "
        "where rule_id = 'no_exchange_rate' and dataset = 'pounds'"
    )
    assert [row[0] for row in rows] == ["quarantined"]
    assert "The price is in JPY, for which no rate of the last seven days is known." in str(rows[0][1])


def test_a_rate_holds_for_seven_days(room: RawRoom) -> None:
    rows = room.query(f"select {PRICE} from marts.fct_gpu_prices where dataset = 'late'")
    assert rows == [(Decimal("9.6"), Decimal("1.2"), Decimal("1.2"), date(2026, 11, 10))]


def test_conversion_agrees_with_an_independent_calculation(room: RawRoom) -> None:
    """Random currencies, days and amounts against plain Decimal arithmetic; some days have no rate for a week."""
    rates = random_rates()
    expected: dict[str, tuple[Decimal | None, date | None]] = {}
    for number, (fetched, currency, amount) in enumerate(random_cases()):
        known = [when for when in rates if when <= fetched]
        newest = max(known, default=None)
        if newest is None or (fetched - newest).days > 7:
            expected[f"random-{number}"] = (None, None)
            continue
        units = Decimal(1) if currency == "EUR" else rates[newest][currency]
        rate = (rates[newest]["USD"] / units).quantize(Decimal("1e-10"), ROUND_HALF_UP)
        expected[f"random-{number}"] = ((amount * rate).quantize(Decimal("1e-8"), ROUND_HALF_UP), newest)
    found = {
        str(dataset): (price, rate_date)
        for dataset, price, rate_date in room.query(
            "select dataset, price_usd_per_instance_hour, fx_rate_date from intermediate.int_price_offers "
            "where dataset like 'random-%'"
        )
    }
    assert found == expected
    priced = sum(price is not None for price, _ in expected.values())
    assert 20 < priced < RANDOM_CASES


def test_a_broker_states_whose_price_it_is(room: RawRoom) -> None:
    rows = room.query(
        "select source, provider, is_broker, is_market_price from marts.fct_gpu_prices "
        "where source in ('shadeform', 'primeintellect') or gpu_model = 'H100-SXM-80GB' and source = 'runpod' "
        "order by all"
    )
    assert rows == [
        # Two brokers list Crusoe, which has no source here: one of them counts.
        ("primeintellect", "crusoe", True, True),
        ("runpod", "runpod", False, True),
        ("shadeform", "crusoe", True, False),
        ("shadeform", "lambda", True, True),
        ("shadeform", "newcloud", True, True),
        # RunPod's own source lists the H100.
        ("shadeform", "runpod", True, False),
    ]
    assert room.query("select count(*) from marts.fct_gpu_prices where source = 'override' and is_market_price") == [
        (0,)
    ]
    providers = {row[0] for row in room.query("select provider from marts.dim_providers")}
    assert not providers & {"shadeform", "primeintellect", "override"}


def test_memory_is_snapped_and_kept_as_stated(room: RawRoom) -> None:
    rows = room.query(
        "select price_key, offer_tier, gpu_model, gpu_variant, gpu_memory_gb, gpu_memory_gb_raw "
        "from marts.fct_gpu_prices where source = 'runpod' order by all"
    )
    assert rows == [
        ("A100 SXM4", "community", "A100-SXM-40GB", "SXM", 40, 40960),
        ("A100 SXM4", "secure", "A100-SXM-80GB", "SXM", 80, 81920),
        ("NVIDIA A40", "secure", "A40-48GB", "PCIe", 48, None),
        ("NVIDIA B300 SXM6 AC", "secure", "B300-288GB", "SXM", 288, Decimal("262.5")),
        ("NVIDIA H100 80GB HBM3", "secure", "H100-SXM-80GB", "SXM", 80, 80),
        ("NVIDIA L40S", "secure", "L40S-48GB", "PCIe", 48, 384),
        ("NVIDIA X9", "secure", None, None, 80, 81559),
    ]


def test_words_without_a_meaning_are_listed(room: RawRoom) -> None:
    rows = room.query(
        "select kind, source, raw_value, series_count, is_open, first_seen_at, last_seen_at "
        "from marts.fct_unmapped_prices order by all"
    )
    seen = (1, True, day(6), day(6))
    assert rows == [
        ("gpu_memory", "runpod", "L40S-48GB: 384", *seen),  # of eight GPUs
        ("gpu_name", "runpod", "NVIDIA X9", *seen),
        ("provider", "shadeform", "newcloud", *seen),
        ("region", "shadeform", "Kansas City, US", *seen),
    ]


def test_daily_prices_follow_the_rate(room: RawRoom) -> None:
    daily: Mapping[object, object] = dict(
        room.query(
            "select day(price_date), price_usd_per_gpu_hour from marts.fct_gpu_prices_daily "
            "where source = 'override' and snapshot_id like 'override/contracts/%' and price_date < date '2026-11-11'"
        )
    )
    assert daily == {
        6: Decimal("1.25"),
        7: Decimal("1.25"),
        8: Decimal("1.25"),
        9: Decimal("1.2"),
        10: Decimal("1.35"),
    }
