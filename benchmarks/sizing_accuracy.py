"""How well sizing does on measurements of others: cache sizes of start-up logs, latency of serving points.

    python -m benchmarks.sizing_accuracy ../shared/samples          # print the bars
    python -m benchmarks.sizing_accuracy ../shared/samples --fit    # fit sizing.throughput.EFFICIENCY anew
    python -m benchmarks.sizing_accuracy ../shared/samples --aiconfigurator 60  # the extra, on 60 of the points

Latency is judged by cross-validation: models, GPUs or deployments are held out whole, and the factors fitted to the
rest. Calibration: three points of a deployment are drawn at random, the others estimated; twelve draws each.
A deployment is a model, GPU, engine with its version, precision and parallel layout.
"""

import argparse
import csv
import itertools
import math
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from orchestration.sizing_inputs import known_gpus, read_model
from sizing.calibration import LEAST_POINTS, Point, calibrate
from sizing.choices import Demand, grid
from sizing.errors import SizingError
from sizing.memory import (
    CURRENT_VLLM,
    GIB,
    LOGIT_COPIES,
    EngineSettings,
    Parallel,
    draft_layers_ratio,
    pool_tokens_from_gib,
    size_memory,
)
from sizing.model_config import Model
from sizing.throughput import EFFICIENCY, Deployment, Efficiency, Roofline, Workload, step_of

Floats = npt.NDArray[np.float64]
MODEL_CONFIGS = Path(__file__).parents[1] / "examples" / "model_configs"
DRAWS = 12
FOLDS = 10
MEMORY_BAR, UNCALIBRATED_BAR, CALIBRATED_BAR, TTFT_BAR = 0.05, 0.18, 0.10, 0.40

# --- start-up logs ---------------------------------------------------------------------------------------------------

# Model of each log with its config, GPU, precision and draft layers. Left out: the two-GPU log, whose pool is that of
# the fullest rank of an uneven machine (reference 1.5).
LOGS = {
    "Llama-3-8B": ("meta-llama--Llama-3.1-8B-Instruct", "A100-SXM-40GB", None, 0),
    "Llama-3.1-8B+EAGLE(1 layer)": ("meta-llama--Llama-3.1-8B-Instruct", "H100-SXM-80GB", None, 1),
    "Qwen2.5-0.5B": ("Qwen--Qwen2.5-0.5B", "T4-16GB", None, 0),
    "Qwen2.5-1.5B": ("Qwen--Qwen2.5-1.5B", "T4-16GB", None, 0),
    "Qwen3-14B": ("Qwen--Qwen3-14B", "L40S-48GB", None, 0),
    "Qwen3-14B-AWQ": ("Qwen--Qwen3-14B", "L40S-48GB", "awq", 0),
    "Qwen3-4B": ("Qwen--Qwen3-4B", "RTX-5090-32GB", None, 0),
    "Qwen3-4B-FP8": ("Qwen--Qwen3-4B", "RTX-5090-32GB", "fp8", 0),
    "gpt-oss-120b": ("openai--gpt-oss-120b", "H100-SXM-80GB", None, 0),
}


def memory_report(samples: Path) -> bool:
    """Prints tokens of the cache from GPU name and config alone, and from the logged pool; whether both bars hold."""
    gpus = known_gpus()
    alone, from_pool = [], []
    pools = []  # per log: its pool, ours without what is constant, and the logits of one copy
    print("Cache of start-up logs: tokens, estimated from GPU and config alone")
    with (samples / "sizing" / "vllm_kv_logs" / "kv_reference_points.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["model"] not in LOGS:
                continue
            config, gpu, precision, draft = LOGS[row["model"]]
            model = long_context(read_model(MODEL_CONFIGS / f"{config}.json"))
            context = int(row["max_model_len"] or 131_072)
            share = float(row["util"]) if row["util"] else None
            settings = EngineSettings(version=CURRENT_VLLM, utilization=share)
            memory = size_memory(model, gpus[gpu], precision=precision, settings=settings, max_context_tokens=context)
            ratio, logged = draft_layers_ratio(model, draft), int(row["kv_tokens_logged"])
            tokens = memory.pool_tokens.low / ratio
            pool = float(row["available_kv_gib_per_gpu"]) / ratio
            alone.append(abs(tokens / logged - 1))
            copy_gib = settings.sequences(memory.gpu) * model.vocab_size * 4 / GIB
            constant = memory.overheads.non_torch_gib + memory.overheads.graphs_gib + LOGIT_COPIES * copy_gib
            pools.append((pool, (memory.pool_gib + constant) / ratio, copy_gib / ratio, 1 / ratio))
            from_pool.append(abs(pool_tokens_from_gib(pool, model, max_context_tokens=context) / logged - 1))
            print(
                f"  {row['model']:28} {gpu:15} logged {logged:8,}  estimated {tokens:10,.0f}"
                f"  {tokens / logged - 1:+7.1%}"
            )
    held_out = []
    for at in range(len(pools)):
        chosen = _overheads_of(pools[:at] + pools[at + 1 :])
        held_out += [abs(error) for error in _pool_errors(pools[at : at + 1], *chosen)]
    return all(
        (
            bar("median error from GPU and config alone", statistics.median(alone), MEMORY_BAR),
            bar("the same, overheads set without the log", statistics.median(held_out), MEMORY_BAR),
            bar("worst error from the logged pool", max(from_pool), 0.001),
        )
    )


def _pool_errors(pools: Sequence[tuple[float, ...]], constant_gib: float, copies: float) -> list[float]:
    """Relative errors of pools, with a constant and so many copies of the logits taken off."""
    return [(without - constant_gib * scale - copies * copy_gib) / pool - 1 for pool, without, copy_gib, scale in pools]


def _overheads_of(pools: Sequence[tuple[float, ...]]) -> tuple[float, float]:
    """The constant in GiB and the copies of the logits under which the pools of these logs come out best."""
    tried = itertools.product(np.arange(0, 3, 0.05), range(9))
    return min(tried, key=lambda pair: sum(abs(error) for error in _pool_errors(pools, *pair)))


def long_context(model: Model) -> Model:
    """Logs that were started beyond the model's own limit (with YaRN) are taken as they are."""
    return replace(model, max_context_tokens=max(model.max_context_tokens or 0, 131_072))


# --- serving points --------------------------------------------------------------------------------------------------

CONFIG_OF = {
    "DeepSeek-R1": "deepseek-ai--DeepSeek-V3",
    "DeepSeek-V3": "deepseek-ai--DeepSeek-V3",
    "GLM-5": "zai-org--GLM-5-FP8",
    "Kimi-K2.5": "moonshotai--Kimi-K2.5",
    "Llama-3.1-8B-Instruct": "meta-llama--Llama-3.1-8B-Instruct",
    "Llama-3.1-8B-Instruct-FP8": "meta-llama--Llama-3.1-8B-Instruct",
    "MiniMax-M2.5": "MiniMaxAI--MiniMax-M2.5",
    "Qwen3-235B-A22B-FP8": "Qwen--Qwen3-235B-A22B-FP8",
    "Qwen3-32B": "Qwen--Qwen3-32B",
    "Qwen3.5-397B-A17B": "Qwen--Qwen3.5-397B-A17B",
    "gpt-oss-120b": "openai--gpt-oss-120b",
}
GPU_OF = {"h100_sxm": "H100-SXM-80GB", "h200_sxm": "H200-SXM-141GB"}
# Precisions to convert to where the checkpoint is in 16 bit; others are served as they are.
CONVERTED = {"fp8": "fp8", "fp8_block": "fp8_block"}


@dataclass(frozen=True)
class Serving:
    """One measured point."""

    model: str
    engine: str
    label: str
    deployment: Deployment
    workload: Workload
    concurrency: float
    tpot_ms: float
    ttft_ms: float

    @property
    def gpu(self) -> str:
        """Its name."""
        return self.deployment.gpu.name


def read_points(samples: Path) -> list[Serving]:
    """The aggregated points of silicon_sample.csv; two records of one measurement count once.

    Layouts: `tp_size` 64 stands where a second record of the same run says 8 with 8-way expert parallelism, so at most
    eight GPUs are taken. Where attention_dp_size is empty and the experts are on more GPUs than tp_size, attention is
    data-parallel. Concurrency is `silicon_concurrency` of the source where it is stated, else batch size times copies.
    """
    gpus = known_gpus()
    models = {name: read_model(MODEL_CONFIGS / f"{config}.json") for name, config in CONFIG_OF.items()}
    seen: dict[object, Serving] = {}
    path = samples / "sizing" / "aiconfigurator_core_0.12.0" / "silicon_sample.csv"
    with path.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            name = row["model_path"].split("/")[-1]
            if row["mode"] != "agg" or name not in models:
                continue
            model = models[name]
            parallel, concurrency = layout(row, model)
            precision = None if model.quantization else CONVERTED.get(row["gemm_quant_mode"])
            gpu = gpus[GPU_OF[row["system"]]]
            workload = Workload(int(row["isl"]), int(row["osl"]))
            memory = size_memory(
                model,
                gpu,
                precision=precision,
                parallel=parallel,
                max_context_tokens=int(workload.input_tokens + workload.output_tokens),
            )
            family = CONFIG_OF[name]
            # As the record says, not as we read it: the 64 of one record had other settings than the 8 of its like.
            stated = "/".join(row[key] or "-" for key in ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size"))
            label = " ".join((family, gpu.name, row["backend"], row["backend_version"], memory.scheme.name, stated))
            tpot = float(row["silicon_tpot_ms"])
            key = (label, workload, concurrency, round(tpot, 3))
            seen[key] = Serving(
                family,
                row["backend"],
                label,
                Deployment(memory),
                workload,
                concurrency,
                tpot,
                float(row["silicon_ttft_ms"]),
            )
    return list(seen.values())


def layout(row: dict[str, str], model: Model) -> tuple[Parallel, float]:
    """Parallel layout and requests in flight of one record."""
    tensor, data = int(row["tp_size"]), int(row["attention_dp_size"] or 1)
    experts_cut, experts_spread = (max(int(row[key] or 1), 1) for key in ("moe_tp_size", "moe_ep_size"))
    if model.experts and not row["attention_dp_size"] and experts_cut * experts_spread > tensor:
        data = experts_cut * experts_spread // tensor
    if tensor * data > 8:
        tensor, data = (1, 8) if data > 1 else (math.isqrt(tensor), 1)
    stated = re.search(r"silicon_concurrency=(\d+)", row["silicon_data_source"])
    concurrency = float(stated[1]) if stated else float(row["batch_size"]) * data
    return Parallel(tensor, data=data, is_expert=bool(model.experts) and experts_spread > 1), concurrency


# --- the fit ---------------------------------------------------------------------------------------------------------

FITTED = (
    "memory", "expert_weights", "compute", "prefill", "dense_layer_seconds", "expert_layer_seconds",
    "synchronise_seconds", "sequence_seconds",
)  # fmt: skip
# Round values one would guess, and how far (in logarithms) the data may move each: what keeps a fit without some model
# or GPU from running away.
PRIOR = np.log([1.25, 1.5, 1.6, 1.6, 2e-5, 5e-5, 5e-6, 2e-5])
PRIOR_SD = np.array([0.3, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0])
PRIOR_WEIGHT, ROBUST = 2.0, 0.1
BARE = replace(
    EFFICIENCY,
    memory=0,
    expert_weights=0,
    compute=0,
    prefill=0,
    dense_layer_seconds=0,
    expert_layer_seconds=0,
    synchronise_seconds=0,
    sequence_seconds=0,
)


class Terms:
    """The parts of each point's step, so that a step is a sum over them times the factors."""

    def __init__(self, points: Sequence[Serving]) -> None:
        probes = [
            replace(BARE, memory=1),
            replace(BARE, memory=1, expert_weights=1),
            *(replace(BARE, **{name: 1}) for name in FITTED[2:]),
        ]
        rows = []
        for point in points:
            at = np.array([point.concurrency])
            zero = self._total(point, at, BARE)
            rows.append([zero, *(self._total(point, at, probe) - zero for probe in probes)])
        table = np.array(rows)
        self.constant, self.cache = table[:, 0], table[:, 1]
        self.weights = table[:, 2] - table[:, 1]
        self.rest = table[:, 3:]
        self.is_expert = np.array([point.deployment.model.experts > 0 for point in points])
        # Without experts the factor does not apply: all that `memory` multiplies is in the first probe.
        self.tpot = np.array([point.tpot_ms / 1e3 for point in points])

    @staticmethod
    def _total(point: Serving, at: Floats, efficiency: Efficiency) -> float:
        step = step_of(point.deployment, point.workload, at, efficiency)
        return float((step.memory_and_compute + step.prefill + step.layers + step.sequences)[0])

    def step(self, logs: Floats, rows: npt.NDArray[np.int64]) -> Floats:
        """Seconds of a step of the named rows."""
        factor = np.exp(logs)
        memory = factor[0] * (self.cache[rows] + factor[1] * self.weights[rows])
        return self.constant[rows] + memory + self.rest[rows] @ factor[2:]

    def fit(self, rows: npt.NDArray[np.int64]) -> Floats:
        """Logarithms of the factors that fit the named rows best, robustly and near the prior."""

        def residuals(logs: Floats) -> Floats:
            gap = np.log(self.step(logs, rows) / self.tpot[rows])
            soft = np.sign(gap) * ROBUST * np.sqrt(2 * (np.sqrt(1 + (gap / ROBUST) ** 2) - 1))
            return np.concatenate([soft, PRIOR_WEIGHT * (logs - PRIOR) / PRIOR_SD])

        least = np.log([1, 1, 1, 1, 1e-9, 1e-9, 1e-9, 1e-9])
        most = np.log([5, 8, 8, 8, 1e-3, 1e-3, 1e-4, 1e-3])
        return np.asarray(least_squares(residuals, PRIOR, bounds=(least, most)).x)


def efficiency_of(logs: Floats, base: Efficiency = EFFICIENCY) -> Efficiency:
    """The factors as sizing takes them."""
    return replace(base, **dict(zip(FITTED, (float(value) for value in np.exp(logs)), strict=True)))


def fit_ttft(points: Sequence[Serving], efficiency: Efficiency) -> Efficiency:
    """Adds the three factors of the time to first token, fitted to the logarithm of what was measured."""

    def with_factors(logs: Floats) -> Efficiency:
        steps, prefill, queue = (float(value) for value in np.exp(logs))
        return replace(efficiency, ttft_steps=steps, ttft_prefill=prefill, ttft_queue=queue)

    def residuals(logs: Floats) -> Floats:
        gap = np.array([math.log(ttft_of(point, with_factors(logs)) / point.ttft_ms) for point in points])
        return np.asarray(np.sign(gap) * np.sqrt(2 * (np.sqrt(1 + (gap / 0.3) ** 2) - 1)))

    return with_factors(np.asarray(least_squares(residuals, np.log([5.0, 2.0, 0.2])).x))


def ttft_of(point: Serving, efficiency: Efficiency) -> float:
    """Estimated milliseconds to the first token."""
    curve = Roofline(efficiency=efficiency).curve(point.deployment, point.workload, np.array([point.concurrency]))
    return float(curve.ttft_ms[0])


# --- the reports -----------------------------------------------------------------------------------------------------


def bar(what: str, value: float, limit: float) -> bool:
    """Prints one measured figure beside its bar; whether it holds."""
    held = value <= limit
    print(f"  {'ok  ' if held else 'MISS'} {what}: {value:.1%} (bar {limit:.1%})")
    return held


def folds(points: Sequence[Serving], group: Callable[[Serving], str]) -> npt.NDArray[np.int64]:
    """Number of the fold of each point: groups whole, at most ten folds."""
    names = sorted({group(point) for point in points})
    fold = {name: number % FOLDS if len(names) > 2 * FOLDS else number for number, name in enumerate(names)}
    return np.array([fold[group(point)] for point in points])


def held_out(terms: Terms, fold: npt.NDArray[np.int64]) -> Floats:
    """Estimated seconds of every point from factors fitted without its fold."""
    found = np.zeros(len(fold))
    for number in np.unique(fold):
        rows = np.flatnonzero(fold == number)
        found[rows] = terms.step(terms.fit(np.flatnonzero(fold != number)), rows)
    return found


def latency_report(points: list[Serving]) -> bool:
    """Prints errors of TPOT held out by model, GPU and deployment, after calibration, and of TTFT."""
    terms = Terms(points)
    measured = terms.tpot
    print(f"\nServing points: {len(points)}, {len({p.label for p in points})} deployments")
    now = Roofline()
    bound = np.array([now.curve(p.deployment, p.workload, np.array([p.concurrency])).bound_tpot_ms[0] for p in points])
    beaten = np.flatnonzero(measured * 1e3 < bound)
    estimates = np.array([now.curve(p.deployment, p.workload, np.array([p.concurrency])).tpot_ms[0] for p in points])
    print(f"  pure roofline alone: median error {np.median(np.abs(bound / 1e3 / measured - 1)):.1%}")
    print(f"  measured below the roofline of the stated concurrency: {len(beaten)} points (fewer in flight, drafts)")
    held = [bool((estimates >= bound).all())]
    print(f"  {'ok  ' if held[0] else 'MISS'} every estimate is at or above the pure roofline")
    groups: dict[str, Callable[[Serving], str]] = {
        "model": lambda p: p.model, "GPU": lambda p: p.gpu, "deployment": lambda p: p.label,
    }  # fmt: skip
    for name, group in groups.items():
        ratio = measured / held_out(terms, folds(points, group))
        error = np.abs(1 / ratio - 1)
        held.append(
            bar(f"TPOT uncalibrated, held out by {name}, median error", float(np.median(error)), UNCALIBRATED_BAR)
        )
        low, high = np.quantile(ratio, [0.1, 0.9])
        print(f"       mean {error.mean():.1%}, 80 % of measured/estimated in {low:.2f} to {high:.2f}")
    ttft = np.array([ttft_of(p, EFFICIENCY) / p.ttft_ms for p in points])
    held.append(bar("TTFT uncalibrated, median error", float(np.median(np.abs(ttft - 1))), TTFT_BAR))
    low, high = np.quantile(1 / ttft, [0.1, 0.9])
    print(f"       80 % of measured/estimated in {low:.2f} to {high:.2f}")
    return calibration_report(points) and all(held)


def calibration_report(points: list[Serving]) -> bool:
    """Prints errors of the other points of each deployment after calibration on three of its own."""
    by_label = defaultdict(list)
    for point in points:
        by_label[point.label].append(point)
    random = np.random.default_rng(20261129)
    tpot, ttft, asked = [], [], 0
    for label in sorted(by_label):
        mine = by_label[label]
        if len(mine) <= LEAST_POINTS:
            continue
        for _ in range(DRAWS):
            drawn = set(random.choice(len(mine), LEAST_POINTS, replace=False))
            own = [Point(p.workload, p.concurrency, p.tpot_ms, p.ttft_ms) for i, p in enumerate(mine) if i in drawn]
            estimator = calibrate(mine[0].deployment, own)
            for number, point in enumerate(mine):
                if number in drawn:
                    continue
                asked += 1
                curve = estimator.curve(point.deployment, point.workload, np.array([point.concurrency]))
                tpot.append(point.tpot_ms / float(curve.tpot_ms[0]))
                ttft.append(point.ttft_ms / float(curve.ttft_ms[0]))
    ratio, first = np.array(tpot), np.array(ttft)
    error = np.abs(1 / ratio - 1)
    print(f"  calibrated on {LEAST_POINTS} points: {asked:,} estimates, {np.isfinite(ratio).mean():.0%} answered")
    held = bar("TPOT calibrated, mean absolute error", float(error.mean()), CALIBRATED_BAR)
    low, high = np.quantile(ratio, [0.1, 0.9])
    print(f"       median {np.median(error):.1%}, 80 % of measured/estimated in {low:.2f} to {high:.2f}")
    low, high = np.quantile(first, [0.1, 0.9])
    print(f"       TTFT median error {np.median(np.abs(1 / first - 1)):.1%}, 80 % in {low:.2f} to {high:.2f}")
    return held


def aiconfigurator_report(points: list[Serving], count: int) -> None:
    """Prints the error of the method aiconfigurator, uncalibrated, on `count` points spread over all; seconds each."""
    from sizing.aiconfigurator import AIConfigurator

    tpot, ttft, refused = [], [], []
    asked = sorted(points, key=lambda p: (p.label, p.workload.input_tokens, p.workload.output_tokens, p.concurrency))
    for point in asked[:: max(len(points) // count, 1)]:
        name = point.model.replace("--", "/").replace("/Llama-3.1-8B-Instruct", "/Meta-Llama-3.1-8B")
        try:
            curve = AIConfigurator(name).curve(point.deployment, point.workload, np.array([point.concurrency]))
        except SizingError as error:
            refused.append(str(error))
            continue
        tpot.append(point.tpot_ms / float(curve.tpot_ms[0]))
        ttft.append(point.ttft_ms / float(curve.ttft_ms[0]))
    print(f"aiconfigurator as it is: {len(tpot)} of {len(tpot) + len(refused)} points answered")
    for reason in sorted(set(refused))[:5]:
        print(f"  no answer: {reason}")
    for what, ratios in (("TPOT", np.array(tpot)), ("TTFT", np.array(ttft))):
        if len(ratios):
            low, high = np.quantile(ratios, [0.1, 0.9])
            print(f"  {what} median error {np.median(np.abs(1 / ratios - 1)):.1%}, 80 % in {low:.2f} to {high:.2f}")


# --- other makers' GPUs ----------------------------------------------------------------------------------------------

# MLPerf Inference v5.1, offline, closed division (2025-09-09), output tokens/s per GPU (reference 3.5). The sizes of
# requests are ours, for the data sets are not at hand: short ones, and the same for all GPUs of a model.
MLPERF = (
    (
        "meta-llama--Llama-3.1-70B-Instruct",  # the benchmark has Llama-2-70B, of the same size
        Workload(294, 294),
        {"H200-SXM-141GB": 4371, "MI300X-192GB": 3460, "MI325X-256GB": 4234},
    ),
    (
        "mistralai--Mixtral-8x7B-v0.1",
        Workload(500, 150),
        {"H200-SXM-141GB": 7718, "MI300X-192GB": 6647, "MI325X-256GB": 8563},
    ),
)


def mlperf_ratios(software_time_ratio: float | None = None) -> dict[str, list[float]]:
    """GPU -> estimate over measurement of each model in FP8, as of the seed or with another ratio for AMD."""
    found: dict[str, list[float]] = defaultdict(list)
    for name, workload, measured in MLPERF:
        model = read_model(MODEL_CONFIGS / f"{name}.json")
        for gpu_name, rate in measured.items():
            gpu = known_gpus()[gpu_name]
            if software_time_ratio is not None and gpu_name.startswith("MI"):
                gpu = replace(gpu, software_time_ratio=software_time_ratio)
            choices = grid(model, gpus=[gpu], precisions=["fp8"], demands=[Demand("offline", workload)], degrees=(1, 2))
            best = max(one.highest.output_tokens_per_second_per_gpu for one in choices if one.highest is not None)
            found[gpu_name].append(best / rate)
    return dict(found)


def vendor_report() -> None:
    """Prints estimate over MLPerf's figures: what `software_time_ratio` of gpu_specifications rests on."""
    print("estimate over MLPerf Inference v5.1 offline, Llama-2-70B and Mixtral-8x7B")
    for ratio in (None, 1.0):
        found = mlperf_ratios(ratio)
        amd = [value for gpu, values in found.items() if gpu.startswith("MI") for value in values]
        print(f"  {'as sized' if ratio is None else 'AMD as well used as NVIDIA'}")
        for gpu, values in found.items():
            print(f"    {gpu:16} {' '.join(f'{value:.2f}' for value in values)}")
        means = [statistics.geometric_mean(values) for values in (found["H200-SXM-141GB"], amd)]
        print(f"    mean of H200 {means[0]:.2f}, of AMD {means[1]:.2f}")


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--fit", action="store_true", help="print the constants of sizing.throughput anew")
    parser.add_argument("--aiconfigurator", type=int, metavar="POINTS", help="judge the extra on so many points")
    arguments = parser.parse_args()
    points = read_points(arguments.samples)
    if arguments.fit:
        terms = Terms(points)
        found = fit_ttft(points, efficiency_of(terms.fit(np.arange(len(points)))))
        for name, value in asdict(found).items():
            print(f"    {name}={value:.3g},")
        return
    if arguments.aiconfigurator:
        aiconfigurator_report(points, arguments.aiconfigurator)
        return
    held = memory_report(arguments.samples)
    held = latency_report(points) and held
    vendor_report()
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
