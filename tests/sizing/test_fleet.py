"""The cheapest fleet: Melange's own example, brute force, and what must hold for any fleet."""

import itertools
import math
import random
import time
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizing.fleet import Fleet, GpuOption, NoFleetError, cheapest_fleet, least_gpus, single_type_fleets

# The README example of melange-release (sizing.md 7.5): buckets by input and output size, toy numbers.
BUCKETS = ("short-short", "short-long", "long-short", "long-long")
SHARES = dict(zip(BUCKETS, (0.2, 0.1, 0.5, 0.2), strict=True))
A10G = GpuOption("A10G", Decimal("1.01"), dict(zip(BUCKETS, (2.0, 1.0, 5.0, 2.0), strict=True)))
A100 = GpuOption("A100", Decimal("3.67"), dict(zip(BUCKETS, (20.0, 20.0, 40.0, 20.0), strict=True)))


def rates(total: float) -> dict[str, float]:
    return {bucket: total * share for bucket, share in SHARES.items()}


@pytest.mark.parametrize(
    ("total", "slices", "usd", "units"),
    [
        (30, 1, "6.70", {"A10G": 3, "A100": 1}),
        (30, 4, "5.69", {"A10G": 2, "A100": 1}),
        (60, 1, "11.01", None),
        (60, 4, "10.37", {"A10G": 3, "A100": 2}),
    ],
)
def test_example_of_melange(total: float, slices: int, usd: str, units: dict[str, int] | None) -> None:
    fleet = cheapest_fleet(rates(total), [A10G, A100], slices=slices)
    assert fleet.usd_per_hour == Decimal(usd)
    assert units is None or fleet.units == units
    assert fleet.gap_ratio <= 1e-4


def test_single_types_of_the_example() -> None:
    cheapest, other = single_type_fleets(rates(30), [A10G, A100])
    assert (cheapest.name, cheapest.units, cheapest.usd_per_hour) == ("A100", 2, Decimal("7.34"))
    assert (other.name, other.units, other.usd_per_hour) == ("A10G", 12, Decimal("12.12"))


def brute_force(load: dict[str, float], options: list[GpuOption], slices: int) -> Decimal | None:
    """Every division of every bucket's slices; None where there is none."""
    best: Decimal | None = None
    ways = [
        [parts for parts in itertools.product(range(slices + 1), repeat=len(options)) if sum(parts) == slices]
        for _ in load
    ]
    for chosen in itertools.product(*ways):
        used = [0.0] * len(options)
        for (bucket, rate), parts in zip(load.items(), chosen, strict=True):
            for which, part in enumerate(parts):
                if part and rate:
                    most = options[which].max_requests_per_second.get(bucket, 0.0)
                    used[which] += part / slices * rate / most if most else math.inf
        if any(math.isinf(value) for value in used):
            continue
        units = [math.ceil(value - 1e-9) for value in used]
        if any(o.stock is not None and n > o.stock for o, n in zip(options, units, strict=True)):
            continue
        cost = sum((o.usd_per_hour * n for o, n in zip(options, units, strict=True)), Decimal(0))
        best = cost if best is None or cost < best else best
    return best


@st.composite
def small_worlds(draw: st.DrawFn) -> tuple[dict[str, float], list[GpuOption], int]:
    names = [f"b{number}" for number in range(draw(st.integers(1, 3)))]
    load = {name: draw(st.integers(0, 12)) / 2 for name in names}
    options = [
        GpuOption(
            f"gpu{number}",
            Decimal(draw(st.integers(10, 900))) / 100,
            # Thirds, so that no load is a whole number by accident of rounding.
            {name: draw(st.integers(0, 9)) / 3 for name in names},
            draw(st.none() | st.integers(0, 8)),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    return load, options, draw(st.integers(1, 3))


@given(small_worlds())
@settings(max_examples=150, deadline=None)
def test_no_division_of_the_slices_is_cheaper(world: tuple[dict[str, float], list[GpuOption], int]) -> None:
    load, options, slices = world
    expected = brute_force(load, options, slices)
    if expected is None:
        with pytest.raises(NoFleetError):
            cheapest_fleet(load, options, slices=slices)
        return
    fleet = cheapest_fleet(load, options, slices=slices, max_gap_ratio=0.0)
    assert fleet.usd_per_hour == expected
    check_serves(fleet, load, options)
    assert fleet.fluid_bound_usd_per_hour <= float(fleet.usd_per_hour) + 1e-6


def check_serves(fleet: Fleet, load: dict[str, float], options: list[GpuOption]) -> None:
    """All requests are served, by types that can, within the units rented."""
    used = dict.fromkeys((option.name for option in options), 0.0)
    by_name = {option.name: option for option in options}
    for bucket, rate in load.items():
        if rate:
            assert sum(fleet.shares[bucket].values()) == pytest.approx(1.0)
            for name, share in fleet.shares[bucket].items():
                used[name] += share * rate / by_name[name].max_requests_per_second[bucket]
    for name, value in used.items():
        assert value <= fleet.units.get(name, 0) + 1e-5
        stock = by_name[name].stock
        assert stock is None or fleet.units.get(name, 0) <= stock


def large_world(seed: int, buckets: int = 80) -> tuple[dict[str, float], list[GpuOption]]:
    """Four types, each better where requests are longer and dearer throughout; rates over three decades."""
    rng = random.Random(seed)
    load = {f"b{number}": 10 ** rng.uniform(-1.5, 1.5) for number in range(buckets)}
    options = []
    for name, price, power in (
        ("L4", "0.70", 1.0),
        ("A10G", "1.01", 1.7),
        ("A100", "3.67", 6.5),
        ("H100", "7.516", 14.0),
    ):
        served = {
            bucket: power * (1 + number / buckets) ** math.log2(power + 1) / (1 + number / 8) * rng.uniform(0.8, 1.2)
            for number, bucket in enumerate(load)
            if not (name == "L4" and number > buckets // 2)  # too slow for long requests
        }
        options.append(GpuOption(name, Decimal(price), served))
    return load, options


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_four_types_and_eighty_buckets_within_five_seconds(seed: int) -> None:
    load, options = large_world(seed)
    started = time.perf_counter()
    fleet = cheapest_fleet(load, options)
    assert time.perf_counter() - started < 5
    assert fleet.gap_ratio < 0.01
    check_serves(fleet, load, options)
    assert fleet.usd_per_hour >= Decimal(fleet.fluid_bound_usd_per_hour) - Decimal("0.000001")
    alone = [single.usd_per_hour for single in single_type_fleets(load, options) if single.usd_per_hour is not None]
    assert alone, "at least one type serves all buckets"
    assert fleet.usd_per_hour <= min(alone)


def test_a_type_that_misses_the_target_serves_nothing_of_the_bucket() -> None:
    slow = GpuOption("slow", Decimal("0.10"), {"short": 10.0})  # says nothing of long requests
    fast = GpuOption("fast", Decimal("5"), {"short": 1.0, "long": 1.0})
    fleet = cheapest_fleet({"short": 5.0, "long": 1.0}, [slow, fast])
    assert fleet.shares["long"] == {"fast": 1.0}
    assert fleet.units == {"slow": 1, "fast": 1}
    alone = single_type_fleets({"short": 5.0, "long": 1.0}, [slow, fast])
    assert [(each.name, each.units) for each in alone] == [("fast", 6), ("slow", None)]
    assert alone[1].reason == "cannot keep the latency target for long"


def test_stock_limits_push_to_the_dearer_type() -> None:
    few = GpuOption("cheap", Decimal(1), {"all": 1.0}, stock=2)
    many = GpuOption("dear", Decimal(3), {"all": 1.0})
    assert cheapest_fleet({"all": 5.0}, [few, many], slices=5).units == {"cheap": 2, "dear": 3}


def test_no_load_needs_no_fleet() -> None:
    assert cheapest_fleet({"all": 0.0}, [A10G]) == Fleet()
    assert cheapest_fleet({}, []) == Fleet()
    assert [(each.units, each.usd_per_hour) for each in single_type_fleets({"all": 0.0}, [A10G])] == [(0, Decimal(0))]


@pytest.mark.parametrize(
    ("load", "options", "words"),
    [
        ({"long": 1.0}, [GpuOption("slow", Decimal(1), {})], "no GPU type keeps the latency target for long"),
        ({"all": 5.0}, [GpuOption("rare", Decimal(1), {"all": 1.0}, stock=2)], r"the stock \(2 rare\) is too small"),
        ({"all": 5.0}, [], "no GPU type keeps the latency target for all"),
    ],
)
def test_a_load_that_no_fleet_serves_is_told(load: dict[str, float], options: list[GpuOption], words: str) -> None:
    with pytest.raises(NoFleetError, match=words):
        cheapest_fleet(load, options)


def test_impossible_numbers_are_told() -> None:
    with pytest.raises(ValueError, match="bucket all: -1"):
        cheapest_fleet({"all": -1.0}, [A10G])
    with pytest.raises(ValueError, match="L4: usd_per_hour is -1"):
        GpuOption("L4", Decimal(-1), {})
    with pytest.raises(ValueError, match="A10G: named twice"):
        cheapest_fleet({"all": 1.0}, [A10G, A10G])


# --- the lower bound --------------------------------------------------------------------------------------------------


def test_lower_bound_by_hand() -> None:
    """What arrives in the second minute is to be done within 30 s: 60 / (60 + 30) GPUs round up to 1, 600 / 90 to 7."""
    assert least_gpus([0, 60, 0], step_seconds=60, max_delay_seconds=30) == 1
    assert least_gpus([0, 600, 0], step_seconds=60, max_delay_seconds=30) == 7
    assert (
        least_gpus([120] * 1000, step_seconds=60, max_delay_seconds=30) == 2
    )  # two keep up for ever, one falls behind
    assert least_gpus([0, 0], step_seconds=60, max_delay_seconds=30) == 0
    assert least_gpus([], step_seconds=60, max_delay_seconds=30) == 0


@given(
    work=st.lists(st.integers(0, 300), min_size=1, max_size=30),
    delay=st.integers(0, 300),
)
def test_one_gpu_less_than_the_bound_is_late(work: list[int], delay: int) -> None:
    """Work-conserving, in order of arrival, each step's work there at its beginning: even so one fewer is late."""
    bound = least_gpus(work, step_seconds=60, max_delay_seconds=delay)
    gpus, done_at = bound - 1, 0.0
    if gpus < 1:
        return
    lateness = []
    for step, amount in enumerate(work):
        done_at = max(done_at, step * 60.0) + amount / gpus
        lateness.append(done_at - (step + 1) * 60.0)  # the latest that its last request can have arrived
    assert max(lateness) > delay
