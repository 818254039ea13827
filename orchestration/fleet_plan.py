"""`inference-ledger plan --model … --requests …`: the cheapest mix of GPU types for a model and the requests it gets.

What a replica serves of each size of requests comes from `sizing`, its price from the published price book, the mix
from `sizing.fleet`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from orchestration.capacity_report import fleet_data, fleet_lines
from orchestration.fleet_replicas import (
    Staffing,
    TypeReplicas,
    Unit,
    replica_data,
    replica_lines,
    replicas_of_each,
)
from orchestration.fleet_requests import RequestCurve, read_requests
from orchestration.serving_points import calibrated
from orchestration.settings import Settings, model_hub
from orchestration.sizing_answers import Offer, published
from orchestration.sizing_inputs import find_model, known_gpus
from sizing.choices import DEGREES, Choice, grid
from sizing.errors import SizingError
from sizing.fleet import Fleet, GpuOption, SingleType, cheapest_fleet, single_type_fleets
from sizing.precision import precision_named, scheme_for
from sizing.replicas import OperatingPoint
from sizing.throughput import Targets

# The solver is fast up to some dozens of types: of each size of requests the cheapest few replicas are tried.
TRIED_PER_BUCKET = 6
ALONE_SHOWN = 5


@dataclass(frozen=True)
class FleetPlan:
    """The cheapest fleet for the peak, each type alone, and what it was chosen from.

    `peak_step` is the step of the curve with the most load on the cheapest type of `replicas`, which is each type that
    serves all sizes, with a queue and spares; where none does, on the cheapest type for each size.
    """

    fleet: Fleet
    alone: list[SingleType]
    curve: RequestCurve
    peak_step: int
    replicas: list[TypeReplicas]
    staffing: Staffing
    units: dict[str, Unit]
    purchase: str
    precision: str
    target_utilization: float


def plan_for_model(
    settings: Settings,
    name: str,
    path: Path,
    *,
    gpu: str | None,
    precision: str | None,
    targets: Targets,
    purchase: str,
    staffing: Staffing,
) -> FleetPlan:
    """The cheapest fleet for the requests of `path` to the model called `name`, and replicas of one type for them.

    Args:
        settings: where prices and own telemetry are published, and how busy a GPU may be.
        name: as of `inference-ledger size`.
        path: sizes of requests and their rates, at one time or along a curve.
        gpu: only GPUs whose name contains this.
        precision: of the weights; the checkpoint's where None.
        targets: what users are promised.
        purchase: on_demand, spot, reserved, savings_plan or committed_use.
        staffing: what users are promised of the queue, and what may fail.

    Raises:
        DemandError: the file of requests.
        SizingError: the model, or no price to choose by.
        NoFleetError: requests that no GPU with a price serves within the targets.
    """
    curve = read_requests(path, targets)
    hub_url, token = model_hub()
    model = find_model(name, settings.model_configs(), hub_url=hub_url, token=token)
    own = scheme_for(model).name if precision is None else precision_named(precision).name
    offers, served, note = published(settings)
    if not offers:
        raise SizingError(note or "no price is in force")
    words = (gpu or "").casefold()
    known = known_gpus()
    gpus = [
        known[gpu_name]
        for gpu_name in sorted({offer.gpu_model for offer in offers if offer.purchase == purchase})
        if gpu_name in known and words in gpu_name.casefold()
    ]
    if not gpus:
        raise SizingError(f"no {purchase} price is in force for a GPU {f'named {gpu}' if gpu else 'that can be sized'}")
    utilization = float(settings.ledger.capacity.target_utilization)
    choices = grid(
        model,
        gpus=gpus,
        precisions=(own,),
        demands=curve.demands,
        degrees=DEGREES,
        estimators=calibrated(served, name, model, known, own),
    )
    units = _worth_trying(_units(choices, [each for each in offers if each.purchase == purchase], utilization), curve)
    replicas = replicas_of_each(units.values(), curve, staffing, max_utilization=utilization, purchase=purchase)
    peak = replicas[0].peak_step if replicas else _dearest_step(units, curve)
    rates = {each.name: curve.rates[peak].get(each.name, 0.0) for each in curve.demands}
    options = [unit.option for unit in units.values()]
    return FleetPlan(
        cheapest_fleet(rates, options),
        single_type_fleets(rates, options),
        curve,
        peak,
        replicas,
        staffing,
        units,
        purchase,
        own,
        utilization,
    )


def _units(choices: Iterable[Choice], offers: Sequence[Offer], utilization: float) -> dict[str, Unit]:
    """Every replica that has a price, by its name; what it serves leaves room for bursts."""
    possible: dict[tuple[str, int], list[Choice]] = {}
    for choice in choices:
        if choice.point is not None:
            possible.setdefault((choice.gpu.name, choice.gpus), []).append(choice)
    units = {}
    for (gpu_name, gpus), evaluated in possible.items():
        priced = [
            (price, offer)
            for offer in offers
            if offer.gpu_model == gpu_name and (price := offer.usd_per_gpu_hour_of(gpus)) is not None
        ]
        if not priced:
            continue
        priced.sort(key=lambda each: each[0])
        points = {each.demand.name: each.point for each in evaluated if each.point is not None}
        unit_name = gpu_name if gpus == 1 else f"{gpu_name} tp{gpus}"
        option = GpuOption(
            unit_name,
            Decimal(f"{priced[0][0] * gpus:.6f}"),
            {
                each.demand.name: each.point.output_tokens_per_second_per_gpu
                * gpus
                / each.demand.workload.output_tokens
                * utilization
                for each in evaluated
                if each.point is not None
            },
        )
        units[unit_name] = Unit(
            option,
            [offer for _, offer in priced],
            gpus,
            next(iter(points.values())).method,
            {
                bucket: OperatingPoint(int(point.concurrency), point.ttft_ms / 1e3, point.tpot_ms / 1e3)
                for bucket, point in points.items()
            },
        )
    return units


def _worth_trying(units: dict[str, Unit], curve: RequestCurve) -> dict[str, Unit]:
    """Of each size of requests, and of all together, the replicas that serve it at the lowest price."""
    together = {size: sum(step.get(size, 0.0) for step in curve.rates) for size in curve.sizes}
    kept: set[str] = set()
    for asked in (*({each.name: 1.0} for each in curve.demands), together):
        able = [unit for unit in units.values() if math.isfinite(_fluid_usd(unit, asked))]
        able.sort(key=lambda unit: _fluid_usd(unit, asked))
        kept |= {unit.option.name for unit in able[:TRIED_PER_BUCKET]}
    return {name: unit for name, unit in units.items() if name in kept}


def _fluid_usd(unit: Unit, rates: Mapping[str, float]) -> float:
    """Price per hour of the replicas that these requests keep busy, in fractions; infinite where one is not served."""
    served = unit.option.max_requests_per_second
    if not all(served.get(bucket) for bucket in rates):
        return math.inf
    return float(unit.option.usd_per_hour) * sum(rate / served[bucket] for bucket, rate in rates.items())


def _dearest_step(units: dict[str, Unit], curve: RequestCurve) -> int:
    """The step with the most load, each size on the type that serves it cheapest; a size without one comes first."""
    cheapest = {
        size: min((_fluid_usd(unit, {size: 1.0}) for unit in units.values()), default=math.inf) for size in curve.sizes
    }
    loads = [sum(rate * cheapest[size] for size, rate in step.items() if rate) for step in curve.rates]
    return loads.index(max(loads))


def plan_lines(plan: FleetPlan) -> list[str]:
    """The plan in words."""
    lines = fleet_lines(plan.fleet, [each for each in plan.alone if each.usd_per_hour is not None][:ALONE_SHOWN])
    if not plan.fleet.units:
        return lines
    if plan.curve.step_seconds is not None:
        most = f"the most load on {plan.replicas[0].name}" if plan.replicas else "the dearest to serve"
        lines.insert(0, f"At the peak, {plan.curve.labels[plan.peak_step]} ({most}):")
        others = [size for size in plan.curve.sizes if size not in plan.fleet.shares]
        if others:
            lines.append(f"Not in the mix, for they come at other times: {', '.join(others)}")
    lines.append("Who serves what:")
    for bucket, parts in plan.fleet.shares.items():
        lines.append(f"  {bucket}: " + ", ".join(f"{share:.0%} {name}" for name, share in parts.items()))
    lines.append(f"Where ({plan.purchase.replace('_', ' ')}, {plan.precision}):")
    for name in plan.fleet.units:
        unit = plan.units[name]
        machine = unit.offer.instance_type or "by the GPU"
        lines.append(
            f"  {name}: {unit.option.usd_per_hour:,.2f} USD per hour, {unit.offer.provider} {unit.offer.region} "
            f"{machine}, as of {unit.offer.confirmed_date}; throughput {unit.method}"
        )
    lines += replica_lines(plan.replicas, plan.curve, plan.staffing)
    lines.append(
        f"GPUs may be {plan.target_utilization:.0%} busy (capacity.target_utilization); of each size, and of "
        f"all together, the {TRIED_PER_BUCKET} cheapest replicas were tried. How sure throughput is: docs/sizing.md."
    )
    return lines


def plan_data(plan: FleetPlan) -> dict[str, Any]:
    """For --json."""
    return fleet_data(plan.fleet, plan.alone) | {
        "purchase": plan.purchase,
        "precision": plan.precision,
        "target_utilization": plan.target_utilization,
        "peak_step": plan.curve.labels[plan.peak_step],
        "replicas": replica_data(plan.replicas, plan.curve, plan.staffing),
        "types": [
            {
                "name": name,
                "gpu_model": unit.offer.gpu_model,
                "gpus": unit.gpus,
                "usd_per_hour": f"{unit.option.usd_per_hour:f}",
                "provider": unit.offer.provider,
                "region": unit.offer.region,
                "instance_type": unit.offer.instance_type,
                "price_as_of": unit.offer.confirmed_date.isoformat(),
                "method": unit.method,
                "max_requests_per_second": dict(unit.option.max_requests_per_second),
            }
            for name, unit in plan.units.items()
        ],
    }
