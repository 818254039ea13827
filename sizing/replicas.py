"""How many replicas a load needs so that requests seldom wait: queues, spare capacity, cold starts, whole machines.

The servers of the queue are the slots of the KV cache: a replica with room for B sequences serves B requests at once,
and the next one waits. A slot's rate falls as the batch grows, so a replica is described at its planned batch.

Pure arithmetic; times in seconds, rates per second. Formulas: Erlang C (Erlang 1917); waiting in M/G/c and G/G/c by
Allen-Cunneen with an exponential tail (Kimura 1994 reviews both); square-root staffing (Halfin and Whitt 1981).
docs/capacity.md writes them out.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace


class NoCapacityError(ValueError):
    """No number of replicas does what is asked, with the reason in words."""


def erlang_b(servers: int, offered_load: float) -> float:
    """Share of requests lost when none may wait, for `offered_load` = arrival rate x mean service time.

    The inverse of the blocking probability obeys 1/B(n) = 1 + n/a x 1/B(n-1): all terms are positive, so nothing
    cancels and no factorial is formed. Where it exceeds what a double holds, the probability is 0 to any accuracy.
    """
    _check_not_negative(servers=servers, offered_load=offered_load)
    if offered_load == 0:
        return 0.0 if servers else 1.0
    inverse = 1.0
    for number in range(1, servers + 1):
        inverse = 1.0 + number / offered_load * inverse
        if math.isinf(inverse):
            return 0.0
    return 1.0 / inverse


def erlang_c(servers: int, offered_load: float) -> float:
    """Probability that a request has to wait; 1.0 where the queue grows for ever (load >= servers), 0.0 for no load."""
    blocked = erlang_b(servers, offered_load)
    if offered_load == 0:
        return 0.0
    if offered_load >= servers:
        return 1.0
    return _wait_probability(blocked, offered_load / servers)


def _wait_probability(blocked: float, utilization: float) -> float:
    return blocked / (1.0 - utilization * (1.0 - blocked))


@dataclass(frozen=True, slots=True)
class Queue:
    """Requests that wait for the first free of `servers` slots, first come, first served.

    Args:
        servers: number of slots.
        arrivals_per_second: mean rate of requests.
        service_seconds: mean time a request holds its slot.
        service_scv: squared coefficient of variation of that time; 1 is exponential, 0 always the same.
        arrivals_scv: the same of the time between arrivals; 1 is a Poisson stream, more is bursty.

    With both at 1 the results are exact (M/M/c). An unstable queue (load >= servers) waits with probability 1 and for
    infinitely long; without load nothing waits.
    """

    servers: int
    arrivals_per_second: float
    service_seconds: float
    service_scv: float = 1.0
    arrivals_scv: float = 1.0

    def __post_init__(self) -> None:
        _check_not_negative(
            servers=self.servers,
            arrivals_per_second=self.arrivals_per_second,
            service_scv=self.service_scv,
            arrivals_scv=self.arrivals_scv,
        )
        if not (math.isfinite(self.service_seconds) and self.service_seconds > 0):
            raise ValueError(f"service_seconds is {self.service_seconds}; a request takes some time, above 0")

    @property
    def offered_load(self) -> float:
        """Mean number of requests in service, were none to wait (Little): arrival rate x service time."""
        return self.arrivals_per_second * self.service_seconds

    @property
    def utilization(self) -> float:
        """Offered load per server; infinite with load and no server."""
        if self.servers:
            return self.offered_load / self.servers
        return math.inf if self.offered_load else 0.0

    @property
    def is_stable(self) -> bool:
        """Whether the servers keep up; an empty queue without load does."""
        return self.offered_load < self.servers or self.offered_load == 0

    @property
    def wait_probability(self) -> float:
        """Probability that a request waits at all: Erlang's, which hardly depends on the spread of service times."""
        return erlang_c(self.servers, self.offered_load)

    @property
    def mean_wait_seconds(self) -> float:
        """Mean wait of all requests, those that do not wait included."""
        return self.wait_probability * self._tail_seconds if self.is_stable else math.inf

    @property
    def mean_concurrency(self) -> float:
        """Requests in the system on average, by Little's law; infinite when unstable."""
        return (
            self.arrivals_per_second * (self.mean_wait_seconds + self.service_seconds) if self.is_stable else math.inf
        )

    def probability_wait_exceeds(self, seconds: float) -> float:
        """Share of requests that wait longer than `seconds`."""
        _check_not_negative(seconds=seconds)
        if not self.is_stable:
            return 1.0
        return _exceeds(self.wait_probability, seconds, self._tail_seconds)

    def wait_quantile_seconds(self, share: float) -> float:
        """Wait that a share of the requests, such as 0.99, stays within; 0 when enough of them do not wait at all."""
        if not 0 < share < 1:
            raise ValueError(f"share is {share}; write one between 0 and 1, such as 0.99")
        if not self.is_stable:
            return math.inf
        waits = self.wait_probability
        return math.log(waits / (1 - share)) * self._tail_seconds if waits > 1 - share else 0.0

    @property
    def _tail_seconds(self) -> float:
        """Mean wait of those that wait."""
        if self.offered_load == 0:
            return 0.0
        spare_per_second = self.servers / self.service_seconds - self.arrivals_per_second
        return (self.arrivals_scv + self.service_scv) / 2 / spare_per_second


def _exceeds(wait_probability: float, seconds: float, tail_seconds: float) -> float:
    if tail_seconds == 0:  # always the same service time and arrivals on the beat
        return 0.0 if seconds else wait_probability
    return wait_probability * math.exp(-seconds / tail_seconds)


def min_servers(
    arrivals_per_second: float,
    service_seconds: float,
    *,
    max_wait_seconds: float,
    max_share: float,
    service_scv: float = 1.0,
    arrivals_scv: float = 1.0,
) -> int:
    """Fewest servers with which at most `max_share` of the requests wait longer than `max_wait_seconds`.

    0 without load. One pass over Erlang's recursion, so that ten thousand servers take milliseconds.
    """
    queue = Queue(0, arrivals_per_second, service_seconds, service_scv, arrivals_scv)
    _check_not_negative(max_wait_seconds=max_wait_seconds)
    if not 0 < max_share < 1:
        raise ValueError(f"max_share is {max_share}; write a share between 0 and 1, such as 0.01")
    load = queue.offered_load
    if load == 0:
        return 0
    if not math.isfinite(load):
        raise ValueError("arrivals_per_second x service_seconds is not a finite number")
    inverse, servers = 1.0, 0
    while True:
        servers += 1
        inverse = 1.0 + servers / load * inverse
        if servers <= load:
            continue
        waits = _wait_probability(1.0 / inverse, load / servers)
        tail = (arrivals_scv + service_scv) / 2 / (servers / service_seconds - arrivals_per_second)
        if _exceeds(waits, max_wait_seconds, tail) <= max_share:
            return servers


def square_root_staffing(offered_load: float, beta: float = 1.0) -> int:
    """Servers by the rule of thumb load + beta x sqrt(load); beta 0.5 saves, 2 hardly ever lets anyone wait."""
    _check_not_negative(offered_load=offered_load, beta=beta)
    return math.ceil(offered_load + beta * math.sqrt(offered_load))


# --- replicas ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a replica does while it serves `concurrency` requests at once: measured or estimated at that batch.

    Args:
        concurrency: sequences in the batch.
        ttft_seconds: time to the first token, without waiting for a slot.
        tpot_seconds: time per further token.
    """

    concurrency: int
    ttft_seconds: float
    tpot_seconds: float

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise NoCapacityError(
                "a replica without a slot serves nothing; its KV cache must hold one sequence at least"
            )
        if not (self.ttft_seconds > 0 and self.tpot_seconds >= 0):
            raise ValueError(
                f"ttft_seconds is {self.ttft_seconds} and tpot_seconds {self.tpot_seconds}; a request takes some time"
            )

    def request_seconds(self, output_tokens: float) -> float:
        """Time a request of so many output tokens holds its slot."""
        return self.ttft_seconds + max(output_tokens - 1, 0) * self.tpot_seconds

    def requests_per_second(self, output_tokens: float) -> float:
        """Capacity of one replica, by Little's law: concurrency / time in the slot."""
        return self.concurrency / self.request_seconds(output_tokens)


@dataclass(frozen=True, slots=True)
class Target:
    """What users are promised. A limit that is None is not asked for.

    Args:
        max_ttft_seconds, max_tpot_seconds: at the planned batch.
        max_wait_seconds: wait for a slot, kept by all but `max_share` of the requests.
        max_share: share of the requests that may wait longer.
        max_utilization: most of the slots in use on average; 0.6 to 0.85 leaves room for bursts.
    """

    max_ttft_seconds: float | None = None
    max_tpot_seconds: float | None = None
    max_wait_seconds: float = 1.0
    max_share: float = 0.01
    max_utilization: float = 0.85

    def __post_init__(self) -> None:
        if not 0 < self.max_utilization <= 1:
            raise ValueError(f"max_utilization is {self.max_utilization}; write a share above 0, at most 1")


def planned_point(points: Sequence[OperatingPoint], target: Target, *, kv_slots: int | None = None) -> OperatingPoint:
    """The largest batch that keeps TTFT and TPOT and fits the KV cache.

    Raises:
        NoCapacityError: no point does; says which limit the smallest batch misses.
    """
    if not points:
        raise NoCapacityError(
            "no operating point is known: measure or estimate TTFT and TPOT at one concurrency at least"
        )
    fitting = [point for point in points if kv_slots is None or point.concurrency <= kv_slots]
    if not fitting:
        smallest = min(point.concurrency for point in points)
        raise NoCapacityError(
            f"the KV cache holds {kv_slots} sequences, the smallest batch that is known is {smallest}: a shorter "
            "context, an FP8 KV cache or more GPUs per replica make room"
        )
    limits = (target.max_ttft_seconds, target.max_tpot_seconds)
    kept = [
        point
        for point in fitting
        if all(
            limit is None or value <= limit
            for value, limit in zip((point.ttft_seconds, point.tpot_seconds), limits, strict=True)
        )
    ]
    if not kept:
        first = min(fitting, key=lambda point: point.concurrency)
        raise NoCapacityError(
            f"no batch keeps the target: already {first.concurrency} at once take {first.ttft_seconds * 1000:.0f} ms "
            f"to the first token and {first.tpot_seconds * 1000:.1f} ms per token; a faster GPU, more GPUs per "
            "replica or a looser target would do"
        )
    return max(kept, key=lambda point: point.concurrency)


def replicas_for_load(
    arrivals_per_second: float,
    point: OperatingPoint,
    *,
    output_tokens: float,
    target: Target,
    service_scv: float = 1.0,
    arrivals_scv: float = 1.0,
) -> int:
    """Fewest replicas that serve the load within the target's wait and utilization; 0 without load."""
    seconds = point.request_seconds(output_tokens)
    return replicas_for_mix(
        Mix(arrivals_per_second, seconds, service_scv, point.concurrency), target=target, arrivals_scv=arrivals_scv
    )


@dataclass(frozen=True, slots=True)
class MixPart:
    """Requests of one size: how many a second arrive, and what a replica does that serves them alone."""

    requests_per_second: float
    point: OperatingPoint
    output_tokens: float


@dataclass(frozen=True, slots=True)
class Mix:
    """Requests of several sizes as one stream into one queue.

    Args:
        arrivals_per_second: of all sizes.
        service_seconds: mean time a request holds its slot.
        service_scv: squared coefficient of variation of that time.
        slots_per_replica: requests a full replica holds; a mix of batches, so in fractions.
    """

    arrivals_per_second: float
    service_seconds: float
    service_scv: float
    slots_per_replica: float

    @property
    def busy_replicas(self) -> float:
        """Replicas that would do if they could always be full (Little)."""
        return self.arrivals_per_second * self.service_seconds / self.slots_per_replica

    def queue(self, replicas: int, *, arrivals_scv: float = 1.0) -> Queue:
        """The queue before so many replicas; a slot that they have only in part is none."""
        slots = math.floor(replicas * self.slots_per_replica + 1e-9)
        return Queue(slots, self.arrivals_per_second, self.service_seconds, self.service_scv, arrivals_scv)


def queue_of_mix(parts: Sequence[MixPart]) -> Mix | None:
    """The stream that several sizes are together; None where no request arrives.

    With l_b requests of size b a second, each s_b = TTFT + (output tokens - 1) x TPOT in its slot, at the batch B_b:

    - l = sum l_b; mean service time E[S] = sum l_b s_b / l.
    - A request is of size b with probability l_b / l and then takes s_b, always the same: E[S^2] = sum l_b s_b^2 / l,
      and the squared coefficient of variation is E[S^2] / E[S]^2 - 1. One size alone has 0. It is a lower bound, for
      requests within a size differ too: cut sizes finer where that matters.
    - sum l_b s_b requests are in service (Little). Of a replica each of size b takes 1 / B_b, so sum l_b s_b / B_b
      replicas are full, and one holds the ratio of the two sums: the harmonic mean of the batches, weighted by the
      requests in service.
    """
    for part in parts:
        _check_not_negative(requests_per_second=part.requests_per_second)
    arrivals = math.fsum(part.requests_per_second for part in parts)
    if arrivals == 0:
        return None
    timed = [(part.requests_per_second, part.point.request_seconds(part.output_tokens)) for part in parts]
    in_service = math.fsum(rate * seconds for rate, seconds in timed)
    squares = math.fsum(rate * seconds**2 for rate, seconds in timed)
    full = math.fsum(
        rate * seconds / part.point.concurrency for part, (rate, seconds) in zip(parts, timed, strict=True)
    )
    return Mix(
        arrivals_per_second=arrivals,
        service_seconds=in_service / arrivals,
        service_scv=max(0.0, arrivals * squares / in_service**2 - 1),
        slots_per_replica=in_service / full,
    )


def replicas_for_mix(mix: Mix | None, *, target: Target, arrivals_scv: float = 1.0) -> int:
    """Fewest replicas that serve the stream within the target's wait and utilization; 0 without load."""
    if mix is None:
        return 0
    slots = min_servers(
        mix.arrivals_per_second,
        mix.service_seconds,
        max_wait_seconds=target.max_wait_seconds,
        max_share=target.max_share,
        service_scv=mix.service_scv,
        arrivals_scv=arrivals_scv,
    )
    for_wait = math.ceil(slots / mix.slots_per_replica - 1e-9)
    return max(for_wait, math.ceil(mix.busy_replicas / target.max_utilization - 1e-9))


# --- spare capacity, time, whole machines -----------------------------------------------------------------------------


def with_spares(replicas: int, *, spare_replicas: int = 1, zones: int = 1) -> int:
    """Replicas to run so that the needed ones survive a failure; 0 stays 0.

    With several zones the fewest of which the others still suffice when the fullest zone is lost: n + ceil(n / (zones -
    1)), spread evenly. And at least `spare_replicas` more than needed (N+1).
    """
    _check_not_negative(replicas=replicas, spare_replicas=spare_replicas)
    if zones < 1:
        raise ValueError(f"zones is {zones}; a fleet stands in one at least")
    if replicas == 0:
        return 0
    for_zone = math.ceil(replicas / (zones - 1)) if zones > 1 else 0
    return replicas + max(spare_replicas, for_zone)


def provisioned(needed: Sequence[float], *, step_seconds: float, cold_start_seconds: float) -> list[float]:
    """What must run at each step so that what a later step needs is started in time: the most needed until then.

    n(t) = max of needed over [t, t + cold start]. One value per step, of the same length; the last ones look as far as
    the curve reaches.
    """
    if not step_seconds > 0:
        raise ValueError(f"step_seconds is {step_seconds}; a step lasts some time, above 0")
    _check_not_negative(cold_start_seconds=cold_start_seconds)
    ahead = math.ceil(cold_start_seconds / step_seconds - 1e-9)
    result = [0.0] * len(needed)
    falling: deque[int] = deque()  # steps ahead, those that a later and higher one covers left out
    for step in range(len(needed) - 1, -1, -1):
        while falling and needed[falling[-1]] <= needed[step]:
            falling.pop()
        falling.append(step)
        if falling[0] > step + ahead:
            falling.popleft()
        result[step] = needed[falling[0]]
    return result


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of a curve in which as many replicas run; `start_seconds` counts from the beginning of the curve."""

    start_seconds: int
    seconds: int
    replicas: int


def started_in_time(needed: Sequence[int], *, step_seconds: int, cold_start_seconds: int) -> list[Period]:
    """When how many replicas must run to serve a curve: `provisioned`, exact where a start is no whole number of steps.

    Of each step the last (cold start mod step) seconds see one step further than those before. What the first step
    needs is taken as running; neighbours of the same number are one period.
    """
    if step_seconds <= 0:
        raise ValueError(f"step_seconds is {step_seconds}; a step lasts some time, above 0")
    rest = cold_start_seconds % step_seconds
    near, far = (
        provisioned(needed, step_seconds=step_seconds, cold_start_seconds=cold_start_seconds - rest + more)
        for more in (0, step_seconds)
    )
    periods: list[Period] = []
    for step, (before, after) in enumerate(zip(near, far, strict=True)):
        start, turn = step * step_seconds, (step + 1) * step_seconds - rest
        for at, seconds, number in ((start, turn - start, before), (turn, rest, after)):
            if periods and periods[-1].replicas == number:
                periods[-1] = replace(periods[-1], seconds=periods[-1].seconds + seconds)
            elif seconds:
                periods.append(Period(at, seconds, int(number)))
    return periods


@dataclass(frozen=True, slots=True)
class Machines:
    """Whole machines for a number of replicas."""

    replicas: int
    machines: int
    gpus_paid: int
    gpus_used: int


def whole_machines(replicas: int, *, gpus_per_replica: int, gpus_per_machine: int, zones: int = 1) -> Machines:
    """Machines to rent: a replica never spans two where it fits into one, and takes several whole where it does not.

    With several zones the replicas are spread evenly, and no machine stands in two.
    """
    if gpus_per_replica < 1 or gpus_per_machine < 1 or zones < 1:
        raise ValueError("gpus_per_replica, gpus_per_machine and zones are 1 at least")
    _check_not_negative(replicas=replicas)
    if gpus_per_replica <= gpus_per_machine:
        per_machine = gpus_per_machine // gpus_per_replica
        machines = sum(
            math.ceil((replicas // zones + (zone < replicas % zones)) / per_machine) for zone in range(zones)
        )
    else:
        machines = replicas * math.ceil(gpus_per_replica / gpus_per_machine)
    return Machines(replicas, machines, machines * gpus_per_machine, replicas * gpus_per_replica)


def _check_not_negative(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} is {value}; write a number of 0 or more")
