"""What the cost models must say, in plain Python: exact fractions, loops over hours, no SQL.

Written from the meaning of the ledger, not from the models: intervals are cut before they are merged, prices are looked
up by going through all of them, commitments are drawn entry by entry.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

HOUR = timedelta(hours=1)
Row = dict[str, Any]


@dataclass
class World:
    """The raw tables of one ledger, and its price book. Instants are UTC; money is Decimal."""

    as_of_date: date
    deployments: list[Row] = field(default_factory=list)
    commitments: list[Row] = field(default_factory=list)
    routes: list[Row] = field(default_factory=list)
    price_sources: list[Row] = field(default_factory=list)
    prices: list[Row] = field(default_factory=list)
    instance_types: dict[tuple[str, str], tuple[str, Decimal, str]] = field(default_factory=dict)
    samples: list[Row] = field(default_factory=list)
    requests: list[Row] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)  # deployment -> the tenant whose own it is
    bills: list[Row] = field(default_factory=list)  # raw.billing_periods
    bill_lines: list[Row] = field(default_factory=list)  # raw.billing_lines of kind focus, in USD, by instance_type_raw


def rounded(value: Fraction | Decimal | int | None, places: int) -> Decimal | None:
    """Half up, as a Decimal with so many places."""
    if value is None:
        return None
    exact = Fraction(value)
    scaled = exact * 10**places
    whole = (abs(scaled) * 2 + 1) // 2
    return (Decimal(int(whole if scaled >= 0 else -whole)) / Decimal(10) ** places).quantize(
        Decimal(1).scaleb(-places), ROUND_HALF_UP
    )


def seconds(start: datetime, end: datetime) -> Fraction:
    return Fraction((end - start) // timedelta(microseconds=1), 1_000_000)


def hour_of(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def engine_usage(world: World) -> dict[tuple[str, datetime], Row]:
    """Deployment and hour -> tokens, requests, phase seconds, active and observed seconds by the engine's counters."""
    return _engine_usage(world)[0]


def _engine_usage(world: World) -> tuple[dict[tuple[str, datetime], Row], list[tuple[str, datetime, datetime]]]:
    """The usage, and each deployment's scrape windows of tokens."""
    covered: list[tuple[str, datetime, datetime]] = []
    names = {
        "vllm:prompt_tokens_total": "prompt",
        "vllm:generation_tokens_total": "output",
        "vllm:prompt_tokens_cached_total": "cached",
        "vllm:prefix_cache_hits_total": "hits",
        "vllm:request_prefill_time_seconds_sum": "prefill",
        "vllm:request_decode_time_seconds_sum": "decode",
    }
    routes = {(r["source_name"], r["model_match"]): r["deployment"] for r in world.routes}
    series: dict[tuple[Any, ...], dict[datetime, Row]] = defaultdict(dict)
    for s in world.samples:
        key = (s["source_name"], s["replica_key"], s["engine"], s["model_name"], s["metric_name"], s["label_value"])
        kept = series[key].get(s["scraped_at"])
        if kept is None or s["value"] > kept["value"]:
            series[key][s["scraped_at"]] = s

    totals: dict[tuple[str, str, str, datetime], Row] = defaultdict(lambda: defaultdict(Fraction))
    windows: dict[tuple[str, str, str, datetime], dict[datetime, tuple[Fraction, bool]]] = defaultdict(dict)
    counted: dict[tuple[str, str, str, str], set[datetime]] = defaultdict(set)
    for key, by_instant in series.items():
        source, replica, _, model, metric, label = key
        deployment = routes.get((source, model)) or routes.get((source, "*"))
        name = names.get(metric)
        if metric == "vllm:request_success_total":
            name = {"abort": "aborted", "error": "failed"}.get(label, "requests")
        if deployment is None or name is None:
            continue
        counted[deployment, source, replica, name] |= set()  # exposed, if only once
        previous = None
        for at in sorted(by_instant):
            sample = by_instant[at]
            start = sample["series_created_at"] or sample["process_started_at"]
            before, previous = previous, sample
            if before is not None and at - before["scraped_at"] > timedelta(days=7):
                before = None
            if before is None:
                if start is None or at - start > 3 * HOUR:
                    continue
                window_start, delta = min(start, at), Fraction(sample["value"])
            else:
                start_before = before["series_created_at"] or before["process_started_at"]
                is_new = sample["value"] < before["value"] or (
                    start is not None and start_before is not None and abs(start - start_before) > timedelta(seconds=1)
                )
                if is_new:
                    window_start, delta = before["scraped_at"], Fraction(sample["value"])
                    if start is not None and start > window_start:
                        window_start = min(start, at)
                else:
                    window_start = before["scraped_at"]
                    delta = Fraction(sample["value"]) - Fraction(before["value"])
            hour = hour_of(window_start + (at - window_start) / 2)
            place = (deployment, source, replica, hour)
            if name in ("prompt", "output"):
                covered.append((deployment, window_start, at))
            totals[place][name] += delta
            counted[deployment, source, replica, name].add(hour)
            if name in ("prompt", "output"):
                length, moved = windows[place].get(at, (Fraction(0), False))
                windows[place][at] = (max(length, seconds(window_start, at)), moved or delta > 0)

    usage: dict[tuple[str, datetime], Row] = defaultdict(lambda: defaultdict(Fraction))
    for place, found in windows.items():
        hour_usage = usage[place[0], place[3]]
        hour_usage["observed"] += min(sum(length for length, _ in found.values()), Fraction(3600))
        hour_usage["active"] += min(sum(length for length, moved in found.values() if moved), Fraction(3600))
        replica_totals = dict(totals[place])
        for name in (
            *dict.fromkeys(names.values()),
            "requests",
            "failed",
            "aborted",
        ):  # exposed, but counted in another hour: 0
            seen = counted.get((*place[:3], name))
            if seen is None:
                continue
            if name in ("prompt", "output", "requests") or (seen and min(seen) <= place[3] <= max(seen)):
                replica_totals.setdefault(name, Fraction(0))
        hits = replica_totals.pop("hits", None)
        if "cached" not in replica_totals and hits is not None:
            replica_totals["cached"] = hits
        unsuccessful = [replica_totals.pop(name) for name in ("failed", "aborted") if name in replica_totals]
        if unsuccessful:
            replica_totals["unsuccessful"] = sum(unsuccessful)
        for name, value in replica_totals.items():
            hour_usage[name] += value
    return usage, covered


TOKEN_COUNTERS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")


def start_up_pieces(world: World) -> list[tuple[str, str, datetime, datetime, bool]]:
    """Source, replica, from, to, and whether the replica was starting up: of the times of which that is known.

    A process starts up until a token counter has moved, for 3 hours at most; a page tells since the page before it.
    """
    pages: dict[tuple[str, str], dict[datetime, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for s in world.samples:
        if s["metric_name"] in TOKEN_COUNTERS:
            pages[s["source_name"], s["replica_key"]][s["scraped_at"]].append(s)
    pieces = []
    for (source, replica), by_instant in pages.items():
        before: tuple[datetime, datetime | None] | None = None
        for at, rows in sorted(by_instant.items()):
            processes = [r["process_started_at"] for r in rows if r["process_started_at"]]
            created = [r["series_created_at"] for r in rows if r["series_created_at"]]
            stated = max(processes) if processes else min(created) if created else None
            earlier, before = before, (at, stated)
            if stated is None:
                continue
            told_from = min(stated, at)
            if earlier is not None and earlier[0] >= at - 3 * HOUR:
                is_same = earlier[1] is not None and abs(stated - earlier[1]) <= timedelta(seconds=1)
                told_from = earlier[0] if is_same else max(told_from, earlier[0])
            told_from = max(told_from, at - 3 * HOUR)
            quiet_to = at
            if any(r["value"] > 0 for r in rows):
                quiet_to = min([*created, at]) if created else told_from
            quiet_to = max(told_from, min(quiet_to, min(stated, at) + 3 * HOUR))
            pieces += [(source, replica, told_from, quiet_to, True), (source, replica, quiet_to, at, False)]
    return pieces


def start_ups_hourly(world: World) -> dict[tuple[str, datetime], tuple[Fraction, Fraction]]:
    """Deployment and hour -> replica-seconds of starting up, and of which it is known; only where it is of any."""
    routes = {r["source_name"]: r["deployment"] for r in world.routes if r["model_match"] == "*"}
    found: dict[tuple[str, datetime], tuple[Fraction, Fraction]] = {}
    for source, _, start, end, is_start_up in start_up_pieces(world):
        hour = hour_of(start)
        while hour < end:
            length = seconds(max(start, hour), min(end, hour + HOUR))
            if length and source in routes:
                place = (routes[source], hour)
                quiet, known = found.get(place, (Fraction(0), Fraction(0)))
                found[place] = (quiet + (length if is_start_up else 0), known + length)
            hour += HOUR
    return found


def gateway_usage(world: World) -> dict[tuple[str, datetime], Row]:
    """Deployment and hour -> tokens, requests and busy seconds by the gateway's log."""
    first: dict[tuple[object, ...], Row] = {}
    for call in sorted(world.requests, key=lambda r: r["started_at"]):
        first.setdefault((call["source_name"], call["usage_date"], call["request_id"], call["call_id"]), call)
    routes = {(r["source_name"], r["model_match"]): r["deployment"] for r in world.routes}
    usage: dict[tuple[str, datetime], Row] = {}
    busy: dict[tuple[str, str, datetime], list[tuple[datetime, datetime]]] = defaultdict(list)

    def empty() -> Row:
        return {
            "calls": 0,
            "requests": 0,
            "failed": 0,
            "missing": 0,
            "input": None,
            "cached": None,
            "output": None,
            "active": 0,
        }

    for call in first.values():
        source = call["source_name"]
        deployment = (
            routes.get((source, call["model_group"]))
            or routes.get((source, call["model"]))
            or routes.get((source, (call["model"] or "").rpartition("/")[2]))
        )
        if deployment is None:
            continue
        hour_usage = usage.setdefault((deployment, hour_of(call["started_at"])), empty())
        hour_usage["calls"] += 1
        failed = call["status"] == "failure"
        hour_usage["requests"] += not failed
        hour_usage["failed"] += failed
        prompt, output = call["prompt_tokens"], call["completion_tokens"]
        if not failed and not (prompt or output):
            hour_usage["missing"] += 1
        else:
            cached = call["cached_tokens"]
            known = {"input": prompt - min(cached or 0, prompt), "output": output}
            if cached is not None:
                known["cached"] = min(cached, prompt)
            for name, value in known.items():
                hour_usage[name] = (hour_usage[name] or 0) + value
        if not failed and call["completed_at"] is not None:
            hour = hour_of(call["started_at"])
            while hour < call["completed_at"]:
                cut = (max(hour, call["started_at"]), min(hour + HOUR, call["completed_at"]))
                if cut[0] < cut[1]:
                    busy[deployment, call["model_id"], hour].append(cut)
                hour += HOUR
    for (deployment, _, hour), cuts in busy.items():
        place = usage.setdefault((deployment, hour), empty())
        if not place["calls"]:
            place.update({"input": 0, "cached": 0, "output": 0})
        end = datetime.min.replace(tzinfo=UTC)
        for cut_start, cut_end in sorted(cuts):
            if cut_end > end:
                place["active"] += seconds(max(cut_start, end), cut_end)
                end = cut_end
    return usage


def usage_hourly(world: World) -> dict[tuple[str, datetime], Row]:
    """Deployment and hour -> tokens by class. Counters where there are any in the hour, else the gateway.

    Not where the hour lies inside one scrape window, whose tokens stand in another hour.
    """
    rows: dict[tuple[str, datetime], Row] = {}
    counted, windows = _engine_usage(world)
    inside = {
        (deployment, hour_of(start) + number * HOUR)
        for deployment, start, end in windows
        for number in range((end - hour_of(start)) // HOUR)
        if hour_of(start) + number * HOUR >= start
    }
    for place, found in gateway_usage(world).items():
        if place in inside:
            continue
        rows[place] = {
            "basis": "gateway_requests",
            "input": found["input"],
            "cached": found["cached"],
            "output": found["output"],
            "requests": found["requests"],
            "unsuccessful": found["failed"],
            "prefill": None,
            "decode": None,
            "active": found["active"],
            "observed": None,
            "reported": Fraction(found["requests"] - found["missing"], found["requests"])
            if found["requests"]
            else None,
        }
    for place, found in counted.items():
        cached = min(found["cached"], found["prompt"]) if "cached" in found else None
        rows[place] = {
            "basis": "engine_counters",
            "input": int(found["prompt"] - (cached or 0)),
            "cached": None if cached is None else int(cached),
            "output": int(found["output"]),
            "requests": int(found["requests"]) if "requests" in found else None,
            "unsuccessful": int(found["unsuccessful"]) if "unsuccessful" in found else None,
            "prefill": found.get("prefill"),
            "decode": found.get("decode"),
            "active": found["active"],
            "observed": found["observed"],
            "reported": None,
        }
    end = datetime.combine(world.as_of_date + timedelta(days=1), datetime.min.time(), UTC)
    return {place: row for place, row in rows.items() if place[1] < end}


def hours(world: World) -> list[datetime]:
    paid = [row["valid_from_at"] for row in world.deployments + world.commitments]
    used = [row["usage_date"] for row in world.samples + world.requests]
    used += [hour.date() for _, hour in engine_usage(world)]
    if not used:
        used = [world.as_of_date - timedelta(days=399)]
    first = max(hour_of(min(paid)), datetime.combine(min(used), datetime.min.time(), UTC))
    end = datetime.combine(world.as_of_date + timedelta(days=1), datetime.min.time(), UTC)
    return [first + n * HOUR for n in range(int((end - first) / HOUR))]


def hardware(world: World, row: Row) -> tuple[str, Decimal | None, str]:
    """GPU model, GPUs per instance and price key of a fleet entry or commitment."""
    return world.instance_types.get((row["provider"], row["instance_type"]), ("unknown", None, row["instance_type"]))


def overlap(row: Row, hour: datetime) -> int:
    end = min(row["valid_to_at"] or hour + HOUR, hour + HOUR)
    return max(0, int((end - max(row["valid_from_at"], hour)).total_seconds()))


def list_rate(world: World, row: Row, *, bought: str, hour: datetime) -> tuple[Decimal, bool] | None:
    """The list price per GPU-hour known at `hour` and whether it is carried forward; None before the first price."""
    patience = {s["source"]: s["stale_after_hours"] for s in world.price_sources}
    longest = max(patience.values(), default=None)
    found = []
    latest: dict[str, Row] = {}
    for price in world.prices:
        if (
            price["provider"] == row["provider"]
            and price["price_key"] == hardware(world, row)[2]
            and price["region"] in (row["region"], "global")
            and price["pricing_model"] == bought
            and price["valid_from_at"] <= hour
        ):
            known = latest.get(price["series_id"])
            if known is None or known["valid_from_at"] < price["valid_from_at"]:
                latest[price["series_id"]] = price
    for price in latest.values():
        stale_after = patience.get(price["source"], longest)
        carried = (price["valid_to_at"] is not None and hour >= price["valid_to_at"]) or (
            stale_after is not None and hour - price["last_seen_at"] > timedelta(hours=stale_after)
        )
        rate = price["price_usd_per_gpu_hour"]
        if rate is None:
            rate = rounded(Fraction(price["price_usd_per_instance_hour"]) / Fraction(price["gpu_count"]), 8)
        order = (
            price["region"] != row["region"],
            price["offer_tier"] not in ("", "secure"),
            carried,
            -price["valid_from_at"].timestamp(),
            rate,
        )
        found.append((order, rate, carried))
    if not found:
        return None
    _, rate, carried = min(found)
    return rate, carried


def term_price(world: World, commitment: Row, hardware_row: Row) -> tuple[Decimal | None, bool]:
    """The list price per GPU-hour of the commitment's term on some hardware, and whether it was first seen later."""
    _, gpus, price_key = hardware(world, hardware_row)
    kind = commitment.get("kind") or "reservation"
    models = ("reserved", "committed_use") if kind == "reservation" else ("savings_plan",)
    tier = f"{kind.replace('_', '')}s, {commitment['payment_option'].replace('_', ' ')}"
    fitting = [
        price
        for price in world.prices
        if price["provider"] == commitment["provider"]
        and price["price_key"] == price_key
        and price["region"] in (hardware_row["region"], "global")
        and price["pricing_model"] in models
        and price["offer_tier"] != "convertible"
        and (kind == "reservation" or price["offer_tier"] in ("", tier))
        and price["term_months"] == commitment["term_months"]
        and price["payment_option"] in (None, commitment["payment_option"])
    ]
    begun = [p for p in fitting if p["valid_from_at"] <= commitment["valid_from_at"]]
    if not fitting:
        return None, False
    chosen = max(begun, key=lambda p: p["valid_from_at"]) if begun else min(fitting, key=lambda p: p["valid_from_at"])
    rate = chosen["price_usd_per_gpu_hour"]
    if rate is None:
        rate = rounded(Fraction(chosen["price_usd_per_instance_hour"]) / Fraction(gpus), 8)
    return rate, not begun


def commitment_rate(world: World, commitment: Row) -> tuple[Decimal | None, str, bool]:
    """USD per GPU-hour, its basis, and whether it is a list price first seen after the term began."""
    gpus = hardware(world, commitment)[1]
    if commitment.get("kind") == "capacity_block":
        length = seconds(commitment["valid_from_at"], commitment["valid_to_at"]) / 3600
        whole = Fraction(commitment["instance_count"]) * Fraction(gpus) * length
        return rounded(Fraction(commitment["upfront_usd"]) / whole, 8), "contracted", False
    if commitment["rate_usd_per_gpu_hour"] is not None:
        rate = commitment["rate_usd_per_gpu_hour"]
        if commitment["upfront_usd"] is not None:
            whole = Fraction(commitment["instance_count"]) * Fraction(gpus) * commitment["term_months"] * 730
            rate += rounded(Fraction(commitment["upfront_usd"]) / whole, 8)
        return rate, "contracted", False
    rate, earliest = term_price(world, commitment, commitment)
    return rate, "none" if rate is None else "list", earliest


def cut(amount: Decimal | None, start: int, end: int, whole: int, places: int = 10) -> Decimal:
    """The part of an amount between two marks of a whole: a difference of two parts that are cut, not rounded."""

    def part(mark: int) -> int:
        exact = Fraction(amount) * 10**places * mark / whole
        return int(abs(exact)) * (1 if exact >= 0 else -1)

    return Decimal(part(end) - part(start)) / Decimal(10) ** places


def billed_hours(world: World) -> dict[tuple[Any, ...], tuple[Decimal, Decimal]]:
    """Provider, region, type, category, charge, commitment, hour, tag -> GPU-hours and effective cost of the bill.

    Lines that nothing is known of are left out: no effective cost though listed and covered, or not billed either.
    """
    sums: dict[tuple[Any, ...], tuple[Decimal, Decimal]] = defaultdict(lambda: (Decimal(0), Decimal(0)))
    for line in world.bill_lines:
        effective = line["effective_amount"]
        covered = line["commitment_id"] is not None
        unused = line["commitment_status_raw"] == "Unused"
        if not unused and not effective and (line["list_amount"] or 0) > 0:
            if covered or not line["billed_amount"]:
                continue
            effective = line["billed_amount"]
        gpus = world.instance_types.get((line["provider_raw"], line["instance_type_raw"]), (None, None, None))[1]
        if gpus is None and not unused:
            continue
        gpu_hours = rounded(Fraction(line["quantity"] or 0) * Fraction(gpus or 0), 6)
        start, end = line["charge_from_at"], line["charge_to_at"]
        whole = int(seconds(start, end))
        hour = hour_of(start)
        while hour < end:
            marks = (max(0, int(seconds(start, hour))), min(whole, int(seconds(start, hour + HOUR))), whole)
            key = (
                line["provider_raw"],
                line["region_raw"],
                line["instance_type_raw"] or "any",
                "Committed" if covered else line["pricing_category_raw"],
                "unused_commitment" if unused else "usage",
                line["commitment_id"],
                hour,
                line.get("deployment_tag"),
            )
            held, cost = sums[key]
            sums[key] = (held + cut(gpu_hours, *marks, 6), cost + cut(effective, *marks))
            hour += HOUR
    return sums


def billed_until(world: World) -> dict[tuple[str, date], tuple[datetime, bool]]:
    """Provider and month -> up to when its hours are billed, and whether it is closed (5 days after its end)."""
    result: dict[tuple[str, date], tuple[datetime, bool]] = {}
    for bill in world.bills:
        month = bill["billing_period"]
        month_end = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
        closed = bill["delivered_at"] >= month_end + timedelta(days=5)
        lines = [line for line in world.bill_lines if line["billing_period"] == month]
        for provider in {line["provider_raw"] for line in lines}:
            reached = max(line["charge_to_at"] for line in lines if line["provider_raw"] == provider)
            result[provider, month] = (month_end if closed else min(reached, month_end), closed)
    return result


def fleet_parts(world: World) -> tuple[list[Row], list[Row]]:
    """Entry-hours split by what pays for them, with cost; and commitment-hours with what was left unused."""
    parts: list[Row] = []
    held: list[Row] = []
    whole_types = [c for c in world.commitments if c.get("usd_per_hour") is None]
    plans = sorted(
        (c for c in world.commitments if c.get("usd_per_hour") is not None),
        key=lambda c: (c["kind"] != "ec2_instance_savings_plan", c["valid_from_at"], c["commitment_id"]),
    )
    rates = {c["commitment_id"]: commitment_rate(world, c) for c in whole_types}
    bill, reached = billed_hours(world), billed_until(world)
    for hour in hours(world):
        left: dict[str, Fraction] = {}
        used: dict[str, Decimal] = defaultdict(Decimal)
        spent: dict[str, Decimal] = defaultdict(Decimal)
        for commitment in whole_types:
            if active := overlap(commitment, hour):
                gpus = hardware(world, commitment)[1]
                left[commitment["commitment_id"]] = Fraction(commitment["instance_count"] * active) * Fraction(gpus)
        committed = {name: rounded(amount / 3600, 6) for name, amount in left.items()}
        # 1. Entries that name their commitment.
        live = []
        for entry in sorted(world.deployments, key=lambda e: int(e["allocation_id"].rpartition("#")[2])):
            active = overlap(entry, hour)
            if not active:
                continue
            per_instance = hardware(world, entry)[1]
            per_replica = entry["gpus_per_replica"]
            if per_replica is None and per_instance is not None:
                per_replica = per_instance * (entry.get("instances_per_replica") or 1)
            whole = None if per_replica is None else Fraction(per_replica) * entry["replicas"] * active
            state = {"entry": entry, "active": active, "whole": whole, "mark": Fraction(0), "pieces": []}
            live.append(state)
            if entry["pricing_model"] == "reserved":
                draw(state, "reserved", entry["commitment_id"], left)
        # 2. Reservations for whatever of their kind is bought on demand, the older first.
        for state in live:
            entry = state["entry"]
            if entry["pricing_model"] == "spot" or state["whole"] is None:
                continue
            for commitment in sorted(whole_types, key=lambda c: (c["valid_from_at"], c["commitment_id"])):
                same = all(commitment[name] == entry[name] for name in ("provider", "region", "instance_type"))
                if same and commitment.get("applies_to", "matching") == "matching":
                    draw(state, "reserved", commitment["commitment_id"], left)
        for state in live:
            entry = state["entry"]
            state["rest"] = None
            if state["whole"] is not None:
                state["rest"] = rounded(state["whole"] / 3600, 6) - rounded(state["mark"] / 3600, 6)
            listed = list_rate(world, entry, bought="on_demand", hour=hour)
            state["listed"] = listed
            own = entry["rate_usd_per_gpu_hour"] if entry["pricing_model"] == "on_demand" else None
            state["market"] = own if own is not None else listed[0] if listed else None
        # 3. Savings plans, one after the other.
        for plan in plans:
            promise = cut(plan["usd_per_hour"], 0, overlap(plan, hour), 3600)
            queue = []
            for position, state in enumerate(live):
                entry = state["entry"]
                fits = (
                    plan["provider"] == entry["provider"]
                    and plan["region"] in (None, entry["region"])
                    and plan["instance_type"]
                    in (None, entry["instance_type"], entry["instance_type"].partition(".")[0])
                )
                if not fits or entry["pricing_model"] == "spot" or not state["rest"]:
                    continue
                rate, earliest = term_price(world, plan, entry)
                if rate is None or not overlap(plan, hour):
                    continue
                paid = None if not state["market"] else rounded(Fraction(rate) / Fraction(state["market"]), 8)
                queue.append((paid is None, paid or 0, rate, position, earliest))
            for _, _, rate, position, earliest in sorted(queue):
                state = live[position]
                available = promise - spent[plan["commitment_id"]]
                if available <= 0:
                    break
                taken = state["rest"]
                is_last = rounded(taken * rate, 10) > available
                if is_last:
                    taken = Decimal(int(Fraction(available) / Fraction(rate) * 10**6)) / 10**6
                if taken:
                    state["pieces"].append(("savings_plan", plan["commitment_id"], taken, rate, earliest))
                    state["rest"] -= taken
                    spent[plan["commitment_id"]] += rounded(taken * rate, 10)
                if is_last:
                    break
        # 4. The open market.
        for state in live:
            entry = state["entry"]
            bought = "spot" if entry["pricing_model"] == "spot" else "on_demand"
            if state["rest"] is None or state["rest"] > 0:
                state["pieces"].append((bought, None, state["rest"], None, False))
            for number, (bought, name, gpu_hours, plan_rate, plan_earliest) in enumerate(state["pieces"]):
                carried = earliest = False
                if bought == "reserved":
                    rate, basis, earliest = rates[name]
                    used[name] += gpu_hours
                elif bought == "savings_plan":
                    rate, basis, earliest = plan_rate, "list", plan_earliest
                elif entry["pricing_model"] != "reserved" and entry["rate_usd_per_gpu_hour"] is not None:
                    rate, basis = entry["rate_usd_per_gpu_hour"], "contracted"
                else:
                    listed = list_rate(world, entry, bought=bought, hour=hour)
                    rate, basis, carried = (listed[0], "list", listed[1]) if listed else (None, "none", False)
                modelled = rate
                category = {"reserved": "Committed", "savings_plan": "Committed", "spot": "Dynamic"}.get(
                    bought, "Standard"
                )
                billed = billed_rate(world, bill, entry, category, name, hour)
                if billed is not None:
                    rate, basis, carried, earliest = billed, "billed", False, False
                until, closed = reached.get((entry["provider"], hour.date().replace(day=1)), (None, False))
                parts.append(
                    {
                        "deployment": entry["deployment"],
                        "category": category,
                        "bought": bought,
                        "commitment": name,
                        "hour": hour,
                        "entry": entry,
                        "gpu_model": hardware(world, entry)[0],
                        "gpu_hours": gpu_hours,
                        "replica_seconds": entry["replicas"] * state["active"],
                        "is_first": number == 0,
                        "cost": None if gpu_hours is None or rate is None else rounded(gpu_hours * rate, 10),
                        "modelled": None
                        if gpu_hours is None or modelled is None
                        else rounded(gpu_hours * modelled, 10),
                        "equivalent": rounded(gpu_hours * state["listed"][0], 10)
                        if gpu_hours is not None and state["listed"]
                        else None,
                        "basis": basis,
                        "carried": carried,
                        "earliest": earliest,
                        "billing": "no_bill"
                        if until is None
                        else "not_yet_billed"
                        if hour >= until
                        else "final"
                        if closed
                        else "provisional",
                        "reason": "unknown_gpu_count"
                        if gpu_hours is None
                        else None
                        if rate is not None
                        else f"no_{bought}_price",
                    }
                )
        for commitment in world.commitments:
            name = commitment["commitment_id"]
            if not overlap(commitment, hour):
                continue
            row: Row = {"commitment": commitment, "hour": hour, "used": used[name]}
            if name in committed:
                rate = rates[name][0]
                row["committed"] = max(committed[name], used[name])
                row["unused"] = row["committed"] - used[name]
                row["gpu_model"] = hardware(world, commitment)[0]
                row["unused_cost"] = None if rate is None else rounded(row["unused"] * rate, 10)
                known = [p["modelled"] for p in parts if p["hour"] == hour and p["commitment"] == name]
                row["used_cost"] = known_sum([Decimal(0), *known]) if rate is not None or not known else None
            else:
                taken = [p["gpu_hours"] for p in parts if p["hour"] == hour and p["commitment"] == name]
                row |= {"committed": None, "unused": None, "gpu_model": "any", "used": sum(taken, Decimal(0))}
                row["unused_cost"] = cut(commitment["usd_per_hour"], 0, overlap(commitment, hour), 3600) - spent[name]
                row["used_cost"] = spent[name]
            row["modelled_unused_cost"] = row["unused_cost"]
            row["unused_cost"] = billed_unused(bill, reached, commitment, hour, row["unused_cost"])
            held.append(row)
    return parts, held


def bill_deployments_daily(world: World, spanned: set[datetime]) -> dict[tuple[date, str, str, str], Row]:
    """Day, provider, scope and deployment -> what the ledger's rates make of it and what the bill says.

    Of hours in `spanned`: the ledger does not speak of bills from before its first entry.
    """
    parts, held = fleet_parts(world)
    first_held: dict[str, datetime] = {}
    for entry in sorted(world.deployments, key=lambda each: each["valid_from_at"], reverse=True):
        first_held[entry["deployment"]] = entry["valid_from_at"]
    rows: dict[tuple[date, str, str, str], Row] = defaultdict(
        lambda: {"modelled_cost_usd": Decimal(0), "billed_cost_usd": Decimal(0)}
    )
    for part in parts:
        key = (part["hour"].date(), part["entry"]["provider"], "deployment", part["deployment"])
        rows[key]["modelled_cost_usd"] += part["modelled"] or 0
    for row in held:
        key = (row["hour"].date(), row["commitment"]["provider"], "unused_commitment", "")
        rows[key]["modelled_cost_usd"] += row["modelled_unused_cost"] or 0
    for (provider, _, _, _, charge, _, hour, tag), (_, cost) in billed_hours(world).items():
        if hour not in spanned:
            continue
        scope = "unused_commitment" if charge == "unused_commitment" else "untagged"
        if tag is not None:
            scope = "deployment" if tag in first_held and first_held[tag] < hour + HOUR else "unknown_tag"
        rows[hour.date(), provider, scope, tag if scope == "deployment" else ""]["billed_cost_usd"] += cost
    return rows


def draw(state: Row, bought: str, name: str, left: dict[str, Fraction]) -> None:
    """Takes what a commitment has left for what an entry still needs; GPU-hours as differences of rounded marks."""
    covered = min(left.get(name, Fraction(0)), state["whole"] - state["mark"])
    if covered > 0:
        left[name] -= covered
        before, state["mark"] = state["mark"], state["mark"] + covered
        gpu_hours = rounded(state["mark"] / 3600, 6) - rounded(before / 3600, 6)
        state["pieces"].append((bought, name, gpu_hours, None, False))


def billed_rate(
    world: World,
    bill: dict[tuple[Any, ...], tuple[Decimal, Decimal]],
    entry: Row,
    category: str,
    name: str,
    hour: datetime,
) -> Decimal | None:
    """Effective cost per GPU-hour by the bill: of the commitment, else of all of the category."""
    place = (entry["provider"], entry["region"], entry["instance_type"], category, "usage")
    own = next((c for c in world.commitments if c["commitment_id"] == name), None)
    wanted = None if own is None else own.get("billed_as") or name
    found = [amounts for key, amounts in bill.items() if key[:5] == place and key[6] == hour and key[5] == wanted]
    for amounts in (found if wanted else [], [a for key, a in bill.items() if key[:5] == place and key[6] == hour]):
        held, cost = sum((a[0] for a in amounts), Decimal(0)), sum((a[1] for a in amounts), Decimal(0))
        if held > 0 and cost >= 0:
            return rounded(Fraction(cost) / Fraction(held), 8)
    return None


def billed_unused(
    bill: dict[tuple[Any, ...], tuple[Decimal, Decimal]],
    reached: dict[tuple[str, date], tuple[datetime, bool]],
    commitment: Row,
    hour: datetime,
    modelled: Decimal | None,
) -> Decimal | None:
    """What the bill says was unused, in hours that it has reached of months in which it names the commitment."""
    name, month = commitment.get("billed_as") or commitment["commitment_id"], hour.date().replace(day=1)
    until, _ = reached.get((commitment["provider"], month), (None, False))
    of_it = [key for key in bill if key[0] == commitment["provider"] and key[5] == name]
    if until is None or hour >= until or not any(key[6].date().replace(day=1) == month for key in of_it):
        return modelled
    return sum((bill[key][1] for key in of_it if key[4] == "unused_commitment" and key[6] == hour), Decimal(0))


def total(values: Iterable[Any]) -> Any:
    """The sum; None when any part is unknown."""
    values = list(values)
    return None if any(value is None for value in values) else sum(values)


def spread(amount: Any, weights: list[Any], places: int = 0) -> list[Any]:
    """Parts in proportion to the weights, each the difference of rounded running totals."""
    if amount is None:
        return [None] * len(weights)
    whole = sum(Fraction(w) for w in weights)
    running, marks = Fraction(0), [Decimal(0)]
    for weight in weights:
        running += Fraction(weight)
        marks.append(rounded(Fraction(amount) * running / whole, places))
    return [after - before for before, after in zip(marks, marks[1:], strict=False)]


def costs_hourly(world: World) -> dict[tuple[str, str, datetime], Row]:
    """Deployment, pricing category and hour -> the row of fct_inference_costs_hourly."""
    parts, _ = fleet_parts(world)
    usage = usage_hourly(world)
    start_ups = start_ups_hourly(world)
    grouped: dict[tuple[str, datetime], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for part in parts:
        grouped[part["deployment"], part["hour"]][part["category"]].append(part)
    rows: dict[tuple[str, str, datetime], Row] = {}
    for (deployment, hour), categories in grouped.items():
        used = usage.get((deployment, hour))
        allocated = sum(p["replica_seconds"] for ps in categories.values() for p in ps if p["is_first"])
        utilization = coverage = starting = start_coverage = None
        if used is not None:
            utilization = min(rounded(Fraction(used["active"]) / allocated, 8), Decimal(1))
            coverage = used["reported"]
            if used["basis"] == "engine_counters":
                coverage = min(Fraction(used["observed"]) / allocated, Fraction(1))
            if (deployment, hour) in start_ups:
                quiet, known = start_ups[deployment, hour]
                starting = min(rounded(quiet / allocated, 8), 1 - utilization)
                start_coverage = min(known / allocated, Fraction(1))
        names = sorted(categories)
        weights = [total(p["gpu_hours"] for p in categories[name]) for name in names]
        if any(weight is None for weight in weights):
            weights = [sum(p["replica_seconds"] for p in categories[name]) for name in names]
        shares = {
            column: spread(None if used is None else used[column], weights, 6 if column in ("prefill", "decode") else 0)
            for column in ("input", "cached", "output", "requests", "unsuccessful", "prefill", "decode")
        }
        for position, name in enumerate(names):
            own = categories[name]
            cost = total(p["cost"] for p in own)
            active = None
            if cost is not None and utilization is not None:
                active = rounded(cost * utilization, 10)
            start_up = None
            if active is not None and starting is not None:
                start_up = min(rounded(cost * starting, 10), cost - active)
            gpu_hours = total(p["gpu_hours"] for p in own)
            reasons = sorted(p["reason"] for p in own if p["reason"])
            bases = {p["basis"] for p in own}
            tokens = {column: values[position] for column, values in shares.items()}
            rows[deployment, name, hour] = {
                "model": own[0]["entry"]["model"],
                "provider": own[0]["entry"]["provider"],
                "gpu_model": own[0]["gpu_model"],
                "pricing_model": min(p["bought"] for p in own),
                "gpu_hours": gpu_hours,
                "cost_usd": cost,
                "active_cost_usd": active,
                "idle_cost_usd": None if active is None else cost - active,
                "start_up_gpu_hours": None if None in (gpu_hours, starting) else rounded(gpu_hours * starting, 6),
                "start_up_cost_usd": start_up,
                "other_idle_cost_usd": None if start_up is None else cost - active - start_up,
                "start_up_coverage_ratio": rounded(start_coverage, 8),
                "on_demand_equivalent_cost_usd": total(p["equivalent"] for p in own),
                "utilization_ratio": utilization,
                "usage_coverage_ratio": rounded(coverage, 8),
                "input_tokens": tokens["input"],
                "cached_input_tokens": tokens["cached"],
                "output_tokens": tokens["output"],
                "total_tokens": None
                if tokens["input"] is None
                else tokens["input"] + (tokens["cached"] or 0) + tokens["output"],
                "request_count": tokens["requests"],
                "attempted_request_count": total([tokens["requests"], tokens["unsuccessful"]]),
                "prefill_seconds": tokens["prefill"],
                "decode_seconds": tokens["decode"],
                "usage_basis": used["basis"] if used else None,
                "billing_status": own[0]["billing"],
                "rate_basis": bases.pop() if len(bases) == 1 else "mixed",
                "is_price_carried_forward": any(p["carried"] for p in own),
                "is_rate_earliest_known": any(p["earliest"] for p in own),
                "null_reason": reasons[0] if reasons else None if used else "no_usage_reported",
            }
    return rows


def known_sum(values: Iterable[Any]) -> Any:
    """The sum of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


CLASSES = ("input", "cached_input", "output")
BASES = ("cost_usd", "active_cost_usd")


def token_costs_daily(world: World, weights: dict[str, Decimal]) -> dict[tuple[date, str, str], Row]:
    """Day, deployment and category -> what its priced hours cost, and the exact part that each class of tokens bears.

    `split` holds basis -> class -> part; None when no token was served, and per class where nobody counts it.
    """
    grouped: dict[tuple[date, str, str], list[Row]] = defaultdict(list)
    for (deployment, category, hour), row in costs_hourly(world).items():
        grouped[hour.date(), deployment, category].append(row)
    result: dict[tuple[date, str, str], Row] = {}
    for key, rows in grouped.items():
        priced = [row for row in rows if row["cost_usd"] is not None]
        out: Row = {"rows": rows, "priced": priced, "model": rows[0]["model"], "gpu_model": rows[0]["gpu_model"]}
        for name in (*BASES, *(f"{c}_tokens" for c in CLASSES), "total_tokens", "request_count"):
            out[name] = known_sum(row[name] for row in priced)
        out["start_up_cost_usd"] = known_sum(row["start_up_cost_usd"] for row in rows)
        out["attempted_request_count"] = attempts(priced)
        out["split"], out["split_basis"] = None, None
        if out["cost_usd"] is not None and out["total_tokens"]:
            phases = [known_sum(row[name] for row in priced) for name in ("prefill_seconds", "decode_seconds")]
            out["split_basis"] = (
                "measured_phase_seconds" if None not in phases and sum(phases) > 0 else "default_weights"
            )
            out["split"] = {
                basis: split_cost(out[basis], out, weights, phases if "measured" in out["split_basis"] else None)
                for basis in BASES
            }
        result[key] = out
    return result


def attempts(rows: list[Row]) -> Any:
    """Requests that were attempted, where that is known of all rows with requests."""
    counted = [row["attempted_request_count"] for row in rows if row["request_count"] is not None]
    return total(counted) if counted else None


def split_cost(
    cost: Decimal | None, day: Row, weights: dict[str, Decimal], phases: list[Any] | None
) -> dict[str, Fraction | None]:
    """Output bears what decoding took of the measured seconds, or its weight; the rest is the prompt's, by weight."""
    if cost is None:
        return dict.fromkeys(CLASSES)
    burden = {name: Fraction(weights[name]) * int(day[f"{name}_tokens"] or 0) for name in CLASSES}
    prompt_burden = burden["input"] + burden["cached_input"]
    decoding = Fraction(phases[1]) / sum(map(Fraction, phases)) if phases else burden["output"] / sum(burden.values())
    prompt = Fraction(cost) * (1 - decoding)
    cached = prompt * burden["cached_input"] / prompt_burden if prompt_burden else Fraction(0)
    return {
        "input": prompt - cached,
        "cached_input": None if day["cached_input_tokens"] is None else cached,
        "output": Fraction(cost) * decoding,
    }


def unit_costs_daily(world: World, weights: dict[str, Decimal]) -> dict[tuple[Any, ...], Row]:
    """Day, model, GPU model and category -> cost, tokens, split and unit costs (unrounded fractions)."""
    grouped: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for (day, _, category), row in token_costs_daily(world, weights).items():
        for reported in (category, "all"):
            grouped[day, row["model"], row["gpu_model"], reported].append(row)
    result: dict[tuple[Any, ...], Row] = {}
    for key, days in grouped.items():
        rows = [row for day in days for row in day["rows"]]
        sums = {
            name: known_sum(day[name] for day in days)
            for name in (*BASES, *(f"{c}_tokens" for c in CLASSES), "total_tokens", "request_count")
        }
        bases = {day["split_basis"] for day in days if day["split_basis"]}
        out: Row = {
            "cost_usd": sums["cost_usd"],
            "active_cost_usd": sums["active_cost_usd"],
            "total_tokens": known_sum(row["total_tokens"] for row in rows),
            "priced_total_tokens": sums["total_tokens"],
            "gpu_hours": known_sum(row["gpu_hours"] for row in rows),
            "start_up_gpu_hours": known_sum(row["start_up_gpu_hours"] for row in rows),
            "start_up_cost_usd": known_sum(row["start_up_cost_usd"] for row in rows),
            "is_fully_priced": all(row["cost_usd"] is not None for row in rows),
            "split_basis": "mixed" if len(bases) > 1 else next(iter(bases), None),
        }
        out["attempted_request_count"] = attempts(rows)
        attempted = attempts(days)
        out["cost_usd_per_attempted_request"] = (
            Fraction(sums["cost_usd"]) / int(attempted) if sums["cost_usd"] is not None and attempted else None
        )
        served = [day for day in days if day["split"]]
        for basis in BASES:
            prefix = basis.removesuffix("cost_usd")
            # What stood by is borne by what served, in proportion to what that cost.
            divided = sum((Fraction(day[basis]) for day in served if day[basis] is not None), Fraction(0))
            for name in CLASSES:
                own = known_sum(day["split"][basis][name] for day in served)
                part = own if sums[basis] == divided else None
                if own is not None and divided:
                    part = Fraction(sums[basis]) * own / divided
                if not prefix:
                    out[f"{name}_cost_usd"] = part
                tokens = sums[f"{name}_tokens"]
                out[f"{prefix}cost_usd_per_million_{name}_tokens"] = (
                    part * 10**6 / int(tokens) if part is not None and tokens else None
                )
            for name, factor, counted in (
                ("million_total_tokens", 10**6, sums["total_tokens"]),
                ("request", 1, sums["request_count"]),
            ):
                out[f"{prefix}cost_usd_per_{name}"] = (
                    Fraction(sums[basis]) * factor / int(counted) if sums[basis] is not None and counted else None
                )
        seen = [row for row in rows if row["utilization_ratio"] is not None and row["gpu_hours"] is not None]
        held = sum((Fraction(row["gpu_hours"]) for row in seen), Fraction(0))
        out["utilization_ratio"] = (
            sum(Fraction(row["gpu_hours"]) * Fraction(row["utilization_ratio"]) for row in seen) / held
            if held
            else None
        )
        idle = known_sum(row["idle_cost_usd"] for row in rows)
        out["other_idle_cost_usd"] = None if out["start_up_cost_usd"] is None else idle - out["start_up_cost_usd"]
        told = [row for row in rows if row["start_up_coverage_ratio"] is not None and row["gpu_hours"] is not None]
        if out["gpu_hours"] is not None:
            told_hours = sum(Fraction(row["gpu_hours"]) * Fraction(row["start_up_coverage_ratio"]) for row in told)
            out["start_up_coverage_ratio"] = told_hours / Fraction(out["gpu_hours"])
        result[key] = out
    return result


def borne_costs(world: World, weights: dict[str, Decimal], usage: list[Row]) -> list[Row]:
    """Who bears which exact part of a deployment's day, by category and class of tokens.

    `usage` is whose the tokens of a day are: deployment, usage_date, tenant, model, adapter and the tokens by class.
    A class that nobody used, and a day without tokens (class none), is borne by the owner, else by unattributed.
    """
    of_day: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in usage:
        for name in CLASSES:
            if row[f"{name}_tokens"]:
                of_day[row["deployment"], row["usage_date"], name].append(row)
    borne: list[Row] = []
    for (day, deployment, category), row in token_costs_daily(world, weights).items():
        if row["cost_usd"] is None:
            continue
        place = {"usage_date": day, "deployment": deployment, "category": category}
        nobody = {"tenant": world.owners.get(deployment, "unattributed"), "model": row["model"], "adapter": ""}
        if row["split"] is None:
            borne.append(
                {**place, **nobody, "class": "none", "tokens": None}
                | {basis: None if row[basis] is None else Fraction(row[basis]) for basis in BASES}
            )
            continue
        for name in CLASSES:
            if row["split"]["cost_usd"][name] is None:
                continue
            parties = of_day[deployment, day, name] or [nobody | {f"{name}_tokens": 1}]
            whole = sum(int(party[f"{name}_tokens"]) for party in parties)
            for party in parties:
                share = Fraction(int(party[f"{name}_tokens"]), whole)
                borne.append(
                    {**place, "class": name, "tokens": int(row[f"{name}_tokens"]) * share}
                    | {key: party[key] for key in ("tenant", "model", "adapter")}
                    | {
                        basis: None if row["split"][basis][name] is None else row["split"][basis][name] * share
                        for basis in BASES
                    }
                )
    return borne


def tenant_costs_daily(world: World, weights: dict[str, Decimal], usage: list[Row]) -> dict[tuple[Any, ...], Row]:
    """Day, deployment, tenant, model and adapter -> the money columns of fct_tenant_costs_daily (unrounded)."""
    grouped: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for part in borne_costs(world, weights, usage):
        place = ("usage_date", "deployment", "tenant", "model", "adapter")
        grouped[tuple(part[name] for name in place)].append(part)
    return {
        key: {basis: known_sum(part[basis] for part in parts) for basis in BASES}
        | {
            f"{name}_cost_usd": known_sum(part["cost_usd"] for part in parts if part["class"] == name)
            for name in CLASSES
        }
        | {
            f"{name.lower()}_cost_usd": known_sum(
                [Fraction(0)] + [p["cost_usd"] for p in parts if p["category"] == name]
            )
            for name in ("Standard", "Dynamic", "Committed")
        }
        for key, parts in grouped.items()
    }


def focus_rows(world: World, weights: dict[str, Decimal], usage: list[Row]) -> dict[tuple[Any, ...], Row]:
    """The charges of the inference platform, by what FOCUS calls them, unrounded.

    Day, deployment, category, commitment, tenant, model, adapter, class and purchase -> EffectiveCost, GPU-hours and
    price per GPU-hour at list. Who was served pays the active cost; the rest of what the fleet cost is start-up, as
    far as it is known, and idle time, and what commitments left unused a row of its own.
    """
    parts, held = fleet_parts(world)
    unpriced = {(p["deployment"], p["category"], p["hour"]) for p in parts if p["cost"] is None}
    paid: dict[tuple[Any, ...], dict[tuple[Any, ...], list[Row]]] = defaultdict(lambda: defaultdict(list))
    for p in parts:
        if (p["deployment"], p["category"], p["hour"]) not in unpriced:
            place = (p["hour"].date(), p["deployment"], p["category"])
            paid[place][p["commitment"], p["bought"]].append(p)

    charges: dict[tuple[Any, ...], dict[tuple[Any, ...], Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    left = {
        key: Fraction(row["cost_usd"])
        for key, row in token_costs_daily(world, weights).items()
        if row["cost_usd"] is not None
    }
    models = {key: row["model"] for key, row in token_costs_daily(world, weights).items()}
    started = {key: row["start_up_cost_usd"] or 0 for key, row in token_costs_daily(world, weights).items()}
    for part in borne_costs(world, weights, usage):
        if part["class"] != "none" and (part["tokens"] or part["active_cost_usd"]):
            place = (part["usage_date"], part["deployment"], part["category"])
            tenant = None if part["tenant"] == "unattributed" else part["tenant"]
            who = (tenant, part["model"], part["adapter"] or None, part["class"])
            charges[place][who] += part["active_cost_usd"] or 0
            left[place] -= part["active_cost_usd"] or 0
    for place, rest in left.items():
        for name, part in (("start_up", Fraction(started[place])), ("idle", rest - Fraction(started[place]))):
            if part:
                charges[place][None, models[place], None, name] += part

    rows: dict[tuple[Any, ...], Row] = {}
    for place, of_place in charges.items():
        whole = sum(Fraction(p["cost"]) for ps in paid[place].values() for p in ps)
        for (commitment, bought), ps in paid[place].items():
            cost, gpu_hours = sum(Fraction(p["cost"]) for p in ps), sum(Fraction(p["gpu_hours"]) for p in ps)
            listed = cost if place[2] == "Dynamic" else total(p["equivalent"] for p in ps)
            for who, charge in of_place.items():
                rows[(*place, commitment, bought, *who)] = {
                    "EffectiveCost": charge * cost / whole,
                    "PricingQuantity": gpu_hours * charge / sum(of_place.values()),
                    "ListUnitPrice": (cost if listed is None else Fraction(listed)) / gpu_hours,
                }
    for row in held:
        if row["unused_cost"]:
            name = row["commitment"]["commitment_id"]
            key = (row["hour"].date(), None, "Committed", name, "unused", None, None, None, "unused")
            out = rows.setdefault(key, {"EffectiveCost": Fraction(0), "PricingQuantity": Fraction(0)})
            out["EffectiveCost"] += Fraction(row["unused_cost"])
            out["PricingQuantity"] += Fraction(row["unused"] or 0)
    return rows


def purchase_mix_daily(world: World) -> dict[tuple[Any, ...], Row]:
    """Day, provider, GPU model and category -> GPU-hours, costs and savings."""
    keys: set[tuple[Any, ...]] = set()
    used: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    held: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for (_, category, hour), row in costs_hourly(world).items():
        key = (hour.date(), row["provider"], row["gpu_model"], category)
        used[key].append(row)
        keys.add(key)
    for row in fleet_parts(world)[1]:
        key = (row["hour"].date(), row["commitment"]["provider"], row["gpu_model"], "Committed")
        held[key].append(row)
        keys.add(key)
    result: dict[tuple[Any, ...], Row] = {}
    for key in keys:
        rows, commitments = used[key], held[key]
        same = [k for k in keys if k[:3] == key[:3]]
        all_hours = sum(known_sum(r["gpu_hours"] for r in used[k]) or 0 for k in same)
        committed = sum(c["committed"] or 0 for k in same for c in held[k])
        drawn = sum(c["used"] for k in same for c in held[k])
        promised = sum(c["used_cost"] + c["modelled_unused_cost"] for c in commitments if c["committed"] is None)
        covered = sum(known_sum(r["gpu_hours"] for r in used[k]) or 0 for k in same if k[3] == "Committed")
        cost = total(r["cost_usd"] for r in rows)
        equivalent = total(r["on_demand_equivalent_cost_usd"] for r in rows)
        unused = total(c["unused_cost"] for c in commitments)
        result[key] = {
            "gpu_hours": known_sum(r["gpu_hours"] for r in rows) if rows else 0,
            "effective_cost_usd": known_sum(r["cost_usd"] for r in rows) if rows else 0,
            "on_demand_equivalent_cost_usd": known_sum(r["on_demand_equivalent_cost_usd"] for r in rows) if rows else 0,
            "unused_commitment_gpu_hours": total(c["unused"] for c in commitments),
            "unused_commitment_cost_usd": unused,
            "savings_usd": None if None in (cost, equivalent, unused) else equivalent - cost - unused,
            "coverage_ratio": rounded(Fraction(covered) / Fraction(all_hours), 8) if all_hours else None,
            "commitment_utilization_ratio": rounded(
                Fraction(sum(c["used_cost"] for c in commitments)) / Fraction(promised), 8
            )
            if promised
            else rounded(Fraction(drawn) / Fraction(committed), 8)
            if committed
            else None,
        }
    return result
