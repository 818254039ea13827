"""Published tables written by hand, by the columns and types of the contract, and a browser to open their report in."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest
import yaml
from playwright.sync_api import Browser, Page, sync_playwright

MARTS = Path(__file__).parents[2] / "dbt" / "models" / "marts"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PUBLISHED_AT = datetime(2026, 11, 11, 5, 30, tzinfo=UTC)

Row = dict[str, Any]

# On 10 November 70b costs 120.50 USD for 48.2 million tokens (2.50 per million) and 8b 30.00 USD for 60 million (0.50):
# together 150.50 / 108.2 = 1.390943 per million. The mean of the two would be 1.50.
UNITS: list[Row] = [
    {"usage_date": "2026-11-03", "model": "org/70b", "gpu_model": "H100", "pricing_category": "all",
     "gpu_hours": 50, "cost_usd": 100, "active_cost_usd": 90, "idle_cost_usd": 10, "total_tokens": 50_000_000,
     "priced_total_tokens": 50_000_000, "usage_coverage_ratio": 1, "priced_gpu_hours_ratio": 1,
     "is_fully_priced": True},
    {"usage_date": "2026-11-09", "model": "org/8b", "gpu_model": "L40S", "pricing_category": "all", "gpu_hours": 30,
     "total_tokens": 5_000_000, "usage_coverage_ratio": 1, "priced_gpu_hours_ratio": 0, "is_fully_priced": False,
     "null_reason": "no_spot_price"},
    {"usage_date": "2026-11-10", "model": "org/70b", "gpu_model": "H100", "pricing_category": "all", "gpu_hours": 50,
     "cost_usd": "120.5", "active_cost_usd": "100.5", "idle_cost_usd": 20, "total_tokens": 48_200_000,
     "priced_total_tokens": 48_200_000, "usage_coverage_ratio": "0.9", "priced_gpu_hours_ratio": 1,
     "is_fully_priced": True},
    {"usage_date": "2026-11-10", "model": "org/8b", "gpu_model": "L40S", "pricing_category": "all", "gpu_hours": 30,
     "cost_usd": 30, "active_cost_usd": 24, "idle_cost_usd": 6, "total_tokens": 60_000_000,
     "priced_total_tokens": 60_000_000, "usage_coverage_ratio": "0.5", "priced_gpu_hours_ratio": 1,
     "is_fully_priced": True},
    # A way of buying: part of the row above, and counted twice by whoever adds it.
    {"usage_date": "2026-11-10", "model": "org/8b", "gpu_model": "L40S", "pricing_category": "Dynamic", "gpu_hours": 30,
     "cost_usd": 30, "total_tokens": 60_000_000, "priced_total_tokens": 60_000_000},
]  # fmt: skip
NO_EFFECTS = {
    f"{name}_effect_usd": 0
    for name in ("purchase_mix", "gpu_mix", "efficiency", "cache", "model_mix", "request_size", "new_stopped")
}
# 108.2 million tokens at the expected 1.50 would have cost 162.30 USD: 11.80 less was spent.
DRIFT: list[Row] = [
    {"usage_date": "2026-11-10", "series_kind": "total", "series": "total", "measure": "cost_usd_per_million_tokens",
     "state": "ok", "cost_usd": "150.5", "volume": "108.2", "actual_usd_per_unit": "1.39094270",
     "expected_usd_per_unit": "1.5", "lower_usd_per_unit": "1.2", "upper_usd_per_unit": "1.8",
     "impact_usd_per_day": "-11.8", "price_effect_usd": -10, "utilization_effect_usd": "-1.8", **NO_EFFECTS,
     "reference_day_count": 5},
    {"usage_date": "2026-11-10", "series_kind": "model", "series": "org/70b", "measure": "cost_usd_per_million_tokens",
     "state": "drift", "since_date": "2026-11-09", "cost_usd": "120.5", "volume": "48.2",
     "actual_usd_per_unit": "2.5", "expected_usd_per_unit": "2", "lower_usd_per_unit": "1.9",
     "upper_usd_per_unit": "2.1", "impact_usd_per_day": "24.1", "price_effect_usd": "4.1",
     "utilization_effect_usd": 20, **NO_EFFECTS, "reference_day_count": 5},
    {"usage_date": "2026-11-10", "series_kind": "gpu_model", "series": "L40S", "measure": "cost_usd_per_million_tokens",
     "state": "learning", "cost_usd": 30, "volume": 60, "null_reason": "no_reference", "reference_day_count": 0},
    {"usage_date": "2026-11-10", "series_kind": "total", "series": "total", "measure": "cost_usd_per_request",
     "state": "ok", "cost_usd": "150.5", "volume": 10, "actual_usd_per_unit": "15.05"},
]  # fmt: skip
MIX: list[Row] = [
    {"usage_date": "2026-11-10", "provider": "aws", "gpu_model": "H100", "pricing_category": "Committed",
     "gpu_hours": 40, "effective_cost_usd": 80, "unused_commitment_gpu_hours": 6, "unused_commitment_cost_usd": 12,
     "savings_usd": 28, "is_fully_priced": True},
    {"usage_date": "2026-11-10", "provider": "aws", "gpu_model": "H100", "pricing_category": "Standard",
     "gpu_hours": 10, "effective_cost_usd": "40.5", "unused_commitment_gpu_hours": 0, "unused_commitment_cost_usd": 0,
     "savings_usd": 0, "is_fully_priced": True},
    {"usage_date": "2026-11-10", "provider": "gcp", "gpu_model": "L40S", "pricing_category": "Dynamic",
     "gpu_hours": 30, "effective_cost_usd": 30, "unused_commitment_gpu_hours": 0, "unused_commitment_cost_usd": 0,
     "is_fully_priced": True, "null_reason": "no_on_demand_price"},
]  # fmt: skip
TENANTS: list[Row] = [
    {"usage_date": "2026-11-10", "tenant": "alpha", "team": "Search", "cost_center": "4300", "deployment": "chat",
     "model": "org/70b", "adapter": "", "gpu_model": "H100", "total_tokens": 40_000_000, "request_count": 10,
     "cost_usd": 100, "active_cost_usd": 80, "idle_cost_usd": 20},
    {"usage_date": "2026-11-10", "tenant": "beta", "deployment": "chat", "model": "org/70b", "adapter": "",
     "gpu_model": "H100", "total_tokens": 8_200_000, "request_count": 5, "cost_usd": "20.5",
     "active_cost_usd": "20.5", "idle_cost_usd": 0},
    {"usage_date": "2026-11-10", "tenant": "beta", "deployment": "small", "model": "org/8b", "adapter": "",
     "gpu_model": "L40S", "total_tokens": 60_000_000, "request_count": 6, "cost_usd": 30, "active_cost_usd": 24,
     "idle_cost_usd": 6},
]  # fmt: skip
OFFER: Row = {
    "gpu_model": "H100", "pricing_category": "Standard", "is_market_price": True, "region": "us",
    "valid_from_at": "2026-11-01 00:00:00+00", "last_seen_at": "2026-11-08 06:00:00+00",
}  # fmt: skip
# In force at the end of 10 November: 3, 4 and 5 USD. Not: one that ended, one to come, one of no market, one unpriced.
PRICES: list[Row] = [
    OFFER | {"series_id": "a", "provider": "cheap", "price_usd_per_gpu_hour": 3},
    OFFER | {"series_id": "b", "provider": "aws", "price_usd_per_gpu_hour": 5,
             "last_seen_at": "2026-11-10 06:00:00+00"},
    OFFER | {"series_id": "c", "provider": "aws", "price_usd_per_gpu_hour": 4},
    OFFER | {"series_id": "d", "provider": "cheap", "price_usd_per_gpu_hour": "0.5",
             "valid_to_at": "2026-11-10 12:00:00+00"},
    OFFER | {"series_id": "e", "provider": "cheap", "price_usd_per_gpu_hour": "0.6",
             "valid_from_at": "2026-11-11 00:00:00+00"},
    OFFER | {"series_id": "f", "provider": "broker", "price_usd_per_gpu_hour": 1, "is_market_price": False},
    OFFER | {"series_id": "g", "provider": "aws"},
]  # fmt: skip
SIZED: Row = {
    "model": "org/70b", "workload": "chat", "engine": "vllm", "precision": "fp8", "purchase_option": "on_demand",
    "provider": "aws", "region": "us", "method": "roofline",
}  # fmt: skip
# On H100, which runs it, the best way costs 0.20; MI300X at 0.15 is a quarter less.
SIZING: list[Row] = [
    SIZED | {"gpu_model": gpu, "tensor_parallel": tensor_parallel, "rank": rank, "price_usd_per_gpu_hour": 3,
             "ttft_ms": 900, "tpot_ms": 40, "cost_usd_per_million_total_tokens": cost,
             "cost_usd_per_million_total_tokens_at_utilization": cost}
    for rank, (gpu, tensor_parallel, cost) in enumerate(
        [("MI300X", 1, "0.15"), ("MI300X", 2, "0.16"), ("B200", 1, "0.17"), ("H200", 1, "0.18"), ("A100", 2, "0.19"),
         ("H100", 2, "0.2"), ("H100", 4, "0.3")], start=1)
] + [SIZED | {"gpu_model": "T4", "tensor_parallel": 1, "null_reason": "does_not_fit"}]  # fmt: skip
SMALL: dict[str, list[Row]] = {
    "fct_unit_costs_daily": UNITS,
    "fct_cost_drift_daily": DRIFT,
    "fct_cost_drivers_daily": [
        {"usage_date": "2026-11-10", "series_kind": "model", "series": "org/70b",
         "measure": "cost_usd_per_million_tokens", "driver_rank": 1, "effect": "utilization", "deployment": "chat",
         "gpu_model": "H100", "pricing_category": "Standard", "effect_usd_per_day": 20},
    ],
    "fct_purchase_mix_daily": MIX,
    "fct_tenant_costs_daily": TENANTS,
    "fct_gpu_prices": PRICES,
    "fct_gpu_prices_daily": [{"price_date": "2026-11-10", "series_id": "a", "is_stale": True},
                             {"price_date": "2026-11-10", "series_id": "b", "is_stale": False}],
    "fct_price_anomalies": [
        {"finding_id": "1", "severity": "error", "action": "quarantined", "is_open": True, "provider": "gcp",
         "details": "L40S spot: 100 USD", "likely_cause": "cents read as dollars", "series_count": 1,
         "first_seen_at": "2026-11-05 06:00:00+00", "last_seen_at": "2026-11-10 06:00:00+00"},
    ],
    "fct_gpu_sizing": SIZING,
    "dim_deployments": [{"deployment": "chat", "model": "org/70b", "gpu_model": "H100"},
                        {"deployment": "small", "model": "org/8b", "gpu_model": "L40S"}],
    "fct_capacity_plan": [
        {"plan_date": "2026-11-10", "provider": "aws", "region": "us", "gpu_model": "H100",
         "purchase_option": "best_mix", "is_recommended": True, "held_gpus": 8, "reserved_gpus": 16,
         "new_reserved_gpus": 8, "window_hours": 672, "cost_usd": 60, "actual_cost_usd": 100,
         "savings_vs_actual_ratio": "0.4", "savings_ratio": "0.5", "backtest_weeks": 4,
         "null_reason": "too_few_weeks"},
        {"plan_date": "2026-11-10", "provider": "aws", "region": "us", "gpu_model": "H100",
         "purchase_option": "on_demand", "is_recommended": False, "held_gpus": 8, "cost_usd": 100},
    ],
    "fct_alerts": [
        {"incident_id": "a" * 16, "severity": "warning", "state": "open", "title": "[warning] Cost rose",
         "text": "Cost rose\nDo: look.", "impact_usd_per_day": "24.1", "first_seen_at": "2026-11-09 00:00:00+00",
         "child_count": 1},
        {"incident_id": "b" * 16, "severity": "warning", "state": "open", "title": "[warning] Child", "text": "Child",
         "first_seen_at": "2026-11-09 00:00:00+00", "child_count": 0, "parent_incident_id": "a" * 16},
        {"incident_id": "c" * 16, "severity": "page", "state": "resolved", "title": "[page] Old", "text": "Old",
         "first_seen_at": "2026-11-01 00:00:00+00", "child_count": 0},
    ],
    "fct_source_freshness": [
        {"source": "aws", "kind": "price", "status": "stale", "age_hours": 100, "stale_after_hours": 48,
         "last_success_at": "2026-11-06 00:00:00+00", "row_count": 3, "rejected_row_count": 0,
         "message": "the host name cannot be resolved"},
        {"source": "gateway", "kind": "usage", "status": "fresh", "age_hours": 1, "stale_after_hours": 48,
         "last_success_at": "2026-11-11 00:00:00+00", "row_count": 21, "rejected_row_count": 0},
    ],
    "fct_reconciliation_daily": [
        {"usage_date": f"2026-11-{day:02}", "deployment": "chat", "left_role": "engine_counters",
         "right_role": "gateway", "measure": "output_tokens", "left_value": 1000, "right_value": 900,
         "difference": 100, "unexplained_difference": 80, "explained_by": "unexplained",
         "is_within_tolerance": day < 9}
        for day in (7, 8, 9, 10)
    ],
    "fct_bill_reconciliation_daily": [
        {"usage_date": "2026-11-10", "provider": "aws", "modelled_cost_usd": 100, "billed_cost_usd": "97.5",
         "not_yet_billed_usd": 0, "fleet_without_bill_usd": 0, "bill_without_fleet_usd": 0,
         "rate_difference_usd": "-2.5", "unused_commitment_usd": 0, "credits_and_taxes_usd": 0, "rounding_usd": 0,
         "is_fully_modelled": True},
    ],
    "fct_unmapped_usage": [
        {"reason": "no_route", "source_name": "gateway", "model_group": "", "model": "org/lost", "deployment": "",
         "total_tokens": 1234, "request_count": 2, "first_usage_date": "2026-11-09", "last_usage_date": "2026-11-10"},
    ],
    "fct_cost_restatements": [
        {"usage_date": "2026-11-03", "name": "chat", "cause": "rate", "is_after_close": False,
         "restated_at": "2026-11-10 05:00:00+00", "change_cost_usd": "-1.5"},
    ],
}  # fmt: skip


@cache
def contract() -> dict[str, dict[str, str]]:
    """Tables of the contract: column -> type, as dbt's files state them."""
    return {
        model["name"]: {column["name"]: column["data_type"] for column in model["columns"]}
        for path in sorted(MARTS.rglob("*marts.yml"))
        for model in yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
    }


def fill(con: duckdb.DuckDBPyConnection, tables: dict[str, list[Row]]) -> None:
    """Every table of the contract, with the rows given; columns not given are null."""
    for name, columns in contract().items():
        con.execute(f"create table {name} ({', '.join(f'{column} {kind}' for column, kind in columns.items())})")
        for row in tables.get(name, []):
            con.execute(
                f"insert into {name} ({', '.join(row)}) values ({', '.join('?' * len(row))})", list(row.values())
            )


def write(path: Path, tables: dict[str, list[Row]], *, as_of: str = "2026-11-10") -> Path:
    """A published file."""
    with duckdb.connect(str(path)) as con:
        con.execute("set timezone = 'UTC'")
        fill(con, tables)
        con.execute(
            "create table ledger_run as "
            "select 'run-1' as run_id, ?::date as as_of_date, ?::timestamptz as published_at",
            [as_of, PUBLISHED_AT],
        )
    return path


@dataclass
class Opened:
    """A page in the browser, and what it did that it should not."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def number(self, selector: str) -> float:
        """The exact value of the first number under `selector`."""
        return float(self.page.locator(f"{selector} data").first.get_attribute("value") or "nan")

    def numbers(self, selector: str) -> list[float]:
        """The exact values of all numbers under `selector`."""
        return [float(each.get_attribute("value") or "nan") for each in self.page.locator(f"{selector} data").all()]

    def choose(self, **filters: str | tuple[str, ...]) -> None:
        """Sets filters as a person does, by what is written on them, and waits for the charts.

        A day for `from` and `to`; for `model`, `gpu_model` and `tenant` the names to tick, which unticks all others.
        """
        for name, value in filters.items():
            control = self.page.locator(f"#{name}")
            if isinstance(value, str):
                control.fill(value)
                continue
            control.locator("summary").click()
            lines = {line.text_content(): line for line in control.locator("label").all()}
            assert set(value) <= set(lines), f"{value} of {list(lines)}"
            for title, line in lines.items():
                line.locator("input").set_checked(title in value)
            control.locator("summary").click()
        self.page.wait_for_selector("html[data-drawn]")

    def chosen(self, name: str) -> str:
        """What the box of a choice says is chosen."""
        return self.page.locator(f"#{name} .chosen").inner_text()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's own browser, headless; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser, path: Path, *, width: int = 1280, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Opened]:
    """The report at `path`, charts drawn."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
    found = Opened(page)
    page.on("console", lambda message: found.console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.console.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (found.console.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: found.requests.append(request.url))
    try:
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("html[data-drawn]", timeout=20_000)
        yield found
    finally:
        page.close()
