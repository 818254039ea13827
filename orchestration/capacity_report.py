"""A capacity plan for people: sentences, a load duration curve in text or SVG; and the same as plain data.

Reads the published tables only, or a demand in a file.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from orchestration.capacity_plans import WINDOW_DAYS, needed_gpus
from sizing.commitments import (
    Backtest,
    Market,
    Offer,
    Plan,
    Saving,
    backtest,
    break_even_decline,
    break_even_utilization,
    make_plan,
    savings,
)
from sizing.demand import HOURS_PER_DAY, HOURS_PER_WEEK, DemandError, LoadCurve, forecast
from sizing.fleet import Fleet, GpuOption, SingleType, cheapest_fleet, single_type_fleets
from sizing.replicas import with_spares

Floats = NDArray[np.float64]

BASELINE_WORDS = {
    "autoscaled_on_demand": "on demand that scales perfectly",
    "peak_on_demand": "on demand sized for the peak",
    "actual": "what was paid",
}
WIDTH, HEIGHT = 60, 12
BANDS = {"used": "█", "idle": "░", "spot": "▒", "on_demand": "·"}
BAND_WORDS = "█ committed and used  ░ committed, not needed  ▒ spot  · on demand"
_COLORS = {"used": "#2f6690", "idle": "#c9d6df", "spot": "#e8a838", "on_demand": "#d1495b"}


@dataclass(frozen=True, slots=True)
class Report:
    """One pool or demand, planned.

    Args:
        name: of the pool or series.
        period: what is priced, in words.
        load: its demand.
        step_gpus: GPUs of an instance.
        tiers: (kind, name, gpus, new gpus, paid GPU-hours, USD per GPU-hour, cost) from the bottom up.
        cost_usd: of the recommended plan; None with a reason.
        savings: beside each baseline.
        options: (purchase option, committed GPUs, cost, saving beside autoscaled on demand), the cheapest first.
        on_demand_usd: rate.
        backtest: stretches held out and regret.
        notes: sentences on what is unknown, or what to know.
    """

    name: str
    period: str
    load: LoadCurve | None
    step_gpus: int
    held_gpus: int
    tiers: Sequence[tuple[str, str, int | None, int, Decimal, Decimal | None, Decimal | None]]
    cost_usd: Decimal | None
    savings: Sequence[Saving]
    options: Sequence[tuple[str, int | None, Decimal | None, Decimal | None]]
    on_demand_usd: Decimal | None
    backtest: tuple[int, float | None]
    notes: Sequence[str]

    @property
    def committed_gpus(self) -> int:
        """Held and to be committed."""
        return sum(gpus or 0 for kind, _, gpus, *_ in self.tiers if kind in {"held", "committed"})

    @property
    def spot_share(self) -> float:
        """Of the demand above what is committed, the share on spot."""
        hours = {kind: float(paid) for kind, _, _, _, paid, _, _ in self.tiers}
        above = hours.get("spot", 0.0) + hours.get("on_demand", 0.0)
        return hours.get("spot", 0.0) / above if above else 0.0


NULL_WORDS = {
    "unknown_gpu_count": "No plan: the number of GPUs is unknown; give gpus_per_replica in ledger.yaml.",
    "no_on_demand_price": "No plan: the price book has no on-demand price for it; add a price source or override.",
    "too_few_days": "No plan: less than a week of demand is known; run the ledger for some more days.",
    "no_demand": "No GPU was needed in any hour: there is nothing to commit to.",
    "no_commitment_offer": "The price book has no commitment for it; a price source or override would add one.",
    "too_few_weeks": "No backtest: less than two weeks of demand are known.",
    "no_rate_of_held_commitment": "No cost: a commitment that is held has no known rate; state it in ledger.yaml.",
    "actual_cost_incomplete": "What was paid is not fully known: some hours have no price.",
}


def published_reports(
    con: duckdb.DuckDBPyConnection, *, pool: str | None, gpu: str | None, target_utilization: float
) -> list[Report]:
    """The plans of the last published day whose pool (provider/region/GPU) and GPU contain these words."""
    rows = con.execute(
        """
        select *, provider || '/' || region || '/' || gpu_model as pool
        from fct_capacity_plan
        where plan_date = (select max(plan_date) from fct_capacity_plan)
        order by provider, region, gpu_model, cost_rank nulls last, purchase_option
        """
    )
    names = [column[0] for column in rows.description or ()]
    plans = [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
    chosen = [
        plan
        for plan in plans
        if (pool or "").lower() in plan["pool"].lower() and (gpu or "").lower() in plan["gpu_model"].lower()
    ]
    reports = []
    for best in (plan for plan in chosen if plan["is_recommended"]):
        key = [best["provider"], best["region"], best["gpu_model"]]
        of_pool = [plan for plan in chosen if plan["pool"] == best["pool"]]
        tiers = con.execute(
            "select tier_kind, tier, gpus, new_gpus, paid_gpu_hours, usd_per_gpu_hour, cost_usd "
            "from fct_capacity_plan_tiers where plan_date = ? and provider = ? and region = ? and gpu_model = ? "
            "and purchase_option = 'best_mix' order by tier_position",
            [best["plan_date"], *key],
        ).fetchall()
        gpus = _needed_of_pool(con, key, best["plan_date"], target_utilization)
        is_planned = best["reserved_gpus"] is not None
        found = []
        if best["cost_usd"] is not None:
            found = [
                Saving(name, baseline, best["cost_usd"])
                for name, baseline in (
                    (best["baseline_name"], best["baseline_cost_usd"]),
                    ("peak_on_demand", best["peak_on_demand_cost_usd"]),
                    ("actual", best["actual_cost_usd"]),
                )
                if baseline is not None
            ]
        notes = [NULL_WORDS[best["null_reason"]]] if best["null_reason"] else []
        if best["break_even_decline_ratio"] is not None:
            notes.append(_decline_note(float(best["break_even_decline_ratio"])))
        reports.append(
            Report(
                name=f"{best['pool']}, {best['instance_type'] or 'unknown instances'}",
                period=f"{best['window_start_date']} to {best['plan_date']}",
                load=LoadCurve.of(gpus) if is_planned and len(gpus) else None,
                step_gpus=best["instance_gpus"],
                held_gpus=best["held_gpus"],
                tiers=tiers,
                cost_usd=best["cost_usd"],
                savings=found,
                options=[
                    (plan["purchase_option"], plan["reserved_gpus"], plan["cost_usd"], plan["savings_ratio"])
                    for plan in of_pool
                    if is_planned
                ],
                on_demand_usd=best["on_demand_usd_per_gpu_hour"],
                backtest=(best["backtest_weeks"], _float(best["backtest_regret_ratio"])),
                notes=notes,
            )
        )
    return reports


def _needed_of_pool(con: duckdb.DuckDBPyConnection, key: Sequence[str], day: date, target_utilization: float) -> Floats:
    rows = con.execute(
        """
        select
            sum(cast(gpu_hours as double)),
            coalesce(sum(cast(gpu_hours * utilization_ratio as double)), 0),
            coalesce(sum(case when utilization_ratio is null then cast(gpu_hours as double) end), 0)
        from fct_inference_costs_hourly
        where provider = ? and region = ? and gpu_model = ? and usage_date > cast(? as date) - ? and usage_date <= ?
        group by hour_start_at
        order by hour_start_at
        """,
        [*key, day, WINDOW_DAYS, day],
    ).fetchall()
    if not rows:
        return np.zeros(0)
    held, active, unmeasured = np.array(rows, dtype=np.float64).T
    return needed_gpus(held, active, unmeasured, target_utilization=target_utilization)


def demand_report(name: str, gpus: Floats, market: Market, *, unit: str, missing_hours: int) -> Report:
    """Plans a series: chosen by its forecast, priced on its last four weeks."""
    window = gpus[-WINDOW_DAYS * HOURS_PER_DAY :]
    load = LoadCurve.of(window)
    notes = [f"{missing_hours} hours of the demand are unknown and left out."] if missing_hours else []
    if not load.peak_gpus:
        notes.append(NULL_WORDS["no_demand"])
    if not market.offers:
        notes.append("No commitment is on offer: give one with --committed, such as --committed 12=2.40.")
    if unit != "GPUs":
        notes.append(f"A GPU here is one of {unit}.")
    expected = forecast(gpus, horizon_weeks=WINDOW_DAYS * HOURS_PER_DAY // HOURS_PER_WEEK)
    plans: dict[str, Plan] = {
        "on_demand": make_plan(load, market.only(), expected=expected),
        **{offer.name: make_plan(load, market.only(offer), expected=expected) for offer in market.offers},
        "best_mix": make_plan(load, market, expected=expected),
    }
    best = plans["best_mix"]
    tried: Backtest | None = None
    if market.offers:
        try:
            tried = backtest(gpus, market)
        except DemandError as error:
            notes.append(f"No backtest: {error}.")
    terms = sorted(market.offers, key=lambda offer: offer.term_months)
    if len(terms) > 1 and (decline := break_even_decline(terms[-1], terms[0])) is not None:
        notes.append(_decline_note(decline))
    notes += [
        f"{offer.name} pays for a GPU that is busy in {share:.0%} of the hours or more."
        for offer in terms
        if (share := break_even_utilization(offer, market.on_demand_usd_per_gpu_hour)) is not None
    ]
    return Report(
        name=name,
        period=f"the last {load.total_hours:,.0f} known hours",
        load=load,
        step_gpus=market.step_gpus,
        held_gpus=0,
        tiers=[
            (
                tier.kind,
                tier.name,
                tier.gpus,
                best.buy_gpus.get(tier.name, 0),
                tier.paid_gpu_hours,
                tier.usd_per_gpu_hour,
                tier.cost_usd,
            )
            for tier in best.tiers
        ],
        cost_usd=best.cost_usd,
        savings=savings(load, market, best.cost_usd),
        options=sorted(
            (
                (option, sum(plan.buy_gpus.values()), plan.cost_usd, savings(load, market, plan.cost_usd)[0].ratio)
                for option, plan in plans.items()
            ),
            key=lambda row: (row[2], row[0]),
        ),
        on_demand_usd=market.on_demand_usd_per_gpu_hour,
        backtest=(len(tried.stretches), _float(tried.regret_ratio)) if tried else (0, None),
        notes=notes,
    )


def report_lines(report: Report) -> list[str]:
    """The plan in words, with the load duration curve drawn."""
    lines = [f"{report.name}: {report.period}"]
    load = report.load
    if load is not None and load.peak_gpus:
        instances = math.ceil(load.peak_gpus / report.step_gpus - 1e-9)
        lines.append(
            f"  needed    {load.gpu_hours:,.0f} GPU-hours, {load.gpu_hours / load.total_hours:,.1f} GPUs on average, "
            f"{load.peak_gpus:,.1f} at most: {instances} instances of {report.step_gpus}, {with_spares(instances)} to "
            "survive the loss of one"
        )
    for kind, name, gpus, new, paid, rate, cost in report.tiers:
        words = {"held": "held", "committed": "commit", "spot": "spot", "on_demand": "on demand"}[kind]
        what = f"{gpus:,} of {name}" if gpus is not None else f"{paid:,.0f} GPU-hours"
        also = "" if kind != "committed" or new == gpus else f" ({new:,} now, the rest when what is held ends)"
        price = "no known rate" if rate is None or cost is None else f"{rate:,.4f} USD per GPU-hour: {cost:,.2f} USD"
        lines.append(f"  {words:<9} {what}{also} at {price}")
    if report.cost_usd is not None:
        lines.append(f"  cost      {report.cost_usd:,.2f} USD")
        lines += [
            f"  saves     {saving.ratio:.1%} of {saving.baseline_usd:,.2f} USD, {BASELINE_WORDS[saving.baseline]}"
            for saving in report.savings
            if saving.ratio is not None
        ]
    stretches, regret = report.backtest
    if regret is not None:
        lines.append(
            f"  backtest  {stretches} stretches held out: {regret:.1%} dearer than the best commitment for each of them"
        )
    lines += [f"  note      {note}" for note in report.notes]
    if len(report.options) > 1:
        lines.append("  options, by cost in this time:")
        for option, gpus, cost, ratio in report.options:
            saved = "" if ratio is None else f", {ratio:+.1%}"
            price = "no known cost" if cost is None else f"{cost:,.2f} USD{saved}"
            lines.append(f"    {option:<32} {gpus or 0:>6,} GPUs committed  {price}")
    if load is not None and load.peak_gpus:
        lines += ["", *(f"  {line}" for line in draw_text(report))]
    return lines


def _bands(report: Report, columns: int) -> list[list[tuple[str, float, float]]]:
    """Per column of the load duration curve: (band, from, to) in GPUs, from the bottom up."""
    load = report.load
    if load is None:
        return []
    until = np.cumsum(load.hours) / load.total_hours
    at = np.minimum(np.searchsorted(until, (np.arange(columns) + 0.5) / columns), len(load.gpus) - 1)
    committed = float(report.committed_gpus)
    found = []
    for needed in load.gpus[at].tolist():
        above = max(0.0, needed - committed)
        marks = [
            ("used", min(needed, committed)),
            ("idle", committed),
            ("on_demand", committed + above * (1 - report.spot_share)),
            ("spot", committed + above),
        ]
        bands, low = [], 0.0
        for band, high in marks:
            if high > low:
                bands.append((band, low, high))
                low = high
        found.append(bands)
    return found


def draw_text(report: Report) -> list[str]:
    """The load duration curve: GPUs upwards, hours from the busiest to the quietest to the right."""
    columns = _bands(report, WIDTH)
    top = max((bands[-1][2] for bands in columns if bands), default=0.0)
    if not top:
        return []
    marks = {row: f"{row * top / HEIGHT:,.{0 if top >= 20 else 1}f}" for row in (HEIGHT, HEIGHT // 2)}
    label = max(map(len, marks.values()))
    lines = []
    for row in range(HEIGHT, 0, -1):
        middle = (row - 0.5) * top / HEIGHT
        cells = "".join(
            next((BANDS[band] for band, low, high in bands if low <= middle < high), " ") for bands in columns
        )
        lines.append(f"{marks.get(row, ''):>{label}} │{cells}")
    lines.append(f"{0:>{label}} └{'─' * WIDTH}")
    lines.append(f"{' ' * label}  busiest hour{'quietest hour':>{WIDTH - len('busiest hour')}}")
    lines.append(f"{' ' * label}  {BAND_WORDS}")
    return lines


def draw_svg(report: Report) -> str:
    """The same as an SVG picture."""
    columns = _bands(report, 400)
    top = max((bands[-1][2] for bands in columns if bands), default=1.0) or 1.0
    width, height, left = 800, 360, 60
    parts = [
        f'<rect x="{left + 2 * number}" y="{20 + height * (1 - high / top):.1f}" width="2" '
        f'height="{height * (high - low) / top:.1f}" fill="{_COLORS[band]}"/>'
        for number, bands in enumerate(columns)
        for band, low, high in bands
    ]
    words = {"used": "committed, used", "idle": "committed, not needed", "on_demand": "on demand", "spot": "spot"}
    for number, (band, word) in enumerate(words.items()):
        x = left + 190 * number
        parts.append(f'<rect x="{x}" y="{height + 50}" width="12" height="12" fill="{_COLORS[band]}"/>')
        parts.append(f'<text x="{x + 18}" y="{height + 61}">{word}</text>')
    parts += [
        f'<text x="{left - 8}" y="28" text-anchor="end">{top:,.0f}</text>',
        f'<text x="{left - 8}" y="{height + 20}" text-anchor="end">0</text>',
        f'<text x="{left}" y="{height + 38}">busiest hour</text>',
        f'<text x="{left + width}" y="{height + 38}" text-anchor="end">quietest hour</text>',
        f'<text x="{left}" y="14">GPUs needed, {_escaped(report.name)}: {_escaped(report.period)}</text>',
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 20}" height="{height + 75}" '
        f'font-family="sans-serif" font-size="13">\n' + "\n".join(parts) + "\n</svg>\n"
    )


def as_data(report: Report) -> dict[str, Any]:
    """For --json: money as decimal text, exact."""
    load = report.load
    return {
        "name": report.name,
        "period": report.period,
        "demand_gpu_hours": None if load is None else load.gpu_hours,
        "peak_gpus": None if load is None else load.peak_gpus,
        "held_gpus": report.held_gpus,
        "on_demand_usd_per_gpu_hour": _text(report.on_demand_usd),
        "cost_usd": _text(report.cost_usd),
        "tiers": [
            {
                "kind": kind,
                "name": name,
                "gpus": gpus,
                "new_gpus": new,
                "paid_gpu_hours": _text(paid),
                "usd_per_gpu_hour": _text(rate),
                "cost_usd": _text(cost),
            }
            for kind, name, gpus, new, paid, rate, cost in report.tiers
        ],
        "savings": [
            {
                "baseline": saving.baseline,
                "baseline_usd": _text(saving.baseline_usd),
                "savings_ratio": _float(saving.ratio),
            }
            for saving in report.savings
        ],
        "options": [
            {"option": option, "committed_gpus": gpus, "cost_usd": _text(cost), "savings_ratio": _float(ratio)}
            for option, gpus, cost, ratio in report.options
        ],
        "backtest": {"stretches": report.backtest[0], "regret_ratio": report.backtest[1]},
        "notes": list(report.notes),
    }


# --- rates ------------------------------------------------------------------------------------------------------------


def parse_offer(text: str) -> Offer:
    """An offer as the command line says it: months=rate, or months=rate+upfront per GPU."""
    months, _, price = text.partition("=")
    rate, _, upfront = price.partition("+")
    try:
        return Offer(f"committed_{int(months)}m", int(months), Decimal(rate), Decimal(upfront or 0))
    except (ValueError, InvalidOperation):
        raise DemandError(
            f"--committed {text!r}: write months=USD per GPU-hour, such as 12=2.40, or 12=1.20+8000 with USD upfront"
        ) from None


def price_book_market(
    con: duckdb.DuckDBPyConnection, *, pool: str | None, gpu: str | None, step_gpus: int
) -> tuple[str, Market]:
    """The last day's prices of the one pool that these words fit: the lowest on demand, and of each commitment.

    Raises:
        DemandError: none fits, or several do; names them.
    """
    rows = con.execute(
        """
        select provider || '/' || region || '/' || gpu_model, pricing_model, term_months, payment_option,
            min(price_usd_per_gpu_hour)
        from fct_gpu_prices_daily
        where price_date = (select max(price_date) from fct_gpu_prices_daily)
            and price_usd_per_gpu_hour is not null and offer_tier <> 'convertible'
            and pricing_model in ('on_demand', 'reserved', 'committed_use', 'savings_plan')
            and contains(lower(provider || '/' || region || '/' || gpu_model), lower(?))
            and contains(lower(gpu_model), lower(?))
        group by all
        order by all
        """,
        [pool or "", gpu or ""],
    ).fetchall()
    on_demand = {name: price for name, model, _, _, price in rows if model == "on_demand"}
    words = " and ".join(word for word in (pool, gpu) if word)
    if not on_demand:
        raise DemandError(
            f"the price book has no on-demand price for {words}; give --on-demand-usd, or look with: "
            'inference-ledger query "from fct_gpu_prices_daily"'
        )
    if len(on_demand) > 1:
        some = ", ".join(list(on_demand)[:5]) + (", …" if len(on_demand) > 5 else "")
        raise DemandError(f"{len(on_demand)} pools fit {words}: add --pool with one of {some}")
    ((name, price),) = on_demand.items()
    offers = [
        Offer("_".join(filter(None, (model, f"{months}m", payment))), months, rate)
        for of_pool, model, months, payment, rate in rows
        if of_pool == name and model != "on_demand" and months
    ]
    return name, Market(price, offers, step_gpus=step_gpus)


# --- the mixed fleet of a profile -------------------------------------------------------------------------------------

_PROFILE_COLUMNS = ("bucket", "requests_per_second", "gpu", "max_requests_per_second", "usd_per_hour")


def read_profile(path: Path) -> tuple[dict[str, float], list[GpuOption]]:
    """A row per bucket and GPU type: what arrives, what one unit serves within the target (0: none), its price; stock.

    Raises:
        DemandError: names file, line and column.
    """
    rates: dict[str, float] = {}
    served: dict[str, dict[str, float]] = {}
    prices: dict[str, Decimal] = {}
    stock: dict[str, int | None] = {}
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in _PROFILE_COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise DemandError(f"{path}: no column {', '.join(missing)}; needed are {', '.join(_PROFILE_COLUMNS)}")
        for row in reader:
            try:
                rate, most, price = (
                    float(row["requests_per_second"]),
                    float(row["max_requests_per_second"] or 0),
                    Decimal(row["usd_per_hour"]),
                )
                limit = int(row["stock"]) if row.get("stock") else None
            except (ValueError, InvalidOperation):
                raise DemandError(f"{path}, line {reader.line_num}: a number is missing or is none: {row}") from None
            bucket, gpu = row["bucket"], row["gpu"]
            if rates.setdefault(bucket, rate) != rate or prices.setdefault(gpu, price) != price:
                raise DemandError(
                    f"{path}, line {reader.line_num}: bucket {bucket} or GPU {gpu} had another rate or price before"
                )
            served.setdefault(gpu, {})[bucket] = most
            stock[gpu] = limit
    return rates, [GpuOption(gpu, prices[gpu], served[gpu], stock[gpu]) for gpu in served]


def plan_fleet(path: Path) -> tuple[Fleet, list[SingleType]]:
    """The cheapest fleet of a profile, and each type alone."""
    rates, options = read_profile(path)
    return cheapest_fleet(rates, options), single_type_fleets(rates, options)


def fleet_lines(fleet: Fleet, alone: Sequence[SingleType]) -> list[str]:
    """The fleet in words."""
    if not fleet.units:
        return ["No request arrives in any bucket: no GPU is needed."]
    lines = [
        "Cheapest fleet: " + " + ".join(f"{number} {name}" for name, number in fleet.units.items()),
        f"  {fleet.usd_per_hour:,.2f} USD per hour; none is cheaper by more than {fleet.gap_ratio:.2%}, and with GPUs "
        f"in fractions it would be {fleet.fluid_bound_usd_per_hour:,.2f}",
    ]
    for single in alone:
        if single.usd_per_hour is None:
            lines.append(f"  {single.name} alone {single.reason}")
        else:
            saved = f", the mix saves {1 - fleet.usd_per_hour / single.usd_per_hour:.1%}" if single.usd_per_hour else ""
            lines.append(f"  {single.units} {single.name} alone: {single.usd_per_hour:,.2f} USD per hour{saved}")
    return lines


def fleet_data(fleet: Fleet, alone: Sequence[SingleType]) -> dict[str, Any]:
    """For --json."""
    return {
        "units": dict(fleet.units),
        "shares": {bucket: dict(parts) for bucket, parts in fleet.shares.items()},
        "usd_per_hour": _text(fleet.usd_per_hour),
        "gap_ratio": fleet.gap_ratio,
        "fluid_bound_usd_per_hour": fleet.fluid_bound_usd_per_hour,
        "single_types": [
            {
                "gpu": single.name,
                "units": single.units,
                "usd_per_hour": _text(single.usd_per_hour),
                "reason": single.reason,
            }
            for single in alone
        ],
    }


def _decline_note(decline: float) -> str:
    return f"If prices fall by more than {decline:.0%} a year, the shortest term is the cheaper one in the end."


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _float(value: Decimal | float | None) -> float | None:
    return None if value is None else float(value)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
