"""Bytes of a weight in each number format, and what a checkpoint's `quantization_config` says it holds.

Bits per weight: reference table "bytes per weight" (docs/sizing.md). Embeddings, head, routers, norms and biases stay
at 16 bit unless the checkpoint names them.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sizing.errors import SizingError
from sizing.model_config import QUANTISED_PARTS, Exceptions, Model, Part, Weight

BYTES_PER_16_BIT = 2


@dataclass(frozen=True, slots=True)
class Precision:
    """One number format of weights.

    Attributes:
        name: as written on the command line.
        bits: of one weight, without scales.
        group: inputs that share one scale (and zero point); None for none.
        group_bits: of scale and zero point of one group.
        channel_bytes: of one scale per output channel.
        block: side of the square block with one FP32 scale; None for none.
        tensor_bytes: of one scale per tensor.
        compute: what the tensor cores multiply in where they can: bf16 for formats that are unpacked first.
        loaded_ratio: what vLLM holds after loading, over the checkpoint's own bytes.
    """

    name: str
    bits: float
    group: int | None = None
    group_bits: float = 0
    channel_bytes: int = 0
    block: int | None = None
    tensor_bytes: int = 0
    compute: str = "bf16"
    loaded_ratio: float = 1.0

    def matrix_bytes(self, shape: Sequence[int]) -> float:
        """Bytes of one tensor of `shape`: (outputs, inputs), or a vector."""
        count = math.prod(shape)
        total = count * self.bits / 8 + self.tensor_bytes
        if len(shape) != 2:
            return total
        outputs, inputs = shape
        if self.group:
            total += outputs * math.ceil(inputs / self.group) * self.group_bits / 8
        if self.block:
            total += math.ceil(outputs / self.block) * math.ceil(inputs / self.block) * 4
        return total + outputs * self.channel_bytes


# AWQ and GPTQ load 1.6, 1.9 and 0.5 % above the formula in three vLLM logs; 2 % is the reference's rule.
_PACKED_LOADED_RATIO = 1.02
BF16 = Precision("bf16", 16)
PRECISIONS: dict[str, Precision] = {
    precision.name: precision
    for precision in (
        BF16,
        Precision("fp16", 16),
        Precision("fp8", 8, compute="fp8"),
        Precision("fp8_block", 8, block=128, compute="fp8"),
        Precision("int8", 8, channel_bytes=4, compute="int8"),
        # FP16 scale and packed 4-bit zero point per group: 4.15625 bits at 128, 4.625 at 32.
        Precision("awq", 4, group=128, group_bits=20, loaded_ratio=_PACKED_LOADED_RATIO),
        Precision("gptq", 4, group=128, group_bits=20, loaded_ratio=_PACKED_LOADED_RATIO),
        Precision("mxfp4", 4, group=32, group_bits=8, compute="fp4"),
        Precision("nvfp4", 4, group=16, group_bits=8, tensor_bytes=4, compute="fp4"),
        # Double quantisation: an 8-bit scale per 64, an FP32 scale per 256 of those.
        Precision("nf4", 4 + 8 / 64 + 32 / (64 * 256)),
    )
}
_ALIASES = {"int4": "awq", "bfloat16": "bf16", "float16": "fp16", "w8a8": "int8", "fp4": "nvfp4", "bnb": "nf4"}
_GROUPED = re.compile(r"^(awq|gptq|int4)[-_]g(\d+)$")
_NO_GROUP = 10**9  # one group per row


def precision_named(name: str) -> Precision:
    """Returns the precision called `name`, such as fp8 or awq-g32.

    Raises:
        SizingError: there is none of the name.
    """
    wanted = name.strip().lower()
    if match := _GROUPED.match(wanted):
        if int(match[2]) < 8:
            raise SizingError(f"--precision {name!r}: a group of {match[2]} is none; usual are 32, 64 and 128")
        base = PRECISIONS[_ALIASES.get(match[1], match[1])]
        return replace(base, name=f"{base.name}-g{match[2]}", group=int(match[2]))
    wanted = _ALIASES.get(wanted, wanted)
    if wanted not in PRECISIONS:
        raise SizingError(
            f"--precision {name!r} is not known; write one of {', '.join(PRECISIONS)}, or awq-g32 for other groups"
        )
    return PRECISIONS[wanted]


@dataclass(frozen=True, slots=True)
class Scheme:
    """Which precision each weight of a checkpoint has.

    Attributes:
        precision: of the quantised weights.
        parts: the kinds of weights that are quantised.
        exceptions: names of modules left at 16 bit, as the checkpoint writes them.
        kv_bits: bits of one cached number the checkpoint asks for; None where it says nothing.
        is_checkpoint: whether `quantization_config` said so; else it is what one would make of the 16-bit weights.
    """

    precision: Precision
    parts: frozenset[Part] = QUANTISED_PARTS
    exceptions: tuple[str, ...] = ()
    kv_bits: int | None = None
    is_checkpoint: bool = False

    @property
    def name(self) -> str:
        """The precision's name."""
        return self.precision.name

    def weight_bytes(self, weight: Weight, shape: Sequence[int] | None = None) -> list[float]:
        """Bytes of one tensor of each layer (one entry for a weight outside the layers); `shape` replaces its own."""
        shape = weight.shape if shape is None else shape
        plain = math.prod(shape) * BYTES_PER_16_BIT
        layers: Sequence[int | None] = weight.layers or (None,)
        if weight.part not in self.parts or self.precision.bits == BF16.bits:
            return [plain] * len(layers)
        packed = self.precision.matrix_bytes(shape)
        if not self.exceptions:
            return [packed] * len(layers)
        left_alone = _exceptions_of(self.exceptions)
        return [
            plain if (weight.name if layer is None else weight.name.format(layer)) in left_alone else packed
            for layer in layers
        ]


@lru_cache(maxsize=32)
def _exceptions_of(patterns: tuple[str, ...]) -> Exceptions:
    return Exceptions(patterns)


def scheme_for(model: Model, precision: str | None = None) -> Scheme:
    """Returns how `model` is stored: as its checkpoint is where that is asked for, else converted to `precision`.

    Raises:
        SizingError: the precision or the checkpoint's quantisation method is not known.
    """
    if precision is None:
        return checkpoint_scheme(model) if model.quantization else Scheme(BF16)
    try:
        own = checkpoint_scheme(model) if model.quantization else None
    except SizingError:
        own = None  # what is asked for is known, whatever the checkpoint is
    if own and precision == own.name:
        return own
    wanted = precision_named(precision)
    # fp8 asked of a checkpoint in FP8 blocks, int4 of one in groups of 32: the checkpoint is meant.
    if own and _kind(wanted.name) == _kind(own.precision.name) and "-g" not in wanted.name:
        return own
    return Scheme(wanted)


def _kind(name: str) -> str:
    base = name.split("-g")[0]
    return {"gptq": "int4", "awq": "int4", "fp8_block": "fp8", "fp16": "bf16"}.get(base, base)


def checkpoint_scheme(model: Model) -> Scheme:
    """Returns what `quantization_config` says.

    Raises:
        SizingError: a method or format that is not known here: its bytes would be a guess.
    """
    content = model.quantization
    method = str(content.get("quant_method", "")).lower()
    exceptions = _exceptions(content)
    kv_bits = _kv_bits(content)
    if method == "mxfp4":
        # Its method knows kernels for experts alone (transformers, quantizer_mxfp4).
        return Scheme(PRECISIONS["mxfp4"], frozenset({"routed_expert"}), exceptions, kv_bits, True)
    precision = _method_precision(method, content)
    if precision is None:
        raise SizingError(
            f"config.json: quantization_config.quant_method {method or None!r} with "
            f"{_shown(content)} is not known here; give --precision with what the weights are"
        )
    return Scheme(precision, exceptions=exceptions, kv_bits=kv_bits, is_checkpoint=True)


def _method_precision(method: str, content: Mapping[str, Any]) -> Precision | None:
    bits = content.get("bits", content.get("w_bit"))
    group = content.get("group_size", content.get("q_group_size", 128))
    if method in {"fp8", "fbgemm_fp8"}:
        return PRECISIONS["fp8_block" if content.get("weight_block_size") else "fp8"]
    if method in {"awq", "gptq", "auto-round", "auto_round"} and isinstance(bits, int) and isinstance(group, int):
        return _grouped("awq" if method == "awq" else "gptq", bits, group, 16 + bits)
    if method == "bitsandbytes":
        if content.get("load_in_4bit"):
            return PRECISIONS["nf4"]
        return PRECISIONS["int8"] if content.get("load_in_8bit") else None
    if method == "modelopt":
        algorithm = str(content.get("quant_algo", "")).lower()
        return PRECISIONS.get({"nvfp4": "nvfp4", "fp8": "fp8", "mxfp4": "mxfp4"}.get(algorithm, ""))
    if method == "compressed-tensors":
        return _compressed_tensors(content)
    return None


def _compressed_tensors(content: Mapping[str, Any]) -> Precision | None:
    groups = content.get("config_groups")
    if not isinstance(groups, Mapping) or len(groups) != 1:
        return None  # several groups: which weights are whose is written in targets, which are free text
    weights = next(iter(groups.values())).get("weights") or {}
    bits, kind, strategy = weights.get("num_bits"), weights.get("type"), weights.get("strategy")
    if kind == "float" and bits == 8:
        return PRECISIONS["fp8_block" if strategy == "block" else "fp8"]
    if kind == "float" and bits == 4:
        return PRECISIONS["nvfp4" if weights.get("group_size") == 16 else "mxfp4"]
    if kind == "int" and bits == 8 and strategy in {"channel", "tensor"}:
        return PRECISIONS["int8"]
    if kind == "int" and isinstance(bits, int) and strategy == "group" and isinstance(weights.get("group_size"), int):
        return _grouped("gptq", bits, weights["group_size"], 16 if weights.get("symmetric", True) else 16 + bits)
    return None


def _grouped(name: str, bits: int, group: int, group_bits: int) -> Precision:
    """`group` -1 is one scale per output channel."""
    size = group if group > 0 else _NO_GROUP
    shown = name if (bits, size) == (4, 128) else f"{name}-{bits}bit" * (bits != 4) or f"{name}-g{group}"
    return Precision(shown, bits, group=size, group_bits=group_bits, loaded_ratio=_PACKED_LOADED_RATIO)


def _exceptions(content: Mapping[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for key in ("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules"):
        value = content.get(key)
        if isinstance(value, list):
            found += [str(item) for item in value]
    return tuple(found)


def _kv_bits(content: Mapping[str, Any]) -> int | None:
    scheme = content.get("kv_cache_scheme")
    if isinstance(scheme, Mapping) and isinstance(scheme.get("num_bits"), int):
        return int(scheme["num_bits"])
    return 8 if str(content.get("kv_cache_quant_algo", "")).upper() == "FP8" else None


def _shown(content: Mapping[str, Any]) -> str:
    named = {key: content[key] for key in ("quant_algo", "bits", "group_size", "format") if key in content}
    return ", ".join(f"{key} {value!r}" for key, value in named.items()) or "what stands beside it"
