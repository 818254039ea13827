"""The section `sizing` of ledger.yaml, and the daily physics it asks for."""

import shutil
from datetime import date
from pathlib import Path

import duckdb
import pytest

from orchestration.serving_points import calibrated, read_served
from orchestration.settings import ConfigError, load_settings
from orchestration.sizing_grid import write_sizing
from orchestration.sizing_inputs import known_gpus, read_model
from orchestration.warehouse import Warehouse
from sizing.memory import size_memory
from sizing.throughput import Deployment, Roofline, Workload, estimate

CONFIG_FILES = Path(__file__).parents[2] / "examples" / "model_configs"
POINTS = """
create schema if not exists marts;
create or replace table marts.fct_serving_points_hourly as
select
    'chat' as deployment, timestamptz '2026-11-20 00:00:00+00' + interval (hour) hour as usage_hour_at,
    'org/small' as model, 'L40S-48GB' as gpu_model, 1.0::decimal(18, 6) as gpus_per_replica,
    {requests} as request_count, 1000.0 as input_tokens_per_request, 0.0 as cached_input_tokens_per_request,
    200.0 as output_tokens_per_request, concurrency as concurrency_per_replica, 150.0 as prefill_ms, tpot as tpot_ms
from (values {values}) as t (hour, concurrency, tpot)
"""


def write_ledger(tmp_path: Path, section: str) -> Path:
    shutil.copy(CONFIG_FILES / "meta-llama--Llama-3.1-8B-Instruct.json", tmp_path / "small.json")
    (tmp_path / "broken.json").write_text('{"model_type": "llama"}')
    path = tmp_path / "ledger.yaml"
    path.write_text("sizing:\n" + section)
    return path


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("  models: [{model: a, config: a.json}]\n", "models without workloads"),
        (
            "  models: [{model: a, config: a.json, precisions: [int3]}]\n"
            "  workloads: [{name: w, input_tokens: 1, output_tokens: 1}]\n",
            "'int3' is not known; write one of bf16",
        ),
        (
            "  workloads: [{name: w, input_tokens: 10, output_tokens: 1, models: [b]}]\n",
            "no model 'b' in sizing.models",
        ),
        ("  workloads: [{name: w, input_tokens: 10, output_tokens: 0}]\n", "greater than or equal to 1"),
        (
            "  workloads: [{name: w, input_tokens: 10, output_tokens: 1, cached_input_tokens: 10}]\n",
            "cached_input_tokens must be fewer",
        ),
        ("  workloads: [{name: w, input_tokens: 1, output_tokens: 1, tpot: 5}]\n", "did you mean 'tpot_ms'?"),
        (
            "  workloads:\n" + 2 * "    - {name: w, input_tokens: 9, output_tokens: 1}\n",
            "'w' is used twice",
        ),
        ("  engines: [tgi]\n", "engines[0]"),
    ],
)
def test_mistakes_of_the_section_are_told(tmp_path: Path, section: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(write_ledger(tmp_path, section))
    assert told in str(error.value)
    assert "sizing" in str(error.value)


SECTION = """
  models:
    - {model: org/small, config: small.json, precisions: [bf16, fp8]}
    - {model: org/broken, config: broken.json}
    - {model: org/absent, config: absent.json}
  workloads:
    - {name: chat, input_tokens: 1000, output_tokens: 200, ttft_ms: 3000, tpot_ms: 60}
  gpus: [L40S, H100-SXM, Voodoo]
  tensor_parallel: [1, 2]
"""


def test_what_can_be_sized_is_and_the_rest_is_told(tmp_path: Path) -> None:
    settings = load_settings(write_ledger(tmp_path, SECTION))
    with Warehouse(tmp_path / "warehouse.duckdb").connect() as con:
        con.execute("insert into raw.ledger_run (run_id, started_at, as_of_date, window_start_date) "
                    "values ('r', now(), date '2026-11-28', date '2026-11-26')")  # fmt: skip
        con.execute(POINTS.format(requests=500, values="(0, 1, 30.0), (1, 8, 34.0), (2, 32, 50.0)"))
        first = write_sizing(con, settings)
        again = write_sizing(con, settings)
        rows = con.execute(
            "select gpu_model, precision, tensor_parallel, method, fits, tokens_per_second_per_gpu, reason, as_of_date "
            "from raw.gpu_sizing order by all"
        ).fetchall()
        nothing = con.execute("select count(*) from raw.gpu_sizing where ttft_ms = 'nan' or tpot_ms = 'nan'").fetchone()
    assert (first.row_count, first.measured_count) == (2 * 2 * 2, 1)
    assert again == first
    assert len(rows) == first.row_count
    assert nothing == (0,)
    assert {row[3] for row in rows if row[:3] == ("L40S-48GB", "bf16", 1)} == {"measured"}
    assert {row[3] for row in rows if row[:3] != ("L40S-48GB", "bf16", 1)} == {"roofline"}
    assert all((row[5] is None) == (row[6] is not None) for row in rows)
    assert {row[7] for row in rows} == {date(2026, 11, 28)}
    assert len(first.problems) == 3
    assert any("'Voodoo' has no specifications here" in problem for problem in first.problems)
    assert any("org/broken" in problem and "hidden_size is missing" in problem for problem in first.problems)
    assert any("org/absent" in problem and "no file" in problem for problem in first.problems)


def served_on(con: duckdb.DuckDBPyConnection, requests: int, values: str) -> list:
    con.execute(POINTS.format(requests=requests, values=values))
    return read_served(con, "marts.fct_serving_points_hourly", until=date(2026, 11, 29))


def test_own_telemetry_moves_the_estimate() -> None:
    """An engine that was measured twice as slow as the default is estimated so, on these GPUs and nowhere else."""
    gpus, model = known_gpus(), read_model(CONFIG_FILES / "meta-llama--Llama-3.1-8B-Instruct.json")
    deployment = Deployment(size_memory(model, gpus["L40S-48GB"], max_context_tokens=2000))
    workload = Workload(1000, 200)
    plain = {c: estimate(deployment, workload, c, Roofline()).tpot_ms for c in (1, 8, 16, 32)}
    values = ", ".join(f"({hour}, {c}, {2 * plain[c]:.3f})" for hour, c in enumerate((1, 8, 32)))
    with duckdb.connect() as con:
        served = served_on(con, 500, values)
        quiet = served_on(con, 5, values)
    found = calibrated(served, "org/small", model, gpus, "bf16")
    assert list(found) == [("L40S-48GB", 1, "bf16", "vllm")]
    [method] = found.values()
    assert estimate(deployment, workload, 16, method).tpot_ms == pytest.approx(2 * plain[16], rel=0.1)
    assert calibrated(served, "org/other", model, gpus, "bf16") == {}
    assert quiet == []  # five requests an hour say more of themselves than of the engine


def test_no_telemetry_is_no_calibration() -> None:
    with duckdb.connect() as con:
        con.execute(POINTS.format(requests=500, values="(0, 1, 30.0)"))
        assert len(read_served(con, "marts.fct_serving_points_hourly")[0].points) == 1
        con.execute("delete from marts.fct_serving_points_hourly")
        assert read_served(con, "marts.fct_serving_points_hourly") == []
