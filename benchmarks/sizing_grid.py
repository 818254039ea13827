"""Seconds of a full sizing grid: 20 models x 15 GPUs x 4 precisions x 4 degrees x 3 workloads.

    python -m benchmarks.sizing_grid

What the daily asset computes for a fleet of 20 models, without writing it. The bar is 60 s (docs/sizing.md).
"""

import sys
import time
from collections import Counter
from pathlib import Path

from orchestration.sizing_inputs import known_gpus, read_model
from sizing.choices import DEGREES, Demand, grid
from sizing.throughput import Targets, Workload

MODEL_CONFIGS = Path(__file__).parents[1] / "examples" / "model_configs"
MODELS, GPUS, PRECISIONS, BAR_SECONDS = 20, 15, ("bf16", "fp8", "awq", "nvfp4"), 60
DEMANDS = (
    Demand("chat", Workload(1_000, 300), Targets(2_000, 50)),
    Demand("summary", Workload(8_000, 500), Targets(5_000, 100)),
    Demand("writing", Workload(500, 2_000), Targets(None, 40)),
)


def main() -> None:
    """See the module's text."""
    models = [read_model(path) for path in sorted(MODEL_CONFIGS.glob("*.json"))][:MODELS]
    gpus = list(known_gpus().values())[:GPUS]
    started, counts = time.monotonic(), Counter[str]()
    for model in models:
        for choice in grid(model, gpus=gpus, precisions=PRECISIONS, demands=DEMANDS):
            counts["within targets" if choice.point else (choice.reason or "").partition(":")[0]] += 1
    seconds = time.monotonic() - started
    total = sum(counts.values())
    print(
        f"{len(models)} models x {len(gpus)} GPUs x {len(PRECISIONS)} x {len(DEGREES)} x {len(DEMANDS)}: {total:,} rows"
    )
    print("  " + ", ".join(f"{count:,} {name}" for name, count in counts.most_common()))
    print(f"  {seconds:.1f} s (bar {BAR_SECONDS} s)")
    sys.exit(0 if seconds <= BAR_SECONDS else 1)


if __name__ == "__main__":
    main()
