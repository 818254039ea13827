"""Latency and throughput: by hand on simple cases, bounds on all, order and size against measurements of others."""

import csv
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from architectures import CONFIGS
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.sizing_accuracy import CALIBRATED_BAR, LEAST_POINTS, Terms, folds, held_out, mlperf_ratios, read_points
from orchestration.seeds import seed_rows
from orchestration.sizing_inputs import read_model
from sizing.aiconfigurator import AIConfigurator
from sizing.calibration import Point, calibrate
from sizing.errors import SizingError
from sizing.gpus import gpu_from_row
from sizing.memory import Parallel, size_memory
from sizing.model_config import read_model_config
from sizing.throughput import (
    EFFICIENCY,
    Deployment,
    Roofline,
    Targets,
    Workload,
    concurrencies,
    estimate,
    operating_points,
    step_of,
)

GPUS = {row["gpu_model"]: gpu_from_row(row) for row in seed_rows("gpu_specifications")}
CONFIG_FILES = Path(__file__).parents[2] / "examples" / "model_configs"
L70 = read_model(CONFIG_FILES / "meta-llama--Llama-3.1-70B-Instruct.json")
L8 = read_model(CONFIG_FILES / "meta-llama--Llama-3.1-8B-Instruct.json")
MISTRAL = read_model(CONFIG_FILES / "mistralai--Mistral-7B-v0.1.json")


def deployed(model=L8, gpu="H100-SXM-80GB", precision=None, context=4096, **parallel) -> Deployment:
    memory = size_memory(
        model, GPUS[gpu], precision=precision, parallel=Parallel(**parallel), max_context_tokens=context
    )
    return Deployment(memory)


def test_the_pure_roofline_by_hand() -> None:
    """One request: all weights but the embedding, and 1,000 + 50 tokens of cache, over 3,350 GB/s."""
    step = step_of(deployed(), Workload(1000, 100), np.array([1.0]))
    read = (8_030_261_248 - 525_336_576) * 2 + 1050 * 131_072
    assert step.bound[0] == pytest.approx(read / 3.35e12)
    # 200 requests multiply 200 x 2 x 7.5e9 operations: 3 ms at 989 TFLOPS, below the time of reading.
    assert step_of(deployed(), Workload(1000, 100), np.array([200.0])).bound[0] == pytest.approx(
        ((8_030_261_248 - 525_336_576) * 2 + 200 * 1050 * 131_072) / 3.35e12
    )


def test_prefill_operations_by_hand() -> None:
    d = deployed()
    layers = 8_030_261_248 - 2 * 525_336_576
    attention = 4 * 32 * 128 * 32 * 1000**2 / 2
    assert d.prefill_operations(1000) == 2 * layers * 1000 + attention
    # 600 of them cached: 400 new ones are multiplied, and look at all before them.
    assert d.prefill_operations(1000, 600) == 2 * layers * 400 + 4 * 32 * 128 * 32 * (1000**2 - 600**2) / 2


def test_a_step_reads_the_experts_it_touches() -> None:
    model = read_model(CONFIG_FILES / "mistralai--Mixtral-8x7B-v0.1.json")
    d = deployed(model, "H200-SXM-141GB")
    # Two of eight for one token; for two tokens 1 - (6/8)² of them.
    assert d.experts_touched(np.array([1.0, 2.0])).tolist() == [0.25, 0.4375]


@pytest.mark.parametrize(
    ("gpu", "tensor", "low_ms", "high_ms"),
    # Measured for 16,777,216 numbers (reference, section 2); NVLink within a third, PCIe within what two hosts showed.
    [
        ("H100-SXM-80GB", 2, 0.10, 0.20),
        ("H100-SXM-80GB", 8, 0.15, 0.30),
        ("A100-SXM-80GB", 8, 0.28, 0.50),
        ("L40S-48GB", 2, 1.2, 2.4),
        ("L40S-48GB", 4, 2.5, 13.6),
        ("L40S-48GB", 8, 2.9, 31),
    ],
)
def test_all_reduce_as_measured(gpu: str, tensor: int, low_ms: float, high_ms: float) -> None:
    d = deployed(L8, gpu, tensor=tensor)
    transfer, latency = d.all_reduce_seconds(np.array([16_777_216 / 4096]))
    assert low_ms <= (float(transfer[0]) + latency) * 1e3 <= high_ms


MODELS = {"llama": L8, "mixtral": read_model(CONFIG_FILES / "mistralai--Mixtral-8x7B-v0.1.json")} | {
    name: read_model_config(CONFIGS[name][0]) for name in ("google/gemma-3-27b", "Qwen/Qwen3.5-27B")
}


@settings(deadline=None, max_examples=60)
@given(
    model=st.sampled_from(sorted(MODELS)),
    gpu=st.sampled_from(["L40S-48GB", "A100-SXM-80GB", "H100-SXM-80GB", "B200-180GB", "MI300X-192GB"]),
    precision=st.sampled_from(["bf16", "fp8", "awq"]),
    tensor=st.sampled_from([1, 2, 4]),
    inputs=st.integers(1, 3000),
    outputs=st.integers(1, 1000),
    measured=st.lists(st.floats(0.5, 200), min_size=3, max_size=3),
)
def test_no_estimate_beats_the_roofline(model, gpu, precision, tensor, inputs, outputs, measured) -> None:
    """Neither the default nor one calibrated on whatever a user hands in; TPOT never falls with concurrency."""
    d = deployed(MODELS[model], gpu, precision, tensor=tensor)
    if d.memory.wall(inputs, outputs).usable < 1:
        return
    workload = Workload(inputs, outputs)
    points = [Point(workload, c, tpot) for c, tpot in zip((1, 8, 32), measured, strict=True)]
    for method in (Roofline(), calibrate(d, points)):
        curve = method.curve(d, workload, concurrencies(d.memory.wall(inputs, outputs).usable))
        assert (curve.tpot_ms >= curve.bound_tpot_ms).all()
        assert (np.diff(curve.tpot_ms) >= -1e-9).all()
        prompt = d.prefill_operations(inputs) / d.parallel.gpus / d.operations_per_second
        assert (curve.ttft_ms > 0).all()
        assert method.method == "measured" or (curve.ttft_ms >= prompt * 1e3).all()


def test_requests_beyond_the_cache_wait() -> None:
    d = deployed(L8, "L40S-48GB", context=8192)
    workload = Workload(6000, 2000)
    room = d.memory.wall(6000, 2000).usable
    at, beyond = estimate(d, workload, room), estimate(d, workload, 2 * room)
    assert beyond.tpot_ms == pytest.approx(at.tpot_ms)
    assert beyond.ttft_ms == pytest.approx(at.ttft_ms + 2000 * at.tpot_ms)
    assert beyond.requests_per_second == pytest.approx(at.requests_per_second, rel=0.05)


def test_cached_prompts_cost_less_time() -> None:
    d = deployed()
    fresh, cached = (estimate(d, Workload(3000, 200, part), 32) for part in (0, 2800))
    assert cached.ttft_ms < fresh.ttft_ms
    assert cached.tpot_ms < fresh.tpot_ms


def test_operating_points() -> None:
    d = deployed()
    found = operating_points(d, Workload(1000, 500), Targets(tpot_ms=15), Roofline())
    assert found.within_targets is not None
    assert found.within_targets.tpot_ms <= 15
    assert found.highest.output_tokens_per_second_per_gpu > found.within_targets.output_tokens_per_second_per_gpu
    assert found.best_latency.concurrency == 1
    impossible = operating_points(d, Workload(1000, 500), Targets(tpot_ms=found.best_latency.bound_tpot_ms), Roofline())
    assert impossible.within_targets is None
    # Little's law: requests in the engine = rate x time of one.
    point = found.highest
    assert point.requests_per_second * (point.ttft_ms + 499 * point.tpot_ms) / 1e3 == pytest.approx(point.concurrency)


def test_no_room_for_one_request() -> None:
    with pytest.raises(SizingError, match="no room for one request of 3000 tokens beside the weights"):
        operating_points(deployed(L70, "L40S-48GB"), Workload(2000, 1000), Targets(), Roofline())


@pytest.mark.parametrize(("inputs", "outputs"), [(0, 10), (10, 0), (-1, 5)])
def test_no_load(inputs: int, outputs: int) -> None:
    with pytest.raises(SizingError, match="are no load"):
        Workload(inputs, outputs)


# --- order, as measured (reference 7.8) ------------------------------------------------------------------------------


def best(model, gpu, precision, workload, degrees=(1, 2, 4, 8)) -> float:
    rates = [0.0]
    for tensor in degrees:
        d = deployed(model, gpu, precision, tensor=tensor)
        if d.memory.wall(workload.input_tokens, workload.output_tokens).usable >= 1:
            found = operating_points(d, workload, Targets(), Roofline())
            rates.append(found.highest.output_tokens_per_second_per_gpu)
    return max(rates)


def test_order_of_gpus_for_70b() -> None:
    workload = Workload(1000, 1000)
    h100, a100, l40s = (best(L70, gpu, "bf16", workload) for gpu in ("H100-SXM-80GB", "A100-SXM-80GB", "L40S-48GB"))
    assert h100 > a100 > l40s > 0


def test_l40s_in_fp8_beats_a100_in_fp16_on_mistral_7b() -> None:
    workload = Workload(128, 128)
    assert best(MISTRAL, "L40S-48GB", "fp8", workload) > best(MISTRAL, "A100-SXM-80GB", "fp16", workload)


@pytest.mark.parametrize("concurrency", [8, 64])
def test_h200_over_h100_at_equal_concurrency(concurrency: int) -> None:
    old, new = (
        estimate(deployed(L70, gpu, "fp8", tensor=2), Workload(1000, 1000), concurrency)
        for gpu in ("H100-SXM-80GB", "H200-SXM-141GB")
    )
    ratio = new.output_tokens_per_second_per_gpu / old.output_tokens_per_second_per_gpu
    assert 1.0 <= ratio <= 1.7


def test_amd_beside_h200_as_in_mlperf() -> None:
    """Beside the H200 of the same benchmark MI300X and MI325X come out within 25 % of what MLPerf measured.

    Taken for as well used as an H200 the MI300X would come out at 1.7 and 1.4 times that.
    """
    sized, as_nvidia = mlperf_ratios(), mlperf_ratios(1.0)
    for gpu in ("MI300X-192GB", "MI325X-256GB"):
        for ours, h200 in zip(sized[gpu], sized["H200-SXM-141GB"], strict=True):
            assert ours / h200 == pytest.approx(1, rel=0.25), gpu
    beside = [ours / h200 for ours, h200 in zip(as_nvidia["MI300X-192GB"], as_nvidia["H200-SXM-141GB"], strict=True)]
    assert beside == pytest.approx([1.7, 1.4], abs=0.05)


def test_peak_throughput_of_tensorrt_llm_09(samples: Path) -> None:
    """Never fitted to: 80 rows of A100, H100, H200 and L40S at their peak batch. The median is within 40 %."""
    names = {"LLaMA 70B": L70, "Mistral 7B": MISTRAL}
    ratios = []
    with (samples / "sizing" / "trtllm_docs" / "perf_v0.9.0_peak_throughput.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            model = next(
                (m for name, m in names.items() if name.lower() == row["model"].lower().replace("_", " ")), None
            )
            gpu = {"H100": "H100-SXM-80GB", "A100": "A100-SXM-80GB", "L40S": "L40S-48GB", "H200": "H200-SXM-141GB"}
            name = next((canonical for short, canonical in gpu.items() if row["gpu"].startswith(short)), None)
            if model is None or name is None:
                continue
            d = deployed(model, name, row["dtype"].lower(), tensor=int(row["tp"]))
            found = estimate(d, Workload(int(row["isl"]), int(row["osl"])), int(row["batch"]))
            ratios.append(found.output_tokens_per_second_per_gpu / float(row["out_tok_s_per_gpu"]))
    assert len(ratios) >= 16
    assert 0.6 < float(np.median(ratios)) < 1.4


# --- calibration -----------------------------------------------------------------------------------------------------


def test_calibration_finds_what_made_the_points() -> None:
    """Points of an engine half as fast as the default: three of them suffice for a fourth."""
    d, workload = deployed(), Workload(1000, 500)
    points = [Point(workload, c, 2 * estimate(d, workload, c).tpot_ms) for c in (4, 16, 64)]
    found = calibrate(d, points)
    assert found.method == "measured"
    assert estimate(d, workload, 32, found).tpot_ms == pytest.approx(2 * estimate(d, workload, 32).tpot_ms, rel=0.1)


def test_one_odd_point_does_not_carry_the_rest_away() -> None:
    d, workload = deployed(), Workload(1000, 500)
    true = {c: 1.3 * estimate(d, workload, c).tpot_ms for c in (2, 8, 16, 32, 64)}
    points = [Point(workload, c, tpot) for c, tpot in true.items()]
    points[2] = Point(workload, 16, 10 * true[16])
    found = calibrate(d, points)
    assert estimate(d, workload, 48, found).tpot_ms == pytest.approx(1.3 * estimate(d, workload, 48).tpot_ms, rel=0.2)


def test_two_points_are_too_few() -> None:
    with pytest.raises(SizingError, match="needs 3 measured points or more; there are 2"):
        calibrate(deployed(), [Point(Workload(10, 10), 1, 5), Point(Workload(10, 10), 2, 6)])


def test_accuracy_on_held_out_points(samples: Path) -> None:
    """The bars of the issue, on the records themselves (the command prints them in full)."""
    points = read_points(samples)
    terms = Terms(points)
    estimated = held_out(terms, folds(points, lambda point: point.model))
    assert float(np.median(np.abs(estimated / terms.tpot - 1))) <= 0.18
    errors = []
    random = np.random.default_rng(7)
    for label in sorted({point.label for point in points}):
        mine = [point for point in points if point.label == label]
        if len(mine) <= LEAST_POINTS:
            continue
        drawn = set(random.choice(len(mine), LEAST_POINTS, replace=False))
        own = [Point(p.workload, p.concurrency, p.tpot_ms) for i, p in enumerate(mine) if i in drawn]
        estimator = calibrate(mine[0].deployment, own)
        for number, point in enumerate(mine):
            if number not in drawn:
                found = estimate(point.deployment, point.workload, point.concurrency, estimator).tpot_ms
                assert math.isfinite(found)
                errors.append(abs(found / point.tpot_ms - 1))
    assert len(errors) > 900
    # One draw: the mean over draws keeps the bar (benchmarks.sizing_accuracy), one of them may lie a little above.
    assert np.mean(errors) <= CALIBRATED_BAR + 0.02


def test_constants_are_those_of_the_fit(samples: Path) -> None:
    """The committed factors are what the committed command finds."""
    points = read_points(samples)
    terms = Terms(points)
    found = np.exp(terms.fit(np.arange(len(points))))
    kept = [
        EFFICIENCY.memory, EFFICIENCY.expert_weights, EFFICIENCY.compute, EFFICIENCY.prefill,
        EFFICIENCY.dense_layer_seconds, EFFICIENCY.expert_layer_seconds, EFFICIENCY.synchronise_seconds,
        EFFICIENCY.sequence_seconds,
    ]  # fmt: skip
    assert found == pytest.approx(kept, rel=0.02)


# --- aiconfigurator --------------------------------------------------------------------------------------------------


def test_aiconfigurator_without_the_package_says_so() -> None:
    if importlib.util.find_spec("aiconfigurator") is not None:
        pytest.skip("aiconfigurator is installed here: what is said without it cannot be seen")
    with pytest.raises(SizingError, match=r"not installed: pip install 'inference-ledger\[aiconfigurator\]'"):
        estimate(deployed(), Workload(100, 10), 1, AIConfigurator("meta-llama/Meta-Llama-3.1-8B"))


def test_aiconfigurator_answers() -> None:
    pytest.importorskip("aiconfigurator", reason="the extra aiconfigurator is not installed")
    d = deployed(read_model(CONFIG_FILES / "Qwen--Qwen3-32B.json"), tensor=2)
    found = AIConfigurator("Qwen/Qwen3-32B").curve(d, Workload(1024, 512), np.array([4.0, 16.0, 64.0]))
    assert found.method == "aiconfigurator"
    # Measured on vLLM 0.12 (silicon_sample.csv): 17.9 ms at 16.
    assert found.tpot_ms[1] == pytest.approx(17.9, rel=0.3)
    with pytest.raises(SizingError, match="no tables of T4-16GB"):
        estimate(deployed(L8, "T4-16GB", "awq"), Workload(100, 10), 1, AIConfigurator("Qwen/Qwen3-32B"))
