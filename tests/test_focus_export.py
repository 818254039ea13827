"""The FOCUS rows of the demo world, before FOCUS's own validator and before the marts they come from."""

import subprocess
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

VALIDATOR = Path(__file__).parents[1] / ".venv" / "focus-validator"
# What this data set has; FOCUS's other rules are about what it has not (capacity reservations, zones, other currencies).
APPLICABLE = (
    "PUBLIC_PRICE_LIST_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED",
    "COMMITMENT_DISCOUNT_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED",
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
    "REGION_SUPPORTED",
    "TAGGING_SUPPORTED",
)
# Defects of focus-validator 2.2.1: it checks only the last of two conditions (finopsfoundation/focus_validator#142).
VALIDATOR_DEFECTS = {
    # "not null when CommitmentDiscountId is not null and ChargeCategory is Usage", checked for every Usage row; and parents.
    "CommitmentDiscountStatus-C-000-C",
    "CommitmentDiscountStatus-C-002-C",
    "CommitmentDiscountStatus-C-004-C",
    # "null when the charge is not associated with an invoice", checked for every row, beside its opposite, C-005.
    "InvoiceId-C-004-C",
}
FAILURE_MARK = "❌"


def exported(published: Path, ending: str) -> Path:
    from orchestration.publication import export_focus
    from orchestration.settings import load_settings

    settings = load_settings(Path(__file__).parents[1] / "ledger.yaml", published.parent)
    target = published.parent / f"focus{ending}"
    export_focus(settings, target)
    return target


def findings(file: Path) -> tuple[int, set[str]]:
    """How many rules of FOCUS 1.2 the validator checked and found kept, and the names of those that it found broken."""
    # It looks for its rules beside where it is started.
    [home] = VALIDATOR.glob("lib/python*/site-packages")
    command = [VALIDATOR / "bin" / "python", "-m", "focus_validator.main", "--data-file", file.resolve()]
    options = ("--validate-version", "1.2.0.1", "--block-download", "--applicability-criteria", ",".join(APPLICABLE))
    printed = subprocess.run([*command, *options], cwd=home, capture_output=True, text=True, check=True).stdout
    broken = {
        line.removeprefix(FAILURE_MARK).split(":")[0].strip()
        for line in printed.splitlines()
        if line.startswith(FAILURE_MARK)
    }
    [totals] = [line for line in printed.splitlines() if line.startswith("Total:")]
    return int(totals.split("Pass:")[1].split("|")[0]), broken


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_the_validator_of_focus_finds_nothing_but_its_own_defects(published_demo: Path, ending: str) -> None:
    if not VALIDATOR.exists():
        pytest.skip("no Python 3.12 was found, which focus-validator needs (Makefile)")
    kept, broken = findings(exported(published_demo, ending))
    assert broken <= VALIDATOR_DEFECTS
    assert kept > 300


def test_the_validator_finds_what_is_broken(published_demo: Path) -> None:
    """Else the test above could not fail: a cost without a currency, and a list cost that is not price x quantity."""
    if not VALIDATOR.exists():
        pytest.skip("no Python 3.12 was found, which focus-validator needs (Makefile)")
    file = exported(published_demo, ".parquet")
    broken_file = file.with_name("broken.parquet")
    duckdb.execute(
        f"copy (select * replace (null::varchar as BillingCurrency, ListCost + 1 as ListCost) from '{file}') "
        f"to '{broken_file}' (format parquet)"
    )
    assert {"BillingCurrency-C-004-M", "ListCost-C-009-C"} <= findings(broken_file)[1]


def test_rows_sum_to_the_fleet(published_demo: Path) -> None:
    """Priced hours and what commitments left unused, to the last digit; the tokens are those of the ledger."""
    with duckdb.connect(str(published_demo / "inference_ledger.duckdb"), read_only=True) as con:
        focus, tokens = con.execute(
            "select sum(EffectiveCost), sum(case when ConsumedUnit = 'Tokens' then ConsumedQuantity end) "
            "from focus_cost_and_usage"
        ).fetchone() or (None, None)
        fleet, served = con.execute(
            "select sum(cost_usd), sum(total_tokens) from fct_inference_costs_hourly where cost_usd is not null"
        ).fetchone() or (None, None)
        unused = con.execute("select sum(unused_commitment_cost_usd) from fct_purchase_mix_daily").fetchone()
    assert unused is not None
    assert focus == fleet + unused[0]
    assert tokens == Decimal(served)
