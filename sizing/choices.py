"""Every way to serve a model, side by side: GPU, tensor parallelism, precision, engine; what fits and how fast it is.

One large GPU or several is not decided by rule: each degree is evaluated, and what counts is tokens per second and GPU
(copies of a smaller engine against one larger). Money comes later, in SQL.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sizing.errors import SizingError
from sizing.gpus import Gpu
from sizing.memory import Engine, EngineSettings, Memory, Parallel, Wall, check_parallel, size_memory
from sizing.model_config import Model
from sizing.throughput import (
    Deployment,
    Estimate,
    Estimator,
    OperatingPoints,
    Roofline,
    Targets,
    Workload,
    operating_points,
)

DEGREES = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class EngineEffect:
    """Throughput over vLLM's at the same GPU, model, precision, parallelism and concurrency, measured."""

    ratio: float
    low_ratio: float | None
    high_ratio: float | None
    pairs: int


# Medians over pairs in the full table of aiconfigurator-core 0.12.0 (reference, result 10 and claim 8); 10th and 90th
# percentile where it states them. SGLang: 1.11 of TensorRT-LLM over vLLM by 1.27 of TensorRT-LLM over SGLang.
ENGINE_EFFECTS: dict[Engine, EngineEffect] = {
    "trtllm": EngineEffect(1.11, 0.89, 1.28, 304),
    "sglang": EngineEffect(0.87, None, None, 176),
}


@dataclass(frozen=True, slots=True)
class Demand:
    """What has to be served: one size of requests and what users are promised."""

    name: str
    workload: Workload
    targets: Targets = field(default_factory=Targets)

    @property
    def context_tokens(self) -> int:
        """Longest sequence."""
        return int(self.workload.input_tokens + self.workload.output_tokens)


@dataclass(frozen=True)
class Choice:
    """One way to serve.

    Attributes:
        gpus: of one engine, all degrees together.
        fits: whether the engine starts and holds one request.
        point: where to run it: most tokens per second within the targets; None with `reason`.
        highest: most tokens per second whatever the latency; None where it does not fit.
        reason: why there is no `point`: a sentence, after a word (does_not_fit, cannot_be_cut, target_not_met).
    """

    gpu: Gpu
    tensor_parallel: int
    gpus: int
    precision: str
    engine: Engine
    demand: Demand
    memory: Memory | None
    wall: Wall | None
    point: Estimate | None
    highest: Estimate | None
    reason: str | None = None

    @property
    def fits(self) -> bool:
        """Whether one request has room beside the weights."""
        return self.wall is not None and self.wall.usable >= 1

    @property
    def tokens_per_second_per_gpu(self) -> float | None:
        """Output tokens, within the targets."""
        return None if self.point is None else self.point.output_tokens_per_second_per_gpu


@dataclass(frozen=True, slots=True)
class Setup:
    """A model in one precision on one kind and number of GPUs.

    The longest sequence is the demand's unless stated. `spread` says the rest of how it is spread: its tensor degree is
    replaced by `tensor_parallel`.
    """

    gpu: Gpu
    tensor_parallel: int
    precision: str
    engine: Engine = "vllm"
    kv_precision: str | None = None
    settings: EngineSettings | None = None
    max_context_tokens: int | None = None
    spread: Parallel = Parallel()

    @property
    def parallel(self) -> Parallel:
        """How one engine is spread."""
        return replace(self.spread, tensor=self.tensor_parallel)


def evaluate(model: Model, setup: Setup, demands: Iterable[Demand], estimator: Estimator | None = None) -> list[Choice]:
    """Evaluates one setup for each demand; what is impossible comes back with its reason, not as an error."""
    gpu = setup.gpu
    parallel = setup.parallel
    settings = setup.settings or EngineSettings(setup.engine)
    found = []
    for demand in demands:
        memory, wall, points, reason = None, None, None, None
        try:
            check_parallel(model, parallel)
        except SizingError as error:
            reason = f"cannot_be_cut: {error}"
        else:
            try:
                memory = size_memory(
                    model,
                    gpu,
                    precision=setup.precision,
                    kv_precision=setup.kv_precision,
                    parallel=parallel,
                    settings=settings,
                    max_context_tokens=setup.max_context_tokens or demand.context_tokens,
                )
            except SizingError as error:
                reason = f"does_not_fit: {error}"
        if memory is not None:
            wall = memory.wall(demand.workload.input_tokens, demand.workload.output_tokens)
            if wall.usable < 1:
                reason = f"does_not_fit: {why_not(memory, demand)}"
            else:
                points, reason = _points(memory, demand, estimator or Roofline())
        found.append(
            Choice(
                gpu=gpu,
                tensor_parallel=setup.tensor_parallel,
                gpus=parallel.gpus,
                precision=setup.precision,
                engine=setup.engine,
                demand=demand,
                memory=memory,
                wall=wall,
                point=None if points is None else points.within_targets,
                highest=None if points is None else points.highest,
                reason=reason,
            )
        )
    return found


def _points(memory: Memory, demand: Demand, estimator: Estimator) -> tuple[OperatingPoints | None, str | None]:
    try:
        points = operating_points(Deployment(memory), demand.workload, demand.targets, estimator)
    except SizingError as error:
        return None, f"not_estimated: {error}"
    if points.within_targets is not None:
        return points, None
    alone, asked = points.best_latency, demand.targets
    broken = [
        f"{name} {value:,.0f} ms > {target:g} ms"
        for name, value, target in (
            ("TTFT", alone.ttft_ms, asked.ttft_ms),
            ("TPOT", alone.tpot_ms, asked.tpot_ms),
        )
        if target is not None and value > target
    ]
    return points, f"target_not_met: even one request alone has {' and '.join(broken) or 'one of the two too slow'}"


def why_not(memory: Memory, demand: Demand) -> str:
    """Why one request has no room, in GiB of one GPU."""
    share = memory.gpu.usable_gib * memory.settings.memory_share
    if memory.pool_gib <= 0:
        return (
            f"weights of {memory.weights_gib:.1f} GiB and buffers leave nothing of the {share:.1f} GiB the engine "
            f"takes of each {memory.gpu.name}"
        )
    return (
        f"{memory.pool_gib:.1f} GiB for the cache hold no request of {demand.context_tokens:,} tokens beside "
        f"{memory.weights_gib:.1f} GiB of weights on each {memory.gpu.name}"
    )


def grid(
    model: Model,
    *,
    gpus: Sequence[Gpu],
    precisions: Sequence[str],
    demands: Sequence[Demand],
    degrees: Sequence[int] = DEGREES,
    engines: Sequence[Engine] = ("vllm",),
    kv_precision: str | None = None,
    estimators: Mapping[tuple[str, int, str, Engine], Estimator] | None = None,
) -> Iterator[Choice]:
    """Evaluates every combination; `estimators` by (GPU, degree, precision, engine) replace the roofline."""
    known = estimators or {}
    for gpu in gpus:
        for precision in precisions:
            for engine in engines:
                for degree in degrees:
                    setup = Setup(gpu, degree, precision, engine, kv_precision)
                    yield from evaluate(model, setup, demands, known.get((gpu.name, degree, precision, engine)))


def best_degree(choices: Iterable[Choice]) -> Choice | None:
    """Of choices that differ in tensor parallelism: most tokens per second and GPU within the targets."""
    possible = [choice for choice in choices if choice.point is not None]
    return max(possible, key=lambda choice: choice.tokens_per_second_per_gpu or 0.0, default=None)
