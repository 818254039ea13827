"""The demo world's ground truth: tokens as simulated and dollars in plain `Decimal`, independent of the ledger's SQL.

Rules of the money, per fleet entry and UTC hour: gpu_hours = GPUs x active seconds / 3600 to 6 decimals, half up;
cost = gpu_hours x rate per GPU-hour, exact. A reserved entry draws on its commitment; what is left of the
commitment's GPU-hours is unused, at the same rate. A process starts up until it can serve, and from then on until the
scrape after which it has, 3 hours at most. docs/demo.md describes the columns.
"""

import csv
import gzip
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from examples.world import (
    ANOMALY_METER,
    ANOMALY_TRUE_USD,
    ANOMALY_WRONG_USD,
    COMMITMENTS,
    CREDIT_USD,
    DEPLOYMENTS,
    DRIFT_DEPLOYMENT,
    DRIFT_IDLE_HOURS,
    FORGOTTEN_HOURS,
    FORGOTTEN_REGION,
    HOUR,
    PARTS,
    Call,
    EndReason,
    Incarnation,
    Load,
    Outcome,
    Part,
    PricingModel,
    Segment,
    World,
    active_seconds,
    iso,
    midnight,
    replicas,
    utc_date,
)

TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "successful_requests")
LONGEST_START_UP = 3 * HOUR
LOST = tuple(f"lost_{name}" for name in TOKENS)
MONEY = tuple(f"{what}_{pricing}" for pricing in PricingModel for what in ("gpu_hours", "cost_usd"))
BILL = (
    "modelled_cost_usd",
    "billed_cost_usd",
    "not_yet_billed_usd",
    "bill_without_fleet_usd",
    "credits_and_taxes_usd",
)
GATEWAY = (
    "lines",
    "duplicate_lines",
    "distinct_calls",
    "successes_with_tokens",
    "zero_token_successes",
    "failures",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "calls_without_cached_tokens",
)

Row = dict[str, Any]


@dataclass(slots=True)
class Truth:
    """Collects what the simulation did; `write` adds the money and leaves five files."""

    world: World
    until: int  # the midnight after the last day
    hours: dict[tuple[int, str], Counter[str]] = field(default_factory=dict)
    gateway: dict[tuple[int, str, str], Counter[str]] = field(default_factory=dict)
    ends: list[tuple[Incarnation, Load]] = field(default_factory=list)
    first_served: dict[Incarnation, int] = field(default_factory=dict)  # the hour whose closing scrape shows tokens

    def add_work(self, segment: Segment, load: Load) -> None:
        """Counts the work of a segment as visible in the counters, or as lost with them."""
        requests = load.stop + load.length
        counts = (load.computed, load.cached, load.output, requests)
        names = TOKENS if segment.is_scraped else LOST
        key = (segment.hour, segment.incarnation.replica.deployment)
        self.hours.setdefault(key, Counter()).update(dict(zip(names, counts, strict=True)))
        if not segment.is_scraped:
            self.ends.append((segment.incarnation, load))
        elif load.computed + load.cached + load.output > 0:
            earliest = self.first_served.get(segment.incarnation, segment.hour)
            self.first_served[segment.incarnation] = min(earliest, segment.hour)

    def add_call(self, call: Call) -> None:
        """Counts one gateway call attempt by day, deployment and team, token counts as the gateway logged them."""
        is_success = call.outcome is Outcome.SUCCESS
        is_cached_stated = is_success and call.is_cached_stated
        day = midnight(utc_date(call.segment.hour))
        key = (day, call.segment.incarnation.replica.deployment, call.tenant or "")
        self.gateway.setdefault(key, Counter()).update(
            {
                "lines": 1 + call.is_duplicated,
                "duplicate_lines": int(call.is_duplicated),
                "distinct_calls": 1,
                "successes_with_tokens": int(is_success),
                "zero_token_successes": int(call.outcome is Outcome.UNREPORTED),
                "failures": int(call.outcome is Outcome.FAILURE),
                "prompt_tokens": call.prompt if is_success else 0,
                "cached_tokens": call.cached if is_cached_stated else 0,
                "completion_tokens": call.output if is_success else 0,
                "calls_without_cached_tokens": int(is_success and not call.is_cached_stated),
            }
        )

    def write(self, out: Path) -> None:
        """Writes truth.json, truth_hourly.csv.gz, truth_daily.csv and, of parts of it, truth_*.csv."""
        start_ups = self._start_ups()
        hourly: list[Row] = [
            {"hour_start_at": iso(hour), "deployment": name}
            | self._hour(hour, name)
            | {"start_up_seconds": start_ups[hour, name]}
            for hour in range(midnight(self.world.start), self.until, HOUR)
            for name in DEPLOYMENTS
            if self._is_in_fleet(name, hour)
        ]
        daily = sum_rows(
            ({"usage_date": row["hour_start_at"][:10]} | row for row in hourly), by=("usage_date", "deployment")
        )
        commitments = sum_rows(self._commitment_hours(), by=("usage_date", "commitment_id"))
        bill = sum_rows(self._bill_hours(), by=("usage_date", "region", "instance_type"))
        gateway = [
            {"usage_date": iso(day)[:10], "deployment": name, "tenant": tenant}
            | {column: counts[column] for column in GATEWAY}
            for (day, name, tenant), counts in sorted(self.gateway.items())
        ]
        summary = {
            "events": self._events(),
            "rates": [_rate(part) for part in PARTS],
            "totals": sum_rows(daily, by=("deployment",)),
            "commitment_totals": sum_rows(commitments, by=("commitment_id",)),
            "bill_totals": sum_rows(bill, by=("region", "instance_type")),
            "gateway_totals": sum_rows(gateway, by=("deployment",)),
        }
        (out / "truth_hourly.csv.gz").write_bytes(gzip.compress(_csv(hourly).encode(), 3, mtime=0))
        (out / "truth_daily.csv").write_text(_csv(daily))
        (out / "truth_commitments.csv").write_text(_csv(commitments))
        (out / "truth_gateway.csv").write_text(_csv(gateway))
        (out / "truth_bill.csv").write_text(_csv(bill))
        (out / "truth.json").write_text(json.dumps(summary, indent=1, default=_plain) + "\n")

    def _start_ups(self) -> dict[tuple[int, str], Decimal]:
        """Seconds of starting up by hour and deployment, over its replicas; scrapes are on the hour."""
        found: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
        for replica in replicas():
            for each in self.world.incarnations(replica, self.until):
                quiet_until = self.first_served.get(each, each.ends_at // HOUR * HOUR)
                begins = Decimal(str(round(each.started_at, 2)))
                ends = max(Decimal(str(round(each.created_at, 2))), Decimal(quiet_until))
                ends = min(ends, begins + LONGEST_START_UP)
                for hour in range(int(begins) // HOUR * HOUR, int(ends) + 1, HOUR):
                    cut = min(ends, Decimal(hour + HOUR)) - max(begins, Decimal(hour))
                    found[hour, replica.deployment] += max(cut, Decimal(0))
        return found

    def _is_in_fleet(self, name: str, hour: int) -> bool:
        return any(part.deployment == name and active_seconds(part, hour) for part in PARTS)

    def _hour(self, hour: int, name: str) -> Row:
        counts = self.hours.get((hour, name), Counter())
        row: Row = {column: counts[column] for column in TOKENS + LOST}
        row |= dict.fromkeys(MONEY, Decimal(0))
        for part in PARTS:
            if part.deployment == name:
                gpu_hours = used_gpu_hours(part, hour)
                row[f"gpu_hours_{part.pricing}"] += gpu_hours
                row[f"cost_usd_{part.pricing}"] += gpu_hours * part.rate_usd_per_gpu_hour
        return row

    def _commitment_hours(self) -> Iterator[Row]:
        for hour in range(midnight(self.world.start), self.until, HOUR):
            for commitment in COMMITMENTS:
                if commitment.starts <= hour < commitment.ends:
                    rate = commitment.rate_usd_per_gpu_hour
                    committed = Decimal(commitment.count * DEPLOYMENTS[commitment.deployment].gpus)
                    used = sum(
                        (used_gpu_hours(part, hour) for part in PARTS if part.commitment == commitment.commitment_id),
                        Decimal(0),
                    )
                    yield {
                        "usage_date": iso(hour)[:10],
                        "commitment_id": commitment.commitment_id,
                        "committed_gpu_hours": committed,
                        "used_gpu_hours": used,
                        "unused_gpu_hours": committed - used,
                        "used_cost_usd": used * rate,
                        "unused_cost_usd": (committed - used) * rate,
                    }

    def _bill_hours(self) -> Iterator[Row]:
        """What leads from modelled to billed cost of AWS, hour by hour: what is not billed yet, forgotten, credited."""
        for hour in range(midnight(self.world.start), self.until, HOUR):
            billed: dict[tuple[str, str], Row] = {}
            is_billed = utc_date(hour) in self.world.billed_days(self.until)
            for line in self.world.bill_lines(hour):
                row = billed.setdefault((line.region, line.instance_type), dict.fromkeys(BILL, Decimal(0)))
                amount = line.effective_usd
                if line.deployment is None:
                    row["bill_without_fleet_usd"] += amount if is_billed else 0
                    row["billed_cost_usd"] += amount if is_billed else 0
                else:
                    row["modelled_cost_usd"] += amount
                    row["billed_cost_usd" if is_billed else "not_yet_billed_usd"] += amount if is_billed else -amount
            for (region, instance_type), row in billed.items():
                yield {"usage_date": iso(hour)[:10], "region": region, "instance_type": instance_type} | row
        for month_end in self.world.closed_months(self.until):
            yield (
                {
                    "usage_date": iso(month_end - HOUR)[:10],
                    "region": "us-east-1",
                    "instance_type": "p5.48xlarge",
                }
                | dict.fromkeys(BILL, Decimal(0))
                | {
                    "billed_cost_usd": -CREDIT_USD,
                    "credits_and_taxes_usd": -CREDIT_USD,
                }
            )

    def _events(self) -> Row:
        world = self.world
        return {
            "price_anomaly": {
                "source": "azure",
                "dataset": "eastus",
                "instance_type": "Standard_NC24ads_A100_v4",
                "meter_name": ANOMALY_METER,
                "fetched_at": iso(world.anomaly_at),
                "true_usd_per_instance_hour": ANOMALY_TRUE_USD,
                "wrong_usd_per_instance_hour": ANOMALY_WRONG_USD,
                "cause": "cents read as dollars",
            },
            "cost_drift": {
                "deployment": DRIFT_DEPLOYMENT,
                "starts_on": str(world.drift_date),
                "idle_hours_utc": sorted(DRIFT_IDLE_HOURS),
                "cause": "utilization",
            },
            "forgotten_instance": {
                "provider": "aws",
                "region": FORGOTTEN_REGION,
                "instance_type": "p5.48xlarge",
                "on": str(world.drift_date),
                "hours": FORGOTTEN_HOURS,
                "cause": "in the bill, and in no fleet entry",
            },
            "credit": {"provider": "aws", "usd": CREDIT_USD, "cause": "with the invoice, when a month is closed"},
            "lost_tails": [
                {
                    "replica": incarnation.replica.name,
                    "ended_at": iso(incarnation.ends_at),
                    "reason": incarnation.end_reason,
                    "tokens": load.computed + load.cached + load.output,
                }
                for incarnation, load in self.ends
            ],
            "rolling_restarts": {
                replica.name: " ".join(
                    iso(each.ends_at)
                    for each in world.incarnations(replica, self.until)
                    if each.end_reason is EndReason.ROLLING_RESTART
                )
                for replica in replicas()
            },
        }


def used_gpu_hours(part: Part, hour: int) -> Decimal:
    """GPU-hours of a fleet entry in the hour that begins at `hour`, to 6 decimals."""
    gpus = len(part.replicas) * DEPLOYMENTS[part.deployment].gpus
    return (Decimal(gpus * active_seconds(part, hour)) / HOUR).quantize(Decimal("1e-6"), rounding=ROUND_HALF_UP)


def sum_rows(rows: Iterable[Mapping[str, Any]], *, by: tuple[str, ...]) -> list[Row]:
    """Adds up the numeric columns of `rows` per combination of the `by` columns, in order of first appearance."""
    sums: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = tuple(row[column] for column in by)
        total = sums.setdefault(key, dict(zip(by, key, strict=True)))
        for column, value in row.items():
            if isinstance(value, int | Decimal):
                total[column] = total.get(column, 0) + value
    return list(sums.values())


def _rate(part: Part) -> Row:
    is_contracted = part.contracted_usd_per_gpu_hour is not None
    return {
        "deployment": part.deployment,
        "pricing_model": part.pricing,
        "replicas": len(part.replicas),
        "from": iso(part.starts),
        "to": None if part.ends is None else iso(part.ends),
        "commitment": part.commitment,
        "rate_basis": "contracted" if is_contracted else "list",
        "list_usd_per_instance_hour": part.list_usd_per_instance_hour,
        "rate_usd_per_gpu_hour": part.rate_usd_per_gpu_hour,
    }


def _csv(rows: list[Row]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({column: _plain(value) for column, value in row.items()} for row in rows)
    return text.getvalue()


def _plain(value: Any) -> Any:
    """Decimal without an exponent."""
    return f"{value:f}" if isinstance(value, Decimal) else value
