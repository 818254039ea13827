"""Commitments: reference values, brute force over every choice in exact money, and what must hold for any demand."""

import itertools
import math
import random
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizing.commitments import (
    Backtest,
    Held,
    Market,
    Offer,
    Outlook,
    Spot,
    backtest,
    break_even_decline,
    break_even_utilization,
    choose,
    make_plan,
    reserved_base_savings,
    savings,
)
from sizing.demand import DemandError, LoadCurve, forecast, gpu_demand

# sizing.md 7.4: one day, 218 GPU-hours, peak 16.
DAY = [4, 4, 4, 4, 4, 4, 6, 8, 10, 12, 14, 16, 16, 16, 14, 14, 12, 12, 10, 10, 8, 6, 6, 4]
FOUR = Decimal(4)


def market(reserved: str, on_demand: Decimal = FOUR) -> Market:
    return Market(on_demand, [Offer("reserved", 12, Decimal(reserved))])


@pytest.mark.parametrize(("reserved", "gpus", "usd"), [("1.6", 10, "528"), ("2.4", 6, "697.6")])
def test_reserved_gpus_and_cost_of_the_reference(reserved: str, gpus: int, usd: str) -> None:
    plan = make_plan(LoadCurve.of(DAY), market(reserved))
    assert plan.buy_gpus == {"reserved": gpus}
    assert plan.cost_usd == Decimal(usd)
    assert plan.demand_gpu_hours == 218


def test_savings_of_the_reference_against_each_baseline() -> None:
    """872 autoscaled and 1,536 at peak: 39 / 20 % and 66 / 55 % (sizing.md 4.3)."""
    found = {
        price: {
            saving.baseline: (saving.baseline_usd, round(saving.ratio, 2))
            for saving in reserved_base_savings(
                DAY, on_demand_usd_per_gpu_hour=FOUR, reserved_usd_per_gpu_hour=Decimal(price)
            )
            if saving.ratio is not None
        }
        for price in ("1.6", "2.4")
    }
    assert found["1.6"] == {
        "autoscaled_on_demand": (872, Decimal("0.39")),
        "peak_on_demand": (1536, Decimal("0.66")),
    }
    assert found["2.4"]["autoscaled_on_demand"][1] == Decimal("0.20")
    assert found["2.4"]["peak_on_demand"][1] == Decimal("0.55")


def test_all_reserved_at_the_peak_is_dearer_than_the_optimum() -> None:
    plan = make_plan(LoadCurve.of(DAY), market("2.4"), chosen={"reserved": 16})
    assert plan.cost_usd == Decimal("921.6")


def test_what_was_really_paid_is_a_baseline_of_its_own() -> None:
    found = reserved_base_savings(
        DAY,
        on_demand_usd_per_gpu_hour=FOUR,
        reserved_usd_per_gpu_hour=Decimal("1.6"),
        actual_usd=Decimal(1056),
    )
    assert (found[-1].baseline, found[-1].ratio) == ("actual", Decimal("0.5"))


# --- brute force ------------------------------------------------------------------------------------------------------

prices = st.integers(1, 800).map(lambda cents: Decimal(cents) / 100)
demands = st.lists(st.integers(0, 12), min_size=1, max_size=30)


def exact_cost(
    demand: list[int],
    committed: int,
    fixed: Decimal,
    on_demand: Decimal,
    spot: tuple[Decimal, Decimal] | None = None,
) -> Decimal:
    """The commitment in every hour; above it spot up to its share of the hour's demand, the rest on demand."""
    cost = fixed * committed * len(demand)
    for gpus in demand:
        above = max(Decimal(gpus - committed), Decimal(0))
        if spot is not None and spot[0] < on_demand:
            on_spot = min(above, spot[1] * gpus)
            cost += on_spot * spot[0]
            above -= on_spot
        cost += above * on_demand
    return cost


@given(demand=demands, fixed=prices, on_demand=prices)
def test_no_other_number_is_cheaper(demand: list[int], fixed: Decimal, on_demand: Decimal) -> None:
    best = min(exact_cost(demand, gpus, fixed, on_demand) for gpus in range(max(demand) + 1))
    plan = make_plan(LoadCurve.of(demand), Market(on_demand, [Offer("r", 12, fixed)]))
    assert plan.cost_usd == best
    assert plan.demand_gpu_hours == sum(demand)


@given(demand=demands, fixed=prices, on_demand=prices, spot=prices, quarters=st.integers(0, 4))
def test_no_other_number_is_cheaper_with_spot(
    demand: list[int], fixed: Decimal, on_demand: Decimal, spot: Decimal, quarters: int
) -> None:
    share = Decimal(quarters) / 4
    best = min(exact_cost(demand, gpus, fixed, on_demand, (spot, share)) for gpus in range(max(demand) + 1))
    tier = Spot(spot, float(share), interruptions_per_gpu_hour=0)
    plan = make_plan(LoadCurve.of(demand), Market(on_demand, [Offer("r", 12, fixed)], tier))
    assert plan.cost_usd == best


@given(demand=demands, fixed=prices, on_demand=prices, step=st.integers(2, 5), held=st.integers(0, 6))
def test_no_other_number_of_whole_machines_is_cheaper_above_what_is_held(
    demand: list[int], fixed: Decimal, on_demand: Decimal, step: int, held: int
) -> None:
    rate = Decimal("0.5")
    choices = range(0, max(demand) + step, step)
    sunk = rate * held * len(demand)
    left = [max(gpus - held, 0) for gpus in demand]
    best = min(sunk + exact_cost(left, gpus, fixed, on_demand) for gpus in choices)
    plan = make_plan(
        LoadCurve.of(demand),
        Market(on_demand, [Offer("r", 12, fixed)], step_gpus=step),
        held=[Held("old", held, rate)],
    )
    assert plan.cost_usd == best
    assert all(gpus % step == 0 for gpus in plan.buy_gpus.values())


@given(
    demand=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    fixed=st.lists(prices, min_size=2, max_size=3),
    usage=st.lists(prices, min_size=3, max_size=3),
    on_demand=prices,
)
@settings(max_examples=60, deadline=None)
def test_no_other_mix_of_offers_is_cheaper(
    demand: list[int], fixed: list[Decimal], usage: list[Decimal], on_demand: Decimal
) -> None:
    """Offers with and without a price of use; every hour uses the cheapest there is first (merit order)."""
    offers = [Offer(f"o{n}", 12, rate, usage_usd_per_gpu_hour=usage[n]) for n, rate in enumerate(fixed)]

    def cost(counts: tuple[int, ...]) -> Decimal:
        total = sum((o.recurring_usd_per_gpu_hour * n for o, n in zip(offers, counts, strict=True)), Decimal(0)) * len(
            demand
        )
        order = sorted(zip(offers, counts, strict=True), key=lambda pair: pair[0].usage_usd_per_gpu_hour)
        for gpus in demand:
            left = gpus
            for offer, count in order:
                if offer.usage_usd_per_gpu_hour < on_demand:
                    total += min(left, count) * offer.usage_usd_per_gpu_hour
                    left -= min(left, count)
            total += left * on_demand
        return total

    best = min(cost(counts) for counts in itertools.product(range(max(demand) + 1), repeat=len(offers)))
    assert make_plan(LoadCurve.of(demand), Market(on_demand, offers)).cost_usd == best


@given(demand=demands, fixed=prices, on_demand=prices)
def test_savings_never_pass_the_discount(demand: list[int], fixed: Decimal, on_demand: Decimal) -> None:
    """Against autoscaled on demand: at most 1 - committed / on-demand price, and never a loss."""
    load = LoadCurve.of(demand)
    priced = Market(on_demand, [Offer("r", 12, fixed)])
    saving = savings(load, priced, make_plan(load, priced).cost_usd)[0]
    if saving.ratio is not None:
        assert 0 <= saving.ratio <= max(1 - fixed / on_demand, 0)


@given(
    demand=st.lists(st.floats(0, 50), min_size=1, max_size=60),
    reserved=prices,
    spot=prices,
    share=st.floats(0, 1),
    held=st.integers(0, 20),
    remaining=st.none() | st.floats(0.1, 80),
)
def test_the_tiers_serve_the_demand_and_nothing_else(
    demand: list[float], reserved: Decimal, spot: Decimal, share: float, held: int, remaining: float | None
) -> None:
    plan = make_plan(
        LoadCurve.of(demand),
        Market(FOUR, [Offer("r", 12, reserved)], Spot(spot, share)),
        held=[Held("old", held, Decimal(1), remaining)],
    )
    assert float(plan.demand_gpu_hours) == pytest.approx(sum(demand), abs=1e-5)
    for tier in plan.tiers:
        assert 0 <= tier.used_gpu_hours <= tier.paid_gpu_hours + Decimal("0.00001")


# --- several terms, upfront, prices to come ---------------------------------------------------------------------------


def test_upfront_is_spread_over_the_term() -> None:
    """8,760 dollars for a year of 8,760 hours are one dollar an hour."""
    offer = Offer("all_upfront", 12, Decimal("0.5"), upfront_usd_per_gpu=Decimal(8760))
    assert offer.fixed_usd_per_gpu_hour == Decimal("1.5")
    assert break_even_utilization(offer, Decimal(6)) == Decimal("0.25")
    assert break_even_utilization(offer, Decimal(1)) is None


def test_each_layer_takes_its_own_offer() -> None:
    """GPUs busy all day, half of it, a quarter. An hour costs 100 on demand, 60 committed, or 15 committed and
    60 more when used: all day 60 < 75 < 100, half of it 45 < 50 < 60, a quarter 25 < 30 < 60."""
    load = LoadCurve.of([3] * 6 + [2] * 6 + [1] * 12)
    heavy = Offer("heavy", 12, Decimal(60))
    light = Offer("light", 12, Decimal(15), usage_usd_per_gpu_hour=Decimal(60))
    plan = make_plan(load, Market(Decimal(100), [light, heavy]))
    assert plan.buy_gpus == {"heavy": 1, "light": 1}
    assert plan.cost_usd == 60 * 24 + (15 * 24 + 60 * 12) + 100 * 6
    assert [(tier.name, tier.used_gpu_hours) for tier in plan.tiers] == [("heavy", 24), ("light", 12), ("on_demand", 6)]


@pytest.mark.parametrize(("price_3y", "expected"), [("1.80", "three"), ("1.90", "one")])
def test_three_years_beat_one_only_below_the_mean_of_the_prices_to_come(price_3y: str, expected: str) -> None:
    """Prices fall a quarter a year; a year costs 2.40: 2.40 x (1 + 0.75 + 0.5625) / 3 = 1.85 on average."""
    offers = [Offer("one", 12, Decimal("2.40")), Offer("three", 36, Decimal(price_3y))]
    chosen = choose(LoadCurve.of([4] * 24), Market(FOUR, offers, outlook=Outlook(price_decline_per_year=0.25)))
    assert chosen == {expected: 4}


def test_decline_at_which_one_year_is_as_good_as_three() -> None:
    three, one = Offer("three", 36, Decimal("1.85")), Offer("one", 12, Decimal("2.40"))
    assert break_even_decline(three, one) == pytest.approx(0.25)
    assert break_even_decline(Offer("three", 36, Decimal("2.50")), one) is None
    # 0.70 for three years: the first year alone costs 2.40 / 3 = 0.80 of the average.
    assert break_even_decline(Offer("three", 36, Decimal("0.70")), one) is None


def test_a_new_generation_makes_the_long_term_worse() -> None:
    """One year in two brings work at half the price: years cost 1, 1 - 0.5 x 0.5 and 1 - 0.75 x 0.5 of today's."""
    outlook = Outlook(new_generation_per_year=0.5, new_generation_gain=0.5)
    assert [outlook.price_index(year) for year in range(3)] == [1.0, 0.75, 0.625]
    assert outlook.mean_index(12, 36) == pytest.approx(2.375 / 3)
    offers = [Offer("one", 12, Decimal("2.00")), Offer("three", 36, Decimal("1.70"))]
    always = LoadCurve.of([1] * 24)
    assert choose(always, Market(FOUR, offers)) == {"three": 1}
    assert choose(always, Market(FOUR, offers, outlook=outlook)) == {"one": 1}  # 2.00 x 0.79 = 1.58


def test_of_equal_offers_the_shorter_and_of_equal_prices_on_demand() -> None:
    offers = [Offer("three", 36, Decimal(2)), Offer("one", 12, Decimal(2))]
    assert choose(LoadCurve.of([1] * 24), Market(FOUR, offers)) == {"one": 1}
    assert choose(LoadCurve.of([1] * 12 + [0] * 12), Market(FOUR, offers)) == {}


# --- what is held already ---------------------------------------------------------------------------------------------


def test_what_is_held_is_used_first_and_more_is_bought_only_above_it() -> None:
    """R* is 10 for this day: 4 are held, so 6 more."""
    plan = make_plan(LoadCurve.of(DAY), market("1.6"), held=[Held("old", 4, Decimal("1.5"))])
    assert plan.buy_gpus == {"reserved": 6}
    old, new = plan.tiers[:2]
    assert (old.kind, old.paid_gpu_hours, old.used_gpu_hours, old.cost_usd) == ("held", 96, 96, 144)
    assert new.used_gpu_hours == 218 - 96 - plan.tiers[2].used_gpu_hours


def test_only_the_remaining_term_counts() -> None:
    """Half the day is left of 4 GPUs at 1.5: 4 x 12 x 1.5. Then they are renewed with the offer."""
    plan = make_plan(LoadCurve.of(DAY), market("1.6"), held=[Held("old", 4, Decimal("1.5"), remaining_hours=12)])
    assert plan.buy_gpus == {"reserved": 6}
    assert plan.renew_gpus == {"reserved": 4}
    assert plan.tiers[0].cost_usd == 72
    # 528 for ten at 1.6; 4 x 12 hours at 1.5 instead of 1.6.
    assert plan.cost_usd == Decimal("528") - Decimal("4.8")


def test_too_much_held_is_paid_and_nothing_is_bought() -> None:
    plan = make_plan(LoadCurve.of(DAY), market("1.6"), held=[Held("old", 20, Decimal(1))])
    assert plan.buy_gpus == {}
    assert plan.cost_usd == 20 * 24
    assert plan.tiers[0].used_gpu_hours == 218


# --- spot -------------------------------------------------------------------------------------------------------------


def test_spot_pays_for_its_interruptions() -> None:
    """Taken away once in 10 hours, half an hour lost: 5 % more GPU-hours. 100 useful ones at 1 cost 105."""
    spot = Spot(Decimal(1), 1.0, interruptions_per_gpu_hour=0.1, recovery_hours=0.5)
    assert spot.reserve_ratio == pytest.approx(0.05)
    plan = make_plan(LoadCurve.of([10] * 10), Market(Decimal(3), [], spot))
    (tier,) = plan.tiers
    assert (tier.kind, tier.used_gpu_hours, tier.paid_gpu_hours, tier.cost_usd) == ("spot", 100, 105, 105)


def test_spot_dearer_than_on_demand_is_not_used() -> None:
    plan = make_plan(LoadCurve.of(DAY), Market(Decimal(1), [], Spot(Decimal("0.99"), 1.0, 0.1, 0.5)))
    assert [tier.kind for tier in plan.tiers] == ["on_demand"]


# --- zero, nothing, impossible ----------------------------------------------------------------------------------------


def test_no_load_costs_nothing_and_saves_of_nothing() -> None:
    load = LoadCurve.of([0.0] * 24)
    plan = make_plan(load, market("1.6"))
    assert (plan.tiers, plan.cost_usd, plan.buy_gpus) == ((), 0, {})
    assert [saving.ratio for saving in savings(load, market("1.6"), plan.cost_usd)] == [None, None]


def test_without_an_offer_all_is_on_demand() -> None:
    plan = make_plan(LoadCurve.of(DAY), Market(FOUR))
    assert plan.cost_usd == 872
    assert plan.buy_gpus == {}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Offer("r", 0, Decimal(1)), "r: term_months is 0"),
        (lambda: Offer("r", 12, Decimal(-1)), "recurring_usd_per_gpu_hour is -1"),
        (lambda: Market(Decimal("NaN")), "on_demand_usd_per_gpu_hour is NaN"),
        (lambda: Market(FOUR, [Offer("r", 12, FOUR), Offer("r", 36, FOUR)]), "two are called the same"),
        (lambda: Spot(FOUR, 1.5), "max_share is 1.5"),
        (lambda: Outlook(price_decline_per_year=1.0), "price_decline_per_year is 1.0"),
        (lambda: Held("old", -1, FOUR), "old: gpus is -1"),
        (lambda: LoadCurve.of([1, -2]), "hour 2 of the demand is -2"),
        (lambda: LoadCurve.of([math.nan]), "no hour of the demand is known"),
        (lambda: make_plan(LoadCurve.of(DAY), Market(FOUR), chosen={"x": 1}), "x: no offer of this name"),
    ],
)
def test_impossible_input_is_told(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]


# --- tokens to GPUs, forecast -----------------------------------------------------------------------------------------


def test_gpus_for_tokens_by_hand() -> None:
    """1,000 tokens a second per GPU at 80 % are 2.88 M an hour; replicas of two GPUs take 5.76 M."""
    assert gpu_demand(
        [0, 1, 5_760_000, 5_760_001, math.nan], tokens_per_second_per_gpu=1000, gpus_per_replica=2, min_replicas=1
    ) == pytest.approx([2, 2, 2, 4, math.nan], nan_ok=True)
    with pytest.raises(DemandError, match="tokens_per_second_per_gpu is 0"):
        gpu_demand([1], tokens_per_second_per_gpu=0)


@given(
    demand=st.lists(st.floats(0, 40), min_size=1, max_size=30),
    edges=st.lists(st.floats(0, 50), min_size=2, max_size=6),
)
def test_layers_of_a_load_curve_are_areas(demand: list[float], edges: list[float]) -> None:
    edges = sorted(edges)
    expected = [sum(min(max(gpus - low, 0), high - low) for gpus in demand) for low, high in itertools.pairwise(edges)]
    assert LoadCurve.of(demand).hours_between(np.array(edges)).tolist() == pytest.approx(expected, abs=1e-9)


def test_unknown_hours_are_left_out_not_zero() -> None:
    curve = LoadCurve.of([4, math.nan, 2])
    assert (curve.total_hours, curve.gpu_hours, curve.peak_gpus) == (2, 6, 4)


def test_forecast_has_the_last_level_and_the_shapes_of_before() -> None:
    """Two weeks, the second twice the first: the next is like the second; with one more of another shape, a mix."""
    week = np.array(DAY * 7, dtype=float)
    curve = forecast(np.concatenate([week, 2 * week]))
    assert curve.total_hours == pytest.approx(168)
    assert (curve.peak_gpus, curve.gpu_hours) == (32, pytest.approx(2 * week.sum()))
    flat = np.full(168, 10.0)
    mixed = forecast(np.concatenate([week, flat]))
    assert mixed.gpu_hours == pytest.approx(flat.sum())
    assert mixed.peak_gpus == pytest.approx(16 * 10 / week.mean())
    assert forecast(DAY).peak_gpus == 16  # less than two weeks: as it was


def test_a_repeated_week_has_no_regret() -> None:
    found = backtest(DAY * 7 * 6, market("1.6"))
    assert found.is_by_week
    assert len(found.stretches) == 3
    assert found.regret_ratio == 0
    assert {stretch.committed_gpus for stretch in found.stretches} == {10}


def test_regret_by_hand() -> None:
    """Ten GPUs, then twenty: 10 reserved at 1.6 and 10 on demand at 4 are 56 an hour, 32 would have done."""
    found = backtest([10.0] * 336 + [20.0] * 168, market("1.6"))
    held_out = found.stretches[-1]
    assert (held_out.committed_gpus, held_out.foresight_gpus) == (10, 20)
    assert (held_out.cost_usd, held_out.foresight_usd) == (56 * 168, 32 * 168)
    # The week before was foreseen: together (32 / 2 + 56) / (32 / 2 + 32) - 1.
    assert found.regret_ratio == Decimal("0.5")


def test_less_than_two_weeks_go_by_days_and_less_than_two_days_not_at_all() -> None:
    found = backtest(DAY * 5, market("1.6"))
    assert not found.is_by_week
    assert (len(found.stretches), found.regret_ratio) == (2, 0)
    with pytest.raises(DemandError, match="two whole days are needed"):
        backtest(DAY, market("1.6"))


def test_a_demand_of_zero_has_no_regret_to_state() -> None:
    assert backtest([0.0] * 24 * 30, market("1.6")).regret_ratio is None
    assert Backtest((), is_by_week=True).regret_ratio is None


def test_foresight_is_never_dearer_than_the_choice() -> None:
    rng = random.Random(3)
    series = [max(0.0, rng.gauss(10, 4) * (1 + hour / 2000)) for hour in range(168 * 8)]
    found = backtest(series, Market(FOUR, [Offer("one", 12, Decimal("2.2")), Offer("three", 36, Decimal("1.9"))]))
    assert all(stretch.foresight_usd <= stretch.cost_usd for stretch in found.stretches)


def test_a_large_fleet_is_planned_in_a_moment() -> None:
    """A year of hours and 20,000 GPUs."""
    rng = np.random.default_rng(5)
    load = LoadCurve.of(20_000 * rng.random(8760))
    plan = make_plan(load, market("2"))
    assert sum(plan.buy_gpus.values()) == pytest.approx(10_000, rel=0.02)  # the median of an even spread
