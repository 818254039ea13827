"""Pages of every engine whose counters the ledger knows, from file to hourly increase; expected values by hand."""

import gzip
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.dbt_runs import run_dbt
from orchestration.seeds import seed_rows
from orchestration.serving_logs.engine_names import counter_names, families
from orchestration.settings import PROJECT_ROOT, Settings, load_settings
from orchestration.warehouse import Warehouse, load_usage, write_ledger
from scrapers.usage.prometheus_api import VALUE_LABELS
from tests.conftest import SAMPLES

# Two pages of each engine a minute apart, written by hand after its documentation: {before|after} is a reading.
PAGES = {
    "vllm": (
        "# HELP vllm:prompt_tokens_total Text with {braces} and vllm:prompt_tokens_total 7 inside.\n"
        'vllm:prompt_tokens_total{engine="0",model_name="a"} {1000|1500} 1795456467000\n'
        'vllm:prompt_tokens_total{engine="1", model_name="a"} {10|20}\n'
        'vllm:generation_tokens_total{engine="0",model_name="a"} {50|90}\n'
        'vllm:num_preemptions_total{engine="0",model_name="a"} {0|2}\n'
        'vllm:request_success_total{engine="0",finished_reason="stop",model_name="a"} {1|4}\n'
        'vllm:request_success_total{engine="0",finished_reason="abort",model_name="a"} {1|2}\n'
        'vllm:request_success_total{engine="0",finished_reason="error",model_name="a"} {0|1}\n'
        'vllm:request_success_total{engine="0",finished_reason="a new one",model_name="a"} {0|1}\n'
    ),
    # OpenMetrics: exemplars, no line feed after EOF.
    "openmetrics": (
        "# TYPE vllm:prompt_tokens counter\n"
        'vllm:prompt_tokens_total{engine="0",model_name="a"} {5|9} # {trace_id="x{y}"} 1.0 1795456467.5\n'
        'vllm:prompt_tokens_created{engine="0",model_name="a"} 1.79e+09\n'
        'vllm:request_prefill_time_seconds_sum{engine="0",model_name="a"} {0.5|0.75}\n'
        "# EOF"
    ),
    "ray": 'ray_vllm_prompt_tokens_total{Version="2.60.0",WorkerId="w",model_name="a"} {1|3}\n',
    "nim": (
        'prompt_tokens_total{model_name="a"} {100|150}\n'
        'generation_tokens_total{model_name="a"} {10|30}\n'
        'request_finish_total{finished_reason="stop",model_name="a"} {1|2}\n'
    ),
    # Two tensor-parallel ranks say the same; two data-parallel ones do not; a label of the operator's own divides.
    "sglang": "".join(
        f'sglang:realtime_tokens_total{{dp_rank="{dp}",engine_type="unified",mode="{mode}",model_name="a",'
        f'tp_rank="{tp}"}} {values}\n'
        for dp, tp in (("0", "0"), ("0", "1"), ("1", "2"))
        for mode, values in (
            ("prefill_compute", "{1000|1600}"),
            ("prefill_cache", "{500|700}"),
            ("decode", "{100|180}"),
        )
    )
    + (
        'sglang:prompt_tokens_total{is_streaming="True",model_name="a"} {900|1200}\n'
        'sglang:generation_tokens_total{is_streaming="True",model_name="a"} {80|120}\n'
        'sglang:cached_tokens_total{cache_source="device",model_name="a"} {400|500}\n'
        'sglang:cached_tokens_total{cache_source="total",model_name="a"} {400|500}\n'
        'sglang:num_requests_total{is_streaming="True",model_name="a",priority="0"} {10|12}\n'
        'sglang:num_requests_total{is_streaming="True",model_name="a",priority="1"} {3|4}\n'
        'sglang:num_aborted_requests_total{model_name="a"} {1|3}\n'
        'sglang:forward_execution_seconds_total{category="prefill",model_name="a"} {1|3.5}\n'
        'sglang:forward_execution_seconds_total{category="decode",model_name="a"} {5|20}\n'
        'sglang:scheduler_idle_seconds_total{model_name="a"} {3|10}\n'
    ),
    "sglang-finished": (
        'sglang:prompt_tokens_total{is_streaming="True",model_name="a"} {900|1200}\n'
        'sglang:prompt_tokens_total{is_streaming="False",model_name="a"} {0|100}\n'
        'sglang:generation_tokens_total{is_streaming="True",model_name="a"} {80|120}\n'
        'sglang:cached_tokens_total{cache_source="device",model_name="a"} {400|500}\n'
        'sglang:cached_tokens_total{cache_source="host",model_name="a"} {0|20}\n'
        'sglang:cached_tokens_total{cache_source="total",model_name="a"} {400|520}\n'
    ),
    # Blank lines, no HELP, Windows line ends, no label of a model.
    "tgi": (
        "# TYPE tgi_request_success counter\r\ntgi_request_success {109|111}\r\n\r\n"
        'tgi_request_failure{err="validation"} {2|3}\r\n\r\n'
        'tgi_request_input_length{quantile="0.5"} 6\r\ntgi_request_input_length_sum {662|700}\r\n'
        "tgi_request_input_length_count {109|111}\r\n\r\n"
        "tgi_request_generated_tokens_sum {20|50}\r\ntgi_request_inference_duration_sum {1.5|3.75}\r\n"
    ),
    "llamacpp": (
        "llamacpp:prompt_tokens_total {25|35}\nllamacpp:prompt_seconds_total {3.68|5}\n"
        "llamacpp:tokens_predicted_total {200|260}\nllamacpp:tokens_predicted_seconds_total {39.8|50}\n"
        "llamacpp:n_tokens_max 224\n"
    ),
    "trtllm": (
        'trtllm_request_success_total{finished_reason="stop",model_name="a"} {3|5}\n'
        'trtllm_e2e_request_latency_seconds_sum{model_name="a"} {10|14.5}\n'
    ),
    "triton": (
        'nv_inference_request_success{model="a",version="1"} {5|9}\n'
        'nv_inference_request_failure{model="a",reason="OTHER",version="1"} {0|1}\n'
        'nv_inference_compute_infer_duration_us{model="a",version="1"} {1000000|3500000}\n'
    ),
    "dynamo": (
        'dynamo_frontend_input_sequence_tokens_sum{model="a"} {100|400}\n'
        'dynamo_frontend_output_tokens_total{model="a"} {10|50}\n'
        'dynamo_frontend_cached_tokens_sum{model="a"} {20|70}\n'
    ),
    "unknown": (
        'vllm:prompt_tokens_total{engine="0",model_name="a"} -1\n'
        'vllm:generation_tokens_total{engine="0",model_name="a"} NaN\n'
        'vllm:num_preemptions_total{engine="0",model_name="a"} +Inf\n'
        'vllm:prefix_cache_hits_total{engine="0",model_name="a"} {1|2}\n'
        'vllm:gpu_prefix_cache_hit_rate{model_name="a"} -1.0\n'
        + "".join(
            f'vllm:request_success_total{{engine="0",finished_reason="{reason}",model_name="a"}} 1\n'
            for reason in ("stop", "length", "abort", "error")
        )
    ),
}
# What the pages above say happened in the minute between.
INCREASES: dict[str, dict[str, Any]] = {
    "vllm": {
        "prompt_tokens": 510, "output_tokens": 40, "successful_requests": 4, "aborted_requests": 1,
        "failed_requests": 1, "preemptions": 2, "window_count": 1,
    },
    "openmetrics": {"prompt_tokens": 4, "prefill_seconds": Decimal("0.25"), "output_tokens": None},
    "ray": {"prompt_tokens": 2},
    "nim": {"prompt_tokens": 50, "output_tokens": 20, "successful_requests": 1},
    # Twice 600 and 200 of prompt: by the counters at the finish it would be 300.
    "sglang": {
        "prompt_tokens": 1600, "computed_prompt_tokens": 1200, "cached_tokens": 400, "output_tokens": 160,
        "successful_requests": 3, "aborted_requests": 2, "busy_seconds": Decimal("17.5"), "idle_seconds": 7,
    },
    "sglang-finished": {"prompt_tokens": 400, "cached_tokens": 120, "output_tokens": 40},
    "tgi": {
        "model_name": "", "prompt_tokens": 38, "output_tokens": 30, "successful_requests": 2, "failed_requests": 1,
        "inference_seconds": Decimal("2.25"), "cached_tokens": None,
    },
    "llamacpp": {
        "model_name": "", "prompt_tokens": 10, "output_tokens": 60, "prefill_seconds": Decimal("1.32"),
        "decode_seconds": Decimal("10.2"), "cached_tokens": None,
    },
    "trtllm": {
        "successful_requests": 2, "inference_seconds": Decimal("4.5"), "prompt_tokens": None, "window_count": 0,
    },
    "triton": {
        "model_name": "a", "successful_requests": 4, "failed_requests": 1, "inference_seconds": Decimal("2.5"),
        "prompt_tokens": None, "output_tokens": None, "window_count": 0,
    },
    "dynamo": {"model_name": "a", "prompt_tokens": 300, "output_tokens": 40, "cached_tokens": 50},
    "unknown": {"prompt_tokens": None, "output_tokens": None, "prefix_cache_hits": 1},
}  # fmt: skip
# Sample, when it is taken to have been scraped, and what its lines say by the ledger's names.
RECORDED: dict[str, tuple[str, str, dict[str, int]]] = {
    "v0": (
        "vllm/vllm_v0_metrics_2024-06.excerpt.prom",
        "20240611T220000Z",
        {"prompt_tokens": 5, "output_tokens": 7, "successful_requests": 1, "preemptions": 0},
    ),
    "v1": (
        "vllm/vllm_v1_added_families.excerpt.prom",
        "20250215T000000Z",
        {"prefix_cache_hits": 64, "cached_tokens": 64, "computed_prompt_tokens": 53, "not_counted": 64},
    ),
    "ray-recorded": (
        "vllm/ray_vllm_metrics_2024-12.excerpt.prom",
        "20241212T000000Z",
        {"prompt_tokens": 58, "output_tokens": 300},
    ),
    "tgi-recorded": (
        "tgi/tgi_metrics.excerpt.prom",
        "20241212T000000Z",
        {"prompt_tokens": 662, "successful_requests": 109, "failed_requests": 2},
    ),
    "litellm-recorded": ("litellm/litellm_proxy_metrics_v1.95.excerpt.prom", "20241212T000000Z", {}),
}
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def page_at(text: str, moment: int) -> str:
    """The page with its readings of before (0) or after (1)."""
    return re.sub(r"\{([0-9.]+)\|([0-9.]+)\}", lambda found: found[moment + 1], text)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("engines")
    for name, text in PAGES.items():
        folder = root / name / "r0"
        folder.mkdir(parents=True)
        for moment, stamp in enumerate(("20261123T120000Z", "20261123T120100Z")):
            content = page_at(text, moment).encode()
            path = folder / f"{stamp}.prom"
            path.write_bytes(gzip.compress(content) if name == "ray" else content)
    # A frontend and a worker behind it, both scraped: the worker's word counts.
    for replica, page in (("worker", "vllm"), ("frontend", "dynamo")):
        shutil.copytree(root / page / "r0", root / "both" / replica)
    names = [*PAGES, "both"]
    if SAMPLES.is_dir():
        for name, (sample, stamp, _) in RECORDED.items():
            (root / name / "r0").mkdir(parents=True)
            shutil.copy(SAMPLES / "usage" / sample, root / name / "r0" / f"{stamp}.prom")
        names += RECORDED
    sources = "".join(
        f"  - {{name: {name}, kind: metrics, path: '{name}/*/*.prom', deployment: d}}\n" for name in names
    )
    (root / "ledger.yaml").write_text(
        "fleet:\n  - {deployment: d, model: a, provider: aws, region: us-east-1, instance_type: p5.48xlarge, "
        "replicas: 1, pricing: {model: on_demand}, from: 2024-01-01}\nusage:\n" + sources,
        encoding="utf-8",
    )
    settings = load_settings(root / "ledger.yaml", root / "data")
    with Warehouse(settings.warehouse_path).connect() as con:
        write_ledger(con, settings)
        for source in settings.ledger.usage:
            load_usage(con, source, settings, now=NOW, work_dir=root / "tmp")
        con.execute(
            "insert into raw.ledger_run by name select 'r' as run_id, now() as started_at, "
            "date '2026-11-24' as as_of_date, date '2024-01-01' as window_start_date"
        )
    run_dbt(
        "build", "--select", "+int_counter_increases__hourly", "+int_engine_usage__hourly",
        "--indirect-selection", "cautious", "--exclude-resource-type", "unit_test",
        warehouse=settings.warehouse_path,
        folder=root / "dbt",
    )  # fmt: skip
    return settings


def query(settings: Settings, sql: str, *arguments: object) -> list[dict[str, Any]]:
    with duckdb.connect(str(settings.warehouse_path), read_only=True) as con:
        con.execute("set timezone = 'UTC'")
        cursor = con.execute(sql, arguments)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.mark.parametrize("name", PAGES)
def test_increases_are_what_the_pages_say(built: Settings, name: str) -> None:
    found = query(built, "from intermediate.int_counter_increases__hourly where source_name = ?", name)
    assert len(found) == 1
    assert {column: found[0][column] for column in INCREASES[name]} == INCREASES[name]


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_pages_are_read(samples: Path, built: Settings, name: str) -> None:
    found = query(
        built,
        "select usage_metric, sum(counter_value) as total from staging.stg_usage__samples where source_name = ? "
        "group by 1",
        name,
    )
    assert {row["usage_metric"]: row["total"] for row in found} == RECORDED[name][2]


def test_a_young_process_counts_from_its_first_page(samples: Path, built: Settings) -> None:
    """vLLM V0, started on 2024-06-11 at 21:15:58 UTC (date -u -d @1718140558), 44 minutes before."""
    (hour,) = query(built, "from intermediate.int_counter_increases__hourly where source_name = 'v0'")
    assert (hour["prompt_tokens"], hour["output_tokens"], hour["successful_requests"]) == (5, 7, 1)
    assert hour["usage_hour_at"] == datetime(2024, 6, 11, 21, tzinfo=UTC)


def test_a_page_without_counters_of_an_engine_is_listed(samples: Path, built: Settings) -> None:
    """LiteLLM's proxy: a gateway, whose log tells more; its labels hold users and addresses, and none is kept."""
    assert query(built, "select reason, field from raw.rejected_records where source = 'litellm-recorded'") == [
        {"reason": "no_engine_series", "field": None}
    ]
    assert query(built, "from raw.metric_samples where source_name = 'litellm-recorded'") == []


def test_what_is_no_reading_is_unknown_and_counted(built: Settings) -> None:
    found = query(
        built,
        "select reason, field, sum(occurrences) as pages from raw.rejected_records where source = 'unknown' "
        "group by all order by all",
    )
    assert [tuple(row.values()) for row in found] == [
        ("value_not_a_count", "vllm:num_preemptions_total", 2),
        ("value_unknown", "vllm:generation_tokens_total", 2),
        ("value_unknown", "vllm:prompt_tokens_total", 2),
    ]
    others = query(built, "select distinct source from raw.rejected_records order by 1")
    assert {row["source"] for row in others} <= {"unknown", "litellm-recorded"}


def test_a_frontend_counts_only_where_no_engine_behind_it_is_scraped(built: Settings) -> None:
    found = query(built, "select replica_key, prompt_tokens from intermediate.int_engine_usage__hourly "
                         "where source_name = 'both'")  # fmt: skip
    assert found == [{"replica_key": "both/worker", "prompt_tokens": 510}]


def test_a_page_without_tokens_is_no_zero(built: Settings) -> None:
    """Triton and TensorRT-LLM count requests; an hour of them says nothing of tokens."""
    assert query(built, "from intermediate.int_engine_usage__hourly where source_name in ('triton', 'trtllm')") == []


def test_a_packed_page_that_is_cut_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "r0").mkdir()
    whole = gzip.compress(PAGES["vllm"].encode() * 20)
    (tmp_path / "r0" / "20261123T120000Z.prom.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "r0" / "20261123T120100Z.prom.gz").write_bytes(gzip.compress(page_at(PAGES["ray"], 0).encode()))
    (tmp_path / "ledger.yaml").write_text(
        "fleet: [{deployment: d, model: a, provider: aws, region: us-east-1, instance_type: p5.48xlarge, replicas: 1, "
        "pricing: {model: on_demand}, from: 2026-01-01}]\n"
        "usage: [{name: m, kind: metrics, path: '*/*.prom.gz', deployment: d}]\n",
        encoding="utf-8",
    )
    settings = load_settings(tmp_path / "ledger.yaml", tmp_path / "data")
    with Warehouse(settings.warehouse_path).connect() as con:
        result = load_usage(con, settings.ledger.usage[0], settings, now=NOW, work_dir=tmp_path / "tmp")
    assert result.record_count == 1
    assert any("20261123T120000Z.prom.gz" in problem for problem in result.problems)


def test_the_server_is_asked_for_what_pages_are_read_for() -> None:
    patterns = [re.compile(family) for family in families()]
    assert all(any(pattern.fullmatch(name) for pattern in patterns) for name in counter_names())
    assert max(map(len, families())) < 1000  # servers limit the length of an address


def test_every_label_that_decides_is_kept() -> None:
    """And stands before those that only divide: staging looks at the first that is there."""
    deciding = {row["label_name"] for row in seed_rows("engine_metrics")} - {""}
    assert deciding <= set(VALUE_LABELS)
    dividing = set(VALUE_LABELS) - deciding
    assert dividing == {"category", "is_streaming"}
    assert VALUE_LABELS[-1] == "is_streaming"


def test_the_page_of_the_documentation_lists_the_seed() -> None:
    text = (PROJECT_ROOT / "docs" / "usage" / "metrics.md").read_text(encoding="utf-8")
    missing = [line for line in table() if line not in text]
    assert missing == [], "the table of docs/usage/metrics.md lacks these lines"


def table() -> list[str]:
    """The seed as rows of a Markdown table."""
    return [
        f"| {row['engine']} | `{row['metric_name']}`{_label_of(row)} | {row['usage_metric']}{_rank_of(row)} | "
        f"{row['unit']}, {row['kind'].replace('_', ' ')} | {row['caveat']} |"
        for row in seed_rows("engine_metrics")
    ]


def _label_of(row: Mapping[str, str]) -> str:
    if not row["label_name"]:
        return ""
    return f" {row['label_name']}={'any other' if row['label_value'] == '*' else row['label_value']}"


def _rank_of(row: Mapping[str, str]) -> str:
    return {"1": "", "2": " (second choice)", "9": " (where no engine is scraped)"}[row["preference"]]
