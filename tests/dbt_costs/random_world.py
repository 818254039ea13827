"""A small world with every trap in it, made by a seed: restarts, gaps, duplicates, expired terms, vanished prices."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from cost_oracle import Row, World

H = timedelta(hours=1)
LLAMA, SMALL, QWEN = "meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-32B"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def price(provider: str, key: str, model: str, gpus: str, instance_price: str, start: str, **other: Any) -> Row:
    """A row of the price book; in force and seen until the world's last hour unless stated."""
    count = Decimal(gpus)
    per_instance = Decimal(instance_price)
    row = {
        "series_id": f"{provider}/{key}/{model}/{other.get('region', 'global')}/{other.get('offer_tier', '')}"
        f"/{other.get('payment_option')}",
        "source": provider,
        "provider": provider,
        "sku_id": key,
        "price_key": key,
        "region": "global",
        "gpu_count": count,
        "pricing_category": {"on_demand": "Standard", "spot": "Dynamic"}.get(model, "Committed"),
        "pricing_model": model,
        "offer_tier": "",
        "term_months": None,
        "payment_option": None,
        "price_usd_per_gpu_hour": (per_instance / count).quantize(Decimal("0.00000001")) if count >= 1 else None,
        "price_usd_per_instance_hour": per_instance,
        "valid_from_at": at(start),
        "valid_to_at": None,
        "last_seen_at": at("2026-10-05T00:00"),
    } | other
    for name in ("valid_from_at", "valid_to_at", "last_seen_at"):
        if isinstance(row[name], str):
            row[name] = at(row[name])
    return row | {"first_seen_at": row["valid_from_at"], "fetched_at": row["last_seen_at"]}


def entry(position: int, deployment: str, model: str, provider: str, instance: str, **other: Any) -> Row:
    row = {
        "allocation_id": f"{deployment}#{position}",
        "deployment": deployment,
        "model": model,
        "provider": provider,
        "region": {"aws": "us-east-1", "azure": "eastus"}.get(provider, "global"),
        "instance_type": instance,
        "replicas": 1,
        "gpus_per_replica": None,
        "pricing_model": "on_demand",
        "commitment_id": None,
        "rate_usd_per_gpu_hour": None,
        "valid_from_at": at("2026-09-01T00:00"),
        "valid_to_at": None,
    } | other
    for name in ("valid_from_at", "valid_to_at"):
        if isinstance(row[name], str):
            row[name] = at(row[name])
    return row


def commitment(name: str, provider: str, instance: str, start: str, end: str, **other: Any) -> Row:
    return {
        "commitment_id": name,
        "provider": provider,
        "region": {"aws": "us-east-1", "azure": "eastus"}[provider],
        "instance_type": instance,
        "instance_count": 1,
        "term_months": 12,
        "payment_option": "no_upfront",
        "rate_usd_per_gpu_hour": None,
        "upfront_usd": None,
        "valid_from_at": at(start),
        "valid_to_at": at(end),
    } | other


def plan(name: str, provider: str, usd_per_hour: str, start: str, **other: Any) -> Row:
    """A savings plan of so much an hour for a year: of one family where it names one, else of any."""
    begins = at(start)
    return {
        "commitment_id": name,
        "provider": provider,
        "region": None,
        "instance_type": None,
        "instance_count": None,
        "term_months": 12,
        "payment_option": "no_upfront",
        "rate_usd_per_gpu_hour": None,
        "upfront_usd": None,
        "valid_from_at": begins,
        "valid_to_at": begins.replace(year=begins.year + 1),
        "kind": "ec2_instance_savings_plan" if "instance_type" in other else "compute_savings_plan",
        "usd_per_hour": Decimal(usd_per_hour),
    } | other


def bill_line(start: str | datetime, instance: str | None, hours: str, effective: str, **other: Any) -> Row:
    """A line of an AWS bill in FOCUS columns: so many instance-hours of an hour, on demand unless stated."""
    begins = at(start) if isinstance(start, str) else start
    return {
        "source_name": "aws-bill",
        "kind": "focus",
        "billing_period": begins.date().replace(day=1),
        "charge_type_raw": "Usage",
        "has_invoice": False,
        "provider_raw": "aws",
        "region_raw": "us-east-1",
        "charge_from_at": begins,
        "charge_to_at": begins + H,
        "instance_type_raw": instance,
        "pricing_category_raw": "Standard",
        "commitment_id": None,
        "commitment_status_raw": None,
        "quantity": Decimal(hours),
        "quantity_unit_raw": "Hours",
        "currency": "USD",
        "billed_amount": Decimal(effective),
        "effective_amount": Decimal(effective),
        "list_amount": Decimal(effective),
        "contracted_amount": Decimal(effective),
    } | other


def aws_bill(rng: random.Random) -> list[Row]:
    """October as billed on the 3rd: prices of its own, a day's charge, zeros, unused commitment."""
    lines: list[Row] = []
    covered = {"commitment_id": "arn:ri/p5", "commitment_status_raw": "Used", "billed_amount": Decimal(0)}
    for hour in range(52):
        start = at("2026-10-01T00:00") + hour * H
        if hour % 7:
            lines.append(bill_line(start, "p5.48xlarge", "2", f"{rng.randrange(90, 120)}.{hour:04d}1"))
        lines.append(bill_line(start, "p5.48xlarge", "0.75", f"2{hour % 10}.123456", **covered))
        lines.append(bill_line(start, "p5.48xlarge", "0.25", "9.99", pricing_category_raw="Dynamic"))
        if hour % 5 == 0:
            lines.append(
                bill_line(start, None, "0", f"0.{hour:02d}5", commitment_id="plan-any", commitment_status_raw="Unused")
            )
    day = {"charge_to_at": at("2026-10-02T00:00")}
    lines.append(
        bill_line("2026-10-01T00:00", "g6.xlarge", "24", "13.3333333333", pricing_category_raw="Dynamic", **day)
    )
    # The effective cost is not stated: billed cost stands in on demand; of what is covered nothing is known.
    zero = {"effective_amount": Decimal(0), "list_amount": Decimal("55.04")}
    lines.append(bill_line("2026-10-02T21:00", "p5.48xlarge", "1", "50.5", **zero))
    lines.append(bill_line("2026-10-02T22:00", "p5.48xlarge", "1", "0", **zero | {"commitment_id": "arn:ri/p5"}))
    return lines


def make_world(seed: int, instance_types: dict[tuple[str, str], tuple[str, Decimal, str]]) -> World:
    """The world of `seed`: 2026-10-01 to 2026-10-04, eight deployments."""
    rng = random.Random(seed)
    world = World(as_of_date=date(2026, 10, 4), instance_types=instance_types, owners={"edge": "gamma"})
    reserved = {"pricing_model": "reserved", "commitment_id": "p5-1y"}
    minute = f"{rng.randrange(60):02d}:{rng.randrange(60):02d}"
    world.deployments = [
        entry(0, "chat", LLAMA, "aws", "p5.48xlarge", **reserved),
        entry(1, "chat", LLAMA, "aws", "p5.48xlarge", valid_from_at="2026-10-01T05:40", replicas=2),
        entry(2, "chat", LLAMA, "aws", "p5.48xlarge", pricing_model="spot", valid_to_at=f"2026-10-03T07:{minute}"),
        entry(3, "chat-b", LLAMA, "aws", "p5.48xlarge", **reserved, valid_from_at="2026-10-02T00:00"),
        entry(4, "chat-b", LLAMA, "aws", "p5.48xlarge", rate_usd_per_gpu_hour=Decimal("5.43210987")),
        entry(5, "rag", QWEN, "azure", "Standard_ND96isr_H100_v5", rate_usd_per_gpu_hour=Decimal("7.1")),
        entry(6, "rag", QWEN, "azure", "Standard_ND96isr_H100_v5", valid_from_at=f"2026-10-02T03:{minute}"),
        entry(7, "edge", SMALL, "runpod", "NVIDIA L4", gpus_per_replica=Decimal(2), pricing_model="spot"),
        entry(8, "shape", SMALL, "oci", "BM.GPU.L40S.4", gpus_per_replica=Decimal("0.5"), replicas=3),
        entry(9, "mystery", SMALL, "corp", "rack-17"),
        entry(10, "owned", SMALL, "corp", "rack-18", gpus_per_replica=Decimal(4), rate_usd_per_gpu_hour=Decimal("0.9")),
        entry(11, "silent", QWEN, "aws", "g6.xlarge", pricing_model="spot"),
        entry(13, "bare", QWEN, "aws", "g6.2xlarge"),
        entry(12, "term", QWEN, "aws", "g6.xlarge", pricing_model="reserved", commitment_id="g6-old"),
    ]
    world.commitments = [
        commitment("p5-1y", "aws", "p5.48xlarge", "2026-03-01T00:00", "2027-03-01T00:00"),
        commitment(
            "idle",
            "azure",
            "Standard_ND96isr_H100_v5",
            "2026-08-01T00:00",
            "2027-08-01T00:00",
            payment_option="all_upfront",
            rate_usd_per_gpu_hour=Decimal(0),
            upfront_usd=Decimal("333333.33"),
        ),
        commitment("g6-old", "aws", "g6.xlarge", "2025-10-03T10:30", "2026-10-03T10:30"),
        # Overlaps p5-1y, and begins inside an hour: entries that name no commitment draw on what both have left.
        commitment("p5-second", "aws", "p5.48xlarge", "2026-10-02T09:20", "2027-10-02T09:20"),
        plan("plan-p5", "aws", "14.5", "2026-10-01T18:15", region="us-east-1", instance_type="p5"),
        plan("plan-any", "aws", "9.87654321", "2026-09-15T00:00"),
        commitment("nowhere", "aws", "g6.xlarge", "2026-10-02T12:00", "2029-10-02T12:00", term_months=36),
    ]
    next(c for c in world.commitments if c["commitment_id"] == "p5-1y")["billed_as"] = "arn:ri/p5"
    world.bill_lines = aws_bill(rng)
    for number, line in enumerate(world.bill_lines):
        line["deployment_tag"] = (None, "chat", "nobody", "shape")[number % 4]
    world.bills = [
        {
            "source_name": "aws-bill",
            "billing_period": date(2026, 10, 1),
            "format_version": "FOCUS 1.0",
            "line_count": len(world.bill_lines),
            "delivery_digest": "d",
            "delivered_at": at("2026-10-03T05:00"),
            "loaded_at": at("2026-10-03T05:00"),
        }
    ]
    world.price_sources = [
        {"source": name, "is_enabled": True, "stale_after_hours": 48} for name in ("aws", "azure", "oci", "runpod")
    ]
    east = {"region": "us-east-1"}
    world.prices = [
        price(
            "aws", "p5.48xlarge", "on_demand", "8", "55.04", "2026-09-20T06:00", valid_to_at="2026-10-02T06:10", **east
        ),
        price(
            "aws", "p5.48xlarge", "on_demand", "8", "60.13", "2026-10-02T06:10", valid_to_at="2026-10-03T06:10", **east
        ),
        price("aws", "p5.48xlarge", "on_demand", "8", "1.0", "2026-09-20T06:00", region="us-west-2"),
        # Vanished from the feed at noon: carried forward from then on.
        price(
            "aws", "p5.48xlarge", "spot", "8", "21.98765432", "2026-09-30T06:00", valid_to_at="2026-10-01T12:00", **east
        ),
        # Not pulled since: stale after 48 hours.
        price(
            "azure",
            "Standard_ND96isr_H100_v5",
            "on_demand",
            "8",
            "98.32",
            "2026-09-25T00:00",
            region="eastus",
            last_seen_at="2026-10-01T04:30",
        ),
        price("azure", "Standard_ND96isr_H100_v5", "on_demand", "8", "90", "2026-09-26T00:00"),
        price(
            "aws",
            "p5.48xlarge",
            "reserved",
            "8",
            "37.9",
            "2026-01-01T00:00",
            valid_to_at="2026-04-01T00:00",
            term_months=12,
            payment_option="no_upfront",
            offer_tier="standard",
            **east,
        ),
        price(
            "aws",
            "p5.48xlarge",
            "reserved",
            "8",
            "33.3",
            "2026-04-01T00:00",
            term_months=12,
            payment_option="no_upfront",
            offer_tier="standard",
            **east,
        ),
        price(
            "aws",
            "p5.48xlarge",
            "reserved",
            "8",
            "1.1",
            "2026-01-01T00:00",
            term_months=12,
            payment_option="no_upfront",
            offer_tier="convertible",
            **east,
        ),
        # First seen after the term began.
        price(
            "aws",
            "g6.xlarge",
            "reserved",
            "1",
            "0.55",
            "2026-02-01T00:00",
            term_months=12,
            payment_option="no_upfront",
            offer_tier="standard",
            **east,
        ),
        price(
            "aws",
            "p5.48xlarge",
            "savings_plan",
            "8",
            "41.44",
            "2026-01-01T00:00",
            term_months=12,
            payment_option="no_upfront",
            offer_tier="ec2instancesavingsplans, no upfront",
            **east,
        ),
        price(
            "aws",
            "p5.48xlarge",
            "savings_plan",
            "8",
            "44.0000008",
            "2026-01-01T00:00",
            term_months=12,
            payment_option="no_upfront",
            offer_tier="computesavingsplans, no upfront",
            **east,
        ),
        price(
            "aws",
            "g6.xlarge",
            "savings_plan",
            "1",
            "0.611",
            "2026-01-01T00:00",
            term_months=12,
            payment_option="no_upfront",
            offer_tier="computesavingsplans, no upfront",
            **east,
        ),
        price("aws", "g6.xlarge", "on_demand", "1", "0.8048", "2026-10-03T14:20", **east),
        price("runpod", "NVIDIA L4", "spot", "1", "0.12", "2026-09-01T00:00", offer_tier="community"),
        price("runpod", "NVIDIA L4", "spot", "1", "0.22", "2026-10-02T15:20", offer_tier="secure"),
        price("runpod", "NVIDIA L4", "on_demand", "1", "0.43", "2026-09-01T00:00", offer_tier="secure"),
        price("oci", instance_types["oci", "BM.GPU.L40S.4"][2], "on_demand", "1", "3.5", "2026-09-01T00:00"),
    ]
    world.routes = [
        {
            "source_name": name,
            "kind": "metrics",
            "role": "engine_counters",
            "model_match": "*",
            "deployment": deployment,
        }
        for name, deployment in (
            ("m-chat", "chat"),
            ("m-chat-b", "chat-b"),
            ("m-shape", "shape"),
            ("m-mystery", "mystery"),
            ("m-owned", "owned"),
        )
    ] + [
        {"source_name": "gw", "kind": "litellm", "role": "gateway", "model_match": match, "deployment": deployment}
        for match, deployment in (("qwen3-32b", "rag"), ("hosted_vllm/meta/small", "edge"), ("llama-3.1-70b", "chat"))
    ]
    for source, replicas, step, engines in (
        ("m-chat", 3, 300, 1),
        ("m-chat-b", 2, 900, 2),
        ("m-shape", 3, 611, 1),
        ("m-mystery", 1, 1800, 1),
        ("m-owned", 1, 1200, 1),
    ):
        for replica in range(replicas):
            world.samples += scrape(rng, source, f"{source}/{replica}", step, engines)
    world.requests = calls(rng)
    return world


def make_sparse_world(seed: int) -> World:
    """Usage from 2026-10-01 to 2026-10-20, heard of seldom: scrapes hours or days apart, calls of up to a day."""
    rng = random.Random(seed)
    world = World(as_of_date=date(2026, 10, 20))
    world.routes = [
        {"source_name": "m", "kind": "metrics", "role": "engine_counters", "model_match": "*", "deployment": "chat"},
        {"source_name": "gw", "kind": "litellm", "role": "gateway", "model_match": "qwen3-32b", "deployment": "rag"},
        {"source_name": "gw", "kind": "litellm", "role": "gateway", "model_match": "tiny", "deployment": "rag"},
    ]
    for replica in range(8):
        now, counted = at("2026-10-01T00:00") + rng.randrange(48) * H, 0
        begun = now
        while now < at("2026-10-21T00:00"):
            if rng.random() < 0.1:
                begun, counted = now - timedelta(minutes=rng.randrange(1, 300)), 0
            counted += rng.randrange(100)
            for name, value in (("vllm:prompt_tokens_total", counted), ("vllm:generation_tokens_total", counted // 2)):
                world.samples.append(
                    {
                        "source_name": "m",
                        "file_id": "f",
                        "replica_key": f"m/{replica}",
                        "scraped_at": now,
                        "usage_date": now.date(),
                        "metric_name": name,
                        "engine": "0",
                        "model_name": "served",
                        "label_value": None,
                        "value": float(value),
                        "series_created_at": None,
                        "process_started_at": begun,
                    }
                )
            # A week, and a minute more than a week: the scrape before is the last one that counts, or none.
            now += rng.choice([2 * H, 5 * H, 26 * H, 60 * H, 7 * 24 * H, 7 * 24 * H + timedelta(minutes=1)])
    for number in range(300):
        start = at("2026-10-01T00:00") + timedelta(seconds=rng.randrange(20 * 86_400))
        world.requests.append(
            {
                "source_name": "gw",
                "file_id": "f",
                "request_id": UUID(int=number),
                "call_id": None,
                "status": "success",
                "model": "served",
                "model_group": rng.choice(["qwen3-32b", "tiny"]),
                "model_id": rng.choice(["a", "b"]),
                "started_at": start,
                "completed_at": start + timedelta(seconds=rng.choice([60, 3_600, 86_400])),
                "usage_date": start.date(),
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "cached_tokens": None,
            }
        )
    return world


def scrape(rng: random.Random, source: str, replica: str, step: int, engines: int) -> list[Row]:
    """What a scraper saw of one replica that restarts now and then; whole tokens, seconds in 1/64."""
    names = ["vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:request_success_total"]
    if source != "m-owned":
        names += ["vllm:request_prefill_time_seconds_sum", "vllm:request_decode_time_seconds_sum"]
    cached = {"m-chat": "vllm:prompt_tokens_cached_total", "m-chat-b": "vllm:prefix_cache_hits_total"}.get(source)
    names += [cached] if cached else []
    # How requests end: some engines count no failures, some only what the caller gave up.
    failures = {"m-owned": [], "m-chat": ["abort", "error"]}.get(source, ["abort"])
    reasons = ["stop", "length", *failures]
    states_start = source != "m-shape"
    begun = at("2026-10-01T00:00") + timedelta(seconds=rng.randrange(-20_000, 3_000))
    now = at("2026-10-01T00:00") + timedelta(seconds=rng.randrange(step))
    counters: dict[tuple[int, str, str | None], float] = {}
    rows: list[Row] = []
    busy = True
    cuts = random.Random(replica)
    starts = random.Random(f"starts of {replica}")
    quiet_until = now
    while now < at("2026-10-05T00:00"):
        # A page that lacks one counter; not on the first evening, whose few tokens would magnify rounding.
        cut = cuts.choice(names) if now > at("2026-10-01T02:00") and cuts.random() < 0.05 else None
        if rng.random() < 0.02:  # killed: some scrapes are missed, the new process starts at zero
            begun = now + timedelta(milliseconds=rng.randrange(1, step * 700))
            now = begun + timedelta(seconds=rng.randrange(1, step))
            counters = {}
            quiet_until = begun + starts.choice([0, 0, 0.1, 0.5, 2, 5]) * H
        if now <= begun:
            begun = now - timedelta(seconds=5)
        if rng.random() < 0.1:
            busy = not busy
        for engine in range(engines):
            for name in names:
                for label in reasons if name == "vllm:request_success_total" else (None,):
                    key = (engine, name, label)
                    grown = rng.randrange(1, 50_000) if busy and rng.random() < 0.9 else 0
                    if now < quiet_until:
                        grown = 0
                    if "request_success" in name:
                        grown %= 40
                    if "cached" in name or "cache_hits" in name:
                        grown //= 2
                    counters[key] = counters.get(key, 0) + (grown / 64 if "seconds" in name else grown)
                    # The clock of `_created` jitters by less than a second.
                    created = begun + timedelta(milliseconds=rng.randrange(400))
                    if source == "m-chat":  # loads its weights before it counts
                        created += timedelta(seconds=85)
                    row = {
                        "source_name": source,
                        "file_id": "f",
                        "replica_key": replica,
                        "scraped_at": now,
                        "usage_date": now.date(),
                        "metric_name": name,
                        "engine": str(engine) if source != "m-mystery" else None,
                        "model_name": "served",
                        "label_value": label,
                        "value": float(counters[key]),
                        "series_created_at": created if states_start and source != "m-chat-b" else None,
                        "process_started_at": begun if states_start else None,
                    }
                    if name == cut:
                        continue
                    rows.append(row)
                    if rng.random() < 0.01:
                        rows.append(dict(row))
                    if rng.random() < 0.01:
                        rows.append(row | {"value": max(0.0, row["value"] - 3), "file_id": "g"})
        pause = rng.choice([step, step, step, step + 7, 20_000]) if rng.random() < 0.1 else step
        now += timedelta(seconds=pause)
    return rows


def calls(rng: random.Random) -> list[Row]:
    """A gateway's log: retries, failures, streams without usage, repeated rows, an unmapped model."""
    rows: list[Row] = []
    now, number = at("2026-10-01T01:00"), 0
    while now < at("2026-10-05T00:00"):
        number += 1
        now += timedelta(milliseconds=rng.randrange(1, 1_800_000))
        group, model = rng.choice(
            [
                ("qwen3-32b", "hosted_vllm/acme/whatever"),
                (None, "hosted_vllm/acme/qwen3-32b"),
                ("tiny", "hosted_vllm/meta/small"),
                ("llama-3.1-70b", "hosted_vllm/meta/llama"),
                ("gpt-unknown", "openai/gpt-unknown"),
            ]
        )
        if model == "hosted_vllm/meta/small" and now > at("2026-10-03T00:00"):
            continue  # from here on nothing is known about `edge`
        kind = rng.random()
        status = "failure" if kind < 0.1 else "success"
        empty = kind < 0.2
        prompt = 0 if empty else rng.randrange(1, 4_000)
        row = {
            "source_name": "gw",
            "file_id": "f",
            "request_id": UUID(int=number),
            "call_id": UUID(int=number) if rng.random() < 0.9 else None,
            "trace_id": UUID(int=number - (rng.random() < 0.1)),
            "status": status,
            "model": model,
            "model_group": group,
            "model_id": rng.choice(["a", "b"]),
            "tenant": rng.choice(["acme", "beta", None]),
            "started_at": now,
            "completed_at": now + timedelta(milliseconds=rng.randrange(5_000_000)) if rng.random() < 0.95 else None,
            "usage_date": now.date(),
            "prompt_tokens": prompt,
            "completion_tokens": 0 if empty else rng.randrange(2_000),
            "cached_tokens": rng.choice([None, 0, prompt // 3, prompt + 5]),
        }
        rows.append(row)
        if rng.random() < 0.05:
            rows.append(row | {"file_id": "g", "started_at": now + timedelta(microseconds=1), "prompt_tokens": 9})
    return rows
