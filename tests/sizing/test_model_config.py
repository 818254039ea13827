"""Parameter counts and caches of models, against transformers' own count and by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from architectures import CONFIGS

from sizing.errors import SizingError
from sizing.memory import kv_bytes_per_token
from sizing.model_config import Model, read_model_config

LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 131072,
}


def sample_model(samples: Path, name: str) -> Model:
    return read_model_config(json.loads((samples / "sizing" / "hf_configs" / f"{name}_config.json").read_text()))


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_those_of_transformers(name: str) -> None:
    content, parameters = CONFIGS[name]
    assert read_model_config(content).parameters() == parameters


def test_parameters_of_the_published_configs(samples: Path) -> None:
    counts = json.loads((samples / "sizing" / "hf_configs" / "params_meta_device.json").read_text())
    assert len(counts) == 8
    for name, expected in counts.items():
        model = sample_model(samples, name)
        assert model.parameters() == expected["total"], name
        assert model.parameters("embedding") == expected["embed"]
        assert model.parameters("head") == (0 if expected["tied"] else expected["lm_head"])
        experts = sum(weight.parameters for weight in model.weights if weight.shard == "expert")
        assert experts == expected["routed_expert_params"], name


@pytest.mark.parametrize(
    ("name", "bytes_per_token"),
    [
        ("meta-llama--Meta-Llama-3.1-8B", 131_072),
        ("meta-llama--Meta-Llama-3.1-70B", 327_680),
        ("mistralai--Mixtral-8x7B-v0.1", 131_072),
        ("Qwen--Qwen3-8B", 147_456),
        ("Qwen--Qwen3-32B", 262_144),
        ("Qwen--Qwen3-30B-A3B", 98_304),
        ("openai--gpt-oss-120b", 73_728),
        ("deepseek-ai--DeepSeek-V3", 70_272),
    ],
)
def test_cache_bytes_per_token_of_the_reference(samples: Path, name: str, bytes_per_token: int) -> None:
    assert kv_bytes_per_token(sample_model(samples, name)) == bytes_per_token


def test_active_parameters_by_hand(samples: Path) -> None:
    # Mixtral: all but the experts, and 2 of 8 of these: 46,702,792,704 - 45,097,156,608 x 6/8.
    assert sample_model(samples, "mistralai--Mixtral-8x7B-v0.1").active_parameters == 12_879_925_248
    # A dense model is all active; its embedding of 128,256 x 4,096 is looked up, not multiplied.
    llama = read_model_config(LLAMA_8B)
    assert llama.active_parameters == 8_030_261_248
    assert llama.compute_parameters == 8_030_261_248 - 525_336_576


def test_a_tied_head_is_multiplied_and_counted_once() -> None:
    tied = read_model_config({**LLAMA_8B, "tie_word_embeddings": True})
    assert tied.parameters() == 8_030_261_248 - 525_336_576
    assert tied.compute_parameters == tied.parameters()


@pytest.mark.parametrize(
    ("name", "windows"),
    [
        ("google/gemma-2-9b", {4096: 21, None: 21}),
        ("google/gemma-3-27b", {1024: 52, None: 10}),
        ("mistralai/Mistral-7B-v0.1", {4096: 32}),
        ("Qwen/Qwen2.5-7B-Instruct", {None: 28}),  # has a sliding_window that use_sliding_window switches off
        ("openai/gpt-oss-20b", {128: 12, None: 12}),
    ],
)
def test_layers_with_a_window(name: str, windows: dict[int | None, int]) -> None:
    model = read_model_config(CONFIGS[name][0])
    assert {cache.window_tokens: cache.layers for cache in model.caches} == windows


def test_linear_attention_keeps_a_state_and_no_tokens() -> None:
    model = read_model_config(CONFIGS["Qwen/Qwen3.5-27B"][0])
    full, linear = model.caches
    assert (full.layers, linear.layers) == (16, 48)
    assert linear.elements_per_token == 0
    # 48 value heads x 128 x 128 in 32 bit, and (2·16·128 + 48·128) channels x 3 inputs in 16 bit.
    assert linear.state_bytes == 48 * 128 * 128 * 4 + 10_240 * 3 * 2


def test_context_with_yarn_scaling(samples: Path) -> None:
    assert sample_model(samples, "deepseek-ai--DeepSeek-V3").max_context_tokens == 4096 * 40
    assert sample_model(samples, "openai--gpt-oss-120b").max_context_tokens == 4096 * 32
    assert sample_model(samples, "meta-llama--Meta-Llama-3.1-8B").max_context_tokens == 131_072  # llama3: included
    scaled = {**LLAMA_8B, "max_position_embeddings": 32768, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}
    assert read_model_config(scaled).max_context_tokens == 131_072


def test_fields_taken_by_default_are_told() -> None:
    old_llama = {key: value for key, value in LLAMA_8B.items() if key != "num_key_value_heads"}
    model = read_model_config(old_llama)
    assert model.kv_heads == 32
    assert any("num_key_value_heads" in note for note in model.notes)
    wrapped = read_model_config(CONFIGS["google/gemma-3-4b-it"][0])
    assert any("num_attention_heads" in note and "default" in note for note in wrapped.notes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"num_attention_heads": None}, "num_attention_heads is missing"),
        ({"model_type": "qwen3", "num_key_value_heads": None}, "num_key_value_heads is missing"),
        ({"hidden_size": "4096"}, "hidden_size is '4096'; it must be a whole number"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_key_value_heads": 5}, "32 is no multiple of num_key_value_heads 5"),
        ({"torch_dtype": "float8_e4m3fn"}, "torch_dtype is 'float8_e4m3fn'"),
        ({"model_type": "mamba"}, "how its layers are built is not known here"),
        ({"model_type": None}, "no model_type"),
        ({"model_type": "mixtral"}, "number of experts"),
        ({"attention_bias": "yes"}, "attention_bias is 'yes'; it must be true or false"),
        ({"num_attention_heads": 30, "num_key_value_heads": 5}, "head_dim is missing"),
        ({"model_type": "deepseek_v3"}, "kv_lora_rank is missing"),
    ],
)
def test_what_is_missing_is_said(change: dict[str, Any], told: str) -> None:
    with pytest.raises(SizingError, match="config.json") as error:
        read_model_config({**LLAMA_8B, **change})
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["num_kv_shared_layers", "hidden_size_per_layer_input"])
def test_parts_of_gemma_4_that_are_not_known(name: str) -> None:
    content = dict(CONFIGS["google/gemma-4-31B-it"][0])
    content["text_config"] = {**content["text_config"], name: 20}
    with pytest.raises(SizingError, match=f"{name} is 20: .* not known here"):
        read_model_config(content)


def test_more_experts_chosen_than_there_are() -> None:
    content = {**LLAMA_8B, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 8}
    with pytest.raises(SizingError, match="num_experts_per_tok 8 is more than the 4 experts"):
        read_model_config(content)
