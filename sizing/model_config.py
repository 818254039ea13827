"""What a language model is made of, read from its Hugging Face `config.json`.

A model is a list of weights with names and shapes, and a list of caches: parameter counts, bytes at any precision and
shards are sums over it. The shapes are those of `transformers` 5 (its modelling code, checked weight for weight on the
torch meta device, see tests/sizing/test_model_config.py). An architecture that is not listed here is refused.
"""

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sizing.errors import SizingError

Part = Literal[
    "embedding", "head", "attention", "dense_mlp", "routed_expert", "shared_expert", "router", "norm", "bias"
]
# How tensor parallelism treats a weight: cut by the degree, cut by the KV heads at most, spread with the experts, or
# held whole by every rank.
Shard = Literal["tensor", "kv", "expert", "whole"]
# Weights that quantisation leaves alone unless a checkpoint says otherwise: embeddings, head, routers, norms and biases
# (reference: bytes per weight).
QUANTISED_PARTS: frozenset[Part] = frozenset({"attention", "dense_mlp", "routed_expert", "shared_expert"})


@dataclass(frozen=True, slots=True)
class Weight:
    """Equal tensors: one per layer of `layers`, times `copies` (experts) in each.

    `shape` is (outputs, inputs) of a matrix, or (length,) of a vector. `name` holds `{}` where the layer's number goes.
    """

    name: str
    part: Part
    shape: tuple[int, ...]
    shard: Shard
    layers: tuple[int, ...] = ()
    copies: int = 1
    kv_heads: int = 0  # of a weight cut by KV heads

    @property
    def size(self) -> int:
        """Parameters of one tensor."""
        return math.prod(self.shape)

    @property
    def count(self) -> int:
        """Tensors."""
        return max(len(self.layers), 1) * self.copies

    @property
    def parameters(self) -> int:
        """Parameters of all of them."""
        return self.size * self.count


@dataclass(frozen=True, slots=True)
class Cache:
    """What `layers` equal layers remember of a sequence.

    Attributes:
        layers: how many.
        elements_per_token: numbers kept per token and layer; 0 for a linear-attention layer.
        heads: KV heads over which tensor parallelism can cut it; 1 for a latent, which every rank holds whole.
        window_tokens: of a sliding or chunked layer, else None.
        state_bytes: a constant per sequence and layer (linear attention).
        fixed_bytes_per_token: bytes per token and layer whatever the precision of the cache (index keys).
    """

    layers: int
    elements_per_token: int
    heads: int
    window_tokens: int | None = None
    state_bytes: int = 0
    fixed_bytes_per_token: int = 0


@dataclass(frozen=True)
class Model:
    """A language model as its configuration describes it.

    Attributes:
        family: `model_type` of the language part.
        experts_per_token: 0 for a dense model.
        weights: every tensor; the prediction layers for speculative decoding and vision towers are left out.
        caches: by kind of layer.
        max_context_tokens: what the position encoding allows, scaling included; None where the file does not say.
        dtype: as stated; None where it is not.
        quantization: the checkpoint's own `quantization_config`, {} for none.
        notes: what was left out or taken by the default of `transformers`, in sentences.
    """

    family: str
    hidden_size: int
    layers: int
    vocab_size: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    experts: int
    experts_per_token: int
    is_tied: bool
    is_latent: bool
    weights: tuple[Weight, ...]
    caches: tuple[Cache, ...]
    max_context_tokens: int | None
    dtype: str | None
    quantization: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def parameters(self, *parts: Part) -> int:
        """Parameters, of the named parts or of all; a tied head is counted once, in the embedding."""
        return sum(weight.parameters for weight in self.weights if not parts or weight.part in parts)

    def _experts_used(self, weight: Weight) -> int:
        idle = weight.copies - self.experts_per_token if weight.shard == "expert" else 0
        return weight.size * max(len(weight.layers), 1) * (weight.copies - idle)

    @property
    def active_parameters(self) -> int:
        """Parameters one token passes: routed experts count as often as they are chosen (sizing.md 1.1)."""
        return sum(self._experts_used(weight) for weight in self.weights)

    @property
    def compute_parameters(self) -> int:
        """Parameters a token is multiplied with: active ones without the embedding, which is looked up.

        The head is multiplied, also where it is tied to the embedding.
        """
        looked_up = 0 if self.is_tied else self.vocab_size * self.hidden_size
        return self.active_parameters - looked_up


class _Fields:
    """Typed reading of a configuration; a field that is missing or odd ends in a sentence."""

    def __init__(self, content: Mapping[str, Any], family: str, defaults: Mapping[str, Any]) -> None:
        self.content = content
        self.family = family
        self.defaults = defaults
        self.notes: list[str] = []

    def get(self, *names: str) -> Any:
        """The first of `names` that is given and not null, else the family's default, else None."""
        for name in names:
            if self.content.get(name) is not None:
                return self.content[name]
        for name in names:
            if name in self.defaults:
                return self.defaults[name]
        return None

    def integer(self, *names: str, least: int = 1) -> int:
        value = self.optional(*names, least=least)
        if value is None:
            raise SizingError(
                f"config.json: {names[0]} is missing; a {self.family} model cannot be sized without it "
                f"(take the config.json that stands beside the weights)"
            )
        if all(self.content.get(name) is None for name in names):
            self.notes.append(f"{names[0]} is not stated; {value}, the default of transformers, was taken")
        return value

    def optional(self, *names: str, least: int = 1) -> int | None:
        value: object = self.get(*names)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SizingError(f"config.json: {names[0]} is {value!r}; it must be a whole number, {least} or more")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise SizingError(f"config.json: {name} is {value!r}; it must be true or false")
        return value


@dataclass(frozen=True)
class _Family:
    """How one architecture differs from Llama; each entry as in its modelling code in transformers."""

    qkv_bias: bool | str = "attention_bias"
    o_bias: bool | str = "attention_bias"
    mlp_bias: bool = False  # whether the key mlp_bias is heeded
    qk_norm: Literal["", "head", "whole", "use_qk_norm"] = ""
    norms_per_layer: int = 2
    is_gated_attention: bool = False  # the query projection is doubled by an output gate
    has_sinks: bool = False
    has_global_heads: bool = False  # layers that see all have heads of their own size and number (Gemma 4)
    is_tied: bool = False
    experts: Literal["", "all", "after_first_k", "qwen", "interleaved", "beside"] = ""
    expert_size: tuple[str, ...] = ("moe_intermediate_size",)
    router_bias: bool = False
    expert_bias: bool = False
    shared: Literal["", "count", "size", "one"] = ""
    shared_gate: bool = False
    window: Literal["", "all", "use_sliding_window", "even", "pattern", "chunk"] = ""
    window_pattern: int = 2
    is_latent: bool = False
    has_indexer: bool = False
    mha_by_default: bool = False  # num_key_value_heads left out means as many as query heads
    defaults: Mapping[str, Any] = field(default_factory=dict)


# Gemma 3's published files leave out what equals the default (transformers 5, Gemma3TextConfig).
_GEMMA3_DEFAULTS = {
    "vocab_size": 262_208,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 4096,
    "max_position_embeddings": 131_072,
}
_GEMMA3 = _Family(
    norms_per_layer=4, qk_norm="head", is_tied=True, window="pattern", window_pattern=6, defaults=_GEMMA3_DEFAULTS
)
_QWEN2 = _Family(qkv_bias=True, o_bias=False, window="use_sliding_window")
_QWEN3 = _Family(qk_norm="head", window="use_sliding_window")
_QWEN3_MOE = _Family(qk_norm="head", window="use_sliding_window", experts="qwen")
_QWEN3_NEXT = _Family(qk_norm="head", is_gated_attention=True)
_QWEN3_NEXT_MOE = _Family(qk_norm="head", is_gated_attention=True, experts="qwen", shared="size", shared_gate=True)
_DEEPSEEK = _Family(is_latent=True, experts="after_first_k", shared="count")
_DEEPSEEK_SPARSE = _Family(is_latent=True, has_indexer=True, experts="after_first_k", shared="count")
_MISTRAL = _Family(qkv_bias=False, o_bias=False, window="all")

_FAMILIES: dict[str, _Family] = {
    "llama": _Family(mlp_bias=True, mha_by_default=True),
    "mistral": _MISTRAL,
    "ministral": _MISTRAL,
    "ministral3": _MISTRAL,
    "mixtral": _Family(qkv_bias=False, o_bias=False, window="all", experts="all", expert_size=("intermediate_size",)),
    "qwen2": _QWEN2,
    "qwen2_vl_text": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    "qwen2_moe": _Family(
        qkv_bias=True, o_bias=False, window="use_sliding_window", experts="qwen", shared="size", shared_gate=True
    ),
    "qwen3": _QWEN3,
    "qwen3_vl_text": _QWEN3,
    "qwen3_moe": _QWEN3_MOE,
    "qwen3_vl_moe_text": _QWEN3_MOE,
    "qwen3_next": _QWEN3_NEXT_MOE,
    "qwen3_5_text": _QWEN3_NEXT,
    "qwen3_5_moe_text": _QWEN3_NEXT_MOE,
    "gemma": _Family(is_tied=True),
    "gemma2": _Family(norms_per_layer=4, is_tied=True, window="even"),
    "gemma3_text": _GEMMA3,
    "gemma4_text": _Family(
        norms_per_layer=4,
        qk_norm="head",
        is_tied=True,
        has_global_heads=True,
        window="pattern",
        window_pattern=6,
        experts="beside",
    ),
    "phi3": _Family(qkv_bias=False, o_bias=False, window="all", mha_by_default=True),
    "granite": _Family(mlp_bias=True, mha_by_default=True),
    "smollm3": _Family(mlp_bias=True, is_tied=True, window="use_sliding_window"),
    "seed_oss": _Family(o_bias="attention_out_bias", mlp_bias=True),
    "olmo2": _Family(qk_norm="whole", mha_by_default=True),
    "cohere2": _Family(norms_per_layer=1, is_tied=True, window="pattern", window_pattern=4, mha_by_default=True),
    "glm4": _Family(o_bias=False, norms_per_layer=4),
    "glm4_moe": _Family(o_bias=False, qk_norm="use_qk_norm", experts="after_first_k", shared="count"),
    "minimax_m2": _Family(
        qkv_bias=False, o_bias=False, qk_norm="whole", experts="all", expert_size=("intermediate_size",)
    ),
    "llama4_text": _Family(experts="interleaved", expert_size=("intermediate_size",), shared="one", window="chunk"),
    "gpt_oss": _Family(
        has_sinks=True,
        experts="all",
        expert_size=("intermediate_size",),
        router_bias=True,
        expert_bias=True,
        window="even",
    ),
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "deepseek_v32": _DEEPSEEK_SPARSE,
    "glm_moe_dsa": _DEEPSEEK_SPARSE,
}
# Multimodal wrappers whose language part stands in the file's top level or names no type of its own.
_LANGUAGE_PARTS = {
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "qwen2_vl": "qwen2",
    "qwen2_5_vl": "qwen2",
    "mistral3": "mistral",
}
SUPPORTED_FAMILIES = tuple(sorted({*_FAMILIES, *_LANGUAGE_PARTS}))

_DTYPES = ("bfloat16", "float16", "float32", "auto")
_SCALED_BY_FACTOR = {"yarn", "linear", "dynamic"}  # vLLM's rule for the longest context; llama3 scaling is included


def read_model_config(content: Mapping[str, Any]) -> Model:
    """Returns the model a parsed `config.json` describes.

    Raises:
        SizingError: the architecture is not known, or a field that it needs is missing or odd.
    """
    if not isinstance(content, Mapping):
        raise SizingError("config.json: must hold one JSON object, as published beside the weights")
    text = content
    for key in ("text_config", "llm_config", "language_config"):
        if isinstance(content.get(key), Mapping):
            text = content[key]
    family = _family_name(text.get("model_type") or content.get("model_type"), content)
    spec = _FAMILIES[family]
    fields = _Fields(text, family, spec.defaults)
    builder = _Builder(fields, spec)
    tied = content.get("tie_word_embeddings", text.get("tie_word_embeddings"))
    notes = []
    if "vision_config" in content or "audio_config" in content:
        notes.append("the language part alone is counted: the vision or audio tower comes on top")
    if text.get("num_nextn_predict_layers") or text.get("mtp_num_hidden_layers") or text.get("num_mtp_modules"):
        notes.append("the layers for multi-token prediction are not counted: engines load them on request only")
    dtype = text.get("torch_dtype", text.get("dtype", content.get("torch_dtype", content.get("dtype"))))
    if dtype is not None and dtype not in _DTYPES:
        raise SizingError(
            f"config.json: torch_dtype is {dtype!r}; the dtypes of unquantised weights are {', '.join(_DTYPES[:3])} "
            f"(a quantised checkpoint says so in quantization_config)"
        )
    quantization = content.get("quantization_config") or text.get("quantization_config") or {}
    if not isinstance(quantization, Mapping):
        raise SizingError("config.json: quantization_config must be an object")
    return builder.build(
        is_tied=spec.is_tied if tied is None else bool(tied), dtype=dtype, quantization=quantization, notes=notes
    )


def _family_name(stated: object, content: Mapping[str, Any]) -> str:
    name = str(stated) if stated is not None else ""
    name = _LANGUAGE_PARTS.get(name, name)
    if name in _FAMILIES:
        return name
    architectures = content.get("architectures")
    shown = f"model_type {stated!r}" if stated else "no model_type"
    if architectures:
        shown += f", architectures {architectures!r}"
    raise SizingError(
        f"config.json: {shown}: how its layers are built is not known here, and sizes are not guessed; "
        f"known are {', '.join(SUPPORTED_FAMILIES)}"
    )


class _Builder:
    def __init__(self, fields: _Fields, spec: _Family) -> None:
        self.fields = fields
        self.spec = spec
        self.weights: list[Weight] = []
        self.hidden = fields.integer("hidden_size")
        self.layers = fields.integer("num_hidden_layers")
        self.vocab = fields.integer("vocab_size")
        self.heads = fields.integer("num_attention_heads")
        self.all_layers = tuple(range(self.layers))
        self.experts_per_token = 0
        self.experts = 0

    def build(self, *, is_tied: bool, dtype: str | None, quantization: Mapping[str, Any], notes: list[str]) -> Model:
        self._add("embed_tokens", "embedding", (self.vocab, self.hidden), "tensor", ())
        if not is_tied:
            self.weights.append(Weight("lm_head", "head", (self.vocab, self.hidden), "tensor"))
        self.kv_heads = self._kv_heads()
        attention_layers, linear_layers = self._layers_by_attention()
        if linear_layers:
            self._linear_attention(linear_layers)
        if self.spec.has_global_heads:
            head_dim, kv_heads, caches = self._two_attentions()
        else:
            head_dim, elements, kv_heads = (
                self._latent_attention() if self.spec.is_latent else self._attention(attention_layers)
            )
            caches = [
                Cache(layers=count, elements_per_token=elements, heads=kv_heads, window_tokens=window)
                for window, count in self._windows(attention_layers)
            ]
        self._mlps()
        for number in range(self.spec.norms_per_layer):
            self._add(f"layers.{{}}.norm{number}", "norm", (self.hidden,), "whole", self.all_layers)
        self._add("norm", "norm", (self.hidden,), "whole", ())
        if self.spec.has_indexer:
            # Index keys of DeepSeek sparse attention: FP8 with one FP32 scale per 128 (vLLM's indexer cache).
            keys = self.fields.integer("index_head_dim") + 4
            caches.append(Cache(len(self._index_layers()), 0, 1, fixed_bytes_per_token=keys))
        if linear_layers:
            caches.append(self._linear_state(len(linear_layers)))
        return Model(
            family=self.fields.family,
            hidden_size=self.hidden,
            layers=self.layers,
            vocab_size=self.vocab,
            attention_heads=self.heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            intermediate_size=self._widest_mlp(),
            experts=self.experts,
            experts_per_token=self.experts_per_token,
            is_tied=is_tied,
            is_latent=self.spec.is_latent,
            weights=tuple(self.weights),
            caches=tuple(caches),
            max_context_tokens=self._max_context(),
            dtype=dtype,
            quantization=quantization,
            notes=(*notes, *self.fields.notes),
        )

    def _add(
        self, name: str, part: Part, shape: tuple[int, ...], shard: Shard, layers: tuple[int, ...], copies: int = 1
    ) -> None:
        if layers or "{}" not in name:
            self.weights.append(Weight(f"model.{name}", part, shape, shard, layers, copies))

    def _linear(
        self,
        name: str,
        part: Part,
        outputs: int,
        inputs: int,
        shard: Shard,
        layers: tuple[int, ...],
        *,
        bias: bool = False,
    ) -> None:
        self._add(name, part, (outputs, inputs), shard, layers)
        if bias:
            self._add(f"{name}.bias", "bias", (outputs,), shard, layers)

    def _flag(self, setting: bool | str, default: bool = False) -> bool:
        return self.fields.flag(setting, default) if isinstance(setting, str) else setting

    # --- attention ---------------------------------------------------------------------------------------------------

    def _kv_heads(self) -> int:
        if self.spec.is_latent:
            return 1
        if self.spec.mha_by_default and self.fields.get("num_key_value_heads") is None:
            self.fields.notes.append("num_key_value_heads is not stated: one per attention head, as in transformers")
            return self.heads
        kv_heads = self.fields.integer("num_key_value_heads")
        if self.heads % kv_heads:
            raise SizingError(
                f"config.json: num_attention_heads {self.heads} is no multiple of num_key_value_heads {kv_heads}"
            )
        return kv_heads

    def _head_dim(self) -> int:
        stated = self.fields.optional("head_dim")
        if stated is None and self.hidden % self.heads:
            raise SizingError(
                f"config.json: head_dim is missing and hidden_size {self.hidden} is no multiple of "
                f"num_attention_heads {self.heads}; state head_dim"
            )
        return stated or self.hidden // self.heads

    def _two_attentions(self) -> tuple[int, int, list[Cache]]:
        """Adds Gemma 4's: sliding layers, and layers that see all with heads of their own whose values are the keys."""
        fields = self.fields
        for name, what in (
            ("num_kv_shared_layers", "layers that reuse the cache of others"),
            ("hidden_size_per_layer_input", "embeddings of each layer"),
        ):
            if fields.optional(name, least=0):
                raise SizingError(f"config.json: {name} is {fields.get(name)}: {what} are not known here")
        kinds = self._layer_types()
        if kinds is None:
            raise SizingError("config.json: layer_types is missing; it says which layers see all")
        window = fields.integer("sliding_window")
        sliding = tuple(i for i in self.all_layers if kinds[i] == "sliding_attention")
        whole = tuple(i for i in self.all_layers if i not in set(sliding))
        dim, elements, heads = self._attention(sliding)
        wide, wide_heads = fields.integer("global_head_dim"), self.kv_heads
        if fields.flag("attention_k_eq_v", False):
            wide_heads = fields.integer("num_global_key_value_heads")
        _, wide_elements, _ = self._attention(
            whole, dim=wide, kv_heads=wide_heads, has_values=not fields.flag("attention_k_eq_v", False)
        )
        return (
            dim,
            heads,
            [
                Cache(len(sliding), elements, heads, window_tokens=window),
                Cache(len(whole), wide_elements, wide_heads),
            ],
        )

    def _attention(
        self,
        layers: tuple[int, ...],
        *,
        dim: int | None = None,
        kv_heads: int | None = None,
        has_values: bool = True,
    ) -> tuple[int, int, int]:
        """Adds grouped-query attention; returns head size, cached numbers per token and layer, KV heads."""
        dim, heads, kv_heads = dim or self._head_dim(), self.heads, kv_heads or self.kv_heads
        # Qwen2-MoE names the bias of its projections qkv_bias; true unless it says otherwise.
        bias = self._flag(self.spec.qkv_bias, default=self.spec.has_sinks or self.fields.family in {"glm4", "seed_oss"})
        bias = self.fields.flag("qkv_bias", bias)
        o_bias = self._flag(self.spec.o_bias, default=self.spec.has_sinks)
        query = heads * dim * (2 if self.spec.is_gated_attention else 1)
        prefix = "layers.{}.self_attn."
        self._linear(f"{prefix}q_proj", "attention", query, self.hidden, "tensor", layers, bias=bias)
        for name in ("k_proj", "v_proj") if has_values else ("k_proj",):
            self.weights.append(
                Weight(f"model.{prefix}{name}", "attention", (kv_heads * dim, self.hidden), "kv", layers, 1, kv_heads)
            )
            if bias:
                self.weights.append(
                    Weight(f"model.{prefix}{name}.bias", "bias", (kv_heads * dim,), "kv", layers, 1, kv_heads)
                )
        self._linear(f"{prefix}o_proj", "attention", self.hidden, heads * dim, "tensor", layers, bias=o_bias)
        norm = self.spec.qk_norm
        if norm == "use_qk_norm":
            norm = "head" if self.fields.flag("use_qk_norm", False) else ""
        if norm:
            whole = norm == "whole"
            self._add(f"{prefix}q_norm", "norm", (heads * dim if whole else dim,), "whole", layers)
            self._add(f"{prefix}k_norm", "norm", (kv_heads * dim if whole else dim,), "whole", layers)
        if self.spec.has_sinks:
            self._add(f"{prefix}sinks", "bias", (heads,), "tensor", layers)
        return dim, 2 * kv_heads * dim, kv_heads

    def _latent_attention(self) -> tuple[int, int, int]:
        """Adds multi-head latent attention (DeepSeek); one latent per token, which no rank can cut."""
        fields, prefix, layers = self.fields, "layers.{}.self_attn.", self.all_layers
        latent = fields.integer("kv_lora_rank")
        nope, rope, value = (
            fields.integer("qk_nope_head_dim"),
            fields.integer("qk_rope_head_dim"),
            fields.integer("v_head_dim"),
        )
        query_rank = fields.optional("q_lora_rank")  # null in DeepSeek-V2-Lite: queries are projected at once
        bias = fields.flag("attention_bias", False)
        if query_rank is None:
            self._linear(f"{prefix}q_proj", "attention", self.heads * (nope + rope), self.hidden, "tensor", layers)
        else:
            self._linear(f"{prefix}q_a_proj", "attention", query_rank, self.hidden, "whole", layers, bias=bias)
            self._add(f"{prefix}q_a_layernorm", "norm", (query_rank,), "whole", layers)
            self._linear(f"{prefix}q_b_proj", "attention", self.heads * (nope + rope), query_rank, "tensor", layers)
        self._linear(f"{prefix}kv_a_proj_with_mqa", "attention", latent + rope, self.hidden, "whole", layers, bias=bias)
        self._add(f"{prefix}kv_a_layernorm", "norm", (latent,), "whole", layers)
        self._linear(f"{prefix}kv_b_proj", "attention", self.heads * (nope + value), latent, "tensor", layers)
        self._linear(f"{prefix}o_proj", "attention", self.hidden, self.heads * value, "tensor", layers, bias=bias)
        if self.spec.has_indexer:
            if query_rank is None:
                raise SizingError("config.json: q_lora_rank is missing; the index of sparse attention reads it")
            index_heads, index_dim = fields.integer("index_n_heads"), fields.integer("index_head_dim")
            indexer, owners = f"{prefix}indexer.", self._index_layers()
            self._linear(f"{indexer}wq_b", "attention", index_heads * index_dim, query_rank, "whole", owners)
            self._linear(f"{indexer}wk", "attention", index_dim, self.hidden, "whole", owners)
            self._linear(f"{indexer}weights_proj", "router", index_heads, self.hidden, "whole", owners)
            self._add(f"{indexer}k_norm", "norm", (2 * index_dim,), "whole", owners)
        return nope + rope, latent + rope, 1

    def _index_layers(self) -> tuple[int, ...]:
        """Layers with an index of their own; from GLM-5.2 others share that of a layer before."""
        kinds = self.fields.get("indexer_types")
        if not isinstance(kinds, list):
            return self.all_layers
        return tuple(i for i, kind in enumerate(kinds) if kind != "shared")

    def _layers_by_attention(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Numbers of the layers with softmax attention, and of those with linear attention."""
        if not self.spec.is_gated_attention:
            return self.all_layers, ()
        kinds = self._layer_types()
        if kinds is None:
            interval = self.fields.optional("full_attention_interval") or 4  # transformers: every fourth layer
            kinds = ["full_attention" if (i + 1) % interval == 0 else "linear_attention" for i in self.all_layers]
        linear = tuple(i for i, kind in enumerate(kinds) if kind == "linear_attention")
        return tuple(i for i in self.all_layers if i not in linear), linear

    def _linear_attention(self, layers: tuple[int, ...]) -> None:
        """Gated delta net of Qwen3-Next and Qwen3.5."""
        key_heads, value_heads, key_dim, value_dim, kernel = self._linear_sizes()
        keys, values, prefix = key_heads * key_dim, value_heads * value_dim, "layers.{}.linear_attn."
        self._linear(f"{prefix}in_proj_qkvz", "attention", 2 * keys + 2 * values, self.hidden, "tensor", layers)
        self._linear(f"{prefix}in_proj_ba", "attention", 2 * value_heads, self.hidden, "tensor", layers)
        self._linear(f"{prefix}out_proj", "attention", self.hidden, values, "tensor", layers)
        self._add(f"{prefix}conv1d", "bias", ((2 * keys + values) * kernel,), "tensor", layers)
        self._add(f"{prefix}dt_bias_and_A_log", "bias", (2 * value_heads,), "tensor", layers)
        self._add(f"{prefix}norm", "norm", (value_dim,), "whole", layers)

    def _linear_sizes(self) -> tuple[int, int, int, int, int]:
        fields = self.fields
        return (
            fields.integer("linear_num_key_heads"),
            fields.integer("linear_num_value_heads"),
            fields.integer("linear_key_head_dim"),
            fields.integer("linear_value_head_dim"),
            fields.integer("linear_conv_kernel_dim"),
        )

    def _linear_state(self, layers: int) -> Cache:
        """State per sequence: the delta rule's matrix (32 bit) and the convolution's last inputs (16 bit)."""
        key_heads, value_heads, key_dim, value_dim, kernel = self._linear_sizes()
        matrix = value_heads * key_dim * value_dim * 4
        convolution = (2 * key_heads * key_dim + value_heads * value_dim) * (kernel - 1) * 2
        return Cache(layers, 0, value_heads, state_bytes=matrix + convolution)

    def _layer_types(self) -> list[str] | None:
        kinds = self.fields.get("layer_types")
        if kinds is not None and (not isinstance(kinds, list) or len(kinds) != self.layers):
            raise SizingError(f"config.json: layer_types must list one kind for each of {self.layers} layers")
        return kinds

    def _windows(self, layers: tuple[int, ...]) -> list[tuple[int | None, int]]:
        """(window or None, layers with it): sliding layers first."""
        kind = self.spec.window
        window = self.fields.optional("attention_chunk_size" if kind == "chunk" else "sliding_window")
        if kind == "use_sliding_window" and not self.fields.flag("use_sliding_window", False):
            window = None
        if not kind or window is None:
            return [(None, len(layers))]
        kinds = self._layer_types()
        if kinds is not None:
            sliding = sum(kinds[i] in {"sliding_attention", "chunked_attention"} for i in layers)
        elif kind == "all":
            sliding = len(layers)
        elif kind == "use_sliding_window":
            first = self.fields.optional("max_window_layers", least=0)
            sliding = len(layers) - min(first if first is not None else len(layers), len(layers))
        else:
            # Every n-th layer sees all: the second (Gemma 2, gpt-oss), fourth (Cohere 2, Llama 4), sixth (Gemma 3).
            step = {"even": 2, "chunk": 4, "pattern": self.spec.window_pattern}[kind]
            step = self.fields.optional("sliding_window_pattern") or step
            sliding = sum((i + 1) % step != 0 for i in layers)
        return [(w, count) for w, count in ((window, sliding), (None, len(layers) - sliding)) if count]

    # --- feed-forward ------------------------------------------------------------------------------------------------

    def _mlps(self) -> None:
        fields, spec = self.fields, self.spec
        self.experts = (
            (fields.optional("num_experts", "num_local_experts", "n_routed_experts") or 0) if spec.experts else 0
        )
        expert_layers = self._expert_layers() if self.experts else ()
        beside = spec.experts == "beside"  # every layer has a dense part, and experts where there are any
        dense_layers = self.all_layers if beside else tuple(i for i in self.all_layers if i not in set(expert_layers))
        if spec.experts and not self.experts and not beside:
            raise SizingError(
                f"config.json: the number of experts (num_experts, num_local_experts or n_routed_experts) is missing; "
                f"a {fields.family} model cannot be sized without it"
            )
        if dense_layers:
            size = fields.integer(
                *(("intermediate_size_mlp",) if spec.experts == "interleaved" else ()), "intermediate_size"
            )
            bias = spec.mlp_bias and fields.flag("mlp_bias", False)
            self._gated_mlp("layers.{}.mlp.", "dense_mlp", size, "tensor", dense_layers, bias=bias)
        if not expert_layers:
            return
        self.experts_per_token = fields.integer("num_experts_per_tok", "experts_per_token", "top_k_experts")
        if self.experts_per_token > self.experts:
            raise SizingError(
                f"config.json: num_experts_per_tok {self.experts_per_token} is more than the {self.experts} experts"
            )
        size = fields.integer(*spec.expert_size)
        prefix = "layers.{}.mlp."
        self._gated_mlp(
            f"{prefix}experts.0.",
            "routed_expert",
            size,
            "expert",
            expert_layers,
            bias=spec.expert_bias,
            copies=self.experts,
        )
        self._add(f"{prefix}gate", "router", (self.experts, self.hidden), "whole", expert_layers)
        if spec.router_bias:
            self._add(f"{prefix}gate.bias", "bias", (self.experts,), "whole", expert_layers)
        if beside:  # scales of the router, and norms around the experts
            self._add(f"{prefix}gate.scale", "norm", (self.experts + self.hidden,), "whole", expert_layers)
            self._add("layers.{}.expert_norms", "norm", (3 * self.hidden,), "whole", expert_layers)
        if shared := self._shared_size(size):
            self._gated_mlp(f"{prefix}shared_experts.", "shared_expert", shared, "tensor", expert_layers)
            if spec.shared_gate:
                self._add(f"{prefix}shared_expert_gate", "router", (1, self.hidden), "whole", expert_layers)

    def _gated_mlp(
        self,
        prefix: str,
        part: Part,
        size: int,
        shard: Shard,
        layers: tuple[int, ...],
        *,
        bias: bool = False,
        copies: int = 1,
    ) -> None:
        for name, outputs, inputs in (
            ("gate_proj", size, self.hidden),
            ("up_proj", size, self.hidden),
            ("down_proj", self.hidden, size),
        ):
            self._add(prefix + name, part, (outputs, inputs), shard, layers, copies)
            if bias:
                self._add(f"{prefix}{name}.bias", "bias", (outputs,), shard, layers, copies)

    def _shared_size(self, expert_size: int) -> int:
        if self.spec.shared == "count":
            return expert_size * (self.fields.optional("n_shared_experts", least=0) or 0)
        if self.spec.shared == "size":
            return self.fields.integer("shared_expert_intermediate_size", least=0)
        return expert_size if self.spec.shared == "one" else 0

    def _expert_layers(self) -> tuple[int, ...]:
        fields = self.fields
        if self.spec.experts == "after_first_k":
            return self.all_layers[fields.integer("first_k_dense_replace", least=0) :]
        if self.spec.experts == "interleaved":
            stated = fields.get("moe_layers")
            if isinstance(stated, list):
                return tuple(stated)
            step = fields.integer("interleave_moe_layer_step")
            return tuple(range(step - 1, self.layers, step))
        if self.spec.experts == "qwen":
            dense, step = set(fields.get("mlp_only_layers") or ()), fields.optional("decoder_sparse_step") or 1
            return tuple(i for i in self.all_layers if i not in dense and (i + 1) % step == 0)
        return self.all_layers

    def _widest_mlp(self) -> int:
        """The widest layer one token passes: what the activations of a step are sized by."""
        dense = self.fields.optional("intermediate_size") or 0
        expert = self.fields.optional(*self.spec.expert_size) or 0
        return max(dense if not self.spec.experts or dense else 0, expert)

    def _max_context(self) -> int | None:
        stated = self.fields.optional("max_position_embeddings")
        scaling = self.fields.get("rope_scaling", "rope_parameters")
        if stated is None or not isinstance(scaling, Mapping):
            return stated
        kind, factor = scaling.get("rope_type", scaling.get("type")), scaling.get("factor")
        if kind in _SCALED_BY_FACTOR and isinstance(factor, int | float):
            original = scaling.get("original_max_position_embeddings")
            return int((original if kind == "yarn" and isinstance(original, int) else stated) * factor)
        return stated


class Exceptions:
    """A checkpoint's list of modules that quantisation left alone.

    Args:
        patterns: as written in `modules_to_not_convert`, `ignore` or `exclude_modules`: names of modules, whole or in
            part, with `*`, or regular expressions after `re:`.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._plain: set[str] = set()
        self._expressions: list[re.Pattern[str]] = []
        for pattern in patterns:
            if pattern.startswith("re:"):
                self._expressions.append(re.compile(pattern[3:]))
            elif "*" in pattern:
                self._expressions.append(re.compile(".*" + fnmatch.translate(f"{_plain(pattern).lstrip('*')}*")))
            else:
                self._plain.add(_plain(pattern))

    def __contains__(self, name: str) -> bool:
        """Whether the module of that name, or one that holds it, is on the list."""
        words = name.split(".")
        runs = (".".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1))
        return any(run in self._plain for run in runs) or any(e.match(name) for e in self._expressions)


def _plain(name: str) -> str:
    """A module's name in the words used here: no wrapper of a multimodal model, `mlp` for Mixtral's own word."""
    name = name.replace("language_model.", "").replace("block_sparse_moe", "mlp").replace("router", "gate")
    return re.sub(r"shared_expert\b", "shared_experts", name)
