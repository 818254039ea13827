"""Bills into the raw room: FOCUS and CUR 2.0, months delivered again, in pieces, cut, with columns missing."""

import csv
import gzip
import json
import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.settings import ConfigError, Settings, load_settings
from orchestration.warehouse import BillResult, Warehouse, load_bills

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
CANARY = "CANARY-7f3a@example.com"
FOCUS = {
    "BillingPeriodStart": "2026-10-01 00:00:00",
    "ChargePeriodStart": "2026-10-05 06:00:00",
    "ChargePeriodEnd": "2026-10-05T07:00:00Z",
    "ChargeCategory": "Usage",
    "BilledCost": "55.04",
    "EffectiveCost": "55.04",
    "ListCost": "55.04",
    "BillingCurrency": "USD",
    "PricingQuantity": "1",
    "PricingUnit": "Hours",
    "ProviderName": "AWS",
    "RegionId": "us-east-1",
    "ChargeDescription": "$55.04 per On Demand Linux p5.48xlarge Instance Hour",
    "ResourceId": "012345678901",
    "BillingAccountName": CANARY,
    "Tags": '{"owner": "' + CANARY + '"}',
}
CUR = {
    "bill_billing_period_start_date": "2026-10-01T00:00:00.000Z",
    "line_item_usage_start_date": "2026-10-05T06:00:00.000Z",
    "line_item_usage_end_date": "2026-10-05T07:00:00.000Z",
    "line_item_line_item_type": "Usage",
    "line_item_usage_type": "USE1-BoxUsage:p5.48xlarge",
    "line_item_usage_amount": "1",
    "line_item_unblended_cost": "55.04",
    "line_item_currency_code": "USD",
    "line_item_usage_account_name": CANARY,
}


def settings_for(root: Path, *, kind: str = "focus", more: str = "") -> Settings:
    (root / "bill").mkdir(exist_ok=True)
    (root / "ledger.yaml").write_text(
        f"billing:\n  - {{name: b, kind: {kind}, path: 'bill/**/*.*'{more}}}\n", encoding="utf-8"
    )
    return load_settings(root / "ledger.yaml", root / "data")


def write(path: Path, rows: list[dict[str, str]], *, end: str = "\n", age_hours: float = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns] + [[row.get(column, "") for column in columns] for row in rows]
    text = "\n".join(",".join('"' + field.replace('"', '""') + '"' for field in line) for line in lines) + end
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    at = (NOW - timedelta(hours=age_hours)).timestamp()
    os.utime(path, (at, at))
    return path


def load(settings: Settings) -> BillResult:
    with Warehouse(settings.warehouse_path).connect() as con:
        return load_bills(con, settings.ledger.billing[0], settings, now=NOW)


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.warehouse_path)) as con:
        con.execute("set timezone = 'UTC'")
        return con.execute(sql).fetchall()


BILLED = "select sum(billed_amount) from raw.billing_lines"


def test_a_line_is_read_by_allow_list(tmp_path: Path) -> None:
    """Times without a zone are UTC, ids keep their zeros, NULL and empty are nothing, names and tags never arrive."""
    settings = settings_for(tmp_path)
    nothing = FOCUS | {"RegionId": "NULL", "ResourceId": "", "ListCost": "NULL", "ChargeCategory": "Tax"}
    write(tmp_path / "bill/a.csv", [FOCUS, nothing])
    result = load(settings)
    assert (result.line_count, result.rejected_count, result.problems) == (2, 0, [])
    found = rows(
        settings,
        "select charge_type_raw, charge_from_at, charge_to_at, resource_id, region_raw, list_amount "
        "from raw.billing_lines order by charge_type_raw desc",
    )
    start = datetime(2026, 10, 5, 6, tzinfo=UTC)
    assert found == [
        ("Usage", start, start + timedelta(hours=1), "012345678901", "us-east-1", Decimal("55.04")),
        ("Tax", start, start + timedelta(hours=1), None, None, None),
    ]
    assert CANARY not in str(rows(settings, "select * from raw.billing_lines"))
    assert CANARY.encode() not in settings.warehouse_path.read_bytes()


@pytest.mark.parametrize(
    ("columns", "version"),
    [
        ({}, "FOCUS 1.0"),
        ({"SkuPriceDetails": '{"InstanceType": "p5.48xlarge"}'}, "FOCUS 1.1"),
        ({"SkuPriceDetails": "{}", "InvoiceId": "i"}, "FOCUS 1.2"),
    ],
)
def test_the_version_is_told_by_the_columns(tmp_path: Path, columns: dict[str, str], version: str) -> None:
    settings = settings_for(tmp_path)
    write(tmp_path / "bill/a.csv.gz", [FOCUS | columns])
    load(settings)
    assert rows(settings, "select format_version from raw.billing_periods") == [(version,)]
    assert rows(settings, "select has_invoice from raw.billing_lines") == [("InvoiceId" in columns,)]


def test_parquet_with_a_map_and_a_struct(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, kind="aws_cur2")
    columns = ", ".join(f"'{value}' as {name}" for name, value in CUR.items())
    duckdb.sql(f"copy (select {columns}, map {{'instance_type': 'p5.48xlarge'}} as product) to "
               f"'{tmp_path / 'bill/a.parquet'}'")  # fmt: skip
    assert load(settings).line_count == 1
    assert rows(settings, "select instance_type_raw, billed_amount from raw.billing_lines") == [
        ("p5.48xlarge", Decimal("55.04"))
    ]


def test_of_the_tags_one_is_read(tmp_path: Path) -> None:
    """Once ledger.yaml names it, of months too that were read before; the file is the same."""
    settings = settings_for(tmp_path)
    tagged = {"Tags": json.dumps({"owner": CANARY, "team/llm.deployment": "chat-70b"})}
    write(tmp_path / "bill/a.csv", [FOCUS | tagged, FOCUS, FOCUS | {"Tags": "NULL"}, FOCUS | {"Tags": "no json"}])
    load(settings)
    tags = "select deployment_tag, count(*) from raw.billing_lines group by 1 order by 2"
    assert rows(settings, tags) == [(None, 4)]

    settings = settings_for(tmp_path, more=", deployment_tag: team/llm.deployment")
    assert load(settings).problems == []
    assert rows(settings, tags) == [("chat-70b", 1), (None, 3)]
    assert rows(settings, "select count(*) from raw.billing_restatements") == [(0,)]
    assert CANARY.encode() not in settings.warehouse_path.read_bytes()


def test_a_tag_of_cur_is_in_a_map(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, kind="aws_cur2", more=", deployment_tag: user_deployment")
    columns = ", ".join(f"'{value}' as {name}" for name, value in CUR.items())
    tags = f"map {{'user_owner': '{CANARY}', 'user_deployment': 'rag-32b'}}"
    duckdb.sql(f"copy (select {columns}, {tags} as resource_tags) to '{tmp_path / 'bill/a.parquet'}'")
    assert load(settings).line_count == 1
    assert rows(settings, "select deployment_tag from raw.billing_lines") == [("rag-32b",)]
    assert CANARY.encode() not in settings.warehouse_path.read_bytes()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tags_and_labels_may_be_lists_of_pairs(tmp_path: Path, kind: str) -> None:
    """As BigQuery exports maps; a list of anything else is no tag."""
    settings = settings_for(tmp_path, more=", deployment_tag: deployment")
    machine = json.dumps([{"key": "compute.googleapis.com/machine_spec", "value": "a3-highgpu-8g"}])
    pairs = [{"key": "owner", "value": CANARY}, {"key": "deployment", "value": "chat-70b"}]
    lines = [FOCUS | {"Tags": json.dumps(tags), "x_SystemLabels": machine} for tags in (pairs, [], [1, "a"])]
    target = write(tmp_path / ("bill/a.csv" if kind == "csv" else "lines.csv"), lines)
    if kind == "parquet":
        typed = ", ".join(
            f'try_cast(cast({name} as json) as struct("key" varchar, "value" varchar)[]) as {name}'
            for name in ("Tags", "x_SystemLabels")
        )
        source = f"select * replace ({typed}) from read_csv('{target}', all_varchar = true)"
        duckdb.sql(f"copy ({source}) to '{tmp_path / 'bill/a.parquet'}'")
    load(settings)
    assert rows(
        settings, "select deployment_tag, instance_type_raw, count(*) from raw.billing_lines group by all order by 3"
    ) == [("chat-70b", "a3-highgpu-8g", 1), (None, "a3-highgpu-8g", 2)]
    assert CANARY.encode() not in settings.warehouse_path.read_bytes()


def test_the_key_of_a_tag_holds_no_quotes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"billing\[0\].deployment_tag"):
        settings_for(tmp_path, more=""", deployment_tag: "it's" """)


def test_a_missing_column_is_named_with_the_remedy(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    without = {name: value for name, value in FOCUS.items() if name not in ("EffectiveCost", "ProviderName")}
    write(tmp_path / "bill/a.csv", [without])
    (problem,) = load(settings).problems
    assert "lacks EffectiveCost, ProviderName (or state provider in ledger.yaml)" in problem
    assert "docs/billing.md" in problem
    assert rows(settings, "select count(*) from raw.billing_lines") == [(0,)]


def test_a_bill_of_the_other_kind_is_recognised(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    write(tmp_path / "bill/a.csv", [CUR])
    assert "it looks like kind aws_cur2" in load(settings).problems[0]


def test_a_month_is_replaced_whole_and_leaves_a_trail(tmp_path: Path) -> None:
    """Of two deliveries the one written last counts; 100 less 45 is the change; only the changed day is rebuilt."""
    settings = settings_for(tmp_path)
    other_day = FOCUS | {"ChargePeriodStart": "2026-10-06T06:00:00Z", "ChargePeriodEnd": "2026-10-06T07:00:00Z"}
    write(tmp_path / "bill/run1/a.csv", [FOCUS | {"BilledCost": "100"}, other_day], age_hours=30)
    load(settings)
    with Warehouse(settings.warehouse_path).connect() as con:
        con.execute("delete from raw.pending_usage_days")
    write(tmp_path / "bill/run2/a.csv", [FOCUS | {"BilledCost": "45"}, other_day], age_hours=6)
    result = load(settings)
    assert result.restated_months == [date(2026, 10, 1)]
    assert rows(settings, BILLED) == [(Decimal("45") + Decimal("55.04"),)]
    assert rows(
        settings, "select line_count_before, line_count_after, billed_amount_after - billed_amount_before, why "
        "from raw.billing_restatements"
    ) == [(2, 2, Decimal(-55), "delivered again, written 2026-11-24 00:00 UTC")]  # fmt: skip
    assert rows(settings, "from raw.pending_usage_days") == [(date(2026, 10, 5),)]
    assert rows(settings, "select file_path[-10:], status from raw.billing_files order by 1") == [
        ("run1/a.csv", "superseded"),
        ("run2/a.csv", "loaded"),
    ]
    assert load(settings).month_count == 0
    assert rows(settings, "select count(*) from raw.billing_restatements") == [(1,)]


def test_files_of_one_folder_are_parts_and_a_copy_counts_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    write(tmp_path / "bill/run/part-1.csv", [FOCUS])
    write(tmp_path / "bill/run/part-2.csv", [FOCUS | {"BilledCost": "10"}])
    write(tmp_path / "bill/run/part-2 (1).csv", [FOCUS | {"BilledCost": "10"}])
    load(settings)
    assert rows(settings, BILLED) == [(Decimal("65.04"),)]


def test_parts_in_many_folders_where_the_ledger_says_so(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, more=", delivery: parts")
    for day in (5, 6):
        start = f"2026-10-{day:02d}T00:00:00Z"
        write(tmp_path / f"bill/2026/10/{day:02d}/1.csv", [FOCUS | {"ChargePeriodStart": start,
              "ChargePeriodEnd": f"2026-10-{day:02d}T01:00:00Z"}])  # fmt: skip
    load(settings)
    assert rows(settings, "select count(*), sum(billed_amount) from raw.billing_lines") == [(2, Decimal("110.08"))]


@pytest.mark.parametrize("name", ["half.csv.gz", "half.csv", "open-quote.csv"])
def test_a_cut_file_leaves_the_month_as_it_was(tmp_path: Path, name: str) -> None:
    """Cut archive; a line without its last fields; a file that is still being written."""
    settings = settings_for(tmp_path)
    write(tmp_path / "bill/run1/a.csv", [FOCUS], age_hours=30)
    load(settings)
    path = write(tmp_path / f"bill/run2/{name}", [FOCUS | {"BilledCost": str(n)} for n in range(500)])
    cut = path.read_bytes()[:-150] if name != "open-quote.csv" else path.read_bytes()[:-2]
    path.write_bytes(cut)
    at = (NOW - timedelta(hours=2)).timestamp()
    os.utime(path, (at, at))
    (problem,) = load(settings).problems
    assert str(path) in problem
    assert rows(settings, BILLED) == [(Decimal("55.04"),)]


def test_a_file_without_its_last_line_feed_waits_for_an_hour(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    path = write(tmp_path / "bill/a.csv", [FOCUS], end="", age_hours=0.5)
    assert "still being written" in load(settings).problems[0]
    old = (NOW - timedelta(hours=3)).timestamp()
    os.utime(path, (old, old))
    assert load(settings).problems == []
    assert rows(settings, BILLED) == [(Decimal("55.04"),)]


def test_lines_that_cannot_be_read_are_counted_and_too_many_refuse_the_month(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    bad = FOCUS | {"EffectiveCost": "n/a"}
    backwards = FOCUS | {"ChargePeriodEnd": "2026-10-05T05:00:00Z"}
    write(tmp_path / "bill/a.csv", [FOCUS] * 250 + [bad, backwards])
    assert load(settings).rejected_count == 2
    assert rows(settings, "select reason, field, occurrences, detail from raw.rejected_records order by 1") == [
        ("ends_before_it_begins", "charge_to_at", 1, None),
        ("not_readable", "effective_amount", 1, None),
    ]
    write(tmp_path / "bill/a.csv", [FOCUS] * 50 + [bad], age_hours=1)
    assert "1 of 51 lines cannot be read" in load(settings).problems[0]
    assert rows(settings, "select count(*) from raw.billing_lines") == [(250,)]


def test_a_source_may_be_named_by_the_ledger_alone(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, more=", provider: corp-cloud")
    write(tmp_path / "bill/a.csv", [{name: value for name, value in FOCUS.items() if name != "ProviderName"}])
    assert load(settings).problems == []


def test_the_public_sample_of_focus_1_0(samples: Path, tmp_path: Path) -> None:
    """1,000 lines of three providers, read as Python's csv module reads them."""
    sample = samples / "usage/focus/focus_1.0_sample.csv"
    with sample.open(encoding="utf-8", newline="") as stream:
        expected = list(csv.DictReader(stream))
    settings = settings_for(tmp_path)
    (tmp_path / "bill/sample.csv").write_bytes(sample.read_bytes())
    result = load(settings)
    assert (result.line_count, result.rejected_count, result.month_count) == (1000, 0, 2)
    billed = sum((Decimal(row["BilledCost"]).quantize(Decimal("1e-10")) for row in expected), Decimal(0))
    assert rows(settings, BILLED)[0][0] == billed
    assert rows(
        settings, "select count(*) from raw.billing_lines where provider_raw = 'AWS' and effective_amount = 0"
    ) == [(931,)]
