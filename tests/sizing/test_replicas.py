"""Replicas for a load: queues against published values, brute force and a simulation; spare capacity by hand."""

import heapq
import itertools
import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizing.replicas import (
    MixPart,
    NoCapacityError,
    OperatingPoint,
    Period,
    Queue,
    Target,
    erlang_b,
    erlang_c,
    min_servers,
    planned_point,
    provisioned,
    queue_of_mix,
    replicas_for_load,
    replicas_for_mix,
    square_root_staffing,
    started_in_time,
    whole_machines,
    with_spares,
)


def exact_erlang_c(servers: int, load: Fraction) -> Fraction:
    """Erlang's formula as he wrote it, in fractions."""
    waiting = load**servers / math.factorial(servers) * servers / (servers - load)
    return waiting / (sum(load**n / math.factorial(n) for n in range(servers)) + waiting)


# Reference values: sizing.md section 7.3.
@pytest.mark.parametrize(
    ("servers", "load", "expected"),
    [
        (1, 0.5, 0.500000),
        (2, 1, 0.333333),
        (3, 2.5, 0.702247),
        (5, 4, 0.554113),
        (10, 8, 0.409180),
        (20, 18, 0.550769),
        (100, 90, 0.216940),
    ],
)
def test_erlang_c_of_the_tables(servers: int, load: float, expected: float) -> None:
    assert erlang_c(servers, load) == pytest.approx(expected, abs=5e-7)
    assert float(exact_erlang_c(servers, Fraction(load))) == pytest.approx(expected, abs=5e-7)


@given(servers=st.integers(1, 300), percent=st.integers(1, 99))
def test_erlang_c_is_exact_to_twelve_digits(servers: int, percent: int) -> None:
    load = Fraction(servers * percent, 100)
    assert erlang_c(servers, float(load)) == pytest.approx(float(exact_erlang_c(servers, load)), rel=1e-11)


def test_erlang_c_of_thousands_of_servers_neither_overflows_nor_cancels() -> None:
    """Halfin and Whitt (1981): at c = a + b sqrt(a) it tends to 1 / (1 + b Phi(b) / phi(b)); 0.223361 at b = 1."""
    load = 1_000_000.0
    phi, cdf = math.exp(-0.5) / math.sqrt(2 * math.pi), 0.8413447460685429
    limit = 1 / (1 + cdf / phi)
    assert limit == pytest.approx(0.223361, abs=1e-6)
    assert erlang_c(math.ceil(load + math.sqrt(load)), load) == pytest.approx(limit, abs=2e-4)
    assert erlang_c(5_000, 1.0) == 0.0


def test_erlang_b_by_hand() -> None:
    """Two servers and one erlang: (1/2) / (1 + 1 + 1/2)."""
    assert erlang_b(2, 1.0) == pytest.approx(0.2)
    assert erlang_b(0, 3.0) == 1.0


# Reference values: sizing.md section 7.3.
@pytest.mark.parametrize(
    ("rate", "service", "wait", "share", "expected"),
    [(10, 1, 0.5, 0.01, 15), (100, 1, 0.5, 0.01, 108), (50, 4, 1, 0.05, 209)],
)
def test_fewest_servers_of_the_tables(rate: float, service: float, wait: float, share: float, expected: int) -> None:
    assert min_servers(rate, service, max_wait_seconds=wait, max_share=share) == expected


@given(
    rate=st.floats(0.01, 60),
    service=st.floats(0.05, 8),
    wait=st.floats(0, 5),
    share=st.floats(0.001, 0.5),
    scv=st.floats(0, 4),
)
def test_fewest_servers_keep_the_promise_and_one_less_does_not(
    rate: float, service: float, wait: float, share: float, scv: float
) -> None:
    servers = min_servers(rate, service, max_wait_seconds=wait, max_share=share, service_scv=scv)
    assert Queue(servers, rate, service, scv).probability_wait_exceeds(wait) <= share * (1 + 1e-9)
    assert Queue(servers - 1, rate, service, scv).probability_wait_exceeds(wait) > share * (1 - 1e-9)


def simulated_waits(queue: Queue, requests: int, seed: int) -> list[float]:
    """First come, first served, event by event; exponential times."""
    rng = random.Random(seed)
    free_at = [0.0] * queue.servers
    now, waits = 0.0, []
    for _ in range(requests):
        now += rng.expovariate(queue.arrivals_per_second)
        start = max(now, min(free_at))
        free_at[free_at.index(min(free_at))] = start + rng.expovariate(1 / queue.service_seconds)
        waits.append(start - now)
    return waits[requests // 10 :]


def test_waits_agree_with_a_simulation() -> None:
    queue = Queue(servers=6, arrivals_per_second=2.5, service_seconds=2.0)
    waits = sorted(simulated_waits(queue, 200_000, seed=7))
    assert sum(waits) / len(waits) == pytest.approx(queue.mean_wait_seconds, rel=0.05)
    assert sum(wait > 0 for wait in waits) / len(waits) == pytest.approx(queue.wait_probability, rel=0.03)
    assert waits[int(0.99 * len(waits))] == pytest.approx(queue.wait_quantile_seconds(0.99), rel=0.05)


def test_one_server_with_constant_service_waits_half_as_long() -> None:
    """Pollaczek-Khinchine: at load 0.8, M/M/1 waits 4 service times on average, M/D/1 two."""
    assert Queue(1, 0.8, 1.0).mean_wait_seconds == pytest.approx(4.0)
    assert Queue(1, 0.8, 1.0, service_scv=0).mean_wait_seconds == pytest.approx(2.0)


def test_wait_quantile_by_hand() -> None:
    """M/M/1 at load 1/2: P(W > t) = exp(-t / 2) / 2 with a service of 1 s; 1 % after 2 ln 50 = 7.824 s."""
    queue = Queue(1, 0.5, 1.0)
    assert queue.wait_quantile_seconds(0.99) == pytest.approx(7.824046)
    assert queue.probability_wait_exceeds(7.824046) == pytest.approx(0.01)
    assert queue.wait_quantile_seconds(0.4) == 0.0  # half do not wait at all
    assert queue.mean_concurrency == pytest.approx(1.0)  # Little: 0.5 x (1 + 1)


def test_no_load_waits_nowhere_and_needs_nothing() -> None:
    queue = Queue(4, 0.0, 2.0)
    assert (queue.wait_probability, queue.mean_wait_seconds, queue.wait_quantile_seconds(0.99)) == (0, 0, 0)
    assert min_servers(0, 2.0, max_wait_seconds=1, max_share=0.01) == 0
    assert Queue(0, 0.0, 2.0).is_stable
    assert with_spares(0, spare_replicas=1, zones=3) == 0


def test_more_load_than_servers_never_ends() -> None:
    queue = Queue(4, 2.0, 2.0)  # load 4 of 4: the queue grows without end
    assert not queue.is_stable
    assert queue.wait_probability == 1.0
    assert queue.mean_wait_seconds == queue.wait_quantile_seconds(0.5) == queue.mean_concurrency == math.inf
    assert queue.probability_wait_exceeds(1e9) == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"arrivals_per_second": -1}, "arrivals_per_second is -1"),
        ({"arrivals_per_second": math.nan}, "arrivals_per_second is nan"),
        ({"service_seconds": 0}, "service_seconds is 0"),
        ({"max_share": 0}, "max_share is 0"),
        ({"max_wait_seconds": -1}, "max_wait_seconds is -1"),
    ],
)
def test_impossible_questions_are_answered_in_words(arguments: dict[str, float], words: str) -> None:
    good = {"arrivals_per_second": 1.0, "service_seconds": 1.0, "max_wait_seconds": 1.0, "max_share": 0.01}
    with pytest.raises(ValueError, match=words):
        min_servers(**(good | arguments))  # type: ignore[arg-type]


# --- replicas ---------------------------------------------------------------------------------------------------------

POINTS = [OperatingPoint(8, 0.2, 0.02), OperatingPoint(32, 0.5, 0.03), OperatingPoint(128, 2.0, 0.06)]


def test_capacity_of_a_replica_is_little_by_hand() -> None:
    """32 at once, each 0.5 s + 250 x 0.03 s = 8 s in its slot: 4 requests a second."""
    assert POINTS[1].requests_per_second(251) == pytest.approx(4.0)


def test_planned_batch_is_the_largest_that_keeps_the_target_and_fits() -> None:
    assert planned_point(POINTS, Target()).concurrency == 128
    assert planned_point(POINTS, Target(max_tpot_seconds=0.03)).concurrency == 32
    assert planned_point(POINTS, Target(max_ttft_seconds=0.3)).concurrency == 8
    assert planned_point(POINTS, Target(), kv_slots=100).concurrency == 32


@pytest.mark.parametrize(
    ("points", "target", "kv_slots", "words"),
    [
        ([], Target(), None, "no operating point is known"),
        (POINTS, Target(max_tpot_seconds=0.01), None, "already 8 at once take 200 ms to the first token and 20.0 ms"),
        (POINTS, Target(), 4, "holds 4 sequences, the smallest batch that is known is 8"),
    ],
)
def test_a_target_nothing_meets_is_told(
    points: list[OperatingPoint], target: Target, kv_slots: int | None, words: str
) -> None:
    with pytest.raises(NoCapacityError, match=words):
        planned_point(points, target, kv_slots=kv_slots)


def test_replicas_keep_wait_and_utilization() -> None:
    """100 requests a second of 8 s are 800 slots at least: 25 replicas of 32; at most 85 % busy makes 30."""
    lax = Target(max_wait_seconds=60, max_share=0.5, max_utilization=1.0)
    assert replicas_for_load(100, POINTS[1], output_tokens=251, target=lax) == 26  # 25 would be loaded to the brim
    assert replicas_for_load(100, POINTS[1], output_tokens=251, target=Target()) == 30
    assert replicas_for_load(0, POINTS[1], output_tokens=251, target=Target()) == 0
    # Few slots: the wait decides. 1 request a second of 1 s, one slot each, P(W > 0) <= 1 %: five.
    single = OperatingPoint(1, 1.0, 0.0)
    strict = Target(max_wait_seconds=0, max_share=0.01, max_utilization=1.0)
    assert float(exact_erlang_c(5, Fraction(1))) < 0.01 < float(exact_erlang_c(4, Fraction(1)))
    assert replicas_for_load(1, single, output_tokens=1, target=strict) == 5


# --- several sizes ----------------------------------------------------------------------------------------------------

# Two a second of 1 s where eight fit, one a second of 4 s where two fit.
SHORT, LONG = OperatingPoint(8, 1.0, 0.1), OperatingPoint(2, 1.0, 0.1)
TWO_SIZES = (MixPart(2.0, SHORT, 1), MixPart(1.0, LONG, 31))


def test_queue_of_two_sizes_by_hand() -> None:
    """3 a second, 2 x 1 s + 1 x 4 s = 6 in service: 2 s on average. E[S^2] = (2 x 1 + 1 x 16) / 3 = 6, over 4 less 1.
    2/8 + 4/2 = 9/4 replicas are full: 6 / (9/4) = 8/3 in one."""
    mix = queue_of_mix(TWO_SIZES)
    assert mix is not None
    assert mix.arrivals_per_second == 3
    assert mix.service_seconds == pytest.approx(2)
    assert mix.service_scv == pytest.approx(float(Fraction(6, 4) - 1))
    assert mix.slots_per_replica == pytest.approx(float(6 / (Fraction(2, 8) + Fraction(4, 2))))
    assert mix.busy_replicas == pytest.approx(9 / 4)
    assert mix.queue(3).servers == 8  # three times 8/3


def test_replicas_for_two_sizes_keep_wait_and_utilization() -> None:
    mix = queue_of_mix(TWO_SIZES)
    # 9/4 full replicas at most 70 % busy are 3.2; a wait of a minute is kept by any.
    assert replicas_for_mix(mix, target=Target(max_wait_seconds=60, max_share=0.5, max_utilization=0.7)) == 4
    assert replicas_for_mix(mix, target=Target(max_wait_seconds=60, max_share=0.5, max_utilization=0.75)) == 3
    # No wait at all for 99 %: 13 slots, 8/3 in each replica.
    assert float(exact_erlang_c(13, Fraction(6))) < 0.01 < float(exact_erlang_c(12, Fraction(6)))
    assert replicas_for_mix(mix, target=Target(max_wait_seconds=0, max_share=0.01, max_utilization=1)) == 5


@given(
    rate=st.floats(0.01, 60),
    output=st.integers(1, 400),
    ttft=st.floats(0.05, 2),
    tpot=st.floats(0.001, 0.05),
    concurrency=st.integers(1, 64),
    arrivals_scv=st.floats(0.5, 4),
)
def test_one_size_is_its_own_mix(
    rate: float, output: int, ttft: float, tpot: float, concurrency: int, arrivals_scv: float
) -> None:
    """Also cut in two alike: a size does not vary, so its squared coefficient of variation is 0."""
    point = OperatingPoint(concurrency, ttft, tpot)
    expected = replicas_for_load(
        rate, point, output_tokens=output, target=Target(), service_scv=0, arrivals_scv=arrivals_scv
    )
    for parts in ([MixPart(rate, point, output)], [MixPart(rate / 2, point, output)] * 2):
        assert replicas_for_mix(queue_of_mix(parts), target=Target(), arrivals_scv=arrivals_scv) == expected


def test_a_mix_waits_as_a_simulation_does() -> None:
    """Service of 1 s or 4 s, always the same within a size, and Poisson arrivals; first come, first served.

    The formula is an approximation for times that are not exponential: within a quarter of the simulated share here.
    """
    mix = queue_of_mix(TWO_SIZES)
    assert mix is not None
    rng = random.Random(11)
    for replicas in (3, 4):
        queue = mix.queue(replicas)
        free_at = [0.0] * queue.servers
        now, late, requests = 0.0, 0, 150_000
        for _ in range(requests):
            now += rng.expovariate(3.0)
            start = max(now, free_at[0])
            heapq.heapreplace(free_at, start + (1.0 if rng.random() < 2 / 3 else 4.0))
            late += start - now > 0.5
        assert late / requests == pytest.approx(queue.probability_wait_exceeds(0.5), rel=0.25), replicas


def test_a_mix_without_requests_needs_nothing() -> None:
    assert queue_of_mix([]) is None
    assert queue_of_mix([MixPart(0.0, SHORT, 10)]) is None
    assert replicas_for_mix(None, target=Target()) == 0
    with pytest.raises(ValueError, match="requests_per_second is -1"):
        queue_of_mix([MixPart(-1.0, SHORT, 10), MixPart(2.0, SHORT, 10)])


def test_a_point_without_slots_or_time_is_none() -> None:
    with pytest.raises(NoCapacityError, match="a replica without a slot"):
        OperatingPoint(0, 1.0, 0.1)
    with pytest.raises(ValueError, match="ttft_seconds is 0"):
        OperatingPoint(1, 0, 0.1)


def test_square_root_staffing_by_hand() -> None:
    assert square_root_staffing(100, 1.0) == 110
    assert square_root_staffing(0, 2.0) == 0


@given(replicas=st.integers(1, 60), spare=st.integers(0, 3), zones=st.integers(2, 6))
def test_the_loss_of_the_fullest_zone_leaves_enough_and_one_less_would_not(
    replicas: int, spare: int, zones: int
) -> None:
    def survives(total: int) -> bool:
        return total - math.ceil(total / zones) >= replicas and total >= replicas + spare

    total = with_spares(replicas, spare_replicas=spare, zones=zones)
    assert survives(total)
    assert not any(survives(fewer) for fewer in range(replicas, total))


def test_one_spare_in_one_zone() -> None:
    assert with_spares(4) == 5
    assert with_spares(4, zones=3) == 6  # two a zone: one zone lost leaves four


@given(
    needed=st.lists(st.integers(0, 9), max_size=40), step=st.sampled_from([60, 300, 3600]), cold=st.integers(0, 9000)
)
def test_cold_start_provisions_the_peak_of_the_window(needed: list[int], step: int, cold: int) -> None:
    ahead = math.ceil(cold / step)
    assert provisioned(needed, step_seconds=step, cold_start_seconds=cold) == [
        max(needed[at : at + ahead + 1]) for at in range(len(needed))
    ]


def test_cold_start_by_hand() -> None:
    """Ten minutes to start, steps of five: what is needed in ten minutes runs now."""
    assert provisioned([1, 1, 5, 2, 1, 1], step_seconds=300, cold_start_seconds=600) == [5, 5, 5, 2, 1, 1]


def test_starts_within_a_step_by_hand() -> None:
    """Hours that need 1, 3 and 2; five minutes to start: three run from 0:55 on."""
    assert started_in_time([1, 3, 2], step_seconds=3600, cold_start_seconds=300) == [
        Period(0, 3300, 1),
        Period(3300, 3900, 3),
        Period(7200, 3600, 2),
    ]
    # An hour and a half to start: five run from 1:30 on.
    assert started_in_time([1, 1, 1, 5], step_seconds=3600, cold_start_seconds=5400) == [
        Period(0, 5400, 1),
        Period(5400, 9000, 5),
    ]
    assert started_in_time([2, 0], step_seconds=60, cold_start_seconds=0) == [Period(0, 60, 2), Period(60, 60, 0)]
    assert started_in_time([], step_seconds=60, cold_start_seconds=30) == []
    with pytest.raises(ValueError, match="step_seconds is 0"):
        started_in_time([1], step_seconds=0, cold_start_seconds=30)


@given(needed=st.lists(st.integers(0, 5), max_size=12), step=st.integers(1, 9), cold=st.integers(0, 40))
def test_starts_are_the_peak_of_the_window_at_each_second(needed: list[int], step: int, cold: int) -> None:
    by_second = [number for number in needed for _ in range(step)]
    periods = started_in_time(needed, step_seconds=step, cold_start_seconds=cold)
    assert [period.replicas for period in periods for _ in range(period.seconds)] == [
        max(by_second[at : at + cold + 1]) for at in range(len(by_second))
    ]
    assert [period.start_seconds for period in periods] == [
        sum(period.seconds for period in periods[:at]) for at in range(len(periods))
    ]
    assert all(before.replicas != after.replicas for before, after in itertools.pairwise(periods))


def test_machines_stand_in_one_zone_each() -> None:
    """Six single GPUs in three zones are two a zone: a machine of eight in each, though one would hold them."""
    assert whole_machines(6, gpus_per_replica=1, gpus_per_machine=8).machines == 1
    assert whole_machines(6, gpus_per_replica=1, gpus_per_machine=8, zones=3).gpus_paid == 24
    assert whole_machines(9, gpus_per_replica=2, gpus_per_machine=8, zones=2).machines == 3  # five and four, four fit
    assert whole_machines(1, gpus_per_replica=1, gpus_per_machine=8, zones=3).machines == 1


def test_whole_machines_by_hand() -> None:
    two_a_machine = whole_machines(3, gpus_per_replica=4, gpus_per_machine=8)
    assert (two_a_machine.machines, two_a_machine.gpus_paid, two_a_machine.gpus_used) == (2, 16, 12)
    lonely = whole_machines(3, gpus_per_replica=5, gpus_per_machine=8)  # no second one fits beside it
    assert (lonely.machines, lonely.gpus_paid) == (3, 24)
    spanning = whole_machines(2, gpus_per_replica=16, gpus_per_machine=8)
    assert (spanning.machines, spanning.gpus_paid) == (4, 32)
    assert whole_machines(0, gpus_per_replica=8, gpus_per_machine=8).gpus_paid == 0
