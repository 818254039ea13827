"""Override files and exchange rates on their way into the raw room, and who is asked at all."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.definitions import idle_assets
from orchestration.exchange_rates import currencies_to_convert, load_rates, pull_rates
from orchestration.price_feeds import land_overrides, load_landed, read_overrides
from orchestration.settings import ConfigError, Settings, load_settings
from orchestration.warehouse import LoadResult, Warehouse
from scrapers.overrides import COLUMNS
from scrapers.prices.registry import PRICE_SOURCES
from tests.fault_server import Answer, FaultServer

DAY = datetime(2026, 11, 23, 6, tzinfo=UTC)
HEADER = ",".join(COLUMNS)
LINE = "crusoe,,H100-SXM-80GB,,global,on_demand,,,{price},gpu_hour,{currency},2026-09-20,{until},me,2026-11-23,page"


def settings_of(folder: Path, prices: str) -> Settings:
    (folder / "ledger.yaml").write_text(f"prices: {{{prices}}}\n", encoding="utf-8")
    return load_settings(folder / "ledger.yaml", folder / "data")


def write_overrides(folder: Path, *lines: str) -> None:
    (folder / "ours.csv").write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")


def line(price: str = "3.90", *, currency: str = "USD", until: str = "") -> str:
    return LINE.format(price=price, currency=currency, until=until)


def load(settings: Settings, *, now: datetime) -> list[LoadResult]:
    land_overrides(settings, now=now)
    with Warehouse(settings.warehouse_path).connect() as con:
        return load_landed(con, settings, "override")


def query(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.warehouse_path)) as con:
        con.execute("set timezone = 'UTC'")
        return con.execute(sql).fetchall()


def test_an_override_file_lands_and_loads_like_an_answer(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "overrides: [ours.csv]")
    write_overrides(tmp_path, line())
    (loaded,) = load(settings, now=DAY)
    assert (loaded.outcome, loaded.record_count) == ("loaded", 1)
    found = query(settings, "select source, dataset, provider_raw, price_amount::varchar from raw.price_records")
    assert found == [("override", "ours", "crusoe", "3.900000000000")]
    assert query(settings, "select outcome, origin from raw.source_fetches") == [("loaded", "bundled")]
    (again,) = load(settings, now=DAY + timedelta(days=1))
    assert again.outcome == "unchanged"


def test_a_line_that_expires_ends_without_an_edit(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "overrides: [ours.csv]")
    write_overrides(tmp_path, line(until="2026-11-25"))
    counts = [load(settings, now=DAY + timedelta(days=number))[0] for number in range(4)]
    assert [(result.outcome, result.record_count) for result in counts] == [
        ("loaded", 1),
        ("unchanged", 0),
        ("loaded", 0),  # the 25th at 06:00: the line ceased to hold at midnight
        ("unchanged", 0),
    ]


def test_a_file_taken_out_of_the_ledger_states_no_price_any_more(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "overrides: [ours.csv]")
    write_overrides(tmp_path, line(), line("4.29").replace("H100-SXM-80GB", "H200-SXM-141GB"))
    load(settings, now=DAY)
    settings = settings_of(tmp_path, "overrides: []")
    (result,) = load(settings, now=DAY + timedelta(days=1))
    assert (result.outcome, result.record_count) == ("loaded", 0)


def test_a_file_may_shrink_and_bad_lines_cost_only_themselves(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "overrides: [ours.csv]")
    gpus = ("H100-SXM-80GB", "H200-SXM-141GB", "L40S-48GB")
    write_overrides(tmp_path, *(line().replace("H100-SXM-80GB", gpu) for gpu in gpus))
    load(settings, now=DAY)
    write_overrides(tmp_path, line(), line("free"), line("from 3"))
    (result,) = load(settings, now=DAY + timedelta(days=1))
    assert (result.outcome, result.record_count, result.rejected_count) == ("loaded", 1, 2)
    _, problems = read_overrides(settings, at=DAY)
    assert problems == [
        "ours.csv line 3, price: price_not_a_number (free)",
        "ours.csv line 4, price: price_not_a_number (from 3)",
    ]


def test_a_file_without_a_good_line_is_refused_and_the_last_one_stays(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "overrides: [ours.csv]")
    write_overrides(tmp_path, line())
    load(settings, now=DAY)
    write_overrides(tmp_path, line("free"))
    (result,) = load(settings, now=DAY + timedelta(days=1))
    assert result.outcome == "refused"
    assert "override ours has 1 unusable lines and no good one (price_not_a_number)" in str(result.message)


def test_a_missing_or_foreign_file_is_a_failure_that_stops_nothing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "overrides: [ours.csv, none.csv]")
    (tmp_path / "ours.csv").write_text("a;b\n", encoding="utf-8")
    results = {result.fetch_id.split("/")[1]: result for result in load(settings, now=DAY)}
    assert {name: result.outcome for name, result in results.items()} == {"ours": "failed", "none": "failed"}
    assert "override: ours.csv: no column provider" in str(results["ours"].message)
    assert "cannot be read" in str(results["none"].message)
    assert len(read_overrides(settings, at=DAY)[1]) == 2


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two files are called 'ours'"):
        settings_of(tmp_path, "overrides: [a/ours.csv, b/Ours.csv]")


@pytest.mark.parametrize(
    ("prices", "lines", "expected"),
    [
        ("sources: {oci: , runpod: }", [], set()),
        ("sources: {oci: }, overrides: [ours.csv]", [line()], set()),
        ("sources: {oci: }, overrides: [ours.csv]", [line(), line(currency="EUR")], {"EUR"}),
        ("sources: {oci: }, overrides: [ours.csv]", [line(currency="GBP", until="2026-11-01")], set()),
        ("sources: {scaleway: }", [], {"EUR"}),
        ("sources: {scaleway: {enabled: false}}", [], set()),
    ],
)
def test_rates_are_needed_for_what_is_listed_in_another_currency(
    prices: str, lines: list[str], expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A source in euros, whether or not there is one of that name.
    monkeypatch.setitem(PRICE_SOURCES, "scaleway", PRICE_SOURCES["oci"])
    monkeypatch.setattr(
        "orchestration.exchange_rates.declared_currency", lambda name: "EUR" if name == "scaleway" else "USD"
    )
    write_overrides(tmp_path, *lines)
    assert currencies_to_convert(settings_of(tmp_path, prices), now=DAY) == expected


def rate_file(days: dict[str, dict[str, str]]) -> Answer:
    cubes = "".join(
        f'<Cube time="{day}">' + "".join(f'<Cube currency="{c}" rate="{r}"/>' for c, r in rates.items()) + "</Cube>"
        for day, rates in days.items()
    )
    return Answer(
        (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" '
            f'xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref"><Cube>{cubes}</Cube></gesmes:Envelope>'
        ).encode()
    )


def pull_and_load(settings: Settings, *, now: datetime) -> LoadResult:
    pull_rates(settings, now=now)
    with Warehouse(settings.warehouse_path).connect() as con:
        return load_rates(con, settings)[-1]


def test_the_history_is_fetched_at_first_and_after_a_pause(tmp_path: Path) -> None:
    with FaultServer() as server:
        settings = settings_of(tmp_path, f"exchange_rates: {{base_url: '{server.url}'}}")
        days = {"2026-11-19": {"USD": "1.24"}, "2026-11-20": {"USD": "1.25", "GBP": "0.8"}}
        server.add("/stats/eurofxref/eurofxref-hist-90d.xml", rate_file(days))
        server.add("/stats/eurofxref/eurofxref-daily.xml", rate_file({"2026-11-20": days["2026-11-20"]}))
        for number in (0, 1, 2, 8):
            assert pull_and_load(settings, now=DAY + timedelta(days=number)).outcome in ("loaded", "unchanged")
        asked = [request.path.rpartition("-")[2] for request in server.requests]
    assert asked == ["90d.xml", "daily.xml", "daily.xml", "90d.xml"]
    assert query(
        settings,
        "select dataset, outcome, record_count from raw.source_fetches where source = 'ecb' order by fetched_at",
    ) == [
        ("history-90d", "loaded", 3),
        ("daily", "loaded", 2),
        ("daily", "unchanged", None),
        ("history-90d", "unchanged", None),
    ]
    assert query(
        settings,
        "select rate_date::varchar, currency, units_per_eur::varchar from raw.exchange_rates "
        "where snapshot_id like '%daily%' order by all",
    ) == [
        ("2026-11-20", "GBP", "0.800000000000"),
        ("2026-11-20", "USD", "1.250000000000"),
    ]


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"USD": "125"}, "has a euro at 125.0000 USD"),
        ({"USD": "0.0125"}, "has a euro at 0.0125 USD"),
        ({"USD": "1.4"}, "has a dollar that moved by 12% from one day to the next"),
        ({"USD": "1.25", "GBP": "80"}, "has a currency that moved by 9900% from one day to the next"),
    ],
)
def test_a_rate_that_cannot_be_is_refused_and_the_last_good_ones_stay(
    rates: dict[str, str], message: str, tmp_path: Path
) -> None:
    with FaultServer() as server:
        settings = settings_of(tmp_path, f"exchange_rates: {{base_url: '{server.url}'}}")
        history, daily = "/stats/eurofxref/eurofxref-hist-90d.xml", "/stats/eurofxref/eurofxref-daily.xml"
        server.add(history, rate_file({"2026-11-20": {"USD": "1.25", "GBP": "0.8"}}))
        pull_and_load(settings, now=DAY)
        server.add(daily, rate_file({"2026-11-23": rates}))
        result = pull_and_load(settings, now=DAY + timedelta(days=1))
    assert result.outcome == "refused"
    assert message in str(result.message)
    assert query(settings, "select count(*) from raw.exchange_rates") == [(2,)]


def test_only_what_the_ledger_asks_for_is_a_step_of_the_run(tmp_path: Path) -> None:
    def idle(prices: str) -> set[str]:
        return {"/".join(key.path) for key in idle_assets(settings_of(tmp_path, prices))}

    rates = {"landing/ecb_exchange_rates", "raw/exchange_rates"}
    every_source = {f"landing/{name}_prices" for name in PRICE_SOURCES}
    assert idle("sources: {oci: }") == every_source - {"landing/oci_prices"} | rates | {"landing/override_prices"}
    assert "landing/oci_prices" in idle("sources: {oci: {enabled: false}}")
    write_overrides(tmp_path, line(currency="EUR"))
    settings = settings_of(tmp_path, "overrides: [ours.csv]")
    assert not {"landing/override_prices", *rates} & idle("overrides: [ours.csv]")
    # A file that was taken out has to be seen once more, to end its prices.
    load(settings, now=DAY)
    assert "landing/override_prices" not in idle("overrides: []")
