"""Landed answers of Prometheus servers into the raw room: pairs of servers, names that collide, damaged files."""

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.settings import Settings, load_settings
from orchestration.warehouse import UsageResult, Warehouse, load_usage

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
START = datetime(2026, 11, 23, 5, tzinfo=UTC)
T0 = START.timestamp()
PROMPT, CREATED = "vllm:prompt_tokens_total", "vllm:prompt_tokens_created"
POD = {"namespace": "llm", "pod": "vllm-0", "instance": "10.0.0.7:8000", "job": "vllm"}

Series = tuple[dict[str, str], Sequence[tuple[float, str]]]


def counter(name: str, values: Sequence[tuple[float, str]], **labels: str) -> Series:
    """A series of the one vLLM pod, with other or further labels."""
    return {"__name__": name, "engine": "0", "model_name": "tiny", **POD, **labels}, values


def points(*values: int, every: float = 15, offset: float = 0.0) -> list[tuple[float, str]]:
    return [(T0 + offset + every * index, str(value)) for index, value in enumerate(values)]


def settings_for(root: Path, more: str = "") -> Settings:
    root.mkdir(exist_ok=True)
    (root / "ledger.yaml").write_text(
        "fleet:\n  - {deployment: d, model: m, provider: aws, region: r, instance_type: t, replicas: 1,\n"
        "     pricing: {model: on_demand}, from: 2026-01-01}\n"
        f"usage:\n  - {{name: cluster, kind: prometheus, url: 'https://prom.example', deployment: d{more}}}\n",
        encoding="utf-8",
    )
    return load_settings(root / "ledger.yaml", root / "data")


def land(
    settings: Settings, *series: Series, start: datetime = START, answered: str = "20261124T050000Z", junk: str = ""
) -> Path:
    folder = settings.landing_dir / "prometheus" / "cluster" / start.date().isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"asked": {"source": "cluster"}})]
    lines += [json.dumps({"metric": labels, "values": values}) for labels, values in series]
    lines += [*junk.splitlines(), json.dumps({"answered": {"samples": 0, "is_exact": True}})]
    count = sum(len(values) for _, values in series)
    span = f"{start:%Y%m%dT%H%M%SZ}_{start + timedelta(hours=1):%Y%m%dT%H%M%SZ}"
    path = folder / f"{span}__{answered}__{count}.jsonl.gz"
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path


def load(settings: Settings) -> UsageResult:
    with Warehouse(settings.warehouse_path).connect() as con:
        return load_usage(con, settings.ledger.usage[0], settings, now=NOW, work_dir=settings.data_dir / "tmp")


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.warehouse_path)) as con:
        con.execute("set timezone = 'UTC'")
        return con.execute(sql).fetchall()


def values_of(settings: Settings, where: str = "true") -> list[float]:
    found = rows(settings, f"select value from raw.metric_samples where {where} order by scraped_at, value")
    return [value for (value,) in found]


def rejects(settings: Settings) -> list[tuple[Any, ...]]:
    return rows(settings, "select reason, field, occurrences, detail from raw.rejected_records order by all")


def test_a_sample_becomes_the_row_a_scraped_page_would_give(tmp_path: Path) -> None:
    """1,795,456,101.95 s is 17:48:21.95 UTC on 2026-11-23 (date -u -d @1795456101)."""
    settings = settings_for(tmp_path)
    at = [T0 + 12.345, T0 + 27.345]
    land(
        settings,
        counter(PROMPT, [(at[0], "44802"), (at[1], "4.4803e+04")]),
        counter(CREATED, [(at[0], "1795456101.95"), (at[1], "1795456101.95")]),
        counter("vllm:request_success_total", [(at[0], "105")], finished_reason="length"),
        ({"__name__": "process_start_time_seconds", **POD}, [(at[0], "1795456100"), (at[1], "1795456100")]),
    )
    result = load(settings)
    assert (result.record_count, result.rejected_count) == (3, 0)
    created, started = datetime(2026, 11, 23, 17, 48, 21, 950000, UTC), datetime(2026, 11, 23, 17, 48, 20, 0, UTC)
    first, second = START + timedelta(seconds=12.345), START + timedelta(seconds=27.345)
    pod = ("cluster", "llm/vllm-0")
    assert rows(settings, "select * exclude (file_id, usage_date) from raw.metric_samples order by all") == [
        (*pod, first, PROMPT, "0", "tiny", None, 44802.0, created, started),
        (*pod, first, "vllm:request_success_total", "0", "tiny", "length", 105.0, None, started),
        (*pod, second, PROMPT, "0", "tiny", None, 44803.0, created, started),
    ]


def test_a_pair_of_servers_counts_once(tmp_path: Path) -> None:
    """Server b began late: a has more samples. Prompt and output tokens come from the same one."""
    settings = settings_for(tmp_path)
    output = "vllm:generation_tokens_total"
    land(
        settings,
        counter(PROMPT, points(10, 20, 30), prometheus_replica="a"),
        counter(PROMPT, points(25, 35, offset=22), prometheus_replica="b"),
        counter(output, points(1, 2, 3), prometheus_replica="a"),
        counter(output, points(2, 3, offset=22), prometheus_replica="b"),
    )
    result = load(settings)
    assert (result.record_count, result.rejected_count) == (6, 0)
    assert values_of(settings, f"metric_name = '{PROMPT}'") == [10, 20, 30]
    assert values_of(settings, f"metric_name = '{output}'") == [1, 2, 3]


@pytest.mark.parametrize("label", ["replica", "prometheus_replica", "job"])
def test_copies_of_equal_size_leave_the_first_by_name(tmp_path: Path, label: str) -> None:
    settings = settings_for(tmp_path)
    land(
        settings,
        counter(PROMPT, points(11, 21, offset=7), **{label: "b"}),
        counter(PROMPT, points(10, 20), **{label: "a"}),
    )
    load(settings)
    assert values_of(settings) == [10, 20]


def test_a_family_only_one_job_scrapes_is_kept(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(
        settings,
        counter(PROMPT, points(10, 20), job="engines"),
        counter("sglang:prompt_tokens_total", points(7), job="router"),
    )
    load(settings)
    assert values_of(settings) == [7, 10, 20]


def test_replicas_are_pods_and_instances_where_there_is_no_pod(tmp_path: Path) -> None:
    """Two namespaces have a pod of one name; two clusters a pod address."""
    settings = settings_for(tmp_path)
    bare = {"__name__": PROMPT, "model_name": "tiny"}
    land(
        settings,
        counter(PROMPT, points(1)),
        counter(PROMPT, points(2), namespace="test", instance="10.0.0.8:8000"),
        ({**bare, "instance": "gpu-1:8000"}, points(3)),
        ({**bare, "instance": "gpu-1:8000", "cluster": "eu"}, points(4)),
    )
    load(settings)
    assert rows(settings, "select replica_key, value from raw.metric_samples order by value") == [
        ("llm/vllm-0", 1), ("test/vllm-0", 2), ("gpu-1:8000", 3), ("eu/gpu-1:8000", 4)
    ]  # fmt: skip


def test_the_ledger_can_name_the_label_of_a_replica(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, ", replica_label: ReplicaId")
    land(settings, counter(PROMPT, points(*range(20)), ReplicaId="abc"), counter(PROMPT, points(2, 3)))
    result = load(settings)
    assert rows(settings, "select replica_key, count(*) from raw.metric_samples group by all") == [("abc", 20)]
    assert rejects(settings) == [("missing_label", "ReplicaId", 2, None)]
    assert (result.record_count, result.rejected_count) == (20, 2)


def test_a_pod_that_comes_back_at_another_address_is_one_replica(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(
        settings,
        counter(PROMPT, points(10, 20)),
        counter(PROMPT, points(1, 2, offset=300), instance="10.0.0.99:8000"),
    )
    assert load(settings).rejected_count == 0
    assert values_of(settings, "replica_key = 'llm/vllm-0'") == [10, 20, 1, 2]


def test_two_engines_behind_one_name_are_refused_loudly(tmp_path: Path) -> None:
    """Read as one, the counter would fall and rise with each sample, each time a reset."""
    settings = settings_for(tmp_path)
    land(
        settings,
        counter(PROMPT, points(10, 20)),
        counter(PROMPT, points(1000, 2000), instance="10.0.0.7:8001"),
    )
    result = load(settings)
    assert (result.record_count, result.rejected_count) == (0, 4)
    assert "two_instances_of_one_replica" in result.failures[0]


def test_parts_that_differ_in_a_label_that_is_not_kept_are_rejected_and_the_rest_stays(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(
        settings,
        counter(PROMPT, points(10)),
        counter(PROMPT, points(90)),
        counter("vllm:generation_tokens_total", points(1, 2, 3)),
    )
    result = load(settings)
    assert (result.record_count, result.rejected_count) == (3, 2)
    assert rejects(settings) == [("series_differ_in_other_labels", PROMPT, 2, None)]


def test_labels_that_tell_series_apart_stay_apart(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    sglang = "sglang:prompt_tokens_total"
    land(
        settings,
        counter(sglang, points(1), is_streaming="true"),
        counter(sglang, points(2), is_streaming="false"),
        counter(sglang, points(3), tp_rank="1", is_streaming="false"),
        ({"__name__": "dynamo_frontend_output_tokens_total", "model": "other", **POD}, points(4)),
        ({"__name__": "tgi_request_success", **POD}, points(5)),
    )
    load(settings)
    found = rows(settings, "select engine, model_name, label_value, value from raw.metric_samples order by value")
    assert found == [
        ("0", "tiny", "true", 1),
        ("0", "tiny", "false", 2),
        ("engine=0,tp_rank=1", "tiny", "false", 3),
        (None, "other", None, 4),
        (None, None, None, 5),
    ]


def test_what_is_no_count_is_rejected_with_its_reason(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    good = [(T0 + 100 + second, "7") for second in range(10)]
    bad = [(T0, "NaN"), (T0 + 15, "-1"), (T0 + 30, "+Inf"), (T0 + 45, "2e15"), (T0 + 60, "CANARY")]
    land(settings, counter(PROMPT, [*bad, *good]), junk='{"metric": {"__name__": "CANARY\n[]')
    result = load(settings)
    assert result.record_count == 10
    # The last two lines: one is cut in the middle, one is no object.
    assert rejects(settings) == [
        ("malformed_json", None, 2, None),
        ("not_a_number", PROMPT, 2, None),
        ("value_not_a_count", PROMPT, 3, None),
    ]
    assert b"CANARY" not in settings.warehouse_path.read_bytes()


def test_a_damaged_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(settings, counter(PROMPT, points(1, 2)))
    damaged = land(settings, counter(PROMPT, points(3, 4)), start=START + timedelta(hours=1))
    damaged.write_bytes(damaged.read_bytes()[:-30])
    result = load(settings)
    assert (result.record_count, result.refused_file_count) == (2, 1)
    assert result.problems == [f"cluster: {damaged} was not read"]


def test_a_window_without_samples_is_known_as_asked(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(settings)
    result = load(settings)
    assert (result.file_count, result.record_count, result.problems) == (1, 0, [])
    assert rows(settings, "select status, record_count from raw.usage_files") == [("loaded", 0)]
    assert load(settings).unchanged_file_count == 1


def test_a_fuller_answer_takes_the_place_of_an_earlier_one_and_a_poorer_does_not(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(settings, counter(PROMPT, points(1, 2)), answered="20261123T053000Z")
    load(settings)
    land(settings, counter(PROMPT, points(1, 2, 3)), answered="20261123T073000Z")
    assert load(settings).file_count == 1
    assert values_of(settings) == [1, 2, 3]
    land(settings, counter(PROMPT, points(3)), answered="20261123T083000Z")
    assert load(settings).file_count == 0
    assert values_of(settings) == [1, 2, 3]
    assert rows(settings, "select count(*) from raw.usage_files") == [(1,)]


def test_a_hundred_windows_give_what_they_give_one_by_one(tmp_path: Path) -> None:
    """Copies are chosen per window, whichever windows are read together."""
    together, apart = settings_for(tmp_path / "a"), settings_for(tmp_path / "b")
    for hour in range(100):
        start = START - timedelta(hours=hour)
        shift = -3600.0 * hour
        first, second = ("a", "b") if hour % 3 else ("b", "a")
        series = [
            counter(PROMPT, points(10, 20, 30, offset=shift), prometheus_replica=first),
            counter(PROMPT, points(11, 21, offset=shift + 7), prometheus_replica=second),
        ]
        land(together, *series, start=start)
        land(apart, *series, start=start)
        if hour % 25 == 0:
            load(apart)
    load(together)
    load(apart)
    every = "select * from raw.metric_samples order by all"
    assert rows(together, every) == rows(apart, every)
    assert set(values_of(together)) == {10, 20, 30}
    assert len(values_of(together)) == 300
