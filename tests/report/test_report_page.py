"""The page as a person opens it, in headless Chromium: its numbers against hand-made ones and against SQL."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from orchestration.report.page import build_report
from tests.report.worlds import DRIFT, SMALL, Opened, Row, chromium, opened, write

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
    for fixture in {"shown", "many"} & set(request.fixturenames):
        page = request.getfixturevalue(fixture).page
        page.get_by_role("button", name="Show all").click()
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
        # The library's own label would be "Vega visualization".
        described = shown.page.locator(f"#{chart}").get_attribute("aria-label") or ""
        assert re.match("Line chart of|Stacked columns of|Waterfall of|Our rate per|Bars of", described), chart


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
    shown.choose(model=("org/70b",))
    assert shown.number("#tiles .value") == 2.5
    assert tile(shown, 1) == "$1.900 to $2.100"
    assert "outside the expected band" in tile(shown, 1, "note")
    lead = shown.page.locator("#drift-lead").inner_text()
    assert lead.startswith("On 10\u00a0Nov\u00a02026 org/70b cost $120.50, $24.10 more")
    assert "since 9\u00a0Nov\u00a02026" in lead
    assert "The model filter does not apply here." in shown.page.locator("#mix-quality").inner_text()


def test_a_gpu_without_expectation_says_why(shown: Opened) -> None:
    shown.choose(gpu_model=("L40S",))
    assert shown.number("#tiles .value") == 0.5
    assert tile(shown, 1) == "not known"
    assert "too few comparable days yet" in tile(shown, 1, "note")
    assert "there are no comparable days yet" in shown.page.locator("#waterfall .empty").inner_text()
    assert tile(shown, 0, "note") == "Not known against a week before: no cost per token on 3\u00a0Nov\u00a02026."


def test_a_tenant_pays_for_its_tokens(shown: Opened) -> None:
    shown.choose(tenant=("beta",))
    # 20.50 + 30.00 USD for 8.2 + 60 million tokens.
    assert shown.number("#tiles .value") == pytest.approx(50.5 / 68.2, abs=1e-12)
    shown.choose(tenant=("beta",), model=("org/70b",))
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


FILTERS = ("model", "gpu_model", "tenant")
MODELS = ("plain/8b", HOSTILE["aws"], HOSTILE["org/70b"], RIGHT_TO_LEFT, "a, 'b', \"c\" and d")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten days of five models on three GPUs for twelve tenants. A million tokens cost 1 to 5 USD by model."""
    folder = tmp_path_factory.mktemp("wide")
    series = [("total", "total"), ("model", "plain/8b"), ("model", HOSTILE["aws"]), ("gpu_model", "GPU-0")]
    tables = {"fct_cost_drift_daily": [DRIFT[0] | {"series_kind": kind, "series": name} for kind, name in series]}
    with duckdb.connect(str(write(folder / "world.duckdb", tables))) as con:
        con.execute("create temp table models as select unnest(?) as model, unnest(range(5)) as k", [list(MODELS)])
        con.execute(
            """
            create temp table days as select date '2026-11-10' - d::integer as usage_date, d from range(10) as t (d);
            insert into fct_unit_costs_daily by name
            select usage_date, model, 'GPU-' || k % 3 as gpu_model, 'all' as pricing_category, 24 as gpu_hours,
                (k + 1) * (1 + hash(d, k) % 900) as cost_usd, cost_usd * 0.75 as active_cost_usd,
                cost_usd * 0.25 as idle_cost_usd, 1000000 * (1 + hash(d, k) % 900) as total_tokens,
                total_tokens as priced_total_tokens, 1 as usage_coverage_ratio, 1 as priced_gpu_hours_ratio,
                true as is_fully_priced
            from days, models;
            insert into fct_unit_costs_daily by name
            select * replace ('Standard' as pricing_category) from fct_unit_costs_daily;
            insert into fct_tenant_costs_daily by name
            select usage_date, 'tenant ' || t as tenant, 'deployment ' || k as deployment, model, '' as adapter,
                'GPU-' || k % 3 as gpu_model, (k + 1) * (1 + hash(t, d, k) % 90) as cost_usd,
                cost_usd * 0.5 as active_cost_usd, cost_usd * 0.5 as idle_cost_usd,
                case when t < 11 then 1000000 * (1 + hash(t, d, k) % 90) end as total_tokens, 7 as request_count
            from days, models, range(12) as tenants (t);
            insert into fct_purchase_mix_daily by name
            select usage_date, 'provider' as provider, 'GPU-' || g as gpu_model, 'Standard' as pricing_category,
                24 * (g + 1) as gpu_hours, 100 + hash(d, g) % 900 as effective_cost_usd, true as is_fully_priced
            from days, range(4) as gpus (g);
            """
        )
    build_report(folder / "world.duckdb", folder / "index.html")
    return folder / "index.html"


@pytest.fixture(scope="module")
def many(wide: Path, browser: Browser) -> Iterator[Opened]:
    with opened(browser, wide) as found:
        yield found


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"gpu_model": ("GPU-1",)},
        {"gpu_model": ("GPU-0", "GPU-2")},
        {"model": MODELS[:2]},
        {"model": MODELS[2:]},
        {"model": (MODELS[1], MODELS[3], MODELS[4]), "gpu_model": ("GPU-0", "GPU-1")},
        {"tenant": ("tenant 4",)},
        {"tenant": ("tenant 1", "tenant 11")},
        {"tenant": tuple(f"tenant {t}" for t in range(11))},
        {"tenant": ("tenant 3", "tenant 5"), "model": MODELS[1:3], "gpu_model": ("GPU-1", "GPU-2")},
    ],
    ids=lambda filters: ", ".join(f"{len(names)} {column}" for column, names in filters.items()) or "all",
)
def test_numbers_equal_sql_on_the_published_file(wide: Path, many: Opened, filters: dict[str, tuple[str, ...]]) -> None:
    many.choose(**{"model": (), "gpu_model": (), "tenant": ()} | filters)

    with duckdb.connect(str(wide.with_name("world.duckdb")), read_only=True) as con:

        def sql(select: str, table: str, *columns: str, where: str = "true") -> list[float]:
            """Sums of a table under the filters of these columns, each as `in (...)`."""
            chosen = {column: filters[column] for column in columns if column in filters}
            conditions = [f"{column} in ({', '.join('?' * len(names))})" for column, names in chosen.items()]
            row = con.execute(
                f"select {select} from {table} where {' and '.join([where, *conditions])}",
                [name for names in chosen.values() for name in names],
            ).fetchone()
            assert row is not None
            return [float(value) for value in row]

        is_tenant = "tenant" in filters
        table, tokens = (
            ("fct_tenant_costs_daily", "total_tokens")
            if is_tenant
            else ("(from fct_unit_costs_daily where pricing_category = 'all')", "priced_total_tokens")
        )
        sums = (
            f"sum(cost_usd), sum({tokens}), 1000000.0 * sum(cost_usd) / sum({tokens}), "
            "sum(idle_cost_usd) / sum(cost_usd)"
        )
        cost, count, unit, idle = sql(sums, table, *FILTERS)
        today = sql(sums, table, *FILTERS, where="usage_date = '2026-11-10'")
        mix = sql("sum(gpu_hours), sum(effective_cost_usd)", "fct_purchase_mix_daily", "gpu_model")
        (of_tenants,) = sql("sum(cost_usd)", "fct_tenant_costs_daily", *FILTERS)
        (of_all_tenants,) = sql("sum(cost_usd)", "fct_tenant_costs_daily", "model", "gpu_model")

    assert many.numbers("#selection") == pytest.approx([cost, count, unit])
    # The cost of the day per million tokens, then its change on a week before, its cost, tokens and idle part.
    tiles = [many.number(f"#tiles .tile:nth-child({place})") for place in (3, 4)]
    assert [many.number("#tiles .value"), *tiles] == pytest.approx([today[2], today[0], today[3]])
    # Of a tenant there are no GPU-hours, which stand first, and none seen by usage sources, which stand last.
    together = many.numbers("#units-table tfoot")
    assert (together if is_tenant else together[1:-1]) == pytest.approx([cost, count, unit, today[2], idle])
    assert many.numbers("#mix-table tfoot")[:2] == pytest.approx(mix)
    shares = [of_tenants / of_all_tenants] if is_tenant else []
    assert many.numbers("#tenants-table tfoot")[: 1 + len(shares)] == pytest.approx([of_tenants, *shares])


def test_one_model_has_a_band_and_two_have_none(many: Opened) -> None:
    many.choose(model=MODELS[:1])
    assert tile(many, 1) == "$1.200 to $1.800"
    assert many.page.locator("#drift-quality").inner_text() == ""
    assert many.page.locator("#series").input_value() == f'["model","{MODELS[0]}"]'
    many.choose(model=MODELS[:2])
    assert tile(many, 1) == "none"
    assert "of one model or of one GPU, not of this selection" in tile(many, 1, "note")
    assert "not for this selection" in many.page.locator("#drift-quality").inner_text()
    assert many.page.locator("#drift-lead").inner_text().startswith("On 10\u00a0Nov\u00a02026 the whole fleet cost")
    label = many.page.locator("#expected").get_attribute("aria-label") or ""
    assert label.startswith("Line chart of cost per million tokens for each day. "), "no band is drawn"
    assert "The model filter does not apply here." in many.page.locator("#mix-quality").inner_text()


def test_none_ticked_and_all_ticked_are_all(many: Opened) -> None:
    many.choose(model=())
    whole = many.page.locator("main").inner_text()
    assert ", all models, all GPUs, all tenants: " in whole
    for names in (MODELS[:1], MODELS, ()):
        many.choose(model=names)
        assert (many.page.locator("main").inner_text() == whole) == (len(names) != 1)
        assert (many.chosen("model") == "all models") == (len(names) != 1)


def test_what_is_chosen_is_said(many: Opened) -> None:
    tenants = tuple(f"tenant {t}" for t in range(12))
    for names, box, sentence in (
        (tenants[:1], "tenant 0", "tenant tenant 0: "),
        (tenants[:2], "2 of 12 tenants", " and "),
        (tenants[:5], "5 of 12 tenants", "5 of 12 tenants: "),
        (tenants[1:], "all but tenant 0", "all tenants but tenant 0: "),
    ):
        many.choose(tenant=names)
        assert many.chosen("tenant") == box
        assert sentence in many.page.locator("#selection").inner_text()
        shown = many.page.locator("#tenants-table tbody th").all_inner_texts()
        assert set(shown) == set(names)


def test_the_tenants_that_have_no_name_can_be_chosen_together(tmp_path: Path, browser: Browser) -> None:
    row = SMALL["fct_tenant_costs_daily"][0]
    tenants = [row | {"tenant": f"tenant {cost}", "cost_usd": cost} for cost in range(1, 31)]
    with opened(browser, page_of(tmp_path, SMALL | {"fct_tenant_costs_daily": tenants})) as found:
        found.choose(tenant=("all other tenants",))
        assert found.numbers("#selection")[0] == 15  # 1 + 2 + 3 + 4 + 5 USD: the 25 dearest have a name
        assert found.chosen("tenant") == "all other tenants"
        found.choose(tenant=("all other tenants", "tenant 30"))
        assert found.numbers("#selection")[0] == 45


def test_a_choice_by_keyboard(many: Opened) -> None:
    page = many.page
    page.locator("#gpu_model summary").focus()
    assert page.locator("#gpu_model summary").inner_text().split() == ["GPU", "all", "GPUs"]
    for key in ("Enter", "Tab", "Space", "Tab", "Space"):
        page.keyboard.press(key)
    assert many.chosen("gpu_model") == "2 of 4 GPUs"
    page.keyboard.press("Escape")
    assert not page.locator("#gpu_model fieldset").is_visible()
    assert page.evaluate("document.activeElement.closest('details').id") == "gpu_model"
    page.keyboard.press("Enter")
    assert page.locator("#gpu_model fieldset").is_visible()
    for _ in range(5):  # past its four boxes to the next choice
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('details').id") == "tenant"
    assert not page.locator("#gpu_model fieldset").is_visible()
    assert page.locator("#model input").count() == len(MODELS), "few values need neither search nor buttons"


def test_many_values_are_searched(many: Opened) -> None:
    choice = many.page.locator("#tenant")
    choice.locator("summary").click()
    choice.get_by_role("searchbox").fill(" TENANT 1")
    assert set(choice.locator("label:visible").all_inner_texts()) == {"tenant 1", "tenant 10", "tenant 11"}
    choice.get_by_role("button", name="Tick all").click()
    assert many.chosen("tenant") == "3 of 12 tenants"
    choice.get_by_role("searchbox").fill("")
    choice.get_by_role("button", name="Tick all").click()
    choice.get_by_role("checkbox", name="tenant 7").uncheck()
    assert many.chosen("tenant") == "all but tenant 7"
    choice.get_by_role("searchbox").fill("tenant 7")
    many.page.locator("h1").click()
    expect(choice.locator("[type=search]")).to_have_value("")
    choice.locator("summary").click()
    assert choice.locator("label:visible").count() == 12, "each opening starts with all of them"
    choice.get_by_role("button", name="Tick none").click()
    assert many.chosen("tenant") == "all tenants"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_accessible_and_no_wider_than_the_screen(
    small: Path, wide: Path, browser: Browser, scheme: Literal["light", "dark"], width: int
) -> None:
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
    with opened(browser, small, width=width, scheme=scheme) as found:
        result = Axe().run(found.page, options=rules)
        assert result.violations_count == 0, result.generate_report()
        assert found.page.evaluate("document.documentElement.scrollWidth") == width
    with opened(browser, wide, width=width, scheme=scheme) as found:
        found.choose(tenant=("tenant 1", "tenant 2"))
        for choice in FILTERS:
            found.page.locator(f"#{choice} summary").click()
            result = Axe().run(found.page, context="#filters", options=rules)
            assert result.violations_count == 0, result.generate_report()
            assert found.page.evaluate("document.documentElement.scrollWidth") == width
            box = found.page.locator(f"#{choice} fieldset").bounding_box()
            assert box is not None
            assert 0 <= box["x"] < box["x"] + box["width"] <= width
            found.page.keyboard.press("Escape")


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
            found.choose(model=(option,))
        found.choose(model=(), tenant=(RIGHT_TO_LEFT,))
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
