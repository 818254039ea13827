"""The demo world: its files say what its truth says, to the token and the cent, and growing it rewrites no past.

The reader here is plain Python and shares no code with the generator or the pipeline: it starts from the written
pages, log lines, price snapshots and `ledger.yaml`, and has to arrive at the truth files.
"""

import csv
import gzip
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from examples import generate as generator
from examples.formats import go_float
from examples.generate import generate, write
from examples.world import COMMITMENTS, DEPLOYMENTS, PARTS, SEED, Replica, World, iso
from orchestration.settings import Ledger, read_ledger

ROOT = Path(__file__).parents[1]
PRICES = ROOT / "examples" / "prices"

# Four days around the interruption of the spot instances, with a crash on each of the last three.
FIRST, LAST = date(2026, 11, 3), date(2026, 11, 6)
WORLD = World(SEED, FIRST, LAST)
TOKEN_COLUMNS = ("input_tokens", "cached_input_tokens", "output_tokens", "successful_requests")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    generate(out, days=4, end=LAST)
    return out


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return read_ledger(ROOT / "ledger.yaml")


# --- the plain reader ------------------------------------------------------------------------------------------------

SERIES = re.compile(r"^(?P<name>[a-z_:]+)(?P<labels>\{[^}]*\})? (?P<value>\S+)$")
COUNTERS = {
    "vllm:prompt_tokens_total": "prompt",
    "vllm:prompt_tokens_cached_total": "cached",
    "vllm:generation_tokens_total": "output",
    "vllm:request_success_total": "requests",
}


def utc(stamp: str) -> datetime:
    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def page_series(text: str) -> dict[tuple[str, str], str]:
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SERIES.match(line)
            assert match, line
            key = (match["name"], match["labels"] or "")
            assert key not in found, key
            found[key] = match["value"]
    return found


def read_pages(out: Path) -> dict[tuple[str, str], Counter[str]]:
    """Tokens per (UTC hour, deployment) from the scrapes, by the rules the ledger states for counters."""
    hours: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for folder in sorted(out.glob("vllm/*/*")):
        before: dict[tuple[str, str], tuple[datetime, float, int]] = {}
        for page in sorted(folder.glob("*.prom")):
            at = utc(page.stem)
            series = page_series(page.read_text())
            for (name, labels), text in series.items():
                if name not in COUNTERS:
                    continue
                value = float(text)
                created = float(series[name.replace("_total", "_created"), labels])
                assert value == int(value)
                assert created <= at.timestamp()
                begin = datetime.fromtimestamp(created, UTC)
                if (name, labels) not in before:
                    counts = at - begin <= timedelta(hours=3)
                    delta, window_start = (int(value) if counts else 0), begin if counts else at
                else:
                    previous_at, previous_created, previous = before[name, labels]
                    if created != previous_created or value < previous:
                        delta, window_start = int(value), max(previous_at, begin)
                    else:
                        delta, window_start = int(value) - previous, previous_at
                middle = window_start + (at - window_start) / 2
                hour = iso(middle.replace(minute=0, second=0, microsecond=0).timestamp())
                hours[hour, folder.parent.name][COUNTERS[name]] += delta
                before[name, labels] = (at, created, int(value))
    return hours


def log_lines(out: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(out.glob("litellm/*.jsonl.gz")):
        with gzip.open(file, "rt") as lines:
            for line in lines:
                yield file.name.removesuffix(".jsonl.gz"), json.loads(line)


def table(path: Path) -> list[dict[str, str]]:
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    return list(csv.DictReader(text.decode().splitlines()))


def snapshot_prices() -> Iterator[tuple[str, str, Decimal, datetime]]:
    """Every figure of the bundled snapshots: file, item as SOURCES.md names it, price, when the snapshot was taken."""
    for file in sorted(PRICES.glob("*/*/*")):
        name, at = file.relative_to(PRICES).as_posix(), utc(file.stem)
        if file.suffix == ".csv":
            lines = file.read_text().splitlines()
            assert [line.split(",")[0] for line in lines[:5]] == [
                '"FormatVersion"',
                '"Disclaimer"',
                '"Publication Date"',
                '"Version"',
                '"OfferCode"',
            ]
            for row in csv.DictReader(lines[5:]):
                words = ("Instance Type", "TermType", "LeaseContractLength", "Operating System", "MarketOption")
                yield name, " ".join(row[word] for word in words if row[word]), Decimal(row["PricePerUnit"]), at
            continue
        content = json.loads(file.read_text(), parse_float=Decimal, parse_int=Decimal)
        if name.startswith("azure"):
            assert content["Count"] == len(content["Items"])
            for item in content["Items"]:
                label = f"{item['meterName']} / {item['productName']}"
                assert item["unitPrice"] == item["retailPrice"]
                yield name, label, item["retailPrice"], at
                for plan in item.get("savingsPlan", []):
                    yield name, f"{label} / savings plan {plan['term']}", plan["retailPrice"], at
        elif name.startswith("oci"):
            for item in content["items"]:
                yield name, item["partNumber"], item["currencyCodeLocalizations"][0]["prices"][0]["value"], at
        else:
            for item in content["data"]["gpuTypes"]:
                for cloud in ("secure", "community"):
                    yield name, f"{item['id']} {cloud}", item[f"{cloud}Price"], at


def list_price(entry: Any, ledger: Ledger) -> Decimal:
    """USD per instance-hour of a fleet entry or commitment, from a snapshot taken before the entry begins."""
    if entry.provider == "azure":
        meter = entry.instance_type.removeprefix("Standard_") + {"spot": " Spot"}.get(entry.pricing.model, "")
        wanted = f"azure/{entry.region}", f"{meter} / NCads A100 v4 Series Linux"
    else:
        commitments = {commitment.id: commitment for commitment in ledger.commitments}
        term = "OnDemand"
        if (commitment := commitments.get(getattr(entry, "id", "") or entry.pricing.commitment or "")) is not None:
            term = f"Reserved {commitment.term_months // 12}yr"
        wanted = f"aws/ec2-{entry.region}", f"{entry.instance_type} {term} Linux OnDemand"
    found = {
        price
        for file, item, price, at in snapshot_prices()
        if file.startswith(wanted[0] + "/") and item == wanted[1] and at <= entry.from_
    }
    assert len(found) == 1, wanted
    return found.pop()


GPUS = {"p5.48xlarge": 8, "g6e.xlarge": 1, "Standard_NC24ads_A100_v4": 1}


def rate(entry: Any, ledger: Ledger) -> Decimal:
    contracted = getattr(getattr(entry, "pricing", None), "rate_usd_per_gpu_hour", None)
    if contracted is not None:
        return contracted
    return (list_price(entry, ledger) / GPUS[entry.instance_type]).quantize(Decimal("1e-8"), ROUND_HALF_UP)


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


# --- truth -----------------------------------------------------------------------------------------------------------


def test_counters_on_the_pages_give_the_true_tokens_of_every_hour(demo: Path) -> None:
    read = read_pages(demo)
    truth = {(row["hour_start_at"], row["deployment"]): row for row in table(demo / "truth_hourly.csv.gz")}
    assert len(truth) == 4 * 24 * 3
    assert set(read) == set(truth)
    for key, row in truth.items():
        counts = read[key]
        assert (
            counts["prompt"] - counts["cached"],
            counts["cached"],
            counts["output"],
            counts["requests"],
        ) == tuple(int(row[column]) for column in TOKEN_COLUMNS), key


def test_daily_truth_and_totals_add_up_the_hours(demo: Path) -> None:
    sums: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in table(demo / "truth_hourly.csv.gz"):
        for column in row.keys() - {"hour_start_at", "deployment"}:
            sums[row["hour_start_at"][:10], row["deployment"]][column] += Decimal(row[column])
    daily = table(demo / "truth_daily.csv")
    assert len(daily) == len(sums) == 4 * 3
    for row in daily:
        for column, total in sums[row["usage_date"], row["deployment"]].items():
            assert Decimal(row[column]) == total
    totals = {row["deployment"]: row for row in json.loads((demo / "truth.json").read_text())["totals"]}
    for name, total in totals.items():
        rows = [row for row in daily if row["deployment"] == name]
        assert total["input_tokens"] == sum(int(row["input_tokens"]) for row in rows)
        assert Decimal(total["cost_usd_on_demand"]) == sum(Decimal(row["cost_usd_on_demand"]) for row in rows)


def test_money_follows_from_the_ledger_and_the_snapshots(demo: Path, ledger: Ledger) -> None:
    """Hours and rates are found again from `ledger.yaml` and the bundled files, hour by hour."""
    expected: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for entry in ledger.fleet:
        price = rate(entry, ledger)
        for hour in range(4 * 24):
            begin = datetime(2026, 11, 3, tzinfo=UTC) + timedelta(hours=hour)
            end = begin + timedelta(hours=1)
            active = min(end, entry.to or end) - max(begin, entry.from_)
            if active > timedelta():
                gpus = entry.replicas * GPUS[entry.instance_type]
                gpu_hours = (Decimal(gpus) * int(active.total_seconds()) / 3600).quantize(
                    Decimal("1e-6"), ROUND_HALF_UP
                )
                row = expected[iso(begin.timestamp()), entry.deployment]
                row[f"gpu_hours_{entry.pricing.model}"] += gpu_hours
                row[f"cost_usd_{entry.pricing.model}"] += gpu_hours * price
    rows = {(row["hour_start_at"], row["deployment"]): row for row in table(demo / "truth_hourly.csv.gz")}
    assert set(rows) == set(expected)
    for key, row in rows.items():
        for column in (column for column in row if column.startswith(("gpu_hours", "cost_usd"))):
            assert Decimal(row[column]) == expected[key][column], (key, column)


def test_money_is_as_worked_out_by_hand(demo: Path) -> None:
    rows = {(row["usage_date"], row["deployment"]): row for row in table(demo / "truth_daily.csv")}
    chat, assist, rag = (rows["2026-11-03", name] for name in DEPLOYMENTS)
    assert Decimal(chat["cost_usd_reserved"]) == Decimal("570.6552")  # 24 x 23.7773
    assert Decimal(chat["cost_usd_on_demand"]) == Decimal("1320.96")  # 24 x 55.04
    assert Decimal(assist["cost_usd_reserved"]) == Decimal("56.2752")  # 48 x 1.1724
    assert Decimal(assist["cost_usd_on_demand"]) == Decimal("89.328")  # 48 x 1.861
    assert Decimal(rag["cost_usd_spot"]) == Decimal("65.16192")  # 96 x 0.67877
    assert Decimal(rag["cost_usd_on_demand"]) == Decimal("70.8")  # 24 x 2.95, contracted
    interrupted = rows["2026-11-04", "rag-32b"]  # 13 h, 20 min, nothing, 20 min, 8 h, each of four GPUs
    assert Decimal(interrupted["gpu_hours_spot"]) == Decimal("86.666666")  # 52 + 1.333333 + 1.333333 + 32
    assert Decimal(interrupted["cost_usd_spot"]) == Decimal("58.82673288082")
    unused = {row["commitment_id"]: row for row in table(demo / "truth_commitments.csv")}
    assert Decimal(unused["g6e-1y"]["unused_cost_usd"]) == Decimal("28.1376")  # 24 x 1.1724
    assert Decimal(unused["p5-3y"]["unused_gpu_hours"]) == 0
    bill = {(row["usage_date"], row["instance_type"]): row for row in table(demo / "truth_bill.csv")}
    assert Decimal(bill["2026-11-03", "p5.48xlarge"]["billed_cost_usd"]) == Decimal(
        "1891.6152"
    )  # 24 x (23.7773 + 55.04)
    # 24 x (3 x 1.1724 + 2 x 1.861), one of the three unused
    assert Decimal(bill["2026-11-03", "g6e.xlarge"]["billed_cost_usd"]) == Decimal("173.7408")


def test_the_log_gives_the_true_gateway_counts(demo: Path) -> None:
    by_model = {deployment.gateway_model: name for name, deployment in DEPLOYMENTS.items()}
    seen: dict[tuple[str, str], str] = {}
    counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for day, payload in log_lines(demo):
        key = (day, by_model[payload["model_group"]], payload["metadata"]["user_api_key_team_id"] or "")
        row = counts[key]
        row["lines"] += 1
        text = json.dumps(payload)
        identity = (payload["id"], payload["litellm_call_id"])
        if identity in seen:
            assert seen[identity] == text
            row["duplicate_lines"] += 1
            continue
        seen[identity] = text
        row["distinct_calls"] += 1
        assert payload["total_tokens"] == payload["prompt_tokens"] + payload["completion_tokens"]
        if payload["status"] == "failure":
            row["failures"] += 1
        elif payload["total_tokens"] == 0:
            assert payload["stream"]
            row["zero_token_successes"] += 1
        else:
            row["successes_with_tokens"] += 1
            details = payload["metadata"]["usage_object"]["prompt_tokens_details"]
            row["calls_without_cached_tokens"] += details is None
            row["cached_tokens"] += details["cached_tokens"] if details else 0
            assert not details or details["cached_tokens"] <= payload["prompt_tokens"]
        row["prompt_tokens"] += payload["prompt_tokens"]
        row["completion_tokens"] += payload["completion_tokens"]
        started = datetime.fromtimestamp(payload["startTime"], UTC)
        assert str(started.date()) == day
        assert payload["startTime"] <= payload["completionStartTime"] <= payload["endTime"]
    truth = table(demo / "truth_gateway.csv")
    assert {(row["usage_date"], row["deployment"], row["tenant"]) for row in truth} == set(counts)
    for row in truth:
        for column in row.keys() - {"usage_date", "deployment", "tenant"}:
            assert int(row[column]) == counts[row["usage_date"], row["deployment"], row["tenant"]][column], column
    total = sum(counts.values(), Counter())
    assert min(total[column] for column in ("duplicate_lines", "failures", "zero_token_successes")) > 0
    assert 1_500 <= total["distinct_calls"] / 4 <= 2_050


def test_engines_did_at_least_what_the_gateway_logged(demo: Path) -> None:
    by_model = {deployment.gateway_model: name for name, deployment in DEPLOYMENTS.items()}
    logged: Counter[tuple[str, str]] = Counter()
    for _, payload in log_lines(demo):
        start = datetime.fromtimestamp(payload["startTime"], UTC).replace(minute=0, second=0, microsecond=0)
        logged[iso(start.timestamp()), by_model[payload["model_group"]]] += payload["completion_tokens"]
    for row in table(demo / "truth_hourly.csv.gz"):
        served = int(row["output_tokens"]) + int(row["lost_output_tokens"])
        assert logged[row["hour_start_at"], row["deployment"]] <= served


# --- what was injected -----------------------------------------------------------------------------------------------


def test_a_crash_loses_the_tokens_since_the_last_scrape(demo: Path) -> None:
    assert {replica.name: iso(at) for replica, at in WORLD.crashes().items()} == {
        "chat-70b-0": "2026-11-04T14:23:37Z",
        "assist-8b-1": "2026-11-05T16:41:12Z",
        "rag-32b-2": "2026-11-06T18:17:55Z",
    }
    folder = demo / "vllm" / "chat-70b" / "chat-70b-0"
    before, after = (page_series((folder / f"20261104T{hour}0000Z.prom").read_text()) for hour in (14, 15))
    name = ("vllm:generation_tokens_total", '{engine="0",model_name="meta-llama/Llama-3.1-70B-Instruct"}')
    assert 0 < float(after[name]) < float(before[name])
    crashed_at = datetime(2026, 11, 4, 14, 23, 37, tzinfo=UTC).timestamp()
    assert float(before["process_start_time_seconds", ""]) < crashed_at
    assert crashed_at < float(after["process_start_time_seconds", ""]) < crashed_at + 205
    lost = {
        (row["hour_start_at"], row["deployment"]): int(row["lost_output_tokens"])
        for row in table(demo / "truth_hourly.csv.gz")
        if int(row["lost_output_tokens"])
    }
    assert set(lost) == {
        ("2026-11-04T13:00:00Z", "rag-32b"),  # the spot instances are withdrawn at 13:20
        ("2026-11-04T14:00:00Z", "chat-70b"),
        ("2026-11-05T16:00:00Z", "assist-8b"),
        ("2026-11-06T18:00:00Z", "rag-32b"),
    }
    events = json.loads((demo / "truth.json").read_text())["events"]
    assert len(events["lost_tails"]) == 3 + 4


def test_a_rolling_restart_loses_nothing(demo: Path) -> None:
    """chat-70b-0 restarts on Tuesday at 08:00:00, right after that scrape."""
    folder = demo / "vllm" / "chat-70b" / "chat-70b-0"
    before, after = (page_series((folder / f"20261103T{hour}0000Z.prom").read_text()) for hour in ("08", "09"))
    start = ("process_start_time_seconds", "")
    eight = datetime(2026, 11, 3, 8, tzinfo=UTC).timestamp()
    assert float(before[start]) < eight < float(after[start]) < eight + 60


def test_replicas_appear_and_vanish_with_the_fleet(demo: Path) -> None:
    spot = [page.stem for page in sorted((demo / "vllm" / "rag-32b" / "rag-32b-0").glob("*.prom"))]
    of_the_day = [name[9:15] for name in spot if name.startswith("20261104") and name[9:11] in {"13", "14", "15", "16"}]
    assert of_the_day == ["130000", "154000", "160000"]
    returned = page_series((demo / "vllm" / "rag-32b" / "rag-32b-0" / "20261104T154000Z.prom").read_text())
    assert {float(value) for (name, _), value in returned.items() if name in COUNTERS} == {0.0}
    assert spot[0] == "20261103T000000Z"
    assert spot[-1] == "20261107T000000Z"


def test_a_replica_older_than_the_world_opens_with_a_baseline(demo: Path) -> None:
    first = page_series((demo / "vllm" / "chat-70b" / "chat-70b-0" / "20261103T000000Z.prom").read_text())
    age = datetime(2026, 11, 3, tzinfo=UTC).timestamp() - float(first["process_start_time_seconds", ""])
    assert age > 3 * 3600
    assert max(float(value) for (name, _), value in first.items() if name in COUNTERS) > 0


def test_assist_is_idle_at_night_and_chat_is_not(demo: Path) -> None:
    tokens = {
        (row["deployment"], row["hour_start_at"][11:13]): int(row["output_tokens"])
        for row in table(demo / "truth_hourly.csv.gz")
        if row["hour_start_at"].startswith("2026-11-03")
    }
    assert [tokens["assist-8b", hour] for hour in ("07", "08")] == [0, 0]
    assert tokens["chat-70b", "07"] > 0
    assert tokens["chat-70b", "16"] > 5 * tokens["chat-70b", "07"]


def test_the_drift_leaves_the_gpus_of_rag_idle_for_ten_hours() -> None:
    world = World(SEED, date(2026, 9, 24), date(2026, 11, 22))
    assert world.drift_date == date(2026, 11, 15)

    def tokens(day: date) -> list[int]:
        replicas = [world.batch_day(Replica("rag-32b", index), day) for index in range(5)]
        return [sum(load.computed + load.cached + load.output for load in hour) for hour in zip(*replicas, strict=True)]

    assert 0 not in tokens(date(2026, 11, 14))
    assert [hour for hour, served in enumerate(tokens(date(2026, 11, 15))) if not served] == [
        *range(6),
        *range(20, 24),
    ]
    before, after = (sum(sum(tokens(date(2026, 11, day))) for day in days) for days in (range(8, 15), range(15, 22)))
    # Weights of the idle hours: 52 + 42 + 33 + 26 + 20 + 15 + 88 + 80 + 72 + 62 = 490 of 1,306.
    assert 0.60 < after / before < 0.65


def test_the_wrong_price_is_one_price_of_one_snapshot(demo: Path) -> None:
    (file,) = (demo / "prices").rglob("*.json")
    assert file.relative_to(demo).as_posix() == "prices/azure/eastus/20261027T060000Z.json"
    wrong = json.loads(file.read_text(), parse_float=Decimal)["Items"]
    true = json.loads((PRICES / "azure/eastus/20261001T000000Z.json").read_text(), parse_float=Decimal)["Items"]
    changed = [(old, new) for old, new in zip(true, wrong, strict=True) if old != new]
    ((old, new),) = changed
    assert old["meterName"] == "NC24ads_A100_v4 Spot"
    assert new == old | {"retailPrice": old["retailPrice"] * 100, "unitPrice": old["unitPrice"] * 100}


# --- growing ---------------------------------------------------------------------------------------------------------


def test_same_seed_same_bytes_other_seed_other_world(demo: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", days=4, end=LAST)
    assert files(tmp_path / "again") == files(demo)
    generate(tmp_path / "other", days=4, end=LAST, seed=7)
    other = files(tmp_path / "other")
    assert other.keys() == files(demo).keys()
    assert other["truth_daily.csv"] != files(demo)["truth_daily.csv"]
    with pytest.raises(ValueError, match="holds the world of seed 7"):
        generate(tmp_path / "other", end=LAST, seed=8)


@pytest.mark.parametrize(
    ("start", "first_end", "later"),
    [
        (date(2026, 11, 3), date(2026, 11, 4), date(2026, 11, 6)),
        (date(2026, 9, 29), date(2026, 9, 30), date(2026, 10, 1)),  # on-demand replicas enter at the seam
        (date(2026, 8, 1), date(2026, 8, 1), date(2026, 8, 2)),  # before the spot fleet exists
    ],
)
def test_a_world_grown_day_by_day_equals_one_written_at_once(
    tmp_path: Path, start: date, first_end: date, later: date
) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    generate(grown, days=(first_end - start).days + 1, end=first_end)
    logs = [path for path in grown.rglob("*") if path.is_file() and not path.name.startswith(("truth", "world"))]
    written_at = {path: path.stat().st_mtime_ns for path in logs}
    day = first_end
    while day < later:
        day += timedelta(days=1)
        assert generate(grown, end=day) == f"extended {grown} to {day}"
    assert {path: path.stat().st_mtime_ns for path in logs} == written_at
    write(whole, World(SEED, start, first_end), through=later)
    assert files(grown) == files(whole)
    assert (
        sum(int(row["input_tokens"]) for row in table(grown / "truth_hourly.csv.gz"))
        == sum(counts["prompt"] - counts["cached"] for counts in read_pages(grown).values())
        > 0
    )


def test_a_killed_run_is_made_good(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, calls: object) -> None:
        path.write_bytes(b"half a fi")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(generator, "_write_calls", killed)
        with pytest.raises(KeyboardInterrupt):
            generate(tmp_path, days=4, end=LAST)
    generate(tmp_path, days=60, end=LAST)  # the next run keeps the first day of the one that was killed
    assert files(tmp_path) == files(demo)


def test_command_line_does_nothing_when_nothing_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.generate", "--days", "1", "--end", "2026-08-01", "--out", str(tmp_path)]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert first.stdout == f"wrote 2026-08-01 to 2026-08-01 in {tmp_path}\n"
    stats = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert second.stdout == f"{tmp_path} already ends on 2026-08-01\n"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == stats


# --- formats and figures ---------------------------------------------------------------------------------------------


def test_numbers_are_written_as_the_prometheus_client_does() -> None:
    """Values of a recorded page (vLLM 0.32.0, 2026-11-23)."""
    assert go_float(1298) == "1298.0"
    assert go_float(649_945_088) == "6.49945088e+08"
    assert go_float(1795456382.62) == "1.79545638262e+09"
    assert go_float(19_580_000_000) == "1.958e+010"


def test_pages_use_the_names_and_labels_of_recorded_pages(demo: Path, samples: Path) -> None:
    recorded = (samples / "usage/vllm/recorded_vllm_0.32.0_cpu/scrapes/20261123T175552Z.prom").read_text()

    def shape(text: str) -> list[str]:
        plain = re.sub(r'(model_name|implementation|major|minor|patchlevel|version)="[^"]*"', r'\1=""', text)
        return [line.rsplit(" ", 1)[0] for line in plain.splitlines() if not line.startswith("# HELP")]

    page = (demo / "vllm/assist-8b/assist-8b-0/20261104T160000Z.prom").read_text()
    ours, theirs = shape(page), shape(recorded)
    unknown = set(ours) - set(theirs)
    assert unknown == set()
    assert ours == [line for line in theirs if line in set(ours)]  # and in the same order


def test_log_lines_have_the_keys_of_recorded_payloads(demo: Path, samples: Path) -> None:
    recorded = [
        json.loads(line)
        for line in (samples / "usage/litellm/standard_logging_payload_generated_v1.109.1.jsonl").open()
    ]
    for _, payload in log_lines(demo):
        assert list(payload) == list(recorded[0])
        assert list(payload["metadata"]) == list(recorded[0]["metadata"])


def test_retries_share_the_trace_and_no_prompt_is_in_the_log(demo: Path) -> None:
    traces: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, payload in log_lines(demo):
        assert payload["messages"] == payload["response"] == "redacted-by-litellm"
        assert (demo / "vllm" / payload["model_id"].rpartition("-")[0] / payload["model_id"]).is_dir()
        traces[payload["trace_id"]].append(payload)
        if payload["status"] == "failure":
            assert payload["id"] == payload["litellm_call_id"]
    statuses = Counter(
        tuple(call["status"] for call in sorted(calls, key=lambda call: call["startTime"]))
        for calls in traces.values()
        if len({call["litellm_call_id"] for call in calls}) > 1
    )
    assert statuses["failure", "success"] > statuses["failure", "failure"] > 0


def test_files_stay_small(demo: Path) -> None:
    sizes = [page.stat().st_size for page in demo.rglob("*.prom")]
    assert len(sizes) == 11 * (4 * 24 + 1) - 4 * 1  # an opening scrape each; two scrapes missed, one more on return
    assert max(sizes) < 8 * 1024  # two blocks of a disk
    assert max(file.stat().st_size for file in demo.rglob("*.jsonl.gz")) < 800 * 1024


def test_sources_md_lists_every_figure_of_the_snapshots() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|\n ").split(" | ")]
        for line in (PRICES / "SOURCES.md").read_text().splitlines()
        if re.match(r"\| (aws|azure|oci|runpod)/", line)
    ]
    marks = set(re.findall(r"^\| ([A-Z]\d) \|", (PRICES / "SOURCES.md").read_text(), re.MULTILINE))
    assert {row[4] for row in rows} == marks
    assert all(re.fullmatch(r"20\d\d(-\d\d){0,2}", row[5]) for row in rows)
    listed = Counter((file, item, Decimal(price)) for file, item, price, *_ in rows)
    assert listed == Counter((file, item, price) for file, item, price, _ in snapshot_prices())


def test_golden_figures_are_in_the_snapshots() -> None:
    """USD list prices worked from other records than the snapshots (AWS and Azure lists, 2026)."""
    figures = {item: price for _, item, price, _ in snapshot_prices()}
    assert figures["p5.48xlarge OnDemand Linux OnDemand"] == Decimal("55.04")
    assert figures["p5.48xlarge Reserved 3yr Linux OnDemand"] == Decimal("23.7773")
    assert "p5.48xlarge Reserved 1yr Linux OnDemand" not in figures
    assert figures["g6e.xlarge Reserved 1yr Linux OnDemand"] == Decimal("1.1724")
    assert figures["B98415"] == 10
    assert figures["NVIDIA H100 80GB HBM3 community"] == Decimal("2.69")


def test_runpod_flags_mark_what_is_not_offered() -> None:
    """0 is "not offered", and 0.5 stands in twelve cells of clouds that do not offer the type."""
    (file,) = (PRICES / "runpod").rglob("*.json")
    types = json.loads(file.read_text(), parse_float=Decimal, parse_int=Decimal)["data"]["gpuTypes"]
    cells = [(item[f"{cloud}Price"], item[f"{cloud}Cloud"]) for item in types for cloud in ("secure", "community")]
    assert sum(price == Decimal("0.5") and not offered for price, offered in cells) == 12
    assert all(offered == (price not in {Decimal("0.5"), 0}) for price, offered in cells)


def test_the_ledger_describes_the_world(ledger: Ledger) -> None:
    assert len(ledger.fleet) == len(PARTS)
    for entry, part in zip(ledger.fleet, PARTS, strict=True):
        deployment = DEPLOYMENTS[part.deployment]
        assert (entry.deployment, entry.model, entry.provider, entry.region, entry.instance_type) == (
            deployment.name,
            deployment.model,
            deployment.provider,
            deployment.region,
            deployment.instance_type,
        )
        assert entry.replicas == len(part.replicas)
        assert (entry.pricing.model, entry.pricing.commitment) == (part.pricing, part.commitment)
        assert entry.pricing.rate_usd_per_gpu_hour == part.contracted_usd_per_gpu_hour
        assert entry.from_.timestamp() == part.starts
        assert (entry.to and entry.to.timestamp()) == part.ends
        assert rate(entry, ledger) == part.rate_usd_per_gpu_hour
    for stated, commitment in zip(ledger.commitments, COMMITMENTS, strict=True):
        assert (stated.id, stated.count, stated.term_months) == (
            commitment.commitment_id,
            commitment.count,
            commitment.term_months,
        )
        assert (stated.from_.timestamp(), stated.to.timestamp()) == (commitment.starts, commitment.ends)
        assert rate(stated, ledger) == commitment.rate_usd_per_gpu_hour
    routes = {source.name: source.routes() for source in ledger.usage}
    assert routes["gateway"] == {deployment.gateway_model: name for name, deployment in DEPLOYMENTS.items()}
    assert {name: routes[f"{name}-metrics"] for name in DEPLOYMENTS} == {name: {"*": name} for name in DEPLOYMENTS}
