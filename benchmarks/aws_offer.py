"""How fast an AWS offer file lands and is parsed, against DuckDB and pandas on the same file with the same filter.

    python -m benchmarks.aws_offer [--megabytes 450]

The file is generated (seeded) with the column layout of the published EC2 offer file and a row mix after us-east-1:
some 1,100 instance types, one in 15 with GPUs, times operating systems, tenancies and capacity states, with twelve
reserved offers each where capacity is Used. Every step runs in a process of its own, so that its peak memory is its
own, and all must find the same rows and the same sum of prices.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

# Column names of the published file; nothing relies on their order. Most are empty on compute rows.
COLUMNS = (
    *("SKU", "OfferTermCode", "RateCode", "TermType", "PriceDescription", "EffectiveDate", "StartingRange"),
    *("EndingRange", "Unit", "PricePerUnit", "Currency", "RelatedTo", "LeaseContractLength", "PurchaseOption"),
    *("OfferingClass", "Product Family", "serviceCode", "Location", "Location Type", "Instance Type"),
    *("Current Generation", "Instance Family", "vCPU", "Physical Processor", "Clock Speed", "Memory"),
    *("Storage", "Network Performance", "Processor Architecture", "Storage Media", "Volume Type"),
    *("Max Volume Size", "Max IOPS/volume", "Max IOPS Burst Performance", "Max throughput/volume"),
    *("Provisioned", "Tenancy", "EBS Optimized", "Operating System", "License Model", "Group"),
    *("Group Description", "Transfer Type", "From Location", "From Location Type", "To Location"),
    *("To Location Type", "usageType", "operation", "AvailabilityZone", "CapacityStatus"),
    *("ClassicNetworkingSupport", "Dedicated EBS Throughput", "ECU", "Elastic Graphics Type"),
    *("Enhanced Networking Supported", "From Region Code", "GPU", "GPU Memory", "Instance"),
    *("Instance Capacity - 10xlarge", "Instance Capacity - 12xlarge", "Instance Capacity - 16xlarge"),
    *("Instance Capacity - 18xlarge", "Instance Capacity - 24xlarge", "Instance Capacity - 2xlarge"),
    *("Instance Capacity - 32xlarge", "Instance Capacity - 4xlarge", "Instance Capacity - 8xlarge"),
    *("Instance Capacity - 9xlarge", "Instance Capacity - large", "Instance Capacity - medium"),
    *("Instance Capacity - metal", "Instance Capacity - xlarge", "instanceSKU", "Intel AVX2 Available"),
    *("Intel AVX Available", "Intel Turbo Available", "MarketOption", "Normalization Size Factor"),
    *("Physical Cores", "Pre Installed S/W", "Processor Features", "Product Type", "Region Code"),
    *("Resource Type", "serviceName", "SnapshotArchiveFeeType", "To Region Code", "Volume API Name"),
    "VPC Networking Support",
)
METADATA = (
    '"FormatVersion","v1.0"\n'
    '"Disclaimer","This pricing list is for informational purposes only. All prices are subject to the additional '
    'terms included in the pricing pages."\n'
    '"Publication Date","2026-11-20T00:00:00Z"\n"Version","20261120000000"\n"OfferCode","AmazonEC2"\n'
)
SYSTEMS = (
    ("Linux", "NA", "RunInstances"),
    ("Linux", "SQL Std", "RunInstances:0004"),
    ("Linux", "SQL Web", "RunInstances:0200"),
    ("Linux", "SQL Ent", "RunInstances:0100"),
    ("Windows", "NA", "RunInstances:0002"),
    ("Windows", "SQL Std", "RunInstances:0006"),
    ("Windows", "SQL Web", "RunInstances:0202"),
    ("Windows", "SQL Ent", "RunInstances:0102"),
    ("RHEL", "NA", "RunInstances:0010"),
    ("SUSE", "NA", "RunInstances:000g"),
    ("Ubuntu Pro", "NA", "RunInstances:0g00"),
)
CAPACITY = (
    ("Shared", "Used", "BoxUsage"),
    ("Shared", "UnusedCapacityReservation", "UnusedBox"),
    ("Shared", "AllocatedCapacityReservation", "Reservation"),
    ("Dedicated", "Used", "DedicatedUsage"),
    ("Dedicated", "UnusedCapacityReservation", "UnusedDed"),
    ("Dedicated", "AllocatedCapacityReservation", "DedicatedRes"),
    ("Host", "Used", "HostBoxUsage"),
)
OFFERS = [
    (f"{lease}-{kind}-{option}", lease, kind, option)
    for lease in ("1yr", "3yr")
    for kind in ("standard", "convertible")
    for option in ("No Upfront", "Partial Upfront", "All Upfront")
]
FILTER = """
    "Operating System" = 'Linux' and "Tenancy" = 'Shared' and "CapacityStatus" = 'Used' and "MarketOption" = 'OnDemand'
    and "Pre Installed S/W" in ('', 'NA') and "GPU" not in ('', 'NA', '0')
    and regexp_matches("usageType", '(^|-)BoxUsage(:|$)')
"""


def lines(seed: int) -> Iterator[str]:
    """Yield CSV lines for ever, one made-up instance type after another."""
    rng = random.Random(seed)
    number = 0
    while True:
        number += 1
        is_gpu = number % 15 == 0
        size = f"{'g' if is_gpu else 'm'}{number}.{rng.choice(('xlarge', '12xlarge', '48xlarge'))}"
        hourly = Decimal(rng.randrange(50_000, 60_000_000)).scaleb(-6)
        product = {
            "Product Family": "Compute Instance",
            "serviceCode": "AmazonEC2",
            "Location": "US East (N. Virginia)",
            "Location Type": "AWS Region",
            "Instance Type": size,
            "Current Generation": "Yes",
            "Instance Family": "GPU instance" if is_gpu else "General purpose",
            "vCPU": "192",
            "Physical Processor": "Intel Xeon Platinum 8488C (Sapphire Rapids)",
            "Clock Speed": "3.2 GHz",
            "Memory": "2048 GiB",
            "Storage": "8 x 3840 GB SSD",
            "Network Performance": "3200 Gigabit",
            "Processor Architecture": "64-bit",
            "AvailabilityZone": "NA",
            "ClassicNetworkingSupport": "false",
            "Dedicated EBS Throughput": "80000 Mbps",
            "ECU": "NA",
            "Enhanced Networking Supported": "Yes",
            "GPU": str(rng.choice((1, 4, 8))) if is_gpu else "",
            "GPU Memory": "NA",
            "Intel AVX2 Available": "Yes",
            "Intel AVX Available": "Yes",
            "Intel Turbo Available": "Yes",
            "MarketOption": "CapacityBlock" if is_gpu and number % 75 == 0 else "OnDemand",
            "Normalization Size Factor": "384",
            "Processor Features": "Intel AVX; Intel AVX2; Intel AVX512; Intel Turbo",
            "Region Code": "us-east-1",
            "serviceName": "Amazon Elastic Compute Cloud",
            "VPC Networking Support": "true",
        }
        for system, software, operation in SYSTEMS:
            for tenancy, capacity, usage in CAPACITY:
                sku = "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=16))
                tail = product | {
                    "Tenancy": tenancy,
                    "Operating System": system,
                    "License Model": "No License required",
                    "usageType": f"{usage}:{size}",
                    "operation": operation,
                    "CapacityStatus": capacity,
                    "Pre Installed S/W": software,
                }
                fixed = ",".join(f'"{tail[name]}"' if tail.get(name) else "" for name in COLUMNS[15:])
                named = f"{system} {size} Instance Hour"
                yield _line(sku, "JRTCKXETXF", "OnDemand", "Hrs", hourly, named, ("", "", ""), fixed)
                if capacity != "Used" or tenancy == "Host":
                    continue
                for offer, lease, kind, option in OFFERS:
                    terms = (lease, option, kind)
                    upfront = hourly * 5000
                    recurring = Decimal(0) if option == "All Upfront" else hourly / 2
                    yield _line(sku, offer, "Reserved", "Hrs", recurring, named, terms, fixed)
                    if option != "No Upfront":
                        yield _line(sku, offer, "Reserved", "Quantity", upfront, "Upfront Fee", terms, fixed)


def _line(
    sku: str, offer: str, term: str, unit: str, price: Decimal, what: str, terms: tuple[str, str, str], fixed: str
) -> str:
    lease, option, kind = (f'"{word}"' if word else "" for word in terms)
    return (
        f'"{sku}","{offer}","{sku}.{offer}.{unit}","{term}","${price} per {what}","2026-11-01","0","Inf","{unit}",'
        f'"{price:.10f}","USD",,{lease},{option},{kind},{fixed}\n'
    )


def write(path: Path, megabytes: int) -> int:
    """Write the file and return the number of price lines."""
    count = size = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(METADATA + ",".join(f'"{name}"' for name in COLUMNS) + "\n")
        for line in lines(seed=1):
            if size >= megabytes * 1_000_000 and '"OnDemand","$' in line:
                return count  # between two SKUs: half a reserved offer would be refused, rightly
            file.write(line)
            count, size = count + 1, size + len(line)
    raise AssertionError("lines() does not end")


def ours(path: Path) -> dict[str, object]:
    """Land the file as a replay lands one (hash, gzip, fsync, rename), then parse what was landed."""
    from scrapers.kept_records import records_as_bytes
    from scrapers.landing import Landing
    from scrapers.prices.base import parse_snapshot
    from scrapers.prices.registry import PRICE_SOURCES
    from scrapers.snapshot import Origin

    with tempfile.TemporaryDirectory(dir=path.parent) as root:
        landing = Landing(Path(root))
        started = time.perf_counter()
        entry = landing.land_files("aws", "ec2-us-east-1", [path], datetime.now(UTC), Origin.REPLAY)
        landed = time.perf_counter()
        parsed = parse_snapshot(PRICE_SOURCES["aws"], landing.open_snapshot(entry))
        done = time.perf_counter()
        stored = entry.payloads[0].path.stat().st_size
        kept = stored - landing.prune(entry, records_as_bytes(parsed), at=datetime.now(UTC))
    return {
        "land_seconds": landed - started,
        "seconds": done - landed,
        "stored_megabytes": stored / 1e6,
        "kept_kilobytes": kept / 1e3,
        "rows": len(parsed.records),
        "sum": str(sum((record.price_amount for record in parsed.records), Decimal(0))),
    }


def with_duckdb(path: Path) -> dict[str, object]:
    """The same rows by DuckDB's CSV reader, all cores, straight from the plain file."""
    import duckdb

    started = time.perf_counter()
    row = (
        duckdb.connect()
        .execute(
            f"""
            select count(*), sum(cast("PricePerUnit" as decimal(28, 12)))
            from read_csv(?, skip = 5, header = true, all_varchar = true, nullstr = '§', delim = ',', quote = '"')
            where {FILTER}
            """,
            [str(path)],
        )
        .fetchone()
    )
    assert row is not None
    return {"seconds": time.perf_counter() - started, "rows": row[0], "sum": str(row[1])}


def with_pandas(path: Path) -> dict[str, object]:
    """The same rows by pandas in chunks, only the columns that the filter needs."""
    import pandas as pd

    needed = ["Operating System", "Tenancy", "CapacityStatus", "MarketOption", "Pre Installed S/W", "GPU", "usageType"]
    started = time.perf_counter()
    rows, total = 0, Decimal(0)
    chunks = pd.read_csv(
        path, skiprows=5, dtype=str, keep_default_na=False, usecols=[*needed, "PricePerUnit"], chunksize=50_000
    )
    for chunk in chunks:
        kept = chunk[
            (chunk["Operating System"] == "Linux")
            & (chunk["Tenancy"] == "Shared")
            & (chunk["CapacityStatus"] == "Used")
            & (chunk["MarketOption"] == "OnDemand")
            & chunk["Pre Installed S/W"].isin(["", "NA"])
            & ~chunk["GPU"].isin(["", "NA", "0"])
            & chunk["usageType"].str.contains(r"(?:^|-)BoxUsage(?::|$)")
        ]
        rows += len(kept)
        total += sum(map(Decimal, kept["PricePerUnit"]), Decimal(0))
    return {"seconds": time.perf_counter() - started, "rows": rows, "sum": str(total)}


STEPS = {"ours": ours, "duckdb": with_duckdb, "pandas": with_pandas}


def main() -> None:
    """Generate, run every step in its own process, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=450)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        result = STEPS[arguments.step](arguments.file)
        result["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(result))
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "index.csv"
        count = write(path, arguments.megabytes)
        print(f"{path.stat().st_size / 1e6:.0f} MB, {count} price lines")
        results = {}
        for step in STEPS:
            command = [sys.executable, __file__, "--step", step, "--file", str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
            results[step] = json.loads(done.stdout)
    first = results["ours"]
    for step, result in results.items():
        print(
            f"{step:8} {result['seconds']:6.2f} s  {result['peak_megabytes']:6.0f} MB peak  "
            f"{result['rows']} prices, sum {Decimal(result['sum']):.10f}"
        )
        assert result["rows"] == first["rows"], f"{step} finds other rows"
        assert Decimal(result["sum"]) == Decimal(first["sum"]), f"{step} finds other prices"
    print(f"landing  {first['land_seconds']:6.2f} s  (hash, gzip to {first['stored_megabytes']:.0f} MB, fsync)")
    print(f"pruned   {first['kept_kilobytes']:.0f} kB stay of it")
    for other in ("duckdb", "pandas"):
        theirs = results[other]["seconds"]
        whole = first["seconds"] + first["land_seconds"]
        print(f"parse / {other}: {first['seconds'] / theirs:.2f}   land + parse / {other}: {whole / theirs:.2f}")


if __name__ == "__main__":
    main()
