"""What is true in the demo world: the fleet and its prices, what happens to it, and the traffic it serves.

Nothing here reads or writes files and nothing knows the ledger's SQL. The fleet is the one of `ledger.yaml`
(tests/test_demo_world.py compares the two). Instants are UTC epoch seconds. All draws are whole numbers from
`random.Random` seeded with text, so that the same world has the same bytes on every machine.
"""

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from itertools import accumulate
from typing import NamedTuple

HOUR = 3_600
DAY = 86_400
SEED = 20_261_001

# Weight of each UTC hour: a North American working day, with its night from 05:00 to 10:00 UTC.
HOUR_WEIGHTS = (52, 42, 33, 26, 20, 15, 12, 10, 11, 14, 22, 38, 60, 78, 90, 96, 100, 98, 95, 92, 88, 80, 72, 62)

DRIFT_DEPLOYMENT = "rag-32b"
DRIFT_IDLE_HOURS = frozenset({20, 21, 22, 23, 0, 1, 2, 3, 4, 5})  # UTC: a third of its tokens
# The spot price rag-32b runs on, and how one snapshot has it: cents read as dollars.
ANOMALY_METER = "NC24ads_A100_v4 Spot"
ANOMALY_TRUE_USD = Decimal("0.67877")
ANOMALY_WRONG_USD = Decimal("67.877")


# What the bill of AWS has and the fleet has not.
FORGOTTEN_REGION = "us-west-2"
FORGOTTEN_HOURS = 6
CREDIT_USD = Decimal(250)
# A day is billed a day later; a month is closed five days after its end.
CLOSE_AFTER = 5 * DAY


def epoch(text: str) -> int:
    """Returns the epoch seconds of an ISO instant such as 2026-10-01T00:00Z."""
    return int(datetime.fromisoformat(text).timestamp())


def midnight(day: date) -> int:
    """Returns the epoch seconds at which the UTC `day` begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def iso(instant: float) -> str:
    """Returns `instant` as 2026-11-04T13:20:00Z, microseconds only where there are any."""
    return datetime.fromtimestamp(instant, UTC).isoformat().replace("+00:00", "Z")


def stamp(instant: int) -> str:
    """Returns `instant` as used in file names: 20261104T132000Z."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y%m%dT%H%M%SZ")


def utc_date(instant: int) -> date:
    """Returns the UTC day that holds `instant`."""
    return datetime.fromtimestamp(instant, UTC).date()


class PricingModel(StrEnum):
    """How instances are bought."""

    RESERVED = "reserved"
    ON_DEMAND = "on_demand"
    SPOT = "spot"


class EndReason(StrEnum):
    """Why a vLLM process ended."""

    RUNNING = "running"
    ROLLING_RESTART = "rolling_restart"
    CRASH = "crash"
    WITHDRAWN = "withdrawn"  # the fleet entry ends: a spot interruption


@dataclass(frozen=True, slots=True)
class Deployment:
    """One served model and the hardware of each of its replicas.

    Volumes are per replica and weekday, all token classes together; `*_us` are microseconds per token of one request
    on a busy replica: prefill is interleaved with the decoding of others.
    """

    name: str
    model: str
    gateway_model: str
    provider: str
    region: str
    instance_type: str
    gpus: int
    tokens_per_replica_day: int
    weekend_permille: int
    prompt_permille: int
    cached_permille: int  # of the prompt tokens
    prompt_tokens_per_request: int
    output_tokens_per_call: int
    gateway_calls_per_day: int
    prefill_us: int
    decode_us: int
    tenants: tuple[tuple[str | None, int], ...]  # team and its weight; None: a key without a team


@dataclass(frozen=True, slots=True)
class Part:
    """One fleet entry: `replicas` of a deployment bought one way in [starts, ends); one instance each."""

    deployment: str
    pricing: PricingModel
    replicas: tuple[int, ...]
    starts: int
    ends: int | None
    list_usd_per_instance_hour: Decimal
    contracted_usd_per_gpu_hour: Decimal | None = None
    commitment: str | None = None

    @property
    def rate_usd_per_gpu_hour(self) -> Decimal:
        """The contracted rate, else the list price of the instance shared by its GPUs, to 8 decimals."""
        if self.contracted_usd_per_gpu_hour is not None:
            return self.contracted_usd_per_gpu_hour
        return per_gpu(self.list_usd_per_instance_hour, DEPLOYMENTS[self.deployment].gpus)


@dataclass(frozen=True, slots=True)
class Commitment:
    """Instances of a deployment's type paid for in [starts, ends), used or not; no upfront payment."""

    commitment_id: str
    deployment: str
    count: int
    term_months: int
    starts: int
    ends: int
    list_usd_per_instance_hour: Decimal

    @property
    def rate_usd_per_gpu_hour(self) -> Decimal:
        """The recurring list price of the instance shared by its GPUs, to 8 decimals."""
        return per_gpu(self.list_usd_per_instance_hour, DEPLOYMENTS[self.deployment].gpus)


def per_gpu(price_per_instance: Decimal, gpus: int) -> Decimal:
    """Returns an instance price per GPU, rounded half up to 8 decimals."""
    return (price_per_instance / gpus).quantize(Decimal("1e-8"), rounding=ROUND_HALF_UP)


DEPLOYMENTS = {
    deployment.name: deployment
    for deployment in (
        Deployment(
            name="chat-70b",
            model="meta-llama/Llama-3.1-70B-Instruct",
            gateway_model="llama-3.1-70b",
            provider="aws",
            region="us-east-1",
            instance_type="p5.48xlarge",
            gpus=8,
            tokens_per_replica_day=450_000_000,
            weekend_permille=700,
            prompt_permille=920,
            cached_permille=450,
            prompt_tokens_per_request=2_600,
            output_tokens_per_call=330,
            gateway_calls_per_day=800,
            prefill_us=400,
            decode_us=28_000,
            tenants=(("team-assistant", 45), ("team-support", 30), ("team-research", 20), (None, 5)),
        ),
        Deployment(
            name="assist-8b",
            model="meta-llama/Llama-3.1-8B-Instruct",
            gateway_model="llama-3.1-8b",
            provider="aws",
            region="us-east-1",
            instance_type="g6e.xlarge",
            gpus=1,
            tokens_per_replica_day=55_000_000,
            weekend_permille=750,
            prompt_permille=800,
            cached_permille=300,
            prompt_tokens_per_request=900,
            output_tokens_per_call=210,
            gateway_calls_per_day=700,
            prefill_us=180,
            decode_us=12_000,
            tenants=(("team-support", 50), ("team-assistant", 35), ("team-search", 15)),
        ),
        Deployment(
            name="rag-32b",
            model="Qwen/Qwen3-32B",
            gateway_model="qwen3-32b",
            provider="azure",
            region="eastus",
            instance_type="Standard_NC24ads_A100_v4",
            gpus=1,
            tokens_per_replica_day=35_000_000,
            weekend_permille=750,
            prompt_permille=950,
            cached_permille=200,
            prompt_tokens_per_request=3_800,
            output_tokens_per_call=240,
            gateway_calls_per_day=400,
            prefill_us=500,
            decode_us=24_000,
            tenants=(("team-search", 60), ("team-research", 30), (None, 10)),
        ),
    )
}

PARTS = (
    Part(
        "chat-70b",
        PricingModel.RESERVED,
        (0,),
        epoch("2026-07-01T00:00Z"),
        epoch("2029-07-01T00:00Z"),
        Decimal("23.7773"),
        commitment="p5-3y",
    ),
    Part("chat-70b", PricingModel.ON_DEMAND, (1,), epoch("2026-10-01T00:00Z"), None, Decimal("55.04")),
    Part(
        "assist-8b",
        PricingModel.RESERVED,
        (0, 1),
        epoch("2026-07-01T00:00Z"),
        epoch("2027-07-01T00:00Z"),
        Decimal("1.1724"),
        commitment="g6e-1y",
    ),
    Part("assist-8b", PricingModel.ON_DEMAND, (2, 3), epoch("2026-10-01T00:00Z"), None, Decimal("1.861")),
    Part(
        "rag-32b",
        PricingModel.SPOT,
        (0, 1, 2, 3),
        epoch("2026-10-05T00:00Z"),
        epoch("2026-11-04T13:20Z"),
        ANOMALY_TRUE_USD,
    ),
    Part(
        "rag-32b",
        PricingModel.SPOT,
        (0, 1, 2, 3),
        epoch("2026-11-04T15:40Z"),
        None,
        ANOMALY_TRUE_USD,
    ),
    Part(
        "rag-32b",
        PricingModel.ON_DEMAND,
        (4,),
        epoch("2026-10-05T00:00Z"),
        None,
        Decimal("3.673"),
        contracted_usd_per_gpu_hour=Decimal("2.95"),
    ),
)
COMMITMENTS = (
    Commitment("p5-3y", "chat-70b", 1, 36, epoch("2026-07-01T00:00Z"), epoch("2029-07-01T00:00Z"), Decimal("23.7773")),
    Commitment("g6e-1y", "assist-8b", 3, 12, epoch("2026-07-01T00:00Z"), epoch("2027-07-01T00:00Z"), Decimal("1.1724")),
)


class Replica(NamedTuple):
    """One vLLM server; its name is the directory of its scrapes and its `model_id` in the gateway."""

    deployment: str
    number: int

    @property
    def name(self) -> str:
        """`<deployment>-<number>`, unique in the world."""
        return f"{self.deployment}-{self.number}"


class Incarnation(NamedTuple):
    """One life of a vLLM process; counters start at zero with it.

    `started_at` and `created_at` are what its page states as process start and series creation; it serves in
    [serves_from, ends_at). `opening_scrape_at` is the extra scrape of a replica that enters service (all zero) or
    enters the world already running (a baseline); None for a process that follows another.
    """

    replica: Replica
    started_at: float
    created_at: float
    serves_from: int
    ends_at: int
    end_reason: EndReason
    opening_scrape_at: int | None


class Segment(NamedTuple):
    """What one incarnation serves of one UTC hour: [starts, ends) inside the hour.

    `is_scraped`: the process lives to the scrape that closes the hour; otherwise the segment's tokens are lost.
    """

    incarnation: Incarnation
    hour: int
    starts: int
    ends: int
    is_scraped: bool


class Load(NamedTuple):
    """Work done by an engine, additive. Times are microseconds; stop and length are finished requests."""

    computed: int = 0
    cached: int = 0
    output: int = 0
    stop: int = 0
    length: int = 0
    prefill_us: int = 0
    decode_us: int = 0

    def plus(self, other: "Load") -> "Load":
        """Returns the sum, field by field."""
        return Load(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def share(self, part: int, whole: int) -> "Load":
        """Returns part/whole of every field, rounded down."""
        return Load(*(value * part // whole for value in self))


class Outcome(StrEnum):
    """How a gateway call ended."""

    SUCCESS = "success"
    UNREPORTED = "unreported"  # a stream whose client asked for no usage: the gateway logs success with 0/0 tokens
    FAILURE = "failure"


class Call(NamedTuple):
    """One call attempt through the gateway. Instants are epoch microseconds.

    The token counts are what the engine did; the gateway logs them unless the outcome says otherwise, and `cached`
    only where `is_cached_stated`.
    """

    segment: Segment
    outcome: Outcome
    is_stream: bool
    is_cached_stated: bool
    attempt: int
    request_bits: int
    call_bits: int
    trace_bits: int
    tenant: str | None
    started_us: int
    first_token_us: int
    ended_us: int
    prompt: int
    cached: int
    output: int
    is_duplicated: bool

    @property
    def load(self) -> Load:
        """The engine's work for this call; one in seven ends by reaching its length limit."""
        if self.outcome is Outcome.FAILURE:
            return Load()
        deployment = DEPLOYMENTS[self.segment.incarnation.replica.deployment]
        is_length = self.output % 7 == 0
        return Load(
            self.prompt - self.cached,
            self.cached,
            self.output,
            int(not is_length),
            int(is_length),
            (self.prompt - self.cached) * deployment.prefill_us,
            self.output * deployment.decode_us,
        )


class BillLine(NamedTuple):
    """An hour of instances on the bill of AWS; of no deployment where nothing of the fleet ran on them."""

    deployment: str | None
    region: str
    instance_type: str
    instance_hours: Decimal
    list_usd_per_hour: Decimal
    effective_usd_per_hour: Decimal
    commitment: str | None = None
    is_unused: bool = False

    @property
    def effective_usd(self) -> Decimal:
        """What the hour cost, amortised."""
        return self.instance_hours * self.effective_usd_per_hour


def active_seconds(part: Part, hour: int) -> int:
    """Seconds of the hour that begins at `hour` in which the entry holds its instances."""
    ends = hour + HOUR if part.ends is None else min(hour + HOUR, part.ends)
    return max(0, ends - max(hour, part.starts))


@dataclass(frozen=True, slots=True)
class World:
    """A world is known by its seed, its first day and the last day of its first writing, which anchors the events."""

    seed: int
    start: date
    first_end: date

    @property
    def anomaly_at(self) -> int:
        """When the wrong Azure price was fetched: 06:00 UTC ten days before the first end."""
        return midnight(self.first_end - timedelta(days=10)) + 6 * HOUR

    @property
    def drift_date(self) -> date:
        """First day on which rag-32b serves nothing in DRIFT_IDLE_HOURS; its GPUs stay."""
        return self.first_end - timedelta(days=7)

    def billed_days(self, until: int) -> list[date]:
        """The days that AWS has billed by the midnight `until`: all but the last."""
        days = (until - midnight(self.start)) // DAY - 1
        return [self.start + timedelta(days=number) for number in range(days)]

    def closed_months(self, until: int) -> list[int]:
        """The midnights that ended a month which AWS has closed by `until`."""
        ends = [midnight(day) for day in self.billed_days(until) if day.day == 1 and day > self.start]
        return [end for end in ends if end + CLOSE_AFTER < until]

    def bill_lines(self, hour: int) -> Iterator[BillLine]:
        """Yields what AWS bills of the hour: every entry at its rate, what is unused, and a forgotten instance."""
        list_prices = {part.deployment: part.list_usd_per_instance_hour for part in PARTS if part.commitment is None}
        unused = {commitment.commitment_id: Decimal(commitment.count) for commitment in COMMITMENTS}
        for part in PARTS:
            deployment = DEPLOYMENTS[part.deployment]
            hours = Decimal(len(part.replicas) * active_seconds(part, hour)) / HOUR
            if deployment.provider != "aws" or not hours:
                continue
            if part.commitment is not None:
                unused[part.commitment] -= hours
            yield BillLine(
                part.deployment,
                deployment.region,
                deployment.instance_type,
                hours,
                list_prices[part.deployment],
                part.list_usd_per_instance_hour,
                part.commitment,
            )
        for commitment in COMMITMENTS:
            left = unused[commitment.commitment_id]
            if left and commitment.starts <= hour < commitment.ends:
                deployment = DEPLOYMENTS[commitment.deployment]
                yield BillLine(
                    commitment.deployment,
                    deployment.region,
                    deployment.instance_type,
                    left,
                    list_prices[commitment.deployment],
                    commitment.list_usd_per_instance_hour,
                    commitment.commitment_id,
                    is_unused=True,
                )
        if utc_date(hour) == self.drift_date and hour % DAY < FORGOTTEN_HOURS * HOUR:
            price = list_prices["chat-70b"]
            yield BillLine(None, FORGOTTEN_REGION, "p5.48xlarge", Decimal(1), price, price)

    def crashes(self) -> dict[Replica, int]:
        """Three crashes: at a quarter, half and three quarters of the first days, of different replicas.

        Each deployment has one, unless nothing of it runs at that time.
        """
        days = (self.first_end - self.start).days + 1
        crashes: dict[Replica, int] = {}
        for quarter, index, name, second in (
            (1, 0, "chat-70b", 51_817),  # 14:23:37
            (2, 1, "assist-8b", 60_072),  # 16:41:12
            (3, 2, "rag-32b", 65_875),  # 18:17:55
        ):
            at = midnight(self.start + timedelta(days=days * quarter // 4)) + second
            candidates = [
                replica
                for replica in replicas()
                if replica not in crashes and any(a <= at - 2 * HOUR and at + 2 * HOUR <= b for a, b in lives(replica))
            ]
            candidates.sort(key=lambda replica: (replica.deployment != name, replica.number != index))
            if candidates:
                crashes[candidates[0]] = at
        return crashes

    def incarnations(self, replica: Replica, until: int) -> Iterator[Incarnation]:
        """Yields the processes of `replica` that live in the world before `until`, in order.

        A rolling restart falls exactly on a scrape, so nothing is lost; a crash falls between two.
        """
        begin = midnight(self.start)
        crash = self.crashes().get(replica)
        for entered, left in lives(replica):
            if left <= begin or entered >= until:
                continue
            cuts = [(at, EndReason.ROLLING_RESTART) for at in rolling_restarts(replica, entered, min(left, until))]
            if crash is not None and entered < crash < min(left, until):
                cuts = sorted([*cuts, (crash, EndReason.CRASH)])
            end = (left, EndReason.WITHDRAWN) if left <= until else (until, EndReason.RUNNING)
            started, created, serves_from = float(entered), float(entered), entered
            for at, reason in [*cuts, end]:
                if at > begin:
                    opening = max(entered, begin) if serves_from <= max(entered, begin) else None
                    yield Incarnation(replica, started, created, serves_from, at, reason, opening)
                if reason is EndReason.CRASH:  # noticed late, then the weights load: 205 s as recorded of vLLM 0.32
                    started, created, serves_from = at + 121.37, at + 203.42, at + 205
                else:
                    started, created, serves_from = at + 8.41, at + 93.07, at + 95

    def segments(self, until: int) -> list[Segment]:
        """Every incarnation cut at the hours, by hour and replica; `until` is a midnight."""
        begin = midnight(self.start)
        found = [
            Segment(
                incarnation, hour, max(hour, incarnation.serves_from), min(hour + HOUR, incarnation.ends_at), scraped
            )
            for replica in replicas()
            for incarnation in self.incarnations(replica, until)
            for hour in range(max(begin, incarnation.serves_from) // HOUR * HOUR, incarnation.ends_at, HOUR)
            for scraped in [incarnation.ends_at >= hour + HOUR]
        ]
        return sorted(found, key=lambda segment: (segment.hour, segment.incarnation.replica, segment.starts))

    def batch_day(self, replica: Replica, day: date) -> list[Load]:
        """Traffic sent straight to `replica` on `day`, per UTC hour, as if it served all day."""
        rng = random.Random(f"{self.seed}/{replica.name}/{day}")
        deployment = DEPLOYMENTS[replica.deployment]
        total = deployment.tokens_per_replica_day * rng.randrange(960, 1_041)
        total = total * (deployment.weekend_permille if day.weekday() >= 5 else 1_000) // 1_000_000
        loads = []
        for hour in range(24):
            tokens = (
                total * self.hour_weight(replica, day, hour) * rng.randrange(930, 1_071) // (sum(HOUR_WEIGHTS) * 1_000)
            )
            prompt = tokens * (deployment.prompt_permille + rng.randrange(-15, 16)) // 1_000
            cached = prompt * (deployment.cached_permille + rng.randrange(-40, 41)) // 1_000
            requests = prompt // deployment.prompt_tokens_per_request
            length = requests * rng.randrange(120, 221) // 1_000
            output = tokens - prompt
            loads.append(
                Load(
                    prompt - cached,
                    cached,
                    output,
                    requests - length,
                    length,
                    (prompt - cached) * deployment.prefill_us,
                    output * deployment.decode_us * rng.randrange(900, 1_101) // 1_000,
                )
            )
        return loads

    def hour_weight(self, replica: Replica, day: date, hour: int) -> int:
        """Weight of a UTC hour for a replica; 0 where it is idle.

        assist-8b is at night, longer for the second pair; rag-32b from the drift on.
        """
        if replica.deployment == "assist-8b":
            margin = 0 if replica.number < 2 else (4 if day.weekday() >= 5 else 2)
            if 7 - margin <= hour <= 8 + margin:
                return 0
        if replica.deployment == DRIFT_DEPLOYMENT and day >= self.drift_date and hour in DRIFT_IDLE_HOURS:
            return 0
        return HOUR_WEIGHTS[hour]

    def gateway_day(self, day: date, segments: Sequence[Segment]) -> list[Call]:
        """Calls through the gateway on `day`, each begun and ended inside one of the day's `segments`."""
        rng = random.Random(f"{self.seed}/gateway/{day}")
        calls: list[Call] = []
        for deployment in DEPLOYMENTS.values():
            by_hour: dict[int, list[Segment]] = {}
            for segment in segments:
                replica, hour = segment.incarnation.replica, segment.hour % DAY // HOUR
                is_open = segment.ends - segment.starts >= 900 and self.hour_weight(replica, day, hour) > 0
                if replica.deployment == deployment.name and is_open:
                    by_hour.setdefault(hour, []).append(segment)
            if not by_hour:
                continue
            hours = list(by_hour)
            cumulated = list(accumulate(HOUR_WEIGHTS[hour] for hour in hours))
            weekday_permille = 800 if day.weekday() >= 5 else 1_000
            count = deployment.gateway_calls_per_day * weekday_permille * rng.randrange(950, 1_051) // 1_000_000
            for _ in range(count):
                hour = hours[bisect_right(cumulated, rng.randrange(cumulated[-1]))]
                calls += _attempts(rng, deployment, by_hour[hour])
        return sorted(calls, key=lambda call: (call.ended_us, call.call_bits))


def replicas() -> list[Replica]:
    """Every replica the fleet ever has, by deployment and number."""
    found = {Replica(part.deployment, index) for part in PARTS for index in part.replicas}
    return sorted(found, key=lambda replica: (list(DEPLOYMENTS).index(replica.deployment), replica.number))


def lives(replica: Replica) -> list[tuple[int, int]]:
    """When `replica` is part of the fleet: [entered, left), `left` far away where the entry is open."""
    return [
        (part.starts, part.ends or 2**40)
        for part in PARTS
        if part.deployment == replica.deployment and replica.number in part.replicas
    ]


def rolling_restarts(replica: Replica, after: int, before: int) -> Iterator[int]:
    """Yields the weekly restarts of `replica`: a weekday per deployment, an hour of the night per replica."""
    weekday = 1 + list(DEPLOYMENTS).index(replica.deployment)
    first = (weekday + 4) % 7 * DAY + (8 + replica.number) * HOUR  # the epoch began on a Thursday
    week = 7 * DAY
    yield from range(first + ((after - first) // week + 1) * week, before, week)


def _attempts(rng: random.Random, deployment: Deployment, segments: Sequence[Segment]) -> list[Call]:
    """One request of the gateway: a call, or a failed call and mostly its retry, under one trace."""
    call = _call(rng, deployment, segments[rng.randrange(len(segments))])
    if rng.randrange(1_000) >= 20:
        return [call]
    failure = _failed(call, call.started_us - 350_000)
    retry = call._replace(attempt=1, request_bits=rng.getrandbits(128), call_bits=rng.getrandbits(128))
    fate = rng.randrange(100)
    if fate < 75:
        return [failure, retry]
    return [failure, _failed(retry, retry.started_us)] if fate < 90 else [failure]


def _failed(call: Call, started_us: int) -> Call:
    """The same call answered with an error after some milliseconds; a failure's id is its call id."""
    ended_us = started_us + 9_204
    return call._replace(
        outcome=Outcome.FAILURE,
        is_stream=False,
        request_bits=call.call_bits,
        started_us=started_us,
        first_token_us=ended_us,
        ended_us=ended_us,
        prompt=0,
        cached=0,
        output=0,
    )


def _call(rng: random.Random, deployment: Deployment, segment: Segment) -> Call:
    weights = list(accumulate(weight for _, weight in deployment.tenants))
    prompt = 24 + deployment.prompt_tokens_per_request * rng.randrange(200, 1_801) * rng.randrange(200, 1_801) // 10**6
    output = 1 + deployment.output_tokens_per_call * rng.randrange(100, 1_901) * rng.randrange(100, 1_901) // 10**6
    permille = deployment.cached_permille * rng.randrange(1_900) // 1_000 if rng.randrange(10) else 0
    cached = prompt * permille // 1_000 // 16 * 16  # whole blocks of 16 tokens
    wait = 40_000 + (prompt - cached) * deployment.prefill_us + rng.randrange(30_000)
    length = wait + output * deployment.decode_us
    # Five seconds of margin on either side: a failed first attempt precedes the call, and the hour ends with a scrape.
    room = (segment.ends - segment.starts - 10) * 1_000_000 - length
    started = (segment.starts + 5) * 1_000_000 + rng.randrange(room)
    is_stream = rng.randrange(100) < 60
    return Call(
        segment=segment,
        outcome=Outcome.UNREPORTED if is_stream and rng.randrange(100) < 3 else Outcome.SUCCESS,
        is_stream=is_stream,
        is_cached_stated=is_stream or rng.randrange(100) >= 8,
        attempt=0,
        request_bits=rng.getrandbits(128),
        call_bits=rng.getrandbits(128),
        trace_bits=rng.getrandbits(128),
        tenant=deployment.tenants[bisect_right(weights, rng.randrange(weights[-1]))][0],
        started_us=started,
        first_token_us=started + wait if is_stream else started + length,
        ended_us=started + length,
        prompt=prompt,
        cached=cached,
        output=output,
        is_duplicated=rng.randrange(1_000) < 3,
    )
