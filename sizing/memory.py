"""How much memory a model takes, and how many tokens and requests the rest holds.

Formulas and constants: docs/sizing.md, "Memory", with their sources. All sizes in bytes unless the name says GiB.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from sizing.errors import SizingError
from sizing.gpus import Gpu
from sizing.model_config import Cache, Model, Weight
from sizing.precision import Scheme, scheme_for

GIB = 1024**3
BLOCK_TOKENS = 16  # vLLM's page of the cache
Engine = Literal["vllm", "sglang", "trtllm"]
ENGINES: tuple[Engine, ...] = ("vllm", "sglang", "trtllm")
CURRENT_VLLM = "0.33.0"  # the wheel the accounting was read from (reference, 2026-11)

KV_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0}
# vLLM's layout for latents: 512 FP8 numbers, 4 FP32 scales and 64 BF16 rope numbers in 656 bytes for each token and
# layer of 576 numbers (reference 1.3, there unverified).
LATENT_KV_BYTES = {"fp8_ds_mla": 656 / 576}


@dataclass(frozen=True, slots=True)
class Parallel:
    """How one copy of a model is spread.

    Attributes:
        tensor: GPUs that share each layer.
        pipeline: stages that share the layers.
        data: attention copies in the engine (data-parallel attention); each holds its own requests.
        is_expert: experts are spread over tensor x data GPUs instead of cut by `tensor`.
    """

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    is_expert: bool = False

    @property
    def gpus(self) -> int:
        """GPUs of one copy."""
        return self.tensor * self.pipeline * self.data


def check_parallel(model: Model, parallel: Parallel) -> None:
    """Raises SizingError where the model cannot be cut so, with the degrees that work."""
    for name, degree in (("tensor", parallel.tensor), ("pipeline", parallel.pipeline), ("data", parallel.data)):
        if degree < 1:
            raise SizingError(f"{name} parallel degree is {degree}; it must be 1 or more")
    if parallel.tensor not in tensor_degrees(model, limit=parallel.tensor):
        degrees = tensor_degrees(model)
        kv = "" if model.is_latent else f" and {model.kv_heads} KV heads"
        raise SizingError(
            f"tensor parallel {parallel.tensor} does not divide the model's {model.attention_heads} attention heads"
            f"{kv}; possible are {', '.join(map(str, degrees))}"
        )
    if width := _uneven_mlp(model, parallel):
        remedy = "; spread the experts instead (expert parallelism)" if model.experts else ""
        raise SizingError(f"tensor parallel {parallel.tensor} does not divide a layer of width {width}{remedy}")
    if parallel.pipeline > model.layers:
        raise SizingError(f"pipeline parallel {parallel.pipeline} is more than the model's {model.layers} layers")
    if parallel.is_expert and not model.experts:
        raise SizingError("expert parallelism needs a model with experts; this one is dense")


def tensor_degrees(model: Model, limit: int = 16) -> list[int]:
    """Degrees up to `limit` that divide the attention heads, and divide or are divided by the KV heads."""
    return [
        degree
        for degree in range(1, limit + 1)
        if model.attention_heads % degree == 0
        and (model.is_latent or model.kv_heads % degree == 0 or degree % model.kv_heads == 0)
    ]


def _uneven_mlp(model: Model, parallel: Parallel) -> int | None:
    """Width of a feed-forward layer that the degree does not divide; None where all are cut evenly."""
    cut = [
        weight.shape[0]
        for weight in model.weights
        if weight.name.endswith("gate_proj") and not (parallel.is_expert and weight.shard == "expert")
    ]
    return next((width for width in cut if width % parallel.tensor), None)


# --- weights ---------------------------------------------------------------------------------------------------------


def weight_bytes(model: Model, precision: str | Scheme | None = None) -> float:
    """Bytes of all weights as stored, scales included; `precision` None is the checkpoint's own."""
    scheme = precision if isinstance(precision, Scheme) else scheme_for(model, precision)
    return sum(sum(scheme.weight_bytes(weight)) * weight.copies for weight in model.weights)


def _share(weight: Weight, model: Model, parallel: Parallel) -> float:
    """The part of one weight that the fullest GPU of a stage holds."""
    if weight.shard == "tensor":
        return 1 / parallel.tensor
    if weight.shard == "kv":  # fewer KV heads than GPUs: they are repeated
        return 1 / min(parallel.tensor, weight.kv_heads or model.kv_heads)
    if weight.shard == "expert":
        if parallel.is_expert:
            return math.ceil(weight.copies / (parallel.tensor * parallel.data)) / weight.copies
        return 1 / parallel.tensor
    return 1.0


def _stages(model: Model, pipeline: int) -> list[range]:
    """Layers of each stage as vLLM cuts them: what does not divide goes to the stages before the last."""
    sizes = [model.layers // pipeline] * pipeline
    for number in range(model.layers % pipeline):
        sizes[-2 - number] += 1
    starts = [sum(sizes[:index]) for index in range(pipeline)]
    return [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]


def weight_bytes_per_gpu(
    model: Model, precision: str | Scheme | None = None, parallel: Parallel = Parallel()
) -> list[float]:
    """Bytes of weights on the fullest GPU of each pipeline stage, as vLLM holds them after loading."""
    scheme = precision if isinstance(precision, Scheme) else scheme_for(model, precision)
    check_parallel(model, parallel)
    stages = _stages(model, parallel.pipeline)
    totals = [0.0] * len(stages)
    for weight in model.weights:
        sizes = scheme.weight_bytes(weight)
        each = weight.copies * _share(weight, model, parallel)
        each *= scheme.precision.loaded_ratio if weight.part in scheme.parts else 1.0
        if weight.layers:
            stage_of = {layer: number for number, stage in enumerate(stages) for layer in stage}
            for layer, size in zip(weight.layers, sizes, strict=True):
                totals[stage_of[layer]] += size * each
        elif weight.part == "embedding":
            totals[0] += sizes[0] * each
            if model.is_tied and len(stages) > 1:
                totals[-1] += sizes[0] * each  # the last stage multiplies with it
        else:
            totals[-1] += sizes[0] * each
    return totals


# --- cache -----------------------------------------------------------------------------------------------------------


def _kv_bytes_each(model: Model, kv_precision: str) -> float:
    known = {**KV_BYTES, **LATENT_KV_BYTES} if model.is_latent else KV_BYTES
    if kv_precision not in known:
        raise SizingError(f"--kv-precision {kv_precision!r} is not one of this model; write {', '.join(known)}")
    return known[kv_precision]


def default_kv_precision(model: Model) -> str:
    """fp8 where the checkpoint brings scales for it, else 16 bit."""
    scheme = scheme_for(model)
    return "fp8" if scheme.is_checkpoint and scheme.kv_bits == 8 else "bf16"


def kv_bytes_per_token(model: Model, kv_precision: str = "bf16", *, tensor: int = 1) -> float:
    """Bytes per token of context with every layer at full length, on one GPU of `tensor`.

    2·layers·KV heads·head size·bytes, or layers·latent·bytes, which no GPU can cut. KV heads are repeated where there
    are fewer of them than GPUs.
    """
    each = _kv_bytes_each(model, kv_precision)
    return sum(
        cache.layers * (cache.elements_per_token * each / min(tensor, cache.heads) + cache.fixed_bytes_per_token)
        for cache in model.caches
    )


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds if windows save nothing (`low`), and if they save all that they can (`high`)."""

    low: float
    high: float


def kv_bytes_per_sequence(
    model: Model,
    tokens: float,
    kv_precision: str = "bf16",
    *,
    tensor: int = 1,
    batched_tokens: int = 0,
    block_tokens: int = 1,
) -> Bounds:
    """Bytes that a sequence of `tokens` keeps on one GPU: `low` with true windows, `high` with all layers full.

    A sliding layer keeps min(tokens, window - 1 + tokens in flight), in whole blocks and one more (vLLM).
    A linear-attention layer keeps a constant state.
    """
    each = _kv_bytes_each(model, kv_precision)

    def of(cache: Cache, kept: float) -> float:
        per_token = cache.elements_per_token * each / min(tensor, cache.heads) + cache.fixed_bytes_per_token
        whole = math.ceil(kept / block_tokens) * block_tokens
        return cache.layers * (whole * per_token + cache.state_bytes / min(tensor, cache.heads))

    def windowed(cache: Cache) -> float:
        if cache.window_tokens is None:
            return tokens
        kept = min(cache.window_tokens - 1 + max(batched_tokens, 1), tokens)
        return min(kept + (block_tokens if block_tokens > 1 else 0), tokens)

    return Bounds(
        low=sum(of(cache, windowed(cache)) for cache in model.caches),
        high=sum(of(cache, tokens) for cache in model.caches),
    )


# --- the engine's accounting -----------------------------------------------------------------------------------------


def _version(text: str) -> tuple[int, int]:
    numbers = text.removeprefix("v").split(".")
    try:
        return int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0
    except ValueError:
        raise SizingError(f"engine version {text!r} is none; write one such as {CURRENT_VLLM}") from None


# v0.21 subtracts the memory of CUDA graphs, and takes 0.92 of the card instead of 0.90 (vLLM pull request 38284; the
# wheel of 0.33.0).
_GRAPHS_SUBTRACTED_FROM = (0, 21)
# V1, the default engine from 0.8, profiles with a step's tokens; V0 did so with the longest prompt.
_V1_FROM = (0, 8)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The engine's own settings; None is its default."""

    engine: Engine = "vllm"
    version: str = CURRENT_VLLM
    utilization: float | None = None
    max_batched_tokens: int | None = None
    max_sequences: int | None = None

    def __post_init__(self) -> None:
        """Refuses what no engine takes."""
        if self.engine not in ENGINES:
            raise SizingError(f"--engine {self.engine!r} is not known; write one of {', '.join(ENGINES)}")
        if self.utilization is not None and not 0 < self.utilization <= 1:
            raise SizingError(f"--utilization is {self.utilization}; it must lie above 0 and at most at 1")
        _version(self.version)

    @property
    def memory_share(self) -> float:
        """Share of the card: of all of it (vLLM, SGLang), or of what is free after loading (TensorRT-LLM)."""
        if self.utilization is not None:
            return self.utilization
        if self.engine == "vllm":
            return 0.92 if _version(self.version) >= _GRAPHS_SUBTRACTED_FROM else 0.90
        return 0.90  # TensorRT-LLM's free_gpu_memory_fraction; SGLang's mem_fraction_static lies around it

    @property
    def subtracts_graphs(self) -> bool:
        """Whether the memory of CUDA graphs is taken off the pool."""
        return self.engine != "vllm" or _version(self.version) >= _GRAPHS_SUBTRACTED_FROM

    def batched_tokens(self, gpu: Gpu, max_context_tokens: int) -> int:
        """Tokens of one step, which vLLM profiles with."""
        if self.max_batched_tokens is not None:
            return self.max_batched_tokens
        if self.engine == "vllm" and _version(self.version) < _V1_FROM:
            return max(max_context_tokens, 2048)
        return 8192 if _is_large(gpu) else 2048

    def sequences(self, gpu: Gpu) -> int:
        """Requests of one step at most."""
        if self.max_sequences is not None:
            return self.max_sequences
        if self.engine == "vllm" and _version(self.version) < _V1_FROM:
            return 256
        return 1024 if _is_large(gpu) else 256


def _is_large(gpu: Gpu) -> bool:
    """The cards for which vLLM takes large steps by default: 70 GiB and more, but not the A100 (arg_utils.py)."""
    return gpu.usable_gib >= 70 and not gpu.name.startswith("A100")


@dataclass(frozen=True, slots=True)
class Overheads:
    """What an engine takes beside weights and cache on each GPU, in GiB."""

    non_torch_gib: float
    activation_gib: float
    graphs_gib: float


# Fitted to the start-up logs of the reference (1.4): non-torch 0.05-0.3 on one GPU, 0.9-2.5 with NCCL; graphs 0.3-0.8
# on one GPU, 2.4-5 for large mixtures of experts; five copies of the logits in the sampler.
_NON_TORCH_GIB, _NON_TORCH_NCCL_GIB = 0.2, 1.3
_GRAPHS_GIB, _GRAPHS_TENSOR_GIB, _GRAPHS_EXPERTS_GIB = 0.7, 0.5, 1.5
LOGIT_COPIES = 5


def estimate_overheads(
    model: Model, gpu: Gpu, settings: EngineSettings, parallel: Parallel, max_context_tokens: int
) -> Overheads:
    """Estimates what a start-up log would show beside the weights; good to about 40 % of itself (docs/sizing.md).

    Activations: T·(3·I/TP + 4·h)·2 bytes for T tokens of a step (reference 1.4), with the chosen experts' width for I,
    and the sampler's copies of the logits.
    """
    tokens = settings.batched_tokens(gpu, max_context_tokens)
    width = 3 * model.intermediate_size / parallel.tensor + 4 * model.hidden_size
    if model.experts:
        cut = 1 if parallel.is_expert else parallel.tensor
        expert = next(weight.shape[0] for weight in model.weights if weight.part == "routed_expert")
        width = max(width, model.experts_per_token * (3 * expert / cut + model.hidden_size) + 4 * model.hidden_size)
    logits = settings.sequences(gpu) * model.vocab_size * 4 * LOGIT_COPIES
    several = parallel.tensor * parallel.data * parallel.pipeline > 1
    return Overheads(
        non_torch_gib=_NON_TORCH_GIB + (_NON_TORCH_NCCL_GIB if several else 0),
        activation_gib=(tokens * width * 2 + logits) / GIB,
        graphs_gib=_GRAPHS_GIB
        + (_GRAPHS_TENSOR_GIB if several else 0)
        + (_GRAPHS_EXPERTS_GIB if several and model.experts else 0),
    )


def kv_pool_gib(total_gib: float, weights_gib: float, overheads: Overheads, settings: EngineSettings) -> float:
    """What the engine leaves for the cache on one GPU, in GiB; negative where it does not start.

    vLLM: share x total - weights - non-torch - activations, and less the CUDA graphs since v0.21.
    """
    taken = weights_gib + overheads.non_torch_gib + overheads.activation_gib
    if settings.subtracts_graphs:
        taken += overheads.graphs_gib
    if settings.engine == "trtllm":
        return (total_gib - taken) * settings.memory_share
    return total_gib * settings.memory_share - taken


@dataclass(frozen=True)
class Memory:
    """What one GPU of the fullest stage holds, and what fits into it.

    Attributes:
        max_context_tokens: length the pool is counted at.
        pool_gib: for the cache per GPU; negative where weights and buffers alone are too much.
        blocks: pages of the pool, the least of all stages.
    """

    model: Model
    scheme: Scheme
    gpu: Gpu
    parallel: Parallel
    settings: EngineSettings
    kv_precision: str
    max_context_tokens: int
    weights_gib: float
    overheads: Overheads
    pool_gib: float
    blocks: int
    sequence_low_bytes: float
    sequence_high_bytes: float

    @property
    def fits(self) -> bool:
        """Whether the engine starts: one request of the whole context has room, windows counted."""
        return self.pool_gib > 0 and self.max_concurrency.high >= 1

    @cached_property
    def max_concurrency(self) -> Bounds:
        """Requests of the whole context at once, in one engine: all layers full, and with true windows."""
        if self.pool_gib <= 0:
            return Bounds(0, 0)
        full = self.blocks / math.ceil(self.max_context_tokens / BLOCK_TOKENS)
        windows = any(cache.window_tokens or cache.state_bytes for cache in self.model.caches)
        data = self.parallel.data
        if not windows:
            return Bounds(full * data, full * data)
        pool = self.pool_gib * GIB
        return Bounds(pool / self.sequence_high_bytes * data, pool / self.sequence_low_bytes * data)

    @property
    def pool_tokens(self) -> Bounds:
        """Tokens of context in the cache of one engine, as vLLM logs them: concurrency times context."""
        both = self.max_concurrency
        return Bounds(int(both.low * self.max_context_tokens), int(both.high * self.max_context_tokens))

    def wall(self, input_tokens: float, output_tokens: float) -> "Wall":
        """Requests at once before the cache is full, for requests of this size."""
        return concurrency_wall(self, input_tokens, output_tokens)


@dataclass(frozen=True, slots=True)
class Wall:
    """Requests at once before the cache is full.

    `worst` if all are at their longest and windows save nothing, `average` over their lives with true windows, `engine`
    by its setting.
    """

    worst: int
    average: int
    engine: int

    @property
    def usable(self) -> int:
        """What to plan with: the average, at most what the engine takes."""
        return min(self.average, self.engine)


def concurrency_wall(memory: Memory, input_tokens: float, output_tokens: float) -> Wall:
    """Requests before the pool is full: (input + output) each at worst, input + output/2 on average (Little)."""
    if memory.pool_gib <= 0:
        return Wall(0, 0, 0)
    pool = memory.pool_gib * GIB * memory.parallel.data
    tensor = memory.parallel.tensor

    def holds(tokens: float, *, with_windows: bool) -> int:
        size = kv_bytes_per_sequence(
            memory.model, tokens, memory.kv_precision, tensor=tensor, block_tokens=BLOCK_TOKENS
        )
        # The stage with the most cache per token fills first; stages share the layers evenly.
        return int(pool / ((size.low if with_windows else size.high) / memory.parallel.pipeline))

    return Wall(
        worst=holds(input_tokens + output_tokens, with_windows=False),
        average=holds(input_tokens + output_tokens / 2, with_windows=True),
        engine=memory.settings.sequences(memory.gpu) * memory.parallel.data,
    )


def size_memory(
    model: Model,
    gpu: Gpu,
    *,
    precision: str | None = None,
    kv_precision: str | None = None,
    parallel: Parallel = Parallel(),
    settings: EngineSettings = EngineSettings(),
    max_context_tokens: int | None = None,
    total_gib: float | None = None,
    weights_gib: float | None = None,
    overheads: Overheads | None = None,
) -> Memory:
    """Accounts for the memory of one engine as it would at start-up.

    `total_gib`, `weights_gib` and `overheads` replace what is estimated by what a log says.

    Raises:
        SizingError: the model cannot be cut so, the context is longer than the model allows, or it has no stated limit.
    """
    scheme = scheme_for(model, precision)
    context = context_of(model, max_context_tokens)
    kv = kv_precision or default_kv_precision(model)
    stages = weight_bytes_per_gpu(model, scheme, parallel)
    total = gpu.usable_gib if total_gib is None else total_gib
    extra = overheads or estimate_overheads(model, gpu, settings, parallel, context)
    layer_counts = [len(stage) for stage in _stages(model, parallel.pipeline)]
    per_token = kv_bytes_per_token(model, kv, tensor=parallel.tensor)
    weights = [size / GIB for size in stages] if weights_gib is None else [weights_gib] * len(stages)
    pools = [kv_pool_gib(total, held, extra, settings) for held in weights]
    blocks = [_blocks(pool, per_token * count / model.layers) for pool, count in zip(pools, layer_counts, strict=True)]
    fullest = min(range(len(stages)), key=lambda number: blocks[number])
    sequence = kv_bytes_per_sequence(
        model,
        context,
        kv,
        tensor=parallel.tensor,
        batched_tokens=settings.batched_tokens(gpu, context),
        block_tokens=BLOCK_TOKENS,
    )
    share = layer_counts[fullest] / model.layers
    return Memory(
        model=model,
        scheme=scheme,
        gpu=gpu,
        parallel=parallel,
        settings=settings,
        kv_precision=kv,
        max_context_tokens=context,
        weights_gib=weights[fullest],
        overheads=extra,
        pool_gib=pools[fullest],
        blocks=blocks[fullest],
        sequence_low_bytes=sequence.low * share,
        sequence_high_bytes=sequence.high * share,
    )


def context_of(model: Model, asked: int | None) -> int:
    """The longest sequence to plan for: what is asked, else what the model allows.

    Raises:
        SizingError: more than the model allows, or nothing is asked and its limit is not known.
    """
    limit = model.max_context_tokens
    if asked is None:
        if limit is None:
            raise SizingError("config.json: max_position_embeddings is missing; give the context with --context")
        return limit
    if asked < 1:
        raise SizingError(f"--context is {asked}; it must be 1 token or more")
    if limit is not None and asked > limit:
        raise SizingError(
            f"--context {asked} is longer than the {limit} tokens the model allows; ask for {limit} or less"
        )
    return asked


def _blocks(pool_gib: float, bytes_per_token: float) -> int:
    if pool_gib <= 0 or bytes_per_token <= 0:
        return 0
    return int(pool_gib * GIB // (bytes_per_token * BLOCK_TOKENS))


def pool_tokens_from_gib(
    pool_gib: float, model: Model, kv_precision: str = "bf16", *, tensor: int = 1, max_context_tokens: int
) -> int:
    """Tokens that vLLM logs for a pool of so many GiB per GPU: int(blocks / blocks of one request x context)."""
    blocks = _blocks(pool_gib, kv_bytes_per_token(model, kv_precision, tensor=tensor))
    return int(blocks / math.ceil(max_context_tokens / BLOCK_TOKENS) * max_context_tokens)


def shared_prefix_tokens_saved(prefix_tokens: int, sequences: int) -> int:
    """Tokens that `sequences` with one common prefix need not keep: whole blocks, once instead of each."""
    return max(sequences - 1, 0) * (prefix_tokens // BLOCK_TOKENS * BLOCK_TOKENS)


def draft_layers_ratio(model: Model, draft_layers: int) -> float:
    """Factor on the cache per token for a draft model of `draft_layers` like layers (EAGLE: one)."""
    return 1 + draft_layers / model.layers
