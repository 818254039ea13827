"""The user's own telemetry as points to calibrate on: fct_serving_points_hourly, in the warehouse or as published."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from sizing.calibration import LEAST_POINTS, Point, calibrate
from sizing.errors import SizingError
from sizing.gpus import Gpu
from sizing.memory import Engine, Parallel, size_memory
from sizing.model_config import Model
from sizing.throughput import Deployment, Roofline, Workload

if TYPE_CHECKING:
    import duckdb

LOOK_BACK_DAYS = 28
MOST_POINTS = 200
# An hour with fewer finished requests says more of them than of the engine.
LEAST_REQUESTS = 20


@dataclass(frozen=True, slots=True)
class Served:
    """A model on one kind and number of GPUs, as its deployments ran in the last weeks."""

    model: str
    gpu_model: str
    gpus_per_replica: int
    points: tuple[Point, ...]


def read_served(con: "duckdb.DuckDBPyConnection", table: str, until: date | None = None) -> list[Served]:
    """Returns what `table` (fct_serving_points_hourly) holds of the four weeks to `until` (exclusive), newest first."""
    newest = until or con.execute(f"select cast(max(usage_hour_at) as date) + 1 from {table}").fetchall()[0][0]
    if newest is None:
        return []
    rows = con.execute(
        f"""
        select
            model, gpu_model, cast(gpus_per_replica as integer),
            cast(input_tokens_per_request as double), cast(cached_input_tokens_per_request as double),
            cast(output_tokens_per_request as double), cast(concurrency_per_replica as double),
            cast(tpot_ms as double), cast(prefill_ms as double)
        from {table}
        where
            usage_hour_at >= ? and usage_hour_at < ? and request_count >= ?
            and gpus_per_replica = cast(gpus_per_replica as integer)
        qualify row_number() over (partition by model, gpu_model, gpus_per_replica order by usage_hour_at desc) <= ?
        order by model, gpu_model, gpus_per_replica, usage_hour_at desc
        """,
        [newest - timedelta(days=LOOK_BACK_DAYS), newest, LEAST_REQUESTS, MOST_POINTS],
    ).fetchall()
    points: dict[tuple[str, str, int], list[Point]] = defaultdict(list)
    for model, gpu_model, gpus, inputs, cached, outputs, concurrency, tpot, prefill in rows:
        # An average may have its prompts all but cached; the last token is computed in any case.
        workload = Workload(max(inputs, 1), max(outputs, 1), min(cached or 0, max(inputs, 1) - 1))
        points[model, gpu_model, gpus].append(Point(workload, max(concurrency, 1), tpot, prefill or None))
    return [Served(*key, tuple(found)) for key, found in points.items()]


def calibrated(
    served: Sequence[Served],
    name: str,
    model: Model,
    gpus: Mapping[str, Gpu],
    precision: str,
    engine: Engine = "vllm",
    kv_precision: str | None = None,
) -> dict[tuple[str, int, str, Engine], Roofline]:
    """(GPU, tensor parallel, precision, engine) -> the estimator `measured` for a model that is served so.

    A replica is taken for one engine whose tensor parallelism is its GPUs.
    """
    found = {}
    for one in served:
        if one.model != name or one.gpu_model not in gpus or len(one.points) < LEAST_POINTS:
            continue
        longest = max(int(point.workload.input_tokens + point.workload.output_tokens) for point in one.points)
        context = max(longest, 1) if model.max_context_tokens is None else min(longest, model.max_context_tokens)
        try:
            memory = size_memory(
                model,
                gpus[one.gpu_model],
                precision=precision,
                kv_precision=kv_precision,
                parallel=Parallel(one.gpus_per_replica),
                max_context_tokens=context,
            )
            found[one.gpu_model, one.gpus_per_replica, precision, engine] = calibrate(Deployment(memory), one.points)
        except SizingError:
            continue  # its replica is cut in another way than this
    return found
