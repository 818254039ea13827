"""What one GPU can do: facts of dbt/seeds/gpu_specifications.csv, handed in as rows."""

from collections.abc import Mapping
from dataclasses import dataclass

from sizing.errors import SizingError


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. Rates are dense (without sparsity); the link is per direction.

    Attributes:
        name: canonical name, such as H100-SXM-80GB.
        usable_gib: what PyTorch sees of the memory; ECC and the driver take the rest.
        bandwidth_gb_per_second: of its memory.
        bf16_tflops: and the other formats where the tensor cores know them, else None.
        link_kind: nvlink, nvlink_bridge, infinity_fabric, network, pcie or pcie_no_p2p.
        software_time_ratio: time that reading and multiplying take over what the same bytes and operations take on the
            GPUs the factors of `throughput` were fitted to; measured, 1 where nothing is.
        confidence: high, or medium for facts to be checked before they are quoted.
    """

    name: str
    usable_gib: float
    bandwidth_gb_per_second: float
    bf16_tflops: float
    fp8_tflops: float | None
    int8_tops: float | None
    fp4_tflops: float | None
    link_kind: str
    link_gb_per_second: float
    software_time_ratio: float = 1.0
    confidence: str = "high"

    def tera_ops(self, compute: str) -> float:
        """Peak tera-operations per second in `compute` (bf16, fp8, int8 or fp4); else of 16 bit."""
        known = {"fp8": self.fp8_tflops, "int8": self.int8_tops, "fp4": self.fp4_tflops}.get(compute)
        return known or self.bf16_tflops


def gpu_from_row(row: Mapping[str, str]) -> Gpu:
    """Returns the GPU of one row of the seed; an empty cell is a format the GPU does not compute in."""

    def optional(column: str) -> float | None:
        return float(row[column]) if row[column] else None

    return Gpu(
        name=row["gpu_model"],
        usable_gib=float(row["gpu_memory_usable_gib"]),
        bandwidth_gb_per_second=float(row["memory_bandwidth_gb_per_second"]),
        bf16_tflops=float(row["bf16_tflops"]),
        fp8_tflops=optional("fp8_tflops"),
        int8_tops=optional("int8_tops"),
        fp4_tflops=optional("fp4_tflops"),
        link_kind=row["link_kind"],
        link_gb_per_second=float(row["link_gb_per_second_per_direction"]),
        software_time_ratio=float(row["software_time_ratio"] or 1),
        confidence=row["confidence"],
    )


def find_gpu(name: str, gpus: Mapping[str, Gpu]) -> Gpu:
    """Returns the GPU called `name`: canonical, or a part of one canonical name such as L40S or H100-SXM.

    Raises:
        SizingError: no GPU or several are called so; the sentence lists what there is.
    """
    wanted = _plain(name)
    exact = [gpu for gpu in gpus.values() if _plain(gpu.name) == wanted]
    parts = exact or [gpu for gpu in gpus.values() if _parts(wanted) <= _parts(gpu.name)]
    if len(parts) == 1:
        return parts[0]
    if parts:
        raise SizingError(f"--gpu {name!r} could be {' or '.join(gpu.name for gpu in parts)}; write one of them")
    raise SizingError(f"--gpu {name!r} has no specifications here; known are {', '.join(sorted(gpus))}")


def _plain(name: str) -> str:
    return name.strip().upper().replace(" ", "-").replace("_", "-")


def _parts(name: str) -> set[str]:
    return set(_plain(name).split("-"))
