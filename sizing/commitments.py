"""How many GPUs to commit to, for how long and paid how; the rest on demand and on spot. What that saves, against what.

Demand is cut into layers: the k-th GPU is needed in all hours with k GPUs or more. A layer that is busy enough is
cheaper committed, and the least busy one that still is says how many (break-even; the newsvendor's quantile). With
several ways to buy, each layer takes the cheapest at its own utilization (screening curve). What is committed already
is paid in any case and lies at the bottom. docs/capacity.md writes the formulas out.

Pure arithmetic. Money is Decimal, exact in the hours it is given; which way is cheaper is decided in doubles.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from sizing.demand import HOURS_PER_DAY, HOURS_PER_WEEK, DemandError, Floats, LoadCurve, forecast

# As providers and their price pages count a term: 365 x 24 / 12.
HOURS_PER_MONTH = 730
_MICRO = Decimal("0.000001")
ON_DEMAND = "on_demand"
SPOT = "spot"


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to buy a GPU for a term; paid whether it is used or not.

    Args:
        name: such as reserved_36m_no_upfront.
        term_months: 1 or more.
        recurring_usd_per_gpu_hour: in each hour of the term.
        upfront_usd_per_gpu: once, at the start of the term.
        usage_usd_per_gpu_hour: in addition, in hours of use only (few providers ask that).
    """

    name: str
    term_months: int
    recurring_usd_per_gpu_hour: Decimal
    upfront_usd_per_gpu: Decimal = Decimal(0)
    usage_usd_per_gpu_hour: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if self.term_months < 1:
            raise ValueError(f"{self.name}: term_months is {self.term_months}; a commitment lasts a month at least")
        for name in ("recurring_usd_per_gpu_hour", "upfront_usd_per_gpu", "usage_usd_per_gpu_hour"):
            _check_price(f"{self.name}: {name}", getattr(self, name))

    @property
    def fixed_usd_per_gpu_hour(self) -> Decimal:
        """What an hour of the term costs, used or not: recurring, and the upfront payment spread over the term."""
        return self.recurring_usd_per_gpu_hour + self.upfront_usd_per_gpu / (self.term_months * HOURS_PER_MONTH)


@dataclass(frozen=True, slots=True)
class Held:
    """A commitment already made: sunk, and only for what remains of its term.

    Args:
        name: of the commitment.
        gpus: how many.
        usd_per_gpu_hour: what an hour of it costs, used or not; only shown, it decides nothing.
        remaining_hours: until its end; None for beyond the period that is planned.
    """

    name: str
    gpus: int
    usd_per_gpu_hour: Decimal
    remaining_hours: float | None = None

    def __post_init__(self) -> None:
        if self.gpus < 0:
            raise ValueError(f"{self.name}: gpus is {self.gpus}; write 0 or more")
        _check_price(f"{self.name}: usd_per_gpu_hour", self.usd_per_gpu_hour)


@dataclass(frozen=True, slots=True)
class Spot:
    """GPUs that may be taken away.

    Args:
        usd_per_gpu_hour: price of a GPU-hour.
        max_share: of each hour's demand, the most that may run on them (work that can be interrupted), 0 to 1.
        interruptions_per_gpu_hour: how often one is taken away; 0.02 is once in two days, an assumption.
        recovery_hours: until its work runs elsewhere, work lost included.
    """

    usd_per_gpu_hour: Decimal
    max_share: float
    interruptions_per_gpu_hour: float = 0.02
    recovery_hours: float = 0.5

    def __post_init__(self) -> None:
        _check_price("spot: usd_per_gpu_hour", self.usd_per_gpu_hour)
        if not 0 <= self.max_share <= 1:
            raise ValueError(f"spot: max_share is {self.max_share}; write a share from 0 to 1")
        if not (self.interruptions_per_gpu_hour >= 0 and self.recovery_hours >= 0):
            raise ValueError("spot: interruptions_per_gpu_hour and recovery_hours are 0 or more")

    @property
    def reserve_ratio(self) -> float:
        """Interruption reserve: GPU-hours to hold beyond those needed, since so much is lost to interruptions."""
        return self.interruptions_per_gpu_hour * self.recovery_hours

    @property
    def usd_per_useful_gpu_hour(self) -> Decimal:
        """Price of a GPU-hour of work, the reserve included."""
        return self.usd_per_gpu_hour * (1 + Decimal(str(self.reserve_ratio)))


@dataclass(frozen=True, slots=True)
class Outlook:
    """How prices may move while a commitment binds.

    Args:
        price_decline_per_year: list prices fall by this share each year.
        new_generation_per_year: chance in each year that a generation appears which does the same work cheaper.
        new_generation_gain: by how much cheaper it then is, as a share.
    """

    price_decline_per_year: float = 0.0
    new_generation_per_year: float = 0.0
    new_generation_gain: float = 0.0

    def __post_init__(self) -> None:
        for name in ("price_decline_per_year", "new_generation_per_year", "new_generation_gain"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"outlook: {name} is {getattr(self, name)}; write a share from 0 to below 1")

    def price_index(self, year: int) -> float:
        """Expected price of the same work in a year to come, relative to today; 1 in the first year (year 0)."""
        seen = 1 - (1 - self.new_generation_per_year) ** year
        return (1 - self.price_decline_per_year) ** year * (1 - seen * self.new_generation_gain)

    def mean_index(self, term_months: int, horizon_months: int) -> float:
        """Mean index over the horizon of what is bought anew every `term_months`, at the prices of that time."""
        starts = range(0, horizon_months, term_months)
        parts = [(self.price_index(start // 12), min(start + term_months, horizon_months) - start) for start in starts]
        return sum(index * months for index, months in parts) / horizon_months


@dataclass(frozen=True, slots=True)
class Tier:
    """One part of a plan.

    Args:
        name: of the held commitment or offer; on_demand or spot.
        kind: held, committed, spot or on_demand.
        gpus: committed GPUs; None for on demand and spot.
        paid_gpu_hours, used_gpu_hours: to a millionth.
        usd_per_gpu_hour: of the paid hours.
        cost_usd: paid hours at that rate, and used hours at the usage rate of the offer.
    """

    name: str
    kind: str
    gpus: int | None
    paid_gpu_hours: Decimal
    used_gpu_hours: Decimal
    usd_per_gpu_hour: Decimal
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Plan:
    """What to buy for a demand; the used GPU-hours of the tiers sum to the demand's.

    Args:
        tiers: held, committed, spot, on demand; those without hours left out.
        hours: length of the period.
        demand_gpu_hours: needed.
        buy_gpus: offer to number of GPUs to commit to now.
        renew_gpus: offer to number of GPUs to commit to in addition, once held commitments ended within the period.
    """

    tiers: tuple[Tier, ...]
    hours: float
    demand_gpu_hours: Decimal
    buy_gpus: dict[str, int]
    renew_gpus: dict[str, int]

    @property
    def cost_usd(self) -> Decimal:
        """All tiers."""
        return sum((tier.cost_usd for tier in self.tiers), Decimal(0))

    def gpu_hours(self, kind: str) -> Decimal:
        """Paid GPU-hours of a kind."""
        return sum((tier.paid_gpu_hours for tier in self.tiers if tier.kind == kind), Decimal(0))


def break_even_utilization(offer: Offer, on_demand_usd_per_gpu_hour: Decimal) -> Decimal | None:
    """Share of its hours a GPU must be busy for the offer to be the cheaper one; None where it never is."""
    saved = on_demand_usd_per_gpu_hour - offer.usage_usd_per_gpu_hour
    if saved <= 0 or offer.fixed_usd_per_gpu_hour > saved:
        return None
    return offer.fixed_usd_per_gpu_hour / saved


def break_even_decline(longer: Offer, shorter: Offer) -> float | None:
    """Yearly fall of prices at which the shorter term, bought anew, costs the same as the longer one.

    Prices that fall faster make the shorter one the cheaper. None where no fall does, or where the shorter one is
    cheaper today.
    """
    price, price_now = float(longer.fixed_usd_per_gpu_hour), float(shorter.fixed_usd_per_gpu_hour)
    if price > price_now:
        return None

    def shorter_costs(decline: float) -> float:
        return price_now * Outlook(decline).mean_index(shorter.term_months, longer.term_months)

    low, high = 0.0, 1.0 - 1e-12
    if shorter_costs(high) > price:  # even at no price at all the first term is dearer
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if shorter_costs(middle) > price else (low, middle)
    return high


@dataclass(frozen=True, slots=True)
class Market:
    """The prices a plan chooses from.

    Args:
        on_demand_usd_per_gpu_hour: price without commitment.
        offers: commitments that can be made.
        spot: None where there is none, or none of the work may be interrupted.
        outlook: how prices may move.
        step_gpus: GPUs that are committed together: those of an instance, or of a replica.
    """

    on_demand_usd_per_gpu_hour: Decimal
    offers: Sequence[Offer] = ()
    spot: Spot | None = None
    outlook: Outlook = Outlook()
    step_gpus: int = 1

    def __post_init__(self) -> None:
        _check_price("on_demand_usd_per_gpu_hour", self.on_demand_usd_per_gpu_hour)
        if self.step_gpus < 1:
            raise ValueError(f"step_gpus is {self.step_gpus}; write 1 or more")
        names = [offer.name for offer in self.offers]
        if len(set(names)) < len(names):
            raise ValueError(f"offers: two are called the same ({', '.join(sorted(names))})")

    def only(self, *offers: Offer) -> "Market":
        """The same prices with these offers alone."""
        return Market(self.on_demand_usd_per_gpu_hour, offers, self.spot, self.outlook, self.step_gpus)


def choose(load: LoadCurve, market: Market, *, held_gpus: int = 0) -> dict[str, int]:
    """How many GPUs to commit to by each offer, above those held: each step of GPUs takes what is cheapest for it.

    All ways are compared over the longest term on offer, at the prices expected for when they are bought anew. Of equal
    ones the less binding is taken.
    """
    step = market.step_gpus
    steps = max(0, math.ceil((load.peak_gpus - held_gpus) / step - 1e-9))
    if not steps or not market.offers:
        return {}
    edges = held_gpus + step * np.arange(steps + 1, dtype=np.float64)
    used, on_spot = _layers(load, edges, market.spot)
    horizon = max(offer.term_months for offer in market.offers)
    # On demand follows the prices of each year, as a commitment for one does.
    index = market.outlook.mean_index(min(12, horizon), horizon)
    on_demand = float(market.on_demand_usd_per_gpu_hour) * index
    spot = float(market.spot.usd_per_useful_gpu_hour) * index if market.spot else on_demand
    paid = step * load.total_hours
    offers = sorted(market.offers, key=lambda offer: (offer.term_months, offer.name))
    cheapest = on_demand * (used - on_spot) + min(spot, on_demand) * on_spot
    best = np.full(steps, -1)
    for number, offer in enumerate(offers):
        usage = float(offer.usage_usd_per_gpu_hour) * index
        fixed = float(offer.fixed_usd_per_gpu_hour) * market.outlook.mean_index(offer.term_months, horizon)
        cost = fixed * paid + min(usage, on_demand) * (used - on_spot) + min(usage, spot, on_demand) * on_spot
        is_cheaper = cost < cheapest * (1 - 1e-12)
        best[is_cheaper] = number
        cheapest = np.where(is_cheaper, cost, cheapest)
    return {
        offer.name: int((best == number).sum()) * step for number, offer in enumerate(offers) if (best == number).any()
    }


def make_plan(
    load: LoadCurve,
    market: Market,
    *,
    held: Sequence[Held] = (),
    expected: LoadCurve | None = None,
    chosen: dict[str, int] | None = None,
) -> Plan:
    """Chooses commitments, and says what the demand then costs.

    Args:
        load: the demand to price, such as the last four weeks.
        market: prices.
        held: commitments already made; they are used first, the longest at the bottom.
        expected: what to choose by, such as the forecast; `load` itself without it, which is perfect foresight.
        chosen: offer to GPUs, to price a choice made before instead.
    """
    ends = sorted({min(each.remaining_hours, load.total_hours) for each in held if each.remaining_hours is not None})
    marks = [0.0, *(end for end in ends if 0 < end < load.total_hours), load.total_hours]
    parts: list[tuple[dict[str, int], list[Tier]]] = []
    for start, end in zip(marks, marks[1:], strict=False):
        active = [each for each in held if each.remaining_hours is None or each.remaining_hours > start]
        held_gpus = sum(each.gpus for each in active)
        bought = choose(expected or load, market, held_gpus=held_gpus) if chosen is None else chosen
        share = LoadCurve(load.gpus, load.hours * ((end - start) / load.total_hours))
        parts.append((bought, _price(share, market, active, bought)))
    first = parts[0][0]
    last = parts[-1][0]
    tiers: dict[tuple[str, str], Tier] = {}
    for _, priced in parts:
        for tier in priced:
            before = tiers.get((tier.kind, tier.name))
            tiers[tier.kind, tier.name] = tier if before is None else _sum(before, tier)
    order = ("held", "committed", SPOT, ON_DEMAND)
    return Plan(
        tiers=tuple(sorted(tiers.values(), key=lambda tier: order.index(tier.kind))),
        hours=load.total_hours,
        demand_gpu_hours=sum((tier.used_gpu_hours for tier in tiers.values()), Decimal(0)),
        buy_gpus=first,
        renew_gpus={name: gpus - first.get(name, 0) for name, gpus in last.items() if gpus > first.get(name, 0)},
    )


def _layers(load: LoadCurve, edges: Floats, spot: Spot | None) -> tuple[Floats, Floats]:
    """GPU-hours used in each layer, and those of them that may run on spot: the topmost share of each hour."""
    used = load.hours_between(edges)
    if spot is None:
        return used, np.zeros_like(used)
    return used, np.maximum(used - load.hours_between(edges, of_share=1 - spot.max_share), 0.0)


def _price(load: LoadCurve, market: Market, held: Sequence[Held], bought: dict[str, int]) -> list[Tier]:
    """What the demand costs with these commitments, each a layer; the cheapest to use lies lowest."""
    hours = _hours(load.total_hours)
    by_name = {offer.name: offer for offer in market.offers}
    unknown = sorted(set(bought) - set(by_name))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: no offer of this name; there are {', '.join(by_name) or 'none'}")
    longest_first = sorted(held, key=lambda each: -(math.inf if each.remaining_hours is None else each.remaining_hours))
    stack: list[tuple[str, str, int, Decimal, Decimal]] = [
        ("held", each.name, each.gpus, each.usd_per_gpu_hour, Decimal(0)) for each in longest_first
    ]
    stack += [
        ("committed", name, gpus, by_name[name].fixed_usd_per_gpu_hour, by_name[name].usage_usd_per_gpu_hour)
        for name, gpus in sorted(bought.items(), key=lambda item: (by_name[item[0]].usage_usd_per_gpu_hour, item[0]))
        if gpus
    ]
    reach = np.cumsum([0, *(gpus for _, _, gpus, _, _ in stack)], dtype=np.float64)
    top = max(load.peak_gpus, float(reach[-1]))
    used, on_spot = _layers(load, np.append(reach, top), market.spot)
    spot_price = market.spot.usd_per_useful_gpu_hour if market.spot else None
    cheapest_else = min(market.on_demand_usd_per_gpu_hour, spot_price or market.on_demand_usd_per_gpu_hour)
    tiers = []
    spot_hours, left = Decimal(0), _hours(load.gpu_hours)
    for number, (kind, name, gpus, fixed, usage) in enumerate(stack):
        own = used[number]
        if usage > cheapest_else:  # work that may run on spot does, where that is cheaper than using what is committed
            own = used[number] - on_spot[number] if usage <= market.on_demand_usd_per_gpu_hour else 0.0
            spot_hours += _hours(float(on_spot[number]))
        own_hours = min(_hours(float(own)), left)
        left -= own_hours
        cost = gpus * hours * fixed + own_hours * usage
        tiers.append(Tier(name, kind, gpus, gpus * hours, own_hours, fixed, cost))
    if market.spot is not None and spot_price is not None and spot_price < market.on_demand_usd_per_gpu_hour:
        spot_hours = min(spot_hours + _hours(float(on_spot[-1])), left)
        left -= spot_hours
        paid = (spot_hours * (1 + Decimal(str(market.spot.reserve_ratio)))).quantize(_MICRO)
        if spot_hours:
            rate = market.spot.usd_per_gpu_hour
            tiers.append(Tier(SPOT, SPOT, None, paid, spot_hours, rate, paid * rate))
    if left:
        rate = market.on_demand_usd_per_gpu_hour
        tiers.append(Tier(ON_DEMAND, ON_DEMAND, None, left, left, rate, left * rate))
    return tiers


def _sum(one: Tier, other: Tier) -> Tier:
    return Tier(
        one.name,
        one.kind,
        None if one.gpus is None else max(one.gpus, other.gpus or 0),
        one.paid_gpu_hours + other.paid_gpu_hours,
        one.used_gpu_hours + other.used_gpu_hours,
        one.usd_per_gpu_hour,
        one.cost_usd + other.cost_usd,
    )


# --- savings ----------------------------------------------------------------------------------------------------------

AUTOSCALED_ON_DEMAND = "autoscaled_on_demand"
PEAK_ON_DEMAND = "peak_on_demand"
ACTUAL = "actual"


@dataclass(frozen=True, slots=True)
class Saving:
    """A cost beside one baseline; `ratio` is None where the baseline costs nothing."""

    baseline: str
    baseline_usd: Decimal
    cost_usd: Decimal

    @property
    def ratio(self) -> Decimal | None:
        """Share of the baseline that is saved; negative where the plan costs more."""
        return 1 - self.cost_usd / self.baseline_usd if self.baseline_usd else None


def savings(load: LoadCurve, market: Market, cost_usd: Decimal, *, actual_usd: Decimal | None = None) -> list[Saving]:
    """The cost beside on demand that scales perfectly, on demand sized for the peak, and what was really paid.

    Against the first no commitment can save more than 1 - committed / on-demand price; against the second almost
    anything looks good. So a saving without its baseline says nothing.
    """
    on_demand = market.on_demand_usd_per_gpu_hour
    steps = math.ceil(load.peak_gpus / market.step_gpus - 1e-9)
    found = [
        Saving(AUTOSCALED_ON_DEMAND, _hours(load.gpu_hours) * on_demand, cost_usd),
        Saving(PEAK_ON_DEMAND, steps * market.step_gpus * _hours(load.total_hours) * on_demand, cost_usd),
    ]
    return found if actual_usd is None else [*found, Saving(ACTUAL, actual_usd, cost_usd)]


def reserved_base_savings(
    gpus_per_hour: Sequence[float],
    *,
    on_demand_usd_per_gpu_hour: Decimal,
    reserved_usd_per_gpu_hour: Decimal,
    actual_usd: Decimal | None = None,
    step_gpus: int = 1,
) -> list[Saving]:
    """The claim "a reserved base and on-demand peaks save 40 to 60 %", for one demand and one pair of rates.

    The commitment is the best there is for this demand, known beforehand: an upper bound for any that is chosen. One
    saving per baseline.
    """
    load = LoadCurve.of(gpus_per_hour)
    market = Market(on_demand_usd_per_gpu_hour, [Offer("reserved", 12, reserved_usd_per_gpu_hour)], step_gpus=step_gpus)
    return savings(load, market, make_plan(load, market).cost_usd, actual_usd=actual_usd)


# --- backtest ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One stretch that the choice did not know.

    Args:
        first_hour: position in the series.
        hours: known hours in it.
        committed_gpus, cost_usd: as chosen from what came before.
        foresight_gpus, foresight_usd: the best constant commitment for this very stretch.
    """

    first_hour: int
    hours: int
    committed_gpus: int
    cost_usd: Decimal
    foresight_gpus: int
    foresight_usd: Decimal


@dataclass(frozen=True, slots=True)
class Backtest:
    """Stretches in order; regret is what was paid beyond the foresight optimum, as a share of the optimum."""

    stretches: tuple[HeldOut, ...]
    is_by_week: bool  # by day where there were less than two weeks

    @property
    def cost_usd(self) -> Decimal:
        """As chosen."""
        return sum((each.cost_usd for each in self.stretches), Decimal(0))

    @property
    def foresight_usd(self) -> Decimal:
        """With perfect foresight."""
        return sum((each.foresight_usd for each in self.stretches), Decimal(0))

    @property
    def regret_ratio(self) -> Decimal | None:
        """Over all stretches together; None without any, or where nothing was needed."""
        return self.cost_usd / self.foresight_usd - 1 if self.foresight_usd else None


Forecaster = Callable[[Floats, int], LoadCurve]


def backtest(
    gpus_per_hour: Sequence[float] | Floats,
    market: Market,
    *,
    horizon_weeks: int = 1,
    forecaster: Forecaster | None = None,
) -> Backtest:
    """Chooses at the start of each week from the hours before it, and compares with the best choice for that week.

    The first half of the weeks, at most four, are only learned from; weeks are counted back from the end. With less
    than two whole weeks it goes by days. With a longer horizon each choice is kept for so many weeks, as a commitment
    is.

    Raises:
        DemandError: less than two whole days, so that nothing can be held out.
    """
    series = np.asarray(gpus_per_hour, dtype=np.float64)
    is_by_week = len(series) >= 2 * HOURS_PER_WEEK
    length = HOURS_PER_WEEK if is_by_week else HOURS_PER_DAY
    count = len(series) // length
    if count < 2:
        raise DemandError(f"the demand has {len(series)} hours; two whole days are needed to hold one out")
    learned = min(4, count // 2) if is_by_week else (count + 1) // 2
    predict = forecaster or (lambda past, weeks: forecast(past, horizon_weeks=weeks))
    stretch = horizon_weeks if is_by_week else 1
    offset = len(series) - count * length
    found = []
    for number in range(learned, count, stretch):
        start = offset + number * length
        actual = series[start : start + stretch * length]
        past = series[:start]
        if np.isnan(actual).all() or np.isnan(past).all():
            continue
        load = LoadCurve.of(actual)
        chosen = choose(predict(past, horizon_weeks), market)
        paid = make_plan(load, market, chosen=chosen)
        best = make_plan(load, market)
        found.append(
            HeldOut(
                first_hour=start,
                hours=int((~np.isnan(actual)).sum()),
                committed_gpus=sum(chosen.values()),
                cost_usd=paid.cost_usd,
                foresight_gpus=sum(best.buy_gpus.values()),
                foresight_usd=best.cost_usd,
            )
        )
    return Backtest(tuple(found), is_by_week)


def _hours(value: float) -> Decimal:
    return Decimal(repr(value)).quantize(_MICRO)


def _check_price(what: str, price: Decimal) -> None:
    if not (price.is_finite() and price >= 0):
        raise ValueError(f"{what} is {price}; write a price of 0 or more")
