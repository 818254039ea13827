"""How fast a model answers: time to first token (TTFT), time per output token (TPOT), tokens per second.

One interface, `Estimator`, and three methods behind it, always named in the result:

- `roofline`: the default. Bytes and operations of a step over what the GPU can do, with factors fitted once to measured
  serving points of others (`EFFICIENCY`).
- `measured`: the same, its factors calibrated on the user's own points (sizing.calibration).
- `aiconfigurator`: NVIDIA's measured kernel tables (sizing.aiconfigurator, an optional extra).

Formulas with their sources, and how well they do on held-out points: docs/sizing.md. Times are in seconds inside and in
milliseconds in results; arrays run over concurrencies.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from sizing.errors import SizingError
from sizing.gpus import Gpu
from sizing.memory import Memory, Parallel, kv_bytes_per_sequence
from sizing.model_config import Model, Weight
from sizing.precision import Scheme

Method = Literal["measured", "aiconfigurator", "roofline"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What real engines need over the bare roofline.

    Attributes:
        memory: time of reading weights and cache over bytes/bandwidth.
        expert_weights: the same again for a mixture of experts, whose weights come in small pieces.
        compute: time of a step's multiplications over operations/peak.
        prefill: time of reading prompts over operations/peak.
        dense_layer_seconds, expert_layer_seconds: of launching one layer in one step.
        synchronise_seconds: of one all-reduce beyond its transfer, times log2 of the GPUs.
        sequence_seconds: per request of a step: scheduling and sampling.
        ttft_steps, ttft_prefill, ttft_queue: TTFT in steps, in own prefills, and in prefills of others ahead.
    """

    memory: float
    expert_weights: float
    compute: float
    prefill: float
    dense_layer_seconds: float
    expert_layer_seconds: float
    synchronise_seconds: float
    sequence_seconds: float
    ttft_steps: float
    ttft_prefill: float
    ttft_queue: float


# Fitted on 2026-11-29 by `python -m benchmarks.sizing_accuracy ../shared/samples --fit` to the aggregated rows of
# silicon_sample.csv of aiconfigurator-core 0.12.0 (Apache-2.0; H100 and H200; vLLM, SGLang and TensorRT-LLM; dense
# models and mixtures of experts; points to 2026-04-27).
EFFICIENCY = Efficiency(
    memory=1.18,
    expert_weights=1.30,
    compute=1.57,
    prefill=1.44,
    dense_layer_seconds=2.15e-5,
    expert_layer_seconds=6.63e-5,
    synchronise_seconds=5.04e-6,
    sequence_seconds=1.82e-5,
    ttft_steps=9.12,
    ttft_prefill=3.35,
    ttft_queue=0.171,
)


@dataclass(frozen=True, slots=True)
class Band:
    """Where the measured value lay over the estimate in 80 % of held-out points, and the median error."""

    low_ratio: float
    high_ratio: float
    median_error: float


# Of the same command on the same day: each GPU estimated from the other, the widest of its splits (12 % by deployment,
# 13 % by model); and each deployment's points after calibration on three of its own.
BANDS: dict[Method, dict[str, Band]] = {
    "roofline": {"tpot": Band(0.70, 1.44, 0.15), "ttft": Band(0.58, 2.63, 0.33)},
    "measured": {"tpot": Band(0.87, 1.16, 0.06), "ttft": Band(0.57, 1.75, 0.23)},
    # Of the same command with --aiconfigurator 120, aiconfigurator 0.12.0; its tables hold some of these very runs.
    "aiconfigurator": {"tpot": Band(0.62, 1.25, 0.15), "ttft": Band(0.97, 5.86, 0.41)},
}


@dataclass(frozen=True, slots=True)
class _Link:
    """An all-reduce: latency of a small one, and the share of the link that a large one moves at, by GPUs."""

    latency_seconds: float
    latency_seconds_per_gpu: float
    share_by_gpus: tuple[tuple[int, float], ...]

    def share(self, gpus: int) -> float:
        return next((share for limit, share in self.share_by_gpus if gpus <= limit), self.share_by_gpus[-1][1])


# Read off custom_allreduce_measured_ms.csv.gz of aiconfigurator-core 0.12.0 (kernels in graphs, 512 and 16,777,216
# numbers of bf16, 2026): ring time 2(n-1)/n x bytes/link over what was measured. NVLink: H100, H200, A100, B200. PCIe:
# L40S (two hosts that differ fivefold; their geometric mean) and RTX PRO 6000.
_NVLINK = _Link(4.5e-6, 0.0, ((16, 0.5),))
_PCIE = _Link(0.0, 3.2e-6, ((2, 0.5), (4, 0.35), (16, 0.22)))
_LINKS = {
    "nvlink": _NVLINK,
    "infinity_fabric": _NVLINK,  # no measurement at hand: as NVLink, at its own bandwidth
    "nvlink_bridge": _NVLINK,
    "pcie": _PCIE,
    "pcie_no_p2p": _PCIE,
    "network": _PCIE,
}


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests of one size.

    Attributes:
        input_tokens: prompt, cached part included.
        output_tokens: generated.
        cached_input_tokens: of the prompt, found in the prefix cache: kept, but not computed again.
    """

    input_tokens: float
    output_tokens: float
    cached_input_tokens: float = 0

    def __post_init__(self) -> None:
        """Refuses requests of no size."""
        if self.input_tokens < 1 or self.output_tokens < 1:
            raise SizingError(
                f"requests of {self.input_tokens:g} input and {self.output_tokens:g} output tokens are no load; "
                f"give at least one token of each"
            )
        if not 0 <= self.cached_input_tokens < self.input_tokens:
            raise SizingError("cached_input_tokens must be at least 0 and fewer than input_tokens")


@dataclass(frozen=True)
class Deployment:
    """One engine: a model in a precision on so many GPUs, with its memory accounted for."""

    memory: Memory

    @property
    def model(self) -> Model:
        """The model."""
        return self.memory.model

    @property
    def gpu(self) -> Gpu:
        """The kind of GPU."""
        return self.memory.gpu

    @property
    def parallel(self) -> Parallel:
        """How it is spread."""
        return self.memory.parallel

    @property
    def scheme(self) -> Scheme:
        """Precision of the weights."""
        return self.memory.scheme

    @cached_property
    def operations_per_second(self) -> float:
        """Peak of one GPU in the format the weights are multiplied in."""
        return self.gpu.tera_ops(self.scheme.precision.compute) * 1e12

    @cached_property
    def _read_bytes(self) -> tuple[float, float]:
        """Bytes one GPU reads in a step if every expert is used: other weights, and routed experts.

        The layers of all pipeline stages: a token passes them one after the other.
        """
        tensor = self.parallel.tensor
        other = experts = 0.0
        for weight in self.model.weights:
            if weight.part == "embedding" and not self.model.is_tied:
                continue  # looked up
            size = sum(self.scheme.weight_bytes(weight)) * weight.copies
            if weight.shard == "expert":
                experts += size / (tensor * self.parallel.data)
            else:
                other += size / self._cut(weight)
        return other, experts

    def _cut(self, weight: Weight) -> int:
        if weight.shard == "tensor":
            return self.parallel.tensor
        return min(self.parallel.tensor, weight.kv_heads or self.model.kv_heads) if weight.shard == "kv" else 1

    def experts_touched(self, batch: Floats) -> Floats:
        """Share of the experts that a step of `batch` tokens reads: 1 - (1 - k/E)^batch."""
        if not self.model.experts:
            return np.zeros_like(batch)
        return 1 - (1 - self.model.experts_per_token / self.model.experts) ** batch

    def cache_bytes(self, tokens: float) -> float:
        """Cache of one request of `tokens` on one GPU, windows counted."""
        return kv_bytes_per_sequence(self.model, tokens, self.memory.kv_precision, tensor=self.parallel.tensor).low

    def prefill_operations(self, tokens: float, cached: float = 0) -> float:
        """Operations of reading a prompt: 2 x parameters x tokens, and attention over what came before.

        The head is computed for the last token alone. Attention: 4 x heads x head size per pair of tokens; causal
        attention sees half of the square, a window its width.
        """
        model = self.model
        fresh = tokens - cached
        pairs = 0.0
        for cache in model.caches:
            if not cache.elements_per_token:
                continue
            whole = (tokens**2 - cached**2) / 2
            window = cache.window_tokens
            pairs += cache.layers * (whole if window is None else min(whole, fresh * window))
        attention = 4 * model.attention_heads * model.head_dim * pairs
        return 2 * (model.compute_parameters - model.vocab_size * model.hidden_size) * fresh + attention

    def all_reduce_seconds(self, tokens: Floats) -> tuple[Floats, float]:
        """(transfer of `tokens` hidden states, latency) of one all-reduce among the tensor-parallel GPUs."""
        n = self.parallel.tensor
        if n == 1:
            return np.zeros_like(tokens), 0.0
        link = _LINKS[self.gpu.link_kind]
        size = tokens * self.model.hidden_size * 2
        rate = self.gpu.link_gb_per_second * 1e9 * link.share(n)
        return 2 * (n - 1) / n * size / rate, link.latency_seconds + link.latency_seconds_per_gpu * n


@dataclass(frozen=True)
class Step:
    """The parts of a decode step in seconds, one value per concurrency."""

    memory_and_compute: Floats
    prefill: Floats
    layers: Floats
    sequences: Floats
    bound: Floats
    own_prefill: Floats
    in_flight: Floats

    def seconds(self, factors: "Factors") -> Floats:
        """Of one step: never below the pure roofline."""
        total = (
            factors.memory * self.memory_and_compute
            + factors.prefill * self.prefill
            + factors.layers * self.layers
            + factors.sequences * self.sequences
        )
        return np.maximum(total, self.bound)


@dataclass(frozen=True, slots=True)
class Factors:
    """What calibration multiplies the parts of a step by; 1 is the default fit."""

    memory: float = 1.0
    prefill: float = 1.0
    layers: float = 1.0
    sequences: float = 1.0
    ttft: float = 1.0


def step_of(
    deployment: Deployment, workload: Workload, concurrency: Floats, efficiency: Efficiency = EFFICIENCY
) -> Step:
    """Returns the parts of a step with `concurrency` requests waiting for their tokens.

    Requests beyond what the cache holds wait (`in_flight` is capped).
    """
    d, model, gpu, n = deployment, deployment.model, deployment.gpu, deployment.parallel.tensor
    wall = d.memory.wall(workload.input_tokens, workload.output_tokens)
    in_flight = np.minimum(concurrency, max(wall.usable, 1))
    batch = in_flight / d.parallel.pipeline  # a stage works on its share while the others work on theirs
    per_rank = batch / d.parallel.data
    gpus = n * d.parallel.data
    bandwidth = gpu.bandwidth_gb_per_second * 1e9
    other, experts = d._read_bytes
    expert_time = experts * d.experts_touched(batch) / bandwidth
    other_time = other / bandwidth
    cache_time = per_rank * d.cache_bytes(workload.input_tokens + workload.output_tokens / 2) / bandwidth
    compute_time = 2 * model.compute_parameters * batch / gpus / d.operations_per_second
    bare = expert_time + other_time + cache_time
    expert_factor = efficiency.expert_weights if model.experts else 1.0
    memory_and_compute = gpu.software_time_ratio * (
        efficiency.memory * (expert_factor * (expert_time + other_time) + cache_time)
        + efficiency.compute * compute_time
    )
    fresh = workload.input_tokens - workload.cached_input_tokens
    prefill = d.prefill_operations(workload.input_tokens, workload.cached_input_tokens)
    own = gpu.software_time_ratio * prefill / gpus / d.operations_per_second
    # While one request writes its answer, each of the others is read once.
    turns = np.maximum(batch - 1, 0) / workload.output_tokens
    decode_transfer, latency = d.all_reduce_seconds(per_rank)
    prefill_transfer, _ = d.all_reduce_seconds(np.asarray([fresh]))
    reduces = 2 * model.layers
    layer = efficiency.expert_layer_seconds if model.experts else efficiency.dense_layer_seconds
    waiting = latency + efficiency.synchronise_seconds * math.log2(n)
    layers = model.layers * layer + reduces * (waiting + decode_transfer)
    own_prefill = efficiency.prefill * own + reduces * prefill_transfer + model.layers * layer
    return Step(
        memory_and_compute=memory_and_compute,
        prefill=turns * (efficiency.prefill * own + reduces * prefill_transfer),
        layers=np.broadcast_to(layers, in_flight.shape).astype(np.float64),
        sequences=efficiency.sequence_seconds * batch,
        bound=np.maximum(bare, compute_time),
        own_prefill=np.broadcast_to(own_prefill, in_flight.shape).astype(np.float64),
        in_flight=in_flight,
    )


@dataclass(frozen=True)
class Curve:
    """Estimates by concurrency (requests in or waiting for one engine), arrays of equal length."""

    method: Method
    concurrency: Floats
    ttft_ms: Floats
    tpot_ms: Floats
    requests_per_second: Floats
    bound_tpot_ms: Floats
    prefill_share: Floats
    gpus: int
    workload: Workload

    @property
    def output_tokens_per_second_per_gpu(self) -> Floats:
        """Of one GPU."""
        return self.requests_per_second * self.workload.output_tokens / self.gpus

    def at(self, index: int) -> "Estimate":
        """The estimate at one concurrency."""
        rate = float(self.requests_per_second[index])
        bands = BANDS[self.method]
        return Estimate(
            method=self.method,
            concurrency=float(self.concurrency[index]),
            ttft_ms=float(self.ttft_ms[index]),
            tpot_ms=float(self.tpot_ms[index]),
            requests_per_second=rate,
            output_tokens_per_second_per_gpu=rate * self.workload.output_tokens / self.gpus,
            input_tokens_per_second_per_gpu=rate * self.workload.input_tokens / self.gpus,
            bound_tpot_ms=float(self.bound_tpot_ms[index]),
            prefill_share_ratio=float(self.prefill_share[index]),
            tpot_band=bands["tpot"],
            ttft_band=bands["ttft"],
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """One operating point of one engine.

    `bound_tpot_ms` is the pure roofline, which no engine beats. `prefill_share_ratio` is the share of the engine's time
    that goes to prompts, by which a bill is split between input and output tokens.
    """

    method: Method
    concurrency: float
    ttft_ms: float
    tpot_ms: float
    requests_per_second: float
    output_tokens_per_second_per_gpu: float
    input_tokens_per_second_per_gpu: float
    bound_tpot_ms: float
    prefill_share_ratio: float
    tpot_band: Band
    ttft_band: Band


class Estimator(Protocol):
    """What every method answers."""

    @property
    def method(self) -> Method:
        """Its name."""
        ...

    def curve(self, deployment: Deployment, workload: Workload, concurrency: Floats) -> Curve:
        """Estimates at each concurrency; raises SizingError where the method knows nothing of the deployment."""
        ...


@dataclass(frozen=True)
class Roofline:
    """The embedded method; with other `factors` it is the calibrated one."""

    factors: Factors = field(default_factory=Factors)
    efficiency: Efficiency = EFFICIENCY
    method: Method = "roofline"

    def curve(self, deployment: Deployment, workload: Workload, concurrency: Floats) -> Curve:
        """See Estimator."""
        e = self.efficiency
        step = step_of(deployment, workload, concurrency, e)
        tpot = step.seconds(self.factors)
        share = np.clip(self.factors.prefill * step.prefill / tpot, 0, 1)
        others = e.ttft_queue * share * np.maximum(step.in_flight - 1, 0)
        own = e.ttft_steps * tpot + step.own_prefill * (e.ttft_prefill + others)
        # Beyond the cache's room a request waits for the answers before it (closed loop).
        queue = np.maximum(concurrency / step.in_flight - 1, 0) * workload.output_tokens * tpot
        ttft = own * self.factors.ttft + queue
        seconds = ttft + (workload.output_tokens - 1) * tpot
        reading = self.factors.prefill * step.own_prefill
        writing = workload.output_tokens * np.maximum(tpot - self.factors.prefill * step.prefill, step.bound)
        return Curve(
            method=self.method,
            concurrency=concurrency,
            ttft_ms=ttft * 1e3,
            tpot_ms=tpot * 1e3,
            requests_per_second=concurrency / seconds,  # Little's law
            bound_tpot_ms=step.bound * 1e3,
            prefill_share=reading / (reading + writing / step.in_flight),
            gpus=deployment.parallel.gpus,
            workload=workload,
        )


def concurrencies(limit: int) -> Floats:
    """1 to `limit` in steps of a fifth or less, `limit` included."""
    if limit < 1:
        return np.zeros(0)
    steps = math.ceil(math.log(limit) / math.log(1.2)) + 1
    return np.unique(np.round(np.geomspace(1, limit, steps))).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Targets:
    """What users are promised; None is no promise."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None

    def met(self, curve: Curve) -> npt.NDArray[np.bool_]:
        """Where on the curve both are kept."""
        ttft = np.inf if self.ttft_ms is None else self.ttft_ms
        tpot = np.inf if self.tpot_ms is None else self.tpot_ms
        return (curve.ttft_ms <= ttft) & (curve.tpot_ms <= tpot)


@dataclass(frozen=True, slots=True)
class OperatingPoints:
    """Where to run one engine.

    Attributes:
        highest: most tokens per second, whatever the latency.
        within_targets: most tokens per second that keeps the targets; None where no concurrency does.
        best_latency: of one request alone: what no setting undercuts.
    """

    highest: Estimate
    within_targets: Estimate | None
    best_latency: Estimate


def operating_points(
    deployment: Deployment, workload: Workload, targets: Targets, estimator: Estimator
) -> OperatingPoints:
    """Evaluates every concurrency that the cache holds.

    Raises:
        SizingError: the model leaves no room for one request of this size.
    """
    limit = deployment.memory.wall(workload.input_tokens, workload.output_tokens).usable
    if limit < 1:
        raise SizingError(
            f"{deployment.gpu.name} x {deployment.parallel.gpus} has no room for one request of "
            f"{workload.input_tokens + workload.output_tokens:g} tokens beside the weights"
        )
    curve = estimator.curve(deployment, workload, concurrencies(limit))
    rate = curve.output_tokens_per_second_per_gpu
    kept = targets.met(curve)
    return OperatingPoints(
        highest=curve.at(int(np.argmax(rate))),
        within_targets=curve.at(int(np.argmax(np.where(kept, rate, -1)))) if kept.any() else None,
        best_latency=curve.at(0),
    )


def estimate(
    deployment: Deployment, workload: Workload, concurrency: float, estimator: Estimator | None = None
) -> Estimate:
    """Returns the estimate at one concurrency, by the roofline unless another method is given."""
    if concurrency < 1:
        raise SizingError(f"--concurrency is {concurrency:g}; it must be 1 or more")
    return (estimator or Roofline()).curve(deployment, workload, np.asarray([concurrency], dtype=np.float64)).at(0)
