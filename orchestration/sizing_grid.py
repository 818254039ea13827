"""The daily physics: `sizing` of ledger.yaml evaluated on every GPU, written to `raw.gpu_sizing`."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from orchestration.serving_points import calibrated, read_served
from orchestration.settings import Settings, SizedModel, SizedWorkload
from orchestration.sizing_inputs import known_gpus, read_model
from sizing.choices import Choice, Demand, grid
from sizing.errors import SizingError
from sizing.gpus import find_gpu
from sizing.precision import scheme_for
from sizing.throughput import Estimator, Targets, Workload

if TYPE_CHECKING:
    import duckdb

    from sizing.model_config import Model

OTHER_PRECISIONS = ("fp8", "awq")  # tried beside the checkpoint's own unless the ledger says which


@dataclass(frozen=True)
class SizedRun:
    """What was written, and what could not be sized: one sentence each."""

    row_count: int
    model_count: int
    measured_count: int
    problems: tuple[str, ...]


def write_sizing(con: "duckdb.DuckDBPyConnection", settings: Settings) -> SizedRun:
    """Replaces `raw.gpu_sizing` by what holds for the last day of the run; one transaction.

    A model whose config cannot be read, and a GPU that is not known, are left out and told; the rest goes on.
    """
    as_of: date = con.execute("select as_of_date from raw.ledger_run").fetchall()[0][0]
    served = read_served(con, "marts.fct_serving_points_hourly", until=as_of + timedelta(days=1))
    section, problems = settings.ledger.sizing, []
    gpus = known_gpus()
    chosen = []
    for name in section.gpus or tuple(gpus):
        try:
            chosen.append(find_gpu(name, gpus))
        except SizingError as error:
            problems.append(f"sizing.gpus: {str(error).removeprefix('--gpu ')}")
    rows: list[dict[str, Any]] = []
    measured, configs = 0, settings.model_configs()
    for entry in section.models:
        try:
            model = read_model(configs[entry.model])
            precisions, own = precisions_of(entry, model)
        except SizingError as error:
            problems.append(f"{entry.model}: {error}")
            continue
        estimators: dict[Any, Estimator] = {}
        for engine in section.engines:
            estimators |= calibrated(served, entry.model, model, gpus, own, engine, section.kv_precision)
        measured += len(estimators)
        demands = [demand_of(each) for each in section.workloads if not each.models or entry.model in each.models]
        for choice in grid(
            model,
            gpus=chosen,
            precisions=precisions,
            demands=demands,
            degrees=section.tensor_parallel,
            engines=section.engines,
            kv_precision=section.kv_precision,
            estimators=estimators,
        ):
            rows.append({"as_of_date": as_of, "model": entry.model, **row_of(choice)})
    con.execute("begin")
    try:
        con.execute("delete from raw.gpu_sizing")
        if rows:
            con.register("sized", pd.DataFrame(rows))
            con.execute("insert into raw.gpu_sizing by name select * from sized")
            con.unregister("sized")
        con.execute("commit")
    except BaseException:
        con.execute("rollback")
        raise
    return SizedRun(len(rows), len(section.models), measured, tuple(problems))


def precisions_of(entry: SizedModel, model: "Model") -> tuple[tuple[str, ...], str]:
    """The precisions to evaluate, and the one the fleet serves."""
    own = entry.served_precision or scheme_for(model).name
    wanted = entry.precisions or (own, *OTHER_PRECISIONS)
    return tuple(dict.fromkeys(scheme_for(model, name).name for name in wanted)), scheme_for(model, own).name


def demand_of(entry: SizedWorkload) -> Demand:
    """A workload of the ledger as sizing knows it."""
    return Demand(
        entry.name,
        Workload(entry.input_tokens, entry.output_tokens, entry.cached_input_tokens),
        Targets(
            None if entry.ttft_ms is None else float(entry.ttft_ms),
            None if entry.tpot_ms is None else float(entry.tpot_ms),
        ),
    )


def row_of(choice: Choice) -> dict[str, Any]:
    """One row of `raw.gpu_sizing`, without day and model."""
    demand, memory, point = choice.demand, choice.memory, choice.point
    code, _, text = (choice.reason or "").partition(": ")
    return {
        "gpu_model": choice.gpu.name,
        "tensor_parallel": choice.tensor_parallel,
        "precision": choice.precision,
        "engine": choice.engine,
        "workload": demand.name,
        "input_tokens": int(demand.workload.input_tokens),
        "cached_input_tokens": int(demand.workload.cached_input_tokens),
        "output_tokens": int(demand.workload.output_tokens),
        "ttft_target_ms": demand.targets.ttft_ms,
        "tpot_target_ms": demand.targets.tpot_ms,
        "fits": choice.fits,
        "weights_gib_per_gpu": None if memory is None else memory.weights_gib,
        "kv_pool_gib_per_gpu": None if memory is None else memory.pool_gib,
        "max_concurrency": None if choice.wall is None else float(choice.wall.usable),
        "method": _method(choice),
        "concurrency": None if point is None else point.concurrency,
        "tokens_per_second_per_gpu": None if point is None else point.output_tokens_per_second_per_gpu,
        "input_tokens_per_second_per_gpu": None if point is None else point.input_tokens_per_second_per_gpu,
        "ttft_ms": None if point is None else point.ttft_ms,
        "tpot_ms": None if point is None else point.tpot_ms,
        "roofline_tpot_ms": None if point is None else point.bound_tpot_ms,
        "prefill_share_ratio": None if point is None else point.prefill_share_ratio,
        "tpot_median_error_ratio": None if point is None else point.tpot_band.median_error,
        "peak_tokens_per_second_per_gpu": None
        if choice.highest is None
        else choice.highest.output_tokens_per_second_per_gpu,
        "reason": code or None,
        "reason_text": text or None,
    }


def _method(choice: Choice) -> str | None:
    found = choice.point or choice.highest
    return None if found is None else found.method
