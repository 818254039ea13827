"""Great Expectations suites: the gate a batch passes before it enters the raw room.

Each batch is first reduced by SQL to a small frame of counts and extremes (a row per snapshot or per log file), so
no prompt, name or price list is ever handed to the library, and its results are BOOLEAN_ONLY: they quote no value.
Great Expectations takes seconds to import; that happens on the first batch, not when this module loads.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# A pull below this share of the last good one is refused: an answer cut short looks exactly like success.
MIN_SHARE_OF_PREVIOUS = 0.8
# More rejects than this and the format has changed, not the odd record.
MAX_REJECTED_SHARE = 0.5
# No rate of the dollar in euros has been outside these since 1999, and none moved by a tenth from one day to the next.
USD_PER_EUR = (0.5, 2.5)
MAX_USD_STEP, MAX_RATE_STEP = 0.1, 1.0
# Dearer per published unit than anything ever listed (a three-year all-upfront 8-GPU machine is below 2 million).
MAX_PRICE_AMOUNT = 5_000_000


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation over one column of the batch frame, and the sentence to show when it fails."""

    column: str
    low: float | None
    high: float | None
    failure: str


PRICE_RULES = (
    Rule("record_count", 1, None, "holds no usable price"),
    Rule(
        "share_of_previous",
        MIN_SHARE_OF_PREVIOUS,
        None,
        "has {record_count:.0f} prices where the last good snapshot had {previous_count:.0f}: "
        "cut short, or the format changed; --accept-smaller {source} takes it as it is",
    ),
    Rule(
        "rejected_share",
        None,
        MAX_REJECTED_SHARE,
        "has {rejected_count:.0f} unusable records beside {record_count:.0f} good ones ({top_reason})",
    ),
    Rule("foreign_currency_count", 0, 0, "has prices in another currency than {currency}"),
    Rule("repeated_key_count", 0, 0, "repeats {repeated_key_count:.0f} keys with different prices"),
    Rule("max_price_amount", 0, MAX_PRICE_AMOUNT, "has a price of {max_price_amount:.2f} a unit"),
)

# A file written by hand: it may shrink, also to nothing when its last line expires, and bad lines cost only themselves.
OVERRIDE_RULES = (
    Rule("rejected_share", None, 0.999, "has {rejected_count:.0f} unusable lines and no good one ({top_reason})"),
    *(rule for rule in PRICE_RULES if rule.column in ("repeated_key_count", "max_price_amount")),
)

RATE_RULES = (
    Rule("rate_count", 1, None, "holds no usable rate"),
    Rule(
        "rejected_share",
        None,
        MAX_REJECTED_SHARE,
        "has {rejected_count:.0f} unusable rates beside {rate_count:.0f} good ones ({top_reason})",
    ),
    Rule("min_usd_per_eur", *USD_PER_EUR, "has a euro at {min_usd_per_eur:.4f} USD"),
    Rule("max_usd_per_eur", *USD_PER_EUR, "has a euro at {max_usd_per_eur:.4f} USD"),
    Rule("max_usd_step", None, MAX_USD_STEP, "has a dollar that moved by {max_usd_step:.0%} from one day to the next"),
    Rule(
        "max_rate_step",
        None,
        MAX_RATE_STEP,
        "has a currency that moved by {max_rate_step:.0%} from one day to the next",
    ),
)

USAGE_RULES = (
    Rule(
        "rejected_share",
        None,
        MAX_REJECTED_SHARE,
        "has {rejected_count:.0f} unusable lines beside {record_count:.0f} good ones ({top_reason})",
    ),
    Rule("min_tokens", 0, None, "counts fewer than zero tokens"),
    Rule("span_days", 0, 400, "spans {span_days:.0f} days: its clock or time unit is wrong"),
)

INVENTORY_RULES = (
    Rule(
        "rejected_share",
        None,
        MAX_REJECTED_SHARE,
        "has {rejected_count:.0f} unusable entries beside {record_count:.0f} good ones ({top_reason})",
    ),
)


def check_batch(frame: "pd.DataFrame", rules: tuple[Rule, ...]) -> list[str]:
    """Returns the failed rules of a batch as sentences; empty when it passes.

    Args:
        frame: one row per snapshot or file, with the columns the rules name; a null passes (nothing to compare).
        rules: one of the tuples above.
    """
    import great_expectations as gx
    from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween

    expectations = [
        ExpectColumnValuesToBeBetween(column=rule.column, min_value=rule.low, max_value=rule.high, meta={"rule": index})
        for index, rule in enumerate(rules)
    ]
    batch = _batch_definition().get_batch(batch_parameters={"dataframe": frame})
    result = batch.validate(gx.ExpectationSuite(name="gate", expectations=expectations), result_format="BOOLEAN_ONLY")
    worst = frame.to_dict("records")
    failures = []
    for outcome in result.results:
        if outcome.success:
            continue
        rule = rules[outcome.expectation_config.meta["rule"]]
        facts = next((row for row in worst if not _within(row[rule.column], rule)), worst[0])
        failures.append(rule.failure.format_map(facts))
    return failures


def failing_rows(frame: "pd.DataFrame", rules: tuple[Rule, ...], key: str) -> list[str]:
    """Returns the `key` of each row that breaks a rule, for a batch whose check failed."""
    return [
        str(row[key]) for row in frame.to_dict("records") if not all(_within(row[rule.column], rule) for rule in rules)
    ]


def _within(value: Any, rule: Rule) -> bool:
    if value is None or value != value:  # absent or NaN: nothing to compare
        return True
    return not ((rule.low is not None and value < rule.low) or (rule.high is not None and value > rule.high))


@cache
def _batch_definition() -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    asset = context.data_sources.add_pandas("gate").add_dataframe_asset("batch")
    return asset.add_batch_definition_whole_dataframe("whole")
