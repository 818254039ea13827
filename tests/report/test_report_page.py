"""The page as a person opens it, in headless Chromium: its numbers against hand-made ones and against SQL."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from orchestration.report.page import build_report
from tests.report.worlds import SMALL, Opened, Row, chromium, opened, write

CHARTS = ("expected", "lines", "mix-chart", "waterfall", "price-map", "tenants-chart")
RIGHT_TO_LEFT = "\u202egnp.exe\u200f \u0645\u0631\u062d\u0628\u0627"
HOSTILE = {
    "org/70b": "<img src=x onerror=\"alert('model')\">",
    "org/8b": "</script><script>window.hacked = 'model'</script><!--",
    "H100": "\"><svg onload=alert('gpu')>'&quot;&lt;b&gt;",
    "L40S": "datum.x]; window.hacked = 'gpu'; ['" + "`${alert(1)}`",
    "alpha": RIGHT_TO_LEFT,
    "beta": "javascript:alert('tenant') {{ 7 * 7 }} {% raw %}",
    "aws": "long " + "x" * 295,
    "gcp": "=cmd|' /C calc'!A0",
    "chat": "<iframe src='file:///etc/passwd'>",
}


def page_of(folder: Path, tables: dict[str, list[Row]]) -> Path:
    target = folder / "index.html"
    build_report(write(folder / "world.duckdb", tables), target)
    return target


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(tmp_path_factory.mktemp("small"), SMALL)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def shown(small: Path, browser: Browser) -> Iterator[Opened]:
    with opened(browser, small) as found:
        yield found


@pytest.fixture(autouse=True)
def _all_filters_off(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "shown" in request.fixturenames:
        page = request.getfixturevalue("shown").page
        page.get_by_role("button", name="All").click()
        page.wait_for_timeout(50)
        page.wait_for_selector("html[data-drawn]")


def tile(opened_page: Opened, place: int, part: str = "value") -> str:
    return opened_page.page.locator(f"#tiles .tile >> nth={place}").locator(f".{part}").inner_text()


def test_the_headline_is_cost_over_tokens_never_a_mean_of_ratios(shown: Opened) -> None:
    # 150.50 USD / 108.2 million; a week before 100 USD / 50 million.
    assert shown.number("#tiles .value") == pytest.approx(150.5 / 108.2, abs=1e-12)
    assert tile(shown, 0) == "$1.391"
    assert tile(shown, 0, "note") == "▼ −30.5\u00a0% against $2.000 a week before"
    assert tile(shown, 1) == "$1.200 to $1.800"
    assert tile(shown, 1, "note") == "within the expected band $1.500 expected"
    assert tile(shown, 2) == "$150.50"
    # Idle 20 + 6 of 150.50.
    assert shown.number("#tiles .tile:nth-child(4)") == pytest.approx(26 / 150.5, abs=1e-12)


def test_what_qualifies_the_headline_stands_beside_it(shown: Opened) -> None:
    text = shown.page.locator("#costs-quality").inner_text()
    # (50 x 0.9 + 30 x 0.5) / 80 GPU-hours.
    assert "A usage source saw 75.0\u00a0% of the GPU-hours." in text
    assert "1 of 2 sources is stale" in text
    assert "1,234 tokens belong to no deployment" in text


def test_every_chart_is_drawn(shown: Opened) -> None:
    for chart in CHARTS:
        marks = shown.page.locator(
            f"#{chart} svg .mark-line path, #{chart} svg .mark-rect path, #{chart} svg .mark-symbol path"
        )
        assert marks.count() > 0, chart
        box = shown.page.locator(f"#{chart} svg").bounding_box()
        assert box is not None
        assert box["width"] > 500, chart
        assert shown.page.locator(f"#{chart}").get_attribute("aria-label"), chart


def test_no_network_no_console_no_code_from_text(shown: Opened) -> None:
    assert [url for url in shown.requests if not url.startswith("file:")] == []
    assert len(shown.requests) == 1
    assert shown.console == []
    # The policy of the page, from a task of its own: what the debugger runs itself, it lets pass.
    tried = shown.page.evaluate(
        """() => new Promise((resolve) => setTimeout(async () => {
            const tried = {};
            try { new Function("return 1")(); tried.code = "ran" } catch { tried.code = "forbidden" }
            const script = document.createElement("script");
            script.textContent = "window.hacked = 1";
            document.body.append(script);
            script.remove();
            tried.script = window.hacked ? "ran" : "forbidden";
            tried.request = await fetch("http://127.0.0.1:9/").then(() => "asked", () => "forbidden");
            resolve(tried);
        }, 0))"""
    )
    assert tried == {"code": "forbidden", "script": "forbidden", "request": "forbidden"}
    assert len(shown.console) >= 3
    assert all("Content Security Policy" in line for line in shown.console), shown.console
    shown.console.clear()


def test_a_model_changes_the_numbers(shown: Opened) -> None:
    shown.choose(model="org/70b")
    assert shown.number("#tiles .value") == 2.5
    assert tile(shown, 1) == "$1.900 to $2.100"
    assert "outside the expected band" in tile(shown, 1, "note")
    lead = shown.page.locator("#drift-lead").inner_text()
    assert lead.startswith("On 10\u00a0Nov\u00a02026 org/70b cost $120.50, $24.10 more")
    assert "since 9\u00a0Nov\u00a02026" in lead
    assert "The model filter does not apply here." in shown.page.locator("#mix-quality").inner_text()


def test_a_gpu_without_expectation_says_why(shown: Opened) -> None:
    shown.choose(gpu="L40S")
    assert shown.number("#tiles .value") == 0.5
    assert tile(shown, 1) == "not known"
    assert "too few comparable days yet" in tile(shown, 1, "note")
    assert "there are no comparable days yet" in shown.page.locator("#waterfall .empty").inner_text()
    assert tile(shown, 0, "note") == "Not known against a week before: no cost per token on 3\u00a0Nov\u00a02026."


def test_a_tenant_pays_for_its_tokens(shown: Opened) -> None:
    shown.choose(tenant="beta")
    # 20.50 + 30.00 USD for 8.2 + 60 million tokens.
    assert shown.number("#tiles .value") == pytest.approx(50.5 / 68.2, abs=1e-12)
    shown.choose(tenant="beta", model="org/70b")
    assert shown.number("#tiles .value") == 2.5


def test_a_day_whose_cost_is_unknown_is_not_free(shown: Opened) -> None:
    shown.choose(to="2026-11-09")
    assert tile(shown, 0) == "not known: there is no spot price"
    assert tile(shown, 2) == "not known: there is no spot price"
    shown.choose(**{"from": "2026-11-05"})
    assert "cost per token to draw" in shown.page.locator("#expected .empty").inner_text()


def test_days_in_the_wrong_order_are_put_right(shown: Opened) -> None:
    shown.choose(to="2026-11-04", **{"from": "2026-11-08"})
    assert (
        shown.page.locator("#selection").inner_text().startswith("4\u00a0Nov\u00a02026 to 8\u00a0Nov\u00a02026, 5 days")
    )


def test_mix_prices_alternatives_and_the_rest_say_their_numbers(shown: Opened) -> None:
    mix = shown.page.locator("#mix-table").inner_text()
    # 40 of 80 GPU-hours are reserved; 12 USD unused of 162.50 spent.
    assert shown.number("#mix-tiles") == 0.5
    assert "50.0\u00a0% of all spending".replace("50.0", "7.4") in shown.page.locator("#mix-tiles").inner_text()
    assert re.search(r"aws\s+H100\s+reserved\s+40\s+80.0\s%\s+80.00\s+\$2.000\s+12.00\s+28.00", mix)
    assert "not known: there is no on-demand price" in mix
    prices = shown.page.locator("#prices-table").inner_text()
    assert re.search(
        r"H100\s+on demand\s+\$4.050\s+\$3.000\s+\$4.000\s+\+35.0\s%\s+cheap, us\s+3 of 2 providers", prices
    )
    assert "held back: the last good price stays in force" in shown.page.locator("#findings").inner_text()
    assert re.search(r"MI300X.*\$0.1500\s+−25.0\s%", shown.page.locator("#sizing").inner_text().replace("\n", " "))
    assert "8 more GPUs" in shown.page.locator("#plan").inner_text()
    assert "not known: there are too few weeks to try it on" in shown.page.locator("#plan").inner_text()
    assert "−2.50" in shown.page.locator("#bills").inner_text()
    assert shown.page.locator("#alerts-list article").count() == 1


def test_numbers_equal_sql_on_the_published_file(small: Path, shown: Opened) -> None:
    with duckdb.connect(str(small.with_name("world.duckdb")), read_only=True) as con:
        for filters, condition in (
            ({}, "true"),
            ({"gpu": "H100"}, "gpu_model = 'H100'"),
            ({"model": "org/8b", "gpu": "L40S"}, "model = 'org/8b' and gpu_model = 'L40S'"),
        ):
            shown.choose(model="All models", gpu="All GPUs", tenant="All tenants")
            shown.choose(**filters)
            cost, unit = _one(
                con,
                "select sum(cost_usd), 1000000.0 * sum(cost_usd) / sum(priced_total_tokens) from fct_unit_costs_daily "
                f"where pricing_category = 'all' and {condition}",
            )
            found = shown.page.locator("#selection data").evaluate_all("all => all.map(each => Number(each.value))")
            assert found[0] == pytest.approx(float(cost), abs=1e-6)
            assert found[2] == pytest.approx(float(unit), abs=1e-9)


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = con.execute(sql).fetchone()
    assert row is not None
    return row


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_accessible_and_no_wider_than_the_screen(
    small: Path, browser: Browser, scheme: Literal["light", "dark"], width: int
) -> None:
    with opened(browser, small, width=width, scheme=scheme) as found:
        result = Axe().run(
            found.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
        )
        assert result.violations_count == 0, result.generate_report()
        assert found.page.evaluate("document.documentElement.scrollWidth") == width


def test_hostile_names_are_text(tmp_path: Path, browser: Browser) -> None:
    def renamed(value: Any) -> Any:
        return HOSTILE.get(value, value) if isinstance(value, str) else value

    tables = {
        name: [{key: renamed(value) for key, value in row.items()} for row in rows] for name, rows in SMALL.items()
    }
    tables["fct_alerts"][0] |= {"title": "[warning] <b onclick=alert(1)>", "text": "</pre><script>alert(2)</script>"}
    with opened(browser, page_of(tmp_path, tables), width=390) as found:
        page = found.page
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        text = page.evaluate("document.body.textContent")
        for name in HOSTILE.values():
            assert name in text
        assert page.locator("#alerts-list .title").inner_text().endswith("<b onclick=alert(1)>")
        for chart in CHARTS:
            box = page.locator(f"#{chart} svg").bounding_box()
            assert box is not None
            page.mouse.move(0, 0)
            page.locator(f"#{chart}").scroll_into_view_if_needed()
            for share in (0.35, 0.5, 0.98):
                for height in (0.3, 0.5, 0.8):
                    page.locator(f"#{chart} svg").hover(
                        position={"x": box["width"] * share, "y": box["height"] * height}, force=True
                    )
        for option in (HOSTILE["org/70b"], HOSTILE["org/8b"]):
            found.choose(model=option)
        found.choose(model="All models", tenant=RIGHT_TO_LEFT)
        assert page.locator("img, iframe, svg[onload], b").count() == 0
        assert page.locator("script").count() == 3
        assert page.evaluate("window.hacked") is None
        assert found.console == []
        assert len(found.requests) == 1


def test_a_tooltip_shows_a_hostile_name_as_text(tmp_path: Path, browser: Browser) -> None:
    tables = SMALL | {"fct_tenant_costs_daily": [SMALL["fct_tenant_costs_daily"][0] | {"tenant": HOSTILE["org/70b"]}]}
    with opened(browser, page_of(tmp_path, tables)) as found:
        found.page.locator("#tenants-chart svg .mark-rect path").first.hover()
        tooltip = found.page.locator("#vg-tooltip-element.visible")
        assert HOSTILE["org/70b"] in tooltip.inner_text()
        assert tooltip.locator("img").count() == 0
        assert found.console == []


def test_empty_tables_are_sentences_that_say_why(tmp_path: Path, browser: Browser) -> None:
    with opened(browser, page_of(tmp_path, {})) as found:
        assert found.page.locator("svg").count() == 0
        for part in (
            *CHARTS,
            "units-table",
            "findings",
            "plan",
            "sizing",
            "freshness",
            "reconciliation",
            "bills",
            "leftout",
        ):
            sentence = found.page.locator(f"#{part} .empty").inner_text()
            assert len(sentence.split()) >= 5, part
        assert "No alert is open." in found.page.locator("#alerts-list").inner_text()
        assert tile(found, 0).startswith("not known")
        assert found.console == []


def test_a_year_is_shown_whole_and_is_small(
    tmp_path: Path, browser: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many rows a day as the demo world has: 3 models, 14 series of drift, 6 ways of buying, 13 tenants' shares."""
    path = write(tmp_path / "year.duckdb", {})
    with duckdb.connect(str(path)) as con:
        con.execute(
            """
            create macro days() as table
                select date '2026-11-10' - d::integer as usage_date, d from range(365) as t (d);
            insert into fct_unit_costs_daily by name
            select usage_date, 'organisation/model-' || k as model, 'GPU-' || k as gpu_model, 'all' as pricing_category,
                96 as gpu_hours, cost_usd, cost_usd * 0.9 as active_cost_usd, cost_usd * 0.1 as idle_cost_usd,
                priced_total_tokens as total_tokens, priced_total_tokens, 0.99 as usage_coverage_ratio,
                1 as priced_gpu_hours_ratio, true as is_fully_priced
            from (
                select *, 500 + hash(d, k) % 10000000 / 100000 as cost_usd, 900000000 + hash(k, d) % 90000000
                    as priced_total_tokens
                from days(), range(3) as kinds (k)
            );
            insert into fct_cost_drift_daily by name
            select usage_date, if(k = 0, 'total', 'deployment') as series_kind, if(k = 0, 'total', 'deployment-' || k)
                as series, 'cost_usd_per_million_tokens' as measure, 'ok' as state, 543.21 as cost_usd, 950 as volume,
                1 + hash(d, k) % 100000 / 100000 as actual_usd_per_unit, 1.512345 as expected_usd_per_unit,
                1.112345 as lower_usd_per_unit, 1.912345 as upper_usd_per_unit,
                hash(d, k) % 100000 / 1000 - 50 as impact_usd_per_day, 0 as price_effect_usd,
                hash(d, k) % 100000 / 1000 - 50 as utilization_effect_usd, 12.3456 as efficiency_effect_usd,
                -12.3456 as cache_effect_usd, 0 as purchase_mix_effect_usd, 0 as gpu_mix_effect_usd,
                0 as model_mix_effect_usd, 0 as request_size_effect_usd, 0 as new_stopped_effect_usd,
                5 as reference_day_count
            from days(), range(14) as kinds (k);
            insert into fct_purchase_mix_daily by name
            select usage_date, 'provider' as provider, 'GPU-' || k // 2 as gpu_model,
                if(k % 2 = 0, 'Committed', 'Standard') as pricing_category, 48 as gpu_hours,
                250 + hash(d, k) % 5000000 / 100000 as effective_cost_usd, 3.2 as unused_commitment_gpu_hours,
                hash(d, k) % 1000000 / 100000 as unused_commitment_cost_usd, 42.42 as savings_usd,
                true as is_fully_priced
            from days(), range(6) as kinds (k);
            insert into fct_tenant_costs_daily by name
            select usage_date, 'tenant-' || k as tenant, 'deployment' as deployment, 'organisation/model-' || k % 3
                as model, '' as adapter, 'GPU-' || k % 3 as gpu_model, 1000000 + hash(d, k) % 1000000 as total_tokens,
                1234 as request_count, 100 + hash(d, k) % 1000000 / 10000 as cost_usd, 90 as active_cost_usd,
                10 + hash(d, k) % 1000000 / 10000 as idle_cost_usd
            from days(), range(13) as kinds (k);
            """
        )
    started = time.monotonic()
    size = build_report(path, tmp_path / "index.html")
    built = time.monotonic() - started
    assert size < 3_000_000
    with opened(browser, tmp_path / "index.html") as found:
        marks = dict(
            found.page.evaluate("performance.getEntriesByType('mark').map(each => [each.name, each.startTime])")
        )
        assert found.console == []
        assert found.page.locator("#from").input_value() == "2025-11-11"
        # So many days have lines without points; their legend is told apart all the same.
        keys = found.page.locator("#lines .role-legend-symbol path").evaluate_all(
            "all => all.map(each => each.getAttribute('stroke') + each.getAttribute('stroke-width'))"
        )
        assert len(set(keys)) == 3
        assert all(key.endswith(")3") for key in keys), keys
        with capsys.disabled():
            print(  # noqa: T201 - the measurement that docs/report.md states
                f"\na year: {size / 1e6:.2f} MB, built in {built:.1f} s, numbers after {marks['ledger-shown']:.0f} ms, "
                f"charts after {marks['ledger-drawn']:.0f} ms"
            )
        assert marks["ledger-shown"] < marks["ledger-drawn"], "numbers do not wait for the charts"
