"""The method `aiconfigurator`: NVIDIA's kernel tables and scheduling model (Apache-2.0), an optional extra.

    pip install 'inference-ledger[aiconfigurator]'

Everything runs on this machine; an estimate takes about two seconds, so few concurrencies are asked and the rest lie on
straight lines between the logarithms. Checked with aiconfigurator 0.12.0 on 2026-11-29.
"""

import math
from dataclasses import dataclass

import numpy as np

from sizing.errors import SizingError
from sizing.throughput import Curve, Deployment, Floats, Method, Roofline, Workload

SYSTEMS = {
    "L4-24GB": "l4",
    "L40S-48GB": "l40s",
    "A100-SXM-80GB": "a100_sxm",
    "A100-PCIE-80GB": "a100_pcie",
    "H100-SXM-80GB": "h100_sxm",
    "H100-PCIE-80GB": "h100_pcie",
    "H200-SXM-141GB": "h200_sxm",
    "B200-180GB": "b200_sxm",
    "B300-288GB": "b300_sxm",
    "GB200-186GB": "gb200",
    "GB300-288GB": "gb300",
    "RTX-PRO-6000-SE-96GB": "rtx_pro_6000_server",
}
GEMM_MODES = {
    "bf16": "bfloat16",
    "fp16": "bfloat16",
    "fp8": "fp8",
    "fp8_block": "fp8_block",
    "nvfp4": "nvfp4",
    "awq": "int4_wo",
    "gptq": "int4_wo",
}
MOST_ASKED = 6


@dataclass(frozen=True)
class AIConfigurator:
    """Asks for `model_path`, a hub id that the package knows or a folder with a config.json."""

    model_path: str

    @property
    def method(self) -> Method:
        """Its name."""
        return "aiconfigurator"

    def curve(self, deployment: Deployment, workload: Workload, concurrency: Floats) -> Curve:
        """See Estimator.

        Raises:
            SizingError: the package is not installed, or it knows nothing of the GPU, model or precision.
        """
        asked = np.unique(np.round(np.geomspace(concurrency.min(), concurrency.max(), MOST_ASKED)))
        found = np.array([self._ask(deployment, workload, int(number)) for number in asked])
        logs = np.log(concurrency)
        ttft, tpot = (np.exp(np.interp(logs, np.log(asked), np.log(found[:, column]))) for column in (0, 1))
        bare = Roofline().curve(deployment, workload, concurrency)
        tpot = np.maximum(tpot, bare.bound_tpot_ms)
        return Curve(
            method=self.method,
            concurrency=concurrency,
            ttft_ms=ttft,
            tpot_ms=tpot,
            requests_per_second=concurrency / (ttft + (workload.output_tokens - 1) * tpot) * 1e3,
            bound_tpot_ms=bare.bound_tpot_ms,
            prefill_share=bare.prefill_share,
            gpus=deployment.parallel.gpus,
            workload=workload,
        )

    def _ask(self, deployment: Deployment, workload: Workload, concurrency: int) -> tuple[float, float]:
        """(TTFT, TPOT) in milliseconds."""
        try:
            from aiconfigurator.cli.api import cli_estimate
        except ImportError:
            raise SizingError(
                "aiconfigurator is not installed: pip install 'inference-ledger[aiconfigurator]', or take "
                "--method roofline"
            ) from None
        gpu, parallel, precision = deployment.gpu.name, deployment.parallel, deployment.scheme.name
        if gpu not in SYSTEMS:
            raise SizingError(f"aiconfigurator has no tables of {gpu}; it has {', '.join(SYSTEMS)}")
        # A checkpoint's own precision stands in its config, which the package reads itself.
        mode = None if deployment.scheme.is_checkpoint else GEMM_MODES.get(precision)
        if mode is None and not deployment.scheme.is_checkpoint:
            raise SizingError(f"aiconfigurator has no tables of {precision}; it has {', '.join(GEMM_MODES)}")
        try:
            answer = cli_estimate(
                model_path=self.model_path,
                system_name=SYSTEMS[gpu],
                backend_name=deployment.memory.settings.engine,
                isl=int(workload.input_tokens),
                osl=int(workload.output_tokens),
                prefix=int(workload.cached_input_tokens),
                batch_size=max(math.ceil(concurrency / parallel.data), 1),
                tp_size=parallel.tensor,
                pp_size=parallel.pipeline,
                attention_dp_size=parallel.data,
                gemm_quant_mode=mode,
                **_experts(deployment),
            )
        except Exception as error:  # the package raises many kinds, none of its own
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SizingError(f"aiconfigurator has no answer for {self.model_path} on {gpu}: {first}") from None
        ttft, tpot = float(answer.ttft), float(answer.tpot)
        if not (math.isfinite(ttft) and math.isfinite(tpot) and ttft > 0 and tpot > 0):
            raise SizingError(f"aiconfigurator has no answer for {self.model_path} on {gpu} at {concurrency} at once")
        return ttft, tpot


def _experts(deployment: Deployment) -> dict[str, int]:
    """How experts are spread, in the package's words."""
    parallel = deployment.parallel
    if not deployment.model.experts:
        return {}
    everywhere = parallel.tensor * parallel.data
    return {
        "moe_tp_size": 1 if parallel.is_expert else everywhere,
        "moe_ep_size": everywhere if parallel.is_expert else 1,
    }
