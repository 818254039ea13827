"""The day as a user runs it: the command line on the demo world, compared with the world's own truth.

The truth is computed by `examples/truth.py` in plain Python integers and Decimal while the world is written; the marts
come from the files through scrapers, DuckDB and dbt. They must agree to the token and to the cent.
"""

import csv
import gzip
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from typer.testing import CliRunner

from examples.generate import generate
from examples.world import DEPLOYMENTS
from orchestration.cli import app
from orchestration.dbt_runs import run_dbt
from orchestration.settings import load_settings
from orchestration.usage_archive import ARCHIVED, archive_usage
from orchestration.warehouse import Warehouse
from scrapers.landing import EntryKind, Landing
from tests import focus_validator
from tests.fault_server import Answer, FaultServer
from tests.report.worlds import chromium, opened

ROOT = Path(__file__).parents[1]
COMMAND = str(Path(sys.executable).with_name("inference-ledger"))
END = date(2026, 11, 22)
# From 2026-10-11: holds the spot interruption, crashes, the price anomaly, and five weeks before the drift.
DAYS = 43
CENT = Decimal("0.01")


class World:
    """A folder with a ledger, the demo files, and a stand-in for every provider on this machine."""

    def __init__(self, root: Path, server: FaultServer) -> None:
        self.root = root
        self.server = server
        self.data = root / "data"
        self.first_output = ""
        ledger = (ROOT / "ledger.yaml").read_text(encoding="utf-8")
        ledger = ledger.replace("examples/prices", str(ROOT / "examples" / "prices"))
        for name in ("aws", "azure"):
            ledger = re.sub(rf"^    {name}: {{", f"    {name}: {{base_url: '{server.url}', ", ledger, flags=re.M)
        for name in ("oci", "runpod"):
            ledger = re.sub(rf"^    {name}: {{}}", f"    {name}: {{base_url: '{server.url}'}}", ledger, flags=re.M)
        assert ledger.count(server.url) == 4
        ledger += "\nalerts:\n  channels: [{name: hook, url_env: LEDGER_ALERT_URL, min_severity: warning}]\n"
        ledger += "\nretention: {price_answers_days: 1}\n"
        (root / "ledger.yaml").write_text(ledger, encoding="utf-8")

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [COMMAND, *arguments], cwd=self.root, env=self.environment(), capture_output=True, text=True, check=False
        )
        if check:
            assert result.returncode == 0, result.stdout + result.stderr
        return result

    def environment(self) -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if not key.startswith(("LEDGER_", "DAGSTER_HOME"))} | {
            "COLUMNS": "180",
            "LEDGER_ALERT_URL": f"json://127.0.0.1:{self.server.port}/hook",
        }

    def told(self) -> list[dict[str, str]]:
        """What the web-hook got."""
        return [json.loads(request.body) for request in self.server.requests if request.path == "/hook"]

    def published(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.data / "published" / "inference_ledger.duckdb"), read_only=True) as con:
            con.execute("set timezone = 'UTC'")
            return con.execute(sql).fetchall()

    def truth(self, name: str) -> list[dict[str, str]]:
        content = (self.data / "demo" / name).read_bytes()
        text = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
        return list(csv.DictReader(text.splitlines()))


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    """Answers 404 to every provider, which is down for good, at once; only the web-hook for alerts works."""
    with FaultServer() as server:
        server.add("/hook", Answer.json({}))
        yield server


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, server: FaultServer) -> World:
    world = World(tmp_path_factory.mktemp("world"), server)
    generate(world.data / "demo", days=DAYS, end=END)
    world.first_output = world.run("run", "--date", END.isoformat()).stdout
    return world


def test_tokens_agree_with_the_truth_to_the_token(world: World) -> None:
    truth = {
        (row["hour_start_at"].replace("T", " ").replace("Z", "+00"), row["deployment"]): tuple(
            int(row[name]) for name in ("input_tokens", "cached_input_tokens", "output_tokens", "successful_requests")
        )
        for row in world.truth("truth_hourly.csv.gz")
    }
    found = {
        (str(hour), deployment): tuple(tokens)
        for hour, deployment, *tokens in world.published("""
            select hour_start_at::varchar, deployment, sum(input_tokens), sum(cached_input_tokens), sum(output_tokens),
                sum(request_count)
            from fct_inference_costs_hourly group by all
        """)
    }
    assert found.keys() >= truth.keys()
    assert {key: found[key] for key in truth} == truth


def test_tenants_agree_with_the_truth_to_the_token(world: World) -> None:
    """The gateway sees less than half of the traffic, so each tenant has what its calls state; the rest is the owner's.

    Calls without cached tokens state their whole prompt as computed. rag-32b has no owner: its rest is nobody's.
    """
    owners = {"chat-70b": "assistant", "assist-8b": "support", "rag-32b": "unattributed"}
    found = {
        (str(day), deployment, tenant): tuple(tokens)
        for day, deployment, tenant, *tokens in world.published("""
            select usage_date, deployment, tenant, input_tokens, coalesce(cached_input_tokens, 0), output_tokens,
                request_count
            from fct_usage_daily
        """)
    }
    of_owners = {key: found.pop(key) for key in list(found) if key[2] == owners[key[1]]}
    truth = {
        (row["usage_date"], row["deployment"], row["tenant"].removeprefix("team-") or "unknown"): (
            int(row["prompt_tokens"]) - int(row["cached_tokens"]),
            int(row["cached_tokens"]),
            int(row["completion_tokens"]),
            int(row["successes_with_tokens"]) + int(row["zero_token_successes"]),
        )
        for row in world.truth("truth_gateway.csv")
    }
    stated = {key: truth.pop(key) for key in of_owners if key in truth}
    assert found == truth
    assert {deployment for _, deployment, _ in stated} == {"chat-70b", "assist-8b"}
    volumes = Counter[tuple[str, str, int]]()
    for row in world.truth("truth_hourly.csv.gz"):
        for index, name in enumerate(("input_tokens", "cached_input_tokens", "output_tokens", "successful_requests")):
            volumes[row["hour_start_at"][:10], row["deployment"], index] += int(row[name])
    for (day, deployment, _), tokens in truth.items():
        volumes.subtract({(day, deployment, index): count for index, count in enumerate(tokens)})
    assert of_owners == {
        (day, deployment, owners[deployment]): tuple(volumes[day, deployment, index] for index in range(4))
        for day, deployment in {key[:2] for key in volumes}
    }
    ((volume, shared),) = world.published("""
        select (select sum(total_tokens) from fct_inference_costs_hourly),
            (select sum(total_tokens) from fct_usage_hourly)
    """)
    assert volume == shared
    assert world.published("select distinct team, cost_center from fct_usage_daily where tenant = 'support'") == [
        ("Customer support", "4200")
    ]
    lines = world.first_output.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("Tenants"))
    assert lines[first + 2].split()[0] in {"assistant", "support", "search", "research", "unknown"}
    assert any(line.startswith("unattributed") for line in lines[first : first + 8])
    assert not any("Sources disagree" in line for line in lines)


def test_cost_agrees_with_the_truth_to_the_cent(world: World) -> None:
    models = {"Committed": "reserved", "Standard": "on_demand", "Dynamic": "spot"}
    found = {
        (str(day), deployment, models[category]): (hours, cost)
        for day, deployment, category, hours, cost in world.published("""
            select cast(hour_start_at as date), deployment, pricing_category, sum(gpu_hours), sum(cost_usd)
            from fct_inference_costs_hourly group by all
        """)
    }
    compared = 0
    for row in world.truth("truth_daily.csv"):
        for model in models.values():
            hours, cost = Decimal(row[f"gpu_hours_{model}"]), Decimal(row[f"cost_usd_{model}"])
            if hours:
                assert found[row["usage_date"], row["deployment"], model][0] == hours
                assert abs(found[row["usage_date"], row["deployment"], model][1] - cost) < CENT / 1000
                compared += 1
    assert compared == DAYS * 6
    assert world.published("select count(*) from fct_inference_costs_hourly where cost_usd is null") == [(0,)]


def test_start_up_agrees_with_the_truth_to_the_second(world: World) -> None:
    """From the start of a process until it could serve, and until the scrape after which it did."""
    gpus = {name: deployment.gpus for name, deployment in DEPLOYMENTS.items()}
    truth = {
        (row["hour_start_at"].replace("T", " ").replace("Z", "+00"), row["deployment"]): Decimal(
            row["start_up_seconds"]
        )
        for row in world.truth("truth_hourly.csv.gz")
    }
    found = {
        (hour, deployment): hours * 3600 / gpus[deployment]
        for hour, deployment, hours in world.published("""
            select hour_start_at::varchar, deployment, sum(start_up_gpu_hours)
            from fct_inference_costs_hourly group by all
        """)
    }
    assert {key: seconds for key, seconds in truth.items() if abs(found[key] - seconds) > Decimal("0.01")} == {}
    # A crash of each deployment, rolling restarts, and some of these into idle hours, up to the next scrape.
    assert {Decimal("82.05"), Decimal("84.66"), Decimal("3591.59")} <= set(truth.values())
    costs = world.published("""
        select sum(start_up_cost_usd) > 0, sum(idle_cost_usd) = sum(start_up_cost_usd + other_idle_cost_usd)
        from fct_inference_costs_hourly
    """)
    assert costs == [(True, True)]


def test_only_listed_sources_are_told_of(world: World) -> None:
    lines = [line for line in world.first_output.splitlines() if "Prices: " in line or "xchange rates" in line]
    assert [line.split()[2] for line in lines] == ["aws", "azure", "oci", "runpod"]
    sources = world.published("select source from fct_source_freshness where kind = 'price' order by 1")
    assert sources == [("aws",), ("azure",), ("oci",), ("runpod",)]


def test_unused_commitment_is_a_line_of_its_own(world: World) -> None:
    wasted = sum(Decimal(row["unused_cost_usd"]) for row in world.truth("truth_commitments.csv"))
    assert wasted == Decimal("1.1724") * 24 * DAYS  # one g6e.xlarge of three
    ((found,),) = world.published("select sum(unused_commitment_cost_usd) from fct_purchase_mix_daily")
    assert abs(found - wasted) < CENT / 1000


def test_the_bill_is_reconciled_to_the_cent(world: World) -> None:
    """A forgotten instance, a day that is not billed yet, and everything else at the ledger's own rates."""
    columns = ("modelled_cost_usd", "billed_cost_usd", "not_yet_billed_usd", "bill_without_fleet_usd",
               "credits_and_taxes_usd")  # fmt: skip
    sums = ", ".join(f"sum({column})" for column in columns)
    found = {
        (str(day), region, instance_type): amounts
        for day, region, instance_type, *amounts in world.published(
            f"select usage_date, region, instance_type, {sums} from fct_bill_reconciliation_daily "
            "where provider = 'aws' group by all"
        )
    }
    truth = {
        (row["usage_date"], row["region"], row["instance_type"]): [Decimal(row[column]) for column in columns]
        for row in world.truth("truth_bill.csv")
    }
    assert found == truth
    assert truth["2026-11-15", "us-west-2", "p5.48xlarge"][3] == Decimal("330.24")  # 6 x 55.04
    assert world.published(
        "select sum(abs(rate_difference_usd)), sum(abs(fleet_without_bill_usd)), sum(abs(unused_commitment_usd)), "
        "sum(abs(rounding_usd)) from fct_bill_reconciliation_daily where provider = 'aws'"
    ) == [(0, 0, 0, 0)]
    assert world.published(
        "select provider, billing_status, rate_basis, count(distinct usage_date) from fct_inference_costs_hourly "
        "where provider = 'aws' group by all order by 2, 3"
    ) == [  # 11 to 31 October, whose month is closed; 22 November; 1 to 21 November
        ("aws", "final", "billed", 21),
        ("aws", "not_yet_billed", "list", 1),
        ("aws", "provisional", "billed", 21),
    ]


def test_the_injected_price_is_found_named_and_never_used(world: World) -> None:
    event = json.loads((world.data / "demo" / "truth.json").read_text())["events"]["price_anomaly"]
    findings = world.published(f"""
        select observed, action, severity, likely_cause from fct_price_anomalies
        where provider = 'azure' and instance_type = '{event["instance_type"]}' and severity = 'error'
    """)
    assert any(
        Decimal(str(observed)) == Decimal(event["wrong_usd_per_instance_hour"]) and action == "quarantined"
        for observed, action, _, _ in findings
    ), findings
    assert {cause for *_, cause in findings} == {event["cause"]}
    spot = world.published("""
        select distinct price_usd_per_gpu_hour from fct_gpu_prices_daily
        where instance_type = 'Standard_NC24ads_A100_v4' and pricing_model = 'spot' and region = 'eastus'
    """)
    assert spot == [(Decimal("0.67877000"),)]


def test_the_injected_drift_is_found_by_its_second_day_and_its_cause_named(world: World) -> None:
    event = json.loads((world.data / "demo" / "truth.json").read_text())["events"]["cost_drift"]
    found = world.published(f"""
        select usage_date::varchar, since_date::varchar, top_cause from fct_cost_drift_daily
        where is_drift and series_kind = 'deployment' and series = '{event["deployment"]}'
            and measure = 'cost_usd_per_million_tokens'
        order by 1
    """)
    assert found[-7:] == [(f"2026-11-{day}", event["starts_on"], event["cause"]) for day in range(16, 23)]
    assert len(found) <= 8  # and none before it began
    # Alone of the deployments; and its idle hours are what the fleet pays for.
    series = world.published(
        "select distinct series from fct_cost_drift_daily where is_drift and series_kind = 'deployment'"
    )
    assert series == [(event["deployment"],)]
    ((driver, effect),) = world.published("""
        select distinct deployment, effect from fct_cost_drivers_daily
        where series_kind = 'provider' and series = 'azure' and driver_rank = 1 and usage_date = '2026-11-20'
    """)
    assert (driver, effect) == (event["deployment"], event["cause"])
    line = next(line for line in world.first_output.splitlines() if f"deployment {event['deployment']}: " in line)
    assert f"USD a day since {event['starts_on']}: utilization +" in line


def test_prices_of_dead_sources_stay_in_force_and_say_how_old_they_are(world: World) -> None:
    found = world.published("""
        select source, status, message is not null from fct_source_freshness where kind = 'price' order by 1
    """)
    assert found == [(name, "stale", True) for name in ("aws", "azure", "oci", "runpod")]


def test_each_pool_has_a_plan_that_names_its_baseline(world: World) -> None:
    """28 days: both p5 instances are nearly always busy, so the second is reserved as the first is; the price book has
    one offer for it. Azure has no reserved price in the snapshots."""
    ((rate,),) = world.published(
        "select price_usd_per_gpu_hour from fct_gpu_prices where instance_type = 'p5.48xlarge' "
        "and pricing_model = 'reserved' and valid_to_at is null"
    )
    found = {
        row[0]: row[1:]
        for row in world.published("""
            select gpu_model, held_gpus, new_reserved_gpus, cost_usd, baseline_name, null_reason
            from fct_capacity_plan where is_recommended
        """)
    }
    assert found["H100-SXM-80GB"] == (8, 8, rate * 16 * 672, "autoscaled_on_demand", None)
    assert found["L40S-48GB"][:2] == (3, 1)
    assert found["A100-PCIE-80GB"][4] == "no_commitment_offer"
    output = world.run("plan", "--gpu", "H100").stdout
    assert "commit    8 of reserved_36m_no_upfront" in output
    assert "on demand that scales perfectly" in output


def test_every_question_of_finance_has_an_answer(world: World) -> None:
    queries = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "finance.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(queries) == 11  # the tenth has two
    assert all(world.published(query) for query in queries)
    # The second question: 31 - 10 days of October and what they cost by the world's own truth.
    truth = [row for row in world.truth("truth_daily.csv") if row["usage_date"] < "2026-11-01"]
    cost = sum(Decimal(row[f"cost_usd_{name}"]) for row in truth for name in ("reserved", "on_demand", "spot"))
    assert world.published(queries[1])[0][1] == cost.quantize(CENT)


# Another whole day, and a page that stays open; what they would do is tried elsewhere.
LEFT_OUT_OF_THE_TUTORIAL = {
    ("run", "--config", "my/ledger.yaml"),
    ("doctor", "--config", "my/ledger.yaml"),
    ("dev", "--config", "my/ledger.yaml"),
}


def test_every_step_of_the_tutorial_works(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands one after another in the world of the demo, without a process for each."""
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    steps = [shlex.split(line, comments=True) for line in blocks.splitlines()]
    commands = [tuple(words[1:]) for words in steps if words and words[0] == "inference-ledger"]
    assert set(commands) >= LEFT_OUT_OF_THE_TUTORIAL
    monkeypatch.chdir(world.root)
    Path("my").mkdir()
    done = [command[0] for command in commands if command not in LEFT_OUT_OF_THE_TUTORIAL]
    for command in commands:
        if command in LEFT_OUT_OF_THE_TUTORIAL:
            continue
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, (command, result.output, result.exception)
        if command[0] == "query":
            assert world.published(command[1]), command
    assert done == ["query", "size", "plan", "init", "check-config", "check-config"]
    # The "own" engine is one of the demo's: its pages are found from the folder of the new ledger.
    settings = load_settings(Path("my/ledger.yaml"))
    (engine,) = settings.ledger.usage
    pages = {path.resolve() for path in settings.root.glob(str(engine.path))}
    assert pages == {path.resolve() for path in (world.data / "demo" / "vllm" / "rag-32b").glob("*/*.prom")}
    assert len(pages) > 1000


def test_summary_says_what_matters(world: World) -> None:
    text = world.first_output
    for expected in (
        "H100-SXM-80GB",
        "L40S-48GB",
        "A100-PCIE-80GB",
        "Purchase mix",
        "Drift",
        "reserved",
        "spot",
        "Stale sources",
    ):
        assert expected in text
    assert "Traceback" not in text


def test_the_models_of_the_fleet_are_sized_and_priced(world: World) -> None:
    """Every choice has a cost or a reason; where a model is served, its own telemetry calibrates the estimate."""
    models = {name for (name,) in world.published("select distinct model from fct_gpu_sizing")}
    assert models == {"meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-32B"}
    assert world.published(
        "select count(*) from fct_gpu_sizing "
        "where (cost_usd_per_million_output_tokens is null) <> (null_reason is not null)"
    ) == [(0,)]
    measured = world.published(
        "select distinct model, gpu_model, tensor_parallel from fct_gpu_sizing where method = 'measured' order by all"
    )
    assert measured == [
        ("Qwen/Qwen3-32B", "A100-PCIE-80GB", 1),
        ("meta-llama/Llama-3.1-70B-Instruct", "H100-SXM-80GB", 8),
        ("meta-llama/Llama-3.1-8B-Instruct", "L40S-48GB", 1),
    ]
    # What an hour makes of tokens costs, by their unit costs, what the hour costs.
    [(cost, price)] = world.published(
        """
        select
            (cost_usd_per_million_output_tokens * tokens_per_second_per_gpu
            + cost_usd_per_million_input_tokens * input_tokens_per_second_per_gpu) * 3600 / 1000000,
            price_usd_per_gpu_hour
        from fct_gpu_sizing
        where
            model like '%70B%' and gpu_model = 'H100-SXM-80GB' and tensor_parallel = 8 and precision = 'bf16'
            and workload = 'chat' and purchase_option = 'reserved_36m'
        """
    )
    assert float(cost) == pytest.approx(float(price), rel=1e-5)
    assert world.published("select count(*) from fct_gpu_sizing where rank = 1 and utilization_ratio is null") == [(0,)]


def test_every_unit_test_of_the_sql_holds(world: World) -> None:
    """The data tests ran inside the build; the unit tests prove the SQL and need the tables the build left."""
    said = run_dbt(
        "test", "--select", "test_type:unit", warehouse=world.data / "warehouse.duckdb", folder=world.root / "target"
    )
    passed = re.search(r"PASS=(\d+)", said)
    assert passed is not None
    assert int(passed[1]) >= 112


def fingerprint(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Every published table but what depends on the clock: ages, when the sources were asked, and what was told."""
    tables = [name for (name,) in world.published("select table_name from information_schema.tables")]
    return {
        name: world.published(f"select * from {name} order by all")
        for name in tables
        if name not in {"ledger_run", "fct_source_freshness", "fct_alerts"}
    }


def test_the_injected_price_is_one_alert_and_is_delivered_once(world: World) -> None:
    (told,) = [message for message in world.told() if "held back" in message["title"]]
    assert told["title"] == (
        "[warning] azure Standard_NC24ads_A100_v4 eastus spot price held back: 67.877 for 2.5 USD per GPU-hour"
    )
    # 4 spot instances of one GPU for 24 hours at the last good price: 96 x 0.67877.
    assert "Money: none wrong now; $65.16 a day rests on it" in told["message"]
    assert "Likely cause: cents read as dollars." in told["message"]
    ((severity, state, sql),) = world.published(
        "select severity, state, evidence_sql from fct_alerts where kind = 'price_held_back'"
    )
    assert (severity, state) == ("warning", "open")
    assert len(world.published(sql)) == 1, "the query in the message shows the finding"
    # The four sources that are down have one cause, and are one alert.
    (stale,) = [message for message in world.told() if "has given nothing good" in message["title"]]
    assert stale["title"].startswith("[page] Price source aws")
    assert "- Price source azure" in stale["message"]
    # The demo's rag-32b works half as much from the middle of November on.
    (drift,) = [message for message in world.told() if "rose by" in message["title"]]
    assert drift["title"].startswith("[warning] Cost per ")
    assert "utilization" in drift["message"]
    assert sorted(world.told(), key=lambda message: message["title"])[0]["title"].startswith("1 page, 2 warnings open")
    assert len(world.told()) == 4
    assert "Alerts 1 page, 2 warnings" in world.first_output
    assert "told hook: 4 messages" in world.first_output


@pytest.fixture(scope="module")
def focus_file(world: World) -> Path:
    world.run("export-focus", "focus.csv")
    world.run("export-focus", "focus.parquet")
    return world.root / "focus.parquet"


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_the_validator_of_focus_finds_nothing_but_its_own_defects(focus_file: Path, ending: str) -> None:
    if not focus_validator.VALIDATOR.exists():
        pytest.skip("no Python 3.12 was found, which focus-validator needs (Makefile)")
    kept, broken = focus_validator.findings(focus_file.with_suffix(ending))
    assert broken <= focus_validator.VALIDATOR_DEFECTS
    assert kept > 300


def test_the_validator_of_focus_finds_what_is_broken(focus_file: Path) -> None:
    """Else the test above could not fail: a cost without a currency, and a category that FOCUS has not."""
    if not focus_validator.VALIDATOR.exists():
        pytest.skip("no Python 3.12 was found, which focus-validator needs (Makefile)")
    broken_file = focus_file.with_name("broken.parquet")
    duckdb.execute(
        f"copy (select * replace (null::varchar as BillingCurrency, 'Cheap' as PricingCategory) from '{focus_file}') "
        f"to '{broken_file}' (format parquet)"
    )
    assert {"BillingCurrency-C-004-M", "PricingCategory-C-006-C"} <= focus_validator.findings(broken_file)[1]


def test_focus_rows_and_tenants_sum_to_the_fleet(world: World) -> None:
    """Priced hours and what commitments left unused, to the last digit; the tokens are those of the ledger."""
    [(focus, tokens)] = world.published(
        "select sum(EffectiveCost), sum(case when ConsumedUnit = 'Tokens' then ConsumedQuantity end) "
        "from focus_cost_and_usage"
    )
    [(fleet, served)] = world.published(
        "select sum(cost_usd), sum(total_tokens) from fct_inference_costs_hourly where cost_usd is not null"
    )
    [(unused,)] = world.published("select sum(unused_commitment_cost_usd) from fct_purchase_mix_daily")
    assert focus == fleet + unused
    assert tokens == served
    assert world.published("select sum(cost_usd), sum(total_tokens) from fct_tenant_costs_daily") == [(fleet, served)]


def test_the_report_opens_and_its_numbers_are_those_of_the_published_file(world: World) -> None:
    page = world.data / "published" / "report" / "index.html"
    manifest = json.loads((world.data / "published" / "manifest.json").read_text())
    assert manifest["report"]["sha256"] == hashlib.sha256(page.read_bytes()).hexdigest()
    assert "Open in a browser: data/published/report/index.html" in world.first_output
    unit_cost = (
        "1e6 * sum(cost_usd) / sum(priced_total_tokens) from fct_unit_costs_daily where pricing_category = 'all'"
    )
    [(whole,)] = world.published(f"select {unit_cost}")
    [(today,)] = world.published(f"select {unit_cost} and usage_date = '{END}'")
    [(of_one,)] = world.published(f"select {unit_cost} and usage_date = '{END}' and model = 'Qwen/Qwen3-32B'")
    [(unused,)] = world.published("select sum(unused_commitment_cost_usd) from fct_purchase_mix_daily")
    with chromium() as browser, opened(browser, page) as found:
        totals = found.page.locator("#selection data").evaluate_all("all => all.map(each => Number(each.value))")
        assert totals[2] == pytest.approx(float(whole), rel=1e-9)
        assert found.number("#tiles .value") == pytest.approx(float(today), rel=1e-9)
        assert found.number("#mix-tiles .tile:nth-child(4)") == pytest.approx(float(unused), rel=1e-9)
        found.choose(model=("Qwen/Qwen3-32B",))
        assert found.number("#tiles .value") == pytest.approx(float(of_one), rel=1e-9)
        assert found.page.locator("svg").count() == 6
        assert found.console == []
        assert len(found.requests) == 1


def test_a_month_can_be_exported_alone(world: World) -> None:
    printed = world.run("export-focus", "october.csv", "--month", "2026-10").stdout
    [(count,)] = world.published("select count(*) from focus_cost_and_usage where ChargePeriodStart < '2026-11-01'")
    assert f"{count:,} rows" in printed
    assert world.run("export-focus", "x.csv", "--month", "October", check=False).returncode == 2


def test_the_first_run_pruned_old_answers(world: World) -> None:
    """And no number with them: the tests below publish again, also from an emptied warehouse, and find every table as
    it was before. What the reserved instances cost is fixed by the list of June, whose bytes are gone."""
    landing = Landing(world.data / "landing")
    pruned = {
        name: [entry.pruned is not None for entry in landing.entries(name) if entry.kind is EntryKind.SNAPSHOT]
        for name in ("aws", "azure", "oci")
    }
    assert pruned == {"aws": [True, False], "azure": [True, False, False], "oci": [False]}, "a list a region stays"
    assert "Pruned by retention of ledger.yaml: 2 price answers (" in world.first_output


def test_usage_of_an_archived_month_stays(world: World) -> None:
    """Of October only the last eleven days keep their records. The tests below run on from there, also in a new
    warehouse and without the older logs, and find every table as it was before."""
    settings = load_settings(world.root / "ledger.yaml")
    with Warehouse(settings.warehouse_path).connect() as con:
        columns = {
            model: [row[0] for row in con.execute(f"describe intermediate.{model}").fetchall()] for model in ARCHIVED
        }
        calls = "select count(*), min(usage_date) from raw.requests"
        before = con.execute(calls).fetchall()
        archive_usage(con, settings, date(2026, 11, 1))
        after = con.execute(calls).fetchall()
    assert before[0][1] == date(2026, 10, 11)
    assert after[0][1] == date(2026, 10, 21)
    known = yaml.safe_load((ROOT / "tests" / "archived_columns.yml").read_text(encoding="utf-8"))
    assert not {model: gone for model in known if (gone := set(known[model]) - set(columns[model]))}, (
        "archives of earlier versions have these columns; keep them, or have usage_archive.open_archive rename them"
    )


def test_killed_runs_leave_the_published_files_whole_and_the_next_one_repairs(world: World) -> None:
    """kill -9 in the middle of loading, then of dbt; what was published stays, and the next run of the same day changes
    nothing and tells nothing twice."""
    before, told = fingerprint(world), world.told()
    manifest = (world.data / "published" / "manifest.json").read_bytes()
    for step in ("raw__price_records", "dbt_build"):
        kill_a_run_in(world, step)
        assert (world.data / "published" / "manifest.json").read_bytes() == manifest
        assert fingerprint(world) == before
    output = world.run("run", "--date", END.isoformat()).stdout
    assert fingerprint(world) == before
    assert world.told() == told
    assert "nothing new to tell" in output
    assert world.published("select delivered_to from fct_alerts where kind = 'price_held_back'") == [("hook",)]


def kill_a_run_in(world: World, step: str) -> None:
    old_logs = set((world.data / "logs").glob("*.log"))
    process = subprocess.Popen(
        [COMMAND, "run", "--date", END.isoformat()],
        cwd=world.root,
        env=world.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        new = set((world.data / "logs").glob("*.log")) - old_logs
        if any(f'execution of step "{step}"' in path.read_text(errors="replace") for path in new):
            break
        time.sleep(0.05)
    time.sleep(1 if step == "dbt_build" else 0)
    assert process.poll() is None, "the run ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_failed_identity_keeps_the_published_files_and_a_new_warehouse_forgets_nothing_that_people_said(
    world: World,
) -> None:
    """A price of no known pull breaks a data test: nothing is published, the exit code and the message say so. Without
    its warehouse the next run builds the same tables from what landed."""
    ((incident,),) = world.published("select incident_id from fct_alerts where kind = 'price_held_back'")
    world.run("alerts", "ack", incident[:8], "--reason", "asked the provider", "--by", "kim")
    before = fingerprint(world)
    with duckdb.connect(str(world.data / "warehouse.duckdb")) as con:
        con.execute(
            "insert into raw.price_loads "
            "select * replace ('x' as snapshot_id, load_number + 1 as load_number, now() as fetched_at) "
            "from raw.price_loads order by load_number desc limit 1"
        )
    result = world.run("run", "--date", END.isoformat(), check=False)
    assert result.returncode == 1
    assert "Nothing was published" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert len(result.stderr) < 2000
    (failure,) = [message for message in world.told() if "Nothing was published since" in message["title"]]
    assert "Same cause: " in failure["message"]
    assert "dbt_build" in failure["message"]
    assert fingerprint(world) == before
    assert "Nothing was published" in world.run("alerts", "list").stdout
    told = world.told()

    (world.data / "warehouse.duckdb").unlink()
    for log in [*world.data.glob("demo/litellm/2026-10-1*"), *world.data.glob("demo/vllm/*/*/2026101*.prom")]:
        log.unlink()  # of days that are archived
    world.run("run", "--date", END.isoformat())
    assert fingerprint(world) == before
    assert not any("held back" in message["title"] for message in world.told()[len(told) :])
    assert "Nothing was published" not in world.run("alerts", "list").stdout
    assert world.published("select state, acknowledged_by, note from fct_alerts where kind = 'price_held_back'") == [
        ("acknowledged", "kim", "asked the provider")
    ]


def test_query_prints_rows_and_plain_sentences(world: World) -> None:
    shown = world.run(
        "query", "select count(*) as days from fct_unit_costs_daily where pricing_category = 'all'"
    ).stdout
    assert "days" in shown
    wrong = world.run("query", "select nothing from nowhere", check=False)
    assert wrong.returncode == 2
    assert "nowhere" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    table = world.run("query", "--csv", "select '=1+1' as formula, -1 as number").stdout.splitlines()
    assert table == ["formula,number", "'=1+1,-1"]


def test_replay_lands_a_recording_like_a_live_answer(world: World, tmp_path: Path) -> None:
    recording = ROOT / "examples" / "prices" / "oci" / "products"
    (path,) = recording.iterdir()
    copy = tmp_path / "data"
    shutil.copytree(world.data / "landing", copy / "landing")
    arguments = ("replay", "oci", str(path), "--data-dir", str(copy))
    good = world.run(*arguments, "--fetched-at", "2026-11-20T06:00Z").stdout
    assert "loaded:" in good
    assert "nothing changed" in world.run(*arguments, "--fetched-at", "2026-11-20T06:00Z").stdout
    for wrong, expected in (
        ("2026-11-20T06:00", "no time zone"),
        ("soon", "is not an instant"),
        ("2999-01-01T00:00Z", "future"),
    ):
        result = world.run(*arguments, "--fetched-at", wrong, check=False)
        assert result.returncode == 2
        assert expected in result.stderr


def test_check_config_names_the_mistake(world: World, tmp_path: Path) -> None:
    assert "is valid" in world.run("check-config").stdout
    (tmp_path / "ledger.yaml").write_text("fleet: [{deployment: a}]\n", encoding="utf-8")
    result = world.run("check-config", "--config", str(tmp_path / "ledger.yaml"), check=False)
    assert result.returncode == 2
    assert "line 1, fleet[0].model: is missing" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_live_answer_takes_over_from_the_bundled_one(world: World, server: FaultServer) -> None:
    """The source is back: its new price is in force from now on, and the source is fresh again."""
    document = json.loads(next((ROOT / "examples" / "prices" / "oci" / "products").iterdir()).read_text())
    document["lastUpdated"] = "2026-11-22T00:00:00.000Z"
    (part,) = [item for item in document["items"] if item["partNumber"] == "B109479"]
    part["currencyCodeLocalizations"][0]["prices"][0]["value"] = 3.4
    server.add("/pls/apex/cetools/api/v1/products/", Answer.json(document))
    world.run("run", "--date", END.isoformat())
    found = world.published("""
        select price_usd_per_gpu_hour, valid_to_at is null from fct_gpu_prices
        where sku_id = 'B109479' order by valid_from_at
    """)
    assert found == [(Decimal("3.5"), False), (Decimal("3.4"), True)]
    assert world.published("select status from fct_source_freshness where source = 'oci'") == [("fresh",)]
    moves = world.published("select severity, action from fct_price_anomalies where price_key = 'B109479'")
    assert ("notice", "flagged") in moves  # 3.50 to 3.40 is a move of 2.9 %: reported, in force
