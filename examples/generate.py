"""Writes the demo world: `python -m examples.generate` from the root of the project.

The first run writes 60 days ending yesterday (UTC); a later run adds the days since and leaves every file of the
past as it is; a run on the same day does nothing. A run that was killed is made good by the next.
"""

import argparse
import gzip
import json
import os
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from examples.formats import focus_credit, focus_header, focus_line, litellm_line, vllm_page
from examples.truth import Truth
from examples.world import (
    ANOMALY_METER,
    ANOMALY_TRUE_USD,
    ANOMALY_WRONG_USD,
    CLOSE_AFTER,
    CREDIT_USD,
    DAY,
    HOUR,
    SEED,
    Call,
    Incarnation,
    Load,
    Replica,
    Segment,
    World,
    iso,
    midnight,
    replicas,
    stamp,
    utc_date,
)

PRICES = Path(__file__).parent / "prices"


def generate(out: Path, *, days: int = 60, end: date | None = None, seed: int | None = None) -> str:
    """Writes a new world to `out`, or extends the one that is there; returns what was done, in a sentence.

    Args:
        out: folder of the world, created if absent.
        days: length of a new world; an old one keeps its first day.
        end: last day, inclusive; yesterday in UTC by default.
        seed: of a new world; an old one keeps its own.

    Raises:
        ValueError: `seed` is not the seed of the world in `out`, or `days` is not positive.
    """
    end = end or datetime.now(UTC).date() - timedelta(days=1)
    state_file = out / "world.json"
    if not state_file.exists():
        if days < 1:
            raise ValueError("a world has at least one day")
        world = World(SEED if seed is None else seed, end - timedelta(days=days - 1), end)
        write(out, world, through=end)
        return f"wrote {world.start} to {end} in {out}"
    state = json.loads(state_file.read_text())
    world = World(state["seed"], date.fromisoformat(state["start"]), date.fromisoformat(state["first_end"]))
    if seed not in (None, world.seed):
        raise ValueError(f"{out} holds the world of seed {world.seed}; remove it or give another folder")
    written = date.fromisoformat(state["end"]) if state["end"] else None
    end = max(end, world.first_end)
    if written and end <= written:
        return f"{out} already ends on {written}"
    write(out, world, through=end, written=written)
    return f"extended {out} to {end}"


def write(out: Path, world: World, *, through: date, written: date | None = None) -> None:
    """Simulates `world` from its first day and writes the files of the days after `written`, and the truth of all."""
    out.mkdir(parents=True, exist_ok=True)
    _write_state(out, world, written)
    if written is None:
        _write_price_anomaly(out, world)
        for replica in replicas():
            (out / "vllm" / replica.deployment / replica.name).mkdir(parents=True, exist_ok=True)
        (out / "litellm").mkdir(exist_ok=True)
    until = midnight(through + timedelta(days=1))
    written_until = midnight(written + timedelta(days=1)) if written else 0
    truth = Truth(world, until)
    counters: dict[Incarnation, Load] = {}
    for replica in replicas():
        for incarnation in world.incarnations(replica, until):
            counters[incarnation] = _counters_before(world, incarnation)
            if incarnation.opening_scrape_at is not None and incarnation.opening_scrape_at >= written_until:
                _write_page(out, incarnation, counters[incarnation], Load(), incarnation.opening_scrape_at)
    for day_start, group in groupby(world.segments(until), key=lambda segment: segment.hour // DAY * DAY):
        segments, day = list(group), utc_date(day_start)
        calls = world.gateway_day(day, segments)
        served = _served(world, day, segments, calls)
        for call in calls:
            truth.add_call(call)
        for segment in segments:
            incarnation, load = segment.incarnation, served[segment]
            truth.add_work(segment, load)
            counters[incarnation] = counters[incarnation].plus(load)
            if segment.is_scraped and segment.hour + HOUR > written_until:
                _write_page(out, incarnation, counters[incarnation], load, segment.hour + HOUR)
        if day_start >= written_until:
            _write_calls(out / "litellm" / f"{day}.jsonl.gz", calls)
    _write_bills(out, world, until, written_until)
    truth.write(out)
    _write_state(out, world, through)


def _write_bills(out: Path, world: World, until: int, written_until: int) -> None:
    """Writes the bill of AWS, a file per day, a day late; and with a closed month its credit."""
    known = world.billed_days(written_until) if written_until else []
    for day in world.billed_days(until)[len(known) :]:
        hours = range(midnight(day), midnight(day) + DAY, HOUR)
        lines = [focus_line(line, hour) for hour in hours for line in world.bill_lines(hour)]
        if lines:
            _write_bill(out / "bills" / f"{day:%Y-%m}" / f"{day}.csv.gz", lines, midnight(day) + 30 * HOUR)
    for end in world.closed_months(until):
        if end not in (world.closed_months(written_until) if written_until else []):
            month = utc_date(end - HOUR)
            path = out / "bills" / f"{month:%Y-%m}" / "invoice.csv.gz"
            _write_bill(path, [focus_credit(CREDIT_USD, end - HOUR)], end + CLOSE_AFTER + 6 * HOUR)


def _write_bill(path: Path, lines: list[str], at: int) -> None:
    """A bill written at the instant `at`: until when a month was delivered tells whether it is closed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress((focus_header() + "".join(lines)).encode(), 3, mtime=0))
    os.utime(path, (at, at))


def _counters_before(world: World, incarnation: Incarnation) -> Load:
    """What the counters of a process show when it is first met: zero, or days of work done before the world began."""
    begin = midnight(world.start)
    if incarnation.serves_from >= begin:
        return Load()
    typical = Load()
    for load in world.batch_day(incarnation.replica, world.start):
        typical = typical.plus(load)
    return typical.share(begin - incarnation.serves_from, DAY)


def _served(world: World, day: date, segments: list[Segment], calls: list[Call]) -> dict[Segment, Load]:
    """Work per segment: its share of the hour's batch traffic, and its gateway calls."""
    batch: dict[Replica, list[Load]] = {}
    served: dict[Segment, Load] = {}
    for segment in segments:
        replica = segment.incarnation.replica
        if replica not in batch:
            batch[replica] = world.batch_day(replica, day)
        hour = batch[replica][segment.hour % DAY // HOUR]
        served[segment] = hour.share(segment.ends - segment.starts, HOUR)
    for call in calls:
        served[call.segment] = served[call.segment].plus(call.load)
    return served


def _write_page(out: Path, incarnation: Incarnation, counters: Load, last_hour: Load, scraped_at: int) -> None:
    replica = incarnation.replica
    path = out / "vllm" / replica.deployment / replica.name / f"{stamp(scraped_at)}.prom"
    path.write_text(vllm_page(incarnation, counters, last_hour, scraped_at))


def _write_calls(path: Path, calls: list[Call]) -> None:
    """Writes a day of the gateway's log in order of completion; a line sent twice comes again 30 seconds later."""
    lines: list[tuple[int, str]] = []
    for call in calls:
        line = litellm_line(call)
        lines.append((call.ended_us, line))
        if call.is_duplicated:
            lines.append((call.ended_us + 30_000_000, line))
    lines.sort(key=lambda entry: entry[0])
    path.write_bytes(gzip.compress("".join(f"{line}\n" for _, line in lines).encode(), 3, mtime=0))


def _write_price_anomaly(out: Path, world: World) -> None:
    """Copies the newest Azure eastus snapshot to the instant of the anomaly, with one wrong price."""
    source = max((PRICES / "azure" / "eastus").glob("*.json"))
    lines = source.read_text().splitlines(keepends=True)
    true, wrong = str(ANOMALY_TRUE_USD), str(ANOMALY_WRONG_USD)
    hits = [number for number, line in enumerate(lines) if f'"meterName": "{ANOMALY_METER}"' in line and true in line]
    if len(hits) != 1:
        raise ValueError(f"{source} has {len(hits)} lines with {ANOMALY_METER} at {true}, not one")
    lines[hits[0]] = lines[hits[0]].replace(true, wrong)
    target = out / "prices" / "azure" / "eastus" / f"{stamp(world.anomaly_at)}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(lines))


def _write_state(out: Path, world: World, written: date | None) -> None:
    """Writes world.json: first with the last whole day, again when all files are there."""
    state: dict[str, Any] = asdict(world) | {
        "end": written,
        "price_anomaly_at": iso(world.anomaly_at),
        "cost_drift_from": world.drift_date,
        "crashes": {replica.name: iso(at) for replica, at in world.crashes().items()},
    }
    partial = out / "world.json.part"
    partial.write_text(json.dumps(state, indent=1, default=str) + "\n")
    partial.replace(out / "world.json")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=60, help="length of a new world (default 60)")
    parser.add_argument("--end", type=date.fromisoformat, help="last day, YYYY-MM-DD (default: yesterday, UTC)")
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="folder (default data/demo)")
    parser.add_argument("--seed", type=int, help=f"seed of a new world (default {SEED})")
    arguments = parser.parse_args()
    print(generate(arguments.out, days=arguments.days, end=arguments.end, seed=arguments.seed))


if __name__ == "__main__":
    main()
