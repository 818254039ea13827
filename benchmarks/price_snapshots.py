"""Landed answers of all keyless price sources, scaled to 120,000 SKU-regions: parse, gate and commit.

    python -m benchmarks.price_snapshots [--rows 10000]

Each source gets one answer in its provider's shape (those of the contract tests, repeated under other names), landed as
a replay; what is timed is what a run does with it. Prints seconds and records of each source, the sum with the
processor time (what a busy machine does not distort), and the peak memory; the limits are 30 s and 1 GB on two cores.
The first source bears the import of the gate.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from orchestration.price_feeds import land_replay, load_landed
from orchestration.settings import PROJECT_ROOT, Settings, load_settings
from orchestration.warehouse import Warehouse

sys.path.insert(0, str(PROJECT_ROOT / "tests" / "scrapers"))

from feeds import FEEDS, dumps  # noqa: E402 - found by the line above
from feeds.aws import aws_csv, aws_row  # noqa: E402
from feeds.azure import azure_item, azure_page  # noqa: E402
from feeds.cloudrift import cloudrift_answer, cloudrift_type, cloudrift_variant  # noqa: E402
from feeds.cudo import cudo_answer, cudo_type  # noqa: E402
from feeds.linode import linode_page, linode_type  # noqa: E402
from feeds.oci import oci_item, oci_list  # noqa: E402
from feeds.ovh import ovh_addon, ovh_catalogue  # noqa: E402
from feeds.runpod import runpod_answer, runpod_type  # noqa: E402
from feeds.scaleway import scaleway_page, scaleway_type  # noqa: E402
from feeds.vastai import vastai_answer, vastai_offer  # noqa: E402
from feeds.verda import verda_type  # noqa: E402
from feeds.vultr import vultr_page, vultr_plan  # noqa: E402

AT = datetime(2026, 10, 1, 6, tzinfo=UTC)
# About so many records for `count` of them; RunPod, Cudo and Verda make several of an item, Vast.ai few of many.
ANSWERS: dict[str, Callable[[int], bytes]] = {
    "aws": lambda count: aws_csv(*(aws_row(SKU=f"SKU{n:08}", Region_Code=f"us-east-{n}") for n in range(count))),
    "azure": lambda count: dumps(azure_page([azure_item(skuId=f"S/{n}", armRegionName=f"r{n}") for n in range(count)])),
    "oci": lambda count: dumps(oci_list(*(oci_item(f"B{n:06}") for n in range(count)))),
    "runpod": lambda count: dumps(runpod_answer(*(runpod_type(id=f"NVIDIA {n}") for n in range(count // 4)))),
    "vastai": lambda count: dumps(vastai_answer(*(vastai_offer(n, gpu_name=f"GPU {n // 8}") for n in range(count)))),
    "vultr": lambda count: dumps(vultr_page([vultr_plan(f"vcg-a16-{n}c-128g-32vram") for n in range(count)])),
    "linode": lambda count: dumps(linode_page(*(linode_type(f"g2-gpu-rtx4000a1-{n}") for n in range(count)))),
    "scaleway": lambda count: dumps(scaleway_page({f"H100-1-{n}G": scaleway_type() for n in range(count)})),
    "ovh": lambda count: dumps(ovh_catalogue(*(ovh_addon(f"h100-{n}.consumption") for n in range(count)))),
    "cudo": lambda count: dumps(cudo_answer(*(cudo_type(dataCenterId=f"dc-{n}") for n in range(count // 2)))),
    "cloudrift": lambda count: dumps(
        cloudrift_answer(*(cloudrift_type(cloudrift_variant(name=f"v{n}"), name=f"t{n}") for n in range(count)))
    ),
    "verda": lambda count: dumps([verda_type(instance_type=f"4A100.{n}V") for n in range(count // 2)]),
}


def land(settings: Settings, rows: int) -> None:
    """Writes the answers and lands them."""
    for name, answer in ANSWERS.items():
        path = settings.data_dir / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(answer(rows))
        land_replay(settings, name, FEEDS[name].dataset, [path], AT)


def load(root: Path) -> tuple[dict[str, tuple[float, int]], float, float]:
    """Loads what is landed, in a process of its own: seconds and records by source, processor seconds, peak MB."""
    settings = _settings(root)
    began = time.process_time()
    found: dict[str, tuple[float, int]] = {}
    with Warehouse(settings.warehouse_path).connect() as con:
        for name in ANSWERS:
            start = time.perf_counter()
            (result,) = load_landed(con, settings, name)
            assert result.outcome == "loaded", result.message
            found[name] = time.perf_counter() - start, result.record_count
        start = time.perf_counter()
        con.execute("checkpoint")
        found["(checkpoint)"] = time.perf_counter() - start, 0
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024
    return found, time.process_time() - began, peak


def _settings(root: Path) -> Settings:
    return load_settings(PROJECT_ROOT / "ledger.yaml", root)


def main() -> None:
    """Runs it once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000, help="about how many records a source has")
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        land(_settings(Path(folder)), rows)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found, busy, peak = pool.submit(load, Path(folder)).result()
    for name, (seconds, count) in found.items():
        print(f"{name:14}{count:>9,} records {seconds:7.1f} s")
    seconds, count = sum(part[0] for part in found.values()), sum(part[1] for part in found.values())
    print(f"{'all':14}{count:>9,} records {seconds:7.1f} s ({busy:.1f} s of processor time), {peak:.0f} MB")


if __name__ == "__main__":
    main()
