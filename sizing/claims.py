"""Ten claims that are made about inference hardware, each put to the test: a verdict and the numbers behind it.

Physics is computed here; measurements of others are carried along with their source (docs/sizing.md); prices are handed
in, and a claim about cost without a price has no verdict. The claims: an article of 2026-04-15 (reference, section 6).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sizing.choices import ENGINE_EFFECTS, Choice, Demand, best_degree, grid
from sizing.gpus import Gpu
from sizing.memory import Parallel, size_memory, weight_bytes
from sizing.model_config import Model
from sizing.throughput import Deployment, Targets, Workload, estimate

Verdict = Literal["true", "false", "depends", "unknown"]

LARGE, SMALL = "70B", "8B"
CHAT, NO_TARGETS = Workload(1000, 1000), Targets()
# Estimates of two GPUs differ by the method's error: what lies within it counts as equal (docs/sizing.md).
WITHIN_ERROR = 0.15
L40S, A100_40, A100, H100 = "L40S-48GB", "A100-SXM-40GB", "A100-SXM-80GB", "H100-SXM-80GB"
H200 = "H200-SXM-141GB"
# Hourly demand in GPUs of one day (reference 7.4): mean 9.1, peak 16.
DIURNAL = (4, 4, 4, 4, 4, 4, 6, 8, 10, 12, 14, 16, 16, 16, 14, 14, 12, 12, 10, 10, 8, 6, 6, 4)


@dataclass(frozen=True, slots=True)
class Number:
    """One figure of a claim. `source` is empty for what is computed here."""

    name: str
    value: float
    unit: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """One claim with its verdict, in a sentence, and the figures behind it."""

    number: int
    claim: str
    verdict: Verdict
    why: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class Price:
    """The cheapest offer of a GPU: USD per GPU-hour."""

    usd_per_gpu_hour: float
    offer: str
    day: str


Prices = Mapping[tuple[str, str], Price]  # (GPU, purchase option such as on_demand or reserved_36m) -> price


@dataclass(frozen=True, slots=True)
class Commitment:
    """A committed price and the on-demand price of the very same offer, USD per GPU-hour."""

    gpu: str
    option: str
    offer: str
    committed_usd_per_gpu_hour: float
    on_demand_usd_per_gpu_hour: float


@dataclass(frozen=True)
class Evidence:
    """What claims are judged by: a 70B and an 8B model, GPU facts, prices in force and committed ones."""

    large: Model
    small: Model
    gpus: Mapping[str, Gpu]
    prices: Prices
    commitments: Sequence[Commitment] = ()

    def model(self, name: str) -> Model:
        """The large or the small one."""
        return self.large if name == LARGE else self.small

    def rate(
        self, model: str, gpu: str, precision: str, workload: Workload = CHAT, targets: Targets = NO_TARGETS
    ) -> tuple[float, int]:
        """Output tokens per second and GPU at the best tensor parallelism, and that; (0, 0) where nothing fits."""
        best = best_degree(self.choices(model, gpu, precision, Demand("claim", workload, targets)))
        return (0.0, 0) if best is None else (best.tokens_per_second_per_gpu or 0.0, best.tensor_parallel)

    def choices(self, model: str, gpu: str, precision: str, demand: Demand) -> list[Choice]:
        """Every degree on one GPU."""
        return list(grid(self.model(model), gpus=[self.gpus[gpu]], precisions=[precision], demands=[demand]))

    def price(self, gpu: str, option: str = "on_demand") -> float | None:
        """USD per GPU-hour; None without an offer."""
        found = self.prices.get((gpu, option))
        return None if found is None else found.usd_per_gpu_hour


def judge_claims(evidence: Evidence) -> list[Judged]:
    """Puts all ten to the test."""
    tests = (
        weights_of_70b,
        l40s_against_a100_40,
        sixteen_l40s,
        h100_cost_per_token,
        fewest_gpus,
        tensorrt,
        everything_combined,
        inference_apart_from_training,
        reserved_and_on_demand,
        unprofiled_cache,
    )
    return [test(evidence, number) for number, test in enumerate(tests, start=1)]


def weights_of_70b(evidence: Evidence, number: int) -> Judged:
    """140, 70 and 35 GB at FP16, INT8 and INT4."""
    claimed = {16: 140.0, 8: 70.0, 4: 35.0}
    rule = {bits: evidence.large.parameters() * bits / 8 / 1e9 for bits in claimed}
    real = {name: weight_bytes(evidence.large, name) / 1e9 for name in ("int8", "awq")}
    holds = all(abs(rule[bits] / claimed[bits] - 1) <= 0.05 for bits in claimed)
    return Judged(
        number,
        "A 70B model takes 140, 70 and 35 GB at FP16, INT8 and INT4",
        "true" if holds else "false",
        f"as a rule of bits per weight; a real INT4 checkpoint (AWQ, groups of 128) has {real['awq']:.1f} GB, "
        f"{real['awq'] / claimed[4] - 1:+.0%}, for its scales and its 16-bit embeddings",
        (
            *(Number(f"parameters x {bits} bits", gigabytes, "GB") for bits, gigabytes in rule.items()),
            *(Number(f"weights as {name}", gigabytes, "GB") for name, gigabytes in real.items()),
        ),
    )


def l40s_against_a100_40(evidence: Evidence, number: int) -> Judged:
    """L40S matches or beats A100-40 on quantised models at about 60 % of the hourly cost."""
    numbers, ahead = [], {}
    for model in (SMALL, LARGE):
        mine, other = evidence.rate(model, L40S, "fp8")[0], evidence.rate(model, A100_40, "bf16")[0]
        if not other:  # in 16 bit it needs more of them than one server has
            other = evidence.rate(model, A100_40, "awq")[0]
        ahead[model] = mine / other if other else 0.0
        numbers.append(Number(f"{model}: tokens/s of L40S in FP8 over A100-40", ahead[model], "x"))
    numbers += [
        Number("the same on 6-7B models, A100-80 in FP16, low", 0.89, "x", "TensorRT-LLM 0.9 tables"),
        Number("the same, high", 1.53, "x", "TensorRT-LLM 0.9 tables"),
        Number("the same on 70B with tensor parallelism, high", 0.82, "x", "TensorRT-LLM 0.9 tables"),
    ]
    mine_usd, other_usd = evidence.price(L40S), evidence.price(A100_40)
    if mine_usd is None or other_usd is None:
        why = "faster on one GPU, slower with tensor parallelism; the price of one of the two is not known today"
        return Judged(number, _L40S_CLAIM, "unknown", why, tuple(numbers))
    ratio = mine_usd / other_usd
    numbers.append(Number("hourly price of L40S over A100-40, on demand", ratio, "x"))
    fast = [model for model, gain in ahead.items() if gain >= 1 - WITHIN_ERROR]
    cheap = 0.5 <= ratio <= 0.7
    verdict: Verdict = "true" if len(fast) == 2 and cheap else "false" if not fast and not cheap else "depends"
    why = (
        f"as fast, within the error of the estimate, for {' and '.join(fast) or 'neither'}; the hourly price is "
        f"{ratio:.0%} of the A100's today"
    )
    return Judged(number, _L40S_CLAIM, verdict, why, tuple(numbers))


_L40S_CLAIM = "L40S matches or beats A100-40GB on quantised models at about 60 % of the hourly cost"


def sixteen_l40s(evidence: Evidence, number: int) -> Judged:
    """16 L40S cost half of equal H100 throughput."""
    claim = "16 L40S cost half of the H100s with equal throughput"
    ratios = {
        model: evidence.rate(model, H100, "fp8")[0] / max(evidence.rate(model, L40S, "fp8")[0], 1e-9)
        for model in (SMALL, LARGE)
    }
    numbers = [Number(f"{model}: tokens/s of H100 over L40S, FP8", ratio, "x") for model, ratio in ratios.items()]
    measured = (("Mistral-7B, low", 2.0), ("Llama-3.1-8B offline", 3.5), ("70B, low", 5.5))
    numbers += [
        Number(f"the same measured, {name}", value, "x", "TensorRT-LLM 0.9, MLPerf 5.1") for name, value in measured
    ]
    mine, other = evidence.price(L40S), evidence.price(H100)
    if mine is None or other is None:
        return Judged(number, claim, "unknown", "the price of one of the two is not known today", tuple(numbers))
    costs = {model: ratio * mine / other for model, ratio in ratios.items()}
    costs |= {f"{name} (measured)": value * mine / other for name, value in measured}
    numbers += [Number(f"{name}: cost of L40S over equal H100", cost, "x") for name, cost in costs.items()]
    half = [name for name, cost in costs.items() if cost <= 0.55]
    verdict: Verdict = "true" if len(half) == len(costs) else "false" if not half else "depends"
    why = (
        f"an H100 hour costs {other / mine:.1f} L40S hours today; half the cost needs twice the ratio of throughput, "
        f"which is {min(ratios.values()):.1f} to {max(ratios.values()):.1f} by the estimate"
    )
    return Judged(number, claim, verdict, why, tuple(numbers))


def h100_cost_per_token(evidence: Evidence, number: int) -> Judged:
    """H100 costs more per token than A100 or L40S unless its compute is saturated."""
    claim = "H100 costs more per token than A100 or L40S unless compute is saturated"
    numbers, wins = [], {}
    for model, tensor in ((SMALL, 1), (LARGE, 4)):
        for load in (1, 8, 64):
            costs = {}
            for gpu in (H100, A100, L40S):
                price = evidence.price(gpu)
                memory = size_memory(
                    evidence.model(model),
                    evidence.gpus[gpu],
                    precision="fp8",
                    parallel=Parallel(tensor),
                    max_context_tokens=2000,
                )
                if price is None or memory.wall(1000, 1000).usable < load:
                    continue
                found = estimate(Deployment(memory), CHAT, load)
                costs[gpu] = price * 1e6 / 3600 / found.output_tokens_per_second_per_gpu
            if H100 in costs and len(costs) > 1:
                rest = min(cost for gpu, cost in costs.items() if gpu != H100)
                wins[model, load] = costs[H100] <= rest
                numbers.append(
                    Number(f"{model}, {load} at once: H100 over the cheaper of the others", costs[H100] / rest, "x")
                )
    if not numbers:
        return Judged(number, claim, "unknown", "no two prices of the three are known today", ())
    dear = [load for (_, load), won in wins.items() if not won]
    full = [won for (_, load), won in wins.items() if load == 64]
    verdict: Verdict = "true" if len(dear) == len(wins) - len(full) and all(full) else "depends" if dear else "false"
    why = f"at today's prices the H100 is the dearer one in {len(dear)} of {len(wins)} cases of size and load"
    return Judged(number, claim, verdict, why, tuple(numbers))


def fewest_gpus(evidence: Evidence, number: int) -> Judged:
    """Fewest GPUs per replica that hold the model."""
    cases = (
        ("8B on H100 in FP8, at saturation", SMALL, H100, "fp8", Targets()),
        ("8B on L40S in FP8, at saturation", SMALL, L40S, "fp8", Targets()),
        ("70B on H200 in FP8, at saturation", LARGE, H200, "fp8", Targets()),
        ("70B on H100 in FP8, at saturation", LARGE, H100, "fp8", Targets()),
        ("70B on H200 in FP8, 70 tokens/s a user", LARGE, H200, "fp8", Targets(tpot_ms=1000 / 70)),
    )
    numbers, kept = [], []
    for name, model, gpu, precision, targets in cases:
        choices = evidence.choices(model, gpu, precision, Demand("claim", CHAT, targets))
        fewest = min((choice.tensor_parallel for choice in choices if choice.fits), default=0)
        best = best_degree(choices)
        if best is None or not fewest:
            continue
        kept.append(best.tensor_parallel == fewest)
        numbers.append(Number(f"{name}: best GPUs per engine (fewest is {fewest})", best.tensor_parallel, "GPUs"))
    verdict: Verdict = "true" if all(kept) else "false" if not any(kept) else "depends"
    why = (
        f"fewest is best in {sum(kept)} of {len(kept)} cases; not where weights leave little room for the cache, and "
        f"not where answers must come fast"
    )
    measured = Number("70B FP8 on H200 at 70 tokens/s a user, measured", 4, "GPUs", "aiconfigurator-core 0.12.0")
    return Judged(number, "Fewest GPUs per replica that hold the model are best", verdict, why, (*numbers, measured))


def tensorrt(evidence: Evidence, number: int) -> Judged:
    """TensorRT 2-4x."""
    effect = ENGINE_EFFECTS["trtllm"]
    verdict: Verdict = "true" if effect.ratio >= 2 else "false"
    source = "aiconfigurator-core 0.12.0"
    return Judged(
        number,
        "TensorRT-LLM is 2 to 4 times as fast",
        verdict,
        f"over a current vLLM at equal hardware, precision and concurrency it is {effect.ratio:.2f} times; 2 to 4 "
        f"times holds against stacks of 2023 and untuned ones",
        (
            Number("TensorRT-LLM over vLLM, median of 304 pairs", effect.ratio, "x", source),
            Number("10th percentile", effect.low_ratio or 0, "x", source),
            Number("90th percentile", effect.high_ratio or 0, "x", source),
            Number("over an untuned vLLM of 2024, 70B on 8 L40S", 3.9, "x", "MLPerf 4.1"),
        ),
    )


def everything_combined(evidence: Evidence, number: int) -> Judged:
    """Quantised, compiled and continuously batched: 5-8x."""
    engine = ENGINE_EFFECTS["trtllm"].ratio
    numbers, totals = [], []
    for model, gpu in ((SMALL, L40S), (SMALL, H100), (LARGE, H100)):
        plain, quantised = evidence.rate(model, gpu, "bf16")[0], evidence.rate(model, gpu, "fp8")[0]
        if plain:
            totals.append(quantised / plain * engine)
            numbers.append(Number(f"{model} on {gpu}: FP8 and TensorRT-LLM over vLLM in BF16", totals[-1], "x"))
    static = _static_batch_ratio(evidence)
    numbers.append(Number("8B on L40S: continuous over static batches of 8, BF16", static, "x"))
    numbers.append(Number("continuous over static batching, up to", 23, "x", "Anyscale 2023"))
    from_static = [total * static for total in totals]
    verdict: Verdict = "true" if min(totals) >= 5 else "false" if max(from_static) < 5 else "depends"
    why = (
        f"from a current vLLM in BF16 {min(totals):.1f} to {max(totals):.1f} times; from static batches in 16 bit "
        f"{min(from_static):.0f} times and more: the baseline decides"
    )
    return Judged(number, "Quantised, compiled and continuously batched: 5 to 8 times", verdict, why, tuple(numbers))


def _static_batch_ratio(evidence: Evidence) -> float:
    """Continuous batching at its best over batches of eight that wait for their longest answer (twice the mean)."""
    choices = evidence.choices(SMALL, L40S, "bf16", Demand("claim", CHAT))
    single = next(choice for choice in choices if choice.tensor_parallel == 1)
    if single.memory is None or single.highest is None:
        return 0.0
    static = estimate(Deployment(single.memory), CHAT, 8).output_tokens_per_second_per_gpu / 2
    return single.highest.output_tokens_per_second_per_gpu / static


def inference_apart_from_training(evidence: Evidence, number: int) -> Judged:
    """Inference sized apart from training saves 40-60 %."""
    claim = "Inference hardware sized apart from training saves 40 to 60 %"
    targets, numbers, savings = Targets(2000, 50), [], []
    for model in (SMALL, LARGE):
        training = evidence.choices(model, H100, "bf16", Demand("claim", CHAT, targets))
        whole = next((c for c in training if c.tensor_parallel == 8 and c.tokens_per_second_per_gpu), None)
        price = evidence.price(H100)
        costs = {}
        for (gpu, option), offer in evidence.prices.items():
            if option != "on_demand" or gpu not in evidence.gpus:
                continue
            rate, degree = evidence.rate(model, gpu, "bf16", CHAT, targets)
            if rate:
                costs[f"{degree} x {gpu}"] = offer.usd_per_gpu_hour * 1e6 / 3600 / rate
        if whole is None or whole.tokens_per_second_per_gpu is None or price is None or not costs:
            continue
        baseline = price * 1e6 / 3600 / whole.tokens_per_second_per_gpu
        name = min(costs, key=costs.__getitem__)
        savings.append(1 - costs[name] / baseline)
        numbers += [
            Number(f"{model}: 8 x H100 as trained on, BF16, USD per million output tokens", baseline, "USD"),
            Number(f"{model}: cheapest within the same targets, {name}", costs[name], "USD"),
            Number(f"{model}: saved", savings[-1], "ratio"),
        ]
    if not savings:
        return Judged(number, claim, "unknown", "no price of an H100, or no option within the targets", ())
    inside = [0.4 <= saved <= 0.6 for saved in savings]
    verdict: Verdict = "true" if all(inside) else "false" if max(savings) < 0.4 else "depends"
    why = (
        f"{min(savings):.0%} to {max(savings):.0%} against the same model left on one engine of eight H100 (precision "
        f"and targets alike, all full)"
    )
    return Judged(number, claim, verdict, why, tuple(numbers))


def reserved_and_on_demand(evidence: Evidence, number: int) -> Judged:
    """Reserved base and on-demand peaks save 40-60 %."""
    claim = "Reserved base and on-demand peaks save 40 to 60 %"
    numbers, savings = [], []
    for one in evidence.commitments:
        reserved, full = one.committed_usd_per_gpu_hour, one.on_demand_usd_per_gpu_hour
        level, cost = best_reservation(DIURNAL, reserved, full)
        followed, peak = full * sum(DIURNAL), full * max(DIURNAL) * len(DIURNAL)
        savings.append((1 - cost / followed, 1 - cost / peak))
        name = f"{one.gpu} {one.option}, {one.offer}"
        numbers += [
            Number(f"{name}: price over on demand", reserved / full, "x"),
            Number(f"{name}: GPUs to reserve of a peak of {max(DIURNAL)}", level, "GPUs"),
            Number(f"{name}: saved against on demand that follows the load", savings[-1][0], "ratio"),
            Number(f"{name}: saved against on demand sized for the peak", savings[-1][1], "ratio"),
        ]
    if not savings:
        return Judged(number, claim, "unknown", "no offer is known with a committed and an on-demand price today", ())
    followed_by, sized = zip(*savings, strict=True)
    inside = [0.4 <= saved <= 0.6 for saved in followed_by]
    verdict: Verdict = "true" if all(inside) else "depends" if any(inside) or max(sized) >= 0.4 else "false"
    why = (
        f"{min(followed_by):.0%} to {max(followed_by):.0%} against on demand that follows the load, {min(sized):.0%} "
        f"to {max(sized):.0%} against on demand sized for its peak: name the baseline"
    )
    return Judged(number, claim, verdict, why, tuple(numbers))


def best_reservation(demand: Sequence[float], reserved: float, on_demand: float) -> tuple[int, float]:
    """(units, cost): unit k is reserved where it works at least reserved/on_demand of the hours (reference 4.3)."""
    needed = [sum(hour >= unit for hour in demand) / len(demand) for unit in range(1, int(max(demand)) + 1)]
    level = sum(share >= reserved / on_demand for share in needed)
    peaks = sum(max(0.0, hour - level) for hour in demand)
    return level, len(demand) * reserved * level + on_demand * peaks


def unprofiled_cache(evidence: Evidence, number: int) -> Judged:
    """Unprofiled KV runs out at half the planned volume."""
    numbers, shares = [], []
    for name, model, gpu, workload in (
        ("8B on L40S, 1,000 + 1,000 tokens", SMALL, L40S, Workload(1000, 1000)),
        ("8B on L40S, 4,000 + 300 tokens", SMALL, L40S, Workload(4000, 300)),
    ):
        memory = size_memory(evidence.model(model), evidence.gpus[gpu], max_context_tokens=8192)
        planned = memory.wall(workload.input_tokens, 0).average
        real = memory.wall(workload.input_tokens, workload.output_tokens).worst
        shares.append(real / planned)
        numbers += [
            Number(f"{name}: requests at once if prompts alone are counted", planned, "requests"),
            Number(f"{name}: room for them at their longest", real, "requests"),
        ]
    verdict: Verdict = "true" if max(shares) <= 0.6 else "false" if min(shares) > 0.9 else "depends"
    why = (
        f"who counts prompts alone gets {min(shares):.0%} to {max(shares):.0%} of the plan; the cache can be computed "
        f"beforehand, and a full one makes engines queue, not crash: it shows as time to first token"
    )
    return Judged(number, "An unprofiled KV cache runs out at half the planned volume", verdict, why, tuple(numbers))
