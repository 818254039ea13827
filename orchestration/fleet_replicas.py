"""How many replicas of one type a load takes, so that requests seldom wait: the queue, spares, machines and money.

The arithmetic is `sizing.replicas`; here it meets the price book, and the answer becomes words and data.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from orchestration.fleet_requests import RequestCurve
from orchestration.sizing_answers import Offer
from sizing.fleet import GpuOption, least_gpus
from sizing.replicas import (
    Machines,
    Mix,
    MixPart,
    OperatingPoint,
    Period,
    Target,
    queue_of_mix,
    replicas_for_mix,
    started_in_time,
    whole_machines,
    with_spares,
)

TYPES_SHOWN = 5
_PERIODS_SHOWN = 48
# What is committed is paid in every hour: there is no curve to follow.
_BY_THE_HOUR = ("on_demand", "spot")


@dataclass(frozen=True)
class Unit:
    """A replica that can be rented: what it serves of each size of requests, and where.

    Args:
        option: for the mix of types; a replica's share of the machines it fills.
        offers: where it can be rented, the cheapest GPU first.
        gpus: of one replica.
        method: how its throughput is known.
        points: per size that it serves, the batch planned for and its times.
    """

    option: GpuOption
    offers: Sequence[Offer]
    gpus: int
    method: str
    points: Mapping[str, OperatingPoint]

    @property
    def offer(self) -> Offer:
        """The cheapest, where its machines are full."""
        return self.offers[0]


@dataclass(frozen=True)
class Staffing:
    """What users are promised of the queue, and what may fail.

    Args:
        max_wait_seconds, max_wait_share: at most this share of the requests waits longer than that for a slot.
        arrivals_scv: squared coefficient of variation of the time between arrivals; 1 is a Poisson stream.
        spare_replicas, zones: more replicas than the load needs; and where they stand, so that one may be lost.
        cold_start_seconds: from the start of a replica until it serves.
    """

    max_wait_seconds: float = 1.0
    max_wait_share: float = 0.01
    arrivals_scv: float = 1.0
    spare_replicas: int = 1
    zones: int = 1
    cold_start_seconds: int = 300


@dataclass(frozen=True)
class TypeReplicas:
    """One type alone for the whole curve.

    Args:
        unit: the type.
        offer: where the machines for the peak cost least.
        mixes: per step, the stream of requests on this type; None where none arrives.
        peak_step, peak: the first step with the most load, and its stream.
        needed: per step, replicas for the load.
        running: per step, the same with spares.
        least: with fewer no schedule, however clever, has every request of the curve in a slot in the promised time.
        wait_share: of the requests of the peak that wait longer than is promised; spares do not serve.
        machines: for the most that run.
        usd_per_hour: of these machines.
        schedule: what runs when, each started in time; empty for a single step.
        followed_usd: what the schedule costs over the curve; None for a single step or what is committed.
    """

    unit: Unit
    offer: Offer
    mixes: Sequence[Mix | None]
    peak_step: int
    peak: Mix
    needed: Sequence[int]
    running: Sequence[int]
    least: int
    wait_share: float
    machines: Machines
    usd_per_hour: Decimal
    schedule: Sequence[Period]
    followed_usd: Decimal | None

    @property
    def name(self) -> str:
        """Of the type."""
        return self.unit.option.name

    @property
    def seconds(self) -> int:
        """Length of the curve."""
        return sum(period.seconds for period in self.schedule)

    @property
    def held_usd(self) -> Decimal:
        """What the machines of the peak cost over the curve."""
        return self.usd_per_hour * self.seconds / 3600

    @property
    def followed_replica_hours(self) -> float:
        """Of the schedule."""
        return sum(period.replicas * period.seconds for period in self.schedule) / 3600

    @property
    def held_replica_hours(self) -> float:
        """Of the peak, held over the curve."""
        return max(self.running) * self.seconds / 3600


def replicas_of_each(
    units: Iterable[Unit], curve: RequestCurve, staffing: Staffing, *, max_utilization: float, purchase: str
) -> list[TypeReplicas]:
    """Each type that serves all sizes alone, the cheapest at its peak first; empty where none does or nothing arrives.

    Raises:
        ValueError: a promise that is none, such as a share of 0.
    """
    if not curve.sizes:
        return []
    able = [unit for unit in units if all(size in unit.points for size in curve.sizes)]
    found = [_replicas_of(unit, curve, staffing, max_utilization, purchase) for unit in able]
    return sorted(found, key=lambda each: (each.usd_per_hour, each.followed_usd or 0, each.name))


def _replicas_of(
    unit: Unit, curve: RequestCurve, staffing: Staffing, max_utilization: float, purchase: str
) -> TypeReplicas:
    target = Target(
        max_wait_seconds=staffing.max_wait_seconds,
        max_share=staffing.max_wait_share,
        max_utilization=max_utilization,
    )
    mixes = [
        queue_of_mix(
            [
                MixPart(rate, unit.points[each.name], each.workload.output_tokens)
                for each in curve.demands
                if (rate := step.get(each.name))
            ]
        )
        for step in curve.rates
    ]
    needed = [replicas_for_mix(mix, target=target, arrivals_scv=staffing.arrivals_scv) for mix in mixes]
    running = [with_spares(number, spare_replicas=staffing.spare_replicas, zones=staffing.zones) for number in needed]
    schedule: list[Period] = []
    if curve.step_seconds is not None:
        schedule = started_in_time(
            running, step_seconds=curve.step_seconds, cold_start_seconds=staffing.cold_start_seconds
        )

    def machines(offer: Offer, replicas: int) -> Machines:
        is_bare = offer.instance_type is None or offer.gpu_count is None
        per_machine = unit.gpus if is_bare else int(offer.gpu_count or 0)
        return whole_machines(replicas, gpus_per_replica=unit.gpus, gpus_per_machine=per_machine, zones=staffing.zones)

    def usd_per_hour(offer: Offer, replicas: int) -> Decimal:
        return machines(offer, replicas).gpus_paid * Decimal(f"{offer.usd_per_gpu_hour:.6f}")

    def followed_usd(offer: Offer) -> Decimal | None:
        if not schedule or purchase not in _BY_THE_HOUR:
            return None
        costs = (usd_per_hour(offer, period.replicas) * period.seconds for period in schedule)
        return sum(costs, Decimal(0)) / 3600

    most = max(running)
    offer = min(unit.offers, key=lambda each: (usd_per_hour(each, most), followed_usd(each) or 0))
    peak_step, peak = max(
        ((step, mix) for step, mix in enumerate(mixes) if mix is not None), key=lambda each: each[1].busy_replicas
    )
    return TypeReplicas(
        unit=unit,
        offer=offer,
        mixes=mixes,
        peak_step=peak_step,
        peak=peak,
        needed=needed,
        running=running,
        least=_least_replicas(unit, curve, mixes, staffing.max_wait_seconds),
        wait_share=peak.queue(needed[peak_step], arrivals_scv=staffing.arrivals_scv).probability_wait_exceeds(
            staffing.max_wait_seconds
        ),
        machines=machines(offer, most),
        usd_per_hour=usd_per_hour(offer, most),
        schedule=schedule,
        followed_usd=followed_usd(offer),
    )


def _least_replicas(unit: Unit, curve: RequestCurve, mixes: Sequence[Mix | None], max_wait_seconds: float) -> int:
    busy = [0.0 if mix is None else mix.busy_replicas for mix in mixes]
    if curve.step_seconds is None:
        return math.ceil(busy[0] - 1e-9)  # a rate for all times: any wait is used up in the end
    longest = max(
        unit.points[each.name].request_seconds(each.workload.output_tokens)
        for each in curve.demands
        if each.name in curve.sizes
    )
    return least_gpus(
        [replicas * curve.step_seconds for replicas in busy],
        step_seconds=curve.step_seconds,
        max_delay_seconds=max_wait_seconds + longest,
    )


def replica_lines(replicas: Sequence[TypeReplicas], curve: RequestCurve, staffing: Staffing) -> list[str]:
    """The replicas of one type in words."""
    if not replicas:
        return [
            "No type with a price serves all sizes alone within the targets, so replicas of one type are not counted; "
            "the mix does serve them, by their rates alone."
        ]
    lines = [
        f"One type alone, so that at most {staffing.max_wait_share * 100:.3g}% of the requests wait longer than "
        f"{staffing.max_wait_seconds:g} s for a slot (the mix above counts neither waiting nor spares):"
    ]
    for each in replicas[:TYPES_SHOWN]:
        most = max(each.running)
        idle = each.machines.gpus_paid - each.machines.gpus_used
        lines.append(
            f"  {most} {each.name} ({max(each.needed)} needed, {most - max(each.needed)} spare; "
            f"under {each.least} impossible): "
            f"{each.usd_per_hour:,.2f} USD per hour, {_where(each.offer)}"
            + (f", {idle} of {each.machines.gpus_paid} GPUs left over" if idle else "")
            + _followed_words(each)
        )
    first = replicas[0]
    at_peak = "" if curve.step_seconds is None else f" at {curve.labels[first.peak_step]}"
    lines.append(
        f"{first.name}{at_peak}: {first.peak.arrivals_per_second:,.4g} requests per second, each "
        f"{first.peak.service_seconds:.3g} s in its slot (squared variation {first.peak.service_scv:.2f}), "
        f"{first.peak.slots_per_replica:.4g} slots a replica; {_percent(first.wait_share)} wait longer than that with "
        f"{first.needed[first.peak_step]} replicas"
    )
    if first.schedule and first.followed_usd is not None:
        lines.append(
            f"{first.name} running, started {staffing.cold_start_seconds / 60:g} min before it serves: "
            + _schedule_words(first.schedule, curve)
        )
    return lines


def _followed_words(each: TypeReplicas) -> str:
    if each.followed_usd is None:
        return "; committed, so nothing is saved by following the curve" if each.schedule else ""
    saved = f", {1 - each.followed_usd / each.held_usd:.0%} saved" if each.held_usd else ""
    return (
        f"; following the curve {each.followed_usd:,.2f} of {each.held_usd:,.2f} USD in {each.seconds / 3600:g} h "
        f"({each.followed_replica_hours:,.1f} of {each.held_replica_hours:,.1f} replica-hours){saved}"
    )


def _percent(share: float) -> str:
    return "under 0.01%" if share < 1e-4 else f"{share * 100:.3g}%"


def _where(offer: Offer) -> str:
    return f"{offer.provider} {offer.region} {offer.instance_type or 'by the GPU'}"


def _schedule_words(schedule: Sequence[Period], curve: RequestCurve) -> str:
    """Start and number of each period; a date is written where it changes."""
    words, last = [], ""
    for period in schedule[:_PERIODS_SHOWN]:
        date, _, clock = curve.label(period.start_seconds).rpartition(" ")
        words.append(f"{clock if date == last else f'{date} {clock}'.strip()} {period.replicas}")
        last = date
    more = len(schedule) - _PERIODS_SHOWN
    return ", ".join(words) + (f" and {more} more changes (--json has them)" if more > 0 else "")


def replica_data(replicas: Sequence[TypeReplicas], curve: RequestCurve, staffing: Staffing) -> dict[str, Any]:
    """For --json."""
    return {
        "max_wait_seconds": staffing.max_wait_seconds,
        "max_wait_share": staffing.max_wait_share,
        "arrivals_scv": staffing.arrivals_scv,
        "spare_replicas": staffing.spare_replicas,
        "zones": staffing.zones,
        "cold_start_seconds": staffing.cold_start_seconds,
        "steps": curve.labels,
        "step_seconds": curve.step_seconds,
        "reason": None if replicas else "no_type_serves_all_sizes" if curve.sizes else "no_request_arrives",
        "types": [_type_data(each, curve) for each in replicas],
    }


def _type_data(each: TypeReplicas, curve: RequestCurve) -> dict[str, Any]:
    has_curve = bool(each.schedule)
    return {
        "name": each.name,
        "gpu_model": each.offer.gpu_model,
        "gpus": each.unit.gpus,
        "provider": each.offer.provider,
        "region": each.offer.region,
        "instance_type": each.offer.instance_type,
        "least_replicas": each.least,
        "needed_replicas": max(each.needed),
        "replicas": max(each.running),
        "machines": each.machines.machines,
        "gpus_paid": each.machines.gpus_paid,
        "gpus_used": each.machines.gpus_used,
        "usd_per_hour": f"{each.usd_per_hour:f}",
        "peak_step": curve.labels[each.peak_step],
        "wait_share": each.wait_share,
        "steps": [
            {
                "step": label,
                "needed_replicas": needed,
                "replicas": running,
                "requests_per_second": 0.0 if mix is None else mix.arrivals_per_second,
                "service_seconds": None if mix is None else mix.service_seconds,
                "service_scv": None if mix is None else mix.service_scv,
                "slots_per_replica": None if mix is None else mix.slots_per_replica,
                "busy_replicas": 0.0 if mix is None else mix.busy_replicas,
            }
            for label, needed, running, mix in zip(curve.labels, each.needed, each.running, each.mixes, strict=True)
        ],
        "schedule": [
            {"from": curve.label(period.start_seconds), "seconds": period.seconds, "replicas": period.replicas}
            for period in each.schedule
        ],
        "held_replica_hours": each.held_replica_hours if has_curve else None,
        "held_usd": f"{each.held_usd:.6f}" if has_curve else None,
        "followed_replica_hours": each.followed_replica_hours if has_curve else None,
        "followed_usd": None if each.followed_usd is None else f"{each.followed_usd:.6f}",
    }
