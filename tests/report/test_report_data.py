"""What the report's queries say of tables written by hand (tests/report/worlds.py), worked out by hand."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.report.data import QUERIES, report_data
from orchestration.report.page import build_report, script_json
from tests.report.worlds import SMALL, write


def unpacked(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a query, from the shape that the page gets."""
    lists = {
        name: [None if place is None else values["words"][place] for place in values["at"]]
        if isinstance(values, dict)
        else values
        for name, values in columns.items()
    }
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with duckdb.connect(str(write(tmp_path_factory.mktemp("data") / "small.duckdb", SMALL)), read_only=True) as con:
        return report_data(con)


def test_the_run_says_which_days_are_shown(data: dict[str, Any]) -> None:
    assert data["run"] == {
        "run_id": "run-1",
        "as_of_date": "2026-11-10",
        "published_at": "2026-11-11 05:30",
        "first_date": "2026-11-03",
        "is_cut": False,
    }


def test_ways_of_buying_are_not_counted_beside_their_whole(data: dict[str, Any]) -> None:
    rows = [row for row in unpacked(data["units"]) if row["usage_date"] == "2026-11-10"]
    assert [(row["model"], row["cost_usd"], row["priced_total_tokens"]) for row in rows] == [
        ("org/70b", 120.5, 48_200_000),
        ("org/8b", 30.0, 60_000_000),
    ]


def test_unknown_stays_unknown_with_its_reason(data: dict[str, Any]) -> None:
    (row,) = [row for row in unpacked(data["units"]) if row["usage_date"] == "2026-11-09"]
    assert (row["cost_usd"], row["priced_total_tokens"], row["null_reason"]) == (None, None, "no_spot_price")


def test_effects_of_a_drift_sum_to_its_impact(data: dict[str, Any]) -> None:
    rows = {row["series"]: row for row in unpacked(data["drift"])}
    assert set(rows) == {"total", "org/70b", "L40S"}  # per million tokens only
    total = rows["total"]
    assert (total["cost_usd"], total["impact_usd_per_day"]) == (150.5, -11.8)
    assert sum(value for name, value in total.items() if name.endswith("_effect_usd")) == pytest.approx(-11.8, abs=1e-9)
    assert rows["L40S"]["impact_usd_per_day"] is None


def test_our_rate_beside_the_offers_in_force_bought_the_same_way(data: dict[str, Any]) -> None:
    rows = {(row["gpu_model"], row["pricing_category"]): row for row in unpacked(data["prices"])}
    standard = rows["H100", "Standard"]
    # 40.5 USD / 10 GPU-hours; offers of 3, 4 and 5 USD, by two providers; the oldest was seen on the 8th.
    assert standard["our_usd_per_gpu_hour"] == 4.05
    assert (standard["low_usd_per_gpu_hour"], standard["median_usd_per_gpu_hour"]) == (3.0, 4.0)
    assert (standard["low_provider"], standard["offer_count"], standard["provider_count"]) == ("cheap", 3, 2)
    assert standard["oldest_seen_date"] == "2026-11-08"
    assert rows["H100", "Committed"]["our_usd_per_gpu_hour"] == 2.0
    assert rows["H100", "Committed"]["low_usd_per_gpu_hour"] is None  # nobody offers commitments


def test_alternatives_are_the_cheapest_way_on_each_gpu_beside_what_runs_now(data: dict[str, Any]) -> None:
    rows = unpacked(data["sizing"])
    assert [(row["gpu_model"], row["tensor_parallel"], row["is_run_now"]) for row in rows] == [
        ("MI300X", 1, False),
        ("B200", 1, False),
        ("H200", 1, False),
        ("H100", 2, True),
    ]
    assert {row["run_now_usd_per_million_tokens"] for row in rows} == {0.2}
    assert unpacked(data["sizing_gaps"]) == [{"null_reason": "does_not_fit", "row_count": 1}]
    assert [row["new_reserved_gpus"] for row in unpacked(data["plan"])] == [8]


def test_only_open_alerts_that_speak_for_themselves(data: dict[str, Any]) -> None:
    assert [(row["title"], row["impact_usd_per_day"]) for row in unpacked(data["alerts"])] == [("Cost rose", 24.1)]


def test_quality_beside_the_numbers(data: dict[str, Any]) -> None:
    (gap,) = unpacked(data["reconciliation"])
    assert (gap["unexplained_difference"], gap["is_within_tolerance"], gap["days_beyond_tolerance"]) == (80, False, 2)
    assert [row["source"] for row in unpacked(data["freshness"])] == ["aws", "gateway"]
    (bill,) = unpacked(data["bills"])
    assert (bill["month"], bill["modelled_cost_usd"], bill["rate_difference_usd"], bill["billed_cost_usd"]) == (
        "2026-11",
        100.0,
        -2.5,
        97.5,
    )
    (counts,) = unpacked(data["counts"])
    assert (counts["stale_prices"], counts["prices"], counts["tenants"]) == (1, 2, 2)


def test_tenants_beyond_the_first_are_one_row_and_no_cost_is_lost(tmp_path: Path) -> None:
    tenants = [
        {
            "usage_date": "2026-11-10",
            "tenant": f"t{index:03}",
            "deployment": "d",
            "model": "m",
            "adapter": "",
            "gpu_model": "H100",
            "cost_usd": index + 1,
            "total_tokens": 1000,
        }
        for index in range(100)
    ]
    with duckdb.connect(str(write(tmp_path / "many.duckdb", {"fct_tenant_costs_daily": tenants}))) as con:
        rows = unpacked(report_data(con)["tenants"])
    assert len(rows) == 26
    # 1 + 2 + … + 100 = 5,050, of which the 25 dearest, 76 to 100, are 2,200.
    assert sum(row["cost_usd"] for row in rows) == 5050
    assert [row["cost_usd"] for row in rows if row["tenant"] is None] == [2850]


def test_empty_tables_give_empty_columns(tmp_path: Path) -> None:
    with duckdb.connect(str(write(tmp_path / "empty.duckdb", {}))) as con:
        data = report_data(con)
    assert set(data) == {"run", *QUERIES}
    assert {name for name in QUERIES if unpacked(data[name])} == {"counts"}


def test_a_missing_table_is_an_error_that_names_it(tmp_path: Path) -> None:
    with duckdb.connect(str(write(tmp_path / "old.duckdb", SMALL))) as con:
        con.execute("drop table fct_gpu_sizing")
        with pytest.raises(duckdb.Error, match="fct_gpu_sizing"):
            report_data(con)


def test_data_cannot_end_its_script() -> None:
    hostile = "</script><script>alert(1)</script><!-- & \u2028 \u2029"
    text = script_json({hostile: hostile})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {hostile: hostile}


def test_a_world_of_any_size_stays_under_three_megabytes(tmp_path: Path) -> None:
    """400 days of 100 models: 40,000 rows of unit costs, which alone would take some 2.8 MB."""
    path = tmp_path / "large.duckdb"
    write(path, {}, as_of="2026-11-10")
    with duckdb.connect(str(path)) as con:
        con.execute(
            """
            insert into fct_unit_costs_daily by name
            select date '2026-11-10' - d::integer as usage_date, 'organisation/model-' || m as model,
                'H100-SXM-80GB' as gpu_model, 'all' as pricing_category, 24 as gpu_hours,
                100 + hash(d, m) % 1000000 / 10000 as cost_usd, 90 as active_cost_usd,
                10 + hash(d, m) % 1000000 / 10000 as idle_cost_usd, 1000000 + hash(m, d) % 1000000 as total_tokens,
                1000000 + hash(m, d) % 1000000 as priced_total_tokens, 1 as usage_coverage_ratio,
                1 as priced_gpu_hours_ratio, true as is_fully_priced
            from range(400) as days (d), range(100) as models (m)
            """
        )
        run = report_data(con)["run"]
    assert run["is_cut"]
    shown = (date.fromisoformat(run["as_of_date"]) - date.fromisoformat(run["first_date"])).days + 1
    assert 60 < shown < 400
    target = tmp_path / "index.html"
    assert build_report(path, target) == target.stat().st_size < 3_000_000
