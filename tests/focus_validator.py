"""FOCUS's own validator, run as its users run it: for tests of what we export."""

import subprocess
from pathlib import Path

VALIDATOR = Path(__file__).parents[1] / ".venv" / "focus-validator"
# What this data set has; the other rules are about what it has not (capacity reservations, zones, other currencies).
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
    # "not null when CommitmentDiscountId is not null and ChargeCategory is Usage", checked for every Usage row.
    "CommitmentDiscountStatus-C-000-C",
    "CommitmentDiscountStatus-C-002-C",
    "CommitmentDiscountStatus-C-004-C",
    # "null when the charge is not associated with an invoice", checked for every row, beside its opposite, C-005.
    "InvoiceId-C-004-C",
}
FAILURE_MARK = "❌"


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
