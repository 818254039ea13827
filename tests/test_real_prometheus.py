"""A real Prometheus scrapes an engine that restarts; what it saw comes out of dbt to the token.

The engine is a server here that shows hand-written pages in the shape of vLLM 0.32. A page stays until Prometheus has
scraped it, so the test waits for conditions and never for a time.
"""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import duckdb
import pytest

from orchestration.dbt_runs import run_dbt
from orchestration.prometheus_pulls import _server, pull_all
from orchestration.settings import Settings, load_settings
from orchestration.warehouse import UsageResult, Warehouse, load_usage
from scrapers.http import HttpClient
from scrapers.usage.prometheus_api import _Conversation
from tests.fault_server import Answer, FaultServer, Request

BINARY = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(
    BINARY is None, reason="no prometheus here; install it, on Debian with: apt-get install prometheus"
)

PATIENCE_SECONDS = 60


@dataclass
class Engine:
    """What the engine shows; None: it is down."""

    page: bytes | None = None

    def answer(self, _: Request) -> Answer:
        return Answer(status=503) if self.page is None else Answer(self.page, headers={"Content-Type": "text/plain"})


def page(started_at: float, *, prompt: int, output: int, stopped: int, aborted: int = 0) -> bytes:
    """The families that are read, one that is not, and labels as vLLM writes them."""
    labels = 'engine="0",model_name="tiny-llama"'
    created = started_at + 15.25
    return f"""\
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{{{labels}}} {prompt}.0
vllm:prompt_tokens_created{{{labels}}} {created}
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{{{labels}}} {output}.0
vllm:generation_tokens_created{{{labels}}} {created}
# TYPE vllm:request_success_total counter
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="tiny-llama"}} {stopped}.0
vllm:request_success_total{{engine="0",finished_reason="abort",model_name="tiny-llama"}} {aborted}.0
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{{labels}}} 3.0
process_start_time_seconds {started_at}
""".encode()


@dataclass
class Prometheus:
    """A server on loopback with a path prefix."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path = field(repr=False)

    def value(self, selector: str) -> float | None:
        """The latest value of one series; None while there is none, or nobody answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query?{urlencode({'query': selector})}") as answer:
                result = json.load(answer)["data"]["result"]
        except (urllib.error.URLError, ConnectionError):
            return None
        return float(result[0]["value"][1]) if result else None

    def wait_until(self, selector: str, value: float) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.value(selector) != value:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{selector} is not {value}: {self.log.read_text()[-2000:]}"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="module")
def prometheus(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    home = tmp_path_factory.mktemp("prometheus")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with FaultServer() as exporter, (home / "log").open("wb") as log:
        exporter.respond("/metrics", engine.answer)
        (home / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: vllm
    static_configs:
      - targets: ["127.0.0.1:{exporter.port}"]
        labels: {{namespace: llm, pod: vllm-0}}
  - job_name: prometheus
    metrics_path: /prom/metrics
    static_configs:
      - targets: ["127.0.0.1:{port}"]
""")
        process = subprocess.Popen(
            [
                str(BINARY),
                f"--config.file={home / 'prometheus.yml'}",
                f"--storage.tsdb.path={home / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.route-prefix=/prom",
                f"--web.external-url=http://127.0.0.1:{port}/prom",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Prometheus(f"http://127.0.0.1:{port}/prom", process, home / "log")
        finally:
            process.terminate()
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def scraped(engine: Engine, prometheus: Prometheus) -> Prometheus:
    """Two lives of the engine, each page seen at least once."""
    tokens, up = "vllm:generation_tokens_total", 'up{job="vllm"}'
    first = time.time() - 100
    for prompt, output, stopped in [(120, 10, 1), (571, 75, 2), (571, 92, 3), (1203, 160, 5)]:
        engine.page = page(first, prompt=prompt, output=output, stopped=stopped, aborted=1)
        prometheus.wait_until(tokens, output)
    # It counts on, and is killed before the next scrape: these tokens nobody sees.
    engine.page = None
    prometheus.wait_until(up, 0)
    second = time.time() - 5
    for prompt, output, stopped in [(0, 0, 0), (88, 12, 1), (300, 41, 2)]:
        engine.page = page(second, prompt=prompt, output=output, stopped=stopped)
        prometheus.wait_until(up, 1)
        prometheus.wait_until(tokens, output)
    return prometheus


def settings_for(root: Path, url: str, more: str = "") -> Settings:
    (root / "ledger.yaml").write_text(
        "fleet:\n  - {deployment: d, model: m, provider: aws, region: r, instance_type: t, replicas: 1,\n"
        "     pricing: {model: on_demand}, from: 2026-01-01}\n"
        f"usage:\n  - {{name: cluster, kind: prometheus, url: '{url}', deployment: d, look_back_days: 1{more}}}\n",
        encoding="utf-8",
    )
    return load_settings(root / "ledger.yaml", root / "data")


def soon() -> datetime:
    """A moment at which the last minute, with all of the test's samples, counts as settled."""
    return datetime.now(UTC) + timedelta(minutes=2)


def load(settings: Settings) -> UsageResult:
    with Warehouse(settings.warehouse_path).connect() as con:
        return load_usage(con, settings.ledger.usage[0], settings, now=soon(), work_dir=settings.data_dir / "tmp")


def query(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.warehouse_path)) as con:
        con.execute("set timezone = 'UTC'")
        return con.execute(sql).fetchall()


@pytest.fixture(scope="module")
def pulled(scraped: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_for(
        tmp_path_factory.mktemp("ledger"), scraped.url, """, match: '{namespace="llm"}', replica_label: pod"""
    )
    outcome = pull_all(settings, now=soon())
    assert outcome.failures == []
    assert outcome.landed in (24, 25)  # the hours of a day back, and the one that is not over, unless it just began
    result = load(settings)
    assert (result.rejected_count, result.problems) == (0, [])
    return settings


def test_every_scrape_is_there_with_its_own_instant(pulled: Settings, scraped: Prometheus) -> None:
    """Against Prometheus's own count of what it scraped while the engine was up."""
    ((samples, instants, starts),) = query(
        pulled,
        "select count(*), count(distinct scraped_at), count(distinct process_started_at) from raw.metric_samples "
        "where metric_name = 'vllm:prompt_tokens_total'",
    )
    counted = scraped.value("count_over_time(vllm:prompt_tokens_total[1h] offset 1s)")
    assert samples == instants
    assert counted is not None
    assert 7 <= samples <= counted + 1
    assert starts == 2
    assert query(pulled, "select distinct replica_key, engine, model_name, source_name from raw.metric_samples") == [
        ("vllm-0", "0", "tiny-llama", "cluster")
    ]
    names = query(pulled, "select distinct metric_name from raw.metric_samples order by 1")
    assert [name for (name,) in names] == [
        "vllm:generation_tokens_total",
        "vllm:prompt_tokens_total",
        "vllm:request_success_total",
    ]


def test_dbt_counts_what_was_visible_to_scrapes(pulled: Settings, tmp_path: Path) -> None:
    """1,203 prompt tokens of the first life and 300 of the second; 160 and 41 output tokens; 5 and 2 answers."""
    with duckdb.connect(str(pulled.warehouse_path)) as con:
        con.execute("delete from raw.ledger_run")
        con.execute(
            "insert into raw.ledger_run by name select 'r' as run_id, now() as started_at, current_date as as_of_date, "
            "current_date - 3 as window_start_date"
        )
    run_dbt(
        "build", "--select", "+int_counter_increases__hourly", "--exclude-resource-type", "unit_test", "test",
        warehouse=pulled.warehouse_path,
        folder=tmp_path,
    )  # fmt: skip
    assert query(
        pulled,
        "select sum(prompt_tokens), sum(output_tokens), sum(successful_requests), sum(reset_count) "
        "from intermediate.int_counter_increases__hourly",
    ) == [(1203 + 300, 160 + 41, 5 + 2, 1)]
    ((lowest, unobserved),) = query(
        pulled, "select min(delta), max(unobserved_seconds) from intermediate.int_counter_deltas"
    )
    assert lowest >= 0
    assert unobserved > 0  # from the last scrape of the first life to the start of the second


def test_pulling_and_loading_again_changes_nothing(pulled: Settings) -> None:
    rows = "select * exclude (file_id) from raw.metric_samples order by all"
    before = query(pulled, rows)
    assert pull_all(pulled, now=soon()).failures == []
    load(pulled)
    after = query(pulled, rows)
    # The engine is still up: the same rows, and those of scrapes since.
    assert len(before) > 0
    assert set(before) <= set(after)
    assert len(set(after)) == len(after)


def test_the_fallback_sees_the_same_counters(scraped: Prometheus, pulled: Settings, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, scraped.url, ", step_seconds: 1")
    source = settings.ledger.usage[0]
    client = HttpClient(frozenset({"127.0.0.1"}))
    end = datetime.now(UTC).replace(microsecond=0)
    start = end - timedelta(minutes=10)

    def highest(*, is_exact: bool) -> dict[str, float]:
        found: dict[str, float] = {}
        for series in _Conversation(_server(source, {}), client, is_exact).window(start, end):
            name = series["metric"]["__name__"] + series["metric"].get("finished_reason", "")
            found[name] = max(found.get(name, 0), *(float(value) for _, value in series["values"]))
        return found

    by_steps = highest(is_exact=False)
    assert by_steps == highest(is_exact=True)
    assert by_steps["vllm:prompt_tokens_total"] == 1203
    # The engine's own process start, not that of the Prometheus beside it.
    assert by_steps["process_start_time_seconds"] < time.time()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (""", match: '{namespace=~"["}'""", "refuses the query"),
        (", token_env: LEDGER_TEST_ABSENT", "set LEDGER_TEST_ABSENT"),
    ],
)
def test_a_wrong_entry_is_told(scraped: Prometheus, tmp_path: Path, more: str, message: str) -> None:
    settings = settings_for(tmp_path, scraped.url, more)
    (failure,) = pull_all(settings, now=soon()).failures
    assert failure.startswith("cluster: ")
    assert message in failure
    assert not list((tmp_path / "data").rglob("*.gz"))


def test_one_server_that_fails_stops_nothing(scraped: Prometheus, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, scraped.url + "/nothing-here")
    text = settings.config_path.read_text()
    up = text.splitlines()[-1].replace("cluster", "other").replace("/nothing-here", "")
    settings.config_path.write_text(f"{text}{up}\n")
    outcome = pull_all(load_settings(settings.config_path, tmp_path / "data"), now=soon())
    (failure,) = outcome.failures
    assert failure.startswith("cluster: ")
    assert "404" in failure
    assert outcome.landed in (24, 25)
