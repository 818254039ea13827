"""Weights, caches and vLLM's accounting against start-up logs and the reference's figures."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from architectures import CONFIGS
from hypothesis import given
from hypothesis import strategies as st

from orchestration.seeds import seed_rows
from sizing.errors import SizingError
from sizing.gpus import find_gpu, gpu_from_row
from sizing.memory import (
    GIB,
    EngineSettings,
    Overheads,
    Parallel,
    check_parallel,
    draft_layers_ratio,
    kv_bytes_per_sequence,
    kv_bytes_per_token,
    kv_pool_gib,
    pool_tokens_from_gib,
    shared_prefix_tokens_saved,
    size_memory,
    tensor_degrees,
    weight_bytes,
    weight_bytes_per_gpu,
)
from sizing.model_config import Model, read_model_config
from sizing.precision import PRECISIONS, checkpoint_scheme, precision_named, scheme_for

GPUS = {row["gpu_model"]: gpu_from_row(row) for row in seed_rows("gpu_specifications")}


def published(name: str) -> Model:
    return read_model_config(CONFIGS[name][0])


def sample(samples: Path, name: str) -> Model:
    return read_model_config(json.loads((samples / "sizing" / "hf_configs" / f"{name}_config.json").read_text()))


# --- weights ---------------------------------------------------------------------------------------------------------


def test_gpt_oss_is_equal_to_the_byte(samples: Path) -> None:
    assert weight_bytes(sample(samples, "openai--gpt-oss-120b")) == 65_248_815_744  # hf-mem issue 60


@pytest.mark.parametrize(
    ("precision", "gigabytes"),
    # Reference 1.2: 141.1 GB, 72.7 with 16-bit embeddings, 39.8 as AWQ g128.
    [("bf16", 141.1), ("fp8", 72.7), ("awq", 39.8)],
)
def test_a_70b_model(samples: Path, precision: str, gigabytes: float) -> None:
    model = sample(samples, "meta-llama--Meta-Llama-3.1-70B")
    assert weight_bytes(model, precision) / 1e9 == pytest.approx(gigabytes, abs=0.06)


@pytest.mark.parametrize(
    ("precision", "bits"),
    [
        ("bf16", 16), ("fp8", 8), ("awq", 4.15625), ("gptq", 4.15625), ("awq-g32", 4.625), ("mxfp4", 4.25),
        ("nvfp4", 4.5), ("nf4", 4.127),
    ],
)  # fmt: skip
def test_bits_per_weight_of_the_reference(precision: str, bits: float) -> None:
    found = precision_named(precision)
    assert (found.matrix_bytes((4096, 4096)) - found.tensor_bytes) * 8 / 4096**2 == pytest.approx(bits, abs=5e-4)


def test_scales_by_block_and_channel() -> None:
    assert PRECISIONS["fp8_block"].matrix_bytes((300, 200)) == 300 * 200 + 3 * 2 * 4
    assert PRECISIONS["int8"].matrix_bytes((300, 200)) == 300 * 200 + 300 * 4


def test_scales_of_a_partial_group_are_whole() -> None:
    # 130 inputs are two groups of 128: 2 x 20 bits for each of 10 outputs.
    assert PRECISIONS["awq"].matrix_bytes((10, 130)) == 10 * 130 / 2 + 10 * 2 * 20 / 8


@pytest.mark.parametrize(
    ("name", "precision", "gib", "tolerance"),
    # "model loading took" of vLLM, reference 1.2; 2 % for AWQ.
    [
        ("Qwen/Qwen3-14B", None, 27.52, 0.001),
        ("Qwen/Qwen3-14B", "awq", 9.44, 0.005),
        ("Qwen/Qwen2.5-7B-Instruct", "awq", 5.29, 0.01),
    ],
)
def test_weights_loaded_by_vllm(name: str, precision: str | None, gib: float, tolerance: float) -> None:
    [loaded] = weight_bytes_per_gpu(published(name), precision)
    assert loaded / GIB == pytest.approx(gib, rel=tolerance)


def test_a_mixed_checkpoint_keeps_its_exceptions() -> None:
    """Kimi-K2.5's own list: attention, shared experts and dense layers stay at 16 bit."""
    content = dict(CONFIGS["moonshotai/Kimi-K2-Instruct"][0])
    content["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "config_groups": {
            "group_0": {
                "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}
            }
        },
        "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"],
    }
    model = read_model_config(content)
    assert scheme_for(model, scheme_for(model).name).is_checkpoint  # by the name it is shown under, too
    experts = model.parameters("routed_expert")
    by_hand = experts * (4 + 16 / 32) / 8 + (model.parameters() - experts) * 2
    assert weight_bytes(model) == by_hand


def test_exceptions_by_layer() -> None:
    content = dict(CONFIGS["Qwen/Qwen3-4B"][0])
    content["quantization_config"] = {
        "quant_method": "fp8",
        "modules_to_not_convert": ["model.layers.0.mlp", "model.layers.1.mlp.down_proj", "lm_head"],
    }
    model = read_model_config(content)
    without = weight_bytes(read_model_config({**content, "quantization_config": {"quant_method": "fp8"}}))
    one = 2560 * 9728
    assert weight_bytes(model) - without == (3 + 1) * one  # 16 bit instead of 8


@pytest.mark.parametrize(
    ("config", "name", "kv_bits"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8_block", None),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq", None),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "gptq-g32", None),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "gptq-8bit", None),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_scheme": {"num_bits": 8}}, "nvfp4", 8),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "nf4", None),
    ],
)
def test_quantization_config_is_honoured(config: dict[str, Any], name: str, kv_bits: int | None) -> None:
    scheme = checkpoint_scheme(read_model_config({**CONFIGS["Qwen/Qwen3-4B"][0], "quantization_config": config}))
    assert (scheme.name, scheme.kv_bits) == (name, kv_bits)


def test_an_unknown_quantisation_is_refused() -> None:
    model = read_model_config({**CONFIGS["Qwen/Qwen3-4B"][0], "quantization_config": {"quant_method": "aqlm"}})
    with pytest.raises(SizingError, match="'aqlm'.*give --precision"):
        weight_bytes(model)
    assert weight_bytes(model, "bf16") == 2 * model.parameters()


def test_asking_for_the_checkpoints_own_precision_means_the_checkpoint(samples: Path) -> None:
    assert weight_bytes(sample(samples, "openai--gpt-oss-120b"), "mxfp4") == 65_248_815_744
    assert scheme_for(sample(samples, "deepseek-ai--DeepSeek-V3"), "fp8").is_checkpoint
    assert not scheme_for(sample(samples, "deepseek-ai--DeepSeek-V3"), "nvfp4").is_checkpoint


def test_unknown_precision() -> None:
    with pytest.raises(SizingError, match="--precision 'int3' is not known; write one of"):
        precision_named("int3")


# --- shards ----------------------------------------------------------------------------------------------------------


def test_tensor_parallel_cuts_all_but_norms_and_repeated_heads() -> None:
    model = published("Qwen/Qwen3-14B")
    norms = model.parameters("norm") * 2
    [whole], [half] = weight_bytes_per_gpu(model), weight_bytes_per_gpu(model, parallel=Parallel(tensor=2))
    assert half == (whole - norms) / 2 + norms
    repeated = published("THUDM/GLM-4-9B-0414")  # two KV heads
    [quarter] = weight_bytes_per_gpu(repeated, parallel=Parallel(tensor=4))
    kv = sum(w.parameters for w in repeated.weights if w.shard == "kv") * 2
    whole_part = sum(w.parameters for w in repeated.weights if w.shard == "whole") * 2
    rest = 2 * repeated.parameters() - kv - whole_part
    assert quarter == rest / 4 + kv / 2 + whole_part


def test_attention_by_tensor_and_experts_by_expert_parallelism(samples: Path) -> None:
    """Reference 1.2: one divisor for all weights is wrong. 8 GPUs, attention cut by 2, experts spread over 8."""
    model = sample(samples, "Qwen--Qwen3-30B-A3B")
    spread = Parallel(tensor=2, data=4, is_expert=True)
    [each] = weight_bytes_per_gpu(model, parallel=spread)
    experts = model.parameters("routed_expert") * 2
    whole = sum(w.parameters for w in model.weights if w.shard == "whole") * 2
    rest = 2 * model.parameters() - experts - whole
    assert each == experts / 8 + rest / 2 + whole


def test_pipeline_stages_share_the_layers() -> None:
    model = published("Qwen/Qwen3-14B")  # 40 layers
    stages = weight_bytes_per_gpu(model, parallel=Parallel(pipeline=3))
    assert sum(stages) == 2 * model.parameters()
    layer = (2 * model.parameters() - 2 * 2 * 151936 * 5120 - 2 * 5120) / 40
    assert stages[1] == 14 * layer  # 13, 14, 13: what is left over goes to the stage before the last


@pytest.mark.parametrize("tensor", [1, 2, 4, 8])
def test_tensor_parallel_halves_the_cache_until_heads_run_out(tensor: int) -> None:
    model = published("Qwen/Qwen2.5-7B-Instruct")  # four KV heads
    assert kv_bytes_per_token(model, tensor=tensor) == 57_344 / min(tensor, 4)


def test_a_latent_is_held_by_every_gpu(samples: Path) -> None:
    model = sample(samples, "deepseek-ai--DeepSeek-V3")
    assert kv_bytes_per_token(model, tensor=8) == 70_272
    assert kv_bytes_per_token(model, "fp8") == 35_136
    assert kv_bytes_per_token(model, "fp8_ds_mla") == pytest.approx(40_016)
    with pytest.raises(SizingError, match="not one of this model"):
        kv_bytes_per_token(published("Qwen/Qwen3-4B"), "fp8_ds_mla")


def test_data_parallel_attention_gives_a_latent_model_its_cache_back(samples: Path) -> None:
    """Eight copies of the pool instead of one latent held eight times (vLLM issue 51454: 7.7 times the tokens)."""
    model = sample(samples, "deepseek-ai--DeepSeek-V3")
    gpu = GPUS["H200-SXM-141GB"]
    quiet = Overheads(2, 4, 1)
    tp8 = size_memory(model, gpu, parallel=Parallel(tensor=8, is_expert=True), max_context_tokens=8192, overheads=quiet)
    dp8 = size_memory(model, gpu, parallel=Parallel(data=8, is_expert=True), max_context_tokens=8192, overheads=quiet)
    assert dp8.pool_tokens.low / tp8.pool_tokens.low == pytest.approx(8 * dp8.pool_gib / tp8.pool_gib, rel=0.001)
    # Each copy holds all of the attention weights: the pool is smaller, and still five times the tokens fit.
    assert dp8.weights_gib > tp8.weights_gib
    assert dp8.pool_tokens.low > 5 * tp8.pool_tokens.low


def test_degrees_that_divide_no_heads_are_refused() -> None:
    model = published("Qwen/Qwen2.5-7B-Instruct")  # 28 heads, 4 KV heads
    assert tensor_degrees(model, limit=8) == [1, 2, 4]
    with pytest.raises(SizingError, match="tensor parallel 8 does not divide the model's 28 attention heads") as error:
        check_parallel(model, Parallel(tensor=8))
    assert "possible are 1, 2, 4, 28" not in str(error.value)
    assert "possible are 1, 2, 4" in str(error.value)
    with pytest.raises(SizingError, match="needs a model with experts"):
        check_parallel(model, Parallel(tensor=2, is_expert=True))


# --- vLLM's accounting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "share", "weights", "non_torch", "activation", "logged"),
    # Reference 1.4, GiB: requested (already the share of the total), weights, non-torch, activation -> pool in the log.
    [
        (71.29, 1, 14.96, 1.79, 1.26, 53.29),
        (39.5, 0.9, 14.96, 0.10, 9.37, 11.12),
        (14.56, 0.9, 0.93, 0.11, 1.44, 10.63),
        (39.5, 0.9, 27.63, 0.93, 1.27, 5.71),
        (14.56, 0.5, 2.89, 0.01, 2.02, 2.36),
    ],
)
def test_the_identity_of_the_logs(
    total: float, share: float, weights: float, non_torch: float, activation: float, logged: float
) -> None:
    old = EngineSettings(version="0.9.0", utilization=share)
    assert kv_pool_gib(total, weights, Overheads(non_torch, activation, 0.6), old) == pytest.approx(logged, abs=0.0201)


def test_graphs_are_subtracted_since_021() -> None:
    held = Overheads(0.1, 1.0, 0.6)
    old = kv_pool_gib(40, 20, held, EngineSettings(version="0.20.1", utilization=0.9))
    new = kv_pool_gib(40, 20, held, EngineSettings(version="0.21.0", utilization=0.9))
    assert old - new == pytest.approx(0.6)
    assert (EngineSettings(version="0.20.1").memory_share, EngineSettings().memory_share) == (0.90, 0.92)
    # TensorRT-LLM takes its share of what is left after loading.
    assert kv_pool_gib(40, 20, held, EngineSettings("trtllm", utilization=0.9)) == pytest.approx((40 - 21.7) * 0.9)


LOGGED_MODELS = {
    "Llama-3-8B": ("meta-llama--Meta-Llama-3.1-8B", 0),
    "Llama-3.1-8B+EAGLE(1 layer)": ("meta-llama--Meta-Llama-3.1-8B", 1),
    "Qwen2.5-0.5B": ("Qwen/Qwen2.5-0.5B", 0),
    "Qwen2.5-1.5B": ("Qwen/Qwen2.5-1.5B", 0),
    "Qwen3-14B": ("Qwen/Qwen3-14B", 0),
    "Qwen3-14B-AWQ": ("Qwen/Qwen3-14B", 0),
    "Qwen3-4B": ("Qwen/Qwen3-4B", 0),
    "Qwen3-4B-FP8": ("Qwen/Qwen3-4B", 0),
    "gpt-oss-120b": ("openai--gpt-oss-120b", 0),
}


def test_tokens_from_the_logged_pool(samples: Path) -> None:
    """At most 0.1 % beside the log on every row that is no row of several ranks."""
    with (samples / "sizing" / "vllm_kv_logs" / "kv_reference_points.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["model"] in LOGGED_MODELS]
    assert len(rows) == 9
    for row in rows:
        name, draft_layers = LOGGED_MODELS[row["model"]]
        model = published(name) if name in CONFIGS else sample(samples, name)
        pool = float(row["available_kv_gib_per_gpu"]) / draft_layers_ratio(model, draft_layers)
        context = int(row["max_model_len"] or 131072)
        tokens = pool_tokens_from_gib(pool, model, max_context_tokens=context)
        assert tokens == pytest.approx(int(row["kv_tokens_logged"]), rel=0.001), row["model"]


@pytest.mark.parametrize(
    ("tokens", "context", "concurrency"),
    # Reference section 7.2: the pool and concurrency of eight logs.
    [
        (410_128, 131_072, 3.13), (91_056, 8_192, 11.12), (928_944, 32_768, 28.35), (88_304, 32_768, 2.69),
        (75_824, 40_960, 1.85), (194_192, 40_960, 4.74), (138_064, 131_072, 1.05), (162_144, 32_768, 4.95),
    ],
)  # fmt: skip
def test_concurrency_of_the_logs(tokens: int, context: int, concurrency: float) -> None:
    model = published("Qwen/Qwen3-4B")
    memory = size_memory(model, GPUS["RTX-5090-32GB"], max_context_tokens=1024)
    memory = replace(memory, blocks=tokens // 16, max_context_tokens=context)
    assert memory.max_concurrency.low == pytest.approx(concurrency, abs=0.005)


def test_hybrid_models_have_two_bounds(samples: Path) -> None:
    model = sample(samples, "openai--gpt-oss-120b")
    bounds = kv_bytes_per_sequence(model, 10_000)
    each = 2 * 8 * 64 * 2
    assert bounds.high == 36 * each * 10_000
    assert bounds.low == 18 * each * 10_000 + 18 * each * 128
    memory = size_memory(model, GPUS["H100-SXM-80GB"], max_context_tokens=131_072)
    assert memory.max_concurrency.low < memory.max_concurrency.high < 2.01 * memory.max_concurrency.low


def test_layers_with_heads_of_their_own() -> None:
    """Gemma 4 31B: 50 sliding layers with 16 KV heads of 256, 10 that see all with 4 of 512."""
    model = published("google/gemma-4-31B-it")
    assert kv_bytes_per_token(model) == 50 * 2 * 16 * 256 * 2 + 10 * 2 * 4 * 512 * 2
    assert kv_bytes_per_token(model, tensor=8) == 50 * 2 * 16 * 256 * 2 / 8 + 10 * 2 * 4 * 512 * 2 / 4
    bounds = kv_bytes_per_sequence(model, 100_000)
    assert bounds.low == 50 * 2 * 16 * 256 * 2 * 1024 + 10 * 2 * 4 * 512 * 2 * 100_000


def test_a_window_is_kept_in_whole_blocks_and_one_more() -> None:
    model = published("mistralai/Mistral-7B-v0.1")
    bounds = kv_bytes_per_sequence(model, 32_768, block_tokens=16, batched_tokens=2048)
    # ceil((4096 - 1 + 2048) / 16) = 384 blocks, and one more: 6160 tokens of 32 layers x 2 x 8 x 128 x 2 bytes.
    assert bounds.low == 6160 * 131_072


@given(st.integers(16, 100_000), st.sampled_from(["Qwen/Qwen3-4B", "google/gemma-3-27b", "Qwen/Qwen3.5-27B"]))
def test_a_longer_sequence_never_keeps_less(tokens: int, name: str) -> None:
    model = published(name)
    now, later = kv_bytes_per_sequence(model, tokens), kv_bytes_per_sequence(model, tokens + 16)
    assert now.low <= now.high
    assert now.low <= later.low
    assert now.high < later.high


@pytest.mark.parametrize("name", ["Qwen/Qwen3-4B", "google/gemma-3-27b"])
def test_an_8_bit_cache_holds_twice_the_tokens(name: str) -> None:
    model = published(name)
    full, half = (pool_tokens_from_gib(10, model, kv, max_context_tokens=8192) for kv in ("bf16", "fp8"))
    assert half / full == pytest.approx(2, abs=0.002)
    assert kv_bytes_per_token(model) == 2 * kv_bytes_per_token(model, "fp8")


def test_the_wall_for_requests_of_a_size() -> None:
    memory = size_memory(published("Qwen/Qwen3-14B"), GPUS["L40S-48GB"], max_context_tokens=40_960)
    wall = memory.wall(1024, 512)
    tokens = memory.blocks * 16
    assert wall.worst == tokens // 1536
    assert wall.average == pytest.approx(tokens / 1280, abs=1)
    assert wall.engine == 256
    assert shared_prefix_tokens_saved(100, 4) == 3 * 96


def test_what_does_not_fit_says_so() -> None:
    memory = size_memory(published("Qwen/Qwen2.5-72B"), GPUS["L40S-48GB"], max_context_tokens=8192)
    assert not memory.fits
    assert memory.pool_gib < 0
    assert memory.max_concurrency.high == 0
    assert memory.wall(100, 100).usable == 0


def test_context_beyond_the_models_limit() -> None:
    with pytest.raises(SizingError, match="--context 200000 is longer than the 32768 tokens the model allows"):
        size_memory(published("Qwen/Qwen2.5-72B"), GPUS["L40S-48GB"], max_context_tokens=200_000)


def test_gpu_names() -> None:
    assert find_gpu("l40s", GPUS).name == "L40S-48GB"
    assert find_gpu("H100 SXM", GPUS).name == "H100-SXM-80GB"
    with pytest.raises(SizingError, match="H100-PCIE-80GB or H100-SXM-80GB or H100-NVL-94GB"):
        find_gpu("H100", GPUS)
    with pytest.raises(SizingError, match="no specifications here; known are A100"):
        find_gpu("Voodoo2", GPUS)


def test_specifications_are_those_of_the_facts(samples: Path) -> None:
    """The seed keeps one value where the facts give a range: it must lie within."""
    with (samples / "sizing" / "gpu_specs" / "gpu_facts.csv").open(encoding="utf-8") as stream:
        facts = {row["gpu"]: row for row in csv.DictReader(stream)}
    for name, canonical in {"L40S": "L40S-48GB", "B200 SXM": "B200-180GB", "T4": "T4-16GB"}.items():
        low, high = (float(end) for end in facts[name]["usable_gib_seen_by_torch"].split("-"))
        assert low <= GPUS[canonical].usable_gib <= high
        assert math.isclose(GPUS[canonical].bf16_tflops, float(facts[name]["fp16_bf16_dense_tflops"]))
