"""`inference-ledger plan --model … --requests …`: the cheapest mix of GPU types for a model and the requests it gets.

What a replica serves of each size of requests comes from `sizing`, its price from the published price book, the mix
from `sizing.fleet`.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from orchestration.capacity_report import fleet_data, fleet_lines
from orchestration.serving_points import calibrated
from orchestration.settings import Settings, model_hub
from orchestration.sizing_answers import Offer, published
from orchestration.sizing_inputs import find_model, known_gpus
from sizing.choices import DEGREES, Choice, Demand, grid
from sizing.demand import DemandError
from sizing.errors import SizingError
from sizing.fleet import Fleet, GpuOption, SingleType, cheapest_fleet, single_type_fleets
from sizing.precision import precision_named, scheme_for
from sizing.throughput import Targets, Workload

# The solver is fast up to some dozens of types: of each size of requests the cheapest few replicas are tried.
TRIED_PER_BUCKET = 6
ALONE_SHOWN = 5
_COLUMNS = ("input_tokens", "output_tokens", "requests_per_second")


@dataclass(frozen=True)
class Unit:
    """A replica that can be rented: what it serves of each size of requests, and where it is cheapest."""

    option: GpuOption
    offer: Offer
    gpus: int
    method: str


@dataclass(frozen=True)
class FleetPlan:
    """The cheapest fleet, each type alone, and what it was chosen from."""

    fleet: Fleet
    alone: list[SingleType]
    units: dict[str, Unit]
    purchase: str
    precision: str
    target_utilization: float


def read_requests(path: Path, targets: Targets) -> tuple[list[Demand], dict[str, float]]:
    """Sizes of requests and how many a second arrive of each: input_tokens, output_tokens, requests_per_second.

    `bucket` names a size and `cached_input_tokens` says how much of the prompt a cache holds; both may be left out.

    Raises:
        DemandError: names file, line and what is wrong.
    """
    demands: list[Demand] = []
    rates: dict[str, float] = {}
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise DemandError(f"{path}: no column {', '.join(missing)}; needed are {', '.join(_COLUMNS)}")
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            try:
                sizes = [float(row[name]) for name in _COLUMNS]
                workload = Workload(sizes[0], sizes[1], float(row.get("cached_input_tokens") or 0))
            except (TypeError, ValueError) as error:
                raise DemandError(f"{place}: {_words(error)}") from None
            name = row.get("bucket") or f"{workload.input_tokens:g} + {workload.output_tokens:g}"
            if name in rates:
                raise DemandError(f"{place}: bucket {name!r} is there already; add its rates up")
            demands.append(Demand(name, workload, targets))
            rates[name] = sizes[2]
    return demands, rates


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, SizingError) else "a number is missing or is none"


def plan_for_model(
    settings: Settings,
    name: str,
    path: Path,
    *,
    gpu: str | None,
    precision: str | None,
    targets: Targets,
    purchase: str,
) -> FleetPlan:
    """The cheapest fleet for the requests of `path` to the model called `name`.

    Args:
        settings: where prices and own telemetry are published, and how busy a GPU may be.
        name: as of `inference-ledger size`.
        path: sizes of requests and their rates.
        gpu: only GPUs whose name contains this.
        precision: of the weights; the checkpoint's where None.
        targets: what users are promised.
        purchase: on_demand, spot, reserved, savings_plan or committed_use.

    Raises:
        DemandError: the file of requests.
        SizingError: the model, or no price to choose by.
        NoFleetError: requests that no GPU with a price serves within the targets.
    """
    demands, rates = read_requests(path, targets)
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
        demands=demands,
        degrees=DEGREES,
        estimators=calibrated(served, name, model, known, own),
    )
    units = _worth_trying(_units(choices, [each for each in offers if each.purchase == purchase], utilization), rates)
    options = [unit.option for unit in units.values()]
    return FleetPlan(
        cheapest_fleet(rates, options), single_type_fleets(rates, options), units, purchase, own, utilization
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
        price, offer = min(priced, key=lambda each: each[0])
        unit_name = gpu_name if gpus == 1 else f"{gpu_name} tp{gpus}"
        option = GpuOption(
            unit_name,
            Decimal(f"{price * gpus:.6f}"),
            {
                each.demand.name: each.point.output_tokens_per_second_per_gpu
                * gpus
                / each.demand.workload.output_tokens
                * utilization
                for each in evaluated
                if each.point is not None
            },
        )
        points = [each.point for each in evaluated if each.point is not None]
        units[unit_name] = Unit(option, offer, gpus, points[0].method)
    return units


def _worth_trying(units: dict[str, Unit], rates: dict[str, float]) -> dict[str, Unit]:
    """Of each size of requests the replicas that serve it at the lowest price."""
    kept: set[str] = set()
    for bucket in rates:
        able = [unit for unit in units.values() if unit.option.max_requests_per_second.get(bucket)]
        able.sort(key=lambda unit: float(unit.option.usd_per_hour) / unit.option.max_requests_per_second[bucket])
        kept |= {unit.option.name for unit in able[:TRIED_PER_BUCKET]}
    return {name: unit for name, unit in units.items() if name in kept}


def plan_lines(plan: FleetPlan) -> list[str]:
    """The plan in words."""
    lines = fleet_lines(plan.fleet, [each for each in plan.alone if each.usd_per_hour is not None][:ALONE_SHOWN])
    if not plan.fleet.units:
        return lines
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
    lines.append(
        f"GPUs may be {plan.target_utilization:.0%} busy (capacity.target_utilization); of each size the "
        f"{TRIED_PER_BUCKET} cheapest replicas were tried. How sure throughput is: docs/sizing.md."
    )
    return lines


def plan_data(plan: FleetPlan) -> dict[str, Any]:
    """For --json."""
    return fleet_data(plan.fleet, plan.alone) | {
        "purchase": plan.purchase,
        "precision": plan.precision,
        "target_utilization": plan.target_utilization,
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
