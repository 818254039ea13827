"""Which counters of serving engines are read: the names in the seeds `engine_metrics` and `engine_metric_prefixes`."""

import re

from orchestration.seeds import seed_rows

PROCESS_START = "process_start_time_seconds"
# Client libraries in Python write beside each counter and histogram when it was created.
_SUFFIX = re.compile(r"_(total|sum)$")


def counter_names() -> list[str]:
    """Every name that a counted series may be exposed under."""
    prefixes = _prefixes()
    return sorted(
        {prefix + row["metric_name"] for row in seed_rows("engine_metrics") for prefix in prefixes[row["engine"]]}
    )


def created_names(names: list[str]) -> list[str]:
    """The names that state when the series of `names` were created."""
    return sorted({_SUFFIX.sub("_created", name) for name in names if _SUFFIX.search(name)})


def families() -> tuple[str, ...]:
    """Regular expressions (RE2) of whole metric names, one per engine, for a Prometheus server."""
    names: dict[str, set[str]] = {}
    for row in seed_rows("engine_metrics"):
        own = row["metric_name"]
        names.setdefault(row["engine"], set()).update({own, *created_names([own])})
    return tuple(f"{_any_of(set(prefixes))}{_any_of(names[engine])}" for engine, prefixes in _prefixes().items())


def _prefixes() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in seed_rows("engine_metric_prefixes"):
        found.setdefault(row["engine"], []).append(row["prefix"])
    return found


def _any_of(texts: set[str]) -> str:
    """Names and prefixes hold letters, digits, underscores and colons: nothing that a pattern would read otherwise."""
    return texts.pop() if len(texts) == 1 else "(" + "|".join(sorted(texts)) + ")"
